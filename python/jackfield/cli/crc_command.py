"""`jackfield crc`: the checksums that `send --crc` knows, and what one of them is of some bytes."""

from __future__ import annotations

from typing import Annotated

import typer

from .parameters import Escapes, Hex, Json


def crc(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A checksum by name.", show_default=False)
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Argument(metavar="DATA", help="What to sum up; - reads standard input.", show_default=False),
    ] = None,
    as_hex: Hex = False,
    escapes: Escapes = False,
    as_json: Json = False,
) -> None:
    """List the checksums of `send --crc`, or print that of DATA.

    NAME alone shows its parameters. They are those of the catalogue of parametrised CRC algorithms;
    CHECK is the checksum of the nine characters 123456789. ORDER is the byte order on the wire,
    which NAME:le (low byte first) and NAME:be override; NAME:hex appends hex digits.

    \b
    Examples:
      jackfield crc
      jackfield crc modbus --hex '01 03 00 00 00 0a'
      jackfield crc crc32 - < firmware.bin
      jackfield send plc --hex '01 03 00 00 00 0a' --crc modbus
    """
    from .checksums import crc as command

    command(name, data or [], as_hex=as_hex, escapes=escapes, as_json=as_json)
