"""`jackfield mail` as commands: their options and their help. What they do is in `mail.py`."""

from __future__ import annotations

from typing import Annotated

import typer

from .groups import listing
from .parameters import Control, Json, chosen_control

mail = listing(
    "mail",
    """Messages that wait for clients who are absent. Without a command: list.

\b
Examples:
  jackfield send dev7 'restart at night' --queue
  jackfield mail
  jackfield mail ls dev7
  jackfield mail drop dev7
""",
)


@mail.command("ls")
def list_(
    context: typer.Context,
    client: Annotated[
        str | None,
        typer.Argument(metavar="CLIENT", help="Show what waits for this one.", show_default=False),
    ] = None,
    as_json: Json = False,
    control: Control = None,
) -> None:
    """List for whom messages wait, or the messages that wait for one client.

    Clients that speak the Jackfield protocol leave them with `message`, operators with `send --queue`. They
    are delivered when their client returns, in order.

    \b
    Examples:
      jackfield mail ls
      jackfield mail ls dev1
      jackfield mail ls dev1 --json
    """
    from .mail import list_mail as command

    command(client, as_json=as_json, control=chosen_control(context, control))


@mail.command("drop", no_args_is_help=True)
def drop(
    context: typer.Context,
    client: Annotated[str, typer.Argument(metavar="CLIENT", help="For whom it waits.", show_default=False)],
    number: Annotated[
        int | None, typer.Option("--number", min=1, metavar="N", help="Only the message of this number.")
    ] = None,
    as_json: Json = False,
    control: Control = None,
) -> None:
    """Forget what waits for a client.

    \b
    Examples:
      jackfield mail drop dev1
      jackfield mail drop dev1 --number 12
    """
    from .mail import drop_mail as command

    command(client, number, as_json=as_json, control=chosen_control(context, control))
