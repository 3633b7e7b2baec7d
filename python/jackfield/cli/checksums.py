"""What `jackfield crc` prints: the catalogue, or the checksum of some bytes."""

from __future__ import annotations

import sys
from typing import Any

from ..hub.checksums import CATALOGUE, Checksum, parse_trailer
from . import failures
from .failures import Failure
from .notation import Notation
from .operate import print_json, terminal_width
from .views import checksum_lines, checksums_table

PIECE = 1024 * 1024  # bytes of standard input that are summed up at a time


def crc(name: str | None, words: list[str], *, as_hex: bool, escapes: bool, as_json: bool) -> None:
    if name is None:
        if as_hex or escapes:
            raise Failure("--hex and --escapes are for DATA", "give NAME and DATA", code=failures.USAGE)
        if as_json:
            print_json([_view(each) for each in CATALOGUE])
        else:
            print("\n".join(checksums_table(CATALOGUE, width=terminal_width())))
        return
    trailer = parse_trailer(name)
    if not words:
        if as_json:
            print_json(_view(trailer.checksum))
        else:
            print("\n".join(checksum_lines(trailer.checksum)))
        return
    notation = Notation.from_options(as_hex=as_hex, escapes=escapes, eol=None, encoding=None, crc=None)
    if words == ["-"] and not as_hex and not escapes:
        value = trailer.checksum.start
        while piece := sys.stdin.buffer.read(PIECE):
            value = trailer.checksum.update(value, piece)
        value = trailer.checksum.finish(value)
    else:
        value = trailer.checksum.of(notation.message(" ".join(words))[0])
    appended = trailer.encode(value)
    if as_json:
        print_json({"name": trailer.checksum.name, "value": value, "appended": appended.hex()})
    else:
        print(appended.decode("ascii") if trailer.as_hex else appended.hex(" "))


def _view(checksum: Checksum) -> dict[str, Any]:
    view: dict[str, Any] = {
        "name": checksum.name,
        "aliases": list(checksum.aliases),
        "kind": checksum.kind,
        "bytes": checksum.bytes,
        "order": checksum.order,
        "check": checksum.check,
        "about": checksum.about,
    }
    if checksum.kind == "crc":
        view |= {
            "width": checksum.width,
            "poly": checksum.poly,
            "init": checksum.init,
            "refin": checksum.reflected,
            "refout": checksum.reflected,
            "xorout": checksum.xorout,
        }
    return view
