"""Sockets that somebody else has opened become channels and listeners; what cannot be taken stays."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import Runner

import jackfield
from jackfield import _activation

pytestmark = pytest.mark.timeout(60)


def descriptors() -> set[str]:
    """The open sockets by number."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.add(f"{number} {os.readlink(f'/proc/self/fd/{number}')}")
    return {entry for entry in found if " socket:" in entry}


def connected(family: int, kind: int) -> tuple[socket.socket, socket.socket]:
    """Two ends of one connection, as plain sockets."""
    if family == socket.AF_UNIX:
        return socket.socketpair(family, kind)
    host = "127.0.0.1" if family == socket.AF_INET else "::1"
    if kind == socket.SOCK_DGRAM:
        one, two = socket.socket(family, kind), socket.socket(family, kind)
        one.bind((host, 0))
        two.bind((host, 0))
        one.connect(two.getsockname())
        two.connect(one.getsockname())
        return one, two
    with socket.create_server((host, 0), family=family) as listening:
        one = socket.create_connection(listening.getsockname()[:2])
        return one, listening.accept()[0]


SOCKETS = [
    (socket.AF_INET, socket.SOCK_STREAM, "tcp"),
    (socket.AF_INET6, socket.SOCK_STREAM, "tcp"),
    (socket.AF_UNIX, socket.SOCK_STREAM, "unix"),
    (socket.AF_INET, socket.SOCK_DGRAM, "udp"),
    (socket.AF_INET6, socket.SOCK_DGRAM, "udp"),
    (socket.AF_UNIX, socket.SOCK_DGRAM, "unix+dgram"),
    (socket.AF_UNIX, socket.SOCK_SEQPACKET, "unix+seqpacket"),
]


@pytest.mark.parametrize("way", ["number", "socket", "object", "address"])
@pytest.mark.parametrize(("family", "kind", "protocol"), SOCKETS)
def test_a_connected_socket_becomes_a_channel(
    run_here: Runner, family: int, kind: int, protocol: str, way: str
) -> None:
    framing: Any = {"framing": "line"} if kind == socket.SOCK_STREAM else {}

    async def main() -> None:
        one, two = connected(family, kind)
        two.settimeout(5)
        if way == "socket":
            channel = jackfield.adopt(one, **framing)
            assert one.fileno() == -1, "it was emptied"
        elif way == "object":
            file = one.makefile("rwb", buffering=0)
            one.close()
            channel = jackfield.adopt(file, **framing)
            assert file.closed
        else:
            number = one.detach()
            os.set_inheritable(number, True)
            if way == "number":
                channel = jackfield.adopt(number, **framing)
            else:
                channel = await jackfield.connect(f"fd://{number}", **framing)
            assert channel.fileno() == number
            assert not os.get_inheritable(number)
        assert isinstance(channel, jackfield.Channel)
        assert channel.protocol == protocol
        if family != socket.AF_UNIX:
            assert channel.peer.port == two.getsockname()[1]
            assert channel.local.port == two.getpeername()[1]
        await channel.send(b"out")
        await channel.flush()
        assert two.recv(100).rstrip() == b"out"
        two.sendall(b"in\n" if framing else b"in")
        assert await channel.receive(5.0) == b"in"
        await channel.close()
        two.close()

    before = descriptors()
    run_here(main)
    assert descriptors() == before


@pytest.mark.parametrize(
    ("family", "kind", "protocol"),
    [entry for entry in SOCKETS if entry[:2] != (socket.AF_INET6, socket.SOCK_DGRAM)],
)
def test_a_listening_socket_becomes_a_listener(
    run: Runner, directory: Path, family: int, kind: int, protocol: str
) -> None:
    async def main() -> None:
        plain = socket.socket(family, kind)
        file = directory / "socket"
        host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
        plain.bind(str(file) if family == socket.AF_UNIX else (host, 0))
        if kind != socket.SOCK_DGRAM:
            plain.listen(8)
        name = plain.getsockname()
        listener = jackfield.adopt(plain)
        assert isinstance(listener, jackfield.Listener)
        assert listener.protocol == protocol
        assert listener.address.port == (name[1] if family != socket.AF_UNIX else None)
        async with listener, jackfield.connect(listener.address) as client:
            await client.send(b"hello")
            server = await listener.accept(5.0)
            assert await server.receive(5.0) == b"hello"
            await server.send(b"welcome")
            assert await client.receive(5.0) == b"welcome"
            await server.close()
        if family == socket.AF_UNIX:
            assert file.exists(), "whoever made the file removes it"

    before = descriptors()
    run(main)
    assert descriptors() == before


