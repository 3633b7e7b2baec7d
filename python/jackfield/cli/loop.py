"""Running a command's coroutine until it ends or Ctrl-C.

Owns SIGINT for commands: it cancels the work, which cleans up after itself, and then is `Interrupted`.
The handler is the loop's own, so that a signal wakes the loop wherever it was.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar

import jackfield

T = TypeVar("T")


class Interrupted(Exception):
    """The user pressed Ctrl-C."""


def run(main: Callable[[], Awaitable[T]]) -> T:
    """The result of `main()`. Raises `Interrupted` for Ctrl-C, once the work has ended."""

    async def guarded() -> T:
        task = asyncio.current_task()
        assert task is not None
        interrupted = False

        def interrupt() -> None:
            nonlocal interrupted
            interrupted = True
            task.cancel()

        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupt)
        try:
            return await main()
        except asyncio.CancelledError:
            if interrupted:
                raise Interrupted from None
            raise

    return jackfield.run(guarded)
