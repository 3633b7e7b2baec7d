"""Peers that say nothing, read nothing, stop or die; handlers that raise. Memory is bounded, others go on."""


# ruff: noqa: PT012 - several sends until one fails
# ruff: noqa: SIM117 - the order of ends is the point

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
import textwrap

import pytest
from support import Runner, eventually, raw_connect, raw_peer, reset, resident_bytes, turns

import jackfield

pytestmark = pytest.mark.timeout(60)


async def echo(channel: jackfield.Channel) -> None:
    async for message in channel:
        await channel.send(message)


def test_silent_peers_cost_little_and_disturb_nobody(run: Runner) -> None:
    async def main() -> None:
        async with jackfield.listen("tcp://127.0.0.1:0", framing="line") as listener, listener.serving(echo):
            silent = [raw_connect(listener.address) for _ in range(200)]
            async with jackfield.connect(listener.address, framing="line") as good:
                for _ in range(50):
                    assert await good.request(b"x", timeout=5.0) == b"x"
            assert listener.statistics().clients >= 200
            for plain in silent[::2]:
                plain.close()
            for plain in silent[1::2]:
                reset(plain)
            await eventually(lambda: listener.statistics().clients == 0)

    run(main)


@pytest.mark.parametrize("policy", list(jackfield.WhenFull))
def test_a_peer_that_reads_nothing_costs_bounded_memory(run: Runner, policy: jackfield.WhenFull) -> None:
    high = 2**18

    async def main() -> None:
        async with raw_peer("u32", high_water=high, when_full=policy) as (channel, _):
            before = resident_bytes()
            message = b"x" * 10_000
            for _ in range(5_000):
                try:
                    await channel.send(message, timeout=0.02)
                except (jackfield.QueueFull, jackfield.ChannelLost):
                    await asyncio.sleep(0)
                except jackfield.TimedOut:
                    break
                assert channel.statistics().queued_bytes <= high
            assert resident_bytes() - before < 16 * 2**20

    run(main)


def test_a_group_with_members_that_read_nothing_costs_bounded_memory(run: Runner) -> None:
    high = 2**18

    async def main() -> None:
        async with (
            jackfield.Group() as group,
            jackfield.listen("tcp://127.0.0.1:0", framing="u32", high_water=high) as listener,
        ):
            listener.into(group)
            stuck = [raw_connect(listener.address) for _ in range(10)]
            while len(group) < 10:
                await group.receive(5.0)
            before = resident_bytes()
            message = b"x" * 10_000
            for _ in range(3_000):
                await group.broadcast(message)
                assert all(group.statistics(member).queued_bytes <= high for member in group.members()[:2])
            await turns(5)
            grown = resident_bytes() - before
            assert grown < 10 * high + 16 * 2**20, f"{grown / 2**20:.0f} MiB"
            assert group.dropped_messages > 0
            for plain in stuck:
                plain.close()
            group.abort()

    run(main)


def test_what_a_peer_sends_and_nobody_receives_stays_in_the_kernel(run: Runner) -> None:
    async def main() -> None:
        async with raw_peer("u32") as (channel, plain):
            before = resident_bytes()
            plain.setblocking(False)
            data = (b"\0\0\x27\x10" + b"x" * 10_000) * 100
            with contextlib.suppress(BlockingIOError):
                for _ in range(200):
                    plain.send(data)
                    await asyncio.sleep(0)
            await asyncio.sleep(0.02)
            assert resident_bytes() - before < 16 * 2**20
            assert channel.statistics().bytes_in <= 2**18

    run(main)


def test_reset_while_both_sides_are_busy(run: Runner) -> None:
    async def main() -> None:
        for _ in range(20):
            async with raw_peer("u32", high_water=50_000) as (channel, plain):

                async def send_all(channel: jackfield.Channel = channel) -> None:
                    while True:
                        await channel.send(b"x" * 5_000)

                async def receive_all(channel: jackfield.Channel = channel) -> None:
                    async for _ in channel:
                        pass

                tasks = [asyncio.create_task(send_all()), asyncio.create_task(receive_all())]
                plain.sendall(b"\0\0\0\5hello" * 100 + b"\0\0")
                await turns(5)
                reset(plain)
                results = await asyncio.gather(*tasks, return_exceptions=True)
                assert [type(result) for result in results] == [jackfield.ChannelLost] * 2

    run(main)


