"""The Chinese README says what the English one says, as far as a program can tell.

Both have the same blocks in the same order, as many headings and rows, and the same links and commands.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from documents import Document  # noqa: E402

ENGLISH = Document("README.md", (ROOT / "README.md").read_text())
CHINESE = Document("README.zh.md", (ROOT / "README.zh.md").read_text())


def outline(document: Document) -> list[str]:
    """The document without its prose: headings by their level, blocks, rows, in their order."""
    found = []
    inside = False
    for line in document.text.splitlines():
        if line.startswith("```"):
            inside = not inside
        elif not inside and re.match(r"#+ ", line):
            found.append(line.partition(" ")[0])
        elif not inside and line.startswith("|"):
            found.append(f"a row of {line.count('|')} bars")
    return found


def links(document: Document) -> list[str]:
    """Where its links lead. Its own headings have names in its own language."""
    targets = re.findall(r"\]\(([^)\s]+)\)", "\n".join(line for _, line in document.prose()))
    return sorted("#" if re.match(r"#|README", target) else target for target in targets)


def spans(document: Document) -> list[str]:
    """Everything in backticks."""
    return sorted(span for _, line in document.prose() for span in re.findall(r"`([^`]+)`", line))


def blocks(document: Document) -> list[tuple[str, str]]:
    return [(language, text) for _, language, text in document.blocks()]


@pytest.mark.parametrize("part", [outline, blocks, links, spans])
def test_both_readmes_have_the_same(part: Callable[[Document], list[str]]) -> None:
    assert part(CHINESE) == part(ENGLISH), "change README.zh.md with README.md"


def test_it_is_chinese() -> None:
    prose = [line for _, line in CHINESE.prose() if len(line) > 60 and not line.startswith("|")]
    assert prose
    assert [line for line in prose if not re.search(r"[\u4e00-\u9fff]{4}", line)] == []
