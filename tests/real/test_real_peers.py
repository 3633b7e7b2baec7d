"""Programs of others: nc, socat and Python's sockets against `listen` and `connect`; TCP, UDP and Unix."""

# ruff: noqa: ASYNC110 - a peer's readiness is polled
# ruff: noqa: SIM117 - the order of ends is the point

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support import Runner, eventually, payload

import jackfield

pytestmark = pytest.mark.timeout(60)

Find = Callable[[str], str]


@asynccontextmanager
async def program(*command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A running peer, ended at the end."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def type_in(process: asyncio.subprocess.Process, data: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(data)
    await process.stdin.drain()


async def shown(process: asyncio.subprocess.Process, size: int) -> bytes:
    assert process.stdout is not None
    return await asyncio.wait_for(process.stdout.readexactly(size), 10.0)


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A port that was free a moment ago, for peers that cannot say which one the kernel picked."""
    with socket.socket(socket.AF_INET, kind) as plain:
        plain.bind(("127.0.0.1", 0))
        return int(plain.getsockname()[1])


async def connect_when_ready(address: str, **options: object) -> jackfield.Channel:
    """Connect once the peer listens."""
    found: list[jackfield.Channel] = []

    async def attempt() -> bool:
        with contextlib.suppress(jackfield.ConnectFailed):
            found.append(await jackfield.connect(address, **options))  # type: ignore[arg-type]
        return bool(found)

    async with asyncio.timeout(10.0):
        while not await attempt():
            await asyncio.sleep(0.01)
    return found[0]


def client_command(peer: str, find: Find, address: jackfield.Address) -> list[str]:
    """How this program connects to our listener."""
    where = address.path if address.path is not None else f"{address.host} {address.port}"
    if peer == "nc":
        flags = {"tcp": ["-N"], "udp": ["-u"], "unix": ["-N", "-U"], "unix+dgram": ["-uU"]}[address.scheme]
        return [find("nc"), *flags, *where.split()]
    kind = {"tcp": "TCP4", "udp": "UDP4", "unix": "UNIX-CONNECT", "unix+dgram": "UNIX-SENDTO"}[address.scheme]
    if address.scheme == "unix+dgram":
        return [find("socat"), "-", f"{kind}:{where},bind={where}.client"]
    return [find("socat"), "-t5", "-", f"{kind}:{where.replace(' ', ':')}"]


def ours(scheme: str, directory: Path) -> str:
    return f"{scheme}://127.0.0.1:0" if scheme in ("tcp", "udp") else f"{scheme}://{directory}/s"


@pytest.mark.parametrize("scheme", ["tcp", "unix"])
@pytest.mark.parametrize("peer", ["nc", "socat"])
def test_a_stream_program_talks_to_our_listener(
    run: Runner, peer_program: Find, directory: Path, peer: str, scheme: str
) -> None:
    async def main() -> None:
        async with jackfield.listen(ours(scheme, directory), framing="line") as listener:
            async with program(*client_command(peer, peer_program, listener.address)) as process:
                channel = await listener.accept(10.0)
                await type_in(process, b"hello\nsecond\n")
                assert await channel.receive(10.0) == b"hello"
                assert await channel.receive(10.0) == b"second"
                await channel.send(b"welcome")
                assert await shown(process, 8) == b"welcome\n"
                if scheme == "unix":
                    assert channel.credentials is not None
                    assert channel.credentials.pid == process.pid
                assert process.stdin is not None
                process.stdin.close()
                with pytest.raises(jackfield.EndOfStream):
                    await channel.receive(10.0)
                # It has ended its side and still listens.
                await channel.send_many([b"after", b"your end"])
                assert await shown(process, 15) == b"after\nyour end\n"
                await channel.close(5.0)
                assert await asyncio.wait_for(process.wait(), 15.0) == 0

    run(main)


@pytest.mark.parametrize("scheme", ["udp", "unix+dgram"])
@pytest.mark.parametrize("peer", ["nc", "socat"])
def test_a_datagram_program_talks_to_our_listener(
    run: Runner, peer_program: Find, directory: Path, peer: str, scheme: str
) -> None:
    async def main() -> None:
        async with jackfield.listen(ours(scheme, directory)) as listener:
            async with program(*client_command(peer, peer_program, listener.address)) as process:
                await type_in(process, b"hello\n")
                channel = await listener.accept(10.0)
                assert await channel.receive(10.0) == b"hello\n"
                await channel.send(b"welcome\n")
                assert await shown(process, 8) == b"welcome\n"
                await type_in(process, b"more\n")
                assert await channel.receive(10.0) == b"more\n"
                channel.abort()

    run(main)


@pytest.mark.parametrize("scheme", ["tcp", "unix"])
@pytest.mark.parametrize("peer", ["nc", "socat"])
def test_we_connect_to_a_listening_stream_program(
    run: Runner, peer_program: Find, directory: Path, peer: str, scheme: str
) -> None:
    async def main() -> None:
        port, path = free_port(), f"{directory}/s"
        address = f"tcp://127.0.0.1:{port}" if scheme == "tcp" else f"unix://{path}"
        if peer == "nc":
            flags = ["-l", "-N", "127.0.0.1", str(port)] if scheme == "tcp" else ["-l", "-N", "-U", path]
            command = [peer_program("nc"), *flags]
        else:
            place = (
                f"TCP4-LISTEN:{port},bind=127.0.0.1,reuseaddr" if scheme == "tcp" else f"UNIX-LISTEN:{path}"
            )
            command = [peer_program("socat"), "-t5", "-", place]
        async with program(*command) as process:
            channel = await connect_when_ready(address, framing="line")
            await channel.send(b"knock knock")
            assert await shown(process, 12) == b"knock knock\n"
            await type_in(process, b"who is there?\n")
            assert await channel.receive(10.0) == b"who is there?"
            await channel.send(b"x" * 100_000)
            assert await shown(process, 100_001) == b"x" * 100_000 + b"\n"
            channel.send_eof()
            await type_in(process, b"bye\n")
            assert await channel.receive(10.0) == b"bye"
            assert process.stdin is not None
            process.stdin.close()
            with pytest.raises(jackfield.EndOfStream):
                await channel.receive(10.0)
            await channel.close(5.0)
            assert await asyncio.wait_for(process.wait(), 15.0) == 0

    run(main)


def test_a_socat_echo_returns_megabytes_unchanged(run: Runner, peer_program: Find) -> None:
    async def main() -> None:
        port = free_port()
        command = [peer_program("socat"), f"TCP4-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork", "EXEC:cat"]
        async with program(*command):
            channel = await connect_when_ready(f"tcp://127.0.0.1:{port}", framing="u32")
            messages = [payload(size) for size in (1, 100, 70_000, 1_000_000, 3_000_000, 5)]
            sending = asyncio.create_task(channel.send_many(messages))
            assert [await channel.receive(20.0) for _ in messages] == messages
            await sending
            await channel.close(5.0)

    run(main)


def test_a_udp_program_answers_us(run: Runner, peer_program: Find) -> None:
    async def main() -> None:
        port = free_port(socket.SOCK_DGRAM)
        async with program(peer_program("socat"), f"UDP4-RECVFROM:{port},bind=127.0.0.1,fork", "EXEC:cat"):
            channel = await jackfield.connect(f"udp://127.0.0.1:{port}")
            answer = None
            async with asyncio.timeout(10.0):
                while answer is None:
                    # Until it listens the kernel says that the port is closed.
                    with contextlib.suppress(jackfield.ChannelLost, jackfield.TimedOut):
                        answer = await channel.request(b"anybody?", timeout=0.2)
            assert answer == b"anybody?"
            channel.abort()

    run(main)


def test_a_crowd_of_nc_in_a_group(run: Runner, peer_program: Find) -> None:
    async def main() -> None:
        async with contextlib.AsyncExitStack() as stack:
            group = await stack.enter_async_context(jackfield.Group())
            listener = await stack.enter_async_context(jackfield.listen("tcp://127.0.0.1:0", framing="line"))
            listener.into(group)
            command = client_command("nc", peer_program, listener.address)
            processes = [await stack.enter_async_context(program(*command)) for _ in range(10)]
            names: dict[bytes, jackfield.Member] = {}
            for number, process in enumerate(processes):
                await type_in(process, b"I am %d\n" % number)
            async for event in group:
                if isinstance(event, jackfield.Message):
                    names[event.data] = event.member
                    if len(names) == 10:
                        break
            assert await group.broadcast(b"to all") == 10
            await names[b"I am 3"].send(b"to you alone")
            for number, process in enumerate(processes):
                expected = b"to all\n" + (b"to you alone\n" if number == 3 else b"")
                assert await shown(process, len(expected)) == expected
            processes[5].kill()
            event = await group.receive(10.0)
            assert isinstance(event, jackfield.Left)
            assert event.member == names[b"I am 5"]
            names[b"I am 7"].close()
            await eventually(lambda: len(group) == 8)

    run(main)


PYTHON_PEER = """
    import socket, sys
    family, kind, where = sys.argv[1:4]
    plain = socket.socket(getattr(socket, family), getattr(socket, kind))
    if kind == "SOCK_DGRAM" and family == "AF_UNIX":
        plain.bind(where + ".peer")
    plain.settimeout(20)
    plain.connect((where.split()[0], int(where.split()[1])) if family == "AF_INET" else where)
    plain.send(b"hello from python")
    while True:
        data = plain.recv(70000)
        if not data or data == b"end":
            break
        plain.send(data.upper())
    plain.close()
"""


@pytest.mark.parametrize(
    ("scheme", "family", "kind"),
    [
        ("tcp", "AF_INET", "SOCK_STREAM"),
        ("udp", "AF_INET", "SOCK_DGRAM"),
        ("unix", "AF_UNIX", "SOCK_STREAM"),
        ("unix+dgram", "AF_UNIX", "SOCK_DGRAM"),
        ("unix+seqpacket", "AF_UNIX", "SOCK_SEQPACKET"),
    ],
)
def test_pythons_sockets(run: Runner, directory: Path, scheme: str, family: str, kind: str) -> None:
    async def main() -> None:
        async with jackfield.listen(ours(scheme, directory)) as listener:
            address = listener.address
            where = address.path if address.path is not None else f"{address.host} {address.port}"
            async with program(
                sys.executable, "-c", textwrap.dedent(PYTHON_PEER), family, kind, where
            ) as process:
                channel = await listener.accept(10.0)
                assert await channel.receive(10.0) == b"hello from python"
                for word in (b"one", b"two" * 1_000, b"three"):
                    assert await channel.request(word, timeout=10.0) == word.upper()
                await channel.send(b"end")
                assert await asyncio.wait_for(process.wait(), 10.0) == 0
                channel.abort()

    run(main)
