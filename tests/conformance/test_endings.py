"""How conversations end: half-close, end of stream, close, abort; on every transport that has an end."""

# ruff: noqa: PT012 - several sends until one fails

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

import pytest
from support import (
    STREAMS,
    TRANSPORTS,
    WITH_END,
    Runner,
    Transport,
    every,
    payload,
    raw_listener,
    raw_peer,
    reset,
    turns,
    two_ends,
)

import jackfield

pytestmark = pytest.mark.timeout(60)


@every(WITH_END)
def test_half_close_ends_one_direction_only(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        async with two_ends(transport, directory) as pair:
            for one, two in (pair, pair[::-1]):
                await one.send(b"last words")
                one.send_eof()
                one.send_eof()
                assert await two.receive(5.0) == b"last words"
                with pytest.raises(jackfield.EndOfStream):
                    await two.receive(5.0)
                with pytest.raises(jackfield.ChannelClosed):
                    await one.send(b"more")
                if two is pair[1]:
                    await two.send(b"still here")
                    assert await one.receive(5.0) == b"still here"

    run(main)


@every(WITH_END)
def test_end_of_stream_stays(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        async with two_ends(transport, directory) as (client, server):
            waiting = asyncio.create_task(server.receive(5.0))
            await turns()
            await client.close(5.0)
            with pytest.raises(jackfield.EndOfStream):
                await waiting
            for _ in range(3):
                with pytest.raises(EOFError):
                    await server.receive(5.0)
                with pytest.raises(jackfield.EndOfStream):
                    await server.receive_many(timeout=5.0)
                assert [message async for message in server] == []
            assert not server.closed

    run(main)


@every(WITH_END)
def test_half_close_after_a_long_queue(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        messages = [payload(20_000, seed) for seed in range(100)]
        async with two_ends(transport, directory, high_water=2**23) as (client, server):
            await client.send_many(messages)
            client.send_eof()
            assert [message async for message in server] == messages

    run(main)


@every(TRANSPORTS)
def test_close_is_idempotent_and_wakes_every_waiter(
    run: Runner, transport: Transport, directory: Path
) -> None:
    async def main() -> None:
        async with two_ends(transport, directory, high_water=1_000) as (client, _server):

            async def fill() -> None:
                while True:
                    await client.send(b"x" * 900)

            waiters: list[asyncio.Task[object]] = [
                asyncio.create_task(fill()),
                asyncio.create_task(fill()),
                asyncio.create_task(client.receive()),
            ]
            await turns(10)
            client.abort()
            client.abort()
            client.close()
            results = await asyncio.gather(*waiters, return_exceptions=True)
            assert all(isinstance(result, jackfield.ChannelClosed) for result in results), results
            await client.close(1.0)
            await client.close()
            client.abort()
            assert client.closed
            for call in (
                client.receive,
                client.receive_many,
                lambda: client.send(b"x"),
                lambda: client.send_many([b"x"]),
            ):
                with pytest.raises(jackfield.ChannelClosed):
                    await call()  # type: ignore[operator]
            with pytest.raises(jackfield.ChannelClosed):
                client.send_nowait(b"x")
            with pytest.raises(jackfield.ChannelClosed):
                client.send_eof()
            with pytest.raises(jackfield.ChannelClosed):
                client.fileno()
            with pytest.raises(jackfield.ChannelClosed):
                await anext(client)

    run(main)


@every([transport for transport in TRANSPORTS if transport.is_reliable])
def test_close_delivers_what_is_queued(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        messages = [payload(10_000, seed) for seed in range(200)]
        async with two_ends(transport, directory, high_water=2**22) as (client, server):
            await client.send_many(messages)
            closing = asyncio.create_task(client.close(10.0))
            received = [await server.receive(5.0) for _ in messages]
            await closing
            assert received == messages
            if transport.has_end:
                with pytest.raises(jackfield.EndOfStream):
                    await server.receive(5.0)

    run(main)


@every(STREAMS)
def test_close_gives_up_at_its_deadline(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        async with two_ends(transport, directory, high_water=2**24) as (client, _server):
            await client.send(b"x" * 2**23)
            async with asyncio.timeout(5.0):
                # The queue cannot leave: nobody reads.
                with contextlib.suppress(jackfield.TimedOut):
                    await client.close(0.05)
            assert client.closed

    run(main)


@every(WITH_END)
def test_unread_data_does_not_turn_a_close_into_a_reset(
    run: Runner, transport: Transport, directory: Path
) -> None:
    async def main() -> None:
        async with two_ends(transport, directory) as (client, server):
            await client.send(b"nobody reads this")
            await client.flush(5.0)
            await server.send(b"goodbye")
            await server.close(5.0)
            assert await client.receive(5.0) == b"goodbye"
            # Unix sockets say ECONNRESET when the peer left something unread; TCP ends in order.
            with pytest.raises((jackfield.EndOfStream, jackfield.ChannelLost)):
                await client.receive(5.0)

    run(main)


def test_abort_resets(run: Runner) -> None:
    async def main() -> None:
        async with raw_peer("line") as (channel, plain):
            await channel.send(b"x")
            channel.abort()
            plain.settimeout(5)
            with pytest.raises(ConnectionResetError):
                while plain.recv(100):
                    pass

    run(main)


def test_a_reset_is_a_lost_channel(run: Runner) -> None:
    async def main() -> None:
        async with raw_peer("line") as (channel, plain):
            waiting = asyncio.create_task(channel.receive(5.0))
            plain.sendall(b"one\n")
            assert await waiting == b"one"
            waiting = asyncio.create_task(channel.receive(5.0))
            await turns()
            reset(plain)
            with pytest.raises(jackfield.ChannelLost) as caught:
                await waiting
            assert isinstance(caught.value, ConnectionResetError)
            assert caught.value.peer == channel.peer
            for _ in range(2):
                with pytest.raises(jackfield.ChannelLost):
                    await channel.receive(5.0)
                with pytest.raises(jackfield.ChannelLost):
                    await channel.send(b"x")
            with pytest.raises(jackfield.ChannelLost):
                async for _ in channel:
                    pass

    run(main)


def test_a_waiting_sender_hears_of_a_reset(run: Runner) -> None:
    async def main() -> None:
        async with raw_peer(high_water=10_000) as (channel, plain):

            async def fill() -> None:
                while True:
                    await channel.send(b"x" * 5_000)

            tasks = [asyncio.create_task(fill()), asyncio.create_task(fill())]
            await asyncio.sleep(0.01)
            flushing = asyncio.create_task(channel.flush())
            await turns()
            assert not any(task.done() for task in (*tasks, flushing))
            reset(plain)
            results = await asyncio.gather(*tasks, flushing, return_exceptions=True)
            assert all(isinstance(result, jackfield.ChannelLost) for result in results), results

    run(main)


@pytest.mark.parametrize("family", [socket.AF_UNIX, socket.AF_INET], ids=["unix", "tcp"])
def test_last_words_are_heard_after_a_send_failed(run: Runner, family: int) -> None:
    async def main() -> None:
        with raw_listener(family) as (listening, address):
            channel = await jackfield.connect(address, framing="line")
            plain, _ = listening.accept()
            plain.sendall(b"bye\nand thanks\n")
            plain.close()
            with contextlib.suppress(jackfield.ChannelLost):
                for _ in range(3):
                    await channel.send(b"x")
                    await channel.flush(5.0)
                    await asyncio.sleep(0.01)
            assert await channel.receive(5.0) == b"bye"
            assert await channel.receive(5.0) == b"and thanks"
            with pytest.raises((jackfield.EndOfStream, jackfield.ChannelLost)):
                await channel.receive(5.0)
            channel.abort()

    run(main)


def test_a_reset_that_a_send_met_first_is_no_end(run: Runner) -> None:
    async def main() -> None:
        async with raw_peer("line") as (channel, plain):
            plain.sendall(b"last words\nand th")
            reset(plain)
            with pytest.raises(jackfield.ChannelLost):
                for _ in range(10):
                    await channel.send(b"x")
                    await channel.flush(5.0)
            assert await channel.receive(5.0) == b"last words"
            for _ in range(2):
                with pytest.raises(jackfield.ChannelLost):
                    await channel.receive(5.0)
                with pytest.raises(jackfield.ChannelLost):
                    await channel.send(b"x")

    run(main)


def test_flush_of_an_aborted_channel_is_no_success(run: Runner) -> None:
    async def main() -> None:
        one, two = jackfield.pair(high_water=2**24)
        await one.send(b"x" * 2**23)
        flushing = asyncio.create_task(one.flush())
        await turns()
        one.abort()
        with pytest.raises(jackfield.ChannelClosed):
            await flushing
        two.abort()

    run(main)


@every(WITH_END)
def test_the_context_manager_closes_and_aborts(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        async with two_ends(transport, directory) as (client, server):
            async with client:
                await client.send(b"one")
            assert client.closed
            assert await server.receive(5.0) == b"one"
            with pytest.raises(KeyError):
                async with server:
                    raise KeyError
            assert server.closed

    run(main)


def test_an_unclosed_channel_warns_and_is_aborted(run: Runner) -> None:
    async def main() -> None:
        ends = list(jackfield.pair())
        with pytest.warns(ResourceWarning, match="dropped"):
            ends.pop(0)
        with pytest.raises((jackfield.EndOfStream, jackfield.ChannelLost)):
            await ends[0].receive(5.0)
        ends[0].abort()

    run(main)
