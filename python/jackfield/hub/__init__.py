"""The operator's hub: one process that holds every client, so that an operator can pick one and talk to it.

An application: it uses only the public `jackfield` library. Its modules, from pure to thin shell:

    text        what people type -> bytes: escapes, hex, line endings, durations, sizes
    encodings   text in other encodings than UTF-8
    checksums   CRCs and sums by name
    patterns    regular expressions that operators write and clients feed
    display     bytes -> what people see: nothing a client sends reaches a terminal raw; tables
    target      which clients a TARGET means
    roster      ids and names; the view of one client
    journal     what happened, and what clients said lately, in bounded memory
    plan        addresses and limits -> what to listen on, and how to join each listener
    protocol    the messages between operators and the hub
    control     where the control socket is, and whose it is
    state       what outlives a restart, in one SQLite file
    sending     one send on its way to many clients, each at its own pace, and what became of it
    watcher     what an operator who watches is told next, in bounded memory
    snippets    messages that operators keep under names
    reply_rules automatic replies as rules: what is answered, how often, and how loops end
    autoreply   those rules at work
    assembly    the parts that a hub is made of
    server      the hub itself: listeners, one group of clients, their events
    operators   the control socket's side of the hub: who may ask, and what each request does
    operator    an operator's end of the control socket
"""
