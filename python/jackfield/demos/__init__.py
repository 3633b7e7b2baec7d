"""Lessons on sockets, which run the examples and explain what is seen: `jackfield demo`.

    from jackfield.demos import LESSONS, find
    await find("sticky-packets").run(show)

A lesson is a module of `lessons`: it does what it teaches with real sockets of this machine, calls `show`
with what it saw, and holds that against what it says (`claim`). Its texts are data, a file for each language.
The code that it teaches is that of `examples`, which is the folder of that name at the top of the repository.
"""

from __future__ import annotations

from .lesson import LESSONS, Lesson, NotAsSaid, Show, find
from .texts import LANGUAGES, LessonText, StepText, language_of, texts_of, words_of

__all__ = [
    "LANGUAGES",
    "LESSONS",
    "Lesson",
    "LessonText",
    "NotAsSaid",
    "Show",
    "StepText",
    "find",
    "language_of",
    "texts_of",
    "words_of",
]
