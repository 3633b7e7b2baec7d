"""The texts of the lessons, by language.

Owns how they are found and read: `texts/LANGUAGE/LESSON.toml`, and `words.toml` for what stands around them.
A text may name a fact that the lesson saw, as `{address}`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

LANGUAGES: Final = ("en", "zh")


@dataclass(frozen=True)
class StepText:
    """What is said of one step: what is done, what is seen, and why it is so."""

    title: str
    does: str
    seen: str
    why: str

    def filled(self, facts: Mapping[str, object]) -> StepText:
        """With the facts in their places."""
        return StepText(*(text.format_map(facts) for text in (self.title, self.does, self.seen, self.why)))


@dataclass(frozen=True)
class LessonText:
    """What is said of one lesson: a title, what it is about, its steps in order, and what to try next."""

    title: str
    about: str
    steps: dict[str, StepText]
    next: tuple[str, ...]


def texts_of(lesson: str, language: str) -> LessonText:
    """The texts of the lesson of this name, in one of `LANGUAGES`."""
    read = _read(lesson, language)
    steps = {name: StepText(**step) for name, step in read["steps"].items()}
    return LessonText(read["title"], read["about"], steps, tuple(read["next"]))


def words_of(language: str) -> dict[str, str]:
    """The words around the texts, such as what asks for the next step."""
    return _read("words", language)


def language_of(environ: Mapping[str, str]) -> str:
    """The language that the environment asks for (locale(7)): the first variable that is set decides."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if environ.get(name):
            return "zh" if environ[name].lower().startswith("zh") else "en"
    return "en"


def _read(name: str, language: str) -> dict[str, Any]:
    return tomllib.loads(files(__package__).joinpath(f"texts/{language}/{name}.toml").read_text("utf-8"))
