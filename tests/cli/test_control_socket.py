"""The control socket: who may operate a hub, and what becomes of everybody else."""

from __future__ import annotations

import json
import os
import socket
import stat
import struct
import subprocess
from pathlib import Path

import pytest
from programs import JACKFIELD, HubProcess, StartHub
from support import quick_enough
from test_serve import connect, terminated


class RawOperator:
    """The control socket as anyone can open it: messages behind a u32 length."""

    def __init__(self, hub: HubProcess) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(str(hub.control))

    def send(self, message: bytes) -> None:
        self.socket.sendall(struct.pack(">I", len(message)) + message)

    def receive(self) -> dict[str, object]:
        (length,) = struct.unpack(">I", self._exactly(4))
        value: dict[str, object] = json.loads(self._exactly(length))
        return value

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise EOFError
            data += part
        return data


def test_the_control_socket_is_private(hub: HubProcess) -> None:
    assert stat.S_IMODE(hub.control.stat().st_mode) == 0o600
    assert stat.S_IMODE(hub.control.parent.stat().st_mode) == 0o700


def test_a_second_hub_is_told_of_the_first(hub: HubProcess) -> None:
    done = hub.run("serve", "tcp://127.0.0.1:0")
    assert done.returncode == 1
    assert f"jackfield: a hub (pid {hub.pid}) is already running at {hub.control}".encode() in done.stderr
    assert hub.clients() == []


def test_a_killed_hub_is_replaced(start_hub: StartHub, directory: Path) -> None:
    first = start_hub("tcp://127.0.0.1:0", control=directory / "hub.sock")
    first.popen.kill()
    first.wait()
    assert first.control.is_socket()
    assert first.run("clients").returncode == 3
    second = start_hub("tcp://127.0.0.1:0", control=first.control)
    assert second.clients() == []


def test_someone_elses_socket_stays(directory: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(directory / "hub.sock"))
        other.listen()
        done = subprocess.run(
            [JACKFIELD, "serve", "tcp://127.0.0.1:0", "--control", directory / "hub.sock"],
            capture_output=True,
            timeout=20,
        )
        assert done.returncode == 1
        assert f"is in use by another program (pid {os.getpid()})".encode() in done.stderr
        assert (directory / "hub.sock").is_socket()


def test_the_control_option_wins(start_hub: StartHub, directory: Path) -> None:
    hub = start_hub("tcp://127.0.0.1:0", control=directory / "one.sock")
    for words in (["--control", str(hub.control), "clients"], ["clients", "--control", str(hub.control)]):
        done = subprocess.run(
            [JACKFIELD, *words],
            capture_output=True,
            timeout=20,
            env={**os.environ, "JACKFIELD_CONTROL": "/nowhere"},
        )
        assert done.returncode == 0
        assert done.stdout == b"No client is connected.\n"


