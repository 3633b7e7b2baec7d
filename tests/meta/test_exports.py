"""The package's face: its lazy names are those that type checkers are told, and each explains itself."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

import jackfield
from jackfield import testing

SOURCE = Path(jackfield.__file__)


def told_to_type_checkers() -> dict[str, str]:
    """Name to module, as the block under TYPE_CHECKING says."""
    tree = ast.parse(SOURCE.read_text())
    blocks = [
        node
        for node in tree.body
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    ]
    assert len(blocks) == 1
    names = {}
    for node in blocks[0].body:
        assert isinstance(node, ast.ImportFrom)
        assert node.module is not None
        if node.module == "jackfield":
            assert {alias.name for alias in node.names} <= set(jackfield._SUBMODULES)
            continue
        for alias in node.names:
            assert alias.asname == alias.name, (
                f"{alias.name} is not exported: write `{alias.name} as {alias.name}`"
            )
            assert alias.name not in names
            names[alias.name] = node.module
    return names


def public_members(owner: type) -> Iterator[tuple[str, object]]:
    """What users call on a class of ours; inherited built-ins explain themselves."""
    for name in dir(owner):
        if name.startswith("_"):
            continue
        home = next(kind for kind in owner.__mro__ if name in kind.__dict__)
        if home.__module__.startswith("jackfield"):
            yield name, inspect.getattr_static(owner, name)


def test_the_lazy_table_says_what_type_checkers_are_told() -> None:
    table = {name: f"jackfield.{module}" for name, module in jackfield._MODULES.items()}
    assert table == told_to_type_checkers()
    assert jackfield.__all__ == sorted(table)
    assert set(table) <= set(dir(jackfield))


@pytest.mark.parametrize("name", jackfield.__all__)
def test_each_name_is_there_and_explains_itself(name: str) -> None:
    value = getattr(jackfield, name)
    home = importlib.import_module(f"jackfield.{jackfield._MODULES[name]}")
    assert value is getattr(home, name)
    assert value is getattr(jackfield, name), "the second look-up finds the same"
    if isinstance(value, types.UnionType):
        return
    assert inspect.getdoc(value), f"{name} has no docstring"


@pytest.mark.parametrize("name", [name for name in jackfield.__all__ if name[0].isupper()])
def test_each_method_and_property_explains_itself(name: str) -> None:
    value = getattr(jackfield, name)
    if not isinstance(value, type):
        return
    fields = {*getattr(value, "__annotations__", ()), *getattr(value, "__dataclass_fields__", ())}
    silent = [
        member
        for member, found in public_members(value)
        if member not in fields
        and (
            callable(found)
            or inspect.isdatadescriptor(found)
            or isinstance(found, (classmethod, staticmethod))
        )
        and not getattr(found, "__doc__", None)
    ]
    assert silent == []


@pytest.mark.parametrize("name", testing.__all__)
def test_what_testing_offers_explains_itself(name: str) -> None:
    value = getattr(testing, name)
    assert inspect.getdoc(value)
    if isinstance(value, type):
        fields = getattr(value, "__dataclass_fields__", ())
        members = [member for member in public_members(value) if member[0] not in fields]
        assert [member for member, found in members if not getattr(found, "__doc__", None)] == []


def test_testing_needs_no_test_runner() -> None:
    code = (
        "import sys; import jackfield.testing; print('pytest' in sys.modules or 'hypothesis' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert done.stdout == "False\n", done


def test_what_is_not_there_says_so() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Chanel'"):
        jackfield.Chanel  # noqa: B018
    with pytest.raises(ImportError):
        importlib.import_module("jackfield.Channel")
    assert isinstance(jackfield.__version__, str)


def test_importing_the_package_imports_nothing_else() -> None:
    code = (
        "import sys; import jackfield; "
        "print([name for name in sys.modules if name.startswith('jackfield.') or name == 'asyncio'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert done.stdout == "[]\n", done


@pytest.mark.parametrize("module", jackfield._SUBMODULES)
def test_each_public_module_is_there_and_explains_itself(module: str) -> None:
    found = getattr(jackfield, module)
    assert found is importlib.import_module(f"jackfield.{module}")
    assert inspect.getdoc(found)
    assert found.__all__ == sorted(found.__all__)
    for name in found.__all__:
        value = getattr(found, name)
        assert inspect.getdoc(value), name
        if isinstance(value, type):
            silent = [member for member, kind in public_members(value) if not getattr(kind, "__doc__", None)]
            assert silent == [], name
