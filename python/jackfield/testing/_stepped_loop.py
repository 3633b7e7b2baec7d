"""An event loop whose time steps instead of passing.

When nothing is ready the clock goes to the next timer or deadline at once, asyncio's and every channel's
alike. The loop is alone in its world: what other threads and processes do takes no time on this clock, so
nothing may be waited for that they do. Functions for an executor are run in place, which keeps their order.
"""

from __future__ import annotations

import asyncio
import errno
import selectors
from collections.abc import Callable
from typing import Any, TypeVar

import jackfield

T = TypeVar("T")


class SimulationStuck(jackfield.JackfieldError, RuntimeError):
    """Every task of a simulation waits, nothing is under way and no timer is set: nothing can ever happen."""


class SteppedEventLoop(jackfield.EventLoop):
    """Jackfield's event loop on a clock that begins with 0 and steps; ``loop.time()`` tells it.

    Out of ``run_until_complete`` come ``SimulationStuck`` when every task waits for what cannot come, and
    ``TimeoutError`` when the clock has passed ``limit`` seconds.
    """

    def __init__(self, *, limit: float | None = None) -> None:
        super().__init__(stepped=True)
        self._limit = limit
        self._select = self._reactor_selector.select
        self._reactor_selector.select = self._step  # type: ignore[method-assign]

    def time(self) -> float:
        """Seconds since the loop was made, as far as its clock has stepped."""
        return self._reactor.time()

    def _step(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """The selector's ``select``: what is ready, or a step of the clock."""
        if self._limit is not None and self.time() > self._limit:
            limit, self._limit = self._limit, None
            raise TimeoutError(f"after {limit:g} simulated seconds it has not come to an end")
        try:
            return self._select(timeout)
        except OSError as error:
            if error.errno != errno.EDEADLK:
                raise
            raise SimulationStuck(
                f"after {self.time():g} simulated seconds nothing is under way, and every task waits: "
                + ", ".join(sorted(map(_name, asyncio.all_tasks(self)))),
                hint="somebody waits for a message or an end that nobody sends; give the wait a timeout=",
            ) from None

    def run_in_executor(  # type: ignore[override]  # the variadic form needs Python 3.12's typeshed words
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Run ``func`` here and now; the future has its result already."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future


def _name(task: asyncio.Task[Any]) -> str:
    coroutine = task.get_coro()
    return getattr(coroutine, "__qualname__", None) or type(coroutine).__name__
