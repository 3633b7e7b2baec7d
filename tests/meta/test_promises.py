"""Promises of docs/promises.md that no other battery shows."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

import pytest
from support import Runner, turns

import jackfield

SOMAXCONN = int(Path("/proc/sys/net/core/somaxconn").read_text())


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


def test_the_kernel_has_the_defaults(run: Runner) -> None:
    """What the table of limits says of sockets is what the sockets say."""

    async def main() -> None:
        async with jackfield.listen("tcp://127.0.0.1:0") as listener:
            client = await jackfield.connect(listener.address)
            server = await listener.accept(5.0)
            for channel in (client, server):
                with socket.socket(fileno=os.dup(channel.fileno())) as plain:
                    assert plain.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
            with socket.socket(fileno=os.dup(listener.fileno())) as plain:
                assert plain.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 0
                # Of a listening socket tcpi_sacked is the longest queue (tcp_get_info in the kernel).
                info = plain.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
                longest = int.from_bytes(info[28:32], sys.byteorder)
            assert longest == min(4096, SOMAXCONN)
            client.abort()
            server.abort()

    run(main)
