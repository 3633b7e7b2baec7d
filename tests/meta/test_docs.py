"""The documents are true where a program can tell, and the program that tells notices when they are not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import check_docs  # noqa: E402
from documents import Document, Fault, cells_of  # noqa: E402

LIMITS = (ROOT / "docs/promises.md").read_text()


@pytest.mark.parametrize("document", check_docs.documents(), ids=lambda document: document.name)
def test_the_document_is_true(document: Document) -> None:
    assert [str(fault) for fault in check_docs.check(document)] == []


def test_the_documents_are_there() -> None:
    names = {document.name for document in check_docs.documents()}
    wanted = {f"docs/{name}.md" for name in ("architecture", "promises", "mission")}
    assert wanted | {"README.md", "benches/README.md"} <= names


def test_the_figures_have_their_place() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    assert text.count("<!-- figures -->") == 1
    assert text.index("## Measured") < text.index("<!-- figures -->")


def test_change_fragments_are_numbered() -> None:
    fragments = sorted(path.name for path in (ROOT / "changes").glob("*.md") if path.name != "README.md")
    numbers = [int(name[:4]) for name in fragments]
    assert numbers[0] == 1
    assert len(set(numbers)) == len(numbers), "two of them have one number"


def faults(text: str, name: str = "docs/sample.md") -> list[str]:
    return [fault.what for fault in check_docs.check(Document(name, text))]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[a](nothing.md)", "the link nothing.md leads nowhere"),
        ("[a](promises.md#nothing)", "promises.md has no heading #nothing"),
        ("`python/jackfield/nothing.py`", "there is no python/jackfield/nothing.py"),
        ("`tests/meta/test_docs.py::test_nothing`", "tests/meta/test_docs.py has no test test_nothing"),
        ("`tests/nothing.py::test_x`", "there is no test file tests/nothing.py"),
        ("`crates/engine/tests/streams.rs::nothing`", "crates/engine/tests/streams.rs has no test nothing"),
        ("`jackfield nothing`", "jackfield has no command nothing"),
        ("`jackfield clients --nothing`", "jackfield clients has no option --nothing"),
        (
            "```sh\necho x | .venv/bin/jackfield talk x --nothing 2s\n```",
            "jackfield talk has no option --nothing",
        ),
        ("`make nothing`", "the Makefile has no target nothing"),
        ("`python examples/nothing.py`", "there is no examples/nothing.py"),
        ("`cargo test --test nothing`", "there is no Rust test nothing"),
        ("```python\nx = (\n```", "this is no Python: '(' was never closed"),
    ],
)
def test_a_fault_is_found(text: str, fault: str) -> None:
    assert fault in faults(text)


@pytest.mark.parametrize(
    "text",
    [
        "[a](promises.md#order-loss-and-boundaries) [b](https://example.org/x) [c](#here)\n\n# Here",
        "`tests/meta/test_docs.py::test_a_fault_is_found`",
        "`crates/engine/tests/framers.rs::what_is_sent_arrives`",
        "`crates/engine/tests/streams.rs::abort_resets`",
        "`jackfield clients --json`, `jackfield ls`, `make run ADDRESSES=tcp://:7000`, `application/json`",
        "```sh\nnice make test    # all of it\nuntil jackfield clients; do sleep 1; done\n```",
        "# What is missing\n\n`jackfield nothing`",
    ],
)
def test_what_is_true_passes(text: str) -> None:
    assert faults(text) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [("| `idle_timeout` | 60s |", "| `idle_timeout` | 61s |"), ("| 50000 |", "| 50001 |")],
)
def test_a_wrong_default_is_found(before: str, after: str) -> None:
    assert before in LIMITS
    found = list(check_docs.check_limits(Document("docs/promises.md", LIMITS.replace(before, after))))
    assert len(found) == 1
    assert "the default of " in found[0].what


def test_each_row_of_the_mission_has_its_state_and_command() -> None:
    rows = "".join(f"| M{number} | x | not yet | |\n" for number in range(1, 31))
    head = "| row | promise | state | see it |\n|---|---|---|---|\n"

    def mission(text: str) -> list[Fault]:
        return list(check_docs.check_mission(Document("docs/mission.md", head + text)))

    assert mission(rows) == []
    assert [fault.line for fault in mission(rows.replace("| M7 | x | not yet |", "| M7 | x | soon |"))] == [9]
    assert [fault.line for fault in mission(rows.replace("| M7 | x | not yet |", "| M7 | x | kept |"))] == [9]
    assert "missing: M7" in mission(rows.replace("| M7 |", "| M8 |"))[-1].what


def test_a_bar_in_backticks_is_no_bar() -> None:
    assert cells_of("| `a | b` | c |  |") == ["`a | b`", "c", ""]
