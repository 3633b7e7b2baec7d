"""`serve --log-dir`: what happens in the hub and all that clients say and are told, in a directory of
recordings.

Owns the directory: new files by size and day, old ones removed, a disk that is full. The recording is made
by a `Recorder` in the hub's own task; a thread writes it, so that a slow disk holds up nobody. Memory is
bounded by the recorder, which counts what the disk was too slow for; what a full disk had no room for is
counted here. Both stand in the files, and the log tells when it begins and ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import queue
import stat
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..recording.file import Appender, RecordingAppender
from ..recording.retention import Keep, Kept, Rolling, file_name
from ..recording.tape import Chunk
from .client import Client
from .display import human_size
from .journal import Event, Field
from .part import Part
from .recorder import Recorder
from .text import TextError, parse_duration, parse_size

if TYPE_CHECKING:
    from .server import Hub

LEAST: Final = 1024 * 1024  # bytes that are kept, at least
LOOK_AGAIN: Final = 60.0  # seconds between two looks for files that are too old
BEGIN_AGAIN: Final = 1.0  # seconds until a new file is tried, after one could not be had
LAST_WRITES: Final = 1.0  # seconds that the thread has for what waits at the end


def parse_keep(text: str) -> Keep:
    """What to keep, of `7d,1G`, `12h` or `500M`: an age, a size, or both. Raises `TextError`."""
    age: float | None = None
    size: int | None = None
    try:
        for part in map(str.strip, text.split(",")):
            if part[-1:] in ("B", "K", "M", "G") and size is None:
                size = parse_size(part)
            elif age is None:
                age = parse_duration(part)
            else:
                raise TextError("said twice")
    except TextError:
        raise TextError(
            f"{text!r} does not say what to keep; write an age, a size or both, such as 7d,1G"
        ) from None
    if size is not None and size < LEAST:
        raise TextError(f"{text!r} keeps too little: at least {human_size(LEAST)} is needed, such as 100M")
    if age is not None and age < 1:
        raise TextError(f"{text!r} keeps nothing: at least 1s is needed, such as 7d")
    return Keep(age, size)


class LogDirectory(Part):
    """The part that keeps a directory of recordings.

    Raises OSError, when opened, for one that it cannot write.
    """

    looks_on = True

    def __init__(self, directory: Path, keep: Keep) -> None:
        self._directory = directory
        self._keep = keep
        self._recorder: Recorder | None = None
        self._writer: DirectoryWriter | None = None
        self._unfollow: Callable[[], None] | None = None

    async def open(self, hub: Hub) -> None:
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        loop = asyncio.get_running_loop()

        def tell(kind: str, facts: dict[str, Field]) -> None:
            loop.call_soon_threadsafe(lambda: hub.log(kind, directory=str(self._directory), **facts))

        def written() -> None:
            loop.call_soon_threadsafe(recorder.acknowledge)

        rolling = Rolling(self._keep.longest_file)
        writer = DirectoryWriter(self._directory, self._keep, written=written, tell=tell)
        recorder = Recorder(
            writer.put,
            roll=lambda size, now: rolling(size, now) or writer.wants_another_file(time.monotonic()),
        )
        self._writer, self._recorder = writer, recorder
        writer.start()
        await recorder.open(hub)
        self._unfollow = hub.journal.follow(self._happened)

    async def close(self) -> None:
        if self._unfollow is not None:
            self._unfollow()
        if self._recorder is not None:
            await self._recorder.close()
            self._recorder.abandon()
        if self._writer is not None:
            await asyncio.to_thread(self._writer.close)

    def _happened(self, event: Event) -> None:
        if event.kind != "message" and self._recorder is not None:  # messages are recorded whole anyway
            self._recorder.happened(event)

    async def resume(self, now: float, clients: Sequence[Client], handed: Any) -> None:
        if self._recorder is not None:
            await self._recorder.resume(now, clients, handed)

    def came(self, now: float, client: Client) -> None:
        if self._recorder is not None:
            self._recorder.came(now, client)

    def went(self, now: float, client: Client, reason: str) -> None:
        if self._recorder is not None:
            self._recorder.went(now, client, reason)

    def heard(self, now: float, client: Client, data: bytes) -> None:
        if self._recorder is not None:
            self._recorder.heard(now, client, data)

    def told(self, now: float, client: Client, data: bytes, by: str) -> None:
        if self._recorder is not None:
            self._recorder.told(now, client, data, by)


class DirectoryWriter:
    """The thread that writes.

    `written` and `tell` are called in it, after each chunk and when the disk fails.
    """

    def __init__(
        self,
        directory: Path,
        keep: Keep,
        *,
        written: Callable[[], None],
        tell: Callable[[str, dict[str, Field]], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._directory = directory
        self._keep = keep
        self._written = written
        self._tell = tell
        self._clock = clock
        self._chunks: queue.SimpleQueue[Chunk | None] = queue.SimpleQueue()  # the recorder's window bounds it
        self._file: RecordingAppender | None = None
        self._failing = ""  # why nothing can be written at the moment
        self._unclean = False  # old files could not be removed
        self._missing = [0, 0]  # records and bytes that were never in a file
        self._failed_at: float | None = None  # monotonic, until a new file was asked for
        self._thread = threading.Thread(target=self._work, name="jackfield-log-directory", daemon=True)

    def start(self) -> None:
        """Begin. Raises OSError where no file can be made in the directory."""
        self._open()
        self._thread.start()

    def put(self, chunk: Chunk) -> None:
        """Write a chunk; never waits."""
        self._chunks.put(chunk)

    def wants_another_file(self, now: float) -> bool:
        """Whether a file is broken, so that the recorder should begin a new one; `now` is monotonic."""
        failed = self._failed_at
        if failed is None or now - failed < BEGIN_AGAIN:
            return False
        self._failed_at = None
        return True

    def close(self) -> None:
        """Write what waits, as far as that is quick, and end the thread."""
        self._chunks.put(None)
        self._thread.join(LAST_WRITES)

    def _work(self) -> None:
        while True:
            try:
                chunk = self._chunks.get(timeout=LOOK_AGAIN)
            except queue.Empty:
                self._remove_outdated()
                continue
            if chunk is None:
                break
            self._write(chunk)
            self._tell_written()
        if self._file is not None:
            self._file.close()

    def _tell_written(self) -> None:
        with contextlib.suppress(RuntimeError):  # the event loop has ended
            self._written()

    def _write(self, chunk: Chunk) -> None:
        try:
            if chunk.begins and (self._file is None or self._file.size):
                if self._file is not None:
                    self._file.close()
                    self._file = None
                self._open()
            if self._file is None:
                raise OSError(0, self._failing or "there is no file")
            self._file.missing_before(*self._missing)
            self._missing = [0, 0]
            if self._file.write(chunk.data, records=chunk.records, data=chunk.bytes, now=self._now()):
                self._succeeded()
            else:
                self._failed("the disk is full")
            if chunk.ends:
                self._remove_outdated()
        except OSError as problem:
            if self._file is not None:
                self._file.close()
                self._file = None
            self._missing[0] += chunk.records
            self._missing[1] += chunk.bytes
            if self._failed_at is None:
                self._failed_at = time.monotonic()
            self._failed(problem.strerror or str(problem))

    def _open(self) -> None:
        """A new file, for this user alone. It is locked, so that no other hub removes it."""
        path = self._directory / file_name(self._clock(), os.getpid())
        appender = Appender.create(path, mode=0o600)
        fcntl.flock(appender.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._file = RecordingAppender(appender)
        self._remove_outdated()

    def _now(self) -> int:
        return int(self._clock() * 1e9)

    def _failed(self, reason: str) -> None:
        if not self._failing:
            self._failing = reason
            self._say("log_dir_failed", reason=reason)

    def _succeeded(self) -> None:
        if self._failing:
            self._failing = ""
            # Clients that were introduced meanwhile are unknown here: a new file introduces all of them.
            self._failed_at = time.monotonic() - BEGIN_AGAIN
            self._say("log_dir_goes_on")

    def _say(self, kind: str, **facts: Field) -> None:
        with contextlib.suppress(RuntimeError):  # the event loop has ended
            self._tell(kind, facts)

    def _remove_outdated(self) -> None:
        current = "" if self._file is None else Path(self._file.name).name
        try:
            with os.scandir(self._directory) as entries:
                files = [file for entry in entries if (file := _kept(entry)) is not None]
            # The file that is written now is to grow.
            keep = Keep(self._keep.age, None if self._keep.size is None else self._room(files, current))
            for name in keep.outdated(files, self._clock(), current=current):
                _remove(self._directory / name)
        except OSError as problem:
            if not self._unclean:
                self._unclean = True
                self._say("log_dir_not_cleaned", reason=problem.strerror or str(problem))
        else:
            self._unclean = False

    def _room(self, files: Sequence[Kept], current: str) -> int:
        assert self._keep.size is not None
        grown = sum(file.size for file in files if file.name == current)
        return max(0, self._keep.size - max(0, self._keep.longest_file - grown))


def _kept(entry: os.DirEntry[str]) -> Kept | None:
    """A file of the directory; None for what is none, or is gone meanwhile."""
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    regular = stat.S_ISREG(status.st_mode)
    return Kept(entry.name, status.st_size, status.st_mtime) if regular else None


def _remove(path: Path) -> None:
    """Remove a file, unless a hub writes it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # by another hub
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    else:
        os.unlink(path)
    finally:
        os.close(fd)
