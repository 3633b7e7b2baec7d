"""`jackfield console` as a command: its help. What it does is in `console.py`."""

from __future__ import annotations

from typing import Annotated

import typer

from .parameters import Control, chosen_control


def console(
    context: typer.Context,
    serving: Annotated[bool, typer.Option("--serving", hidden=True)] = False,
    control: Control = None,
) -> None:
    """Open the window of a running hub: clients, conversation, log.

    The prompt takes every command of this command line behind a slash, such as /kick 3, and sends
    what else is typed to the open client. Ctrl-C leaves; the hub goes on. F1 shows the keys.

    \b
    Examples:
      jackfield console
      jackfield console --control /run/jackfield/hub.sock
    """
    from .console import console as command

    command(serving=serving, control=chosen_control(context, control))
