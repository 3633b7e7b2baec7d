"""Promises of docs/promises.md that no other battery shows."""

from __future__ import annotations

import asyncio
import socket

import pytest
from support import Runner, turns

import jackfield


def test_a_send_queues_when_it_is_called(run: Runner) -> None:
    """Awaiting is for room alone: what had room is queued, awaited or not, cancelled or not."""

    async def main() -> None:
        one, two = jackfield.pair(framing="u32", high_water=1_000)
        async with one, two:
            one.send(b"not awaited")
            assert await two.receive(5.0) == b"not awaited"
            task = asyncio.create_task(one.send(b"cancelled before it began"))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await two.receive(5.0) == b"cancelled before it began"
            await one.send(b"x" * 1_000_000)
            task = asyncio.create_task(one.send(b"no room"))
            await turns()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert len(await two.receive(5.0)) == 1_000_000
            with pytest.raises(jackfield.TimedOut):
                await two.receive(0.05)

    run(main)


def test_a_cancelled_request_leaves_its_answer(run: Runner) -> None:
    async def main() -> None:
        one, two = jackfield.pair(framing="line")
        async with one, two:
            asking = asyncio.create_task(one.request(b"first?"))
            assert await two.receive(5.0) == b"first?"
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            await two.send(b"to the first")
            assert await one.request(b"second?", timeout=5.0) == b"to the first"

    run(main)


def test_close_says_when_its_time_was_not_enough(run: Runner) -> None:
    async def main() -> None:
        one, two = jackfield.pair(framing="u32", high_water=2**24)
        await one.send(b"x" * 2**23)
        with pytest.raises(jackfield.TimedOut):
            await one.close(0.05)
        assert one.closed
        await one.close(0.05)
        with pytest.raises(jackfield.TruncatedFrame):
            await two.receive(5.0)
        await two.close(0.05)

    run(main)


def test_keepalive_is_on_at_both_ends(run: Runner) -> None:
    def keepalive(channel: jackfield.Channel) -> tuple[bool, int, int, int]:
        with socket.socket(fileno=socket.dup(channel.fileno())) as plain:
            on = plain.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            names = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            idle, interval, probes = (plain.getsockopt(socket.IPPROTO_TCP, name) for name in names)
        return bool(on), idle, interval, probes

    async def main() -> None:
        async with (
            jackfield.listen("tcp://127.0.0.1:0") as listener,
            jackfield.connect(listener.address) as client,
            await listener.accept(5.0) as server,
        ):
            assert keepalive(client) == keepalive(server) == (True, 60, 5, 3)
        async with (
            jackfield.listen("tcp://127.0.0.1:0?keepalive=7s/2s/4") as listener,
            jackfield.connect(listener.address, keepalive=None) as client,
            await listener.accept(5.0) as server,
        ):
            assert keepalive(server) == (True, 7, 2, 4)
            assert keepalive(client)[0] is False

    run(main)
