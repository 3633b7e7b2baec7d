"""Letters in a store's file: messages for clients that are not there. Part of the `Writer`'s transaction."""

from __future__ import annotations

import sqlite3
from typing import Any

from .store import MOST_READ, MOST_READ_BYTES, MOST_WAITING, MOST_WAITING_BYTES

Row = tuple[Any, ...]
COLUMNS = "recipient, sender, number, at, expires, name, body"


class Letters:
    """The calls of `Store` about letters, in values that `marshal` knows."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._waiting: dict[str, tuple[int, int]] = {}  # how many and how many bytes wait for a recipient

    def forget(self) -> None:
        """What was kept in memory may not be true."""
        self._waiting.clear()

    def enqueue(self, batch: list[Row]) -> list[Row]:
        return [self._enqueue(*letter) for letter in batch]

    def _enqueue(
        self, to: str, sender: str, number: int, at: float, expires: float, name: str, body: bytes
    ) -> Row:
        known = self._connection.execute(
            "SELECT id FROM letters WHERE sender = ? AND number = ?", (sender, number)
        ).fetchone()
        if known is not None:
            return (known[0], False, False)
        count, size = (
            self._waiting.get(to)
            or self._connection.execute(
                "SELECT count(*), ifnull(sum(length(body)), 0) FROM letters"
                " WHERE recipient = ? AND NOT delivered",
                (to,),
            ).fetchone()
        )
        if count >= MOST_WAITING or size + len(body) > MOST_WAITING_BYTES:
            return (0, False, True)
        done = self._connection.execute(
            f"INSERT INTO letters ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (to, sender, number, at, expires, name, body),
        )
        self._waiting[to] = (count + 1, size + len(body))
        return (done.lastrowid, True, False)

    def waiting(self, to: str, after: int, limit: int) -> list[Row]:
        rows: list[Row] = []
        size = 0
        found = self._connection.execute(
            f"SELECT id, {COLUMNS} FROM letters WHERE recipient = ? AND id > ? AND NOT delivered"
            " ORDER BY id LIMIT ?",
            (to, after, max(0, min(limit, MOST_READ))),
        )
        for row in found:
            if rows and size + len(row[-1]) > MOST_READ_BYTES:
                break
            size += len(row[-1])
            rows.append(row)
        return rows

    def delivered(self, ids: list[int]) -> None:
        self._waiting.clear()
        self._connection.executemany(
            "UPDATE letters SET delivered = 1, body = x'' WHERE id = ?", [(id,) for id in ids]
        )

    def expire(self, now: float) -> list[Row]:
        self._waiting.clear()
        rows = self._connection.execute(
            f"SELECT id, {COLUMNS} FROM letters WHERE expires <= ? AND NOT delivered ORDER BY id LIMIT ?",
            (now, MOST_READ),
        ).fetchall()
        self._connection.executemany("DELETE FROM letters WHERE id = ?", [(row[0],) for row in rows])
        self._connection.execute("DELETE FROM letters WHERE expires <= ? AND delivered", (now,))
        return rows

    def queues(self) -> list[Row]:
        found = self._connection.execute(  # `at` is that of the row with the lowest id: SQLite says so
            "SELECT recipient, count(*), sum(length(body)), at, min(id) FROM letters WHERE NOT delivered"
            " GROUP BY recipient ORDER BY recipient"
        )
        return [row[:4] for row in found]

    def senders(self) -> list[Row]:
        found = self._connection.execute(
            "SELECT sender, count(*), sum(length(body)) FROM letters WHERE NOT delivered"
            " GROUP BY sender ORDER BY sender"
        )
        return found.fetchall()
