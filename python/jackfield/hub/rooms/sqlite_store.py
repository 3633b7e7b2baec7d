"""The store of a hub: one SQLite file (WAL, `synchronous=FULL`), and a process of its own that has it.

This end is thin: calls of one turn of the loop go to the process together, and their answers wake who
waits. The process is started with the first call. If it ends before its time it is started again, and
everything that was not answered is asked again: that is safe, since a message is stored once, however
often it is appended.
"""

from __future__ import annotations

import asyncio
import contextlib
import marshal
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from ..state_file import StateError, StateUnavailable, lock_file
from . import sqlite_schema, store
from .search_words import read_query
from .store import (
    Appended,
    BadQuery,
    Became,
    Cursor,
    Found,
    Letter,
    Message,
    NoSuchRoom,
    Page,
    Posted,
    Publication,
    Queue,
    Results,
    Retention,
    RoomFacts,
    Run,
    RunAppended,
    Sending,
    Store,
    StoreClosed,
    StoreError,
    Waiting,
    check_letters,
    check_name,
    check_publications,
    check_runs,
    each_appended,
    runs_of,
)

MOST_UNANSWERED: Final = 64 * 1024 * 1024  # bytes of calls that wait for the disk
ORPHAN: Final = 10.0  # seconds in which the process of a killed hub finishes what it has
MOST_STARTS: Final = 3  # in a row, without an answer between

_PROGRAM: Final = (
    "import sys; sys.path[:] = {path!r}; from jackfield.hub.rooms.sqlite_process import main; main()"
)


def beside(state: Path) -> Path:
    """Where a hub with that state keeps its rooms: `hub.db` has `hub-rooms.db`."""
    return state.with_name(f"{state.stem}-rooms{state.suffix}")


class StoreStatistics(NamedTuple):
    """What a store has done since it was opened."""

    groups: int  # answers of its process; each is one transaction, if anything in it changed something
    appended: int  # messages that were acknowledged, those stored before among them


