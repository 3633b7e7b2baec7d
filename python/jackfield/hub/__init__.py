"""The operator's hub: one process that holds every client, so that an operator can pick one and talk to it.

An application: it uses only the public `jackfield` library. Its modules, from pure to thin shell:

    text        what people type -> bytes: escapes, hex, line endings, durations, sizes
    encodings   text in other encodings than UTF-8
    checksums   CRCs and sums by name
    expecting   whether what a client says is the answer that is waited for
    waves       many clients, some at a time; outcomes names what can become of each
    asking      one question to many clients, and what each one answers
    patterns    regular expressions that operators write and clients feed
    display     bytes -> what people see: nothing a client sends reaches a terminal raw; tables
    target      which clients a TARGET means
    roster      default names, what a name may be; the view of one client
    journal     what happened, and what clients said lately, in bounded memory
    plan        addresses and limits -> what to listen on, and how to join each listener
    protocol    the messages between operators and the hub
    control     where the control socket is, and whose it is
    identify    how clients are recognised: by host, by what they say first
    identity    who has which name, tags and note, there or absent; conflicts
    identities  the same in one hub: from clients, to operators, into the state
    state       what outlives a restart, in one SQLite file
    sending     one send on its way to many clients, each at its own pace, and what became of it
    watcher     what an operator who watches is told next, in bounded memory
    recorder    what clients say and are told, as the bytes of a recording, at the pace of who writes it
    log_directory  all of it in a directory, in bounded space
    snippets    messages that operators keep under names
    reply_rules automatic replies as rules: what is answered, how often, and how loops end
    autoreply   those rules at work
    hooks       what a program or a script does when clients come, speak and go
    hooked      a program's own hooks at work, and the answers of hooks
    scripts     files of hooks, each in a thread of its own, loaded anew when they change
    rooms/      rooms and who chats in them
    embedded    a hub within a program: `serve`
    assembly    the parts that a hub is made of
    server      the hub itself: listeners, one group of clients, their events
    operators   the control socket's side of the hub: who may ask, and what each request does
    inheritance what a hub gives away at a reload, and how another goes on with it
    reload      the old hub's side of a reload; `successor` the new one's, `handover_wire` what they say
    status      the hub in figures
    operator    an operator's end of the control socket
"""

from __future__ import annotations

from typing import Any

__all__ = ["Client", "HookClient", "Hub", "Part", "connect", "serve"]

_HOMES = {
    "Client": "client",
    "connect": ".native.client",  # the application beside this one
    "HookClient": "hooks",
    "Hub": "server",
    "Part": "part",
    "serve": "embedded",
}


def __getattr__(name: str) -> Any:
    """Public names come when they are first used: the command line imports single modules of these."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    return value
