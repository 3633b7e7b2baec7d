"""Searching a store's file: a connection and a thread of its own, so that a long search delays no message."""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from ..state_file import connect, reason
from .search_words import Query, snippet
from .sqlite_schema import SEQUENCES
from .store import MOST_READ, NoSuchRoom, StoreError

LONGEST: Final = 5.0  # seconds that one search may take

_SELECT: Final = (
    "SELECT r.name, m.key, m.at, s.sender, m.name, m.number, m.body FROM words"
    " JOIN messages AS m ON m.key = words.rowid"
    " JOIN senders AS s ON s.id = m.sender JOIN rooms AS r ON r.id = s.room"
    " WHERE words MATCH ?"
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
        found.append((name, message, *snippet(body, wanted)))
    return found, unindexed


def _find(
    connection: sqlite3.Connection, wanted: Query, room: str | None, limit: int
) -> tuple[list[tuple[Any, ...]], int]:
    if room is None:
        unindexed = connection.execute("SELECT ifnull(sum(last - indexed), 0) FROM rooms").fetchone()[0]
        text = f"{_SELECT} ORDER BY m.at DESC, r.name, m.key DESC LIMIT ?"
        return connection.execute(text, (wanted.fts5(), limit)).fetchall(), unindexed
    row = connection.execute("SELECT id, last - indexed FROM rooms WHERE name = ?", (room,)).fetchone()
    if row is None:
        raise NoSuchRoom(f"there is no room {room!r}")
    keys = (row[0] * SEQUENCES, (row[0] + 1) * SEQUENCES)
    text = f"{_SELECT} AND words.rowid BETWEEN ? AND ? ORDER BY words.rowid DESC LIMIT ?"
    return connection.execute(text, (wanted.fts5(), *keys, limit)).fetchall(), row[1]
