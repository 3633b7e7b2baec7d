"""A connect that fails: refused, without an answer, unreachable."""

from __future__ import annotations

import errno

import jackfield

from ..examples.connect_failures import UNREACHABLE, failure, full_queue, nobody_listens
from ..lesson import Show, claim


def lines_of(error: jackfield.ConnectFailed) -> list[str]:
    """What the failure says: its class, what is known, and what to try."""
    return [f"{type(error).__name__}: {error.message}", *([error.hint] if error.hint else [])]


async def lesson(show: Show) -> None:
    with nobody_listens() as address:
        error = await failure(address)
    claim(isinstance(error, jackfield.ConnectRefused), repr(error))
    await show("refused", *lines_of(error), address=address, milliseconds=milliseconds(error))

    with full_queue() as address:
        error = await failure(address)
    claim(isinstance(error, jackfield.ConnectTimedOut) and milliseconds(error) > 900, repr(error))
    await show("no-answer", *lines_of(error), address=address, milliseconds=milliseconds(error))

    error = await failure(UNREACHABLE)
    reason = error.attempts[-1].error
    claim(isinstance(error, jackfield.HostUnreachable), repr(error))
    claim(isinstance(reason, OSError) and reason.errno == errno.ENETUNREACH, repr(reason))
    await show("unreachable", *lines_of(error), address=UNREACHABLE, milliseconds=milliseconds(error))


def milliseconds(error: jackfield.ConnectFailed) -> int:
    """How long the last attempt took."""
    return round((error.attempts[-1].elapsed or 0.0) * 1000)