def test_a_handler_that_raises_aborts_its_channel_only(run: Runner, caplog: pytest.LogCaptureFixture) -> None:
    async def handler(channel: jackfield.Channel) -> None:
        async for message in channel:
            if message == b"raise":
                raise ZeroDivisionError("on purpose")
            await channel.send(message)

    async def main() -> None:
        async with (
            jackfield.listen("tcp://127.0.0.1:0", framing="line") as listener,
            listener.serving(handler),
        ):
            async with jackfield.connect(listener.address, framing="line") as good:
                assert await good.request(b"one", timeout=5.0) == b"one"
                async with jackfield.connect(listener.address, framing="line") as bad:
                    await bad.send(b"raise")
                    with pytest.raises(jackfield.ChannelLost):
                        await bad.receive(5.0)
                assert await good.request(b"two", timeout=5.0) == b"two"

    with caplog.at_level(logging.ERROR, logger="jackfield"):
        run(main)
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]


PEER = """
    import sys, jackfield
    async def main():
        async with jackfield.connect(sys.argv[1], framing="u32") as channel:
            print("ready", flush=True)
            async for message in channel:
                await channel.send(message)
    jackfield.run(main)
"""


@contextlib.asynccontextmanager
async def peer_process(address: jackfield.Address):  # type: ignore[no-untyped-def]
    """A process of its own that echoes."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        textwrap.dedent(PEER),
        str(address),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), 15.0) == b"ready\n"
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@pytest.mark.parametrize("scheme", ["tcp", "unix", "unix+seqpacket"])
def test_kill_9_of_a_peer(run: Runner, directory: os.PathLike[str], scheme: str) -> None:
    async def main() -> None:
        address = "tcp://127.0.0.1:0" if scheme == "tcp" else f"{scheme}://{directory}/s"
        framing = None if scheme == "unix+seqpacket" else "u32"
        code_framing = "" if framing is None else ', framing="u32"'
        async with jackfield.listen(address, framing=framing) as listener:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                textwrap.dedent(PEER).replace(', framing="u32"', code_framing),
                str(listener.address),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            channel = await listener.accept(15.0)
            assert await channel.request(b"hello", timeout=15.0) == b"hello"
            waiting = asyncio.create_task(channel.receive(10.0))
            await turns()
            process.send_signal(signal.SIGKILL)
            with pytest.raises((jackfield.EndOfStream, jackfield.ChannelLost)):
                await waiting
            await process.wait()
            with pytest.raises(jackfield.ChannelLost):
                for _ in range(100):
                    await channel.send(b"into the void")
                    await channel.flush(5.0)
                    await asyncio.sleep(0.001)
            channel.abort()

    run(main)


def test_a_stopped_peer_holds_up_its_own_channel_only(run: Runner) -> None:
    async def main() -> None:
        async with jackfield.listen("tcp://127.0.0.1:0", framing="u32", high_water=2**18) as listener:
            async with peer_process(listener.address) as stopped:
                held = await listener.accept(5.0)
                async with peer_process(listener.address):
                    other = await listener.accept(5.0)
                    for channel in (held, other):
                        assert await channel.request(b"hello", timeout=20.0) == b"hello"
                    stopped.send_signal(signal.SIGSTOP)
                    sent = 0
                    with contextlib.suppress(jackfield.TimedOut):
                        while True:
                            await held.send(b"%050000d" % sent, timeout=0.3)
                            sent += 1
                    for _ in range(20):
                        assert await other.request(b"x", timeout=20.0) == b"x"
                    with pytest.raises(jackfield.TimedOut):
                        await held.flush(0.02)
                    stopped.send_signal(signal.SIGCONT)
                    for number in range(sent):
                        assert await held.receive(20.0) == b"%050000d" % number
                    assert held.statistics().queued_bytes == 0
                    for channel in (held, other):
                        channel.abort()

    run(main)
