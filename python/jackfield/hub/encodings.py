"""Text in other encodings than UTF-8: what is typed as a device wants it, and what it says as text.

Owns which codecs may be named (any of Python's that encodes text) and what is said of a character that one
of them does not have. Pure.
"""

from __future__ import annotations

import codecs
import unicodedata
from typing import Final

from .display import safe_text
from .text import LINE_ENDINGS, TextError, utf8

_NOTATIONS: Final = frozenset({"unicode-escape", "raw-unicode-escape", "punycode", "idna", "undefined"})
"""Codecs of Python that are ways to write text, but in which no device says anything."""
_PROBE: Final = bytes(range(0x20, 0x7F)) + b"\r\n\t"


class Encoding:
    """One encoding of text. Made by `find_encoding`."""

    __slots__ = ("_codec", "extends_ascii", "name")

    def __init__(self, codec: codecs.CodecInfo) -> None:
        self._codec = codec
        self.name = codec.name
        self.extends_ascii = _extends_ascii(codec)
        """Whether ASCII stands for itself, so that text may be cut at line ends before it is decoded."""

    def encode(self, text: str) -> bytes:
        """The bytes of `text`. Raises `TextError` that names a character it does not have, and where."""
        if self.name == "utf-8":
            return utf8(text)
        try:
            return self._codec.encode(text, "strict")[0]
        except UnicodeEncodeError as problem:
            character = text[problem.start]
            name = unicodedata.name(character, "")
            raise TextError(
                f"{safe_text(character)!r} (U+{ord(character):04X}{f' {name}' if name else ''}) at position "
                f"{problem.start} does not exist in {self.name}; leave it out or choose another --encoding"
            ) from None
        except UnicodeError as problem:
            raise TextError(f"the text cannot be encoded as {self.name}: {problem}") from None

    def ending(self, name: str) -> bytes:
        """A line ending by name, in this encoding."""
        ending = LINE_ENDINGS[name]
        return ending if self.extends_ascii else self.encode(ending.decode("ascii"))

    def decode(self, data: bytes) -> str:
        """`data` as text that may still steer a terminal; a byte that is none stands as a lone surrogate."""
        try:
            return self._codec.decode(data, "surrogateescape")[0]
        except UnicodeError:  # some codecs know no way around what they cannot read
            return data.decode("ascii", "surrogateescape")

    def show(self, data: bytes, *, keep: str = "") -> str:
        """`data` as safe text: characters where it is text, `\\xHH` where it is not."""
        return safe_text(self.decode(data), keep=keep)

    def incremental(self) -> codecs.IncrementalDecoder:
        """A decoder of what comes in pieces; bytes that are no text come out as `\\xHH`."""
        return codecs.getincrementaldecoder(self.name)("backslashreplace")


def find_encoding(name: str) -> Encoding:
    """The encoding of that name. Raises `TextError`."""
    try:
        codec = codecs.lookup(name)
    except (LookupError, ValueError, UnicodeError):
        codec = None
    # What Python itself asks before `str.encode`: some codecs make bytes of bytes, or text of text.
    text = getattr(codec, "_is_text_encoding", True)
    if codec is None or not text or codec.name in _NOTATIONS:
        raise TextError(
            f"unknown encoding {name[:40]!r}; known are gbk, gb18030, big5, shift_jis, euc-kr, latin-1, "
            "cp1252, koi8-r, utf-16-le and every other text encoding of Python"
        )
    return Encoding(codec)


def _extends_ascii(codec: codecs.CodecInfo) -> bool:
    try:
        return codec.encode(_PROBE.decode("ascii"), "strict")[0] == _PROBE
    except UnicodeError:
        return False


UTF8: Final = find_encoding("utf-8")