def test_without_a_hub(directory: Path) -> None:
    for command in (
        ["clients"],
        ["talk", "1"],
        ["send", "1", "x"],
        ["logs"],
        ["stop"],
        ["kick", "1"],
        ["status"],
    ):
        done = subprocess.run(
            [JACKFIELD, *command, "--control", directory / "none"],
            capture_output=True,
            timeout=20,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 3
        assert done.stderr.startswith(b"jackfield: no hub at ")
        assert b"jackfield serve" in done.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to be somebody else")
def test_another_user_is_no_operator(hub: HubProcess) -> None:
    # As if the file system let them in: the hub looks at who it is itself.
    hub.control.parent.parent.chmod(0o755)
    hub.control.parent.chmod(0o755)
    hub.control.chmod(0o666)
    child = os.fork()
    if child == 0:
        try:
            os.setuid(65534)
            raw = RawOperator(hub)
            raw.send(b'{"id": 1, "op": "stop"}')
            raw.receive()
        except (EOFError, ConnectionError):
            os._exit(42)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
    hub.seen(rb" operator_refused uid=65534 ")
    assert hub.clients() == []


def test_garbage_from_an_operator_harms_nobody(hub: HubProcess) -> None:
    with connect(hub) as client:
        hub.joined(1)
        raw = RawOperator(hub)
        for garbage in (b"", b"{", b"\xff" * 100, b"[" * 50_000, b'{"id": 1}', b'{"id": 1, "op": "launch"}'):
            raw.send(garbage)
            assert raw.receive()["error"]["code"] == "bad_request"  # type: ignore[index]
        raw.send(b'{"id": 5, "op": "send", "target": 3, "data": "x"}')
        assert raw.receive()["id"] == 5
        raw.send(b'{"id": 6, "op": "clients"}')
        assert len(raw.receive()["event"]["clients"]) == 1  # type: ignore[index]
        assert raw.receive() == {"id": 6, "ok": {"count": 1}}
        oversized = RawOperator(hub)
        oversized.socket.sendall(b"\xff\xff\xff\xff")
        with pytest.raises((EOFError, ConnectionResetError)):
            oversized.receive()
        half = RawOperator(hub)
        half.socket.sendall(b"\0\0\0\x10{")
        half.socket.close()
        vanished = RawOperator(hub)
        vanished.send(b'{"id": 1, "op": "logs", "follow": true}')
        vanished.socket.close()
        hub.do("send", "1", "still here")
        assert client.recv(100) == b"still here\n"


def test_an_operator_that_does_not_read_is_disconnected(hub: HubProcess) -> None:
    with connect(hub) as client:
        hub.joined(1)
        lazy = RawOperator(hub)
        lazy.send(b'{"id": 1, "op": "talk", "target": "1"}')
        hub.seen(rb" attached id=1 ")
        client.settimeout(30)
        for _ in range(64):
            client.sendall(b"x" * 1_000_000)
        hub.seen(rb" operator_dropped operator=pid:\d+ reason=", deadline=30)
        hub.do("send", "1", "go on")
        assert client.recv(100) == b"go on\n"


def test_the_longest_target_does_not_hold_up_the_end(start_hub: StartHub) -> None:
    def end() -> float:
        hub = start_hub("tcp://127.0.0.1:0")
        clients = [connect(hub) for _ in range(300)]
        hub.joined(300)
        raw = RawOperator(hub)
        for number in range(20):
            target = ",".join(f"*t{n}x{number}*" for n in range(256))
            raw.send(json.dumps({"id": number, "op": "clients", "target": f"*,{target}"[:4000]}).encode())
        raw.send(json.dumps({"id": 99, "op": "kick", "target": "q" * 4_000_000}).encode())
        took = terminated(hub)
        for client in clients:
            client.close()
        return took

    quick_enough(end, 1.5)


def test_a_lost_control_socket_is_told_with_the_way_on(hub: HubProcess) -> None:
    hub.control.unlink()
    for words, code in ((["stop"], 3), (["serve", "tcp://127.0.0.1:0"], 1)):
        done = hub.run(*words)
        assert done.returncode == code
        assert (
            f"a hub (pid {hub.pid}) runs, but its control socket {hub.control} is gone".encode()
            in done.stderr
        )
        assert f"'kill {hub.pid}'".encode() in done.stderr


def test_one_operator_too_many_is_told_so(hub: HubProcess) -> None:
    idle = [RawOperator(hub) for _ in range(64)]
    for operator in idle:
        operator.send(b'{"id": 1, "op": "hello"}')
        operator.receive()
    done = hub.run("status")
    assert done.returncode == 1
    assert done.stderr.startswith(b"jackfield: the hub has its 64 operators")
    for operator in idle:
        operator.socket.close()


def test_a_control_path_that_is_no_socket_is_said_to_be_none(directory: Path) -> None:
    file = directory / "README.md"
    file.write_text("text")
    done = subprocess.run([JACKFIELD, "--control", file, "clients"], capture_output=True, timeout=30)
    assert done.returncode == 3
    assert done.stderr.startswith(f"jackfield: {file} is no socket; ".encode())


@pytest.mark.parametrize(
    ("option", "example"), [("--web", "127.0.0.1:8080"), ("--metrics", "127.0.0.1:9100")]
)
def test_an_address_that_is_none_is_told_with_its_option(option: str, example: str) -> None:
    done = subprocess.run(
        [JACKFIELD, "serve", "127.0.0.1:0", option, "nonsense"], capture_output=True, timeout=30
    )
    assert done.returncode == 2
    assert done.stderr == f"jackfield: {option} nonsense: the port is missing; such as {example}\n".encode()
