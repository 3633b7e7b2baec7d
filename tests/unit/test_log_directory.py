"""`serve --log-dir`: which files are kept, when a new one begins, and what a broken directory costs."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from jackfield.hub.log_directory import DirectoryWriter, LogDirectory, parse_keep
from jackfield.hub.text import TextError
from jackfield.recording import Data, Lost, Opened, Record, read
from jackfield.recording.file import Appender, RecordingAppender
from jackfield.recording.retention import DAY, LONGEST_FILE, Keep, Kept, Rolling, file_name
from jackfield.recording.tape import Tape

NOW = 1_795_000_000.25


def names(*seconds: float) -> list[str]:
    return [file_name(NOW + each, 4711) for each in seconds]


def test_names_sort_by_time() -> None:
    assert names(0) == ["jackfield-20261118T110640.250000Z-4711.jfrec"]
    assert sorted(names(5, -DAY, 0.5, 0)) == names(-DAY, 0, 0.5, 5)


def test_what_is_too_old_goes() -> None:
    old, young, current = names(0, 10, 20)
    files = [Kept(young, 5, NOW + 15), Kept(old, 5, NOW + 5), Kept(current, 5, NOW - DAY)]
    assert Keep(age=60).outdated(files, NOW + 70, current=current) == [old]
    assert Keep(age=60).outdated(files, NOW + 60, current=current) == []
    assert Keep().outdated(files, NOW + 10 * DAY) == []


def test_of_what_is_too_much_the_oldest_go() -> None:
    files = [Kept(name, 100, NOW) for name in names(3, 1, 2, 4)]
    first, second, third, fourth = sorted(file.name for file in files)
    assert Keep(size=400).outdated(files, NOW) == []
    assert Keep(size=399).outdated(files, NOW) == [first]
    assert Keep(size=150).outdated(files, NOW) == [first, second, third]
    assert Keep(size=0).outdated(files, NOW, current=second) == [first, third, fourth]


def test_files_of_others_are_left_alone() -> None:
    files = [
        Kept(name, 10**9, 0) for name in ("mine.jfrec", "jackfield-x.jfrec", "../jackfield", "notes.txt")
    ]
    assert Keep(age=1, size=1).outdated(files, NOW) == []


def test_a_new_file_begins_by_size_and_by_day() -> None:
    midnight = int(NOW // DAY * DAY + DAY) * 10**9
    rolling = Rolling(1000)
    assert [rolling(written, midnight - 1) for written in (0, 999, 1000, 5)] == [False, False, True, False]
    assert [rolling(5, midnight + step) for step in (-1, 0, 1, 10**9)] == [False, True, False, False]
    assert Rolling(1000)(0, midnight) is False, "the first file begins by itself"
    assert Keep(size=80).longest_file == 10
    assert Keep(size=10**12).longest_file == Keep().longest_file == LONGEST_FILE


@pytest.mark.parametrize(
    ("text", "keep"),
    [
        ("7d,1G", Keep(7 * DAY, 1024**3)),
        ("100M", Keep(None, 100 * 1024**2)),
        ("12h", Keep(43_200, None)),
        ("1.5d", Keep(1.5 * DAY, None)),
        ("2M, 30m", Keep(1800, 2 * 1024**2)),
    ],
)
def test_what_to_keep_is_said_in_words(text: str, keep: Keep) -> None:
    assert parse_keep(text) == keep


@pytest.mark.parametrize("text", ["", "7", "7d,8d", "1G,2G", "1K", "0d", "7x", "7d,1G,3h", "d", "1G;7d"])
def test_what_cannot_be_kept_is_refused(text: str) -> None:
    with pytest.raises(TextError):
        parse_keep(text)


class Told:
    """What the thread of a writer tells, and a way to wait for it."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.chunks = 0
        self._changed = threading.Condition()

    def event(self, kind: str, facts: dict[str, Any]) -> None:
        with self._changed:
            self.events.append((kind, facts))
            self._changed.notify_all()

    def written(self) -> None:
        with self._changed:
            self.chunks += 1
            self._changed.notify_all()

    def wait(self, chunks: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.chunks >= chunks, 30)


def records(directory: Path) -> list[list[Record]]:
    return [list(read(path)) for path in sorted(directory.glob("*.jfrec"))]


