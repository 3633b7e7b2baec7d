"""The checker of docs/promises.md finds what it is there for: each row, each test, each kind of promise."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import jackfield

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import promises  # noqa: E402
from documents import Document  # noqa: E402

NAME = "docs/promises.md"
TEXT = (ROOT / NAME).read_text()
LINES = TEXT.splitlines()
ROWS = [(number, heading) for number, heading, _ in Document(NAME, TEXT).rows()]

PYTHON = """
import pytest
from helping import demand, repeat

def test_asserts():
    assert 1 == 1

def test_expects_an_error():
    with pytest.raises(ValueError):
        int("x")

def test_in_a_coroutine(run):
    async def main():
        assert 1 == 1
    run(main)

def test_by_a_helper():
    own_helper()

def own_helper():
    repeat(demand)

def test_by_a_method(thing):
    thing.must_hold()

def test_nothing():
    print("fine")

def test_by_a_helper_that_does_not():
    repeat(print)

@pytest.mark.skip(reason="not today")
def test_skipped():
    assert 1 == 1

def test_skips_itself():
    pytest.skip("not today")
    assert 1 == 1

@pytest.mark.xfail
def test_fails():
    assert 1 == 2

@pytest.mark.skipif(True, reason="no such program here")
def test_skipped_for_want_of_something():
    assert 1 == 1
"""

HELPING = """
class Thing:
    def must_hold(self):
        raise AssertionError("it does not")

def demand(value):
    assert value

def repeat(what):
    what(1)
