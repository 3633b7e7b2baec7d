"""`jackfield console` as a command: its help. What it does is in `console.py`, and with --web in `web.py`."""

from __future__ import annotations

from typing import Annotated

import typer

from .failures import USAGE, Failure
from .parameters import Control, Json, chosen_control


def console(
    context: typer.Context,
    serving: Annotated[bool, typer.Option("--serving", hidden=True)] = False,
    web: Annotated[
        bool, typer.Option("--web", help="Print a link to the web console that logs in once.")
    ] = False,
    address: Annotated[
        str | None,
        typer.Option("--address", metavar="ADDRESS", help="With --web: where to serve it."),
    ] = None,
    as_json: Json = False,
    control: Control = None,
) -> None:
    """Open the window of a running hub: clients, conversation, log.

    The prompt takes every command of this command line behind a slash, such as /kick 3, and sends
    what else is typed to the open client. Ctrl-C leaves; the hub goes on. F1 shows the keys.

    With --web the hub serves pages for a browser as well, to this machine unless --address says
    otherwise (then over TLS, by the hub's certificate or the address's cert= and key=), and a link is
    printed that is good once, for five minutes. --json is for --web.

    \b
    Examples:
      jackfield console
      jackfield console --control /run/jackfield/hub.sock
      jackfield console --web
      jackfield console --web --address 127.0.0.1:8080
      jackfield console --web --address tls://0.0.0.0:8443
    """
    if web:
        from .web import link

        link(address, as_json=as_json, control=chosen_control(context, control))
        return
    if address is not None or as_json:
        raise Failure("--address and --json are about the web console", "add --web", code=USAGE)
    from .console import console as command

    command(serving=serving, control=chosen_control(context, control))