def test_it_keeps_what_it_was_set_to_unless_told_otherwise(run_here: Runner) -> None:
    async def main() -> None:
        one, two = connected(socket.AF_INET, socket.SOCK_STREAM)
        one.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 7)
        one.setblocking(True)
        async with jackfield.adopt(one, user_timeout="9s", keepalive=None) as channel:
            found = channel.kernel_options()
            assert (found["ttl"], found["user_timeout"]) == (7, 9.0)
            assert (found["nodelay"], found["keepalive"]) == (False, None)
        two.close()

    run_here(main)


def test_what_cannot_be_taken_stays_as_it_was(run_here: Runner, tmp_path: Path) -> None:
    async def main() -> None:
        one, two = connected(socket.AF_INET, socket.SOCK_STREAM)
        lonely = socket.socket()
        packets = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        pipe = os.pipe()
        file = (tmp_path / "file").open("w")
        cases: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
            (lonely, {}, jackfield.AdoptFailed, "neither listens nor is connected"),
            (packets, {}, jackfield.AdoptFailed, "neither listens nor is connected"),
            (
                pipe[0],
                {},
                jackfield.AdoptFailed,
                f"cannot adopt descriptor {pipe[0]}: it is a pipe and no socket",
            ),
            (file, {}, OSError, "it is the file .*file and no socket"),
            (-1, {}, jackfield.AdoptFailed, "it is closed"),
            (100_000, {}, jackfield.AdoptFailed, "descriptor 100000: it is not open"),
            (one, {"reuse_port": True}, jackfield.InvalidOption, "the socket is open already"),
            (one, {"bind": "127.0.0.1"}, jackfield.InvalidOption, "the socket is open already"),
            (one, {"frame": "line"}, jackfield.InvalidOption, "no such option"),
            (one, {"congestion": "no_such"}, jackfield.InvalidOption, "no such congestion control"),
            (one, {"defer_accept": 3.0}, jackfield.NotSupported, "it is for listeners"),
        ]
        before = descriptors()
        for source, options, error, says in cases:
            with pytest.raises(error, match=says):
                jackfield.adopt(source, **options)
            assert descriptors() == before
        one.sendall(b"still mine")
        assert two.recv(100) == b"still mine"
        channel = jackfield.adopt(one)
        with pytest.raises(jackfield.AdoptFailed, match="to a channel or listener of this loop already"):
            jackfield.adopt(channel.fileno())
        with pytest.raises(jackfield.AdoptFailed, match=r"detach\(\) it first"):
            jackfield.adopt(channel)
        assert isinstance(channel, jackfield.Channel)
        await channel.send(b"works")
        await channel.close()
        assert two.recv(100) == b"works"
        for opened in (two, lonely, packets, file):
            opened.close()
        for end in pipe:
            os.close(end)

    run_here(main)


def test_an_address_says_which_of_the_two_it_is(run_here: Runner) -> None:
    async def main() -> None:
        one, two = connected(socket.AF_INET, socket.SOCK_STREAM)
        with pytest.raises(
            jackfield.AdoptFailed, match=f"is connected to .*use connect.'fd://{one.fileno()}'"
        ):
            await jackfield.listen(f"fd://{one.fileno()}")
        listening = socket.create_server(("127.0.0.1", 0))
        with pytest.raises(jackfield.AdoptFailed, match="is a listener; use listen"):
            await jackfield.connect(f"fd://{listening.fileno()}")
        listening.close()
        one.close()
        two.close()

    run_here(main)


# Socket activation --------------------------------------------------------------------------------


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The service manager's variables, and a process that has adopted nothing."""
    for name in ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(_activation, "_taken", set())
    return monkeypatch


def test_without_a_service_manager_there_is_nothing(environment: pytest.MonkeyPatch) -> None:
    assert jackfield.activated() == ()
    environment.setenv("LISTEN_FDS", "1")
    assert jackfield.activated() == (), "no process was named"
    environment.setenv("LISTEN_PID", "1")
    assert jackfield.activated() == (), "it was meant for another process"
    for nonsense in ("", "x", "-1", "99999999999999"):
        environment.setenv("LISTEN_FDS", nonsense)
        environment.setenv("LISTEN_PID", str(os.getpid()))
        assert jackfield.activated() == ()


PROGRAM = """
import asyncio, os, sys
import jackfield

async def main():
    there = jackfield.activated()
    print([entry.name for entry in there], [entry.fd for entry in there])
    print([os.get_inheritable(entry.fd) for entry in there])
    for wrong in ("fd://nobody", "fd://twice"):
        try:
            await jackfield.listen(wrong)
        except jackfield.AdoptFailed as error:
            print(error)
    async with jackfield.listen("fd://web", framing="line") as listener, listener.serving(shout):
        print([entry.name for entry in jackfield.activated()])
        print("ready", flush=True)
        await jackfield.connect("fd://6")
        await asyncio.to_thread(sys.stdin.readline)

async def shout(channel):
    async for message in channel:
        await channel.send(message.upper())

jackfield.run(main)
"""


