"""Every call of a channel: what it gives, how it waits, what it refuses."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest
from support import STREAMS, TRANSPORTS, Chain, Runner, Transport, eventually, every, payload, turns, two_ends

import jackfield

pytestmark = pytest.mark.timeout(60)


@every(TRANSPORTS)
def test_receive_many_gives_what_is_there(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        async with two_ends(transport, directory) as (client, server):
            sent, received = Chain(), Chain()
            await client.send_many(sent.next() for _ in range(50))
            await client.flush(5.0)
            first = await server.receive_many(7, timeout=5.0)
            assert 1 <= len(first) <= 7
            for message in first:
                received.check(message)
            while received.count < 50:
                for message in await server.receive_many(timeout=5.0):
                    received.check(message)
            started = time.monotonic()
            with pytest.raises(jackfield.TimedOut):
                await server.receive_many(timeout=0.02)
            assert time.monotonic() - started < 10

    run(main)


@every(TRANSPORTS)
def test_timeouts(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        async with two_ends(transport, directory) as (client, server):
            for timeout in (0.0, 0.01, 0.05):
                started = time.monotonic()
                with pytest.raises(jackfield.TimedOut) as caught:
                    await server.receive(timeout=timeout)
                assert timeout <= time.monotonic() - started < timeout + 10.0
                assert isinstance(caught.value, TimeoutError)
                assert caught.value.timeout == timeout
            await client.send(b"x")
            await client.flush(5.0)
            await turns()
            assert await server.receive(timeout=5.0) == b"x"
            # A deadline that was met does not strike later.
            waiting = asyncio.create_task(server.receive(timeout=0.5))
            await turns()
            await client.send(b"y")
            assert await waiting == b"y"
            waiting = asyncio.create_task(server.receive(timeout=30.0))
            await asyncio.sleep(0.6)  # past that deadline
            assert not waiting.done()
            await client.send(b"z")
            assert await waiting == b"z"

    run(main)


@every(TRANSPORTS)
def test_a_second_receiver_is_refused(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        async with two_ends(transport, directory) as (client, server):
            waiting = asyncio.create_task(server.receive())
            await turns()
            for call in (server.receive(), server.receive(timeout=1.0), server.receive_many(), anext(server)):
                with pytest.raises(jackfield.AlreadyWaiting):
                    await call
            await client.send(b"for the first")
            assert await waiting == b"for the first"
            await client.send(b"for anyone")
            assert await server.receive(5.0) == b"for anyone"

    run(main)


@every(STREAMS)
def test_receive_exactly_and_until(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        async with two_ends(transport, directory, framing=None) as (client, server):
            big = payload(300_000).replace(b"\n", b"-")
            sending = asyncio.create_task(
                client.send_many([b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", big, b"\nrest", b"tail"])
            )
            assert await server.receive_until(b"\r\n", timeout=5.0) == b"GET / HTTP/1.1"
            assert await server.receive_until(b"\r\n", timeout=5.0) == b"Host: x"
            assert await server.receive_exactly(2, timeout=5.0) == b"\r\n"
            assert await server.receive_exactly(100_000, timeout=5.0) == big[:100_000]
            assert await server.receive_until(b"\n", timeout=5.0) == big[100_000:]
            assert await server.receive_exactly(3, timeout=5.0) == b"res"
            await sending
            rest = b""
            while len(rest) < 5:
                rest += await server.receive(5.0)
            assert rest == b"ttail"
            await client.send(b"half")
            client.send_eof()
            with pytest.raises(jackfield.TruncatedFrame):
                await server.receive_exactly(5, timeout=5.0)

    run(main)


def test_a_framed_channel_refuses_to_be_divided(run_here: Runner) -> None:
    async def main() -> None:
        one, two = jackfield.pair(framing="line")
        async with one, two:
            for call in (lambda: one.receive_exactly(3), lambda: one.receive_until(b"x")):
                with pytest.raises(jackfield.NotSupported):
                    await call()
            with pytest.raises(ValueError, match="at least 1"):
                one.receive_exactly(0)

    run_here(main)


def test_dividing_waits_for_the_await_and_for_its_turn(run: Runner) -> None:
    async def main() -> None:
        one, two = jackfield.pair()
        async with one, two:
            await one.send(b"hello\nworld")
            two.receive_until(b"\n")
            assert await two.receive(5.0) == b"hello\nworld"
            waiting = asyncio.create_task(two.receive())
            await turns()
            with pytest.raises(jackfield.AlreadyWaiting):
                await two.receive_exactly(2)
            await one.send(b"whole")
            assert await waiting == b"whole"

    run(main)


@every(TRANSPORTS)
def test_request(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        async with two_ends(transport, directory) as (client, server):

            async def shout() -> None:
                async for message in server:
                    await server.send(message.upper())

            serving = asyncio.create_task(shout())
            for word in (b"hello", b"x" * 50_000, b"again"):
                assert await client.request(word, timeout=5.0) == word.upper()
            assert await client.request(b"no timeout") == b"NO TIMEOUT"
            serving.cancel()
            await asyncio.wait([serving])
            started = time.monotonic()
            with pytest.raises(jackfield.TimedOut):
                await client.request(b"into the void", timeout=0.05)
            assert time.monotonic() - started < 10.0

    run(main)


def test_what_becomes_of_a_request_that_ends_early(run: Runner) -> None:
    async def main() -> None:
        one, two = jackfield.pair(framing="u32", high_water=1_000)
        async with two, one:
            never_awaited = one.request(b"never awaited")
            never_awaited.close()
            asked = asyncio.create_task(one.request(b"asked"))
            assert await two.receive(5.0) == b"asked"
            with pytest.raises(jackfield.AlreadyWaiting):
                await one.request(b"asked meanwhile")
            assert await two.receive(5.0) == b"asked meanwhile"
            asked.cancel()
            await asyncio.wait([asked])
            await two.send(b"late")
            assert await one.receive(5.0) == b"late", "a cancelled request has taken nothing"
            await one.send(b"x" * 900_000)
            with pytest.raises(jackfield.TimedOut):
                await one.request(b"y" * 900, timeout=0.01)
            waiting = asyncio.create_task(one.request(b"z" * 900))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
            assert len(await two.receive(5.0)) == 900_000
            await one.send(b"nothing was queued before")
            assert await two.receive(5.0) == b"nothing was queued before"

    run(main)


def test_the_timeout_of_a_request_is_for_both_halves(run: Runner) -> None:
    async def main() -> None:
        one, two = jackfield.pair(framing="u32", high_water=1_000)
        async with two, one:
            await one.send(b"x" * 900_000)
            started = time.monotonic()
            request = asyncio.create_task(one.request(b"y" * 900, timeout=1.0))
            await asyncio.sleep(0.8)
            await two.receive(5.0)
            await two.receive(5.0)
            with pytest.raises(jackfield.TimedOut):
                await request
            # With a time-out for each half it would be 1.8 s at least.
            assert 0.9 <= time.monotonic() - started < 1.8

    run(main)


@every(TRANSPORTS)
def test_statistics_count_everything(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        before = time.time()
        async with two_ends(transport, directory) as (client, server):
            start, there = client.statistics(), server.statistics()
            assert before - 1 <= start.since <= time.time() + 1
            if transport.has_end:
                assert start.last_received is None
                assert start.last_sent is None
                assert start.bytes_out == start.messages_out == 0
            header = 0 if transport.keeps_boundaries else 4
            for size in (0, 1, 1_000, 20_000):
                await client.send(b"x" * size)
                await server.receive(5.0)
            out, came = client.statistics(), server.statistics()
            assert out.messages_out - start.messages_out == 4
            assert out.bytes_out - start.bytes_out == 21_001 + 4 * header
            assert came.messages_in - there.messages_in == 4
            assert came.bytes_in - there.bytes_in == 21_001 + 4 * header
            assert out.queued_bytes == out.queued_messages == out.dropped_messages == 0
            assert out.last_sent is not None
            assert came.last_received is not None
            assert abs(time.time() - out.last_sent) < 5
            assert abs(time.time() - came.last_received) < 5

    run(main)


@every(TRANSPORTS)
def test_the_five_facts(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        async with two_ends(transport, directory) as (client, server):
            for channel in (client, server):
                assert channel.protocol == transport.scheme
                assert channel.local.scheme == channel.peer.scheme == transport.scheme
                assert os.fstat(channel.fileno())
                assert channel.options.high_water == 2**20
                assert jackfield.Address.parse(str(channel.local)) == channel.local
                assert str(channel.id) in repr(channel)
            assert client.id != server.id
            assert (
                (str(client.framing) == "u32") if not transport.keeps_boundaries else client.framing is None
            )
            if transport.name != "pair":
                assert client.peer.path == server.local.path
                assert client.peer.port == server.local.port
                assert client.local.port == server.peer.port
            if transport.scheme in ("tcp", "udp"):
                assert client.local.host == server.peer.host
                assert client.credentials is None
            elif transport.scheme in ("unix", "unix+seqpacket"):
                assert server.credentials == (os.getpid(), os.getuid(), os.getgid())
                assert server.credentials is not None
                assert server.credentials.pid == os.getpid()
            local, peer = client.local, client.peer
            client.abort()
            await eventually(lambda: client.closed)
            await turns(5)
            assert (client.local, client.peer) == (local, peer)
            assert client.statistics().messages_in == 0

    run(main)


def test_messages_over_the_maximum_are_refused_on_both_ends(run: Runner) -> None:
    async def main() -> None:
        for transport in TRANSPORTS:
            if transport.name != "pair":
                continue
            one, two = jackfield.pair(framing="u32", max_message=1_000)
            async with one, two:
                with pytest.raises(jackfield.MessageTooLarge) as caught:
                    await one.send(b"x" * 1_001)
                assert isinstance(caught.value, ValueError)
                await one.send(b"x" * 1_000)
                assert await two.receive(5.0) == b"x" * 1_000

    run(main)


@every([transport for transport in TRANSPORTS if transport.keeps_boundaries])
def test_packets_over_the_maximum_are_refused(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        async with two_ends(transport, directory, max_message=1_000) as (client, server):
            with pytest.raises(jackfield.MessageTooLarge):
                await client.send(b"x" * 1_001)
            await client.send(b"x" * 1_000)
            assert await server.receive(5.0) == b"x" * 1_000

    run(main)


@every([transport for transport in TRANSPORTS if transport.keeps_boundaries])
def test_packets_need_no_framing(run_here: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        with pytest.raises(jackfield.NotSupported, match="boundaries"):
            await jackfield.listen(transport.address(directory), framing="line")

    run_here(main)


def test_send_many_takes_any_iterable_and_checks_it_first(run: Runner) -> None:
    async def main() -> None:
        one, two = jackfield.pair(framing="u32")
        async with one, two:
            await one.send_many([])
            await one.send_many(iter([b"a", bytearray(b"b")]))
            await one.send_many(b"%d" % number for number in range(3))
            assert [await two.receive(5.0) for _ in range(5)] == [b"a", b"b", b"0", b"1", b"2"]
            with pytest.raises(TypeError):
                await one.send_many([b"not sent", "text"])  # type: ignore[list-item]
            with pytest.raises(jackfield.TimedOut):
                await two.receive(0.02)

    run(main)
