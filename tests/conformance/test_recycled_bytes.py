"""Memory of datagrams is used again: nobody who kept one sees that, and no more is held than promised."""

from __future__ import annotations

import gc
import random
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from support import Runner, turns

import jackfield

pytestmark = pytest.mark.timeout(60)

HELD = 512 * 1024  # bytes that a loop holds at most to use them again
PATIENCE = 64  # turns without datagrams after which it holds none
BATCH = 60  # datagrams that any receive buffer takes


def copy(data: bytes | memoryview) -> bytes:
    """Another object with the same content."""
    return bytes(bytearray(data))


KEEPERS: list[Callable[[bytes], Any]] = [
    lambda data: data,
    memoryview,
    lambda data: memoryview(data)[1:],
    lambda data: {data: None},
    lambda data: [frozenset([data])],
    lambda data: data.startswith,
    lambda data: iter(data),
]


def content(kept: Any) -> bytes:
    """What one of the keepers keeps, as it is now."""
    match kept:
        case bytes():
            return copy(kept)
        case memoryview():
            return copy(kept.obj)  # type: ignore[arg-type]
        case dict():
            return copy(next(iter(kept)))
        case [frozenset() as only]:
            return copy(next(iter(only)))
    if hasattr(kept, "__self__"):
        return copy(kept.__self__)
    return bytes(kept)


