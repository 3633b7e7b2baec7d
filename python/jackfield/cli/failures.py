"""Exit codes, and how an error becomes one line on standard error.

Owns the contract with scripts: the codes below are stable, and a failure prints exactly one line
`jackfield: what failed; what to do next`, never a traceback (JACKFIELD_DEBUG=1 asks for one).
"""

from __future__ import annotations

import os
import sys
from typing import Final

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
NO_HUB: Final = 3
NO_SUCH_CLIENT: Final = 4
AMBIGUOUS: Final = 5
DROPPED: Final = 6
NO_ANSWER: Final = 7
LEFT: Final = 8
HALTED: Final = 9
DIFFERS: Final = 10
INTERRUPTED: Final = 130

EXIT_CODES: Final = """Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no hub answers, 4 no such client,
5 several clients where one is wanted, 6 a client's queue was full, 7 no answer as expected,
8 a client left or cannot be sent to, 9 halted by --halt-on, 10 an answer differs from the recording,
130 Ctrl-C.
`check` has one for each cause: see `check --causes`."""


class Failure(Exception):
    """A command cannot be done: what to say, what to do next, and the exit code."""

    def __init__(self, message: str, hint: str = "", *, code: int = FAILED) -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code


def one_line(message: str, hint: str = "") -> str:
    """The line of a failure: safe on a terminal, whatever a peer or a path put into it."""
    from ..hub.display import safe_text

    text = " ".join(message.split()).rstrip(".")
    if hint and hint not in message:
        hint = " ".join(hint.split())
        text = f"{text} ({hint})" if text.endswith("?") else f"{text}; {hint}"
    return "jackfield: " + safe_text(text)


def report(problem: BaseException) -> int:
    """Say on standard error what went wrong; the exit code."""
    if os.environ.get("JACKFIELD_DEBUG"):
        import traceback

        traceback.print_exception(problem)
    message, hint, code = describe(problem)
    say(one_line(message, hint))
    return code


def say(line: str) -> None:
    """A line on standard error, if anyone is there."""
    try:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        pass


def describe(problem: BaseException) -> tuple[str, str, int]:
    """What to say of a failure, what to try, and the exit code."""
    if isinstance(problem, Failure):
        return str(problem), problem.hint, problem.code
    from ..hub.control import ControlError
    from ..hub.plan import PlanError
    from ..hub.state_file import StateError
    from ..hub.text import TextError

    if isinstance(problem, TextError):
        return str(problem), "", USAGE
    if isinstance(problem, PlanError):
        return str(problem), problem.hint, USAGE
    from ..hub.scripts import ScriptError

    if isinstance(problem, ScriptError):
        return str(problem), "", FAILED
    if isinstance(problem, (ControlError, StateError)):
        return str(problem), problem.hint, FAILED

    import jackfield

    from ..hub.operator import NoHub
    from ..hub.protocol import AMBIGUOUS as SEVERAL
    from ..hub.protocol import BAD_REQUEST, RequestError
    from ..hub.protocol import NO_SUCH_CLIENT as NOBODY

    if isinstance(problem, NoHub):
        return str(problem), problem.hint, NO_HUB
    if isinstance(problem, RequestError):
        codes = {NOBODY: NO_SUCH_CLIENT, SEVERAL: AMBIGUOUS, BAD_REQUEST: USAGE}
        code = codes.get(problem.code, FAILED)
        return problem.message, problem.hint, code
    if isinstance(problem, (jackfield.InvalidAddress, jackfield.InvalidOption, jackfield.InvalidFraming)):
        return str(problem), getattr(problem, "hint", None) or "", USAGE
    if isinstance(problem, jackfield.JackfieldError):
        return str(problem), getattr(problem, "hint", None) or "", FAILED
    if isinstance(problem, OSError):
        where = f"{problem.filename}: " if problem.filename else ""
        return f"{where}{problem.strerror or problem}", "", FAILED
    return (
        f"{type(problem).__name__}: {problem}",
        "this is a fault of jackfield; JACKFIELD_DEBUG=1 shows where",
        FAILED,
    )
