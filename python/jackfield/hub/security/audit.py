"""The audit log: who did what to whom, from where, in which role, and what came of it.

Owns its file: one JSON object a line, appended (0600, `O_APPEND`), on disk before the next one is taken
(`fdatasync`), turned over at `LONGEST_FILE` and kept `FILES` times. One thread writes, so that neither a slow
nor a full disk holds up the hub: what it does not take waits, `MOST_WAITING` records at most, and is tried
again; what found no room even there is counted, and the next line that is written says how many. The same
goes to journald where the hub is a service of systemd, by its native protocol, best effort.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

LONGEST_FILE: Final = 16 * 1024 * 1024  # bytes
FILES: Final = 8  # beside the one that is written
MOST_WAITING: Final = 10_000  # records
REMEMBERED: Final = 1000  # records that the hub tells again
TRIED_EVERY: Final = 2.0  # seconds between two attempts while the disk takes nothing
JOURNAL: Final = Path("/run/systemd/journal/socket")

Record = dict[str, Any]


def journal_of(environment: Mapping[str, str]) -> Path | None:
    """Where journald is heard; None unless the process is a service of systemd's."""
    return JOURNAL if environment.get("INVOCATION_ID") and environment.get("JOURNAL_STREAM") else None


class AuditLog:
    """The audit log of one hub; without a path in memory alone.

    `trouble` is called, from the thread that writes, with what keeps it from writing, and with an empty text
    when it writes again.
    """

    def __init__(self, path: Path | None, journal: Path | None, trouble: Callable[[str], None]) -> None:
        self.path = path
        self.problem = ""  # why what happened is not in the file; empty while all is well
        self.recent: deque[Record] = deque(maxlen=REMEMBERED)
        self._trouble = trouble
        self._followers: list[Callable[[Record], None]] = []
        self._waiting: deque[bytes] = deque()
        self._lost = 0
        self._rest = b""  # of a line that is in the file in part
        self._changed = threading.Condition()
        self._closing = False
        self._file = -1
        self._journal = None if journal is None else _Journal(journal)
        self._thread = threading.Thread(target=self._work, name="jackfield-audit", daemon=True)
        if path is not None:
            self.recent.extend(tail(path, REMEMBERED))
            self._thread.start()

    def write(self, record: Record) -> None:
        """Take in what happened. Never waits."""
        self.recent.append(record)
        for follower in tuple(self._followers):
            follower(record)
        if self._journal is not None:
            self._journal.send(record)
        if self.path is None:
            return
        line = json.dumps(record, separators=(",", ":")).encode("ascii") + b"\n"
        with self._changed:
            if len(self._waiting) >= MOST_WAITING:
                self._lost += 1
                return
            self._waiting.append(line)
            self._changed.notify()

    def follow(self, follower: Callable[[Record], None]) -> Callable[[], None]:
        """Hand each record from now on to `follower`; the result ends that, and may be called twice."""
        self._followers.append(follower)

        def end() -> None:
            if follower in self._followers:
                self._followers.remove(follower)

        return end

    def close(self) -> None:
        """Write what waits, once, and close the file. May be called twice; waits for the disk."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()
        if self._journal is not None:
            self._journal.close()

    # ---------------------------------------------------------------- the thread that writes

    def _work(self) -> None:
        while True:
            with self._changed:
                while not (self._waiting or self._closing):
                    self._changed.wait()
                lines, self._waiting = self._waiting, deque()
                lost, self._lost = self._lost, 0
                closing = self._closing
            try:
                self._write(lines, lost)
                problem = ""
            except OSError as error:
                problem = error.strerror or str(error)
                with self._changed:
                    self._waiting.extendleft(reversed(lines))
                    self._lost += lost
                self._close_file()
            if problem != self.problem:
                self.problem = problem
                self._trouble(problem)
            if closing:
                break
            if problem:
                with self._changed:
                    if not self._closing:
                        self._changed.wait(TRIED_EVERY)
        self._close_file()

    def _write(self, lines: deque[bytes], lost: int) -> None:
        """Write them all. Raises `OSError`, with those that are not written still in `lines`."""
        if not lines and not lost:
            return
        assert self.path is not None
        self._open(self.path)
        if lost:
            what = {"time": _now(), "who": "the hub", "what": "audit", "outcome": f"{lost} records were lost"}
            lines.appendleft(json.dumps(what, separators=(",", ":")).encode("ascii") + b"\n")
        while lines:
            self._rest = self._rest or lines[0]
            while self._rest:
                self._rest = self._rest[os.write(self._file, self._rest) :]
            lines.popleft()
        os.fdatasync(self._file)

    def _open(self, path: Path) -> None:
        if self._file >= 0:
            try:
                found = os.stat(path)
                same = os.path.samestat(found, os.fstat(self._file))
            except FileNotFoundError:
                same = False
            if same and found.st_size < LONGEST_FILE:
                return
            self._close_file()
            if same:
                _turn_over(path)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        self._file = os.open(path, flags, 0o600)
        if not stat.S_ISREG(os.fstat(self._file).st_mode):
            self._close_file()
            raise OSError(0, "it is no file")
        os.fchmod(self._file, 0o600)

    def _close_file(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _turn_over(path: Path) -> None:
    for number in range(FILES, 0, -1):
        older = path.with_name(f"{path.name}.{number}")
        newer = path if number == 1 else path.with_name(f"{path.name}.{number - 1}")
        with contextlib.suppress(FileNotFoundError):
            os.replace(newer, older)


def tail(path: Path, count: int) -> list[Record]:
    """The last records of a file, oldest first, without what is no record; none where it cannot be read."""
    found: list[Record] = []
    try:
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            found_file = os.fstat(file.fileno())
            if not stat.S_ISREG(found_file.st_mode):
                return []
            file.seek(max(0, found_file.st_size - count * 512))
            lines = file.read().splitlines()
    except OSError:
        return []
    for line in lines:
        with contextlib.suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict):
                found.append(record)
    return found[-count:]


def _now() -> str:
    from ..roster import timestamp

    return timestamp(time.time())


class _Journal:
    """journald's socket. What it does not take at once is not sent: the file has it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = socket.socket(
            socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        )

    def send(self, record: Record) -> None:
        with contextlib.suppress(OSError):
            self._socket.sendto(journal_entry(record), str(self._path))

    def close(self) -> None:
        self._socket.close()


def journal_entry(record: Record) -> bytes:
    """A record in journald's native protocol: a sentence, and each fact as a field of its own."""
    refused = str(record.get("outcome", "")) not in ("done", "")
    words = [str(record.get(name, "")) for name in ("who", "what", "target", "outcome")]
    fields = {
        "MESSAGE": "audit: " + " ".join(word for word in words if word),
        "PRIORITY": "4" if refused else "5",
        "SYSLOG_IDENTIFIER": "jackfield",
        **{f"JACKFIELD_{name.upper()}": str(value) for name, value in record.items() if name != "time"},
    }
    return b"".join(_field(name, value.encode("utf-8", "replace")) for name, value in fields.items())


def _field(name: str, value: bytes) -> bytes:
    if b"\n" not in value:
        return name.encode("ascii") + b"=" + value + b"\n"
    return name.encode("ascii") + b"\n" + struct.pack("<Q", len(value)) + value + b"\n"