class SqliteStore(Store):
    """A store in a file. Made by `open`."""

    lasting = True

    def __init__(self, path: Path, lock: int, patience: float) -> None:
        self.path: Path = path
        self._lock = lock
        self._patience = patience
        self._calls: dict[int, _Call] = {}  # what is not answered, in the order in which it was asked
        self._number = 0
        self._size = 0  # bytes of it
        self._unsent: list[_Call] = []
        self._link: _Link | None = None
        self._starting: asyncio.Task[None] | None = None
        self._starts = 0
        self._groups = 0
        self._appended = 0
        self._told: dict[str, int] = {}  # the highest sequence of each room that was answered as stored
        self._closing: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, path: Path, *, patience: float = 30.0) -> SqliteStore:
        """The store in a file, which is made (0600) where there is none.

        `patience` is for how many seconds a call is tried again while the disk is full or the file locked,
        before it raises `StoreError`. Raises `StoreUnavailable` where there can be no store, `StateError` for
        a file that another hub has, and `StoreError` for one that is damaged, foreign or newer, which stays
        as it is. Cancelled, nothing is open.
        """
        opening = asyncio.ensure_future(asyncio.to_thread(_prepare, path))
        try:
            lock = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_give_back)
            raise
        return cls(path, lock, patience)

    def statistics(self) -> StoreStatistics:
        """What was done so far."""
        return StoreStatistics(self._groups, self._appended)

    @property
    def writer(self) -> int | None:
        """The pid of the process that has the file; None while there is none."""
        return None if self._link is None else self._link.process.pid

    # ---------------------------------------------------------------------------------------- rooms

    async def open_room(self, name: str, *, at: float, topic: str | None = None) -> RoomFacts:
        check_name(name)
        check_name(topic or "")
        facts = RoomFacts(*await self._ask("open_room", name, float(at), topic))
        self._told.setdefault(name, facts.last)
        return facts

    async def rooms(self) -> list[RoomFacts]:
        return [RoomFacts(*row) for row in await self._ask("rooms")]

    async def remove_room(self, name: str) -> None:
        check_name(name)
        is_gone = is_begun = False
        while not is_gone:
            call = self._begin("remove_room", (name,), 200)
            try:
                is_gone = await call.done
            except NoSuchRoom:
                if not (is_begun or call.is_repeated):
                    raise
                is_gone = True  # by the process that ended before it could say so
            is_begun = True
        self._told.pop(name, None)

    # ---------------------------------------------------------------------------------------- messages

    async def append(self, batch: Sequence[Publication]) -> list[Appended]:
        check_publications(batch)
        runs = runs_of(batch)
        results: list[Appended] = []
        for run, became in zip(runs, await self.append_runs(runs), strict=True):
            results += each_appended(run, became)
        return results

    async def append_runs(self, runs: Sequence[Run]) -> list[RunAppended]:
        check_runs(runs)
        if not runs:
            return []
        count = sum(len(run.bodies) for run in runs)
        size = sum(sum(map(len, run.bodies)) for run in runs) + 50 * count + 200 * len(runs)
        call = self._begin("append", ([tuple(run) for run in runs],), size)
        answer: list[int | list[int]] = await call.done
        self._appended += count
        return [
            self._became(run, found, is_repeated=call.is_repeated)
            for run, found in zip(runs, answer, strict=True)
        ]

    def _became(self, run: Run, found: int | list[int], *, is_repeated: bool) -> RunAppended:
        highest = self._told.get(run.room, 0)
        if isinstance(found, int):
            self._told[run.room] = max(highest, found + len(run.bodies) - 1)
            return RunAppended(found, None)
        results = []
        for code in found:
            sequence, became = code >> 2, _BECAME[code & 3]
            if became is Became.AGAIN and is_repeated and sequence > highest:
                became = Became.STORED  # by the process that ended before it could say so
            if became is Became.STORED:
                highest = self._told[run.room] = sequence
            results.append(Appended(sequence, became))
        return RunAppended(0, results)

    async def read(self, room: str, after: int = 0, *, limit: int = 100) -> Page:
        rows, first, last = await self._ask("read", room, _whole(after), _whole(limit))
        return Page([Message(*row) for row in rows], first, last)

    async def search(self, text: str, *, room: str | None = None, limit: int = 50) -> Results:
        if not read_query(text).wanted:
            raise BadQuery("there is no word to search for")
        call = self._begin("search", (_utf8(text), room, _whole(limit)), 200)
        try:
            rows, unindexed = await call.done
        except asyncio.CancelledError:
            with contextlib.suppress(StoreError):
                self._begin("cancel", (call.number,), 0)
            raise
        found = [Found(name, Message(*row), snippet, marks) for name, row, snippet, marks in rows]
        return Results(found, unindexed)

    async def last(self, room: str) -> int:
        return cast("int", await self._ask("last", room))

    async def published(self, room: str, sender: str) -> int:
        return cast("int", await self._ask("published", room, sender))

    async def retain(self, room: str, policy: Retention, *, now: float) -> int:
        oldest = None if policy.age is None else now - policy.age
        gone = 0
        while slice := cast("int", await self._ask("retain", room, oldest, policy.count, policy.bytes)):
            gone += slice
        return gone

    # ---------------------------------------------------------------------------------------- cursors

    async def cursor(self, room: str, reader: str) -> int | None:
        return cast("int | None", await self._ask("cursor", room, reader))

    async def set_cursors(self, batch: Sequence[Cursor]) -> None:
        for each in batch:
            check_name(each.reader)
        await self._ask("set_cursors", [(each.room, each.reader, _whole(each.sequence)) for each in batch])

    # ---------------------------------------------------------------------------------------- letters

    async def enqueue(self, batch: Sequence[Letter]) -> list[Posted]:
        check_letters(batch)
        size = sum(len(each.body) for each in batch) + 100 * len(batch)
        call = self._begin("enqueue", ([tuple(each) for each in batch],), size)
        return [Posted(*row) for row in await call.done]

    async def waiting(self, to: str, after: int = 0, *, limit: int = 100) -> list[Waiting]:
        return _letters(await self._ask("waiting", to, _whole(after), _whole(limit)))

    async def delivered(self, ids: Sequence[int]) -> None:
        await self._ask("delivered", [_whole(id) for id in ids])

    async def expire(self, now: float) -> list[Waiting]:
        return _letters(await self._ask("expire", float(now)))

    async def queues(self) -> list[Queue]:
        return [Queue(*row) for row in await self._ask("queues")]

    async def senders(self) -> list[Sending]:
        return [Sending(*row) for row in await self._ask("senders")]

    # ---------------------------------------------------------------------------------------- the process

    def _ask(self, name: str, *arguments: Any) -> asyncio.Future[Any]:
        for each in arguments:
            if isinstance(each, str):
                each.encode()  # raises what no file takes
        return self._begin(name, arguments, 200).done

    def _begin(self, name: str, arguments: tuple[Any, ...], size: int) -> _Call:
        if self._closing is not None and name != "close":
            raise StoreClosed(f"the rooms in {self.path} are closed")
        if self._size + size > MOST_UNANSWERED and self._calls:
            text = f"{self._size} bytes wait for the disk with the rooms in {self.path}"
            raise StoreError(text, "send less, or wait until it is faster")
        self._number += 1
        call = _Call(self._number, name, arguments, size)
        self._calls[call.number] = call
        self._size += size
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._send)
        self._unsent.append(call)
        return call

    def _send(self) -> None:
        if self._link is not None:
            calls, self._unsent = self._unsent, []
            self._link.send(calls)
        elif self._starting is None:
            self._starting = asyncio.ensure_future(self._start())

    async def _start(self) -> None:
        """Start the process and ask it everything that is not answered."""
        try:
            if self._starts >= MOST_STARTS:
                raise StoreError(f"the process that writes {self.path} ends again and again")
            self._starts += 1
            started = await asyncio.to_thread(_spawn, self.path, self._lock, self._patience)
            loop = asyncio.get_running_loop()
            _, link = await loop.create_unix_connection(lambda: _Link(self, started[1]), sock=started[0])
        except Exception as problem:
            self._starts = 0
            self._fail(problem if isinstance(problem, StoreError) else StoreError(f"no writer: {problem}"))
            return
        finally:
            self._starting = None
        self._link = link
        self._unsent = list(self._calls.values())
        self._send()

    def answered(self, answers: list[tuple[int, Any, tuple[str, str, str] | None]]) -> None:
        """What the process says of one group."""
        self._groups += 1
        for answer in answers:
            self._answered(*answer)

    def _answered(self, number: int, value: Any, fault: tuple[str, str, str] | None) -> None:
        if number == 0:
            self.problem = value
            return
        call = self._calls.pop(number)
        self._size -= call.size
        self._starts = 0
        if call.done.done():  # nobody waits any more
            return
        if fault is None:
            call.done.set_result(value)
        else:
            kind, text, hint = fault
            call.done.set_exception(getattr(store, kind, StoreError)(text, hint))

    def lost(self, process: subprocess.Popen[bytes]) -> None:
        """The process is gone."""
        self._link = None
        asyncio.get_running_loop().run_in_executor(None, process.wait)
        for call in self._calls.values():
            call.is_repeated = True
        if self._calls and self._starting is None:
            self._starting = asyncio.ensure_future(self._start())

    def _fail(self, problem: StoreError) -> None:
        calls, self._calls, self._unsent, self._size = self._calls, {}, [], 0
        for call in calls.values():
            if not call.done.done():
                call.done.set_exception(problem)

    async def close(self) -> None:
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        if self._calls or self._link is not None:
            with contextlib.suppress(StoreError):
                await self._begin("close", (), 0).done
        if self._link is not None:
            process = self._link.process
            self._link.transport.close()
            await asyncio.to_thread(process.wait)
        self._fail(StoreClosed(f"the rooms in {self.path} are closed"))
        os.close(self._lock)


