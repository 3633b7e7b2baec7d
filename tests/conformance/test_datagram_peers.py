"""Datagram listeners: a channel per peer, gone after its idle time; UDP and Unix."""

# ruff: noqa: PT012 - several sends until one fails

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path

import pytest
from support import TRANSPORTS, Runner, Transport, eventually, every

import jackfield

pytestmark = pytest.mark.timeout(60)

DATAGRAMS = [transport for transport in TRANSPORTS if not transport.has_end]


@every(DATAGRAMS)
def test_a_channel_per_peer(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        async with jackfield.listen(transport.address(directory)) as listener:
            clients = [await jackfield.connect(listener.address) for _ in range(5)]
            for number, client in enumerate(clients):
                await client.send(b"hello %d" % number)
            channels = {}
            for _ in clients:
                channel = await listener.accept(5.0)
                channels[await channel.receive(5.0)] = channel
            assert sorted(channels) == [b"hello %d" % number for number in range(5)]
            assert listener.statistics().clients == 5
            assert len({channel.id for channel in channels.values()}) == 5
            for number, client in enumerate(clients):
                channel = channels[b"hello %d" % number]
                assert channel.peer == client.local
                for text in (b"a", b"", b"b"):
                    await client.send(text)
                    assert await channel.receive(5.0) == text
                    await channel.send(text * 3)
                    assert await client.receive(5.0) == text * 3
            with pytest.raises(jackfield.TimedOut):
                await listener.accept(0.01)
            for channel in (*clients, *channels.values()):
                channel.abort()

    run(main)


@every(DATAGRAMS)
def test_a_silent_peer_ends_and_may_come_back(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        async with jackfield.listen(transport.address(directory), idle_timeout=0.15) as listener:
            client = await jackfield.connect(listener.address)
            await client.send(b"one")
            first = await listener.accept(5.0)
            assert await first.receive(5.0) == b"one"
            started = time.monotonic()
            for _ in range(4):
                await asyncio.sleep(0.06)
                await client.send(b"alive")
                assert await first.receive(5.0) == b"alive"
            assert time.monotonic() - started > 0.15
            with pytest.raises(jackfield.EndOfStream):
                await first.receive(5.0)
            await first.close()
            await eventually(lambda: listener.statistics().clients == 0)
            await client.send(b"again")
            second = await listener.accept(5.0)
            assert second.id != first.id
            assert await second.receive(5.0) == b"again"
            second.abort()
            client.abort()

    run(main)


@every(DATAGRAMS)
def test_too_many_peers_are_refused_and_counted(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        async with jackfield.listen(transport.address(directory), max_clients=2) as listener:
            clients = [await jackfield.connect(listener.address) for _ in range(4)]
            for client in clients:
                await client.send(b"x")
            channels = [await listener.accept(5.0) for _ in range(2)]
            await eventually(lambda: listener.statistics().refused == 2)
            with pytest.raises(jackfield.TimedOut):
                await listener.accept(0.01)
            for channel in (*clients, *channels):
                channel.abort()

    run(main)


@every([transport for transport in DATAGRAMS if transport.name == "udp"])
def test_a_burst_to_a_peer_that_is_received_from_is_whole(
    run: Runner, transport: Transport, directory: Path
) -> None:
    async def main() -> None:
        address = transport.address(directory)
        async with jackfield.listen(address, receive_buffer="2M") as listener:
            client = await jackfield.connect(listener.address, send_buffer="2M")
            await client.send(b"first")
            channel = await listener.accept(5.0)
            assert await channel.receive(5.0) == b"first"
            waiting = asyncio.create_task(channel.receive_many(timeout=5.0))
            await asyncio.sleep(0)
            # More than a peer may hold, at once.
            burst = [b"%06d" % number + b"." * 1_194 for number in range(500)]
            await client.send_many(burst)
            got = await waiting
            while len(got) < len(burst):
                got += await channel.receive_many(timeout=5.0)
            assert got == burst
            assert channel.statistics().dropped_received == 0
            assert listener.statistics().dropped_by_kernel == 0
            client.abort()
            channel.abort()

    run(main)


@every(DATAGRAMS)
def test_a_peer_that_is_not_received_is_dropped_and_counted(
    run: Runner, transport: Transport, directory: Path
) -> None:
    async def main() -> None:
        async with jackfield.listen(transport.address(directory)) as listener:
            client, other = [await jackfield.connect(listener.address) for _ in range(2)]
            await client.send(b"first")
            channel = await listener.accept(5.0)
            for number in range(400):
                await client.send(b"%06d" % number + b"." * 2_000)
                await asyncio.sleep(0)
            # The slow one costs the other nothing.
            await other.send(b"not held up")
            second = await listener.accept(5.0)
            assert await second.receive(5.0) == b"not held up"
            await eventually(lambda: channel.statistics().dropped_received > 0)
            got = await channel.receive_many(timeout=5.0)
            assert got[0] == b"first"
            assert got[1:] == sorted(got[1:])
            for each in (client, other, channel, second):
                each.abort()

    run(main)


@every(DATAGRAMS)
def test_a_closed_listener_ends_its_peers(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        listener = await jackfield.listen(transport.address(directory))
        client = await jackfield.connect(listener.address)
        await client.send(b"x")
        channel = await listener.accept(5.0)
        assert await channel.receive(5.0) == b"x"
        waiting = asyncio.create_task(channel.receive(5.0))
        await asyncio.sleep(0)
        await listener.close()
        with pytest.raises((jackfield.ChannelLost, jackfield.EndOfStream)):
            await waiting
        with pytest.raises((jackfield.ChannelLost, jackfield.ChannelClosed)):
            await channel.send(b"y")
        channel.abort()
        client.abort()

    run(main)


def test_a_closed_port_is_told_and_the_channel_goes_on(run: Runner) -> None:
    async def main() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
            plain.bind(("127.0.0.1", 0))
            port = plain.getsockname()[1]
        channel = await jackfield.connect(f"udp://127.0.0.1:{port}")
        await channel.send(b"is anybody there?")
        with pytest.raises(jackfield.ChannelLost) as caught:
            await channel.receive(5.0)
        assert caught.value.cause is jackfield.Cause.PORT_CLOSED
        assert f"nothing on this machine is bound to UDP port {port}" in str(caught.value)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
            plain.settimeout(5)
            plain.bind(("127.0.0.1", port))
            await channel.send(b"now?")
            await channel.flush(5.0)
            data, sender = plain.recvfrom(100)
            assert data == b"now?"
            plain.sendto(b"yes", sender)
            assert await channel.receive(5.0) == b"yes"
        channel.abort()

    run(main)


def test_nameless_unix_peers_are_heard_and_cannot_be_answered(run: Runner, directory: Path) -> None:
    async def main() -> None:
        async with jackfield.listen(f"unix+dgram://{directory}/d") as listener:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as plain:
                plain.sendto(b"who am I", f"{directory}/d")
                channel = await listener.accept(5.0)
                assert await channel.receive(5.0) == b"who am I"
                with pytest.raises(jackfield.NotSupported, match="name"):
                    await channel.send(b"hello")
            channel.abort()

    run(main)


def test_a_packet_too_large_for_udp_harms_nothing(run: Runner) -> None:
    async def main() -> None:
        async with jackfield.listen("udp://127.0.0.1:0") as listener:
            client = await jackfield.connect(listener.address)
            await client.send(b"one")
            channel = await listener.accept(5.0)
            with pytest.raises(jackfield.JackfieldError):
                await client.send(b"x" * 70_000)
                await client.flush(5.0)
                await client.receive(0.2)
            await client.send(b"two")
            assert [await channel.receive(5.0) for _ in range(2)] == [b"one", b"two"]
            client.abort()
            channel.abort()

    run(main)
