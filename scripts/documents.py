"""A Markdown file as the checks see it: prose, blocks, headings, tables; and a fault found in one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MISSING = "What is missing"


@dataclass(frozen=True)
class Fault:
    """What is wrong, and where."""

    document: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}: {self.what}"


@dataclass(frozen=True)
class Document:
    """A Markdown file: its lines, and which of them are in fenced blocks."""

    name: str
    text: str

    def prose(self) -> Iterator[tuple[int, str]]:
        """Number and text of the lines outside of fenced blocks."""
        fenced = False
        for number, line in enumerate(self.text.splitlines(), 1):
            if line.lstrip().startswith("```"):
                fenced = not fenced
            elif not fenced:
                yield number, line

    def blocks(self) -> Iterator[tuple[int, str, str]]:
        """First line, language and text of the fenced blocks."""
        for found in re.finditer(r"^```(\w*)\n(.*?)^```$", self.text, re.MULTILINE | re.DOTALL):
            yield self.text.count("\n", 0, found.start()) + 2, found[1], found[2]

    def sections(self) -> Iterator[tuple[int, str, str]]:
        """The lines of `prose`, each with the heading above it."""
        heading = ""
        for number, line in self.prose():
            if line.startswith("#"):
                heading = line.lstrip("# ")
            yield number, heading, line

    def spans(self) -> Iterator[tuple[int, str]]:
        """What stands in backticks, except where the document says what is not there yet."""
        for number, heading, line in self.sections():
            if heading != MISSING and "| not yet |" not in line:
                for span in re.findall(r"`([^`]+)`", line):
                    yield number, span

    def rows(self) -> Iterator[tuple[int, str, list[str]]]:
        """The rows of its tables without their heads: line, the heading above, cells."""
        head = True
        for number, heading, line in self.sections():
            if not line.startswith("|"):
                head = True
            elif re.fullmatch(r"[|: -]+", line):
                head = False
            elif not head:
                yield number, heading, cells_of(line)


def cells_of(line: str) -> list[str]:
    """The cells of a table's row; a bar in backticks or behind a backslash is none of its bars."""
    return [
        cell.strip() for cell in re.split(r"(?<!\\)\|(?=(?:[^`]*`[^`]*`)*[^`]*$)", line.strip().strip("|"))
    ]


def anchor(heading: str) -> str:
    """A heading's name in a link, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
