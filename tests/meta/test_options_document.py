"""docs/options.md lists every option as the code has it."""

from __future__ import annotations

from pathlib import Path

import pytest

import jackfield

DOCUMENT = Path(__file__).parents[2] / "docs" / "options.md"


def row(facts: jackfield.OptionFacts) -> str:
    """The line of the table for one option."""
    everywhere = len(facts.transports) == 7
    transports = "all" if everywhere else ", ".join(facts.transports)
    cells = [
        f"`{facts.name}`",
        facts.default,
        f"`{facts.example}`",
        facts.meaning.replace("``", "`").replace("|", "\\|"),
        transports,
        facts.constants or "-",
        "yes" if facts.changeable else "no",
    ]
    return f"| {' | '.join(cells)} |"


@pytest.mark.parametrize("facts", jackfield.option_table(), ids=lambda facts: facts.name)
def test_the_row_is_as_the_code_is(facts: jackfield.OptionFacts) -> None:
    lines = [line for line in DOCUMENT.read_text().splitlines() if line.startswith(f"| `{facts.name}` |")]
    assert lines == [row(facts)]


def test_there_is_no_row_too_many() -> None:
    rows = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| `")]
    assert len(rows) == len(jackfield.option_table())
