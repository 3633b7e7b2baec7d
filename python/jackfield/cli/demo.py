"""`jackfield demo`: lessons on sockets.

Owns what people and scripts see of a lesson: its steps as they happen, with a pause behind each on a
terminal; or one JSON object for each. What a lesson does and says is `demos`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import json
import os
import sys

from ..demos import LANGUAGES, LESSONS, Lesson, NotAsSaid, find, language_of, texts_of, words_of
from .demo_view import heading, list_lines, next_lines, step_lines
from .failures import USAGE, Failure
from .loop import run
from .operate import print_json, terminal_width


class Left(Exception):
    """The reader has had enough of the lesson."""


def lessons(lang: str | None, *, as_json: bool) -> None:
    """List the lessons."""
    language = _chosen(lang)
    texts = [(lesson.name, texts_of(lesson.name, language)) for lesson in LESSONS]
    if as_json:
        print_json([{"name": name, "title": text.title, "about": text.about} for name, text in texts])
    else:
        print("\n".join(list_lines(texts, words_of(language), width=terminal_width())))


def demo(name: str, lang: str | None, *, source: bool, pause: bool, as_json: bool) -> None:
    """Run one lesson, or print its code."""
    language, lesson = _chosen(lang), find(name)
    if lesson is None:
        near = difflib.get_close_matches(name, [known.name for known in LESSONS], 1, 0.6)
        hint = f"did you mean {near[0]}; " if near else ""
        raise Failure(f"there is no lesson {name!r}", f"{hint}jackfield demo lists them", code=USAGE)
    if source:
        print("\n\n".join(f"# {path}\n\n{text}" for path, text in lesson.sources()), end="")
        return
    is_paused = pause and not as_json and sys.stdin.isatty() and sys.stdout.isatty()
    page = _Page(lesson, language, is_paused=is_paused, as_json=as_json)
    try:
        with contextlib.suppress(Left):
            run(page.run)
    except NotAsSaid as problem:
        raise Failure(
            f"the lesson {lesson.name} saw something else than it says: {problem}",
            "run it again; a machine with unusual settings or under heavy load can be the reason",
        ) from None


def _chosen(lang: str | None) -> str:
    language = language_of(os.environ) if lang is None else lang
    if language not in LANGUAGES:
        raise Failure(f"there are no texts in {lang!r}", f"one of {', '.join(LANGUAGES)}", code=USAGE)
    return language


class _Page:
    """One lesson on its way to standard output, which examples print to as well: theirs is caught."""

    def __init__(self, lesson: Lesson, language: str, *, is_paused: bool, as_json: bool) -> None:
        self._lesson = lesson
        self._text = texts_of(lesson.name, language)
        self._words = words_of(language)
        self._is_paused = is_paused
        self._as_json = as_json
        self._output = sys.stdout
        self._width = terminal_width()
        self._count = 0

    async def run(self) -> None:
        """All of it. Raises `Left` when the reader leaves, and `NotAsSaid`."""
        if not self._as_json:
            self._print(heading(self._text, width=self._width))
        await self._lesson.run(self.show)
        if self._as_json:
            self._print([json.dumps({"lesson": self._lesson.name, "next": self._text.next})])
        else:
            self._print(next_lines(self._text, self._words, width=self._width))

    async def show(self, step: str, /, *lines: str, **facts: object) -> None:
        """Show a step, and wait for the reader before the next one is done, if that is asked for."""
        self._count += 1
        text = self._text.steps[step].filled(facts)
        if self._as_json:
            said = {"title": text.title, "does": text.does, "seen": text.seen, "why": text.why}
            record = {"lesson": self._lesson.name, "step": step, **said, "lines": lines}
            self._print([json.dumps({**record, "facts": {name: str(fact) for name, fact in facts.items()}})])
        else:
            count = f"{self._count}/{len(self._text.steps)}"
            self._print(step_lines(count, text, lines, self._words, width=self._width))
        if self._is_paused and self._count < len(self._text.steps):
            await self._next()

    def _print(self, lines: list[str]) -> None:
        print("\n".join(lines), file=self._output, flush=True)

    async def _next(self) -> None:
        """Wait for Enter. Raises `Left` for q, and for the end of the input."""
        print(f"\n[{self._words['pause']}] ", end="", file=self._output, flush=True)
        loop = asyncio.get_running_loop()
        typed: asyncio.Future[bytes] = loop.create_future()

        def readable() -> None:
            loop.remove_reader(0)
            typed.set_result(os.read(0, 4096))

        loop.add_reader(0, readable)
        try:
            line = await typed
        finally:
            loop.remove_reader(0)
        if not line or line.strip().lower() in (b"q", b"quit"):
            raise Left
