"""What the hub keeps over its restarts: documents by kind and name, in one SQLite file.

Owns the file. `save` and `delete` never wait: what they change is taken by one thread, which writes whatever
has gathered in one transaction; `flush` waits until it is on disk (WAL, `synchronous=FULL`). What cannot be
written (disk full, locked, read-only) is kept and tried again, and `problem` says so meanwhile. A file that
is damaged, foreign or of a newer version is refused and left as it is. One hub at a time has the file: it
holds a lock on `PATH.lock`. Until something is saved that is the only descriptor it needs; then four.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from .control import default_path
from .state_file import (
    DAMAGED,
    StateError,
    close,
    connect,
    copy_file,
    lock_file,
    prepare_file,
    read_kind,
    reason,
)

LONGEST_DOCUMENT: Final = 4 * 1024 * 1024  # bytes of one document as JSON
MOST_WAITING: Final = 64 * 1024 * 1024  # bytes of documents that wait for a disk that takes none
GATHERED_FOR: Final = 0.05  # seconds in which changes are gathered, unless somebody waits for them
TRIED_EVERY: Final = 2.0  # seconds between two attempts while the disk takes nothing

Key = tuple[str, str]
Asked = tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]


def choose_path(given: str | None, control: Path, environment: Mapping[str, str], uid: int) -> Path | None:
    """Where the hub at that control path keeps its state; None for nowhere.

    The file given ("none": nowhere), else one with the user's other state (nowhere for a user without a
    home), or beside a control socket that is not the default one.
    """
    if given is not None:
        return None if given == "none" else Path(given).expanduser().absolute()
    if control != default_path(environment, uid):
        return control.with_suffix(".db") if control.suffix == ".sock" else Path(f"{control}.db")
    home = environment.get("XDG_STATE_HOME", "")
    if home.startswith("/"):
        return Path(home, "jackfield", "hub.db")
    if uid == 0:
        return Path("/var/lib/jackfield/hub.db")
    user = os.path.expanduser("~")
    return Path(user, ".local/state/jackfield/hub.db") if user.startswith("/") else None


class State:
    """The documents of one hub. Made by `open` or `nowhere`; all calls but `backup` are of one thread."""

    def __init__(self, path: Path | None, lock: int) -> None:
        self.path = path
        self.problem = ""  # why what was saved is not on disk; empty while all is well
        self._file = os.stat(path) if path is not None else None
        self._lock = lock
        self._changed = threading.Condition()
        self._waiting: dict[Key, str | None] = {}  # None: to be deleted
        self._writing: dict[Key, str | None] = {}  # taken by the thread, perhaps not on disk yet
        self._bytes = 0  # of what waits
        self._lost = 0  # changes that found no room even here
        self._asked: list[Asked] = []
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="jackfield-state", daemon=True)
        if path is not None:
            self._thread.start()

    @classmethod
    def open(cls, path: Path) -> State:
        """The state in a file, which is made (0600, its directory 0700) where there is none.

        Raises `StateUnavailable` where none can be made or written, and `StateError` for a file that another
        hub has, and for one that is damaged, foreign or newer, which stays as it is.
        """
        lock = lock_file(path)
        try:
            prepare_file(path)
            return cls(path, lock)
        except BaseException:
            os.close(lock)
            raise

    @classmethod
    def nowhere(cls) -> State:
        """A state that ends with the hub: what is saved is loaded again, and never on disk."""
        return cls(None, -1)

    def load(self, kind: str) -> dict[str, dict[str, Any]]:
        """The documents of a kind by name, with all that was saved so far. Raises `StateError`."""
        with self._changed:
            newer = {**self._writing, **self._waiting}
        found: dict[str, str] = {}
        if self.path is not None:
            found.update(read_kind(self.path, kind))
        for (of, name), value in newer.items():
            if of == kind and value is not None:
                found[name] = value
            elif of == kind:
                found.pop(name, None)
        return {name: self._read(kind, name, value) for name, value in found.items()}

    def _read(self, kind: str, name: str, text: str) -> dict[str, Any]:
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise StateError(f"the state in {self.path} is damaged: {kind} {name!r} is no document", DAMAGED)
        return value

    def save(self, kind: str, name: str, value: Mapping[str, Any]) -> None:
        """Keep a document, in place of the one of that kind and name; what JSON can hold. Never waits.

        Raises `ValueError` for one longer than `LONGEST_DOCUMENT` and for a name that is no text.
        """
        name.encode()
        text = json.dumps(value, separators=(",", ":"))
        if len(text) > LONGEST_DOCUMENT:
            raise ValueError(
                f"{kind} {name!r} is too long to keep: {len(text)} bytes, at most {LONGEST_DOCUMENT}"
            )
        self._change((kind, name), text)

    def delete(self, kind: str, name: str) -> None:
        """Forget a document, if there is one. Never waits."""
        self._change((kind, name), None)

    def _change(self, key: Key, text: str | None) -> None:
        with self._changed:
            before = self._waiting.get(key)
            growth = _size(key, text) - (_size(key, before) if key in self._waiting else 0)
            if self._bytes + growth > MOST_WAITING:
                self._lost += 1
                return
            if self.path is None and text is None:
                self._waiting.pop(key, None)
                self._bytes -= _size(key, before) if before is not None else 0
                return
            self._waiting[key] = text
            self._bytes += growth
            self._changed.notify()

    async def flush(self) -> None:
        """Wait until everything that was saved so far is on disk. Raises `StateError` when it is not.

        What is not is kept and tried again later. Cancelled, it is written all the same.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        with self._changed:
            if self.path is None or (not self._waiting and not self._writing and not self._lost):
                return
            if self._closing:
                raise StateError("the hub's state is closed")
            self._asked.append((loop, done))
            self._changed.notify()
        await done

    async def backup(self, path: Path) -> None:
        """Copy the state to a new file while the hub goes on (SQLite's online backup).

        Everything saved so far is in it. Raises `StateError`, also where something is at `path` already.
        """
        if self.path is None:
            raise StateError("this hub keeps no state", "start it with --state PATH")
        await self.flush()
        await asyncio.to_thread(copy_file, self.path, path)

    def unwritten(self) -> list[tuple[str, str, str]]:
        """Kind, name and JSON of every document of a state without a file, which nothing else has."""
        with self._changed:
            found = self._waiting if self.path is None else {}
            return [(*key, text) for key, text in found.items() if text is not None]

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closing

    async def close(self) -> None:
        """Write what waits, once, and give the file back. May be called twice; raises nothing."""
        with self._changed:
            closing, self._closing = self._closing, True
            self._changed.notify()
        if self.path is None or closing:
            return
        await asyncio.to_thread(self._thread.join)
        os.close(self._lock)

    # ---------------------------------------------------------------- the thread that writes

    def _work(self) -> None:
        assert self.path is not None
        connection: sqlite3.Connection | None = None
        while True:
            closing, asked = self._take()
            trouble = ""
            try:
                self._check_file(self.path)
                connection = connection or connect(self.path)
                self._write(connection)
            except Exception as problem:  # the thread lives as long as the hub
                trouble = reason(problem)
                if connection is not None:  # what it thinks of the file may be wrong by now
                    close(connection)
                connection = None
            self._settle(trouble, asked)
            if closing:
                break
            if trouble:
                self._pause()
        if connection is not None:
            close(connection)

    def _take(self) -> tuple[bool, list[Asked]]:
        """Wait for changes, gather what comes with them, and take all of it; whether to end after that."""
        with self._changed:
            while not (self._waiting or self._asked or self._closing):
                self._changed.wait()
            self._wait_unless_asked(GATHERED_FOR)
            asked, self._asked = self._asked, []
            self._writing, self._waiting = self._waiting, {}
            return self._closing, asked

    def _check_file(self, path: Path) -> None:
        """Raise when what is written would be found by nobody."""
        try:
            same = self._file is not None and os.path.samestat(os.stat(path), self._file)
        except FileNotFoundError:
            same = False
        if not same:
            raise OSError("the file was removed or replaced while the hub runs")

    def _write(self, connection: sqlite3.Connection) -> None:
        kept = [(*key, text) for key, text in self._writing.items() if text is not None]
        deleted = [key for key, text in self._writing.items() if text is None]
        if not kept and not deleted:
            return
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", kept)
        connection.executemany("DELETE FROM documents WHERE kind = ? AND name = ?", deleted)
        connection.execute("COMMIT")

    def _settle(self, trouble: str, asked: list[Asked]) -> None:
        """What was taken is on disk, or waits again, behind what has changed since."""
        with self._changed:
            if trouble:
                self._waiting = {**self._writing, **self._waiting}
            elif self._lost:
                trouble = f"{self._lost} changes found no room while the disk took nothing, and are lost"
                self._lost = 0
            self._writing = {}
            self._bytes = sum(_size(key, text) for key, text in self._waiting.items())
            self.problem = trouble
        for loop, done in asked:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
                loop.call_soon_threadsafe(_answer, done, self.path, trouble)

    def _pause(self) -> None:
        """Wait before the next attempt, unless somebody wants to know now."""
        with self._changed:
            self._wait_unless_asked(TRIED_EVERY)

    def _wait_unless_asked(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not (self._asked or self._closing) and (rest := end - time.monotonic()) > 0:
            self._changed.wait(rest)


def _answer(done: asyncio.Future[None], path: Path | None, trouble: str) -> None:
    if done.done():
        return
    if trouble:
        done.set_exception(
            StateError(f"not on disk yet, in {path}: {trouble}", "it is tried again as long as the hub runs")
        )
    else:
        done.set_result(None)


def _size(key: Key, text: str | None) -> int:
    return len(key[0]) + len(key[1]) + len(text or "") + 64
