"""The table in docs/comparison.md: every command of ours runs, every word on another tool has its source."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from typer.testing import CliRunner

import jackfield
from jackfield.cli.app import app

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from documents import Document, cells_of  # noqa: E402

DOCUMENT = Document("docs/comparison.md", (ROOT / "docs/comparison.md").read_text())
HEADS = [cells_of(line) for _, line in DOCUMENT.prose() if line.startswith("| to do")]
ROWS = [cells for _, _, cells in DOCUMENT.rows()]
SOURCES = dict(re.findall(r"^\[([\w-]+)\]: (\S+)$", DOCUMENT.text, re.MULTILINE))
OTHERS = ("IO Ninja", "Packet Sender", "NetAssist", "Hercules", "ncat", "socat")
BROKERS = ("NATS", "mosquitto", "ncat")
BY_LENGTH = {len(others) + 2: others for others in (OTHERS, BROKERS)}  # of a row: which table it is in
EACH = pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])


@cache
def help_of(*words: str) -> str | None:
    """What a command says with `--help`; None where there is no such command."""
    done = CliRunner().invoke(app, [*words, "--help"])
    return done.output if done.exit_code == 0 else None


def command_of(words: list[str]) -> list[str]:
    """The words that name a command, such as `snippet add`."""
    named = words[:1]
    if len(words) > 1 and words[1].isalpha() and (help_of(*words[:1]) or "").find("\nCommands:") >= 0:
        named.append(words[1])
    return named


def commands(cell: str) -> Iterator[list[str]]:
    """The commands in a cell, without `jackfield`."""
    for span in re.findall(r"`([^`]+)`", cell):
        words = shlex.split(span.replace("\\|", "|"))
        assert words[0] == "jackfield", span
        yield words[1:]


def test_the_table_is_there() -> None:
    assert [["to do", "Jackfield", *OTHERS], ["to do between clients", "Jackfield", *BROKERS]] == HEADS
    assert len(ROWS) >= 60
    assert len({row[0] for row in ROWS}) == len(ROWS)


@EACH
def test_every_row_is_a_yes_with_a_command_that_runs(row: list[str]) -> None:
    assert re.match(r"yes: `jackfield [^`]+`$", row[1]), row[1]
    for words in commands(row[1]):
        for address in (word for word in words if "://" in word):
            jackfield.Address.from_command_line(address)
        named = command_of(words)
        text = help_of(*named)
        assert text is not None, f"there is no command {named}"
        for option in (word for word in words if re.match(r"--?[a-z]", word)):
            assert re.search(rf"(?<![\w-]){option}(?![\w-])", text), f"{named} has no option {option}"


@EACH
def test_every_cell_of_another_tool_has_its_source(row: list[str]) -> None:
    for tool, cell in zip(BY_LENGTH[len(row)], row[2:], strict=True):
        if cell == "not found":
            continue
        found = re.fullmatch(r"\[(.+)\]\[([\w-]+)\]", cell)
        assert found is not None, f"{tool}: {cell!r} is neither a link to a source nor 'not found'"
        assert found[2] in SOURCES, found[2]
        if found[1] == "no":
            assert tool in ("ncat", "socat"), f"only a complete manual says that {tool} cannot"


def test_every_source_is_used_and_is_an_address() -> None:
    used = set(re.findall(r"\]\[([\w-]+)\]", DOCUMENT.text))
    assert used == set(SOURCES)
    assert all(re.match(r"https?://[\w.-]+/", address) for address in SOURCES.values())


def test_it_says_what_the_others_do_better() -> None:
    better = DOCUMENT.text.partition("## What the others do better")[2]
    for word in ("Windows", "graphical", "TLS", *OTHERS, *BROKERS):
        assert word in better, word


def test_a_cell_that_is_wrong_is_found() -> None:
    for cell in ("yes: `jackfield nothing`", "yes: `jackfield clients --nothing`", "no", "yes"):
        with pytest.raises(AssertionError):
            test_every_row_is_a_yes_with_a_command_that_runs(["x", cell])
    for cell in ("yes", "no", "[yes][nothing]", "[no][ps]"):
        with pytest.raises(AssertionError):
            test_every_cell_of_another_tool_has_its_source(
                ["x", "yes: `jackfield status`", cell, *["not found"] * 5]
            )
