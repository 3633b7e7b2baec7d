"""Crashes of a store: what was acknowledged is there once, whoever is killed, whatever the file lost."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from jackfield.hub.rooms import sqlite_schema
from jackfield.hub.rooms.sqlite_store import SqliteStore
from jackfield.hub.rooms.sqlite_writer import Writer
from jackfield.hub.rooms.store import Publication

LIVES = 200
LONGEST_LIFE = 0.06  # seconds from the first word of a life to its end


class Lives:
    """The program `store_lives.py`, and what it has said."""

    def __init__(self, path: Path) -> None:
        program = Path(__file__).with_name("store_lives.py")
        self._process = subprocess.Popen(
            [sys.executable, str(program), str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.acknowledged: dict[str, tuple[int, int]] = {}  # of each sender the last number, and its sequence
        self.lost: list[str] = []
        self.kills = 0

    def live(self, victim: str, seconds: float) -> None:
        """One life, ended after so long: the hub, the hub and its writer, or first the writer alone."""
        assert self._process.stdin is not None
        print("live", file=self._process.stdin, flush=True)
        life = writer = 0
        alarm: threading.Timer | None = None
        for word, *facts in self._words():
            match word:
                case "life":
                    life = int(facts[0])
                case "writer":
                    writer = int(facts[0])
                case "begins" if int(facts[1]) < self.acknowledged.get(facts[0], (0, 0))[0]:
                    self.lost.append(
                        f"{facts[0]} begins at {facts[1]}, {self.acknowledged[facts[0]]} was told"
                    )
                case "stored":
                    self.acknowledged[facts[0]] = (int(facts[1]), int(facts[2]))
                case "ended":
                    break
            if life and alarm is None and (writer or victim == "anyone at any time"):
                alarm = threading.Timer(seconds, self._kill, (victim, life, writer))
                alarm.start()
        assert alarm is not None, "the life ended by itself"
        alarm.join()

    def _kill(self, victim: str, life: int, writer: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            if victim == "the writer":
                os.kill(writer, signal.SIGKILL)
                self.kills += 1
                threading.Event().wait(0.01)  # it may be replaced by now, or not
                os.kill(life, signal.SIGKILL)
            elif victim == "both":
                os.killpg(life, signal.SIGKILL)
            else:
                os.kill(life, signal.SIGKILL)
        self.kills += 1

    def _words(self) -> Iterator[list[str]]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            yield line.split()

    def close(self) -> None:
        """No more of it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


def stored(path: Path) -> list[tuple[int, str, int, str]]:
    """Every message: sequence, sender, number, body. Opens the file as a hub does."""

    async def main() -> list[tuple[int, str, int, str]]:
        store = await SqliteStore.open(path)
        found: list[tuple[int, str, int, str]] = []
        while (page := await store.read("lobby", found[-1][0] if found else 0, limit=1000)).messages:
            found += [(each.sequence, each.sender, each.number, each.body.decode()) for each in page.messages]
        assert page.last == len(found)
        await store.close()
        return found

    return asyncio.run(main())


