"""docs/errors.md and the code say the same, and the program that compares them notices when they do not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from documents import Document  # noqa: E402
from errors import check_errors  # noqa: E402

TEXT = (ROOT / "docs/errors.md").read_text()


def faults(text: str) -> list[str]:
    return [fault.what for fault in check_errors(Document("docs/errors.md", text))]


def line_of(beginning: str) -> str:
    """The row that begins so."""
    (line,) = (line for line in TEXT.splitlines() if line.startswith(beginning))
    return line


def test_it_is_true() -> None:
    assert faults(TEXT) == []


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("| `ConnectRefused` |", "ConnectRefused has no row under 'Classes'"),
        ("| `filtered` |", "filtered has no row under 'Causes'"),
        ("| `offender` |", "the fact offender of JackfieldError has no row under 'Facts'"),
    ],
)
def test_a_missing_row_is_noticed(row: str, fault: str) -> None:
    assert faults(TEXT.replace(line_of(row) + "\n", "")) == [fault]


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ("| `EndOfStream` | `EOFError` |", "| `EndOfStream` | `OSError` |", "EndOfStream is also a EOFError"),
        ("| `no_route` | `HostUnreachable` |", "| `no_route` | `NoRoute` |", "no public error NoRoute"),
        ("| `hint` | `JackfieldError` |", "| `advice` | `JackfieldError` |", "has no fact advice"),
        ("`tests/faults/test_error_table.py::test_silence` |", "a test |", "ConnectTimedOut names no test"),
        (
            "`tests/unit/test_detach.py::test_what_would_be_lost_keeps_it`",
            "`tests/faults/test_names.py::test_listening_on_such_a_name`",
            "tests/faults/test_names.py does not speak of ChannelBusy",
        ),
        ("| `routing_loop` |", "| `no_loop` |", "no_loop is not in the code"),
        ("| see `ip link` | `tests/unit", "| | `tests/unit", "Cause.INTERFACE_DOWN does not say what to do"),
    ],
)
def test_a_wrong_row_is_noticed(before: str, after: str, fault: str) -> None:
    assert TEXT.count(before) == 1
    assert any(fault in found for found in faults(TEXT.replace(before, after)))