class _Call:
    """One call that is under way."""

    __slots__ = ("arguments", "done", "is_repeated", "name", "number", "size")

    def __init__(self, number: int, name: str, arguments: tuple[Any, ...], size: int) -> None:
        self.number = number
        self.name = name
        self.arguments = arguments
        self.size = size
        self.done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.is_repeated = False  # asked a second time, because a process ended without an answer


class _Link(asyncio.Protocol):
    """The connection to a process."""

    transport: asyncio.Transport

    def __init__(self, owner: SqliteStore, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._owner = owner
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def send(self, calls: list[_Call]) -> None:
        """Ask."""
        data = marshal.dumps([[call.number, call.name, call.arguments] for call in calls])
        self.transport.write(len(data).to_bytes(4, "big") + data)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 4:
            end = 4 + int.from_bytes(self._buffer[:4], "big")
            if len(self._buffer) < end:
                break
            answers = marshal.loads(self._buffer[4:end])
            del self._buffer[:end]
            self._owner.answered(answers)

    def connection_lost(self, problem: Exception | None) -> None:
        self._owner.lost(self.process)


_BECAME: Final = tuple(Became)


def _prepare(path: Path) -> int:
    """Lock and check the file; waits for the process of a hub that was killed."""
    deadline = time.monotonic() + ORPHAN
    while True:
        try:
            lock = lock_file(path)
            break
        except StateError as problem:
            if isinstance(problem, StateUnavailable) or time.monotonic() > deadline or _holder_lives(path):
                raise
            time.sleep(0.02)
    try:
        sqlite_schema.prepare(path)
    except BaseException:
        os.close(lock)
        raise
    return lock


def _holder_lives(path: Path) -> bool:
    """Whether the hub that is named in the lock is still there."""
    try:
        text = path.with_name(path.name + ".lock").read_text()
        return Path("/proc", str(int(text))).exists()
    except (OSError, ValueError):
        return True


def _give_back(opening: asyncio.Future[int]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        os.close(opening.result())


def _spawn(path: Path, lock: int, patience: float) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """The process, which inherits the lock: no other hub has the file while it lives."""
    here, there = socket.socketpair()
    with there:
        here.setblocking(False)
        program = _PROGRAM.format(path=[os.path.abspath(each) for each in sys.path])
        arguments = [sys.executable, "-S", "-E", "-c", program, str(path.absolute()), str(patience)]
        process = subprocess.Popen(
            arguments, stdin=there.fileno(), stdout=subprocess.DEVNULL, pass_fds=[lock]
        )
    return here, process


def _letters(rows: list[tuple[Any, ...]]) -> list[Waiting]:
    return [Waiting(row[0], Letter(*row[1:])) for row in rows]


def _whole(number: int) -> int:
    """A number that SQLite can hold."""
    return max(-(2**62), min(int(number), 2**62))


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
