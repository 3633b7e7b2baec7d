"""How the hub is, asked at a bad moment."""

from __future__ import annotations

import builtins
import os
from typing import Any

import pytest

from jackfield.hub.health import descriptors, resident_bytes


def test_the_process_as_it_is() -> None:
    used, most = descriptors()
    assert 3 <= used <= most
    assert 2**20 < resident_bytes() < 2**40


def test_no_descriptor_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks must be told all the same: it is what an operator looks at just then."""

    def full(*_: Any, **__: Any) -> Any:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "listdir", full)
    monkeypatch.setattr(builtins, "open", full)
    used, most = descriptors()
    assert used == most
    assert resident_bytes() > 2**20
