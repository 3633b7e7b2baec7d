"""Whose search is next, how long one may take, and that it ends with whoever asked for it."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from native_peer import Peer, native_of, running_hub
from support import Runner, eventually

from jackfield.hub.rooms import searching, sqlite_search
from jackfield.hub.rooms.room import RoomError
from jackfield.hub.rooms.rooms import Rooms
from jackfield.hub.rooms.searching import Searches
from jackfield.hub.rooms.sqlite_search import Searching, Stop
from jackfield.hub.rooms.sqlite_store import SqliteStore
from jackfield.hub.rooms.store import Publication, StoreError

HEAVY = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
"""A query that never ends by itself."""


class Asked:
    """Searches that go on until they are let go, in the order in which they began."""

    def __init__(self) -> None:
        self.searches = Searches()
        self.order: list[str] = []
        self.ended: list[str] = []
        self._goes_on: list[asyncio.Event] = []

    def ask(self, who: str, *, name: str = "") -> asyncio.Task[str]:
        return asyncio.create_task(self.searches.do(who, self._search(name or who)))

    def _search(self, name: str) -> Callable[[], Awaitable[str]]:
        async def search() -> str:
            self.order.append(name)
            event = asyncio.Event()
            self._goes_on.append(event)
            try:
                await event.wait()
            except asyncio.CancelledError:
                self.ended.append(name)
                raise
            return name

        return search

    async def finish(self) -> None:
        """Let the one that is under way come to its end."""
        await eventually(lambda: self._goes_on)
        self._goes_on.pop().set()


def test_who_has_searched_less_is_next(run_here: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty searches of two others, and one of a newcomer: it waits for the one that is under way."""
    monkeypatch.setattr(searching, "SHARED", 60.0)

    async def main() -> None:
        asked = Asked()
        greedy = [asked.ask(who) for _ in range(15) for who in ("greedy", "another")]
        await eventually(lambda: asked.order == ["greedy"])
        await asked.finish()
        await eventually(lambda: asked.order == ["greedy", "another"])
        late = asked.ask("late")
        await asyncio.sleep(0)
        await asked.finish()
        await eventually(lambda: len(asked.order) == 3)
        assert asked.order[-1] == "late"
        for count in range(3, 31):
            await asked.finish()
            await eventually(lambda count=count: len(asked.order) == count + 1)  # type: ignore[misc]
        await asked.finish()
        assert await late == "late"
        assert await asyncio.gather(*greedy) == ["greedy", "another"] * 15

    run_here(main)


def test_one_that_takes_long_ends_once_another_waits(
    run_here: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "SHARED", 0.01)
    monkeypatch.setattr(searching, "ALONE", 600.0)

    async def main() -> None:
        asked = Asked()
        long = asked.ask("greedy", name="long")
        await eventually(lambda: asked.order == ["long"])
        more = asked.ask("greedy", name="more")
        await eventually(lambda: "greedy" in asked.searches._waiting)
        assert not asked.searches._others.is_set(), "only its own others wait"
        other = asked.ask("other")
        with pytest.raises(RoomError, match=r"longer than 0.01 s, and others wait") as raised:
            await long
        assert raised.value.hint
        assert asked.ended == ["long"]
        for task in (other, more):
            task.cancel()
        await asyncio.gather(other, more, return_exceptions=True)

    run_here(main)


def test_who_waits_no_more_takes_no_time_from_the_one_under_way(
    run_here: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "SHARED", 0.01)
    monkeypatch.setattr(searching, "ALONE", 600.0)
    now, looks = 0.0, 0

    def monotonic() -> float:
        nonlocal looks
        looks += 1
        return now

    async def main() -> None:
        nonlocal now
        monkeypatch.setattr(searching, "time", SimpleNamespace(monotonic=monotonic))
        asked = Asked()
        long = asked.ask("greedy", name="long")
        await eventually(lambda: asked.order == ["long"])
        more, other = asked.ask("greedy", name="more"), asked.ask("other")
        await eventually(asked.searches._others.is_set)
        other.cancel()
        await asyncio.gather(other, return_exceptions=True)
        assert not asked.searches._others.is_set(), "only its own others wait"
        now, before = 1.0, looks
        await eventually(lambda: looks > before)
        await asked.finish()
        assert await long == "long"
        more.cancel()
        await asyncio.gather(more, return_exceptions=True)

    run_here(main)


def test_one_that_nobody_waits_for_ends_too(run_here: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "ALONE", 0.01)

    async def main() -> None:
        asked = Asked()
        with pytest.raises(RoomError, match=r"the search took longer than 0.01 s$"):
            await asked.ask("greedy")
        assert asked.ended == ["greedy"]

    run_here(main)


