"""`jackfield restore`: put what `jackfield backup` kept back in its place, with the old state kept beside.

Everything is checked before anything is touched: that the archive has what a backup has and nothing else,
all of it whole, and of versions that this jackfield knows. No path in the archive counts: files go where this
machine's hub has its state. No hub may have that state meanwhile: this command holds its locks.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import shutil
import signal
import sqlite3
import stat
import tarfile
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

from ..hub.display import bytes_text
from ..hub.rooms import sqlite_schema
from ..hub.rooms.sqlite_store import beside
from ..hub.state import choose_path as choose_state
from ..hub.state_file import StateError, connect, lock_file, prepare_file, reason
from .backup import CONFIGURATION, FORMAT, MANIFEST, ROOMS, STATE
from .failures import Failure, one_line, say
from .operate import control_path, print_json

LARGEST: Final = {MANIFEST: 64 * 1024, CONFIGURATION: 1024 * 1024}  # bytes; databases: what the disk has
CHUNK: Final = 1024 * 1024
BESIDE: Final = ("", "-wal", "-shm")  # what belongs to one database
ANOTHER: Final = "it is no backup of jackfield, or was changed; take another one"


def restore(
    file: str, *, state: str | None, config: str | None, check: bool, as_json: bool, control: str | None
) -> None:
    place = choose_state(state, control_path(control), os.environ, os.getuid())
    if place is None:
        raise Failure("there is no place for a state", "name one with --state PATH")
    configuration = None if config is None else Path(config).expanduser().absolute()
    with _locked(place), _staging(place.parent) as directory:
        told = _unpack(Path(file), directory)
        found = [name for name in (STATE, ROOMS) if (directory / name).exists()]
        if ROOMS in found and STATE not in found:
            raise Failure(f"{file} has rooms without the state that they belong to", ANOTHER)
        if not found and configuration is None:
            raise Failure(f"{file} has no state", "its configuration goes to --config PATH")
        if configuration is not None and not (directory / CONFIGURATION).exists():
            raise Failure(f"{file} has no configuration", "leave --config out")
        _check(file, directory, found)
        kept: list[Path] = []
        if not check:
            kept = _put(directory, place, found, configuration)
    done = {
        "file": file,
        "made": told.get("made"),
        "version": told.get("version"),
        "state": str(place) if STATE in found else None,
        "rooms": str(beside(place)) if ROOMS in found else None,
        "config": None if configuration is None else str(configuration),
        "kept": [str(each) for each in kept],
        "checked_only": check,
    }
    if as_json:
        print_json(done)
        return
    put = ", ".join(str(done[name]) for name in ("state", "rooms", "config") if done[name])
    print(f"{file} is whole; it would go to {put}" if check else f"{file}: restored {put}")
    for each in kept:
        print(f"what was there before is {each}")


@contextlib.contextmanager
def _locked(place: Path) -> Iterator[None]:
    """Hold what a hub of that state would hold."""
    locks: list[int] = []
    try:
        for path in (place, beside(place)):
            locks.append(lock_file(path))
            _give(locks[-1], path.parent)
        yield
    except StateError as problem:
        is_running = "another hub" in str(problem)
        hint = "end that hub first, such as with systemctl stop" if is_running else problem.hint
        raise Failure(str(problem), hint) from problem
    finally:
        for lock in locks:
            os.close(lock)


@contextlib.contextmanager
def _staging(parent: Path) -> Iterator[Path]:
    """A directory on the same disk, which is gone afterwards."""
    try:
        made = tempfile.TemporaryDirectory(dir=parent, prefix=".jackfield-restore-")
    except OSError as problem:
        raise Failure(f"{parent} cannot be written: {problem.strerror}", "see who owns it") from problem
    with made as directory:
        yield Path(directory)


def _unpack(file: Path, directory: Path) -> dict[str, Any]:
    """The archive's files in that directory, and what its manifest says. Raises `Failure`."""
    seen: set[str] = set()
    try:
        with gzip.open(file) as whole, tarfile.open(fileobj=whole, mode="r:") as archive:
            for entry in archive:
                if entry.name not in (STATE, ROOMS, CONFIGURATION, MANIFEST) or not entry.isreg():
                    raise Failure(f"{file} has {entry.name[:100]!r}, which no backup has", ANOTHER)
                if entry.name in seen:
                    raise Failure(f"{file} has {entry.name} twice", ANOTHER)
                seen.add(entry.name)
                if entry.size > LARGEST.get(entry.name, shutil.disk_usage(directory).free):
                    text = f"{entry.name} in {file} has {bytes_text(entry.size)}, for which there is no room"
                    raise Failure(text, "make room on the disk of the state")
                content = archive.extractfile(entry)
                assert content is not None
                _write(content, directory / entry.name, entry.size)
            while whole.read(CHUNK):  # the checksum is at the end, and is of all that was written above
                pass
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as problem:
        raise Failure(f"{file} is damaged, or was cut: {problem}", "take another backup") from problem
    except OSError as problem:
        raise Failure(f"cannot restore {file}: {problem.strerror or problem}", "") from problem
    if MANIFEST not in seen:
        raise Failure(f"{file} has no {MANIFEST}, and is no whole backup", "take another backup")
    return _manifest(file, (directory / MANIFEST).read_bytes())


