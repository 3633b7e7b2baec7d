"""Where the control socket is, and whose it is."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from jackfield.hub.control import (
    ControlError,
    ControlLock,
    choose_path,
    default_path,
    holder_of,
    option_text,
    prepare_directory,
)


def test_the_default_path() -> None:
    assert default_path({"XDG_RUNTIME_DIR": "/run/user/7"}, 7) == Path("/run/user/7/jackfield/hub.sock")
    assert default_path({}, 0) == Path("/run/jackfield/hub.sock")
    assert default_path({"XDG_RUNTIME_DIR": ""}, 7) == Path("/tmp/jackfield-7/hub.sock")
    assert default_path({"XDG_RUNTIME_DIR": "relative"}, 7) == Path("/tmp/jackfield-7/hub.sock")


def test_the_option_wins_over_the_environment() -> None:
    environment = {"JACKFIELD_CONTROL": "/e", "XDG_RUNTIME_DIR": "/x"}
    assert choose_path("/o", environment, 1) == Path("/o")
    assert choose_path(None, environment, 1) == Path("/e")
    assert choose_path(None, {"XDG_RUNTIME_DIR": "/x"}, 1) == Path("/x/jackfield/hub.sock")
    assert choose_path("rel.sock", {}, 1).is_absolute()
    with pytest.raises(ControlError, match="107 bytes"):
        choose_path("/" + "x" * 107, {}, 1)


def test_commands_are_printed_with_the_path_they_need() -> None:
    assert option_text(Path("/run/jackfield/hub.sock"), {}, 0) == ""
    assert option_text(Path("/a b"), {}, 0) == " --control '/a b'"


def test_the_directory_is_private(tmp_path: Path) -> None:
    path = tmp_path / "new" / "hub.sock"
    prepare_directory(path, os.getuid())
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    prepare_directory(path, os.getuid())
    path.parent.chmod(0o777)
    with pytest.raises(ControlError, match="others may replace files"):
        prepare_directory(path, os.getuid())
    path.parent.chmod(0o1777)  # as /tmp is
    prepare_directory(path, os.getuid())
    with pytest.raises(ControlError, match="cannot make the directory"):
        prepare_directory(Path("/proc/nowhere/hub.sock"), os.getuid())


def test_one_hub_owns_a_path(tmp_path: Path) -> None:
    path = tmp_path / "hub.sock"
    lock = ControlLock(path)
    with pytest.raises(ControlError, match=rf"a hub \(pid {os.getpid()}\) runs, but its control socket"):
        ControlLock(path)
    path.touch()
    with pytest.raises(ControlError, match=rf"a hub \(pid {os.getpid()}\) is already running at"):
        ControlLock(path)
    assert holder_of(path) == str(os.getpid())
    lock.own_socket()
    lock.release()
    lock.release()
    assert holder_of(path) == ""
    ControlLock(path).release()
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_a_dead_hub_is_free_and_its_socket_stale(tmp_path: Path) -> None:
    path = tmp_path / "hub.sock"
    script = (
        "import os, socket, sys\n"
        "from pathlib import Path\n"
        "from jackfield.hub.control import ControlLock\n"
        "lock = ControlLock(Path(sys.argv[1]))\n"
        "socket.socket(socket.AF_UNIX).bind(sys.argv[1])\n"
        "os._exit(1)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-c", script, str(path)], check=False, env=environment)
    assert path.is_socket()
    lock = ControlLock(path)
    assert lock.clear_stale() is True
    assert lock.clear_stale() is False
    assert not path.exists()
    lock.release()


def test_what_is_no_socket_stays(tmp_path: Path) -> None:
    path = tmp_path / "hub.sock"
    path.write_text("precious")
    lock = ControlLock(path)
    with pytest.raises(ControlError, match="not a socket"):
        lock.clear_stale()
    lock.release()
    assert path.read_text() == "precious"


def test_a_live_socket_is_a_socket(tmp_path: Path) -> None:
    path = tmp_path / "hub.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        lock = ControlLock(path)
        lock.release()
        assert path.is_socket()


def test_what_another_hub_put_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "hub.sock"
    first = ControlLock(path)
    path.touch()
    first.own_socket()
    kept = path.rename(tmp_path / "kept")  # or the new file could get the old one's inode
    path.with_name("hub.sock.lock").unlink()
    second = ControlLock(path)
    path.touch()
    second.own_socket()
    first.release()
    assert path.exists()
    assert holder_of(path) == str(os.getpid())
    second.release()
    assert list(tmp_path.iterdir()) == [kept]
