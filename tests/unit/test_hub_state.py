"""The hub's lasting state: what is on disk when, what a bad disk or file does, and where the file is."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jackfield.hub import state as state_module
from jackfield.hub.state import State, choose_path
from jackfield.hub.state_file import MIGRATIONS, StateError, StateUnavailable


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / "hub.db"


def on_disk(path: Path) -> dict[tuple[str, str], str]:
    """What another program reads in the file."""
    connection = sqlite3.connect(path)
    try:
        return {(kind, name): value for kind, name, value in connection.execute("SELECT * FROM documents")}
    finally:
        connection.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - a thread makes it true
            await asyncio.sleep(0.01)


async def saved(path: Path, **documents: dict[str, object]) -> None:
    state = State.open(path)
    for name, value in documents.items():
        state.save("client", name, value)
    await state.close()


def test_what_is_saved_is_loaded_again(path: Path) -> None:
    async def main() -> None:
        state = State.open(path)
        state.save("client", "dev1", {"tags": ["a"]})
        state.save("client", "dev1", {"tags": ["b"], "note": "Tür \udcff"})
        state.save("client", "dev2", {})
        state.save("dial", "dev2", {"to": "x"})
        state.delete("client", "dev2")
        wanted = {"dev1": {"tags": ["b"], "note": "Tür \udcff"}}
        assert state.load("client") == wanted  # before it is written
        await state.close()
        await state.close()
        again = State.open(path)
        assert again.load("client") == wanted
        assert again.load("dial") == {"dev2": {"to": "x"}}
        assert again.load("nothing") == {}
        again.delete("client", "dev1")
        assert again.load("client") == {}
        await again.close()

    asyncio.run(main())
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_what_was_flushed_is_on_disk(path: Path) -> None:
    async def main() -> None:
        state = State.open(path)
        await state.flush()  # nothing to wait for
        for number in range(1000):
            state.save("client", f"dev{number}", {"n": number})
        await state.flush()
        assert len(on_disk(path)) == 1000
        state.delete("client", "dev7")
        await asyncio.gather(state.flush(), state.flush())
        assert len(on_disk(path)) == 999
        await state.close()

    asyncio.run(main())


def test_a_kill_loses_nothing_that_was_flushed(path: Path) -> None:
    program = """
import asyncio, sys
from pathlib import Path
from jackfield.hub.state import State
async def main():
    state = State.open(Path(sys.argv[1]))
    number = 0
    while True:
        state.save("client", "dev1", {"n": (number := number + 1)})
        await state.flush()
        print(number, flush=True)
