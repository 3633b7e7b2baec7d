"""The process that has a store's file: calls come over a socket, are done in groups, and are answered.

A process of its own, because beside a busy event loop a thread waits for the interpreter's lock several
times for each group. What has come while a group went to disk is the next group: a message that comes
alone is written at once, and under load many share one `fsync`. Nothing is answered before it is on disk.
When the hub is gone, however it went, the socket ends, and so does this process.

A frame is a length (4 bytes) and a list as `marshal` writes it: both ends are the same interpreter. Calls
are [call, name, arguments], answers [call, value, None] or [call, None, (kind, message, hint)]; call 0
says what hinders writing, "" when it goes on.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import select
import signal
import socket
import sqlite3
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

from ..state_file import DAMAGED, reason
from . import store
from .search_words import read_query
from .sqlite_search import Searching
from .sqlite_writer import Writer

LARGEST_GROUP: Final = 8 * 1024 * 1024  # bytes of calls that share a transaction
CHUNK: Final = 1024 * 1024  # bytes of one receive
INDEXED_AT_ONCE: Final = 256  # messages between two looks at the socket
IDLE: Final = 0.005  # seconds without a call after which indexing begins
LOAD_SHARE: Final = 9  # while calls keep coming, this many times as long goes to them as to indexing
TRIED_EVERY: Final = 0.5  # seconds between two attempts while nothing can be written
TRANSIENT: Final = (
    "SQLITE_FULL", "SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_CANTOPEN",
    "SQLITE_NOMEM",
)  # fmt: skip
LOOKS: Final = frozenset({"rooms", "read", "last", "published", "cursor", "waiting", "queues", "senders"})

Call = list[Any]


class Calls:
    """Calls as they come, each with when it came."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._chunk = memoryview(bytearray(CHUNK))  # one for all: a new one each time is slow to get
        self._buffer = bytearray()
        self._sending = threading.Lock()
        self.has_ended = False

    def take(self, *, timeout: float | None) -> list[Call]:
        """All that is there, up to a group; waits so long for the first. None: for ever."""
        found: list[Call] = []
        size = 0
        while not self.has_ended and size < LARGEST_GROUP:
            if not select.select([self._socket], [], [], 0 if found else timeout)[0]:
                break
            length = self._socket.recv_into(self._chunk)
            self.has_ended = not length
            self._buffer += self._chunk[:length]
            size += length
            found += self._whole()
        return found

    def _whole(self) -> list[Call]:
        found: list[Call] = []
        start = 0
        with memoryview(self._buffer) as view:
            while len(view) - start >= 4:
                end = start + 4 + int.from_bytes(view[start : start + 4], "big")
                if end > len(view):
                    break
                found += marshal.loads(view[start + 4 : end])
                start = end
        del self._buffer[:start]
        return found

    def answer(self, answers: list[Call]) -> None:
        """Send answers; of any thread."""
        if not answers:
            return
        data = marshal.dumps(answers)
        with self._sending:
            self._socket.sendall(len(data).to_bytes(4, "big") + data)


