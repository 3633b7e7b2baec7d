"""`jackfield request` as a command: its options and its help. What it does is in `request.py`."""

from __future__ import annotations

from typing import Annotated

import typer

from .parameters import Client, Control, Escapes, InsecureToken, Join, JoinToken, Json, chosen_control


def request(
    context: typer.Context,
    client: Client,
    data: Annotated[
        list[str] | None, typer.Argument(metavar="DATA", help="The question; - reads standard input.")
    ] = None,
    as_hex: Annotated[
        bool, typer.Option("--hex", help="DATA is hex: 'de ad be ef'; the answer is shown as hex.")
    ] = False,
    escapes: Escapes = False,
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="TIME", help="How long the answer is waited for.")
    ] = "10s",
    as_json: Json = False,
    control: Control = None,
    address: Join = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="With --join: what to be called.")
    ] = None,
    token: JoinToken = None,
    insecure_token: InsecureToken = False,
) -> None:
    """Ask a native client, and print its answer.

    Native clients answer where their program does: `jackfield join --answer COMMAND`, `client.answering`
    in Python. What any other client says to what it is sent, `jackfield send --expect` waits for.

    An operator of the hub asks by its control socket. Everyone else asks with --join and the hub's
    address or an invitation, as a native client.

    In a pipe the answer is printed as it came, byte for byte; at a terminal as safe text. With --json
    it is `text`, or `data` (base64) where it is no text, beside `name` and `seconds`.

    \b
    Examples:
      jackfield request clock 'what time is it?'
      jackfield request dev7 status --timeout 500ms --json
      jackfield request plc --hex '01 03 00 00'
      cat question.json | jackfield request dev7 - > answer.json
      jackfield request dev7 status --join tcp://127.0.0.1:7000 --name ann
    """
    from .request import request as command

    command(
        client, data or [], as_hex=as_hex, escapes=escapes, timeout=timeout, as_json=as_json,
        control=chosen_control(context, control), address=address, name=name, token=token,
        insecure_token=insecure_token,
    )  # fmt: skip
