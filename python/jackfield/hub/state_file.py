"""The files in which a hub keeps things: whole and ours or refused, brought to our version, locked, copied.

Owns how that is done, for the rooms' file, too, and the schema of the hub's state. Nothing is written to a
file before it is known to be ours, of a version that we know, and whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Final

Migrations = tuple[tuple[str, ...], ...]

BUSY: Final = 1.0  # seconds that another program's lock on the file is waited for
APPLICATION: Final = 0x4A61636B  # "Jack": what says that a SQLite file is ours
# The statements at index N bring a file of version N to version N + 1. Never change one that was released.
MIGRATIONS: Final[Migrations] = (
    (
        "CREATE TABLE documents (kind TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,"
        " PRIMARY KEY (kind, name)) WITHOUT ROWID",
    ),
)

ELSEWHERE: Final = "keep it elsewhere with --state PATH, or nowhere with --state none"
DAMAGED: Final = "move it away, put a backup in its place, or keep other state with --state PATH"
_REASONS: Final = (
    ("SQLITE_FULL", "no space is left on the disk"),
    ("SQLITE_BUSY", "another program has locked it"),
    ("SQLITE_READONLY", "it can only be read"),
    ("SQLITE_IOERR", "the disk does not take it (full, a limit on file sizes, or a fault)"),
    ("SQLITE_CANTOPEN", "it cannot be opened"),
)


class StateError(Exception):
    """The hub's state cannot be had, or something is not on disk; the message says why, `hint` what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class StateUnavailable(StateError):
    """No state can be kept at that place: it cannot be made, or not written. Nothing was lost."""


@dataclass(frozen=True)
class Contents:
    """What is in a file: a name for it, what says so in the file, its versions, and what its faults are.

    A file longer than `checked_whole` bytes is not read through at the start; None reads any.
    """

    name: str
    are: str  # "is" or "are", as the name wants it
    application: int
    migrations: Migrations
    fault: type[StateError] = StateError
    unavailable: type[StateError] = StateUnavailable
    checked_whole: int | None = None


def prepare_file(path: Path) -> None:
    """See to it that there is a file of the hub's state, ours, whole and of our version.

    Raises `StateUnavailable` where there can be none, `StateError` for a file that is not to be touched.
    """
    prepare(path, Contents("state", "is", application=APPLICATION, migrations=MIGRATIONS))


def prepare(path: Path, contents: Contents) -> None:
    """See to it that there is a file with that, ours, whole and of our version; made where there is none.

    Raises `contents.unavailable` where there can be none, `contents.fault` for one that is not to be touched.
    """
    cannot = f"cannot keep {contents.name} in {path}"
    try:
        # Made here, so that it is private before anything is in it.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as problem:
        raise contents.unavailable(f"{cannot}: {problem.strerror}", ELSEWHERE) from problem
    connection: sqlite3.Connection | None = None
    try:
        connection = connect(path)
        _prepare(connection, path, contents)
    except sqlite3.OperationalError as problem:
        raise contents.unavailable(f"{cannot}: {reason(problem)}", ELSEWHERE) from problem
    except sqlite3.DatabaseError as problem:
        raise _damaged(path, contents, str(problem)) from problem
    finally:
        if connection is not None:
            close(connection)


def _damaged(path: Path, contents: Contents, found: str) -> StateError:
    return contents.fault(f"the {contents.name} in {path} {contents.are} damaged: {found}", DAMAGED)


def connect(path: Path) -> sqlite3.Connection:
    """A connection to a file that is there; it makes none. Raises `sqlite3.Error`."""
    uri = f"{path.absolute().as_uri()}?mode=rw"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY, isolation_level=None)
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, contents: Contents) -> None:
    """Check the file before anything is written to it, then bring it to our version."""
    newest = len(contents.migrations)
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    application: int = connection.execute("PRAGMA application_id").fetchone()[0]
    tables: int = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if application != contents.application and (application or version or tables):
        raise contents.fault(f"{path} is a database of another program", ELSEWHERE)
    if version > newest:
        raise contents.fault(
            f"the {contents.name} in {path} {contents.are} of version {version}, "
            f"and this jackfield knows {newest}",
            "use the newer jackfield that made it, or keep other state with --state PATH",
        )
    if contents.checked_whole is None or path.stat().st_size <= contents.checked_whole:
        found: str = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise _damaged(path, contents, " ".join(found.split()))
    connection.execute("PRAGMA journal_mode = WAL")
    if version < newest:
        connection.execute("BEGIN IMMEDIATE")
        for statements in contents.migrations[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {contents.application}")
        connection.execute(f"PRAGMA user_version = {newest}")
        connection.execute("COMMIT")


def read_kind(path: Path, kind: str) -> list[tuple[str, str]]:
    """Names and documents of a kind. Raises `StateError`."""
    connection: sqlite3.Connection | None = None
    try:
        connection = connect(path)
        return connection.execute("SELECT name, value FROM documents WHERE kind = ?", (kind,)).fetchall()
    except sqlite3.Error as problem:
        raise StateError(f"cannot read the state in {path}: {reason(problem)}") from problem
    finally:
        if connection is not None:
            close(connection)


def lock_file(path: Path) -> int:
    """The right to write the file, as a descriptor that holds it until it is closed. Raises `StateError`."""
    lock = path.with_name(path.name + ".lock")
    try:
        os.makedirs(path.parent, mode=0o700, exist_ok=True)
        fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as problem:
        raise StateUnavailable(f"cannot keep state in {path}: {problem.strerror}", ELSEWHERE) from problem
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(fd)
        raise StateError(f"another hub (pid {holder}) keeps its state in {path}", ELSEWHERE) from None
    with contextlib.suppress(OSError):  # a full disk: the lock holds without a pid in it
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def copy_file(path: Path, to: Path) -> None:
    """SQLite's online backup into a file that is not there yet. Raises `StateError`."""
    try:
        os.close(os.open(to, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError as problem:
        raise StateError(f"cannot make the backup {to}: {problem.strerror}", "name a new file") from problem
    source = target = None
    try:
        source, target = connect(path), connect(to)
        source.backup(target)
    except sqlite3.Error as problem:
        to.unlink(missing_ok=True)
        raise StateError(f"cannot make the backup {to}: {reason(problem)}") from problem
    finally:
        for connection in filter(None, (source, target)):
            close(connection)


def close(connection: sqlite3.Connection) -> None:
    """Close it, whatever became of its file."""
    with contextlib.suppress(sqlite3.Error):
        connection.close()


def reason(problem: Exception) -> str:
    """What the database or the system said, in plain words."""
    name = getattr(problem, "sqlite_errorname", "")
    for beginning, words in _REASONS:
        if name.startswith(beginning):
            return words
    if isinstance(problem, OSError):
        return problem.strerror or str(problem)
    return str(problem)
