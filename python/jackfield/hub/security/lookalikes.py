"""Names that look like another one: what a name is to the eye. Pure.

A small part of Unicode's confusables (UTS #39), of the letters that names are made of: those of Cyrillic,
Greek and Armenian that look like Latin ones, case, width and style (NFKC), and the digits 0 and 1. It is no
full skeleton: `rn` and `m` differ here, and so do accents.
"""

from __future__ import annotations

import unicodedata
from typing import Final

_ALIKE: Final = (
    ("aceopxyijs", "\u0430\u0441\u0435\u043e\u0440\u0445\u0443\u0456\u0458\u0455"),  # Cyrillic
    ("hdqwkmtbhvl", "\u04bb\u0501\u051b\u051d\u043a\u043c\u0442\u0432\u043d\u0475\u04cf"),
    ("avoptui", "\u03b1\u03bd\u03bf\u03c1\u03c4\u03c5\u03b9"),  # Greek
    ("kxynweb", "\u03ba\u03c7\u03b3\u03b7\u03c9\u03b5\u03b2"),
    ("gohun", "\u0261\u0585\u0570\u057d\u0578"),  # Latin and Armenian
)
_TABLE: Final = {
    ord(other): own for latin, others in _ALIKE for own, other in zip(latin, others, strict=True)
}
_DIGITS: Final = str.maketrans("01", "ol")


def looks(name: str) -> str:
    """The same for names that look alike."""
    return unicodedata.normalize("NFKC", name).casefold().translate(_TABLE).translate(_DIGITS)
