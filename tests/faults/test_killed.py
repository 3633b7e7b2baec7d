"""`kill -9` and SIGSTOP of either side: what the other one sees, and that nobody else notices.

Peers die in tests/faults/test_bad_peers.py too; here our own side is a process that dies or is stopped, with
plain sockets at the other end, and stays stopped for as long as JACKFIELD_STOP_SECONDS says.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import Chain, Runner, eventually

import jackfield

pytestmark = pytest.mark.timeout(180)

STOP_SECONDS = float(os.environ.get("JACKFIELD_STOP_SECONDS", "2"))
"""How long a peer stays stopped: a minute is as good, and `make soak` does it with more of them."""

OURS = """
    import asyncio, sys
    import jackfield

    async def echo(channel):
        async for message in channel:
            # What was asked for is sent as often as no queue can hold.
            for _ in range(1 + 1000 * message.startswith(b"much")):
                await channel.send(message * (100 if message == b"much" else 1))

    async def main():
        framing = None if sys.argv[1].startswith("unix+seqpacket") else "line"
        async with jackfield.listen(sys.argv[1], framing=framing) as listener:
            print(listener.address.without_options(), flush=True)
            await listener.serve(echo)

    jackfield.run(main)
"""


@contextlib.contextmanager
def our_server(address: str) -> Iterator[tuple[subprocess.Popen[str], jackfield.Address]]:
    """A process of ours that serves, and where."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(OURS), address], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield process, jackfield.Address.parse(process.stdout.readline().strip())
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def stop(process: subprocess.Popen[str]) -> None:
    """SIGSTOP, and wait until it has stopped."""
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)


def plain_client(address: jackfield.Address) -> socket.socket:
    if address.port is not None:
        return socket.create_connection((address.host, address.port), timeout=20)
    kind = socket.SOCK_SEQPACKET if address.scheme == "unix+seqpacket" else socket.SOCK_STREAM
    plain = socket.socket(socket.AF_UNIX, kind)
    plain.settimeout(20)
    plain.connect(str(address.path))
    return plain


def address_of(scheme: str, directory: Path) -> str:
    return "tcp://127.0.0.1:0" if scheme == "tcp" else f"{scheme}://{directory}/s"


@pytest.mark.parametrize("scheme", ["tcp", "unix", "unix+seqpacket"])
def test_a_killed_process_of_ours_ends_its_peers(directory: Path, scheme: str) -> None:
    """Its kernel closes for it: an end where all was read, a reset where something was left unread."""
    with our_server(address_of(scheme, directory)) as (process, address):
        idle, asked, unread = (plain_client(address) for _ in range(3))
        for plain in (idle, asked, unread):
            plain.send(b"hello\n")
            assert plain.recv(100).startswith(b"hello")
        stop(process)
        # Stopped, it reads nothing: these are unread when it dies.
        unread.send(b"unread\n")
        process.kill()
        process.wait()
        assert idle.recv(100) == b""
        assert asked.recv(100) == b""
        with contextlib.suppress(ConnectionResetError):
            assert unread.recv(100) == b""
        for plain in (idle, asked, unread):
            with pytest.raises((BrokenPipeError, ConnectionResetError)):  # noqa: PT012 - the second one fails
                for _ in range(100):
                    plain.send(b"into the void\n")
            plain.close()


def test_what_the_kernel_took_from_a_killed_process_of_ours_arrives() -> None:
    """Bytes that had left our queue are the kernel's: they arrive, whole frames first, then the end."""
    with our_server("tcp://127.0.0.1:0") as (process, address), plain_client(address) as plain:
        plain.sendall(b"much\n")
        first = plain.recv(1)
        process.kill()
        process.wait()
        rest = b""
        with contextlib.suppress(ConnectionResetError):
            while more := plain.recv(65_536):
                rest += more
        assert (first + rest).startswith(b"much" * 100 + b"\n")
        assert set(first + rest) == set(b"much\n")


def test_a_stopped_process_of_ours_goes_on_where_it_was() -> None:
    """Its peers wait as at any slow one, and no message is lost or changes its place."""
    with our_server("tcp://127.0.0.1:0") as (process, address):
        plain, late = plain_client(address), plain_client(address)
        sent, back = Chain(), Chain()
        for _ in range(10):
            message = sent.next(100).hex().encode() + b"\n"
            plain.sendall(message)
        stop(process)
        for _ in range(50):
            plain.sendall(sent.next(100).hex().encode() + b"\n")
        plain.settimeout(STOP_SECONDS)
        lines = b""
        with contextlib.suppress(TimeoutError):
            while True:
                lines += plain.recv(65_536)
                assert lines.count(b"\n") <= 10
        # The kernel takes connections for a stopped process too.
        newcomer = plain_client(address)
        newcomer.sendall(b"new\n")
        process.send_signal(signal.SIGCONT)
        plain.settimeout(20)
        while lines.count(b"\n") < 60:
            lines += plain.recv(65_536)
        for line in lines.splitlines():
            back.check(bytes.fromhex(line.decode()))
        assert back.count == 60
        for other in (late, newcomer):
            other.sendall(b"well\n")
            other.shutdown(socket.SHUT_WR)
            got = b""
            while more := other.recv(100):
                got += more
            assert got.endswith(b"well\n")
            other.close()
        plain.close()


def test_a_stopped_peer_is_not_dead(run: Runner) -> None:
    """Its window is closed and messages are queued for it; afterwards it has them all, in order."""

    async def main() -> None:
        with our_server("tcp://127.0.0.1:0") as (peer, address):
            async with (
                jackfield.connect(
                    address, framing="line", high_water=64 * 1024, send_buffer="64K"
                ) as stopped,
                jackfield.connect(address, framing="line") as second,
            ):
                assert await stopped.request(b"hello", timeout=10.0) == b"hello"
                assert await second.request(b"hello", timeout=10.0) == b"hello"
                stop(peer)
                sent = 0
                waiting = None
                end = asyncio.get_running_loop().time() + STOP_SECONDS
                one, two = jackfield.pair(framing="line")
                async with one, two:
                    while asyncio.get_running_loop().time() < end:
                        if waiting is None or waiting.done():
                            waiting = asyncio.create_task(stopped.send(b"%05000d" % sent))
                            sent += 1
                        await one.send(b"others go on")
                        assert await two.receive(5.0) == b"others go on"
                        assert stopped.statistics().queued_bytes <= 64 * 1024
                assert waiting is not None
                assert not waiting.done(), "the window closed long before"
                peer.send_signal(signal.SIGCONT)
                for number in range(sent):
                    assert await stopped.receive(20.0) == b"%05000d" % number
                await waiting
                assert await second.request(b"well", timeout=10.0) == b"well"
                await eventually(lambda: stopped.statistics().queued_messages == 0)

    run(main, limit=STOP_SECONDS + 60)