class Process:
    """The loop: take, do, answer; index when there is nothing else."""

    def __init__(self, path: Path, connection: socket.socket, patience: float) -> None:
        self._calls = Calls(connection)
        self._path = path
        self._file = os.stat(path)
        self._patience = patience
        self._writer: Writer | None = None
        self._searching = Searching(path, lambda call, result: self._calls.answer([_answer(call, result)]))
        self._problem = ""
        self._unindexed = True
        self._patient = IDLE  # seconds until the next slice is indexed, if no call comes
        self._index_after = 0.0  # when the next slice is due although calls come
        self._closing: Call | None = None

    def run(self) -> None:
        """Until the hub ends it, or is gone."""
        kept: list[Call] = []  # what is not written yet
        since = tried = 0.0  # when the first of it came, when it was last tried
        while self._closing is None and not self._calls.has_ended:
            wait = TRIED_EVERY if self._problem else self._patient if self._unindexed else None
            calls = self._sorted_out(self._calls.take(timeout=wait))
            now = time.monotonic()
            since = since if kept else now
            kept += self._look(calls) if self._problem else calls
            if kept and (not self._problem or now - tried >= TRIED_EVERY or self._closing):
                tried = now
                if self._do(kept):
                    kept = []
                elif now - since > self._patience or self._closing:
                    self._refuse(kept)
                    kept = []
            if not self._problem:
                self._index(is_idle=not calls)
        if self._writer is not None:
            self._writer.close()
        if self._closing is not None:
            self._calls.answer([_answer(self._closing[0], None)])

    def _sorted_out(self, calls: list[Call]) -> list[Call]:
        """Begin what needs no transaction; what is left does."""
        left = []
        for call in calls:
            if call[1] == "search":
                text, *others = call[2]
                self._searching.ask(call[0], (read_query(text), *others))
            elif call[1] == "cancel":
                self._searching.cancel(*call[2])
                self._calls.answer([_answer(call[0], None)])
            elif call[1] == "close":
                self._closing = call
            else:
                left.append(call)
        return left

    def _look(self, calls: list[Call]) -> list[Call]:
        """While nothing can be written: answer what only looks, and leave the rest."""
        left = []
        for call in calls:
            if call[1] not in LOOKS or not self._do([call], is_told=False):
                left.append(call)
        return left

    def _do(self, calls: list[Call], *, is_told: bool = True) -> bool:
        """Do a group and answer it; False when it has to be tried again."""
        try:
            writer = self._writer = self._writer or Writer(self._path, self._file)
            if all(call[1] in LOOKS for call in calls):
                answers = [self._call(writer, call) for call in calls]
            else:
                with writer.group():
                    answers = [self._call(writer, call) for call in calls]
                self._unindexed = True
        except (sqlite3.Error, OSError, MemoryError) as problem:
            if not is_transient(problem) and self._writer is not None:  # it may be wrong about the file
                self._writer.close()
                self._writer = None
            if isinstance(problem, sqlite3.Error) and not is_transient(problem):
                self._do_apart(calls, problem)
                return True
            if is_told:
                self._tell(reason(problem))
            return False
        if is_told:
            self._tell("")
        self._calls.answer(answers)
        return True

    def _do_apart(self, calls: list[Call], problem: sqlite3.Error) -> None:
        """One call of a group is impossible: do each by itself, so that only that one fails."""
        if len(calls) == 1:
            text = f"the rooms in {self._path} cannot be used: {reason(problem)}"
            self._calls.answer([_answer(calls[0][0], store.StoreError(text, DAMAGED))])
            return
        for call in calls:
            if not self._do([call]):
                self._refuse([call])

    def _call(self, writer: Writer, call: Call) -> Call:
        number, name, arguments = call
        owner = writer if hasattr(writer, name) else writer.letters
        try:
            return _answer(number, getattr(owner, name)(*arguments))
        except store.StoreError as problem:
            return _answer(number, problem)

    def _refuse(self, calls: list[Call]) -> None:
        text = f"not stored, in {self._path}: {self._problem}"
        problem = store.StoreError(text, "it was tried again and again; make room, then send it again")
        self._calls.answer([_answer(call[0], problem) for call in calls])

    def _tell(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            self._calls.answer([_answer(0, problem)])

    def _index(self, *, is_idle: bool) -> None:
        """Index a slice, in the time that is left."""
        now = time.monotonic()
        self._patient = 0.0 if is_idle else IDLE
        if not self._unindexed or (not is_idle and now < self._index_after):
            return
        try:
            self._writer = self._writer or Writer(self._path, self._file)
            self._unindexed = self._writer.index(INDEXED_AT_ONCE) > 0
        except (sqlite3.Error, OSError, MemoryError):
            self._unindexed = False  # until something is written again
        ended = time.monotonic()
        self._index_after = ended + LOAD_SHARE * (ended - now)


def is_transient(problem: Exception) -> bool:
    """Whether it may go away by itself: a full disk, a lock."""
    return getattr(problem, "sqlite_errorname", "").startswith(TRANSIENT)


def _answer(call: int, result: Any) -> Call:
    if isinstance(result, Exception):
        return [call, None, (type(result).__name__, str(result), getattr(result, "hint", ""))]
    return [call, result, None]


def main() -> None:
    """`python -c ... PATH PATIENCE`, the socket being standard input."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # they are the hub's; it ends this one
        signal.signal(ignored, signal.SIG_IGN)
    with contextlib.suppress(ConnectionError):  # the hub is gone
        Process(Path(sys.argv[1]), socket.socket(fileno=0), float(sys.argv[2])).run()