"""

RUST = """
#[test]
fn asserts() { assert_eq!(1, 1); }
#[test]
fn by_a_helper() { if true { helper(); } }
fn helper() { for _ in 0..3 { assert!(true, "{}", 1); } }
#[test]
#[should_panic]
fn by_the_stepper() { stepper_demands(); }
#[test]
fn nothing() { println!("fine"); }
#[test]
#[ignore]
fn ignored() { assert!(true); }
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with tests of every worth."""
    root = tmp_path_factory.mktemp("repository")
    for name, text in (
        ("tests/unit/test_it.py", PYTHON),
        ("tests/helping.py", HELPING),
        ("tests/unit/test_all_skipped.py", "import pytest\npytestmark = pytest.mark.skip\n" + PYTHON),
        ("crates/x/tests/it.rs", RUST),
        ("crates/x/tests/stepper/mod.rs", "pub fn stepper_demands() { assert!(false); }"),
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def found(text: str, root: Path = ROOT) -> list[str]:
    return [str(fault) for fault in promises.check_promises(Document(NAME, text), root)]


def table(*tests: str) -> str:
    return "| a | shown by |\n|---|---|\n" + "".join(f"| x | `{test}` |\n" for test in tests)


def test_the_document_passes() -> None:
    assert found(TEXT) == []
    assert [str(fault) for fault in promises.check_kinds(Document(NAME, TEXT))] == []
    assert len(ROWS) > 80


@pytest.mark.parametrize(("number", "heading"), ROWS, ids=lambda value: str(value))
def test_a_row_without_its_test_is_found(number: int, heading: str) -> None:
    """For each row of the real document: without its tests it is a fault, at its line."""
    del heading
    row = LINES[number - 1]
    without = row.rstrip("| ").rpartition("|")[0] + "| surely |"
    assert without != row
    text = "\n".join([*LINES[: number - 1], without, *LINES[number:]])
    assert found(text) == [
        f"{NAME}:{number}: this promise names no test: write `file::test` in the last column"
    ]


@pytest.mark.parametrize(
    "test",
    [
        "tests/unit/test_it.py::test_asserts",
        "tests/unit/test_it.py::test_expects_an_error",
        "tests/unit/test_it.py::test_in_a_coroutine",
        "tests/unit/test_it.py::test_by_a_helper",
        "tests/unit/test_it.py::test_by_a_method",
        "tests/unit/test_it.py::test_skipped_for_want_of_something",
        "crates/x/tests/it.rs::asserts",
        "crates/x/tests/it.rs::by_a_helper",
        "crates/x/tests/it.rs::by_the_stepper",
    ],
)
def test_a_test_that_shows_something_passes(root: Path, test: str) -> None:
    assert found(table(test), root) == []


@pytest.mark.parametrize(
    ("test", "weakness"),
    [
        ("tests/unit/test_it.py::test_nothing", "asserts nothing"),
        ("tests/unit/test_it.py::test_by_a_helper_that_does_not", "asserts nothing"),
        ("tests/unit/test_it.py::test_skipped", "is always skipped"),
        ("tests/unit/test_it.py::test_skips_itself", "is always skipped"),
        ("tests/unit/test_it.py::test_fails", "is expected to fail"),
        ("tests/unit/test_all_skipped.py::test_asserts", "is always skipped"),
        ("crates/x/tests/it.rs::nothing", "asserts nothing"),
        ("crates/x/tests/it.rs::ignored", "is always skipped"),
    ],
)
def test_a_test_that_shows_nothing_is_found(root: Path, test: str, weakness: str) -> None:
    assert found(table("tests/unit/test_it.py::test_asserts", test), root) == [f"{NAME}:4: {test} {weakness}"]


@pytest.mark.parametrize(
    ("test", "fault"),
    [
        ("tests/unit/test_it.py::test_missing", "tests/unit/test_it.py has no test test_missing"),
        ("tests/unit/test_it.py::own_helper", "tests/unit/test_it.py has no test own_helper"),
        ("tests/unit/test_other.py::test_x", "there is no test file tests/unit/test_other.py"),
        ("crates/x/tests/it.rs::helper", "crates/x/tests/it.rs has no test helper"),
    ],
)
def test_a_test_that_does_not_exist_is_found(root: Path, test: str, fault: str) -> None:
    faults = [fault.what for fault in promises.check_tests(Document(NAME, table(test)), root)]
    assert faults == [fault]


def test_a_table_without_the_column_is_found(root: Path) -> None:
    text = table("tests/unit/test_it.py::test_asserts").replace("shown by", "remarks")
    assert found(text, root) == [f"{NAME}:1: the last column of a table of promises is 'shown by'"]


@pytest.mark.parametrize("heading", promises.KINDS)
def test_a_missing_section_is_found(heading: str) -> None:
    text = TEXT.replace(f"## {heading}\n", "## Something else\n")
    faults = [fault.what for fault in promises.check_kinds(Document(NAME, text))]
    assert faults == [f"there is no table under the heading {heading!r}"]


@pytest.mark.parametrize(
    ("heading", "subject"), [(heading, each) for heading, all_ in promises.KINDS.items() for each in all_]
)
def test_a_missing_subject_is_found(heading: str, subject: str) -> None:
    """Without the rows that speak of it there is a fault."""
    gone = {
        number
        for number, where, cells in Document(NAME, TEXT).rows()
        if where == heading and subject in " ".join(cells[:-1])
    }
    assert gone
    text = "\n".join(line for number, line in enumerate(LINES, 1) if number not in gone)
    faults = [fault.what for fault in promises.check_kinds(Document(NAME, text))]
    expected = {
        f"no row under {heading!r} speaks of {subject}",
        f"there is no table under the heading {heading!r}",
    }
    assert expected & set(faults)


@pytest.mark.parametrize("column", ["order", "loss", "boundaries"])
def test_a_missing_column_is_found(column: str) -> None:
    text = TEXT.replace(
        "| transport | order | loss | boundaries |",
        "| transport | order | loss | boundaries |".replace(f" {column} ", " x "),
    )
    assert any(f"this table has a column {column!r}" in fault for fault in found(text))


def test_every_policy_of_a_full_queue_is_a_kind() -> None:
    assert {f"`{policy}`" for policy in jackfield.WhenFull} <= set(
        promises.KINDS["When the send queue is full"]
    )
