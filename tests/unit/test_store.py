"""Stores of rooms: both pass the public battery, broken ones do not."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import pytest

from jackfield.hub.rooms.memory_store import MemoryStore
from jackfield.hub.rooms.sqlite_store import SqliteStore
from jackfield.hub.rooms.store import (
    Appended,
    Became,
    Cursor,
    Letter,
    Page,
    Posted,
    Publication,
    Results,
    Retention,
    Store,
)
from jackfield.hub.rooms.store_battery import Open, StoreCheck, battery, check_store


@contextlib.contextmanager
def in_memory() -> Iterator[Open]:
    async def opened() -> Store:
        return MemoryStore()

    yield opened


@contextlib.contextmanager
def in_a_file() -> Iterator[Open]:
    with tempfile.TemporaryDirectory() as directory:
        yield lambda: SqliteStore.open(Path(directory, "hub-rooms.db"))


@pytest.mark.parametrize("check", battery(is_lasting=False), ids=str)
def test_the_memory_store_passes(check: StoreCheck) -> None:
    assert asyncio.run(check(in_memory)) is None, str(check)


@pytest.mark.parametrize("check", battery(), ids=str)
def test_the_sqlite_store_passes(check: StoreCheck) -> None:
    assert asyncio.run(check(in_a_file)) is None, str(check)


# ------------------------------------------------------------------------------------- stores that are none


class StoresTwice(MemoryStore):
    async def append(self, batch: Sequence[Publication]) -> list[Appended]:
        results = []
        for each in batch:
            number = await self.published(each.room, each.sender) + 1
            results += await super().append([each._replace(number=number)])
        return results


class TakesGaps(MemoryStore):
    async def append(self, batch: Sequence[Publication]) -> list[Appended]:
        results = await super().append(batch)
        return [each._replace(became=Became.AGAIN) if each.became is Became.GAP else each for each in results]


class SkipsNumbers(MemoryStore):
    async def append(self, batch: Sequence[Publication]) -> list[Appended]:
        return [each._replace(sequence=each.sequence * 2) for each in await super().append(batch)]


class OrdersByTime(MemoryStore):
    async def read(self, room: str, after: int = 0, *, limit: int = 100) -> Page:
        page = await super().read(room, after, limit=limit)
        return page._replace(messages=sorted(page.messages, key=lambda each: each.at))


class KeepsTextOnly(MemoryStore):
    async def append(self, batch: Sequence[Publication]) -> list[Appended]:
        return await super().append(
            [each._replace(body=each.body.decode(errors="replace").encode()) for each in batch]
        )


class ReadsWithoutBounds(MemoryStore):
    async def read(self, room: str, after: int = 0, *, limit: int = 100) -> Page:
        found = self._room(room)
        return Page(
            [each for each in found.messages if each.sequence > after][:limit], found.first, found.last
        )


class GoesByAgeAlone(MemoryStore):
    async def retain(self, room: str, policy: Retention, *, now: float) -> int:
        found = self._room(room)
        if policy.age is not None:
            late = [at for at, each in enumerate(found.messages, 1) if each.at < now - policy.age]
            policy = Retention(count=len(found.messages) - max(late, default=0))
        return await super().retain(room, policy, now=now)


class MovesCursorsBack(MemoryStore):
    async def set_cursors(self, batch: Sequence[Cursor]) -> None:
        for each in batch:
            if each.room in self._rooms:
                self._rooms[each.room].cursors[each.reader] = each.sequence


class ForgetsLetters(MemoryStore):
    async def enqueue(self, batch: Sequence[Letter]) -> list[Posted]:
        self._posted.clear()
        return await super().enqueue(batch)


class SearchesLiterally(MemoryStore):
    async def search(self, text: str, *, room: str | None = None, limit: int = 50) -> Results:
        return await super().search(f'"{text}"', room=room, limit=limit)


class NeverCloses(MemoryStore):
    async def close(self) -> None:
        pass


class LeavesOutOthers(MemoryStore):
    async def append(self, batch: Sequence[Publication]) -> list[Appended]:
        await asyncio.sleep(0)
        return await super().append(batch[:1])


BROKEN = [
    (StoresTwice, "a_message_is_stored_once"),
    (TakesGaps, "a_gap_is_refused"),
    (SkipsNumbers, "sequences_have_no_gap"),
    (OrdersByTime, "order_does_not_depend_on_the_clock"),
    (KeepsTextOnly, "bodies_come_back_as_they_were"),
    (ReadsWithoutBounds, "pages_are_bounded"),
    (GoesByAgeAlone, "retention_survives_a_wrong_clock"),
    (MovesCursorsBack, "cursors_go_on"),
    (ForgetsLetters, "letters_wait_once"),
    (SearchesLiterally, "search_has_a_language"),
    (NeverCloses, "a_closed_store_says_so"),
    (LeavesOutOthers, "senders_and_rooms_are_apart"),
]


@pytest.mark.parametrize(("kind", "name"), BROKEN, ids=lambda each: getattr(each, "__name__", ""))
def test_a_broken_store_fails(kind: Callable[[], Store], name: str) -> None:
    @contextlib.contextmanager
    def place() -> Iterator[Open]:
        async def opened() -> Store:
            return kind()

        yield opened

    assert name in asyncio.run(check_store(place, is_lasting=False, limit=5.0))


def test_a_store_that_does_not_last_fails() -> None:
    assert list(asyncio.run(check_store(in_memory))) == ["it_lasts"]


def test_a_hanging_store_fails() -> None:
    class Hangs(MemoryStore):
        def append(self, batch: Sequence[Publication]) -> Awaitable[list[Appended]]:  # type: ignore[override]
            return asyncio.Event().wait()  # type: ignore[return-value]

    @contextlib.contextmanager
    def place() -> Iterator[Open]:
        async def opened() -> Store:
            return Hangs()

        yield opened

    check = next(each for each in battery() if each.name == "a_message_is_stored_once")
    with pytest.raises(AssertionError, match="a_message_is_stored_once hangs"):
        asyncio.run(check(place, limit=0.1))
