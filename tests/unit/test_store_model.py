"""The store in a file answers as the plain one in memory does, whatever is done, also opened again."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from jackfield.hub.rooms.memory_store import MemoryStore
from jackfield.hub.rooms.sqlite_store import SqliteStore
from jackfield.hub.rooms.store import Cursor, Letter, Publication, Retention, Store, StoreError

ROOMS = st.sampled_from(["lobby", "annex", "Ü"])
NAMES = st.sampled_from(["ana/1", "ana/2", "bo/1"])
NUMBERS = st.integers(1, 6)
TIMES = st.sampled_from([-5.0, 0.0, 1.0, 2.0, 50.0, 1e12])
WORDS = st.sampled_from(["pump", "Pumpe", "water", "水泵", "tür", "TUR", "a_b", "-", "1", '"', "x" * 300])
TEXTS = st.lists(WORDS, max_size=4).map(" ".join)
BODIES = st.one_of(TEXTS.map(str.encode), st.binary(max_size=12))
COUNTS = st.one_of(st.none(), st.integers(0, 8))
QUERIES = st.lists(
    st.sampled_from(["pump", "pump*", '"water pump"', "-water", "tur", "水", "泵*", "a_b", '"', "-", "OR"]),
    max_size=3,
).map(" ".join)
PUBLICATIONS = st.builds(Publication, ROOMS, NAMES, NUMBERS, TIMES, st.just("Ana"), BODIES)
LETTERS = st.builds(Letter, NAMES, NAMES, NUMBERS, TIMES, TIMES, st.just("Ana"), BODIES)
POLICIES = st.builds(
    Retention,
    age=st.one_of(st.none(), st.sampled_from([0.0, 10.0])),
    count=COUNTS,
    bytes=st.one_of(st.none(), st.integers(0, 99)),
)

CALLS = st.one_of(
    st.tuples(st.just("open_room"), ROOMS, st.sampled_from([None, "tea"])),
    st.tuples(st.just("append"), st.lists(PUBLICATIONS, max_size=8)),
    st.tuples(st.just("append"), st.lists(PUBLICATIONS, max_size=8)),
    st.tuples(st.just("read"), ROOMS, st.integers(-1, 12), st.integers(0, 5)),
    st.tuples(st.just("search"), QUERIES, st.one_of(st.none(), ROOMS)),
    st.tuples(st.just("retain"), ROOMS, POLICIES, TIMES),
    st.tuples(st.just("remove_room"), ROOMS),
    st.tuples(
        st.just("set_cursors"), st.lists(st.builds(Cursor, ROOMS, NAMES, st.integers(-1, 12)), max_size=3)
    ),
    st.tuples(st.just("looks"), ROOMS, NAMES),
    st.tuples(st.just("enqueue"), st.lists(LETTERS, max_size=4)),
    st.tuples(st.just("delivered"), st.lists(st.integers(0, 12), max_size=3)),
    st.tuples(st.just("expire"), TIMES),
    st.tuples(st.just("reopen")),
)


def indexing(path: Path) -> bool:
    """Whether a message is not in the index yet."""
    with contextlib.closing(sqlite3.connect(path, timeout=10)) as connection:
        return bool(connection.execute("SELECT 1 FROM rooms WHERE indexed < last").fetchone())


async def call(store: Store, name: str, *arguments: Any) -> Any:
    """What a call answers, or the class of what it raises."""
    try:
        match name:
            case "open_room":
                return await store.open_room(arguments[0], at=3.0, topic=arguments[1])
            case "read":
                return await store.read(*arguments[:2], limit=arguments[2])
            case "retain":
                return await store.retain(*arguments[:2], now=arguments[2])
            case "search":
                results = await store.search(arguments[0], room=arguments[1])
                if isinstance(store, SqliteStore):  # it finds the same once all is in the index
                    while indexing(store.path):  # noqa: ASYNC110 - another process does it
                        await asyncio.sleep(0.001)
                    assert await store.search(arguments[0], room=arguments[1]) == results
                return results
            case "looks":
                room, sender = arguments
                looks = (
                    store.rooms(),
                    store.published(room, sender),
                    store.cursor(room, sender),
                    store.queues(),
                )
                return *[await look for look in looks], await store.waiting(sender)
            case _:
                return await getattr(store, name)(*arguments)
    except StoreError as error:
        return type(error)


@settings(max_examples=40, deadline=None)
@given(st.lists(CALLS, min_size=10, max_size=40))
def test_both_stores_agree(calls: list[Any]) -> None:
    async def main(path: Path) -> None:
        model, store = MemoryStore(), await SqliteStore.open(path)
        try:
            for name, *arguments in [("open_room", "lobby", None), *calls]:
                if name == "reopen":
                    await store.close()
                    store = await SqliteStore.open(path)
                else:
                    assert await call(store, name, *arguments) == await call(model, name, *arguments), name
            for room in ("lobby", "annex", "Ü"):
                arguments = [room, 0, 1000]
                assert await call(store, "read", *arguments) == await call(model, "read", *arguments)
        finally:
            await store.close()

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(main(Path(directory, "rooms.db")))
