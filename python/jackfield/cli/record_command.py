"""`jackfield record` as a command: its options and its help. What it does is in `record.py`."""

from __future__ import annotations

from typing import Annotated

import typer

from .parameters import Control, Json, chosen_control


def record(
    context: typer.Context,
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="Only these clients.", show_default=False)
    ] = "all",
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Into this file (jackfield-DATE.jfrec); - is stdout."
        ),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option("--format", metavar="F", help="jfrec, or pcapng for Wireshark (by FILE's name)."),
    ] = None,
    duration: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="End after this long.")
    ] = None,
    size: Annotated[
        str | None, typer.Option("--size", metavar="SIZE", help="End before the file is longer than this.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it is there.")] = False,
    as_json: Json = False,
    control: Control = None,
) -> None:
    """Record what clients say and are told, with times, until Ctrl-C.

    TARGET may mean clients that are yet to come. A recorder that is killed leaves a file that can be
    read up to its last record. What does not fit, because the disk is slow or full, is counted in the file.

    \b
    Examples:
      jackfield record -o night.jfrec
      jackfield record 'dev*' -o dev.pcapng --for 10m
      jackfield record sensor --size 1G
      jackfield record -o - --format pcapng | wireshark -k -i -
    """
    from .record import record as command

    command(
        target,
        output=output,
        form=form,
        duration=duration,
        size=size,
        force=force,
        as_json=as_json,
        control=chosen_control(context, control),
    )