def test_who_asks_no_more_holds_up_nobody(run_here: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under way, waiting, or just about to begin."""
    monkeypatch.setattr(searching, "SHARED", 60.0)

    async def main() -> None:
        asked = Asked()
        first, second, third, fourth = (asked.ask(who) for who in ("a", "b", "c", "d"))
        await eventually(lambda: asked.order == ["a"])
        second.cancel()
        first.cancel()
        await eventually(lambda: asked.order == ["a", "c"])
        assert asked.ended == ["a"]
        await asked.finish()
        assert await third == "c"
        fourth.cancel()
        await asyncio.gather(first, second, fourth, return_exceptions=True)
        last = asked.ask("e")
        await eventually(lambda: asked.order[-1] == "e")
        await asked.finish()
        assert await last == "e"
        assert not asked.searches._waiting

    run_here(main)


def test_what_waits_of_one_is_bounded(run_here: Runner) -> None:
    async def main() -> None:
        asked = Asked()
        tasks = [asked.ask("greedy") for _ in range(searching.MOST_OF_ONE + 1)]
        await eventually(lambda: asked.order == ["greedy"])
        with pytest.raises(RoomError, match="wait already"):
            await asked.ask("greedy")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    run_here(main)


def test_a_search_in_the_file_ends_when_nobody_waits(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one that waited behind it is done, or not even begun."""
    path = directory / "rooms.db"
    sqlite3.connect(path).close()
    begun, answers, come = threading.Event(), [], threading.Semaphore(0)

    def find(connection: sqlite3.Connection, kind: str, *, stop: Stop) -> str:
        connection.set_progress_handler(lambda: stop.is_due, 1000)
        if kind == "heavy":
            connection.execute("SELECT 1")
            begun.set()
            connection.execute(HEAVY).fetchall()
        return kind

    def answer(call: int, result: Any) -> None:
        answers.append((call, result))
        come.release()

    monkeypatch.setattr(sqlite_search, "find", find)
    thread = Searching(path, answer)
    thread.ask(1, ("heavy",))
    thread.ask(2, ("heavy",))
    thread.ask(3, ("light",))
    assert begun.wait(30)
    thread.cancel(2)
    thread.cancel(1)
    for _ in range(3):
        assert come.acquire(timeout=30)
    assert [call for call, _ in answers] == [1, 2, 3]
    assert isinstance(answers[0][1], StoreError)
    assert isinstance(answers[1][1], StoreError)
    assert answers[2][1] == "light"
    thread.cancel(1)  # nothing to end any more


def test_a_search_in_the_file_takes_its_time_at_most(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = directory / "rooms.db"
    sqlite3.connect(path).close()
    come: list[Any] = []
    done = threading.Event()

    def find(connection: sqlite3.Connection, *, stop: Stop) -> None:
        connection.set_progress_handler(lambda: stop.is_due, 1000)
        connection.execute(HEAVY).fetchall()

    monkeypatch.setattr(sqlite_search, "LONGEST", 0.01)
    monkeypatch.setattr(sqlite_search, "find", find)
    Searching(path, lambda call, result: (come.append(result), done.set())[1]).ask(1, ())  # type: ignore[func-returns-value]
    assert done.wait(30)
    assert "longer than 0.01 s" in str(come[0])


def test_a_search_that_is_cancelled_leaves_the_store_as_it_was(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with await SqliteStore.open(directory / "rooms.db") as store:
            await store.open_room("ops", at=1.0)
            await store.append([Publication("ops", "a/1", 1, 1.0, "a", b"hello there")])
            for _ in range(5):
                task = asyncio.create_task(store.search("hello"))
                await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            assert len((await store.search("hello")).found) == 1
            await eventually(lambda: not store._calls)

    run_here(main)


def test_a_client_that_leaves_has_its_search_ended(
    run_here: Runner, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a client from elsewhere has its turn at once, whatever the others have asked before."""
    monkeypatch.setattr(searching, "SHARED", 60.0)

    async def main() -> None:
        async with running_hub(directory) as hub:
            rooms = hub.part(Rooms)
            assert rooms is not None
            greedy = [await Peer.join(hub, local="127.0.0.2", name=f"greedy{n}") for n in range(3)]
            other = await Peer.join(hub, name="other")
            for peer in (*greedy, other):
                await peer.ask("join", room="ops", create={"durable": True})
            searched, blocked, ended = hub.store.search, [], []

            async def search(text: str, **more: Any) -> Any:
                if text == "light":
                    return await searched(text, **more)
                blocked.append(text)
                try:
                    await asyncio.Event().wait()
                finally:
                    ended.append(text)

            monkeypatch.setattr(hub.store, "search", search)
            for number, peer in enumerate(greedy):
                peer.control(type="search", n=900, room="ops", text=f"heavy{number}")
            await eventually(lambda: blocked == ["heavy0"])
            answer = asyncio.create_task(other.ask("search", room="ops", text="light"))
            await eventually(lambda: "address:127.0.0.1" in rooms.searches._waiting)
            greedy[0].control(type="bye")
            await greedy[0].close()
            assert (await answer)["type"] == "ok"
            assert ended == ["heavy0"]
            for peer in (*greedy[1:], other):
                peer.control(type="bye")
                await peer.close()
            await eventually(lambda: not native_of(hub).sessions and not rooms.searches._waiting)

    run_here(main)
