"""The guide to `jackfield.testing`: its examples run as they stand there."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

GUIDE = (Path(__file__).parents[2] / "docs" / "testing.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


def examples() -> dict[str, Callable[[], Any]]:
    """The test functions of the guide, each from a block of its own."""
    found: dict[str, Callable[[], Any]] = {}
    for block in BLOCKS:
        names: dict[str, Any] = {"__name__": "guide"}
        exec(compile(block, "docs/testing.md", "exec"), names)
        found |= {name: value for name, value in names.items() if name.startswith("test_")}
    return found


def test_the_guide_has_examples() -> None:
    assert len(examples()) >= 3


@pytest.mark.parametrize("name", examples())
def test_an_example_of_the_guide_runs(name: str) -> None:
    examples()[name]()