asyncio.run(main())
"""
    process = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    for _ in range(20):
        told = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    told = int((process.stdout.read().split() or [told])[-1])
    process.wait()
    process.stdout.close()
    state = State.open(path)  # the lock of a killed hub hinders nobody
    assert state.load("client")["dev1"]["n"] >= told
    asyncio.run(state.close())


def test_a_second_hub_is_told_who_has_the_file(path: Path) -> None:
    first = State.open(path)
    with pytest.raises(StateError, match=rf"pid {os.getpid()}\) keeps its state in"):
        State.open(path)
    asyncio.run(first.close())
    asyncio.run(State.open(path).close())


@pytest.mark.parametrize("damage", ["text", "middle", "truncated"])
def test_a_damaged_file_is_refused_and_left_alone(path: Path, damage: str) -> None:
    asyncio.run(saved(path, **{f"dev{n}": {"note": "x" * 500} for n in range(100)}))
    whole = path.read_bytes()
    damaged = {
        "text": b"this is no database at all, but somebody's letter\n" * 100,
        "middle": whole[:5000] + b"\xff" * 9000 + whole[14000:],
        "truncated": whole[: len(whole) // 2],
    }[damage]
    path.write_bytes(damaged)
    with pytest.raises(StateError, match="is damaged") as raised:
        State.open(path)
    assert not isinstance(raised.value, StateUnavailable)
    assert "backup" in raised.value.hint
    assert path.read_bytes() == damaged


def test_a_newer_and_a_foreign_file_are_refused_and_left_alone(path: Path, tmp_path: Path) -> None:
    asyncio.run(saved(path, dev1={}))
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    newer = path.read_bytes()
    with pytest.raises(StateError, match=rf"is of version {len(MIGRATIONS) + 1}, and this jackfield knows"):
        State.open(path)
    assert path.read_bytes() == newer

    foreign = tmp_path / "foreign.db"
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE mails (x)")
    connection.close()
    before = foreign.read_bytes()
    with pytest.raises(StateError, match="of another program"):
        State.open(foreign)
    assert foreign.read_bytes() == before


def test_an_older_file_is_migrated(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asyncio.run(saved(path, dev1={"a": 1}))
    newer = (*MIGRATIONS, ("ALTER TABLE documents ADD COLUMN more TEXT",))
    monkeypatch.setattr("jackfield.hub.state_file.MIGRATIONS", newer)
    state = State.open(path)
    assert state.load("client") == {"dev1": {"a": 1}}
    asyncio.run(state.close())
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (len(newer),)
    connection.close()


def test_a_place_that_cannot_be_had(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "hub.db", tmp_path):
        with pytest.raises(StateUnavailable, match="cannot keep state in") as raised:
            State.open(path)
        assert "--state none" in raised.value.hint


def test_a_disk_without_room_is_told_of_and_written_later(path: Path) -> None:
    """RLIMIT_FSIZE stands for the full disk: writes fail in the same way, and there is room again after."""

    async def main() -> None:
        state = State.open(path)
        state.save("client", "dev1", {"n": 1})
        await state.flush()
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.with_name("hub.db-wal").stat().st_size, before[1]))
        try:
            state.save("client", "dev1", {"n": 2})
            with pytest.raises(StateError, match="not on disk yet") as raised:
                await state.flush()
            assert "disk" in state.problem
            assert "tried again" in raised.value.hint
            state.save("client", "dev2", {"n": 3})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert state.load("client") == {"dev1": {"n": 2}, "dev2": {"n": 3}}
        await state.flush()
        assert state.problem == ""
        assert len(on_disk(path)) == 2
        await state.close()

    asyncio.run(main())
    again = State.open(path)
    assert again.load("client") == {"dev1": {"n": 2}, "dev2": {"n": 3}}
    asyncio.run(again.close())


def test_it_is_written_without_asking_once_the_lock_is_gone(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jackfield.hub.state_file.BUSY", 0.01)
    monkeypatch.setattr(state_module, "TRIED_EVERY", 0.01)

    async def main() -> None:
        state = State.open(path)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        state.save("client", "dev1", {})
        with pytest.raises(StateError, match="another program has locked it"):
            await state.flush()
        other.execute("ROLLBACK")
        other.close()
        await until(lambda: not state.problem)
        assert on_disk(path) == {("client", "dev1"): "{}"}
        await state.close()

    asyncio.run(main())


def test_a_file_that_was_removed_is_told_of_and_no_other_is_touched(path: Path) -> None:
    async def fails(state: State) -> None:
        state.save("client", "dev1", {})
        with pytest.raises(StateError, match="removed or replaced"):
            await state.flush()

    state = State.open(path)
    shutil.move(path, path.with_name("elsewhere.db"))
    asyncio.run(fails(state))
    path.write_bytes(b"")
    asyncio.run(fails(state))
    asyncio.run(state.close())
    assert path.read_bytes() == b""


def test_memory_is_bounded_while_the_disk_takes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jackfield.hub.state_file.BUSY", 0.01)
    monkeypatch.setattr(state_module, "MOST_WAITING", 10_000)

    async def main() -> None:
        state = State.open(path)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        for number in range(1000):
            state.save("client", f"dev{number}", {"note": "x" * 50})
        assert 10 < len(state.load("client")) < 100
        other.execute("ROLLBACK")
        other.close()
        with pytest.raises(StateError, match=r"changes found no room .* are lost"):
            await state.flush()
        state.save("client", "dev999", {})
        await state.flush()
        assert state.problem == ""
        assert ("client", "dev999") in on_disk(path)
        await state.close()

    asyncio.run(main())


def test_documents_that_cannot_be_kept(path: Path) -> None:
    state = State.nowhere()
    with pytest.raises(ValueError, match="too long"):
        state.save("snippet", "big", {"x": "x" * 5_000_000})
    with pytest.raises(ValueError, match="surrogates"):
        state.save("snippet", "\udcff", {})


def test_nowhere_is_a_state_that_ends_with_the_hub(tmp_path: Path) -> None:
    async def main() -> None:
        state = State.nowhere()
        state.save("client", "dev1", {"a": 1})
        state.save("client", "dev2", {"a": 1})
        state.delete("client", "dev2")
        await state.flush()
        assert state.load("client") == {"dev1": {"a": 1}}
        assert state.path is None
        with pytest.raises(StateError, match="keeps no state"):
            await state.backup(tmp_path / "copy.db")
        await state.close()

    asyncio.run(main())


def test_a_backup_has_everything_that_was_saved(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"

    async def main() -> None:
        state = State.open(path)
        state.save("client", "dev1", {"a": 1})
        await state.backup(copy)
        state.save("client", "dev1", {"a": 2})
        with pytest.raises(StateError, match="File exists"):
            await state.backup(copy)
        await state.close()
        restored = State.open(copy)
        assert restored.load("client") == {"dev1": {"a": 1}}
        await restored.close()

    asyncio.run(main())
    assert copy.stat().st_mode & 0o777 == 0o600


def test_where_the_state_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    runtime = {"XDG_RUNTIME_DIR": "/run/user/7"}
    default = Path("/run/user/7/jackfield/hub.sock")
    assert choose_path(None, default, runtime, 7) == Path("/home/ann/.local/state/jackfield/hub.db")
    assert choose_path(None, default, runtime, 0) == Path("/var/lib/jackfield/hub.db")
    there = {**runtime, "XDG_STATE_HOME": "/state"}
    assert choose_path(None, default, there, 7) == Path("/state/jackfield/hub.db")
    assert choose_path(None, Path("/tmp/other.sock"), there, 7) == Path("/tmp/other.db")
    assert choose_path(None, Path("/tmp/other.sock2"), there, 7) == Path("/tmp/other.sock2.db")
    assert choose_path(None, Path("/tmp/other.db"), there, 7) == Path("/tmp/other.db.db")
    assert choose_path("/x/y.db", default, there, 7) == Path("/x/y.db")
    assert choose_path("none", default, there, 7) is None
