"""The conformance battery of stores: does one keep what `store.py` promises?

Give it a place: something that opens the same store again and again, new at first. Then each check by itself,
with pytest:

    @contextlib.contextmanager
    def place():
        with tempfile.TemporaryDirectory() as directory:
            yield lambda: MyStore.open(directory)

    @pytest.mark.parametrize("check", battery(is_lasting=True), ids=str)
    def test_store(check):
        asyncio.run(check(place))

or all of them: `failures = asyncio.run(check_store(place, is_lasting=True))`. Needs nothing beside Jackfield.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from .store import Store

PATIENCE = 30.0
"""Seconds that one check may take; a healthy one takes a small part of one."""

Open = Callable[[], Awaitable[Store]]
"""Opens the store of a place; called again only after `close`."""

Place = Callable[[], AbstractContextManager[Open]]
"""Makes a new, empty place, and clears it away."""


@dataclass(frozen=True)
class StoreCheck:
    """One check; call it with a place. ``str()`` is its name."""

    name: str
    """As a test's name."""
    promise: str
    """What it shows, in one sentence."""
    needs_lasting: bool
    """It opens the store again and looks for what was there."""
    function: Callable[[Open], Awaitable[None]]

    async def __call__(self, place: Place, *, limit: float = PATIENCE) -> None:
        """Check a new store. Raises what is wrong; ``AssertionError`` after ``limit`` seconds."""
        try:
            with place() as opened:
                async with asyncio.timeout(limit):
                    await self.function(opened)
        except TimeoutError as error:
            raise AssertionError(f"{self.name} hangs: it has not come to its end in {limit:g} s") from error
        except Exception as error:
            error.add_note(f"{self.name}: {self.promise}")
            raise

    def __str__(self) -> str:
        return self.name


def battery(*, is_lasting: bool = True) -> list[StoreCheck]:
    """The checks that fit a store, in an order from simple to hard."""
    from .store_checks import CHECKS

    return [check for check in CHECKS if is_lasting or not check.needs_lasting]


async def check_store(
    place: Place, *, is_lasting: bool = True, limit: float = PATIENCE
) -> dict[str, Exception]:
    """Run the battery; what the checks that failed raised, by their names. Empty: the store is one."""
    failures: dict[str, Exception] = {}
    for check in battery(is_lasting=is_lasting):
        try:
            await check(place, limit=limit)
        except Exception as error:
            failures[check.name] = error
    return failures
