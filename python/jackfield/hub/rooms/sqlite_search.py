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
        self._thread: threading.Thread | None = None

    def ask(self, call: int, arguments: tuple[Any, ...]) -> None:
        """Search in the background."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=True)
            self._thread.start()
        self._asked.put((call, arguments))

    def _work(self) -> None:
        connection: sqlite3.Connection | None = None
        while True:
            call, arguments = self._asked.get()
            result: Any
            try:
                connection = connection or connect(self._path)
                result = find(connection, *arguments)
            except sqlite3.Error as problem:
                if getattr(problem, "sqlite_errorname", "") == "SQLITE_INTERRUPT":
                    text = f"the search took longer than {LONGEST:g} s"
                    result = StoreError(text, "search in one room, or for rarer words")
                else:
                    result = StoreError(f"cannot search in {self._path}: {reason(problem)}")
            except Exception as problem:
                result = problem
            self._answer(call, result)


def find(
    connection: sqlite3.Connection, wanted: Query, room: str | None, limit: int
) -> tuple[list[Any], int]:
    """Rows of `Found`, and how many messages are not in the index."""
    until = time.monotonic() + LONGEST
    alarm = threading.Timer(LONGEST, connection.interrupt)
    alarm.start()
    try:
        connection.execute("BEGIN")
        rows, unindexed = _find(connection, wanted, room, max(0, min(limit, MOST_READ)))
    finally:
        alarm.cancel()
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    found = []
    for name, key, at, sender, shown, number, body in rows:
        message = (key % SEQUENCES, at, sender, shown, number, body.encode())
        shown_as = wanted if time.monotonic() < until else Query((), ())  # it has taken its time
        found.append((name, message, *snippet(body, shown_as)))
    return found, unindexed


def _find(
    connection: sqlite3.Connection, wanted: Query, room: str | None, limit: int
) -> tuple[list[tuple[Any, ...]], int]:
    behind = connection.execute(
        "SELECT id, name, indexed, last FROM rooms WHERE indexed < last AND (?1 IS NULL OR name = ?1)",
        (room,),
    ).fetchall()
    newest, unindexed = _newest(connection, wanted, behind)
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
    connection: sqlite3.Connection, wanted: Query, rooms: list[tuple[int, str, int, int]]
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
            if isinstance(row[-1], str) and wanted.matches(row[-1]):
                rows.append((name, *row))
            if size > MOST_BYTES_SCANNED // len(rooms):
                break
        unindexed += last - indexed - scanned
    return rows, unindexed
