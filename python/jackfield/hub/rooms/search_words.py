"""What people search for: the words of a text, the language of queries, snippets. Pure.

A text is a row of words: letters and digits, without regard to case and accents; each Chinese, Japanese or
Korean character is a word of its own. A query is

    pump broken       both words, anywhere, in any order
    "water pump"      these words next to each other
    pump*             words that begin so
    -test             not this word, nor "these words"; beside something that is searched for

and nothing else: there are no operators to know, and no query is an error but one without a word. Characters
that are no words part words, as in a text: `a.b` is "a b".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

LONGEST_QUERY: Final = 1000  # characters that are looked at
MOST_TERMS: Final = 32  # of one query
SNIPPET: Final = 120  # characters
LOOKED_AT: Final = 4_000  # characters of a text that a snippet may be of
BEFORE: Final = 40  # characters of a snippet before the first mark

_EACH: Final = (  # Chinese, Japanese and Korean characters
    "\u1100-\u11ff\u3040-\u30ff\u3130-\u318f\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f"
    "\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff"
)
_WORD: Final = re.compile(f"[{_EACH}]|[^\\W_{_EACH}]+")
_TERM: Final = re.compile(r'(-?)(?:"([^"]*)"?|([^\s"]+))(\*?)')
_SPACE: Final = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")


@dataclass(frozen=True)
class Term:
    """Words that stand next to each other; of a prefix, the last word is a beginning."""

    words: tuple[str, ...]
    is_prefix: bool = False

    def places(self, words: list[str]) -> Iterator[int]:
        """Where in the words of a text this term begins."""
        count = len(self.words)
        for start in range(len(words) - count + 1):
            if tuple(words[start : start + count - 1]) != self.words[:-1]:
                continue
            last = words[start + count - 1]
            if last == self.words[-1] or (self.is_prefix and last.startswith(self.words[-1])):
                yield start


@dataclass(frozen=True)
class Query:
    """What is searched for: all of `wanted` and none of `unwanted`. Without `wanted` nothing is found."""

    wanted: tuple[Term, ...]
    unwanted: tuple[Term, ...]

    def matches(self, text: str) -> bool:
        """Whether a text is found."""
        folded = _folded(text)
        if not all(word in folded for term in self.wanted for word in term.words):
            return False
        words = _WORD.findall(folded)
        return (
            bool(self.wanted)
            and all(any(True for _ in term.places(words)) for term in self.wanted)
            and not any(any(True for _ in term.places(words)) for term in self.unwanted)
        )

    def fts5(self) -> str:
        """The same for FTS5 over `indexed_text`. Every word is quoted: nothing in it is an operator."""
        wanted = " AND ".join(map(_fts5, self.wanted))
        unwanted = " OR ".join(map(_fts5, self.unwanted))
        return f"({wanted}) NOT ({unwanted})" if unwanted else wanted


def read_query(text: str) -> Query:
    """What a person means. Looks at `LONGEST_QUERY` characters and `MOST_TERMS` terms, and raises nothing."""
    wanted: list[Term] = []
    unwanted: list[Term] = []
    for found in _TERM.finditer(text[:LONGEST_QUERY]):
        minus, quoted, bare, star = found.groups()
        words = tuple(words_of(quoted if bare is None else bare))
        if not words or len(wanted) + len(unwanted) >= MOST_TERMS:
            continue
        term = Term(words, is_prefix=bool(star) or (bare or "").endswith("*"))
        (unwanted if minus else wanted).append(term)
    return Query(tuple(wanted), tuple(unwanted))


def text_of(body: bytes) -> str | None:
    """A body as the text that it is; None for one that is no UTF-8, or has a NUL: it is not searched."""
    if b"\0" in body:
        return None
    try:
        return str(body, "utf-8")
    except UnicodeDecodeError:
        return None


def words_of(text: str) -> list[str]:
    """The words of a text, as they are compared."""
    return _WORD.findall(_folded(text))


def indexed_text(text: str) -> str:
    """The words of a text, for an index that parts them at spaces."""
    return " ".join(words_of(text))


def snippet(text: str, query: Query) -> tuple[str, list[tuple[int, int]]]:
    """A piece of a text on one line, around the first thing searched for, and where in it such is.

    Where that is not in the first `LOOKED_AT` characters, the piece is the beginning.
    """
    text = unicodedata.normalize("NFC", _SPACE.sub(" ", text[:LOOKED_AT]).strip())
    spans: list[tuple[int, int]] = []
    words: list[str] = []
    for found in re.finditer(r"[^\W_]+", text):
        for word in _WORD.finditer(found[0]):  # parts of a run: Chinese beside Latin letters
            inside = words_of(word[0])
            start = found.start() + word.start()
            words += inside
            spans += [(start, start + len(word[0]))] * len(inside)
    hits = sorted(
        (spans[place][0], spans[place + len(term.words) - 1][1])
        for term in query.wanted
        for place in term.places(words)
    )
    start = max(0, hits[0][0] - BEFORE) if hits else 0
    end = min(len(text), start + SNIPPET)
    start = max(0, min(start, end - SNIPPET))
    marks = [(max(a, start), min(b, end)) for a, b in hits if a < end and b > start]
    ahead = "…" if start else ""
    shift = len(ahead) - start
    return ahead + text[start:end] + ("…" if end < len(text) else ""), [
        (a + shift, b + shift) for a, b in _apart(marks)
    ]


def _apart(marks: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Marks that overlap made one."""
    apart: list[tuple[int, int]] = []
    for start, end in marks:
        if apart and start < apart[-1][1]:
            apart[-1] = (apart[-1][0], max(end, apart[-1][1]))
        else:
            apart.append((start, end))
    return apart


def _folded(text: str) -> str:
    if text.isascii():
        return text.lower()
    composed = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(character for character in composed if not unicodedata.combining(character))
    return unicodedata.normalize("NFC", plain)


def _fts5(term: Term) -> str:
    quoted = " ".join(term.words)  # words have no quotes: they are letters and digits
    return f'"{quoted}" *' if term.is_prefix else f'"{quoted}"'
