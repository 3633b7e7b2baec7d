"""Blocking channels carry every message: whole, once, in order, on every transport, however it was cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support import BLOCKING, STREAMS, Chain, Transport, every, payload
from support_sync import VECTORS, beside, raw_end, two_ends

import jackfield
from jackfield import sync

pytestmark = pytest.mark.timeout(60)

THRESHOLDS = [size + delta for size in (2**12, 2**14, 2**15, 2**16, 2**17, 2**18) for delta in (-5, -4, 0, 1)]
PACKET_LIMITS = {"udp": 65_507, "dgram": 100_000, "seqpacket": 100_000}
MAX_MESSAGE = 1 << 24


@every(BLOCKING)
def test_messages_arrive_in_order_both_ways_at_once(transport: Transport, directory: Path) -> None:
    def talk(sender: sync.Channel, receiver: sync.Channel) -> None:
        sent, received = Chain(), Chain()
        for _ in range(40):
            # In small groups: UDP may lose what overfills the kernel's buffer.
            for _ in range(50):
                sender.send(sent.next())
            for _ in range(50):
                received.check(receiver.receive(10.0))

    with two_ends(transport, directory) as (client, server):
        works = [beside(talk, client, server), beside(talk, server, client)]
        for work in works:
            work.result(50.0)


@every([transport for transport in BLOCKING if transport.is_reliable])
def test_thousands_in_flight_keep_their_order(transport: Transport, directory: Path) -> None:
    with two_ends(transport, directory) as (client, server):
        sent, received = Chain(), Chain()

        def produce() -> None:
            for number in range(2_500):
                client.send(sent.next(number % 300))
                client.send_many([sent.next(number % 7)])

        producer = beside(produce)
        while received.count < 5_000:
            for message in server.receive_many(100, timeout=10.0):
                received.check(message)
        producer.result(10.0)


@every(BLOCKING)
def test_boundaries_and_empty_messages_are_kept(transport: Transport, directory: Path) -> None:
    messages = [b"", b"a", b"", b"", b"\0\xff\r\n" * 20, b"END", b""]
    with two_ends(transport, directory) as (client, server):
        client.send_many(messages)
        assert [server.receive(10.0) for _ in messages] == messages
        for message in messages:
            server.send(message)
            assert client.receive(10.0) == message


@every(BLOCKING)
def test_every_buffer_of_bytes_can_be_sent(transport: Transport, directory: Path) -> None:
    with two_ends(transport, directory) as (client, server):
        for data in (bytearray(b"array"), memoryview(b"view")[1:], memoryview(b"abcdef")[::2]):
            client.send(data)
            assert server.receive(10.0) == bytes(data)
        with pytest.raises(TypeError, match="encode"):
            client.send("text")  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            client.send_many([b"fine", 5])  # type: ignore[list-item]
        client.send(b"after")
        assert server.receive(10.0) == b"after"


@every(BLOCKING)
def test_large_messages_around_every_threshold(transport: Transport, directory: Path) -> None:
    limit = PACKET_LIMITS.get(transport.name, 2**30)
    sizes = [size for size in [1, 2, 255, 256, *THRESHOLDS] if size <= limit]
    if limit == 2**30:
        sizes += [2**20 - 1, 2**20, 3 * 2**20 + 1]
    with two_ends(transport, directory) as (client, server):
        for size in sizes:
            sender = beside(client.send, payload(size), 20.0)
            assert server.receive(20.0) == payload(size), size
            sender.result(10.0)


@every([transport for transport in STREAMS if transport in BLOCKING])
def test_large_and_small_messages_mix(transport: Transport, directory: Path) -> None:
    sizes = [3 * 2**20, 1, 2**17, 0, 40_000, 7, 2**18 + 3, 2**15, 2**15 - 1, 0, 0, 2**20, 5] * 2
    messages = [payload(size, seed) for seed, size in enumerate(sizes)]
    with two_ends(transport, directory) as (client, server):
        sender = beside(client.send_many, messages)
        assert [server.receive(20.0) for _ in messages] == messages
        sender.result(10.0)
        sender = beside(server.send_many, messages)
        got: list[bytes] = []
        while len(got) < len(messages):
            got += client.receive_many(timeout=20.0)
        assert got == messages
        sender.result(10.0)


def test_three_mebibytes_in_each_framing() -> None:
    for framing in ("u32", "u64le", "varint", "netstring", "line", "delimiter:END", "cobs"):
        one, two = sync.pair(framing=framing)
        with two, one:
            messages = [b"ab" * size for size in (3 * 2**19, 2**14, 2**15 + 1, 2**17, 0, 1)]
            sender = beside(one.send_many, messages)
            assert [two.receive(20.0) for _ in messages] == messages, framing
            sender.result(10.0)


def described(vector: dict[str, Any]) -> str:
    return str(vector["name"])


@pytest.mark.parametrize("vector", VECTORS["both"], ids=described)
def test_the_framing_vectors_whole_and_byte_by_byte(vector: dict[str, Any]) -> None:
    wire, messages = bytes.fromhex(vector["wire"]), [bytes.fromhex(text) for text in vector["payloads"]]
    with raw_end(vector["framing"], max_message=vector.get("max_message", MAX_MESSAGE)) as (channel, plain):
        plain.sendall(wire)
        assert [channel.receive(10.0) for _ in messages] == messages

        def dribble() -> None:
            for start in range(len(wire)):
                plain.sendall(wire[start : start + 1])

        dribbling = beside(dribble)
        assert [channel.receive(10.0) for _ in messages] == messages
        dribbling.result(10.0)
        channel.send_many(messages)
        got = b""
        while len(got) < len(wire):
            got += plain.recv(65536)
        assert got == wire


@pytest.mark.parametrize("vector", VECTORS["receive"], ids=described)
def test_the_framing_vectors_of_bad_and_unfinished_frames(vector: dict[str, Any]) -> None:
    wire, messages = bytes.fromhex(vector["wire"]), [bytes.fromhex(text) for text in vector["payloads"]]
    if vector.get("last") is not None:
        messages.append(bytes.fromhex(vector["last"]))
    with raw_end(vector["framing"], max_message=vector.get("max_message", MAX_MESSAGE)) as (channel, plain):
        plain.sendall(wire)
        if "error" not in vector:
            plain.shutdown(1)
        assert [channel.receive(10.0) for _ in messages] == messages
        failing = "error" in vector or "end_error" in vector
        expected = jackfield.FramingError if failing else jackfield.EndOfStream
        for _ in range(2):
            with pytest.raises(expected):
                channel.receive(10.0)


def test_exactly_and_until_divide_a_stream_without_framing() -> None:
    with raw_end() as (channel, plain):
        plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nbody and more")
        assert channel.receive_until(b"\r\n", 10.0) == b"GET / HTTP/1.1"
        assert channel.receive_until(b"\r\n\r\n", timeout=10.0) == b"Host: x"
        assert channel.receive_exactly(4, 10.0) == b"body"
        assert channel.receive(10.0) == b" and more"
        big = payload(300_000)
        sender = beside(plain.sendall, big + b"END")
        assert channel.receive_exactly(200_000, 10.0) == big[:200_000]
        assert channel.receive_until(b"END", 10.0) == big[200_000:]
        sender.result(10.0)
        with pytest.raises(ValueError, match="at least 1"):
            channel.receive_exactly(0)


def test_exactly_needs_a_stream_without_framing() -> None:
    one, two = sync.pair(framing="line")
    with one, two, pytest.raises(jackfield.NotSupported, match="framing=none"):
        one.receive_exactly(5)


def test_a_delimiter_too_far_away_leaves_the_bytes() -> None:
    with raw_end(max_message=100) as (channel, plain):
        plain.sendall(b"x" * 150 + b"\n")
        with pytest.raises(jackfield.MessageTooLarge):
            channel.receive_until(b"\n", 10.0)
        assert channel.receive_exactly(150, 10.0) == b"x" * 150
        assert channel.receive_until(b"\n", 10.0) == b""


def test_receive_many_takes_what_is_there_and_no_more_than_asked() -> None:
    one, two = sync.pair(framing="u8")
    with one, two:
        one.send_many([bytes([number]) for number in range(10)])
        assert len(two.receive_many(3, 10.0)) == 3
        assert two.receive_many(timeout=10.0) == [bytes([number]) for number in range(3, 10)]
        one.send(b"last")
        one.send_eof()
        assert two.receive_many(timeout=10.0) == [b"last"]
        with pytest.raises(jackfield.EndOfStream):
            two.receive_many(timeout=10.0)
