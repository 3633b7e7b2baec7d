"""How an operator writes what is sent: text in some encoding, escapes or hex, its ending, and its checksum.

Owns what the options `--hex --escapes --eol --encoding --crc` mean together, for `send`, `broadcast` and
`talk`. Pure: text in, bytes out.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..hub.checksums import Trailer, parse_trailer
from ..hub.encodings import UTF8, Encoding, find_encoding
from ..hub.text import line_ending, parse_hex, unescape
from . import failures
from .failures import Failure


@dataclass(frozen=True, slots=True)
class Notation:
    """One way to write messages. `eol` None is the listener's line ending for text, and none for the rest."""

    as_hex: bool = False
    escapes: bool = False
    eol: str | None = None
    encoding: Encoding = UTF8
    trailer: Trailer | None = None

    @classmethod
    def from_options(
        cls, *, as_hex: bool, escapes: bool, eol: str | None, encoding: str | None, crc: str | None
    ) -> Notation:
        """What the options mean. Raises `TextError` and `Failure` for what they cannot mean."""
        if as_hex and escapes:
            raise Failure("both --hex and --escapes are given", "leave one of them out", code=failures.USAGE)
        if eol is not None:
            line_ending(eol)
        return cls(
            as_hex,
            escapes,
            None if eol is None else eol.lower(),
            UTF8 if encoding is None else find_encoding(encoding),
            None if crc is None else parse_trailer(crc),
        )

    def message(self, text: str) -> tuple[bytes, str]:
        """The bytes of typed text, and the name of the line ending that the hub adds. Raises `TextError`."""
        if self.as_hex:
            return self.finished(parse_hex(text), "none")
        if self.escapes:
            return self.finished(unescape(text, encode=self.encoding.encode), "none")
        return self.finished(self.encoding.encode(text), "default" if self.encoding.extends_ascii else "none")

    def finished(self, data: bytes, usual: str = "none") -> tuple[bytes, str]:
        """`data` with its checksum, and the name of the line ending that the hub adds, or the `usual` one."""
        if self.trailer is not None:
            data += self.trailer.of(data)
        if self.eol is not None and not self.encoding.extends_ascii:
            return data + self.encoding.ending(self.eol), "none"
        return data, self.eol or usual
