"""The faulty links of ``jackfield.testing`` in real time, on every loop: each fault as a channel sees it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

import pytest
from support import STREAMS, Chain, Runner, Transport, eventually, every

import jackfield
from jackfield.testing import Faults, FaultyLink, FaultyProxy, faulty_pair, memory_pair

pytestmark = pytest.mark.timeout(90)


def test_a_memory_pair_is_a_pair(run: Runner) -> None:
    async def main() -> None:
        one, two = memory_pair(framing="line")
        async with one, two:
            await one.send(b"hello")
            assert await two.receive(5.0) == b"hello"

    run(main)


@pytest.mark.parametrize(
    "faults",
    [
        Faults(),
        Faults(split=1),
        Faults(split=5, coalesce=0.5, delay=(0.0, 0.002)),
        Faults(split=700, stall=(0.05, 0.01), buffer=300),
    ],
    ids=str,
)
def test_what_is_split_delayed_and_stalled_arrives(run: Runner, faults: Faults) -> None:
    async def main() -> None:
        async with FaultyLink(faults, seed=1, framing="u32", high_water=2_000) as link:

            async def send(channel: jackfield.Channel) -> None:
                sent = Chain()
                for size in [0, 1, 300, 20] * 5:
                    await channel.send(sent.next(size), timeout=20.0)
                channel.send_eof()

            async def receive(channel: jackfield.Channel) -> int:
                received = Chain()
                async for message in channel:
                    received.check(message)
                return received.count

            results = await asyncio.gather(
                send(link.left), send(link.right), receive(link.left), receive(link.right)
            )
            assert results[2:] == [20, 20]
            await eventually(lambda: link.is_over, "both directions have ended")
            assert link.carried > 20 * 24

    run(main)


def test_delay_is_in_real_time(run: Runner) -> None:
    async def main() -> None:
        left, right = faulty_pair(faults=Faults(delay=0.05), framing="line")
        async with left, right:
            started = time.monotonic()
            await left.send(b"ping")
            assert await right.receive(10.0) == b"ping"
            assert time.monotonic() - started >= 0.049

    run(main)


def test_a_reset_is_a_lost_channel_behind_what_arrived(run: Runner) -> None:
    async def main() -> None:
        async with FaultyLink(Faults(), framing="line") as link:
            await link.left.send(b"before")
            assert await link.right.receive(5.0) == b"before"
            link.reset()
            for end in (link.left, link.right):
                with pytest.raises(jackfield.ChannelLost):
                    await end.receive(5.0)

    run(main)


def test_a_reset_after_so_many_bytes(run: Runner) -> None:
    async def main() -> None:
        async with FaultyLink(Faults(reset_after=1_000, split=10), seed=3, framing="u32") as link:
            sent, received = Chain(), Chain()

            async def send_on() -> None:
                while True:
                    await link.left.send(sent.next(50))
                    await asyncio.sleep(0)

            with pytest.raises(jackfield.ChannelLost):
                await send_on()
            with contextlib.suppress(jackfield.ChannelLost, jackfield.TruncatedFrame):
                async for message in link.right:
                    received.check(message)
            assert received.count < sent.count
            assert link.carried == 1_000

    run(main)


def test_truncated(run: Runner) -> None:
    async def main() -> None:
        async with FaultyLink(Faults(truncate=50), framing="u32") as link:
            await link.left.send(b"x" * 40)
            await link.left.send(b"y" * 40)
            assert await link.right.receive(5.0) == b"x" * 40
            with pytest.raises(jackfield.TruncatedFrame):
                await link.right.receive(5.0)

    run(main)


def test_flipped(run: Runner) -> None:
    async def main() -> None:
        async with FaultyLink(Faults(flip=1.0), seed=5) as link:
            await link.left.send(b"\0" * 100)
            received = await link.right.receive_exactly(100, timeout=5.0)
            assert sum(byte.bit_count() for byte in received) == 1

    run(main)


def test_stalled_and_resumed_and_cut_by_hand(run: Runner) -> None:
    async def main() -> None:
        async with FaultyLink(framing="line") as link:
            link.stall()
            await link.left.send(b"held up")
            with pytest.raises(jackfield.TimedOut):
                await link.right.receive(0.05)
            link.resume()
            assert await link.right.receive(5.0) == b"held up"
            link.cut()
            with pytest.raises((jackfield.EndOfStream, jackfield.ChannelLost)):
                await link.right.receive(5.0)

    run(main)


def test_a_stalled_link_makes_the_sender_wait(run: Runner) -> None:
    async def main() -> None:
        async with FaultyLink(Faults(buffer=4_096), framing="u32", high_water=10_000) as link:
            link.stall()

            async def send_on() -> None:
                for _ in range(10_000):
                    await link.left.send(b"x" * 1_000, timeout=0.1)

            with pytest.raises(jackfield.TimedOut):
                await send_on()

    run(main)


def test_the_seed_decides_and_is_told(run_here: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    async def pieces(seed: int | None) -> list[bytes]:
        async with FaultyLink(Faults(split=9), seed=seed) as link:
            await link.left.send(bytes(range(100)))
            link.left.send_eof()
            assert f"seed={link.seed}" in repr(link)
            return [piece async for piece in link.right]

    async def main() -> None:
        assert await pieces(7) == await pieces(7)
        assert await pieces(7) != await pieces(8)
        monkeypatch.setenv("JACKFIELD_SEED", "7")
        assert await pieces(None) == await pieces(7)
        with pytest.raises(LookupError) as caught:
            async with FaultyLink(Faults()):
                raise LookupError
        assert "JACKFIELD_SEED=7" in caught.value.__notes__[0]
        monkeypatch.setenv("JACKFIELD_SEED", "seven")
        with pytest.raises(ValueError, match="JACKFIELD_SEED"):
            FaultyLink()

    run_here(main)


@every([transport for transport in STREAMS if transport.name in ("tcp", "unix")])
def test_a_proxy_between_real_sockets(run: Runner, transport: Transport, directory: Path) -> None:
    async def echo(channel: jackfield.Channel) -> None:
        async for message in channel:
            await channel.send(message)

    async def main() -> None:
        async with (
            jackfield.listen(transport.address(directory), framing="u32") as listener,
            listener.serving(echo),
            FaultyProxy(listener.address, Faults(split=3), seed=2) as proxy,
        ):
            async with jackfield.connect(proxy.address, framing="u32") as channel:
                for size in (0, 1, 1_000):
                    assert await channel.request(b"x" * size, timeout=20.0) == b"x" * size
                assert proxy.connections == 1
                proxy.stall()
                await channel.send(b"held up")
                with pytest.raises(jackfield.TimedOut):
                    await channel.receive(0.05)
                proxy.resume()
                assert await channel.receive(5.0) == b"held up"
                proxy.reset()
                with pytest.raises(jackfield.ChannelLost):
                    await channel.receive(5.0)
            async with jackfield.connect(proxy.address, framing="u32") as channel:
                assert await channel.request(b"again", timeout=20.0) == b"again"
                channel.send_eof()
                with pytest.raises(jackfield.EndOfStream):
                    await channel.receive(5.0)
            assert "seed=2" in repr(proxy)

    run(main)


def test_a_proxy_whose_target_is_not_there_resets(run: Runner, directory: Path) -> None:
    async def main() -> None:
        async with (
            FaultyProxy(f"unix://{directory}/nobody") as proxy,
            jackfield.connect(proxy.address) as channel,
        ):
            with pytest.raises(jackfield.ChannelLost):
                await channel.receive(5.0)
        with pytest.raises(RuntimeError, match="async with"):
            _ = proxy.address
        with pytest.raises(jackfield.NotSupported):
            FaultyProxy("udp://127.0.0.1:1")

    run(main)
