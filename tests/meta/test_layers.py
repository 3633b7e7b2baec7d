"""Imports point down only: applications -> library -> boundary -> engine. `unsafe` stays where it belongs."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import jackfield

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "python" / "jackfield"
LIBRARY = sorted(PACKAGE.glob("*.py"))
APPLICATIONS = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE)
USERS = sorted(
    path for folder in ("examples", "benches", "scripts") for path in (ROOT / folder).rglob("*.py")
)
PUBLIC = {*jackfield.__all__, *jackfield._SUBMODULES, "__version__"}
NAMED_TUPLES = (
    "_asdict",
    "_field_defaults",
    "_fields",
    "_make",
    "_replace",
)  # public, in spite of their names
MAY_USE = {
    "hub": {"hub", "recording", "native"},
    "native": {"native"},
    "diagnosis": {"diagnosis"},
    "demos": {"demos"},
    "console": {"console", "hub"},
    "web": {"web", "diagnosis", "hub"},
    "cli": {"cli", "console", "demos", "diagnosis", "hub", "native", "recording", "web"},
    "recording": {"recording"},
    "testing": {"testing"},
}
"""Which applications an application may import: none that stands beside or above it."""


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(path: Path) -> Iterator[tuple[str, str | None, bool]]:
    """Everything that a file imports: module, name or None, whether whenever the file itself is imported."""
    tree = ast.parse(path.read_text(), str(path))
    package = ["jackfield", *path.parent.relative_to(PACKAGE).parts] if path.is_relative_to(PACKAGE) else []
    at_top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, None, id(node) in at_top
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, node.module] if node.module else above)
            for alias in node.names:
                yield module, alias.name, id(node) in at_top


def private_uses(path: Path) -> Iterator[str]:
    """What a file takes from below the public names: `jackfield._x`, in an import or as an attribute."""
    for module, name, _ in imports(path):
        parts = module.split(".")
        if parts[0] != "jackfield":
            continue
        if len(parts) > 1 and parts[1].startswith("_"):
            yield f"import {module}"
        elif module == "jackfield" and name is not None and name not in PUBLIC:
            yield f"from jackfield import {name}"
    tree = ast.parse(path.read_text(), str(path))
    hidden = {
        name
        for public in map(jackfield.__dict__.get, PUBLIC)
        if isinstance(public, type)
        for name in dir(public)
        if name.startswith("_") and not name.startswith("__") and name not in NAMED_TUPLES
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "jackfield" and node.attr not in PUBLIC:
                yield f"jackfield.{node.attr}"
            elif node.value.id not in ("self", "cls") and node.attr in hidden:
                yield f"{node.value.id}.{node.attr}"


@pytest.fixture(scope="module", autouse=True)
def _every_name_loaded() -> None:
    """Names of the package come when they are first used."""
    for name in PUBLIC:
        getattr(jackfield, name)


@pytest.mark.parametrize("path", APPLICATIONS, ids=name_of)
def test_applications_use_the_public_library_alone(path: Path) -> None:
    assert list(private_uses(path)) == []
    own = path.relative_to(PACKAGE).parts[0]
    for module, _, _ in imports(path):
        parts = module.split(".")
        if parts[0] == "jackfield" and len(parts) > 1 and parts[1] not in jackfield._SUBMODULES:
            assert parts[1] in MAY_USE[own], f"{own} stands beside or below {parts[1]}"


@pytest.mark.parametrize("path", USERS, ids=name_of)
def test_examples_benchmarks_and_scripts_use_public_names_alone(path: Path) -> None:
    assert list(private_uses(path)) == []


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_the_library_knows_no_application(path: Path) -> None:
    for module, name, _ in imports(path):
        whole = f"{module}.{name}" if name else module
        assert not re.match(rf"jackfield\.({'|'.join(MAY_USE)})\b", whole), whole


def test_every_application_has_its_place() -> None:
    folders = {path.relative_to(PACKAGE).parts[0] for path in APPLICATIONS}
    assert folders == set(MAY_USE), "say in MAY_USE what a new application may import"


def test_library_modules_import_each_other_without_a_circle() -> None:
    below: dict[str, set[str]] = {}
    for path in LIBRARY:
        used = set()
        for module, name, at_top in imports(path):
            whole = f"{module}.{name}" if module == "jackfield" and name else module
            if at_top and whole.startswith("jackfield._"):
                used.add(whole.split(".")[1])
        below[path.stem] = used
    try:
        TopologicalSorter(below).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


def test_the_engine_has_no_python() -> None:
    manifest = tomllib.loads((ROOT / "crates/engine/Cargo.toml").read_text())
    for table in ("dependencies", "dev-dependencies", "build-dependencies"):
        assert not [name for name in manifest.get(table, {}) if "py" in name.lower()]
    for path in (ROOT / "crates/engine").rglob("*.rs"):
        assert not re.search(r"\bpyo3\b|\bjackfield_python\b", path.read_text()), path


def code_of(line: str) -> str:
    """A line of Rust without its comment and its texts."""
    return re.sub(r'"(?:[^"\\]|\\.)*"', '""', line).partition("//")[0]


def unsafe_lines() -> Iterator[tuple[Path, int, list[str]]]:
    """Where `unsafe` stands in the crates' sources: file, line from 0, the file's lines."""
    for path in sorted(ROOT.glob("crates/*/src/**/*.rs")):
        lines = path.read_text().splitlines()
        for number, line in enumerate(lines):
            if re.search(r"\bunsafe\b", code_of(line)):
                yield path, number, lines


def test_unsafe_stays_in_its_places() -> None:
    allowed = (ROOT / "crates/engine/src/sys", ROOT / "crates/python/src/raw.rs")
    found = {path for path, _, _ in unsafe_lines()}
    assert found, "the pattern finds nothing any more"
    assert [name_of(path) for path in found if not any(path.is_relative_to(place) for place in allowed)] == []


def test_the_clock_is_read_in_one_place() -> None:
    """Deadlines follow the reactor's clock, which may be one that steps: nobody asks the kernel beside it."""
    allowed = {"crates/engine/src/clock.rs", "crates/engine/src/wait.rs", "crates/engine/src/sys/mod.rs"}
    found = {
        name_of(path)
        for path in ROOT.glob("crates/*/src/**/*.rs")
        if re.search(r"\bmonotonic_ns\(\)|Instant::now", path.read_text())
    }
    assert found == allowed


