"""`jackfield autoreply` as commands: their options and their help. What they do is in `replies.py`."""

from __future__ import annotations

from typing import Annotated

import typer

from .groups import listing
from .parameters import Control, Eol, Json, chosen_control

autoreply = listing(
    "autoreply",
    """Let the hub answer by itself what clients say. Without a command: list.

\b
Examples:
  jackfield autoreply add '^PING' PONG
  jackfield autoreply
  jackfield autoreply rm reply1
""",
)


@autoreply.command(no_args_is_help=True)
def add(
    context: typer.Context,
    pattern: Annotated[
        str, typer.Argument(metavar="PATTERN", help="A regular expression.", show_default=False)
    ],
    reply: Annotated[str, typer.Argument(metavar="REPLY", help="What to answer.", show_default=False)],
    to: Annotated[
        str, typer.Option("--to", metavar="TARGET", help="Answer only these, also those that come later.")
    ] = "all",
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Name of the rule (reply1, reply2 ...).")
    ] = None,
    as_hex: Annotated[
        bool, typer.Option("--hex", help="PATTERN and REPLY are hex bytes; PATTERN is part of a message.")
    ] = False,
    escapes: Annotated[
        bool, typer.Option("--escapes", "-e", help=r"REPLY has escapes: \n \r \t \0 \e \xHH \uHHHH.")
    ] = False,
    eol: Eol = None,
    rate: Annotated[
        str, typer.Option("--rate", metavar="RATE", help="At most so many replies to each client.")
    ] = "10/s",
    as_json: Json = False,
    control: Control = None,
) -> None:
    """Answer REPLY whenever a client says something that matches PATTERN.

    Where the client has a framing, and with packets, PATTERN is looked for in each message; otherwise in
    what comes, also across chunks. Every rule that matches answers. Rules last over restarts; one of
    the same name is replaced. ^ and $ are ends of lines (before CRLF write \\r?$), $ also the end of
    what came so far. The syntax of PATTERN is RE2's.

    Beyond --rate nothing is answered, and counted. To senders of datagrams a reply is withheld
    now and then when each message comes at once after a reply, so that two programs that answer
    each other come to an end.

    \b
    Examples:
      jackfield autoreply add '^ping$' pong
      jackfield autoreply add 'temp\\?' '21.5' --to 'sensor*' --eol crlf --rate 1/s
      jackfield autoreply add --hex '01 03' '01 03 02 00 2a 39 9b' --name modbus
    """
    from .replies import add_autoreply as command

    command(
        pattern, reply, to=to, name=name, as_hex=as_hex, escapes=escapes, eol=eol, rate=rate,
        as_json=as_json, control=chosen_control(context, control),
    )  # fmt: skip


@autoreply.command("ls")
def list_(context: typer.Context, as_json: Json = False, control: Control = None) -> None:
    """List the rules, and how often each has answered.

    \b
    Examples:
      jackfield autoreply ls
      jackfield autoreply ls --json
    """
    from .replies import list_autoreplies as command

    command(as_json=as_json, control=chosen_control(context, control))


@autoreply.command("rm", no_args_is_help=True)
def remove(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the rule.", show_default=False)],
    as_json: Json = False,
    control: Control = None,
) -> None:
    """Remove a rule.

    \b
    Example:
      jackfield autoreply rm reply1
    """
    from .replies import remove_autoreply as command

    command(name, as_json=as_json, control=chosen_control(context, control))