@pytest.mark.timeout(240)
def test_what_was_acknowledged_is_there_once_after_200_kills(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rooms.db"
    lives = Lives(path)
    draw = random.Random(5)
    try:
        while lives.kills < LIVES:
            victim = draw.choice(["the hub", "both", "both", "the writer", "anyone at any time"])
            lives.live(victim, draw.uniform(0, LONGEST_LIFE))
    finally:
        lives.close()
    found = stored(path)
    assert [sequence for sequence, *_ in found] == list(range(1, len(found) + 1))
    assert all(body == f"{sender} {number}" for _, sender, number, body in found)
    by_sender: dict[str, list[int]] = {}
    for _, sender, number, _ in found:
        by_sender.setdefault(sender, []).append(number)
    duplicated = sum(len(numbers) - len(set(numbers)) for numbers in by_sender.values())
    places = {(sender, number): sequence for sequence, sender, number, _ in found}
    lost = [*lives.lost]
    for sender, (number, sequence) in lives.acknowledged.items():
        assert by_sender[sender] == list(range(1, len(by_sender[sender]) + 1))
        if places.get((sender, number)) != sequence:
            lost.append(f"{sender} {number} is not at {sequence}")
    acknowledged = sum(number for number, _ in lives.acknowledged.values())
    with capsys.disabled():
        print(f"\n{lives.kills} kills, {acknowledged} acknowledged, {len(found)} stored, ", end="")
        print(f"lost {len(lost)}, duplicated {duplicated}")
    assert lost == []
    assert duplicated == 0
    assert acknowledged > 1000


# ------------------------------------------------------------------------------------ a WAL that lost its end


class Log:
    """A store as a crash leaves it: a file, a long WAL, and its length when each message was acknowledged."""

    def __init__(self, path: Path) -> None:
        sqlite_schema.prepare(path)
        self.path = path
        writer = Writer(path, path.stat())
        wal = path.with_name(path.name + "-wal")
        self.boundaries: list[tuple[int, int]] = []  # bytes of the WAL, messages acknowledged by then
        with writer.group():
            writer.open_room("lobby", 1.0, None)
        self.boundaries.append((wal.stat().st_size, 0))
        sizes = itertools.cycle((1, 2, 7, 40))
        count = 0
        for size in itertools.islice(sizes, 40):
            bodies = [b"pump %d" % (count + at) for at in range(1, size + 1)]
            with writer.group():
                writer.append([("lobby", "ana/1", count + 1, 1.0, "ana", bodies)])
            count += size
            self.boundaries.append((wal.stat().st_size, count))
            if count % 3 == 0:
                writer.index(20)
        self._base = path.with_name("base")
        shutil.copy(path, self._base)  # before closing copies the WAL into it
        self.wal = wal.read_bytes()
        writer.close()

    def kept(self, wal: bytes, path: Path) -> int:
        """How many messages a store that has this WAL has; they must be the first ones, whole."""
        for each in path.parent.iterdir():
            each.unlink()
        shutil.copy(self._base, path)
        path.with_name(path.name + "-wal").write_bytes(wal)
        sqlite_schema.prepare(path)
        writer = Writer(path, path.stat())
        try:
            with writer.group():
                writer.open_room("lobby", 1.0, None)
            last = writer.last("lobby")
            assert last == writer.published("lobby", "ana/1")
            rows, *_ = writer.read("lobby", 0, 1000)
            assert [(row[0], row[4], row[5]) for row in rows] == [
                (at, at, b"pump %d" % at) for at in range(1, last + 1)
            ]
            with writer.group():
                assert writer.append([("lobby", "ana/1", last + 1, 1.0, "ana", [b"more"])]) == [last + 1]
            while writer.index(1000):
                pass
            found = writer.connection.execute("SELECT count(*) FROM words WHERE words MATCH 'pump OR more'")
            assert found.fetchone() == (last + 1,)
            assert writer.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            return last
        finally:
            writer.close()

    def acknowledged(self, size: int) -> int:
        """How many messages were acknowledged when the WAL had so many bytes."""
        return max((count for end, count in self.boundaries if end <= size), default=0)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return Log(tmp_path_factory.mktemp("log") / "rooms.db")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    (tmp_path / "copy").mkdir()
    return tmp_path / "copy" / "rooms.db"


def test_a_wal_cut_at_every_commit_loses_nothing_before_it(log: Log, copy: Path) -> None:
    before = 0
    for size, count in log.boundaries:
        assert log.kept(log.wal[:size], copy) == count
        assert log.kept(log.wal[: size - 1], copy) == before
        before = count


def test_a_wal_cut_anywhere_loses_nothing_acknowledged_before(log: Log, copy: Path) -> None:
    draw = random.Random(6)
    for size in [0, 1, 31, 32, 33, *(draw.randrange(len(log.wal)) for _ in range(60))]:
        assert log.kept(log.wal[:size], copy) >= log.acknowledged(size)


def test_a_wal_with_a_flipped_bit_loses_nothing_acknowledged_before(log: Log, copy: Path) -> None:
    draw = random.Random(7)
    for _ in range(60):
        at = draw.randrange(32, len(log.wal))
        flipped = bytearray(log.wal)
        flipped[at] ^= 1 << draw.randrange(8)
        assert log.kept(bytes(flipped), copy) >= log.acknowledged(at)


def test_a_wal_of_garbage_is_as_none(log: Log, copy: Path) -> None:
    draw = random.Random(8)
    for length in (1, 32, 5000, len(log.wal)):
        assert log.kept(draw.randbytes(length), copy) == 0


def test_a_wal_that_goes_on_with_an_older_one_ends_before_it(log: Log, copy: Path) -> None:
    """What a WAL that was begun again has behind its end: frames of the one before, with another salt."""
    size, count = log.boundaries[20]
    older = bytearray(log.wal[size:])
    for frame in range(0, len(older) - 24, 24 + 4096):
        older[frame + 8] ^= 1
    assert log.kept(log.wal[:size] + bytes(older), copy) == count


def test_nothing_is_answered_before_it_is_on_disk(tmp_path: Path) -> None:
    """What another program reads in the file is never behind what was acknowledged."""

    async def main() -> None:
        path = tmp_path / "rooms.db"
        store = await SqliteStore.open(path)
        await store.open_room("lobby", at=1.0)
        other = sqlite3.connect(path)
        for number in range(1, 51):
            calls = [
                store.append([Publication("lobby", sender, number, 1.0, "x", b"x")]) for sender in ("a", "b")
            ]
            await asyncio.gather(*calls)
            assert other.execute("SELECT count(*) FROM messages").fetchone() == (number * 2,)
        other.close()
        await store.close()

    asyncio.run(main())
