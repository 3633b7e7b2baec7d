"""`jackfield restore`: what it refuses, and that nothing is touched then; what it keeps."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import itertools
import json
import os
import sqlite3
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jackfield.cli import restore as module
from jackfield.cli.backup import _pack
from jackfield.cli.failures import Failure
from jackfield.cli.restore import restore
from jackfield.hub.rooms.sqlite_store import SqliteStore, beside
from jackfield.hub.state import State
from jackfield.hub.state_file import lock_file

MANIFEST = json.dumps({"format": 1, "version": "0.1.0", "made": 1}).encode()


def keep(path: Path, word: str) -> None:
    """A state with one document, and a room."""

    async def main() -> None:
        state = State.open(path)
        state.save("word", "it", {"is": word})
        await state.close()
        async with await SqliteStore.open(beside(path)) as store:
            await store.open_room(word, at=1.0)

    asyncio.run(main())


def word_of(path: Path) -> str:
    state = State.open(path)
    try:
        return str(state.load("word")["it"]["is"])
    finally:
        asyncio.run(state.close())


def make(directory: Path, **more: bytes | None) -> dict[str, bytes]:
    """What a good archive has, but for `more`; None leaves it out."""
    source = directory / "source" / "hub.db"
    source.parent.mkdir(exist_ok=True)
    keep(source, "kept")
    for path in (source, beside(source)):
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    found: dict[str, bytes | None] = {
        "hub.db": source.read_bytes(),
        "hub-rooms.db": beside(source).read_bytes(),
        "jackfield.toml": b"listen = []\n",
        "backup.json": MANIFEST,
    }
    changed = {name.replace("_", "."): content for name, content in more.items()}
    return {name: content for name, content in {**found, **changed}.items() if content is not None}


def pack(path: Path, contents: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def put_back(archive: Path, state: Path, *, config: Path | None = None, check: bool = False) -> None:
    place = None if config is None else str(config)
    restore(str(archive), state=str(state), config=place, check=check, as_json=True, control=None)


@pytest.fixture
def old(directory: Path) -> Path:
    """A state that is there already."""
    place = directory / "place" / "hub.db"
    place.parent.mkdir()
    keep(place, "old")
    return place


def contents(place: Path) -> dict[str, bytes]:
    return {
        each.name: each.read_bytes() for each in place.parent.iterdir() if not each.name.endswith(".lock")
    }


def test_it_is_put_back_and_the_old_one_is_kept(
    directory: Path, old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = pack(directory / "hub.tar.gz", make(directory))
    config = directory / "etc" / "jackfield.toml"
    put_back(archive, old, config=config, check=True)
    assert word_of(old) == "old"
    assert not config.exists()
    capsys.readouterr()
    put_back(archive, old, config=config)
    done = json.loads(capsys.readouterr().out)
    assert (done["state"], done["rooms"], done["config"]) == (str(old), str(beside(old)), str(config))
    assert word_of(old) == "kept"
    assert config.read_bytes() == b"listen = []\n"
    kept = [Path(each) for each in done["kept"]]
    assert [each.name.partition(".before-restore-")[0] for each in kept] == ["hub.db", "hub-rooms.db"]
    assert word_of(kept[0]) == "old"
    assert stat.S_IMODE(old.stat().st_mode) == 0o600
    put_back(archive, old, config=config)
    assert len(list(old.parent.glob("hub.db.before-restore-*[0-9]"))) == 2, "none in place of another"
    assert not list(old.parent.glob(".jackfield-restore-*"))


@pytest.mark.parametrize("rooms", [True, False])
def test_to_a_place_where_nothing_is(directory: Path, *, rooms: bool) -> None:
    """Also of a hub that had no rooms."""
    found = make(directory) if rooms else make(directory, **{"hub-rooms_db": None})
    archive = pack(directory / "hub.tar.gz", found)
    place = directory / "new" / "hub.db"
    put_back(archive, place)
    assert word_of(place) == "kept"
    assert beside(place).exists() is rooms


def test_a_backup_as_the_command_makes_it(directory: Path, old: Path) -> None:
    parts = {}
    for name, content in make(directory).items():
        parts[name] = directory / f"part-{name}"
        parts[name].write_bytes(content)
    with (directory / "hub.tar.gz").open("wb") as out:
        _pack(out, parts)
    put_back(directory / "hub.tar.gz", old)
    assert word_of(old) == "kept"


def link(directory: Path) -> Path:
    path = directory / "link.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        entry = tarfile.TarInfo("hub.db")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(entry)
    return path


def twice(directory: Path) -> Path:
    path = directory / "twice.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for _ in range(2):
            archive.addfile(tarfile.TarInfo("hub.db"), io.BytesIO(b""))
    return path


def newer(directory: Path) -> bytes:
    content = directory / "newer.db"
    content.write_bytes(make(directory)["hub.db"])
    with contextlib.closing(sqlite3.connect(content)) as connection:
        connection.execute("PRAGMA user_version = 99")
    return content.read_bytes()


def foreign(directory: Path) -> bytes:
    with contextlib.closing(sqlite3.connect(directory / "foreign.db")) as connection:
        connection.execute("CREATE TABLE a (b)")
    return (directory / "foreign.db").read_bytes()


def cut(directory: Path, share: float) -> Path:
    whole = pack(directory / "whole.tar.gz", make(directory)).read_bytes()
    path = directory / "cut.tar.gz"
    path.write_bytes(whole[: int(len(whole) * share)])
    return path


def flipped(directory: Path) -> Path:
    """One bit of the configuration, in an archive that can be read to its end all the same."""
    stored = gzip.compress(gzip.decompress(pack(directory / "whole.tar.gz", make(directory)).read_bytes()), 0)
    assert stored.count(b"listen = []") == 1
    path = directory / "cut.tar.gz"
    path.write_bytes(stored.replace(b"listen = []", b"listen = [_"))
    return path


def torn(directory: Path) -> bytes:
    """Rooms with a page that is none; what is around it can be read."""
    content = bytearray(make(directory)["hub-rooms.db"])
    content[8192:8292] = b"\xff" * 100
    return bytes(content)


def of(directory: Path, **more: bytes | None) -> Path:
    return pack(directory / "hub.tar.gz", make(directory, **more))


Making = Callable[[Path], Path]


@pytest.mark.parametrize(
    ("making", "why"),
    [
        (lambda d: pack(d / "x", {**make(d), "../evil.db": b"x"}), "'../evil.db', which no backup has"),
        (lambda d: pack(d / "x", {**make(d), "/etc/evil": b"x"}), "'/etc/evil', which no backup has"),
        (link, "'hub.db', which no backup has"),
        (twice, "hub.db twice"),
        (lambda d: cut(d, 0.5), "is damaged, or was cut"),
        (lambda d: cut(d, 0.97), "is damaged, or was cut"),
        (lambda d: cut(d, 0), "is damaged, or was cut"),
        (flipped, "is damaged, or was cut: CRC check failed"),
        (lambda d: d / "none.tar.gz", "No such file"),
        (lambda d: of(d, backup_json=None), "has no backup.json"),
        (lambda d: of(d, backup_json=b"[" * 50_000), "says nothing of a backup"),
        (lambda d: of(d, backup_json=b'{"format": 2}'), "of form 2, and this jackfield knows 1"),
        (lambda d: of(d, hub_db=newer(d)), "of version 99"),
        (lambda d: of(d, hub_db=foreign(d)), "a database of another program"),
        (lambda d: of(d, hub_db=b""), "is empty"),
        (lambda d: of(d, hub_db=b"x" * 5000), "damaged"),
        (lambda d: of(d, **{"hub-rooms_db": b"x" * 5000}), "damaged"),
        (lambda d: of(d, **{"hub-rooms_db": torn(d)}), "is damaged: "),
        (lambda d: of(d, hub_db=None), "has rooms without the state"),
        (lambda d: pack(d / "x", {"backup.json": MANIFEST}), "has no state"),
    ],
)  # fmt: skip
def test_what_is_refused_changes_nothing(
    directory: Path, old: Path, making: Making, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A hub that starts looks through short files only; a restore through all.
    monkeypatch.setattr(module.sqlite_schema, "CHECKED_WHOLE", 0)
    before, around = contents(old), set(os.listdir(directory))
    archive = making(directory)
    with pytest.raises(Failure) as raised:
        put_back(archive, old)
    assert why in str(raised.value)
    assert contents(old) == before
    made = {"source", "x", "hub.tar.gz", "whole.tar.gz", "cut.tar.gz", "link.tar.gz", "twice.tar.gz"}
    assert set(os.listdir(directory)) - around <= made | {"newer.db", "foreign.db"}


def test_what_is_too_large_is_not_even_read(
    directory: Path, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = of(directory)

    class Usage:
        free = 100

    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: Usage)
    with pytest.raises(Failure, match="for which there is no room"):
        put_back(archive, old)
    assert word_of(old) == "old"


def test_a_hub_that_has_the_state_is_left_alone(directory: Path, old: Path) -> None:
    archive = of(directory)
    for path in (old, beside(old)):
        lock = lock_file(path)
        with pytest.raises(Failure, match="another hub") as raised:
            put_back(archive, old)
        assert "end that hub" in raised.value.hint
        os.close(lock)
    assert word_of(old) == "old"


def failing_at(number: int, problem: BaseException, *, after: bool) -> Callable[[Any, Any], None]:
    """A rename of which that one fails, with `after` when it was done."""
    numbers, rename = itertools.count(), os.rename

    def failing(source: Any, target: Any) -> None:
        fails = next(numbers) == number
        if not fails or after:
            rename(source, target)
        if fails:
            raise problem

    return failing


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("problem", "raised"),
    [(OSError(28, "No space left on device"), Failure), (KeyboardInterrupt(), KeyboardInterrupt)],
)
def test_what_cannot_be_moved_leaves_everything_as_it_was(
    directory: Path, old: Path, problem: BaseException, raised: type[BaseException], *, after: bool
) -> None:
    """At whichever file it fails, or Ctrl-C comes: before the file was moved, or right after."""
    archive, config = of(directory), old.with_name("jackfield.toml")
    config.write_bytes(b"# old\n")
    before = contents(old)
    for fails_at in range(6):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "rename", failing_at(fails_at, problem, after=after))
            with pytest.raises(raised, match="nothing was restored" if raised is Failure else None):
                put_back(archive, old, config=config)
        assert contents(old) == before
    put_back(archive, old, config=config)


@pytest.mark.parametrize("problem", [OSError(5, "Input/output error"), KeyboardInterrupt()])
def test_what_cannot_be_put_back_is_named(
    directory: Path, old: Path, problem: BaseException, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    is_told = isinstance(problem, OSError)
    rename = os.rename

    def failing(source: Any, target: Any) -> None:
        if Path(source).parent.name.startswith(".jackfield-restore-"):
            raise problem
        if Path(target) == old:
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(Failure if is_told else KeyboardInterrupt) as raised:
        put_back(of(directory), old)
    told = str(raised.value) if is_told else capfd.readouterr().err
    (kept,) = old.parent.glob("hub.db.before-restore-*")
    assert f"not all could be put back: {old} is now {kept}" in told
    assert "as it was" not in told
    assert not old.exists()
    assert beside(old).exists()


def test_an_old_file_takes_the_place_of_a_new_one_that_stays(
    directory: Path, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, rename = contents(old), os.rename

    def failing(source: Any, target: Any) -> None:
        is_new = ".before-restore-" not in f"{source}{target}"
        if is_new and Path(target) != old:
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(Failure, match="nothing was restored"):
        put_back(of(directory), old)
    assert contents(old) == before


def test_the_configuration_is_private_and_goes_through_no_link(directory: Path) -> None:
    config, other = directory / "jackfield.toml", directory / "other"
    other.write_bytes(b"of another")
    config.with_name("jackfield.toml.restoring").symlink_to(other)
    before = os.umask(0)
    try:
        put_back(of(directory), directory / "place" / "hub.db", config=config)
    finally:
        os.umask(before)
    assert other.read_bytes() == b"of another"
    assert (config.read_bytes(), stat.S_IMODE(config.stat().st_mode)) == (b"listen = []\n", 0o600)
    config.chmod(0o640)
    put_back(of(directory), directory / "place" / "hub.db", config=config)
    assert stat.S_IMODE(config.stat().st_mode) == 0o640, "as of the one before"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_gives_the_files_to_the_owner_of_the_directory(directory: Path) -> None:
    place = directory / "place" / "hub.db"
    place.parent.mkdir()
    os.chown(place.parent, 12345, 12346)
    config = directory / "jackfield.toml"
    config.write_bytes(b"")
    os.chown(config, 0, 12346)
    put_back(of(directory), place, config=config)
    found = {each: (each.stat().st_uid, each.stat().st_gid) for each in place.parent.iterdir()}
    assert {place, beside(place), place.with_name("hub.db.lock")} <= set(found)
    assert set(found.values()) == {(12345, 12346)}
    assert (config.stat().st_uid, config.stat().st_gid) == (0, 12346)
