"""Checks docs/promises.md: each row names a test, the test shows something, no kind of promise is missing.

A table's last column is "shown by", and every row of it has at least one `file::test` there. A test that a
promise rests on must exist, assert something, itself or in a helper of the tests, and be neither skipped nor
expected to fail wherever it runs. (One that skips for want of a program or a right is good enough: CI fails
on such skips.)
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from documents import ROOT, Document, Fault

SHOWN = "shown by"

KINDS: dict[str, tuple[str, ...]] = {
    "Order, loss and boundaries": (
        "`tcp`",
        "`unix`",
        "`pair`",
        "`unix+seqpacket`",
        "`unix+dgram`",
        "`udp`",
        "group",
    ),
    "A slow reader": ("receiving", "sending", "`high_water`"),
    "When the send queue is full": (
        "`wait`",
        "`reject`",
        "`drop_newest`",
        "`drop_oldest`",
        "`disconnect`",
    ),
    "What it means that a call returned": (
        "`send`",
        "`send_nowait`",
        'until="sent"',
        'until="peer_kernel"',
        'until="received"',
        "`flush`",
        "`send_eof`",
        "`close`",
        "`abort`",
        "`receive`",
        "`request`",
        "`broadcast`",
    ),
    "What cancellation leaves behind": ("`receive`", "`send`", "`flush`", "`accept`", "`connect`"),
    "Ends and dead peers": (
        "`EndOfStream`",
        "`ChannelLost`",
        "`PeerVanished`",
        "`PeerStalled`",
        "`TruncatedFrame`",
        "`FramingError`",
    ),
    "Faults": ("cable", "ICMP", "reset", "name server", "stopped", "killed", "descriptor"),
    "Limits and their defaults": ("`max_message`", "`high_water`", "`keepalive`"),
}
"""What the document must speak of, by heading: order, loss, boundaries, back-pressure, full queues, what each
acknowledgement means, cancellation, the death of peers."""

COLUMNS = {"Order, loss and boundaries": ("order", "loss", "boundaries")}


def named_tests(text: str) -> list[tuple[str, str]]:
    """Every `file::test` in a text."""
    return re.findall(r"([\w./-]+\.(?:py|rs))::(\w+)", text)


def check_tests(document: Document, root: Path = ROOT) -> Iterator[Fault]:
    """Every test that any document names exists."""
    for number, line in enumerate(document.text.splitlines(), 1):
        for file, test in named_tests(line):
            if not (root / file).is_file():
                yield Fault(document.name, number, f"there is no test file {file}")
            elif test not in tests_in(root / file):
                yield Fault(document.name, number, f"{file} has no test {test}")


def check_promises(document: Document, root: Path = ROOT) -> Iterator[Fault]:
    """Everything that is demanded of docs/promises.md alone."""
    yield from _check_tables(document)
    for number, _, cells in document.rows():
        tests = named_tests(cells[-1])
        if not tests:
            yield Fault(
                document.name, number, "this promise names no test: write `file::test` in the last column"
            )
        for file, test in tests:
            weakness = (root / file).is_file() and weakness_of(root / file, test)
            if weakness:
                yield Fault(document.name, number, f"{file}::{test} {weakness}")


def check_kinds(document: Document) -> Iterator[Fault]:
    """Each kind of promise has its section, and each of its subjects a row there."""
    said: dict[str, str] = {}
    for _, heading, cells in document.rows():
        said[heading] = said.get(heading, "") + " | ".join(cells[:-1]) + "\n"
    for heading, subjects in KINDS.items():
        if heading not in said:
            yield Fault(document.name, 1, f"there is no table under the heading {heading!r}")
            continue
        for subject in subjects:
            if subject not in said[heading]:
                yield Fault(document.name, 1, f"no row under {heading!r} speaks of {subject}")


def _check_tables(document: Document) -> Iterator[Fault]:
    """The heads: the tests' column is the last one, and has its name."""
    above = ""
    for number, heading, line in document.sections():
        if line.startswith("|") and not above.startswith("|"):
            columns = [cell.strip() for cell in line.strip("| ").split("|")]
            if columns[-1] != SHOWN:
                yield Fault(document.name, number, f"the last column of a table of promises is {SHOWN!r}")
            for column in COLUMNS.get(heading, ()):
                if column not in columns:
                    yield Fault(document.name, number, f"this table has a column {column!r}")
        above = line


# What a test is worth -----------------------------------------------------------------------------


