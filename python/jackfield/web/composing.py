"""What an operator types, made bytes: text in any encoding, escapes or hex, with a checksum behind it.

Owns the two operations that only the API has, `compose` and `notations`. Pure.
"""

from __future__ import annotations

from typing import Any, Final

from ..hub.checksums import CATALOGUE, parse_trailer
from ..hub.encodings import find_encoding
from ..hub.expecting import hex_pattern, text_pattern
from ..hub.patterns import Pattern
from ..hub.protocol import encode_data
from ..hub.text import parse_hex, unescape
from .endpoint import Endpoint
from .registry import ENDINGS
from .schemas import data, flag, listing, nullable, record, text, told, whole

LONGEST: Final = 1024 * 1024  # characters of one message
FORMS: Final = ("text", "escapes", "hex")
COMMON: Final = (
    "utf-8",
    "gbk",
    "gb18030",
    "big5",
    "shift_jis",
    "euc-kr",
    "latin-1",
    "cp1252",
    "koi8-r",
    "utf-16-le",
)

ENDPOINTS: Final = (
    Endpoint(
        "compose",
        "Make bytes of what was typed, as `send` and `ask` take them.",
        record(
            {"text": text(most=LONGEST)},
            {
                "form": text("How it is written.", choices=FORMS),
                "encoding": text("Such as gbk; utf-8.", most=40),
                "crc": text("A checksum to put behind it, such as crc16-modbus.", most=80),
                "ending": text("What ends it.", choices=ENDINGS),
                "expect": text("What an answer looks like: a pattern, or bytes where the form is hex."),
            },
        ),
        record(
            {
                "data": data(),
                "ending": told("For `send`."),
                "bytes": whole(),
                "expect": nullable(told("For `ask`.")),
                "binary": flag("For `ask`."),
            }
        ),
    ),
    Endpoint(
        "notations",
        "Which encodings, endings and checksums there are.",
        record(),
        record({"encodings": listing(told()), "endings": listing(told()), "checksums": listing(told())}),
        reads=True,
    ),
)


def compose(arguments: dict[str, Any]) -> dict[str, Any]:
    """The answer of `compose`. Raises `TextError`."""
    form, typed = arguments.get("form", "text"), arguments["text"]
    encoding = find_encoding(arguments.get("encoding") or "utf-8")
    ending = arguments.get("ending")
    if form == "hex":
        made, usual = parse_hex(typed), "none"
    elif form == "escapes":
        made, usual = unescape(typed, encode=encoding.encode), "none"
    else:
        made, usual = encoding.encode(typed), "default" if encoding.extends_ascii else "none"
    if arguments.get("crc"):
        made += parse_trailer(arguments["crc"]).of(made)
    if ending not in (None, "default") and not encoding.extends_ascii:
        made, ending = made + encoding.ending(ending), "none"
    expect = arguments.get("expect") or None
    if expect is not None:
        expect = hex_pattern(expect) if form == "hex" else text_pattern(expect, encoding)
        Pattern(expect)
    return {
        "data": encode_data(made),
        "ending": ending or usual,
        "bytes": len(made),
        "expect": expect,
        "binary": form == "hex",
    }


def notations() -> dict[str, Any]:
    """The answer of `notations`."""
    return {
        "encodings": list(COMMON),
        "endings": list(ENDINGS),
        "checksums": [checksum.name for checksum in CATALOGUE],
    }
