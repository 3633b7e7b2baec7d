"""Who holds an address: against real sockets, and against a written /proc for what root cannot see denied."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support import need_ipv6

from jackfield._address import Address
from jackfield._holders import Holder, bound_elsewhere, find_holders, unix_kind, unix_state

_SERVER = """
import socket, sys
server = socket.socket(int(sys.argv[1]), int(sys.argv[2]))
server.bind(("127.0.0.1", 0) if int(sys.argv[1]) == socket.AF_INET else sys.argv[3])
if int(sys.argv[2]) != socket.SOCK_DGRAM:
    server.listen()
print(server.getsockname()[1] if int(sys.argv[1]) == socket.AF_INET else "ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def _server(opened: ExitStack, family: int, kind: int, path: str = "") -> tuple[int, str]:
    words = [sys.executable, "-c", _SERVER, str(int(family)), str(int(kind)), path]
    process = opened.enter_context(
        subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    )
    opened.callback(lambda: process.stdin and process.stdin.close())
    assert process.stdout is not None
    return process.pid, process.stdout.readline().strip()


@pytest.mark.parametrize(("scheme", "kind"), [("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM)])
def test_another_process(opened: ExitStack, scheme: str, kind: int) -> None:
    pid, port = _server(opened, socket.AF_INET, kind)
    for host in ("127.0.0.1", "", "0.0.0.0", "[::]", "localhost"):
        (holder,) = find_holders(Address.parse(f"{scheme}://{host}:{port}"))
        assert holder.pid == pid
        assert holder.command == Path(f"/proc/{pid}/comm").read_text().strip()
        assert holder.local == f"127.0.0.1:{port}"
        assert holder.uid == os.getuid()
        assert f"(pid {pid}, user {holder.user})" in str(holder)
    assert find_holders(Address.parse(f"{scheme}://127.0.0.2:{port}")) == []


@pytest.mark.parametrize(
    ("scheme", "kind"),
    [
        ("unix", socket.SOCK_STREAM),
        ("unix+dgram", socket.SOCK_DGRAM),
        ("unix+seqpacket", socket.SOCK_SEQPACKET),
    ],
)
def test_unix_sockets(opened: ExitStack, tmp_path: Path, scheme: str, kind: int) -> None:
    path = str(tmp_path / "a b")
    pid, _ = _server(opened, socket.AF_UNIX, kind, path)
    (holder,) = find_holders(Address(scheme, path=path))
    assert (holder.pid, holder.local) == (pid, path)
    assert unix_kind(path) == scheme
    assert unix_state(path) == "live"


def test_abstract_name(opened: ExitStack) -> None:
    server = opened.enter_context(socket.socket(socket.AF_UNIX))
    name = f"jackfield\0test-{os.getpid()}"
    server.bind(f"\0{name}")
    assert unix_state(f"@{name}") == "live"
    server.listen()
    (holder,) = find_holders(Address("unix", path=f"@{name}"))
    assert holder.pid == os.getpid()
    assert str(holder) == f"this process (pid {os.getpid()})"
    assert unix_state(f"@{name}-x") == "absent"


def test_ipv6_and_the_other_families(opened: ExitStack) -> None:
    need_ipv6()
    server = opened.enter_context(socket.socket(socket.AF_INET6))
    server.bind(("::1", 0))
    server.listen()
    port = server.getsockname()[1]
    assert find_holders(Address.parse(f"tcp://[::1]:{port}"))[0].local == f"[::1]:{port}"
    assert find_holders(Address.parse(f"tcp://127.0.0.1:{port}")) == []
    assert bound_elsewhere(Address.parse(f"tcp://127.0.0.1:{port}")) == [f"[::1]:{port}"]


def test_stale_and_absent_files(tmp_path: Path) -> None:
    path = tmp_path / "s"
    assert unix_state(str(path)) == "absent"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        assert unix_state(str(path)) == "live"
    assert unix_state(str(path)) == "stale"
    (tmp_path / "file").write_text("x")
    assert unix_state(str(tmp_path / "file")) == "not a socket"


def test_a_listener_does_not_notice_the_question(opened: ExitStack, tmp_path: Path) -> None:
    server = opened.enter_context(socket.socket(socket.AF_UNIX))
    server.bind(str(tmp_path / "s"))
    server.listen()
    assert unix_state(str(tmp_path / "s")) == "live"
    server.setblocking(False)
    with pytest.raises(BlockingIOError):
        server.accept()


def _written_proc(root: Path, line: str) -> Path:
    (root / "net").mkdir()
    for table in ("tcp", "tcp6", "udp", "udp6", "unix"):
        (root / "net" / table).write_text("header\n" + (line if table == "tcp" else ""))
    return root


def test_a_foreign_process_is_known_by_its_user(tmp_path: Path) -> None:
    words = int.from_bytes(socket.inet_aton("127.0.0.1"), sys.byteorder)
    rest = "00000000:00000000 00:00000000 00000000"
    line = f"   0: {words:08X}:1B58 00000000:0000 0A {rest}     0        0 4711 1\n"
    proc = _written_proc(tmp_path, line)
    (proc / "1").mkdir()
    (proc / "1" / "fd").mkdir()
    assert find_holders(Address.parse("tcp://:7000"), proc=proc) == [Holder("127.0.0.1:7000", 0, "root")]
    assert str(Holder("127.0.0.1:7000", 0, "root")) == "a process of user root"
    assert str(Holder("127.0.0.1:7000", 4242, "with uid 4242")) == "a process of user with uid 4242"


def test_listeners_come_before_connections(tmp_path: Path) -> None:
    words = int.from_bytes(socket.inet_aton("127.0.0.1"), sys.byteorder)
    rest = "00000000:00000000 00:00000000 00000000"
    lines = (
        f"   0: {words:08X}:1B58 {words:08X}:9999 01 {rest}  1000        0 11 1\n"
        f"   1: {words:08X}:1B58 00000000:0000 0A {rest}  1000        0 12 1\n"
        f"   2: {words:08X}:1B58 {words:08X}:9998 06 {rest}     0        0 0 1\n"
    )
    proc = _written_proc(tmp_path, lines)
    assert len(find_holders(Address.parse("tcp://:7000"), proc=proc)) == 1


def test_without_proc(tmp_path: Path) -> None:
    assert find_holders(Address.parse("tcp://:7000"), proc=tmp_path / "none") == []
    assert unix_kind("/run/x", proc=tmp_path / "none") is None
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "tcp").write_text("header\ngarbage\n\n 0: zz\n")
    assert find_holders(Address.parse("tcp://:7000"), proc=tmp_path) == []