def test_unsafe_is_explained_where_it_stands() -> None:
    """Blocks and implementations; what a declaration asks of its callers, its documentation says."""
    unexplained = []
    for path, number, lines in unsafe_lines():
        code = code_of(lines[number])
        if not re.search(r"\bunsafe\s*(\{|impl\b)", code):
            continue
        # Above the statement, which may have begun some lines before; a comment may have several lines, too.
        if not any("SAFETY:" in line for line in lines[max(0, number - 6) : number + 1]):
            unexplained.append(f"{name_of(path)}:{number + 1}: {lines[number].strip()}")
    assert unexplained == []


def test_what_is_private_is_found(tmp_path: Path) -> None:
    """The check itself: each of these lines is caught, and no other."""
    wrong = [
        "import jackfield._loop",
        "from jackfield._channel import Channel",
        "from jackfield import _engine",
        "jackfield._engine.Reactor()",
        "channel._facts()",
    ]
    right = [
        "import jackfield",
        "from jackfield import Channel, __version__",
        "jackfield.connect('pair:')",
        "self._facts()",
        "channel._own",
        "from __future__ import annotations",
    ]
    for line in wrong + right:
        path = tmp_path / "program.py"
        path.write_text(line)
        assert len(list(private_uses(path))) == (line in wrong), line
