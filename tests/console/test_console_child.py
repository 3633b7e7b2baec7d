"""Commands in a process of their own: lines out, an end when it is asked for, nothing left behind."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest
from support import eventually

import jackfield
from jackfield.console.child import Child


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def run(program: str, *, width: int = 60) -> tuple[int, list[str]]:
    lines: list[str] = []

    async def main() -> int:
        child = Child([sys.executable, "-c", program], environment=os.environ, width=width, said=lines.append)
        async with asyncio.timeout(50):
            return await child.run()

    return jackfield.run(main), lines


def test_it_has_a_terminal_of_the_consoles_width_and_no_input() -> None:
    program = "import os, sys; print(sys.stdout.isatty(), os.get_terminal_size(1).columns, sys.stdin.read())"
    assert run(program) == (0, ["True 60 "])


def test_what_it_prints_is_safe_and_in_lines() -> None:
    program = r"import sys; sys.stdout.buffer.write(b'a\tb\x1b[2J\n10%\r20%\r\nlast \xff'); sys.exit(3)"
    assert run(program) == (3, [r"a       b\e[2J", "20%", r"last \xff"])


def test_a_line_without_an_end_is_bounded() -> None:
    code, lines = run("print('x' * 100_000)")
    assert code == 0
    assert sum(map(len, lines)) == 100_000
    assert max(map(len, lines)) < 80_000


@pytest.mark.parametrize("stubborn", [False, True])
def test_it_can_be_ended(stubborn: bool) -> None:
    ignore = "signal.signal(signal.SIGINT, signal.SIG_IGN)" if stubborn else "pass"
    program = f"import signal, time; {ignore}; print('there', flush=True); time.sleep(100)"

    async def main() -> int:
        child: Child | None = None

        def said(line: str) -> None:
            if line == "there" and child is not None:
                child.interrupt()

        child = Child([sys.executable, "-c", program], environment=os.environ, width=80, said=said)
        async with asyncio.timeout(50):
            return await child.run()

    assert jackfield.run(main) == (-9 if stubborn else -2)


def test_cancelled_it_is_killed() -> None:
    async def main() -> None:
        started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        program = [sys.executable, "-c", "import time; time.sleep(100)"]
        child = Child(program, environment=os.environ, width=80, said=lambda line: None)
        task = asyncio.create_task(child.run(started.set_result))
        async with asyncio.timeout(50):
            pid = await started
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await eventually(lambda: not is_running(pid), "the command's end", 30)

    jackfield.run(main)
