"""What `jackfield check` takes, and its help; `check` does it.

Like `app` this is loaded for help and completion, so nothing heavy is imported.
"""

from __future__ import annotations

from typing import Annotated

import typer

from .parameters import Escapes, Hex, Json


def check(
    address: Annotated[
        list[str] | None, typer.Argument(metavar="ADDRESS", help="What to check.", show_default=False)
    ] = None,
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="TIME", help="For the name, the connection, and TLS, each.")
    ] = "5s",
    first_byte: Annotated[
        bool, typer.Option("--first-byte/--no-first-byte", help="Wait for what the peer says first.")
    ] = True,
    wait: Annotated[
        str | None,
        typer.Option("--wait", metavar="TIME", help="For the first byte: 1s, or --timeout if it was asked."),
    ] = None,
    send: Annotated[
        str | None, typer.Option("--send", metavar="DATA", help="Say this first, to elicit an answer.")
    ] = None,
    as_hex: Hex = False,
    escapes: Escapes = False,
    as_json: Json = False,
    causes: Annotated[bool, typer.Option("--causes", help="List the causes and their exit codes.")] = False,
) -> int | None:
    """Say what is the matter with a connection, and what to do next.

    Looks step by step: name, route, connection, TLS, first answer, of ws:// and wss:// the WebSocket and
    the hub; for an address of this machine also at who listens there. Needs no privilege. Each cause has
    an exit code of its own: 0 is ok, 30 refused, 24 silence, and so on; --causes lists them all. Several
    addresses are checked one after the other, and the first that is not ok gives the exit code.

    \b
    Examples:
      jackfield check example.org 443
      jackfield check https://example.org/
      jackfield check 7000 unix:///run/app.sock
      jackfield check 'wss://hub:8443/native?jf.pin=sha256:5f...'
      jackfield check udp://192.0.2.53:53 --send 'ping' --wait 2s
      jackfield check db.example.org:5432 --no-first-byte --json
    """
    from . import check as command

    if causes:
        command.causes(as_json=as_json)
        return None
    return command.check(
        address or [], timeout=timeout, wait=wait, first_byte=first_byte, send=send, as_hex=as_hex,
        escapes=escapes, as_json=as_json,
    )  # fmt: skip
