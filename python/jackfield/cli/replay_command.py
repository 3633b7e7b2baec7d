"""`jackfield replay` as a command: its options and its help. What it does is in `replay.py`."""

from __future__ import annotations

from typing import Annotated

import typer

from .parameters import Control, Framed, Json, chosen_control


def replay(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A recording.", show_default=False)],
    to: Annotated[
        str | None, typer.Option("--to", metavar="CLIENT", help="To this client of the hub.")
    ] = None,
    connect: Annotated[
        str | None,
        typer.Option("--connect", metavar="ADDRESS", help="To a server: a connection for each client."),
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option("--listen", metavar="ADDRESS", help="As a server: to whoever connects, in turn."),
    ] = None,
    side: Annotated[
        str | None,
        typer.Option(
            "--side", metavar="SIDE", help="Say what the client said, or the server (the other end's)."
        ),
    ] = None,
    client: Annotated[
        str | None, typer.Option("--client", "-c", metavar="TARGET", help="Of these recorded clients only.")
    ] = None,
    speed: Annotated[
        str, typer.Option("--speed", metavar="N", help="So many times as fast; max does not wait at all.")
    ] = "1",
    check: Annotated[
        bool, typer.Option("--check", help="Compare the answers with the recorded ones; 10 when one differs.")
    ] = False,
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="TIME", help="How long a recorded answer is waited for.")
    ] = "5s",
    framing: Framed = None,
    as_json: Json = False,
    control: Control = None,
) -> None:
    """Say what was recorded again, to a client, a server, or as one.

    Messages keep their order and their gaps. With --check and --listen each waits until as much
    was answered as had been when it was recorded.

    \b
    Examples:
      jackfield replay night.jfrec --connect 127.0.0.1:7000
      jackfield replay night.jfrec --connect 127.0.0.1:7000 --check --speed max
      jackfield replay night.jfrec --listen 7000 --client dev1
      jackfield replay night.jfrec --to dev1 --speed 10
    """
    from .replay import replay as command

    command(
        file,
        to=to,
        connect=connect,
        listen=listen,
        side=side,
        client=client,
        speed=speed,
        check=check,
        timeout=timeout,
        framing=framing,
        as_json=as_json,
        control=chosen_control(context, control),
    )