def tests_in(path: Path) -> set[str]:
    """The names of the tests that a file has."""
    if path.suffix == ".py":
        return {name for name in functions_of(path) if name.startswith("test")}
    return set(rust_tests(path))


def weakness_of(path: Path, test: str) -> str:
    """Why a test shows nothing; empty if it does, or does not exist."""
    return _weakness_in_python(path, test) if path.suffix == ".py" else _weakness_in_rust(path, test)


Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


@cache
def functions_of(path: Path) -> dict[str, Function]:
    """All functions and methods of a file by name, wherever they stand."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name: node for node in ast.walk(parsed(path)) if isinstance(node, kinds)}


def _weakness_in_python(path: Path, test: str) -> str:
    function = functions_of(path).get(test)
    if function is None:
        return ""
    marks = [ast.unparse(mark) for mark in function.decorator_list]
    for node in parsed(path).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark":
            marks.append(ast.unparse(node.value))
    for mark in marks:
        found = re.search(r"mark\.(skip|xfail)\b", mark)
        if found:
            return "is always skipped" if found[1] == "skip" else "is expected to fail"
    first = function.body[0]
    if isinstance(first, ast.Expr) and ast.unparse(first.value).startswith("pytest.skip("):
        return "is always skipped"
    return "" if _asserts(path, function, set()) else "asserts nothing"


def _asserts(path: Path, function: Function, seen: set[Function]) -> bool:
    """Whether it asserts, or calls something of the tests that does."""
    seen.add(function)
    known = functions_of(path)
    helpers = {name: helper for each in _helper_files(path) for name, helper in functions_of(each).items()}
    where = {helper: each for each in _helper_files(path) for helper in functions_of(each).values()}
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Raise) and node.exc is not None and "AssertionError" in ast.unparse(node.exc):
            return True
        if not isinstance(node, ast.Call | ast.Name | ast.Attribute):
            continue
        named = node.func if isinstance(node, ast.Call) else node
        name = named.attr if isinstance(named, ast.Attribute) else getattr(named, "id", "")
        if name in ("raises", "fail", "warns") or name.startswith("assert"):
            return True
        called = known.get(name)
        if called is not None and called not in seen and _asserts(path, called, seen):
            return True
        called = helpers.get(name)
        if called is not None and called not in seen and _asserts(where[called], called, seen):
            return True
    return False


@cache
def _helper_files(path: Path) -> tuple[Path, ...]:
    """The test folders' own modules that a file imports from."""
    names = {node.module for node in ast.walk(parsed(path)) if isinstance(node, ast.ImportFrom)}
    names |= {
        alias.name for node in ast.walk(parsed(path)) if isinstance(node, ast.Import) for alias in node.names
    }
    folders = [folder for folder in path.parents if folder.name == "tests" or folder.parent.name == "tests"]
    found = (folder / f"{name}.py" for name in names if name for folder in folders)
    return tuple(file for file in found if file.is_file())


@cache
def rust_tests(path: Path) -> dict[str, str]:
    """Attributes of each test; property tests have theirs inside of a macro."""
    found = re.findall(r"#\[test\]\s*((?:#\[[^\]]*\]\s*)*)fn (\w+)", path.read_text())
    return {name: attributes for attributes, name in found}


@cache
def rust_functions(path: Path) -> dict[str, str]:
    """The body of each function, of the file and of the modules beside it."""
    bodies: dict[str, str] = {}
    for file in (path, *sorted(path.parent.glob("*/*.rs"))):
        text = file.read_text()
        for found in re.finditer(r"\bfn (\w+)", text):
            depth, start = 0, text.find("{", found.end())
            for at in range(start, len(text)):
                depth += (text[at] == "{") - (text[at] == "}")
                if depth == 0:
                    bodies.setdefault(found[1], text[start:at])
                    break
    return bodies


def _weakness_in_rust(path: Path, test: str) -> str:
    attributes = rust_tests(path).get(test)
    if attributes is None:
        return ""
    if "#[ignore" in attributes:
        return "is always skipped"
    bodies, seen, waiting = rust_functions(path), set[str](), [test]
    while waiting:
        name = waiting.pop()
        seen.add(name)
        if re.search(r"assert|panic!|\.expect_err\(", bodies[name]):
            return ""
        waiting += [
            word for word in set(re.findall(r"\w+", bodies[name])) & bodies.keys() if word not in seen
        ]
    return "asserts nothing"
