"""`jackfield dial` and `undial` as commands: their options and their help. What they do is in `dials.py`."""

from __future__ import annotations

from typing import Annotated

import typer

from .parameters import Control, Json, chosen_control


def dial(
    context: typer.Context,
    address: Annotated[
        str | None, typer.Argument(metavar="ADDRESS", help="Whom to dial.", show_default=False)
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="What to call it; by default after its address."),
    ] = None,
    framing: Annotated[
        str, typer.Option("--framing", metavar="F", help="Framing, if ADDRESS names none: line, cobs ...")
    ] = "none",
    eol: Annotated[
        str, typer.Option("--eol", metavar="NAME", help="Ending of typed lines where framing is none.")
    ] = "lf",
    as_json: Json = False,
    control: Control = None,
) -> None:
    """Let the hub connect to ADDRESS and keep that up; or list all.

    The peer is a client like those that come in, under NAME, which stays the same over
    reconnections: send, talk, broadcast and autoreply work alike. When the connection is lost, or
    there is none yet, it is tried again after 0.1 s to 30 s, longer each time; meanwhile the peer
    is absent (`clients --absent`), with the reason. Dialling lasts over restarts of the hub.
    Without ADDRESS it is shown who is dialled.

    `kick NAME` ends the connection, which is then made again; `undial NAME` ends both.

    \b
    Examples:
      jackfield dial tcp://192.168.1.20:4001 --name press
      jackfield dial /dev/ttyUSB0,baud=115200,framing=cobs --name sensor
      jackfield dial udp://10.0.0.7:5000 --name beacon
      jackfield dial
      jackfield dial --json
    """
    from .dials import add_dial, list_dials

    where = chosen_control(context, control)
    if address is None:
        list_dials(as_json=as_json, control=where)
    else:
        add_dial(address, name=name, framing=framing, ending=eol, as_json=as_json, control=where)


def undial(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="Whom.", show_default=False)],
    as_json: Json = False,
    control: Control = None,
) -> None:
    """Dial NAME no more, and end the connection after what is queued.

    \b
    Examples:
      jackfield undial press
      jackfield undial press sensor
    """
    from .dials import remove_dials as command

    command(names, as_json=as_json, control=chosen_control(context, control))
