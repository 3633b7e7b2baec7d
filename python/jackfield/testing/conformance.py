"""The conformance battery: does a transport of yours keep what Jackfield's channels promise?

Give it a way to open two connected ends, and say what the transport can do:

    @contextlib.asynccontextmanager
    async def opener():
        left, right = my_pair()
        try:
            yield left, right
        finally:
            left.abort()
            right.abort()

    report = await check_transport(opener, Traits(half_close=False))
    report.raise_for_failures()

or one test for each check, with pytest:

    @pytest.mark.parametrize("check", battery(Traits(half_close=False)), ids=str)
    def test_conformance(check):
        jackfield.run(lambda: check(opener))

Every transport of Jackfield itself passes it, on three event loops. The ends need the methods of
``ChannelLike``; they need not be Jackfield's class. Errors must be Jackfield's, or inherit from them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["ChannelLike", "Check", "Opener", "Report", "Result", "Traits", "battery", "check_transport"]

PATIENCE = 20.0
"""Seconds that one check may take; a healthy one takes a small part of a second."""


class ChannelLike(Protocol):
    """What an end must have. Those that ``Traits`` speak of besides: ``send_many`` and ``receive_many``
    (``batches``), ``send_eof`` (``half_close``)."""

    def receive(self, timeout: float | None = None) -> Awaitable[bytes]:
        """The next message, within so many seconds; ``EndOfStream`` behind the last."""
        ...

    def send(self, data: bytes, timeout: float | None = None) -> Awaitable[None]:
        """Queue a message; wait while there is no room, for at most so many seconds."""
        ...

    def close(self, timeout: float | None = None) -> Awaitable[None]:
        """Deliver what is queued and end; again and again without harm."""
        ...

    def abort(self) -> None:
        """End at once."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Every message until the end."""
        ...


Opener = Callable[[], AbstractAsyncContextManager[tuple[Any, Any]]]
"""Gives a context manager with two connected ends, new ones each time; it ends them."""


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What a transport can do. A check that asks for more is left out; what is said here is checked."""

    keeps_boundaries: bool = True
    """Each message arrives as it was sent. False: bytes in order, in chunks of any size."""
    is_reliable: bool = True
    """Nothing is lost while both ends live."""
    has_end: bool = True
    """The peer's end is seen: ``EndOfStream``."""
    half_close: bool = True
    """``send_eof`` ends one direction, and the other goes on."""
    is_bounded: bool = True
    """A sender waits when the receiver does not read."""
    batches: bool = True
    """``send_many`` and ``receive_many``."""
    largest: int = 60_000
    """Bytes of the largest message that the checks send."""


Function = Callable[[Any, Any, Traits], Awaitable[None]]


@dataclass(frozen=True)
class Check:
    """One check; call it with an opener. ``str()`` is its name."""

    name: str
    """As a test's name."""
    promise: str
    """What it shows, in one sentence."""
    needs: tuple[str, ...]
    """Names of the ``Traits`` without which it makes no sense."""
    function: Function
    traits: Traits = Traits()

    async def __call__(self, opener: Opener, *, limit: float = PATIENCE) -> None:
        """Open two ends and check. Raises what is wrong; ``AssertionError`` after ``limit`` seconds."""
        try:
            async with asyncio.timeout(limit), opener() as (left, right):
                await self.function(left, right, self.traits)
        except TimeoutError as error:
            raise AssertionError(f"{self.name} hangs: it has not come to its end in {limit:g} s") from error
        except Exception as error:
            error.add_note(f"{self.name}: {self.promise}")
            raise

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Result:
    """How one check ended."""

    check: Check
    error: Exception | None
    """What was raised; None if it passed."""


@dataclass(frozen=True)
class Report:
    """What ``check_transport`` found. ``str()`` has a line for each check."""

    results: tuple[Result, ...]

    @property
    def failures(self) -> tuple[Result, ...]:
        """Those that did not pass."""
        return tuple(result for result in self.results if result.error is not None)

    @property
    def has_passed(self) -> bool:
        """All of them passed, and there were some."""
        return bool(self.results) and not self.failures

    def raise_for_failures(self) -> None:
        """Raises ``ExceptionGroup`` with what the failing checks raised."""
        errors = [result.error for result in self.results if result.error is not None]
        if errors:
            raise ExceptionGroup(f"{len(errors)} of {len(self.results)} checks failed\n{self}", errors)

    def __str__(self) -> str:
        lines = []
        for result in self.results:
            error = result.error
            why = "" if error is None else f": {type(error).__name__}: {error}".rstrip(": ")
            lines.append(f"{'passed' if error is None else 'FAILED'}  {result.check.name}{why}")
        return "\n".join(lines)


def battery(traits: Traits | None = None) -> list[Check]:
    """The checks that fit a transport, in an order from simple to hard."""
    from jackfield.testing._checks import CHECKS

    traits = traits or Traits()
    return [
        Check(check.name, check.promise, check.needs, check.function, traits)
        for check in CHECKS
        if all(getattr(traits, need) for need in check.needs)
    ]


async def check_transport(
    opener: Opener,
    traits: Traits | None = None,
    *,
    checks: Iterable[Check] | None = None,
    limit: float = PATIENCE,
) -> Report:
    """Run the battery, or ``checks``, one after the other; each gets two new ends and ``limit`` seconds."""
    results = []
    for check in battery(traits) if checks is None else checks:
        try:
            await check(opener, limit=limit)
        except Exception as error:
            results.append(Result(check, error))
        else:
            results.append(Result(check, None))
    return Report(tuple(results))
