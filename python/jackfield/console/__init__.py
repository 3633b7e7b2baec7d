"""The operator's one window: clients, a conversation, the log and a typed line on one screen.

An application: it uses the public `jackfield` library and the hub's control socket. From pure to thin shell:

    lines         pieces of styled text, cut and joined by columns
    roster        what is known of a client; filter and order
    conversation  what was said, as text, hex or mixed
    table         the table of clients at any width
    state         everything that is shown, updated by what the hub tells
    render        the state -> the lines of a screen
    commands      what a typed line means; the console's own commands, help
    completing    what Tab offers
    pace          when the screen is drawn again
    history       typed lines in a file
    child         a command of the command line in a process of its own
    console       the traffic with the hub, and what lines set off
    keys, window  the terminal, by prompt_toolkit
"""
