"""What a lesson is, and which there are.

Owns the list of lessons, and what they are made with: `Show`, `claim`, and `printed`, which catches what an
example prints.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.resources import files
from typing import Protocol

LIMIT = 10.0
"""Seconds that a lesson waits for what must come at once: only a fault lets them pass."""


class Show(Protocol):
    """Shows one step of a lesson: its name, lines as they were seen, and facts for the text to name."""

    async def __call__(self, step: str, /, *lines: str, **facts: object) -> None: ...


class NotAsSaid(Exception):
    """What a lesson says did not happen on this machine."""


def claim(holds: bool, /, *seen: object) -> None:
    """Hold what was seen against what the lesson says. Raises `NotAsSaid` with what was seen instead."""
    if not holds:
        raise NotAsSaid("; ".join(map(str, seen)) or "something that the lesson says did not happen")


@dataclass(frozen=True)
class Lesson:
    """One lesson: its name on the command line, and the examples whose code it runs."""

    name: str
    examples: tuple[str, ...]

    @property
    def module(self) -> str:
        """The lesson's module in `lessons`."""
        return self.name.replace("-", "_")

    async def run(self, show: Show) -> None:
        """Do it, with a call of `show` for each step. Raises `NotAsSaid`, and whatever `show` raises.

        Sockets and programs that it has opened are closed whenever it ends, by cancellation too.
        """
        await import_module(f"{__package__}.lessons.{self.module}").lesson(show)

    def sources(self) -> Iterator[tuple[str, str]]:
        """The code that runs: name and text of its examples, then of the lesson itself."""
        folder = files(__package__)
        for path in (*(f"examples/{name}.py" for name in self.examples), f"lessons/{self.module}.py"):
            yield path, folder.joinpath(path).read_text()


LESSONS = (
    Lesson("server-and-client", ("echo_server",)),
    Lesson("sticky-packets", ("sticky_packets",)),
    Lesson("pick-a-client", ("pick_a_client",)),
    Lesson("udp-chat", ("udp_nicknames",)),
    Lesson("half-close", ("half_close",)),
    Lesson("back-pressure", ("full_queue",)),
    Lesson("address-in-use", ("address_in_use",)),
    Lesson("connect-failures", ("connect_failures",)),
)
"""In the order in which they are best taken."""


def find(name: str) -> Lesson | None:
    """The lesson of this name or number."""
    for number, lesson in enumerate(LESSONS, 1):
        if name.replace("_", "-") in (lesson.name, str(number)):
            return lesson
    return None


class Printed(io.TextIOBase):
    """Lines that an example prints while a lesson runs it."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._begun = ""
        self._more = asyncio.Event()

    def write(self, text: str) -> int:
        *whole, self._begun = (self._begun + text).split("\n")
        self._lines += whole
        self._more.set()
        return len(text)

    def take(self) -> list[str]:
        """The lines since the last call of `take` or `until`."""
        taken, self._lines = self._lines, []
        return taken

    async def until(self, pattern: str) -> list[str]:
        """The lines up to one that matches, once it is there. Raises `NotAsSaid` if it does not come."""
        try:
            async with asyncio.timeout(LIMIT):
                while True:
                    for number, line in enumerate(self._lines, 1):
                        if re.search(pattern, line):
                            taken, self._lines = self._lines[:number], self._lines[number:]
                            return taken
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            raise NotAsSaid(f"no line such as {pattern!r} came: {self._lines}") from None


@contextlib.contextmanager
def printed() -> Iterator[Printed]:
    """Catch what is printed in this block."""
    lines = Printed()
    with contextlib.redirect_stdout(lines):
        yield lines
