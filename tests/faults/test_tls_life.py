"""A TLS connection's life: how far messages have come, why nothing moves, coming back, new keys."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from support import Runner, eventually
from support_tls import certificates

import jackfield

MUCH = 4_000_000
"""More than the kernels take of a peer that does not read."""


def server(address: str = "tls://127.0.0.1:0", **options: Any) -> Any:
    return jackfield.listen(address, framing="u32", **{**certificates().listening, **options})


def client(address: jackfield.Address, **options: Any) -> Any:
    return jackfield.connect(address, framing="u32", **{**certificates().connecting, **options})


def test_what_the_peers_kernel_has_not_is_not_acknowledged(run_here: Runner) -> None:
    async def main() -> None:
        async with server() as listener, client(listener.address) as here:
            there = await listener.accept(5.0)
            for message in (b"small", bytes(100_000)):
                await here.send(message, until="peer_kernel", timeout=10.0)
                assert await there.receive(5.0) == message
            sending = asyncio.ensure_future(here.send(bytes(MUCH), until="peer_kernel"))
            await eventually(lambda: "has not read" in str(here.explain()))
            assert not sending.done()
            assert "nobody receives them" in str(there.explain())
            assert len(await there.receive(10.0)) == MUCH
            await asyncio.wait_for(sending, 10.0)
            assert "all is well" in str(here.explain())

    run_here(main)


@contextlib.asynccontextmanager
async def between(target: jackfield.Address) -> AsyncIterator[tuple[jackfield.Address, Callable[[], None]]]:
    """A relay, and what ends its connections in the middle: TCP's end comes, and none of TLS."""
    open_: list[asyncio.StreamWriter] = []

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", target.port)
        open_.extend((writer, back))
        await asyncio.gather(copy(reader, back), copy(there, writer))

    def cut() -> None:
        for writer in open_:
            writer.close()
        open_.clear()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as relay:
        yield jackfield.Address.parse(f"tls://127.0.0.1:{relay.sockets[0].getsockname()[1]}"), cut
        cut()


def test_a_connection_that_is_cut_comes_back(run_here: Runner) -> None:
    async def main() -> None:
        states: list[jackfield.State] = []
        lasting = {"reconnect": "10ms..100ms", "on_state": states.append}
        async with (
            server() as listener,
            between(listener.address) as (address, cut),
            client(address, **lasting) as here,
        ):
            for number in range(3):
                there = await listener.accept(5.0)
                await here.send(b"question %d" % number, until="peer_kernel", timeout=5.0)
                assert await there.receive(5.0) == b"question %d" % number
                await there.send(b"answer")
                assert await here.receive(5.0) == b"answer"
                assert here.tls is not None
                assert here.tls.version == "TLSv1.3"
                cut()
                error = await lost(there)
                assert error.cause is jackfield.Cause.TRUNCATED
            await eventually(lambda: sum(isinstance(state, jackfield.Reconnecting) for state in states) >= 3)
            causes = {state.error.cause for state in states if isinstance(state, jackfield.Reconnecting)}
            assert jackfield.Cause.TRUNCATED in causes

    run_here(main)


async def lost(channel: jackfield.Channel) -> jackfield.ChannelLost:
    with pytest.raises(jackfield.ChannelLost) as told:
        await channel.receive(5.0)
    return told.value


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_new_keys_and_renegotiation(
    run_here: Runner, peer_program: Callable[[str], str], version: str
) -> None:
    program = peer_program("openssl")

    async def main() -> None:
        async with jackfield.listen(
            "tls://127.0.0.1:0", **certificates().listening, framing="line"
        ) as listener:
            pipe = asyncio.subprocess.PIPE
            command = [program, "s_client", version, "-connect", f"127.0.0.1:{listener.address.port}"]
            other = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
            try:
                channel = await listener.accept(10.0)
                await say(other, channel, b"")
                if version == "-tls1_3":
                    # Commands of s_client: a new key of its own, new ones of both ends.
                    await say(other, channel, b"k")
                    await say(other, channel, b"K")
                else:
                    # A new handshake, which is refused (RFC 5746, 4.4); OpenSSL ends the connection then.
                    await command_of(other, b"R")
                    error = await lost(channel)
                    assert error.cause is jackfield.Cause.REFUSED_BY_PEER
            finally:
                with contextlib.suppress(ProcessLookupError):
                    other.kill()
                await other.wait()

    run_here(main)


async def command_of(other: asyncio.subprocess.Process, command: bytes) -> None:
    assert other.stdin is not None
    other.stdin.write(command + b"\n")
    await other.stdin.drain()


async def say(other: asyncio.subprocess.Process, channel: jackfield.Channel, command: bytes) -> None:
    """A command to s_client, which says that it has done it; then a word to it, and one back."""
    assert other.stdout is not None
    assert other.stderr is not None
    if command:
        await command_of(other, command)
        await asyncio.wait_for(other.stderr.readuntil(b"KEYUPDATE"), 10.0)
    await channel.send(b"hello behind " + command)
    await asyncio.wait_for(other.stdout.readuntil(b"hello behind " + command), 10.0)
    await command_of(other, b"heard " + command)
    assert await channel.receive(10.0) == b"heard " + command
