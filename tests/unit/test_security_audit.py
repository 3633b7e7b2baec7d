"""The audit log: its file, its turning over, a full disk, journald, and what never stands in it."""

from __future__ import annotations

import json
import resource
import signal
import socket
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jackfield.hub.security import audit
from jackfield.hub.security.audit import AuditLog, Record, journal_entry, journal_of, tail
from jackfield.hub.security.auditing import target_of, without_secrets
from jackfield.hub.security.tokens import make_secret

SECRET = make_secret(bytes(range(32)))


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def record(number: int) -> Record:
    return {"time": "t", "who": "pid:1", "what": "kick", "target": str(number), "outcome": "done"}


def told(path: Path) -> list[str]:
    return [str(each.get("target")) for each in tail(path, 10**6)]


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may grow beyond 4 KiB: to who writes, the disk is full."""
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, before)


def test_a_line_for_each_record_and_only_the_owner_reads_it(directory: Path) -> None:
    path = directory / "hub.audit"
    log = AuditLog(path, None, lambda problem: None)
    nasty = {**record(0), "target": "a\nb\x1b[31m\u202e\ud800<script>"}
    log.write(nasty)
    for number in range(1, 100):
        log.write(record(number))
    log.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    lines = path.read_bytes().splitlines()
    assert len(lines) == 100
    assert all(32 <= byte < 127 for byte in b"".join(lines))
    assert json.loads(lines[0])["target"] == nasty["target"]
    again = AuditLog(path, None, lambda problem: None)
    assert [each["target"] for each in again.recent][1:] == [str(number) for number in range(1, 100)]
    again.write(record(100))
    again.close()
    assert told(path)[-1] == "100"


def test_it_is_turned_over_and_the_oldest_goes(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "LONGEST_FILE", 500)
    monkeypatch.setattr(audit, "FILES", 3)
    path = directory / "hub.audit"
    log = AuditLog(path, None, lambda problem: None)
    for number in range(60):
        log.write(record(number))
        wait_for(lambda: told(path)[-1:] == [str(number)])  # noqa: B023 - waited for at once
    log.close()
    names = sorted(each.name for each in directory.iterdir() if each.name.startswith("hub.audit"))
    assert names == ["hub.audit", "hub.audit.1", "hub.audit.2", "hub.audit.3"]
    kept = [int(number) for name in reversed(names) for number in told(directory / name)]
    assert kept == list(range(kept[0], 60))


def test_a_full_disk_is_told_and_nothing_is_torn_or_doubled(directory: Path, small_files: None) -> None:
    path, problems = directory / "hub.audit", []
    log = AuditLog(path, None, problems.append)
    for number in range(200):
        log.write(record(number))
    wait_for(lambda: bool(log.problem))
    assert problems == [log.problem]
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    log.write(record(200))
    log.close()
    assert problems[-1] == ""
    assert told(path) == [str(number) for number in range(201)]


def test_what_finds_no_room_is_counted(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "MOST_WAITING", 10)
    path = directory / "nowhere" / "hub.audit"
    log = AuditLog(path, None, lambda problem: None)
    log.write(record(0))
    wait_for(lambda: bool(log.problem))
    for number in range(1, 50):
        log.write(record(number))
    path.parent.mkdir()
    log.close()
    found = tail(path, 100)
    assert [each["outcome"] for each in found if "records were lost" in each["outcome"]]
    assert 10 <= len([each for each in found if each["what"] == "kick"]) <= 11


@pytest.mark.parametrize("what", ["link", "directory"])
def test_what_is_no_file_is_not_written(directory: Path, what: str) -> None:
    path, other = directory / "hub.audit", directory / "other"
    other.write_text("")
    if what == "link":
        path.symlink_to(other)
    else:
        path.mkdir()
    log = AuditLog(path, None, lambda problem: None)
    log.write(record(1))
    wait_for(lambda: bool(log.problem))
    log.close()
    assert other.read_text() == ""


def test_a_file_that_was_moved_away_is_made_again(directory: Path) -> None:
    path = directory / "hub.audit"
    log = AuditLog(path, None, lambda problem: None)
    log.write(record(1))
    wait_for(lambda: told(path) == ["1"])
    path.rename(directory / "moved")
    log.write(record(2))
    log.close()
    assert (told(directory / "moved"), told(path)) == (["1"], ["2"])


def test_journald_gets_fields(directory: Path) -> None:
    where = directory / "journal"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(where))
        journal.settimeout(10)
        log = AuditLog(None, where, lambda problem: None)
        log.write({**record(7), "outcome": "not done: forbidden", "note": "two\nlines"})
        entry = journal.recv(65536)
        log.close()
    assert b"MESSAGE=audit: pid:1 kick 7 not done: forbidden\n" in entry
    assert b"PRIORITY=4\n" in entry
    assert b"JACKFIELD_WHAT=kick\n" in entry
    assert b"JACKFIELD_NOTE\n\x09\x00\x00\x00\x00\x00\x00\x00two\nlines\n" in entry
    assert b"PRIORITY=5\n" in journal_entry(record(1))
    assert journal_of({}) is None
    assert journal_of({"INVOCATION_ID": "x", "JOURNAL_STREAM": "8:1"}) == audit.JOURNAL


def test_no_secret_is_in_a_target() -> None:
    assert target_of({"target": "dev*"}) == "dev*"
    assert target_of({"of": 3}) == "3"
    assert target_of({"data": "eA=="}) == ""
    assert target_of({"room": "ops", "topic": "not told"}) == "ops"
    assert target_of({"room": "ops", "name": "mallory"}) == "ops mallory"
    assert target_of({"target": ["x"], "name": True}) == ""
    assert len(target_of({"target": "x" * 10_000})) == 200
    for text in (
        SECRET,
        f"tls://hub:1?invitation={SECRET}&pin=sha256:00",
        f"{SECRET}{SECRET}",
        f"x {SECRET}",
    ):
        shown = without_secrets(text)
        assert SECRET[3:20] not in shown
        assert "jf_..." in shown
    assert without_secrets(f"tls://hub:1?invitation={SECRET}&pin=sha256:00").endswith("&pin=sha256:00")
