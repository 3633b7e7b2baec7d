"""The file of a store: its tables, brought to our version, refused when damaged, foreign or newer.

Nothing is written to a file before it is known to be ours and of a version that we know. A message's key is
its room's id and its sequence in one integer, so that one tree has every room's messages in order.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from .. import state_file
from ..state_file import Contents, Migrations
from .store import StoreError, StoreUnavailable

APPLICATION: Final = 0x4A6B526D  # "JkRm": what says that a SQLite file is ours
SEQUENCES: Final = 1 << 40  # a message's key is room id * SEQUENCES + sequence
OLDEST_SQLITE: Final = (3, 37, 0)  # the first with STRICT tables
CHECKED_WHOLE: Final = 64 * 1024 * 1024  # bytes; a longer file is checked as it is read

# The statements at index N bring a file of version N to version N + 1. Never change one that was released.
MIGRATIONS: Final[Migrations] = (
    (
        # `indexed` is the last sequence in `words`; `bytes` is of the bodies that are kept.
        "CREATE TABLE rooms (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,"
        " topic TEXT NOT NULL, made REAL NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,"
        " bytes INTEGER NOT NULL, indexed INTEGER NOT NULL) STRICT",
        "CREATE TABLE senders (id INTEGER PRIMARY KEY, room INTEGER NOT NULL,"
        " sender TEXT NOT NULL, last INTEGER NOT NULL, UNIQUE (room, sender)) STRICT",
        # `body` is text where it is UTF-8 without a NUL, else a blob.
        "CREATE TABLE messages (key INTEGER PRIMARY KEY, sender INTEGER NOT NULL, number INTEGER NOT NULL,"
        " at REAL NOT NULL, name TEXT NOT NULL, body ANY NOT NULL, UNIQUE (sender, number)) STRICT",
        "CREATE TABLE cursors (room INTEGER NOT NULL, reader TEXT NOT NULL,"
        " sequence INTEGER NOT NULL, PRIMARY KEY (room, reader)) STRICT, WITHOUT ROWID",
        # A delivered letter keeps its row without a body until it expires, so that it is not taken again.
        "CREATE TABLE letters (id INTEGER PRIMARY KEY AUTOINCREMENT, recipient TEXT NOT NULL,"
        " sender TEXT NOT NULL, number INTEGER NOT NULL, at REAL NOT NULL, expires REAL NOT NULL,"
        " name TEXT NOT NULL, body BLOB NOT NULL, delivered INTEGER NOT NULL DEFAULT 0,"
        " UNIQUE (sender, number)) STRICT",
        "CREATE INDEX letters_waiting ON letters (recipient, id) WHERE NOT delivered",
        "CREATE INDEX letters_expire ON letters (expires)",
        "CREATE VIRTUAL TABLE words USING fts5(body, content='', tokenize=\"unicode61 remove_diacritics 0\")",
    ),
    (
        # From `number` on, up to the sender's next run, key - number is the same. Instead of an index of all
        # messages: who says many at once, or speaks alone, has few runs.
        "CREATE TABLE runs (sender INTEGER NOT NULL, number INTEGER NOT NULL, key INTEGER NOT NULL,"
        " PRIMARY KEY (sender, number)) STRICT, WITHOUT ROWID",
        "INSERT INTO runs SELECT sender, number, key FROM (SELECT sender, number, key,"
        " lag(key - number) OVER (PARTITION BY sender ORDER BY number) AS before FROM messages)"
        " WHERE before IS NOT key - number",
        "ALTER TABLE messages RENAME TO messages_1",
        "CREATE TABLE messages (key INTEGER PRIMARY KEY, sender INTEGER NOT NULL, number INTEGER NOT NULL,"
        " at REAL NOT NULL, name TEXT NOT NULL, body ANY NOT NULL) STRICT",
        "INSERT INTO messages SELECT * FROM messages_1 ORDER BY key",
        "DROP TABLE messages_1",
    ),
)


def prepare(path: Path) -> None:
    """See to it that there is a store's file, ours, whole and of our version; made where there is none.

    Raises `StoreUnavailable` where there can be none, `StoreError` for a file that is not to be touched.
    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        needed = ".".join(map(str, OLDEST_SQLITE))
        raise StoreUnavailable(
            f"this Python has SQLite {sqlite3.sqlite_version}, and durable rooms need {needed}",
            "use a Python with a newer one, or keep nothing with --state none",
        )
    rooms = Contents(
        "rooms",
        "are",
        application=APPLICATION,
        migrations=MIGRATIONS,
        fault=StoreError,
        unavailable=StoreUnavailable,
        checked_whole=CHECKED_WHOLE,
    )
    state_file.prepare(path, rooms)