def _write(content: IO[bytes], path: Path, size: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        shutil.copyfileobj(content, out, CHUNK)
        if out.tell() != size:
            raise EOFError(f"{path.name} ends too early")
        out.flush()
        os.fsync(out.fileno())


def _manifest(file: Path, text: bytes) -> dict[str, Any]:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        told = None
    form = told.get("format", FORMAT) if isinstance(told, dict) else None
    if not isinstance(told, dict) or type(form) is not int:
        raise Failure(f"{MANIFEST} in {file} says nothing of a backup", ANOTHER)
    if form > FORMAT:
        newer = f"{file} is a backup of form {form}, and this jackfield knows {FORMAT}"
        raise Failure(newer, f"use jackfield {str(told.get('version'))[:40]}, which made it")
    return told


def _check(file: str, directory: Path, found: list[str]) -> None:
    """Whether these are databases of ours, whole, and of versions that we know. Raises `Failure`."""
    for name in found:
        if not (directory / name).stat().st_size:
            raise Failure(f"{name} in {file} is empty", ANOTHER)
        _check_pages(file, directory / name)
        try:
            (prepare_file if name == STATE else sqlite_schema.prepare)(directory / name)
        except StateError as problem:
            told = str(problem).replace(f"{directory}{os.sep}", f"{file}:")
            raise Failure(told, "take another backup, or the jackfield that made this one") from problem


def _check_pages(file: str, path: Path) -> None:
    """Read a database to its end, however long it is: about a second for each GiB. Raises `Failure`."""
    try:
        with contextlib.closing(connect(path)) as connection:
            found: str = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as problem:
        found = reason(problem)
    if found != "ok":
        raise Failure(f"{path.name} in {file} is damaged: {' '.join(found.split())}", "take another backup")


def _put(directory: Path, place: Path, found: list[str], configuration: Path | None) -> list[Path]:
    """Move the old files aside and the new ones in, or leave everything as it was; what is kept beside."""
    suffix = time.strftime(".before-restore-%Y%m%dT%H%M%S")
    moves: list[tuple[Path, Path]] = []
    kept: list[Path] = []
    old = [Path(f"{path}{more}") for path in (place, beside(place)) for more in BESIDE if found]
    for path in (*old, *([] if configuration is None else [configuration])):
        if not os.path.lexists(path):
            continue
        name, more = (str(path), "")
        for ending in BESIDE[1:]:
            if name.endswith(ending):
                name, more = name.removesuffix(ending), ending
        kept.append(_unused(Path(f"{name}{suffix}"), more))
        moves.append((path, kept[-1]))
    targets = {STATE: place, ROOMS: beside(place)}
    moves += [
        (Path(f"{directory / name}{more}"), Path(f"{targets[name]}{more}"))
        for name in found
        for more in BESIDE
        if Path(f"{directory / name}{more}").exists()
    ]
    with contextlib.ExitStack() as after:
        try:
            for new, target in moves[len(kept) :]:
                descriptor = os.open(new, os.O_RDONLY | os.O_NOFOLLOW)
                try:
                    _give(descriptor, target.parent)
                finally:
                    os.close(descriptor)
            if configuration is not None:
                copied = after.enter_context(_copied(directory / CONFIGURATION, configuration))
                moves.append((copied, configuration))
        except OSError as problem:
            raise Failure(f"nothing was restored: {problem}", "everything is as it was") from problem
        _move(moves, kept)
    return [each for each in kept if not each.name.endswith(BESIDE[1:])]


@contextlib.contextmanager
def _copied(source: Path, configuration: Path) -> Iterator[Path]:
    """The new configuration on the disk of the old one, with its owner and mode; gone if it was not moved.

    Without an old one it is 0600, as in the archive. Raises `OSError`.
    """
    parent = configuration.parent
    parent.mkdir(parents=True, exist_ok=True)
    # Made anew, 0600, and through no link.
    descriptor, name = tempfile.mkstemp(dir=parent, prefix=f".{configuration.name}-", suffix=".restoring")
    try:
        with os.fdopen(descriptor, "wb") as out:
            if configuration.exists():
                _give(out.fileno(), configuration)
                os.fchmod(out.fileno(), stat.S_IMODE(configuration.stat().st_mode) & 0o777)
            else:
                _give(out.fileno(), parent)
            out.write(source.read_bytes())
            out.flush()
            os.fsync(out.fileno())
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _give(descriptor: int, like: Path) -> None:
    """Run as root: give the file to the owner of another one, such as the user of a service."""
    now, owner = os.fstat(descriptor), like.stat()
    if os.geteuid() != 0 or (now.st_uid, now.st_gid) == (owner.st_uid, owner.st_gid):
        return
    try:
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
    except OSError as problem:
        text = f"nothing was restored: no file can be given to the owner of {like}: {problem.strerror}"
        raise Failure(text, "restore it as that user") from problem


def _unused(path: Path, more: str) -> Path:
    """That name, or one like it that nothing has."""
    number, found = 1, Path(f"{path}{more}")
    while os.path.lexists(found):
        number += 1
        found = Path(f"{path}.{number}{more}")
    return found


def _move(moves: list[tuple[Path, Path]], kept: list[Path]) -> None:
    """Do all of them, or none, also when Ctrl-C comes in between; those to `kept` are of old files."""
    begun: list[tuple[Path, Path]] = []
    try:
        for source, target in moves:
            begun.append((source, target))
            os.rename(source, target)
        for parent in {target.parent for _, target in moves}:
            descriptor = os.open(parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    except BaseException as problem:
        stuck = _move_back(begun, kept)
        why = str(problem) or "it was interrupted"
        message, hint = f"nothing was restored: {why}", "everything is as it was"
        if stuck:
            message = f"not restored ({why}), and not all could be put back: {', '.join(stuck)}"
            hint = "put that right before a hub starts"
        if isinstance(problem, OSError):
            raise Failure(message, hint) from problem
        if stuck:
            say(one_line(message, hint))
        raise


def _move_back(begun: list[tuple[Path, Path]], kept: list[Path]) -> list[str]:
    """Undo moves, of which the last one may not have happened, undisturbed by another Ctrl-C.

    What could not be undone, in words. An old file takes the place of a new one that could not be moved.
    """
    stuck: dict[Path, str] = {}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        if begun and (os.path.lexists(begun[-1][0]) or not os.path.lexists(begun[-1][1])):
            begun = begun[:-1]
        for source, target in reversed(begun):
            is_old = target in kept
            try:
                os.rename(target, source)
                stuck.pop(source, None)
            except OSError:
                place, words = (source, f"is now {target}") if is_old else (target, "is the backup's")
                stuck[place] = f"{place} {words}"
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return list(stuck.values())
