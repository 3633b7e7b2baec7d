"""What changes a store's file: rooms, messages, cursors. One connection, one transaction for each group of
calls.

Works in a process of its own (`sqlite_process`), blocks, and knows no event loop. The numbers of rooms
and senders are kept in memory between groups and forgotten after a rollback, so that they are never ahead
of the file. Messages of a group are inserted together before anything else looks at the table.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator
from itertools import chain, count, repeat
from pathlib import Path
from typing import Any, Final

from ..state_file import connect
from .search_words import indexed_text, text_of
from .sqlite_letters import Letters
from .sqlite_schema import SEQUENCES
from .store import MOST_READ, MOST_READ_BYTES, Became, NoSuchRoom

SLICE: Final = 1000  # messages that one call deletes at most
MOST_SENDERS: Final = 200_000  # whose numbers are kept in memory
CHECKPOINT: Final = 4000  # pages of the WAL before they are copied into the file

_ROOMS: Final = "SELECT name, topic, made, first, last, bytes FROM rooms"

Row = tuple[Any, ...]


class _Room:
    """A row of `rooms`; `changed` until it is written."""

    def __init__(self, id: int, first: int, last: int, size: int, indexed: int) -> None:
        self.id = id
        self.base = id * SEQUENCES
        self.first = first
        self.last = last
        self.bytes = size
        self.indexed = indexed
        self.changed = False


class _Sender:
    """A row of `senders`; `changed` until it is written. `shift` is key - number of its last run."""

    def __init__(self, id: int, last: int, shift: int) -> None:
        self.id = id
        self.last = last
        self.shift = shift
        self.changed = False


class Writer:
    """The one connection that writes. Its methods are the calls of `Store`, as `marshal` knows values."""

    def __init__(self, path: Path, file: os.stat_result) -> None:
        """Raises `OSError` where the path has another file than that one, and `sqlite3.Error`."""
        self._path = path
        self._file = file
        self._check_file()
        self.connection = connect(path)
        self.connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT}")
        self._durable = True
        self._rooms: dict[str, _Room] = {}
        self._senders: dict[tuple[int, str], _Sender] = {}
        self._new: list[Iterable[Row]] = []  # messages that are not inserted yet
        self._runs: list[Row] = []  # as are these
        self._changed: list[_Room | _Sender] = []
        self.letters = Letters(self.connection)

    # ---------------------------------------------------------------------------------------- the group

    @contextlib.contextmanager
    def group(self, *, durable: bool = True) -> Iterator[None]:
        """One transaction, on disk at the end if `durable`; undone, in memory too, when anything raises."""
        self._check_file()
        if durable != self._durable:
            self.connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._durable = durable
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.settle()
            self.connection.execute("COMMIT")
        except BaseException:
            self._forget()
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise
        if len(self._senders) > MOST_SENDERS:
            self._senders.clear()

    def settle(self) -> None:
        """Let the file have what is only in memory."""
        if self._new:
            new, self._new = chain.from_iterable(self._new), []
            self.connection.executemany("INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?)", new)
        if self._runs:
            runs, self._runs = self._runs, []
            self.connection.executemany("INSERT INTO runs VALUES (?, ?, ?)", runs)
        if not self._changed:
            return
        rooms = [each for each in self._changed if isinstance(each, _Room)]
        senders = [each for each in self._changed if isinstance(each, _Sender)]
        for each in self._changed:
            each.changed = False
        self._changed = []
        self.connection.executemany(
            "UPDATE rooms SET first = ?, last = ?, bytes = ?, indexed = ? WHERE id = ?",
            [(each.first, each.last, each.bytes, each.indexed, each.id) for each in rooms],
        )
        self.connection.executemany(
            "UPDATE senders SET last = ? WHERE id = ?", [(each.last, each.id) for each in senders]
        )

    def close(self) -> None:
        """Give the file back."""
        with contextlib.suppress(sqlite3.Error):
            self.connection.close()

    def _forget(self) -> None:
        self._rooms.clear()
        self._senders.clear()
        self._new.clear()
        self._runs.clear()
        self._changed.clear()
        self.letters.forget()

    def _check_file(self) -> None:
        """Raise when what is written would be found by nobody."""
        try:
            same = os.path.samestat(os.stat(self._path), self._file)
        except FileNotFoundError:
            same = False
        if not same:
            raise OSError("the file was removed or replaced while the hub runs")

    def _note(self, what: _Room | _Sender) -> None:
        if not what.changed:
            what.changed = True
            self._changed.append(what)

    # ---------------------------------------------------------------------------------------- rooms

    def _find(self, name: str) -> _Room | None:
        room = self._rooms.get(name)
        if room is None:
            row = self.connection.execute(
                "SELECT id, first, last, bytes, indexed FROM rooms WHERE name = ?", (name,)
            ).fetchone()
            if row is None:
                return None
            room = self._rooms[name] = _Room(*row)
        return room

    def _room(self, name: str) -> _Room:
        room = self._find(name)
        if room is None:
            raise NoSuchRoom(f"there is no room {name!r}")
        return room

    def open_room(self, name: str, at: float, topic: str | None) -> Row:
        self.connection.execute("INSERT OR IGNORE INTO rooms VALUES (NULL, ?, '', ?, 1, 0, 0, 0)", (name, at))
        if topic is not None:
            self.connection.execute("UPDATE rooms SET topic = ? WHERE name = ?", (topic, name))
        self.settle()
        found: Row = self.connection.execute(f"{_ROOMS} WHERE name = ?", (name,)).fetchone()
        return found

    def rooms(self) -> list[Row]:
        self.settle()
        return self.connection.execute(f"{_ROOMS} ORDER BY name").fetchall()

    def remove_room(self, name: str) -> bool:
        """Forget a room, once nothing is in it; before that, a slice of it. Whether it is gone."""
        room = self._room(name)
        if self._delete(room, room.last + 1):
            return False
        self.settle()
        self.connection.execute(
            "DELETE FROM runs WHERE sender IN (SELECT id FROM senders WHERE room = ?)", (room.id,)
        )
        self.connection.execute("DELETE FROM senders WHERE room = ?", (room.id,))
        self.connection.execute("DELETE FROM cursors WHERE room = ?", (room.id,))
        self.connection.execute("DELETE FROM rooms WHERE id = ?", (room.id,))
        del self._rooms[name]
        for key in [key for key in self._senders if key[0] == room.id]:
            del self._senders[key]
        return True

    # ---------------------------------------------------------------------------------------- messages

    def append(self, runs: Iterable[Row]) -> list[int | list[int]]:
        """`Store.append_runs`: of each run the first sequence, or sequence * 4 + `Became` of each message."""
        return [self._append(*run) for run in runs]

    def _append(
        self, name: str, sender_name: str, number: int, at: float, shown: str, bodies: list[bytes]
    ) -> int | list[int]:
        room = self._rooms.get(name) or self._find(name)
        if room is None:
            return [int(Became.NO_ROOM)] * len(bodies)
        sender = self._senders.get((room.id, sender_name)) or self._sender(room, sender_name)
        if number == sender.last + 1:
            return self._add(room, sender, at, shown, bodies)
        if number > sender.last:
            return [int(Became.GAP)] * len(bodies)
        known = min(len(bodies), sender.last + 1 - number)
        results = [self._where(room, sender, each) for each in range(number, number + known)]
        if known < len(bodies):
            first = self._add(room, sender, at, shown, bodies[known:])
            results += [(first + behind) * 4 for behind in range(len(bodies) - known)]
        return results

    def _add(self, room: _Room, sender: _Sender, at: float, shown: str, bodies: list[bytes]) -> int:
        """Put messages behind the last one of a room and of a sender; the sequence of the first."""
        first, number = room.last + 1, sender.last + 1
        key = room.base + first
        if key - number != sender.shift:
            sender.shift = key - number
            self._runs.append((sender.id, number, key))
        one = repeat
        kept = _kept(bodies)
        self._new.append(zip(count(key), one(sender.id), count(number), one(at), one(shown), kept))
        sender.last += len(bodies)
        room.last += len(bodies)
        room.bytes += sum(map(len, bodies))
        self._note(sender)
        self._note(room)
        return first

    def _sender(self, room: _Room, name: str) -> _Sender:
        row = self.connection.execute(
            "SELECT s.id, s.last, ifnull(max(r.key - r.number), 0)"
            " FROM senders AS s LEFT JOIN runs AS r ON r.sender = s.id WHERE s.room = ? AND s.sender = ?",
            (room.id, name),
        ).fetchone()
        if row[0] is None:
            done = self.connection.execute("INSERT INTO senders VALUES (NULL, ?, ?, 0)", (room.id, name))
            row = (done.lastrowid, 0, 0)
        sender = self._senders[room.id, name] = _Sender(*row)
        return sender

    def _where(self, room: _Room, sender: _Sender, number: int) -> int:
        """Sequence * 4 + `AGAIN` of a message that was stored before; sequence 0 if it is not kept."""
        self.settle()
        row = self.connection.execute(
            "SELECT key - number FROM runs WHERE sender = ? AND number <= ? ORDER BY number DESC LIMIT 1",
            (sender.id, number),
        ).fetchone()
        sequence = 0 if row is None else row[0] + number - room.base
        return (sequence if sequence >= room.first else 0) * 4 + Became.AGAIN

    def read(self, name: str, after: int, limit: int) -> tuple[list[Row], int, int]:
        room = self._room(name)
        self.settle()
        rows: list[Row] = []
        size = 0
        start = max(after, room.first - 1)
        found = self.connection.execute(
            "SELECT m.key, m.at, s.sender, m.name, m.number, m.body"
            " FROM messages AS m JOIN senders AS s ON s.id = m.sender"
            " WHERE m.key > ? AND m.key <= ? ORDER BY m.key LIMIT ?",
            (room.base + min(start, room.last), room.base + room.last, max(0, min(limit, MOST_READ))),
        )
        for key, at, sender, shown, number, body in found:
            data = body if isinstance(body, bytes) else body.encode()
            if rows and size + len(data) > MOST_READ_BYTES:
                break
            size += len(data)
            rows.append((key - room.base, at, sender, shown, number, data))
        return rows, room.first, room.last

    def last(self, name: str) -> int:
        return self._room(name).last

    def published(self, name: str, sender: str) -> int:
        room = self._find(name)
        if room is None:
            return 0
        self.settle()
        row = self.connection.execute(
            "SELECT last FROM senders WHERE room = ? AND sender = ?", (room.id, sender)
        ).fetchone()
        return row[0] if row is not None else 0

    def retain(self, name: str, oldest: float | None, count: int | None, most: int | None) -> int:
        """Delete a slice of what is too much or older than `oldest`; how many, 0 at the end."""
        room = self._room(name)
        if room.first > room.last:
            return 0
        self.settle()
        cut, size = room.first, room.bytes
        rows = self.connection.execute(
            "SELECT at, length(CAST(body AS BLOB)) FROM messages"
            " WHERE key BETWEEN ? AND ? ORDER BY key LIMIT ?",
            (room.base + room.first, room.base + room.last, SLICE),
        )
        for at, length in rows:
            if not (
                (oldest is not None and at < oldest)
                or (count is not None and room.last - cut + 1 > count)
                or (most is not None and size > most)
            ):
                break
            size -= length
            cut += 1
        rows.close()
        return self._delete(room, cut)

    def _delete(self, room: _Room, cut: int) -> int:
        """Take a slice of what is before `cut` out of the table and the index; how many."""
        self.settle()
        cut = min(cut, room.first + SLICE, room.last + 1)
        keys = (room.base + room.first, room.base + cut)
        rows = self.connection.execute(
            "SELECT key, body FROM messages WHERE key >= ? AND key < ?", keys
        ).fetchall()
        self.connection.executemany(
            "INSERT INTO words (words, rowid, body) VALUES ('delete', ?, ?)",
            [
                (key, indexed_text(body))
                for key, body in rows
                if isinstance(body, str) and key <= room.base + room.indexed
            ],
        )
        gone = self.connection.execute(
            "SELECT sender, max(number) + 1 FROM messages WHERE key >= ? AND key < ? GROUP BY sender", keys
        ).fetchall()
        self.connection.executemany(  # the run of its next message stays
            "DELETE FROM runs WHERE sender = ?1 AND number <"
            " (SELECT max(number) FROM runs WHERE sender = ?1 AND number <= ?2)",
            gone,
        )
        self.connection.execute("DELETE FROM messages WHERE key >= ? AND key < ?", keys)
        room.bytes -= sum(len(body if isinstance(body, bytes) else body.encode()) for _, body in rows)
        room.first = cut
        room.indexed = max(room.indexed, cut - 1)
        self._note(room)
        return len(rows)

    # ---------------------------------------------------------------------------------------- the index

    def index(self, most: int) -> int:
        """Bring up to so many messages into the full-text index, in a group of its own; how many those were.

        Not `durable`: after a crash they are indexed again.
        """
        with self.group(durable=False):
            row = self.connection.execute("SELECT name FROM rooms WHERE indexed < last LIMIT 1").fetchone()
            if row is None:
                return 0
            room = self._room(row[0])
            keys = (room.base + room.indexed, room.base + room.last, most)
            rows = self.connection.execute(
                "SELECT key, body FROM messages WHERE key > ? AND key <= ? ORDER BY key LIMIT ?", keys
            ).fetchall()
            self.connection.executemany(
                "INSERT INTO words (rowid, body) VALUES (?, ?)",
                [(key, indexed_text(body)) for key, body in rows if isinstance(body, str)],
            )
            room.indexed = rows[-1][0] - room.base if rows else room.last
            self._note(room)
        return len(rows)

    # ---------------------------------------------------------------------------------------- cursors

    def cursor(self, name: str, reader: str) -> int | None:
        row = self.connection.execute(
            "SELECT c.sequence FROM cursors AS c JOIN rooms AS r ON r.id = c.room"
            " WHERE r.name = ? AND c.reader = ?",
            (name, reader),
        ).fetchone()
        return row[0] if row is not None else None

    def set_cursors(self, batch: list[Row]) -> None:
        found = ((self._find(name), reader, sequence) for name, reader, sequence in batch)
        self.connection.executemany(
            "INSERT INTO cursors VALUES (?, ?, max(0, ?)) ON CONFLICT (room, reader)"
            " DO UPDATE SET sequence = max(sequence, excluded.sequence)",
            [
                (room.id, reader, min(sequence, room.last))
                for room, reader, sequence in found
                if room is not None
            ],
        )


def _kept(bodies: list[bytes]) -> Iterable[str | bytes]:
    """Bodies as they are kept: text where they are that."""
    whole = b"".join(bodies)
    if whole.isascii() and b"\0" not in whole:
        return [str(body, "ascii") for body in bodies]
    texts = map(text_of, bodies)
    return [body if text is None else text for body, text in zip(bodies, texts, strict=True)]