def test_a_directory_that_fails_is_told_and_gone_on_with(tmp_path: Path) -> None:
    """It is taken away under the writer; what was lost meanwhile is told in the next file."""
    directory, away = tmp_path / "logs", tmp_path / "away"
    directory.mkdir()
    told, tape = Told(), Tape(b"mark")
    writer = DirectoryWriter(directory, Keep(), written=told.written, tell=told.event)
    writer.start()

    def put(data: bytes, *, begin: bool = False) -> None:
        if begin:
            tape.close(1, "the next file")
            chunk = tape.take()
            assert chunk is not None
            writer.put(chunk)
            tape.begin(Opened(1))
        tape.data(2, 1, False, data)
        chunk = tape.take()
        assert chunk is not None
        writer.put(chunk)

    tape.begin(Opened(1))
    put(b"first")
    told.wait(1)
    directory.rename(away)
    put(b"lost", begin=True)
    told.wait(3)
    missing = {"reason": "No such file or directory"}
    assert told.events == [("log_dir_not_cleaned", missing), ("log_dir_failed", missing)]
    put(b"lost, too")
    told.wait(4)
    assert not writer.wants_another_file(0.0)
    away.rename(directory)
    put(b"second", begin=True)
    told.wait(6)
    writer.close()
    assert [kind for kind, _ in told.events[2:]] == ["log_dir_goes_on"]
    first, second = records(directory)
    assert [record.data for record in first if isinstance(record, Data)] == [b"first"]
    assert [record.data for record in second if isinstance(record, Data)] == [b"second"]
    (lost,) = (record for record in second if isinstance(record, Lost))
    assert (lost.records, lost.bytes) == (
        4,
        13,
    )  # the record that opens and the one that closes that file, too


def test_a_disk_that_is_full_leaves_whole_records_and_counts(tmp_path: Path) -> None:
    """A file whose size is limited stands for the disk."""
    path, tape = tmp_path / "x.jfrec", Tape(b"mark")
    appender = Appender.create(path)
    own = RecordingAppender(appender)
    full = False

    def write(data: bytes) -> bool:
        if full:
            appender.write = lambda data: False  # type: ignore[method-assign]
        elif "write" in vars(appender):
            del appender.write  # type: ignore[method-assign]
        tape.data(3, 1, False, data)
        chunk = tape.take()
        assert chunk is not None
        return own.write(chunk.data, records=chunk.records, data=chunk.bytes, now=4)

    full = True
    tape.begin(Opened(1))
    assert not write(b"never")
    full = False
    assert write(b"one")
    full = True
    assert not write(b"22")
    assert not write(b"333")
    full = False
    assert write(b"four")
    own.end("enough", 5)
    own.close()
    found = list(read(path))
    assert [type(record).__name__ for record in found] == ["Lost", "Data", "Lost", "Data", "Closed"]
    assert [(record.records, record.bytes) for record in found if isinstance(record, Lost)] == [
        (2, 5),
        (2, 5),
    ]
    assert own.missing == 4


def test_a_directory_that_cannot_be_had_is_an_error_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    writer = DirectoryWriter(
        tmp_path / "missing", Keep(), written=lambda: None, tell=lambda kind, facts: None
    )
    with pytest.raises(FileNotFoundError):
        writer.start()
    import jackfield

    async def main() -> None:
        with pytest.raises((FileExistsError, NotADirectoryError)):
            await LogDirectory(tmp_path / "file", Keep()).open(None)  # type: ignore[arg-type]

    jackfield.run(main)


def test_files_that_another_hub_writes_stay(tmp_path: Path) -> None:
    told = Told()
    tell = {"written": told.written, "tell": told.event}
    old = DirectoryWriter(tmp_path, Keep(age=1), clock=lambda: NOW - 10 * DAY, **tell)
    old.start()
    (path,) = tmp_path.glob("*.jfrec")
    assert path.stat().st_mode & 0o777 == 0o600
    os.utime(path, (NOW - 9 * DAY, NOW - 9 * DAY))
    new = DirectoryWriter(tmp_path, Keep(age=1), clock=lambda: NOW, **tell)
    new.start()
    assert len(list(tmp_path.iterdir())) == 2
    old.close()
    third = DirectoryWriter(tmp_path, Keep(age=1), clock=lambda: NOW + 1, **tell)
    third.start()
    assert not path.exists()
    for writer in (new, third):
        writer.close()
