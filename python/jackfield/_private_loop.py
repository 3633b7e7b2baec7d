"""A loop for as long as one coroutine runs: how blocking calls share what is written for loops."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from jackfield._loop import new_event_loop

T = TypeVar("T")


def run_apart(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end on a new loop; in a thread that runs a loop already, in another thread.

    Ctrl-C cancels it, and it is awaited then.
    """
    if asyncio._get_running_loop() is None:
        return _run(main)
    with ThreadPoolExecutor(1, thread_name_prefix="jackfield") as pool:
        return pool.submit(_run, main).result()


def _run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    loop = new_event_loop()
    try:
        task = loop.create_task(main())
        try:
            return loop.run_until_complete(task)
        except KeyboardInterrupt:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                loop.run_until_complete(task)
            raise
    finally:
        # Not `asyncio.Runner`: that waits for a name that is still being resolved, however long ago the
        # caller's time was up.
        loop.close()
