"""Datagram endpoints: one socket, any peer, with boundaries, order and losses as promised; UDP and Unix."""

# ruff: noqa: PT012 - several sends until one fails

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest
from support import TRANSPORTS, Chain, Runner, Transport, eventually, every, turns

import jackfield

pytestmark = pytest.mark.timeout(60)

DATAGRAMS = [transport for transport in TRANSPORTS if not transport.has_end]
UDP = next(transport for transport in DATAGRAMS if transport.name == "udp")


@every(DATAGRAMS)
def test_each_datagram_says_where_it_comes_from(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        async with (
            jackfield.bind(transport.address(directory)) as one,
            jackfield.bind(transport.address(directory)) as two,
            jackfield.bind(transport.address(directory)) as three,
        ):
            await two.send_to(b"from two", one.local)
            await three.send_to(b"from three", str(one.local))
            got = {(await one.receive_from(5.0))[:2] for _ in range(2)}
            assert got == {(b"from two", two.local), (b"from three", three.local)}
            for data, peer in got:
                await one.send_to(b"back " + data, peer)
            for endpoint, text in ((two, b"back from two"), (three, b"back from three")):
                answer = await endpoint.receive_from(5.0)
                assert answer == jackfield.Datagram(text, one.local, None, None)
                assert (answer.data, answer.peer) == (text, one.local)

    run(main)


@every(DATAGRAMS)
def test_boundaries_are_kept_in_every_batch(run: Runner, transport: Transport, directory: Path) -> None:
    sizes = [0, 0, 1, 7, 1200, 1200, 1200, 1200, 300, 1200, 1300, 0, 1300, 1300, 9000, 9000, 1, 1, 1, 0]

    async def main() -> None:
        async with (
            jackfield.bind(transport.address(directory), receive_buffer="1M") as one,
            jackfield.bind(transport.address(directory), send_buffer="1M") as two,
        ):
            messages = [bytes([index]) * size for index, size in enumerate(sizes)]
            await two.send_many(messages, one.local)
            assert [(await one.receive_from(5.0)).data for _ in messages] == messages
            await two.send_many_to([(message, one.local) for message in messages])
            got: list[jackfield.Datagram] = []
            while len(got) < len(messages):
                got += await one.receive_many_from(timeout=5.0)
            assert [datagram.data for datagram in got] == messages
            assert {datagram.peer for datagram in got} == {two.local}
            await two.send_many(messages, one.local)
            got = []
            while len(got) < len(messages):
                batch = await one.receive_many_from(3, timeout=5.0)
                assert 1 <= len(batch) <= 3
                got += batch
            assert [datagram.data for datagram in got] == messages

    run(main)


@every(DATAGRAMS)
def test_iterating_ends_with_close(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        async with (
            jackfield.bind(transport.address(directory)) as one,
            jackfield.bind(transport.address(directory)) as two,
        ):
            got = []

            async def read() -> None:
                async for datagram in one:
                    got.append(datagram.data)

            reader = asyncio.create_task(read())
            for number in range(100):
                await two.send_to(b"%d" % number, one.local)
                await eventually(lambda wanted=number: len(got) > wanted)
            await one.close()
            await reader
            assert got == [b"%d" % number for number in range(100)]
            with pytest.raises(jackfield.ChannelClosed):
                await one.receive_from(5.0)
            with pytest.raises(jackfield.ChannelClosed):
                await one.send_to(b"late", two.local)
            assert one.closed
            assert one.statistics().messages_in == 100

    run(main)


@every(DATAGRAMS)
def test_cancelled_receives_take_nothing(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        async with (
            jackfield.bind(transport.address(directory)) as one,
            jackfield.bind(transport.address(directory)) as two,
        ):
            sent, received = Chain(), Chain()
            for number in range(300):
                waiting = asyncio.create_task(one.receive_from())
                await turns(number % 3)
                await two.send_to(sent.next(number % 50), one.local)
                if number % 2:
                    await turns(number % 5)
                waiting.cancel()
                try:
                    datagram = await waiting
                except asyncio.CancelledError:
                    datagram = await one.receive_from(5.0)
                received.check(datagram.data)

    run(main)


@every(DATAGRAMS)
def test_timeouts_and_a_second_receiver(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        async with jackfield.bind(transport.address(directory)) as one:
            with pytest.raises(jackfield.TimedOut):
                await one.receive_from(0.01)
            waiting = asyncio.create_task(one.receive_many_from())
            await turns()
            with pytest.raises(jackfield.AlreadyWaiting):
                await one.receive_from(1.0)
            await one.send_to(b"to itself", one.local)
            assert [datagram.data for datagram in await waiting] == [b"to itself"]

    run(main)


@every(DATAGRAMS)
def test_a_channel_talks_to_an_endpoint(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        async with (
            jackfield.bind(transport.address(directory)) as endpoint,
            jackfield.connect(endpoint.local) as channel,
        ):
            messages = [b"%05d" % number + b"." * 1000 for number in range(100)]
            await channel.send_many(messages)
            got: list[jackfield.Datagram] = []
            while len(got) < 100:
                got += await endpoint.receive_many_from(timeout=5.0)
            assert [datagram.data for datagram in got] == messages
            assert {datagram.peer for datagram in got} == {channel.local}
            # The same peer is the same object: nothing is made for each datagram.
            assert len({id(datagram.peer) for datagram in got}) == 1
            await endpoint.send_many(messages, got[0].peer)
            answers: list[bytes] = []
            while len(answers) < 100:
                answers += await channel.receive_many(timeout=5.0)
            assert answers == messages

    run(main)


@every([UDP])
def test_what_the_kernel_drops_is_counted(run: Runner, transport: Transport, directory: Path) -> None:
    sent = 500

    async def main() -> None:
        async with (
            jackfield.bind(transport.address(directory), receive_buffer=4096) as small,
            jackfield.connect(small.local) as channel,
        ):
            for number in range(sent):
                await channel.send(b"%d" % number)
                await channel.flush(5.0)
            # UDP over the loopback interface is delivered or dropped within the call.
            dropped = small.statistics().dropped_by_kernel
            assert 0 < dropped < sent
            got: list[jackfield.Datagram] = []
            while len(got) < sent - dropped:
                got += await small.receive_many_from(timeout=5.0)
            with pytest.raises(jackfield.TimedOut):
                await small.receive_from(0.01)
            numbers = [int(datagram.data) for datagram in got]
            assert numbers == sorted(numbers)
        assert small.statistics().dropped_by_kernel == dropped

        async with jackfield.listen(transport.address(directory), receive_buffer=4096) as listener:
            plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            with plain:
                plain.connect(("127.0.0.1", listener.address.port or 0))
                for _ in range(sent):
                    plain.send(b"x" * 100)
            dropped = listener.statistics().dropped_by_kernel
            assert 0 < dropped < sent
            peer = await listener.accept(5.0)
            await eventually(lambda: peer.statistics().bytes_in == 100 * (sent - dropped))
            peer.abort()

    run(main)


@every([UDP])
def test_a_channel_counts_what_the_kernel_drops(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
            plain.bind(("127.0.0.1", 0))
            address = f"udp://127.0.0.1:{plain.getsockname()[1]}"
            async with jackfield.connect(address, receive_buffer=4096) as channel:
                assert channel.statistics().dropped_by_kernel == 0
                for _ in range(500):
                    plain.sendto(b"x" * 100, ("127.0.0.1", channel.local.port or 0))
                dropped = channel.statistics().dropped_by_kernel
                assert 0 < dropped < 500
                got = 0
                while got < 500 - dropped:
                    got += len(await channel.receive_many(timeout=5.0))

    run(main)


@every([UDP])
def test_an_endpoint_outlives_refusals(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
            plain.bind(("127.0.0.1", 0))
            port = plain.getsockname()[1]
        async with jackfield.bind(transport.address(directory)) as one:
            for _ in range(10):
                await one.send_to(b"nobody is there", f"udp://127.0.0.1:{port}")
                await one.flush(5.0)
            await one.send_to(b"to itself", one.local)
            assert (await one.receive_from(5.0)).data == b"to itself"

    run(main)


@every([UDP])
def test_any_address_speaks_both_families(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        async with jackfield.bind("udp://:0") as both:
            port = both.local.port
            for host in ("127.0.0.1", "[::1]"):
                async with jackfield.connect(f"udp://{host}:{port}") as channel:
                    await channel.send(b"hello")
                    datagram = await both.receive_from(5.0)
                    assert datagram.peer == channel.local
                    await both.send_to(b"hello yourself", datagram.peer)
                    assert await channel.receive(5.0) == b"hello yourself"

    run(main)


@every([UDP])
def test_where_nothing_can_be_sent(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        async with jackfield.bind(transport.address(directory)) as one:
            with pytest.raises(jackfield.NotSupported, match="another transport"):
                await one.send_to(b"x", "tcp://127.0.0.1:1")
            with pytest.raises(jackfield.NotSupported, match="IPv6"):
                await one.send_to(b"x", "udp://[::1]:1")
            with pytest.raises(jackfield.NotSupported, match="name server"):
                await one.send_to(b"x", "udp://localhost:1")
            with pytest.raises(jackfield.MessageTooLarge):
                await one.send_to(bytes(65_508), one.local)
            own = await one.resolve(f"udp://localhost:{one.local.port}")
            await one.send_to(bytes(65_507), own)
            assert (await one.receive_from(5.0)).data == bytes(65_507)
        with pytest.raises(jackfield.NotSupported, match="endpoint"):
            jackfield.bind("tcp://127.0.0.1:0")
        async with jackfield.bind(transport.address(directory)) as holder:
            with pytest.raises(jackfield.AddressInUse, match=str(os.getpid())):
                await jackfield.bind(holder.local)

    run(main)


@every(DATAGRAMS)
def test_longer_than_max_message_is_an_error_once(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        async with (
            jackfield.bind(transport.address(directory), max_message=1000) as one,
            jackfield.bind(transport.address(directory)) as two,
        ):
            for size in (1000, 1001, 1001, 1000):
                await two.send_to(bytes(size), one.local)
            await two.flush(5.0)
            assert len((await one.receive_from(5.0)).data) == 1000
            for _ in range(2):
                with pytest.raises(jackfield.MessageTooLarge, match="1001"):
                    await one.receive_from(5.0)
            assert len((await one.receive_many_from(timeout=5.0))[0].data) == 1000

    run(main)


@every(DATAGRAMS)
def test_datagrams_put_aside_for_another_socket_are_kept(
    run: Runner, transport: Transport, directory: Path
) -> None:
    async def main() -> None:
        async with (
            jackfield.bind(transport.address(directory)) as one,
            jackfield.bind(transport.address(directory)) as two,
            jackfield.bind(transport.address(directory)) as source,
        ):
            for endpoint in (one, two):
                await source.send_many([b"%d" % number for number in range(8)], endpoint.local)
            await source.flush(5.0)
            for number in range(8):
                for endpoint in (one, two):
                    datagram = await endpoint.receive_from(5.0)
                    assert datagram[:2] == (b"%d" % number, source.local)

    run(main)


@every(DATAGRAMS)
def test_a_full_queue_does_what_was_chosen(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        async with jackfield.bind(transport.address(directory), high_water=1000, when_full="reject") as one:
            one.send_to_nowait(bytes(900), one.local)
            with pytest.raises(jackfield.QueueFull):
                for _ in range(10_000):
                    one.send_to_nowait(bytes(900), one.local)
            one.abort()

    if transport.name == "dgram":  # UDP never makes its sender wait on loopback
        run(main)