@pytest.mark.parametrize("way", ["endpoint", "endpoint, one by one", "channel"])
@pytest.mark.parametrize("seed", range(4))
def test_what_is_kept_never_changes(run: Runner, way: str, seed: int) -> None:
    chance = random.Random(seed)
    share = chance.choice([0.0, 0.02, 0.3, 1.0])
    sizes = chance.choice([[1200], [1200, 1200, 1200, 700], [480, 1400, 9000, 100]])

    async def main() -> None:
        async with (
            jackfield.bind("udp://127.0.0.1:0", receive_buffer="4M", send_buffer="4M") as sender,
            jackfield.bind("udp://127.0.0.1:0", receive_buffer="4M") as endpoint,
            jackfield.connect(sender.local, receive_buffer="4M") as channel,
        ):
            to = channel.local if way == "channel" else endpoint.local

            async def receive() -> list[bytes]:
                if way == "channel":
                    return await channel.receive_many(timeout=10.0)
                if way == "endpoint":
                    return [datagram.data for datagram in await endpoint.receive_many_from(timeout=10.0)]
                return [(await endpoint.receive_from(timeout=10.0)).data]

            kept: list[tuple[bytes, Any]] = []
            for _ in range(25):
                sent = [chance.randbytes(chance.choice(sizes)) for _ in range(BATCH)]
                await sender.send_many(sent, to)
                arrived = 0
                while arrived < len(sent):
                    for data in await receive():
                        true = sent[arrived]
                        assert data == true
                        assert hash(data) == hash(copy(true))
                        if chance.random() < share:
                            kept.append((true, chance.choice(KEEPERS)(data)))
                        arrived += 1
                if kept and chance.random() < 0.3:
                    chance.shuffle(kept)
                    del kept[len(kept) // 2 :]
            for true, what in kept:
                assert content(what) == true
                if isinstance(what, dict):
                    assert true in what

    run(main)


DATAGRAM_KEEPERS: list[Callable[[jackfield.Datagram], Any]] = [
    lambda datagram: datagram,
    lambda datagram: [datagram],
    lambda datagram: {datagram: None},
    lambda datagram: datagram._asdict,
    lambda datagram: iter(datagram),
    lambda datagram: datagram.data,
    lambda datagram: datagram.peer,
]


def datagram_of(kept: Any) -> tuple[Any, Any]:
    """The content and the peer of what one of the keepers keeps, None where it keeps only the other."""
    match kept:
        case bytes():
            return copy(kept), None
        case jackfield.Address():
            return None, kept
        case [jackfield.Datagram() as only]:
            return copy(only.data), only.peer
        case jackfield.Datagram():
            return copy(kept.data), kept.peer
        case dict():
            only = next(iter(kept))
            assert only in kept, "its hash has not changed"
            return copy(only.data), only.peer
    if hasattr(kept, "__self__"):
        return copy(kept.__self__.data), kept.__self__.peer
    data, peer, *rest = kept
    assert rest == [None, None]
    return copy(data), peer


@pytest.mark.parametrize("packet_info", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_a_kept_datagram_never_changes(run: Runner, seed: int, packet_info: bool) -> None:
    """Neither its content nor its peer: two peers by turns, sizes below and above CPython's own pools."""
    chance = random.Random(seed)
    share = chance.choice([0.02, 0.3, 1.0])
    sizes = chance.choice([[1200], [1200, 700, 10], [0, 100, 1200, 20_000]])

    async def main() -> None:
        options = {"receive_buffer": "4M", "send_buffer": "4M"}
        async with (
            jackfield.bind("udp://127.0.0.1:0", **options) as first,
            jackfield.bind("udp://127.0.0.1:0", **options) as second,
            jackfield.bind("udp://127.0.0.1:0", packet_info=packet_info, **options) as endpoint,
        ):
            kept: list[tuple[bytes, jackfield.Address, Any]] = []
            for _ in range(25):
                expected: list[tuple[bytes, jackfield.Address]] = []
                for sender in chance.sample([first, second, first], 3):
                    sent = [
                        chance.randbytes(chance.choice(sizes)) for _ in range(chance.randint(1, BATCH // 3))
                    ]
                    await sender.send_many(sent, endpoint.local)
                    await sender.flush()
                    expected += [(data, sender.local) for data in sent]
                while expected:
                    for datagram in await endpoint.receive_many_from(
                        chance.choice([None, 1, 7]), timeout=10.0
                    ):
                        data, peer = expected.pop(0)
                        assert (datagram.data, datagram.peer) == (data, peer)
                        assert (datagram.local == endpoint.local) is packet_info
                        assert (datagram.interface is not None) is packet_info
                        assert isinstance(datagram, jackfield.Datagram)
                        assert hash(datagram) == hash((data, peer, datagram.local, datagram.interface))
                        if chance.random() < share and not packet_info:
                            kept.append((data, peer, chance.choice(DATAGRAM_KEEPERS)(datagram)))
                        elif chance.random() < share:
                            kept.append((data, peer, datagram))
                if chance.random() < 0.3:
                    chance.shuffle(kept)
                    del kept[len(kept) // 2 :]
            for data, peer, what in kept:
                content, whose = datagram_of(what)
                assert content in (data, None)
                assert whose in (peer, None)

    run(main)


def test_what_was_sent_is_let_go_of_at_once() -> None:
    """A program that looks whether a message is still in use sees that it is not, as soon as it has left."""

    async def main() -> None:
        sender, receiver = jackfield.pair(framing="u32")
        async with sender, receiver:
            message = bytes(32_000)
            before = sys.getrefcount(message)
            await sender.send(message)
            assert sys.getrefcount(message) == before + 1, "lent"
            flushing = sender.flush()
            await flushing
            assert sys.getrefcount(message) == before
            del flushing
            assert len(await receiver.receive(timeout=10.0)) == len(message)

    jackfield.run(main())


def test_memory_used_again_is_bounded_and_given_back() -> None:
    async def main() -> None:
        async with (
            jackfield.bind("udp://127.0.0.1:0", receive_buffer="4M", send_buffer="4M") as sender,
            jackfield.bind("udp://127.0.0.1:0", receive_buffer="4M") as endpoint,
        ):
            sent = [bytes(1200)] * BATCH

            async def rounds(count: int) -> int:
                """Receive, keep everything for a while, drop it all; the memory that is left."""
                kept: list[jackfield.Datagram] = []
                for _ in range(count):
                    await sender.send_many(sent, endpoint.local)
                    arrived = 0
                    while arrived < BATCH:
                        batch = await endpoint.receive_many_from(timeout=10.0)
                        arrived += len(batch)
                        kept += batch
                kept.clear()
                batch.clear()
                return tracemalloc.get_traced_memory()[0]

            await rounds(2)
            await turns(2 * PATIENCE)
            gc.collect()
            tracemalloc.start()
            before = tracemalloc.get_traced_memory()[0]
            held = await rounds(20) - before
            assert HELD // 2 < held < HELD * 1.25
            await turns(2 * PATIENCE)
            assert tracemalloc.get_traced_memory()[0] - before < HELD // 8

    try:
        jackfield.run(main())
    finally:
        tracemalloc.stop()
