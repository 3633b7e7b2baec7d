"""Searching a store's file: a connection and a thread of its own, so that a long search delays no message.

The full-text index is behind what is said. The newest messages that are not in it are looked at one by one,
so that a message is found as soon as it was acknowledged; only of a flood is there more than that.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from ..state_file import connect, reason
from .search_words import Query, snippet
from .sqlite_schema import SEQUENCES
from .store import MOST_READ, NoSuchRoom, StoreError

LONGEST: Final = 5.0  # seconds that one search may take, with the marks in what was found
LOOK_EVERY: Final = 10_000  # steps of SQLite's between two looks at the clock
LOOKED_AT: Final = 200  # messages that are looked at between two
MOST_SCANNED: Final = 20_000  # messages that are not in the index and looked at by one search
MOST_BYTES_SCANNED: Final = 8 * 1024 * 1024  # of their bodies

_SELECT: Final = (
    "SELECT r.name, m.key, m.at, s.sender, m.name, m.number, m.body FROM words"
    " JOIN messages AS m ON m.key = words.rowid"
    " JOIN senders AS s ON s.id = m.sender JOIN rooms AS r ON r.id = s.room"
    " WHERE words MATCH ?"
)
_NEWEST: Final = (
    "SELECT m.key, m.at, s.sender, m.name, m.number, m.body FROM messages AS m"
    " JOIN senders AS s ON s.id = m.sender WHERE m.key > ? AND m.key < ? ORDER BY m.key DESC LIMIT ?"
)

Answer = Callable[[int, Any], None]


class Searching:
    """The thread. `answer` is called in it, with what was found or the exception."""

    def __init__(self, path: Path, answer: Answer) -> None:
        self._path = path
        self._answer = answer
        self._asked: queue.SimpleQueue[tuple[int, tuple[Any, ...]]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._waiting: dict[int, bool] = {}  # those asked and not answered: whether somebody still waits
        self._thread: threading.Thread | None = None

    def ask(self, call: int, arguments: tuple[Any, ...]) -> None:
        """Search in the background."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=True)
            self._thread.start()
        with self._lock:
            self._waiting[call] = True
        self._asked.put((call, arguments))

    def cancel(self, call: int) -> None:
        """Nobody waits for that any more: it ends, if it was not answered."""
        with self._lock:
            if call in self._waiting:
                self._waiting[call] = False

    def _work(self) -> None:
        connection: sqlite3.Connection | None = None
        while True:
            call, arguments = self._asked.get()
            stop = Stop(lambda: not self._waiting[call])  # noqa: B023 - it is gone with its call
            result: Any
            try:
                stop.check()
                connection = connection or connect(self._path)
                result = find(connection, *arguments, stop=stop)
            except sqlite3.Error as problem:
                if getattr(problem, "sqlite_errorname", "") == "SQLITE_INTERRUPT":
                    result = Stopped()
                else:
                    result = StoreError(f"cannot search in {self._path}: {reason(problem)}")
            except Exception as problem:
                result = problem
            with self._lock:
                del self._waiting[call]
            self._answer(call, result)


class Stopped(StoreError):
    """The search took too long, or nobody waits for it any more."""

    def __init__(self) -> None:
        super().__init__(
            f"the search took longer than {LONGEST:g} s", "search in one room, or for rarer words"
        )


class Stop:
    """When one search has to end: it has taken its time, or nobody waits for it any more."""

    def __init__(self, is_unwanted: Callable[[], bool]) -> None:
        self._until = time.monotonic() + LONGEST
        self._is_unwanted = is_unwanted

    @property
    def is_due(self) -> bool:
        return time.monotonic() > self._until or self._is_unwanted()

    def check(self) -> None:
        """Raise `Stopped` if it is due."""
        if self.is_due:
            raise Stopped


def find(
    connection: sqlite3.Connection, wanted: Query, room: str | None, limit: int, *, stop: Stop | None = None
) -> tuple[list[Any], int]:
    """Rows of `Found`, and how many messages are not in the index. Raises what an interruption raises."""
    stop = stop or Stop(lambda: False)
    connection.set_progress_handler(lambda: stop.is_due, LOOK_EVERY)
    try:
        connection.execute("BEGIN")
        rows, unindexed = _find(connection, wanted, room, max(0, min(limit, MOST_READ)), stop)
    finally:
        connection.set_progress_handler(None, 0)
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    found = []
    for name, key, at, sender, shown, number, body in rows:
        message = (key % SEQUENCES, at, sender, shown, number, body.encode())
        shown_as = Query((), ()) if stop.is_due else wanted  # it has taken its time
        found.append((name, message, *snippet(body, shown_as)))
    return found, unindexed


def _find(
    connection: sqlite3.Connection, wanted: Query, room: str | None, limit: int, stop: Stop
) -> tuple[list[tuple[Any, ...]], int]:
    behind = connection.execute(
        "SELECT id, name, indexed, last FROM rooms WHERE indexed < last AND (?1 IS NULL OR name = ?1)",
        (room,),
    ).fetchall()
    newest, unindexed = _newest(connection, wanted, behind, stop)
    if room is None:
        text = f"{_SELECT} ORDER BY m.at DESC, r.name, m.key DESC LIMIT ?"
        rows = newest + connection.execute(text, (wanted.fts5(), limit)).fetchall()
        return sorted(rows, key=lambda row: (-row[2], row[0].encode(), -row[1]))[:limit], unindexed
    found = connection.execute("SELECT id FROM rooms WHERE name = ?", (room,)).fetchone()
    if found is None:
        raise NoSuchRoom(f"there is no room {room!r}")
    keys = (found[0] * SEQUENCES, (found[0] + 1) * SEQUENCES)
    text = f"{_SELECT} AND words.rowid BETWEEN ? AND ? ORDER BY words.rowid DESC LIMIT ?"
    left = max(0, limit - len(newest))
    return newest[:limit] + connection.execute(text, (wanted.fts5(), *keys, left)).fetchall(), unindexed


def _newest(
    connection: sqlite3.Connection, wanted: Query, rooms: list[tuple[int, str, int, int]], stop: Stop
) -> tuple[list[tuple[Any, ...]], int]:
    """What is found among messages that are not in the index; how many of these were not looked at."""
    rows = []
    unindexed = 0
    for id, name, indexed, last in rooms:
        base = id * SEQUENCES
        size = scanned = 0
        most = max(1, MOST_SCANNED // len(rooms))
        for row in connection.execute(_NEWEST, (base + indexed, base + SEQUENCES, most)):
            size += len(row[-1])
            scanned += 1
            if not scanned % LOOKED_AT:
                stop.check()
            if isinstance(row[-1], str) and wanted.matches(row[-1]):
                rows.append((name, *row))
            if size > MOST_BYTES_SCANNED // len(rooms):
                break
        unindexed += last - indexed - scanned
    return rows, unindexed
