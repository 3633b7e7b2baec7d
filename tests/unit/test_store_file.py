"""The store's file and process: what a bad disk, a bad file, or a process that ends does to them."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from jackfield.hub.rooms import sqlite_store
from jackfield.hub.rooms.search_words import read_query
from jackfield.hub.rooms.sqlite_schema import MIGRATIONS, SEQUENCES, prepare
from jackfield.hub.rooms.sqlite_search import find
from jackfield.hub.rooms.sqlite_store import SqliteStore, beside
from jackfield.hub.rooms.sqlite_writer import Writer
from jackfield.hub.rooms.store import Appended, Became, Publication, StoreError, StoreUnavailable
from jackfield.hub.state import State
from jackfield.hub.state_file import StateError, connect


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / "hub-rooms.db"


@asynccontextmanager
async def opened(path: Path, *, patience: float = 30.0) -> AsyncIterator[SqliteStore]:
    async with asyncio.timeout(30):
        store = await SqliteStore.open(path, patience=patience)
        try:
            yield store
        finally:
            await store.close()


def said(number: int, *, sender: str = "ana/1", body: bytes = b"hello") -> Publication:
    return Publication("lobby", sender, number, 1.0, "ana", body)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - another process makes it true
        await asyncio.sleep(0.01)


def refill(path: Path) -> None:
    """A store with five messages."""

    async def main() -> None:
        async with opened(path) as store:
            await store.open_room("lobby", at=1.0)
            await store.append([said(number) for number in range(1, 6)])

    asyncio.run(main())


def limit_files(store: SqliteStore, size: int) -> None:
    """RLIMIT_FSIZE stands for the full disk: writes fail in the same way, and there is room again after."""
    assert store.writer is not None
    resource.prlimit(store.writer, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_it_is_private_and_has_one_hub_at_a_time(path: Path) -> None:
    async def main() -> None:
        async with opened(path) as store:
            assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)  # noqa: ASYNC240
            with pytest.raises(StateError, match=rf"pid {os.getpid()}\) keeps"):
                await SqliteStore.open(path)
            assert store.writer is None  # until it is used
            await store.rooms()
            with pytest.raises(StateError, match=rf"pid {os.getpid()}\) keeps"):
                await SqliteStore.open(path)
        async with opened(path):
            pass

    asyncio.run(main())


def test_a_full_disk_is_waited_for(path: Path) -> None:
    async def main() -> None:
        async with opened(path) as store:
            await store.open_room("lobby", at=1.0)
            await store.append([said(1)])
            limit_files(store, 4096)
            calls = [asyncio.ensure_future(store.append([said(number)])) for number in range(2, 30)]
            await until(lambda: bool(store.problem))
            assert "disk" in store.problem
            assert await store.last("lobby") == 1  # looking goes on
            assert len((await store.read("lobby")).messages) == 1
            assert not any(call.done() for call in calls)
            limit_files(store, resource.RLIM_INFINITY)
            results = await asyncio.gather(*calls)
            assert [each[0].sequence for each in results] == list(range(2, 30))
            assert store.problem == ""

    asyncio.run(main())


def test_what_the_disk_does_not_take_in_time_is_refused_and_not_stored(path: Path) -> None:
    async def main() -> None:
        async with opened(path, patience=0.2) as store:
            await store.open_room("lobby", at=1.0)
            await store.append([said(1)])
            limit_files(store, 4096)
            with pytest.raises(StoreError, match=r"not stored, in .*disk") as raised:
                await store.append([said(2), said(3)])
            assert "send it again" in raised.value.hint
            limit_files(store, resource.RLIM_INFINITY)
            assert await store.append([said(4)]) == [Appended(0, Became.GAP)]  # its sender is behind
            results = await store.append([said(2), said(3), said(4)])
            assert [each.sequence for each in results] == [2, 3, 4]
        async with opened(path) as store:
            assert [each.number for each in (await store.read("lobby")).messages] == [1, 2, 3, 4]

    asyncio.run(main())


def test_a_locked_file_is_waited_for(path: Path) -> None:
    async def main() -> None:
        async with opened(path) as store:
            await store.open_room("lobby", at=1.0)
            other = sqlite3.connect(path, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            call = asyncio.ensure_future(store.append([said(1)]))
            await until(lambda: bool(store.problem))
            assert store.problem == "another program has locked it"
            assert not call.done()
            other.execute("ROLLBACK")
            other.close()
            assert (await call)[0].fresh

    asyncio.run(main())


def test_closing_while_the_disk_is_full_ends_with_an_error_and_nothing_half_stored(path: Path) -> None:
    async def main() -> None:
        async with opened(path) as store:
            await store.open_room("lobby", at=1.0)
            limit_files(store, 4096)
            call = asyncio.ensure_future(store.append([said(1), said(2)]))
            await until(lambda: bool(store.problem))
            await store.close()
            with pytest.raises(StoreError, match="not stored"):
                await call
        async with opened(path) as store:
            assert await store.last("lobby") == 0

    asyncio.run(main())


def test_a_file_that_was_removed_is_told_of_and_no_other_is_touched(path: Path) -> None:
    async def main() -> None:
        async with opened(path, patience=0.1) as store:
            await store.open_room("lobby", at=1.0)
            shutil.move(path, path.with_name("elsewhere.db"))
            with pytest.raises(StoreError, match="removed or replaced"):
                await store.append([said(1)])
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
            with pytest.raises(StoreError, match="removed or replaced"):
                await store.append([said(1)])

    asyncio.run(main())
    assert path.read_bytes() == b""


@pytest.mark.parametrize("damage", ["text", "middle", "truncated"])
def test_a_damaged_file_is_refused_and_left_alone(path: Path, damage: str) -> None:
    refill(path)
    whole = path.read_bytes()
    damaged = {
        "text": b"this is no database at all, but somebody's letter\n" * 100,
        "middle": whole[:5000] + b"\xff" * 30_000 + whole[35_000:],
        "truncated": whole[: len(whole) // 2],
    }[damage]
    path.write_bytes(damaged)
    with pytest.raises(StoreError, match="damaged") as raised:
        asyncio.run(SqliteStore.open(path))
    assert not isinstance(raised.value, StoreUnavailable)
    assert "backup" in raised.value.hint
    assert path.read_bytes() == damaged


def test_a_newer_and_a_foreign_file_are_refused_and_left_alone(path: Path) -> None:
    refill(path)
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    newer = path.read_bytes()
    with pytest.raises(StoreError, match=rf"are of version {len(MIGRATIONS) + 1}, and this jackfield knows"):
        asyncio.run(SqliteStore.open(path))
    assert path.read_bytes() == newer

    state = State.open(path.with_name("hub.db"))  # ours, but another thing
    asyncio.run(state.close())
    with pytest.raises(StoreError, match="of another program"):
        asyncio.run(SqliteStore.open(path.with_name("hub.db")))


def test_an_older_file_is_migrated(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refill(path)
    newer = (*MIGRATIONS, ("ALTER TABLE rooms ADD COLUMN colour TEXT", "CREATE TABLE more (x ANY) STRICT"))
    monkeypatch.setattr("jackfield.hub.rooms.sqlite_schema.MIGRATIONS", newer)

    async def main() -> None:
        async with opened(path) as store:
            assert await store.last("lobby") == 5

    asyncio.run(main())
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (len(newer),)
    connection.close()


def test_a_file_of_version_1_answers_as_before(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.parent.mkdir()
    with monkeypatch.context() as before:
        before.setattr("jackfield.hub.rooms.sqlite_schema.MIGRATIONS", MIGRATIONS[:1])
        prepare(path)
    numbers = [(1, 1), (2, 1), (1, 2), (1, 3), (2, 2), (1, 4)]  # of sender and message, in their order
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO rooms VALUES (1, 'lobby', '', 1.0, 1, 6, 6, 0)")
    connection.execute("INSERT INTO senders VALUES (1, 1, 'ana/1', 4), (2, 1, 'bo/1', 2)")
    connection.executemany(
        "INSERT INTO messages VALUES (?, ?, ?, 1.0, 'x', ?)",
        [(SEQUENCES + at, *who, f"{at}") for at, who in enumerate(numbers, 1)],
    )
    connection.commit()
    connection.close()

    async def main() -> None:
        async with opened(path) as store:
            anas = await store.append([said(number, sender="ana/1") for number in range(1, 6)])
            assert anas == [
                *(Appended(sequence, Became.AGAIN) for sequence in (1, 3, 4, 6)),
                Appended(7, Became.STORED),
            ]
            bos = await store.append([said(number, sender="bo/1") for number in (1, 2)])
            assert bos == [Appended(2, Became.AGAIN), Appended(5, Became.AGAIN)]
            page = await store.read("lobby")
            assert [each.body for each in page.messages[:6]] == [b"%d" % at for at in range(1, 7)]
            assert [each.sequence for each in page.messages] == list(range(1, 8))

    asyncio.run(main())


def test_a_place_that_cannot_be_had(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "rooms.db", tmp_path):
        with pytest.raises(StateError, match="cannot keep") as raised:
            asyncio.run(SqliteStore.open(path))
        assert "--state none" in raised.value.hint


def test_a_writer_that_is_killed_is_replaced_and_what_it_had_not_answered_is_asked_again(path: Path) -> None:
    async def main() -> None:
        async with opened(path) as store:
            await store.open_room("lobby", at=1.0)
            results: list[Appended] = []
            for number in range(1, 41):
                call = asyncio.ensure_future(store.append([said(number)]))
                if number % 10 == 0:
                    await asyncio.sleep(0)
                    assert store.writer is not None
                    os.kill(store.writer, signal.SIGKILL)
                results += await call
            # Fresh each time, whether the killed one had stored it or not: nobody had heard of it.
            assert [(each.sequence, each.fresh) for each in results] == [(n, True) for n in range(1, 41)]
            assert not (await store.append([said(40)]))[0].fresh

    asyncio.run(main())


def test_a_writer_that_cannot_be_started_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with opened(path) as store:
            with monkeypatch.context() as patch:
                patch.setattr(sqlite_store, "_PROGRAM", "raise SystemExit(0)")
                with pytest.raises(StoreError, match="ends again and again"):
                    await store.rooms()
            assert await store.rooms() == []

    asyncio.run(main())


def test_signals_for_the_hub_do_not_end_its_writer(path: Path) -> None:
    async def main() -> None:
        async with opened(path) as store:
            await store.open_room("lobby", at=1.0)
            writer = store.writer
            assert writer is not None
            for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                os.kill(writer, each)
            assert (await store.append([said(1)]))[0].fresh
            assert store.writer == writer
        with pytest.raises(ProcessLookupError):
            os.kill(writer, 0)

    asyncio.run(main())


def test_what_waits_for_the_disk_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_store, "MOST_UNANSWERED", 1_000_000)

    async def main() -> None:
        async with opened(path) as store:
            await store.open_room("lobby", at=1.0)
            body = bytes(100_000)
            calls = [asyncio.ensure_future(store.append([said(n, body=body)])) for n in range(1, 30)]
            results = await asyncio.gather(*calls, return_exceptions=True)
            refused = [each for each in results if isinstance(each, StoreError)]
            assert len(refused) >= 20
            assert "wait for the disk" in str(refused[0])
            stored = len(results) - len(refused)
            assert await store.last("lobby") == stored
            assert (await store.append([said(stored + 1)]))[0].fresh

    asyncio.run(main())


def test_the_index_is_caught_up_after_a_crash(path: Path) -> None:
    async def main() -> None:
        async with opened(path) as store:
            await store.open_room("lobby", at=1.0)
            await store.append([said(number, body=b"pump %d" % number) for number in range(1, 2001)])
            assert store.writer is not None
            os.kill(store.writer, signal.SIGKILL)
        async with opened(path) as store:
            reader = sqlite3.connect(path, timeout=10)
            await store.last("lobby")  # its process is there
            await until(lambda: not reader.execute("SELECT 1 FROM rooms WHERE indexed < last").fetchone())
            words = reader.execute("SELECT count(*), max(rowid) FROM words WHERE words MATCH 'pump'")
            assert words.fetchone() == (2000, SEQUENCES + 2000)
            reader.close()

    asyncio.run(main())


def test_the_newest_are_found_before_they_are_in_the_index(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.parent.mkdir()
    prepare(path)
    writer = Writer(path, path.stat())
    connection = connect(path)

    def found(text: str, room: str | None) -> tuple[list[int], int]:
        rows, unindexed = find(connection, read_query(text), room, 10)
        return [message[0] for _, message, *_ in rows], unindexed

    with writer.group():
        writer.open_room("lobby", 1.0, None)
        writer.append([("lobby", "ana/1", 1, 1.0, "ana", [b"pump %d" % number for number in range(1, 101)])])
    for room in ("lobby", None):
        assert found("pump", room) == (list(range(100, 90, -1)), 0)
        assert found("7", room) == ([7], 0)
    monkeypatch.setattr("jackfield.hub.rooms.sqlite_search.MOST_SCANNED", 20)
    assert found("7", "lobby") == ([], 80)
    assert found("97", "lobby") == ([97], 80)
    monkeypatch.setattr("jackfield.hub.rooms.sqlite_search.MOST_BYTES_SCANNED", 30)  # five bodies of 7 or 8
    assert found("97", None) == ([97], 95)
    assert writer.index(96) == 96
    assert found("pump", "lobby") == (list(range(100, 90, -1)), 0)
    assert found("7", None) == ([7], 0)
    assert found("97", None) == ([97], 0)
    connection.close()
    writer.close()


def test_where_the_rooms_are() -> None:
    assert beside(Path("/x/hub.db")) == Path("/x/hub-rooms.db")
    assert beside(Path("/x/state")) == Path("/x/state-rooms")