def activate(program: list[str], sockets: list[socket.socket], names: str) -> subprocess.Popen[str]:
    """Start a program as a service manager does: descriptors from 3 on, named in its environment."""
    launcher = (
        "import fcntl, os, sys\n"
        "numbers = [int(number) for number in sys.argv[1].split(',')]\n"
        "copies = [fcntl.fcntl(number, fcntl.F_DUPFD, 100) for number in numbers]\n"
        "for place, copy in enumerate(copies, 3):\n"
        "    os.dup2(copy, place)\n"
        "os.environ.update(LISTEN_FDS=str(len(numbers)), LISTEN_PID=str(os.getpid()))\n"
        "os.environ.update(LISTEN_FDNAMES=sys.argv[2])\n"
        "os.execv(sys.argv[3], sys.argv[3:])\n"
    )
    numbers = [plain.fileno() for plain in sockets]
    return subprocess.Popen(
        [sys.executable, "-c", launcher, ",".join(map(str, numbers)), names, *program],
        pass_fds=numbers,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_service_takes_what_its_manager_opened() -> None:
    one, two = connected(socket.AF_UNIX, socket.SOCK_STREAM)
    with (
        socket.create_server(("127.0.0.1", 0)) as web,
        socket.create_server(("127.0.0.1", 0)) as second,
        socket.create_server(("127.0.0.1", 0)) as third,
        one,
        two,
    ):
        program = [sys.executable, "-W", "ignore", "-c", PROGRAM]
        with activate(program, [web, second, third, one], "web:twice:twice:") as service:
            assert service.stdout is not None
            lines = [service.stdout.readline().rstrip() for _ in range(6)]
            assert lines[0] == "['web', 'twice', 'twice', 'unknown'] [3, 4, 5, 6]"
            assert lines[1] == "[False, False, False, False]"
            assert "no descriptor of the name nobody; it handed over web (fd://3), twice (fd://4)" in lines[2]
            assert "2 descriptors have the name twice; use fd://4 or fd://5" in lines[3]
            assert lines[4] == "['twice', 'twice', 'unknown']"
            assert lines[5] == "ready"
            with socket.create_connection(web.getsockname()) as client:
                client.settimeout(10)
                client.sendall(b"hello\n")
                assert client.recv(100) == b"HELLO\n"
            service.communicate("\n", timeout=20)
            assert service.returncode == 0


def test_the_hub_serves_what_its_manager_opened(directory: Path) -> None:
    jackfield_program = str(Path(sys.executable).with_name("jackfield"))
    with (
        socket.create_server(("127.0.0.1", 0)) as web,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as packets,
    ):
        packets.bind(("127.0.0.1", 0))
        control = str(directory / "hub.sock")
        command = [
            jackfield_program,
            "--control",
            control,
            "serve",
            "--plain",
            "fd://web,framing=line",
            "fd://4",
        ]
        with activate(command, [web, packets], "web:packets") as hub:
            assert hub.stdout is not None
            shown = ""
            while "Ctrl-C" not in shown:
                line = hub.stdout.readline()
                assert line, shown
                shown += line
            assert f"tcp://127.0.0.1:{web.getsockname()[1]}" in shown
            assert f"nc -u 127.0.0.1 {packets.getsockname()[1]}" in shown
            with socket.create_connection(web.getsockname()) as client:
                client.settimeout(10)
                while " joined " not in (line := hub.stdout.readline()):
                    assert line
                done = subprocess.run(
                    [jackfield_program, "--control", control, "send", "all", "hello"],
                    capture_output=True,
                    timeout=20,
                    check=True,
                )
                assert done.returncode == 0
                assert client.recv(100) == b"hello\n"
            hub.terminate()
            hub.communicate(timeout=20)


def test_a_number_beyond_an_int_is_not_cut_to_another_descriptor(run: Runner) -> None:
    """2**32 + n would otherwise stand for n, which may be somebody's socket."""
    ours, theirs = socket.socketpair()

    async def main() -> None:
        for number in (2**32 + ours.fileno(), 2**31, 2**70):
            with pytest.raises(jackfield.AdoptFailed, match="it is not open"):
                jackfield.adopt(number)
        with pytest.raises(TypeError, match=r"a descriptor or an object with fileno\(\), not str"):
            jackfield.adopt("3")  # type: ignore[arg-type]

    with ours, theirs:
        run(main)
        theirs.send(b"still there")
        assert ours.recv(20) == b"still there"


def test_what_is_no_socket_is_named(run: Runner) -> None:
    async def main() -> None:
        with (
            select.epoll() as epoll,
            pytest.raises(jackfield.AdoptFailed, match="it is the kernel's eventpoll"),
        ):
            jackfield.adopt(epoll.fileno())

    run(main)
