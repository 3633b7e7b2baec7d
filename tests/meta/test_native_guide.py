"""The guide to native clients: its programs run as they stand there, and print what it says."""

from __future__ import annotations

import contextlib
import inspect
import io
import re
from pathlib import Path
from typing import Any

import pytest
from background import real_hub

import jackfield

GUIDE = (Path(__file__).parents[2] / "docs" / "native-clients.md").read_text()
PROGRAMS = re.findall(r"^## ([^\n]*)$(?:(?!^## ).)*?^```python\n(.*?)^```\n\n```text\n(.*?)^```$",
                      GUIDE, re.MULTILINE | re.DOTALL)  # fmt: skip


def test_every_program_of_the_guide_has_what_it_prints() -> None:
    assert len(PROGRAMS) == GUIDE.count("```python") >= 7


@pytest.mark.parametrize(("program", "printed"), [pytest.param(*each[1:], id=each[0]) for each in PROGRAMS])
def test_a_program_of_the_guide_prints_what_it_says(directory: Path, program: str, printed: str) -> None:
    names: dict[str, Any] = {"__name__": "guide"}
    exec(compile(program, "docs/native-clients.md", "exec"), names)
    main = names["main"]
    with real_hub(directory) as where, contextlib.redirect_stdout(io.StringIO()) as shown:
        address = where.partition("?")[0]
        if inspect.iscoroutinefunction(main):
            jackfield.run(lambda: main(address))
        else:
            main(address)
    assert shown.getvalue() == printed.replace("tcp://127.0.0.1:7000", address)
