"""Where the control socket is, and whose it is.

Owns the choice of the path, the directory's and the socket's safety, and the lock that makes one
hub the owner of a path. A hub holds an exclusive lock on `PATH.lock` for its whole life, with its
pid inside: a second hub learns whom it meets, and a socket file without a locked lock is stale.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Mapping
from pathlib import Path

ENVIRONMENT_VARIABLE = "JACKFIELD_CONTROL"
_LONGEST = 107  # sun_path without its closing zero


class ControlError(Exception):
    """The control socket cannot be had; the message says why and what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def default_path(environment: Mapping[str, str], uid: int) -> Path:
    """Where a hub's control socket is unless one says otherwise."""
    runtime = environment.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/"):
        return Path(runtime, "jackfield", "hub.sock")
    return Path("/run/jackfield/hub.sock") if uid == 0 else Path(f"/tmp/jackfield-{uid}/hub.sock")


def choose_path(given: str | None, environment: Mapping[str, str], uid: int) -> Path:
    """The control path: the one given, else of the environment, else the default; always absolute."""
    chosen = given or environment.get(ENVIRONMENT_VARIABLE) or ""
    if "://" in chosen:
        raise ControlError(
            f"{chosen.partition('?')[0]} is the address of a hub, and a path of this machine is needed",
            "name a control socket with --control PATH",
        )
    path = Path(chosen).expanduser().absolute() if chosen else default_path(environment, uid)
    if len(os.fsencode(path)) > _LONGEST:
        raise ControlError(
            f"the control path {path} is longer than the {_LONGEST} bytes of a Unix socket's path",
            "choose a shorter one with --control",
        )
    return path


def option_text(path: Path, environment: Mapping[str, str], uid: int) -> str:
    """` --control PATH` as commands need it to reach the hub at `path`; empty for the default one."""
    import shlex

    return "" if path == default_path(environment, uid) else f" --control {shlex.quote(str(path))}"


def prepare_directory(path: Path, uid: int) -> None:
    """Make the directory of the control socket (0700) where it is missing, and refuse one of others."""
    directory = path.parent
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        found = os.stat(directory)
    except OSError as problem:
        raise ControlError(
            f"cannot make the directory {directory} of the control socket: {problem.strerror}",
            "choose another place with --control",
        ) from problem
    sticky_for_all = found.st_mode & stat.S_ISVTX
    if found.st_uid not in (uid, 0) or (found.st_mode & 0o022 and not sticky_for_all):
        raise ControlError(
            f"others may replace files in {directory} "
            f"(owner {found.st_uid}, mode {stat.S_IMODE(found.st_mode):04o})",
            f"run: chmod go-w {directory}, or choose another place with --control",
        )


class ControlLock:
    """The right to be the hub of one control path, held until `release` or the end of the process."""

    def __init__(self, path: Path, *, inherited: int | None = None) -> None:
        self._path = path
        self._lock = path.with_name(path.name + ".lock")
        self._fd = _lock(path, self._lock) if inherited is None else inherited
        self._socket: os.stat_result | None = None

    def clear_stale(self) -> bool:
        """Remove a socket file that nobody serves; whether there was one. Refuse anything else."""
        try:
            found = os.lstat(self._path)
        except FileNotFoundError:
            return False
        if not stat.S_ISSOCK(found.st_mode):
            raise ControlError(
                f"{self._path} is there and is not a socket",
                "choose another place with --control, or remove it",
            )
        self._path.unlink(missing_ok=True)
        return True

    def own_socket(self) -> None:
        """The socket file that is there now is the holder's: `release` removes that one and no other."""
        self._socket = os.lstat(self._path)

    def fileno(self) -> int:
        """The descriptor that holds the lock, and holds it in any process that has it."""
        return self._fd

    def own_lock(self) -> None:
        """Note in an inherited lock whose it is now."""
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def hand_over(self) -> None:
        """Another process has the lock as well, and keeps it."""
        os.close(self._fd)
        self._fd = -1

    def release(self) -> None:
        """Give the path up, and the socket file with it. May be called twice."""
        if self._fd < 0:
            return
        if self._socket is not None:
            _unlink_same(self._path, self._socket)
        _unlink_same(self._lock, os.fstat(self._fd))
        os.close(self._fd)
        self._fd = -1


def _unlink_same(path: Path, own: os.stat_result) -> None:
    """Remove a file unless another one has its name by now."""
    try:
        if os.path.samestat(os.lstat(path), own):
            path.unlink()
    except OSError:
        pass  # it is gone, or it was never ours to remove


def holder_of(path: Path) -> str:
    """The pid of the hub that holds the lock of a control path; empty when none does."""
    try:
        fd = os.open(path.with_name(path.name + ".lock"), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return ""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _pid_in(fd)
    finally:
        os.close(fd)
    return ""


def lost_socket(path: Path) -> tuple[str, str] | None:
    """What to say, and what to do, when a hub runs whose control socket was removed; else None."""
    pid = "" if path.exists() else holder_of(path)
    if not pid:
        return None
    return (
        f"a hub (pid {pid}) runs, but its control socket {path} is gone",
        f"end it with 'kill {pid}' and start it again",
    )


def _pid_in(fd: int) -> str:
    return os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"


def _lock(path: Path, lock: Path) -> int:
    while True:
        try:
            fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as problem:
            raise ControlError(
                f"cannot make {lock}: {problem.strerror}", "choose another place with --control"
            ) from problem
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            holder = _pid_in(fd)
            os.close(fd)
            if problem.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise ControlError(f"cannot lock {lock}: {problem.strerror}") from problem
            if lost := lost_socket(path):
                raise ControlError(*lost) from None
            raise ControlError(
                f"a hub (pid {holder}) is already running at {path}",
                "end it with 'jackfield stop', or start this one with another --control PATH",
            ) from None
        # The last owner removes its lock file: one opened just before that is nobody's.
        try:
            same = os.path.samestat(os.fstat(fd), os.stat(lock))
        except FileNotFoundError:
            same = False
        if same:
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
            return fd
        os.close(fd)
