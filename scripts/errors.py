"""Checks docs/errors.md against the code: classes, their parents, causes, facts, and a test for each row.

Every public exception has its row under "Classes" with the built-in that it also is, every `Cause` one under
"Causes" with classes that exist, and a fact's row names an attribute that the class really has. A row that
names something that is not there is a fault, too. The test that a row names must speak of what it is about.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from documents import ROOT, Document, Fault
from promises import named_tests, weakness_of

Row = tuple[int, list[str]]


def check_errors(document: Document, root: Path = ROOT) -> Iterator[Fault]:
    """Everything that is demanded of docs/errors.md."""
    import jackfield

    tables: dict[str, list[Row]] = {"Facts": [], "Classes": [], "Causes": []}
    for number, heading, cells in document.rows():
        if heading in tables:
            tables[heading].append((number, cells))
    public = {name: getattr(jackfield, name) for name in dir(jackfield)}
    classes = {
        name: kind
        for name, kind in public.items()
        if isinstance(kind, type) and issubclass(kind, BaseException)
    }
    causes = {str(cause): cause for cause in jackfield.Cause}
    for heading, known in (("Classes", set(classes)), ("Causes", set(causes))):
        yield from _check_names(document, heading, tables[heading], known)
    for number, cells in tables["Classes"]:
        kind = classes.get(_name(cells))
        if kind is not None and _built_in(kind) != (words := re.findall(r"\w+", cells[1])):
            has = " and ".join(_built_in(kind)) or "nothing else"
            yield Fault(document.name, number, f"{_name(cells)} is also a {has}, not {words}")
    for number, cells in tables["Causes"]:
        for name in re.findall(r"\w+", cells[1]):
            if name not in classes:
                yield Fault(document.name, number, f"there is no public error {name}")
    for heading in ("Classes", "Causes"):
        for number, cells in tables[heading]:
            subject = f"Cause.{_name(cells).upper()}" if heading == "Causes" else _name(cells)
            yield from _check_row(document, number, cells, subject, root)
    yield from _check_facts(document, tables["Facts"], classes)


def _name(cells: list[str]) -> str:
    return cells[0].strip("`")


def _check_names(document: Document, heading: str, rows: list[Row], known: set[str]) -> Iterator[Fault]:
    named = [_name(cells) for _, cells in rows]
    for name in sorted(known - set(named)):
        yield Fault(document.name, 1, f"{name} has no row under {heading!r}")
    for number, cells in rows:
        if _name(cells) not in known:
            yield Fault(document.name, number, f"{_name(cells)} is not in the code")
        elif named.count(_name(cells)) > 1:
            yield Fault(document.name, number, f"{_name(cells)} has more than one row")


def _built_in(kind: type) -> list[str]:
    """The built-in that a caller would catch: the nearest one, unless that is Exception itself."""
    for parent in kind.__mro__[1:]:
        if parent.__module__ == "builtins":
            return [] if parent in (Exception, BaseException, object) else [parent.__name__]
    return []


def _check_row(
    document: Document, number: int, cells: list[str], subject: str, root: Path
) -> Iterator[Fault]:
    if not all(cells[2:4]):
        yield Fault(document.name, number, f"the row of {subject} does not say what to do")
    tests = named_tests(cells[-1])
    if not tests:
        yield Fault(document.name, number, f"the row of {subject} names no test")
    for file, test in tests:
        path = root / file
        if not path.is_file():
            continue  # told by check_tests
        if not re.search(rf"\b{re.escape(subject)}\b", path.read_text()):
            yield Fault(document.name, number, f"{file} does not speak of {subject}")
        weakness = weakness_of(path, test)
        if weakness:
            yield Fault(document.name, number, f"{file}::{test} {weakness}")


def _check_facts(document: Document, rows: list[Row], classes: dict[str, type]) -> Iterator[Fault]:
    told = {(_name(cells), cells[1].strip("`")) for _, cells in rows}
    for number, cells in rows:
        kind = classes.get(cells[1].strip("`"))
        if kind is None or not any(_name(cells) in _annotations(parent) for parent in kind.__mro__):
            yield Fault(document.name, number, f"{cells[1].strip('`')} has no fact {_name(cells)}")
    names = {name for name, _ in told}
    for kind_name, kind in classes.items():
        for fact in _annotations(kind):
            if fact not in names:
                yield Fault(document.name, 1, f"the fact {fact} of {kind_name} has no row under 'Facts'")


def _annotations(kind: type) -> list[str]:
    return list(inspect.get_annotations(kind))
