"""Every transport carries every message: whole, once, in order, however it was cut on the way."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from support import (
    FRAMINGS,
    STREAMS,
    TRANSPORTS,
    Chain,
    Runner,
    Transport,
    every,
    payload,
    raw_peer,
    two_ends,
)

import jackfield

pytestmark = pytest.mark.timeout(60)

THRESHOLDS = [size + delta for size in (2**14, 2**15, 2**16, 2**17, 2**18) for delta in (-5, -4, -1, 0, 1, 4)]
PACKET_LIMITS = {"udp": 65_507, "dgram": 100_000, "seqpacket": 100_000}


@every(TRANSPORTS)
def test_messages_arrive_in_order_both_ways(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        async with two_ends(transport, directory) as (client, server):

            async def talk(sender: jackfield.Channel, receiver: jackfield.Channel) -> None:
                sent, received = Chain(), Chain()
                for _ in range(20):
                    # In small groups: UDP may lose what overfills the kernel's buffer.
                    for _ in range(50):
                        await sender.send(sent.next())
                    for _ in range(50):
                        received.check(await receiver.receive(5.0))

            await asyncio.gather(talk(client, server), talk(server, client))

    run(main)


@every([transport for transport in TRANSPORTS if transport.is_reliable])
def test_thousands_in_flight_keep_their_order(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        async with two_ends(transport, directory) as (client, server):
            sent, received = Chain(), Chain()

            async def produce() -> None:
                for number in range(5_000):
                    await client.send(sent.next(number % 300))
                await client.flush(10.0)

            producer = asyncio.create_task(produce())
            while received.count < 5_000:
                received.check(await server.receive(10.0))
            await producer

    run(main)


@every(TRANSPORTS)
def test_boundaries_and_empty_messages_are_kept(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        messages = [b"", b"a", b"", b"", b"\0\xff\r\n" * 20, b"END", b""]
        if transport.name == "seqpacket":
            messages = [message or b"-" for message in messages] + [b""]
        async with two_ends(transport, directory) as (client, server):
            await client.send_many(messages)
            assert [await server.receive(5.0) for _ in messages] == messages
            for message in messages:
                await server.send(message)
                assert await client.receive(5.0) == message

    run(main)


@every(TRANSPORTS)
def test_every_buffer_of_bytes_can_be_sent(run_here: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        async with two_ends(transport, directory) as (client, server):
            for data in (bytearray(b"array"), memoryview(b"view")[1:], memoryview(b"abcdef")[::2]):
                await client.send(data)
                assert await server.receive(5.0) == bytes(data)
            changing = bytearray(b"before")
            await client.send(changing)
            changing[:] = b"after!"
            assert await server.receive(5.0) == b"before"
            with pytest.raises(TypeError, match="encode"):
                await client.send("text")  # type: ignore[arg-type]
            with pytest.raises(TypeError):
                await client.send(5)  # type: ignore[arg-type]

    run_here(main)


@every(TRANSPORTS)
def test_large_messages_around_every_threshold(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        limit = PACKET_LIMITS.get(transport.name, 2**30)
        sizes = [size for size in [1, 2, 255, 256, 4095, 4096, *THRESHOLDS] if size <= limit]
        if limit == 2**30:
            sizes += [2**19, 2**20 - 1, 2**20, 2**20 + 1, 3 * 2**20]
        async with two_ends(transport, directory) as (client, server):
            for size in sizes:
                message = payload(size)
                await client.send(message)
                assert await server.receive(10.0) == message, size

    run(main)


@every(STREAMS)
def test_large_and_small_messages_mix(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        sizes = [3 * 2**20, 1, 2**17, 0, 40_000, 7, 2**18 + 3, 2**15, 2**15 - 1, 0, 0, 2**20, 5] * 2
        messages = [payload(size, seed) for seed, size in enumerate(sizes)]
        async with two_ends(transport, directory) as (client, server):
            sender = asyncio.create_task(client.send_many(messages))
            for message in messages:
                assert await server.receive(10.0) == message
            await sender
            echo = asyncio.create_task(server.send_many(messages))
            assert [await client.receive(10.0) for _ in messages] == messages
            await echo

    run(main)


def test_three_mebibytes_in_each_framing(run_here: Runner) -> None:
    async def main() -> None:
        for framing in (
            "u32",
            "u32le",
            "u64",
            "u64le",
            "varint",
            "netstring",
            "line",
            "delimiter:END",
            "cobs",
        ):
            one, two = jackfield.pair(framing=framing)
            async with two, one:
                messages = [b"ab" * size for size in (3 * 2**19, 2**14, 2**15 + 1, 2**17, 0, 1)]
                sender = asyncio.create_task(one.send_many(messages))
                assert [await two.receive(10.0) for _ in messages] == messages, framing
                await sender

    run_here(main)


def wire(framing: str) -> tuple[list[bytes], bytes]:
    """Messages that the framing can carry, and their bytes on the wire as its specification says."""
    if framing == "fixed:16":
        messages = [b"0123456789abcdef", b"\0" * 16, b"\xff" * 16]
        return messages, b"".join(messages)
    messages = [b"hello", b"", b"x" * 200, b"\0\xff", b"z"]
    if framing == "cobs":
        return messages, b"\x06hello\0\x01\0\xc9" + b"x" * 200 + b"\0\x01\x02\xff\0\x02z\0"
    if framing == "slip":
        messages = [message or b"\xc0\xdb" for message in messages]
        escaped = [
            message.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc") for message in messages
        ]
        return messages, b"".join(b"\xc0" + message + b"\xc0" for message in escaped)
    if framing == "line":
        return messages, b"hello\n\r\n" + b"x" * 200 + b"\r\n\0\xff\nz\n"
    if framing in ("line:crlf", "delimiter:0x0d0a"):
        return messages, b"".join(message + b"\r\n" for message in messages)
    if framing == "delimiter:END":
        return messages, b"".join(message + b"END" for message in messages)
    if framing == "varint":
        return messages, b"\x05hello\x00\xc8\x01" + b"x" * 200 + b"\x02\0\xff\x01z"
    if framing == "netstring":
        return messages, b"".join(b"%d:%b," % (len(message), message) for message in messages)
    if framing.startswith("length:"):
        # Four bytes of checksum behind the payload are not counted (adjust=4); the message is the whole
        # frame.
        whole = [b"ID" + len(message).to_bytes(2, "big") + message + b"csum" for message in messages]
        return whole, b"".join(whole)
    width, order = int(framing[1:].rstrip("le")) // 8, "little" if framing.endswith("le") else "big"
    return messages, b"".join(len(message).to_bytes(width, order) + message for message in messages)  # type: ignore[arg-type]


@pytest.mark.parametrize("framing", FRAMINGS)
def test_frames_from_a_plain_socket_split_and_coalesced(run: Runner, framing: str) -> None:
    messages, data = wire(framing)

    async def main() -> None:
        async with raw_peer(framing) as (channel, plain):
            for start in range(len(data)):
                plain.sendall(data[start : start + 1])
                if start % 16 == 0:
                    await asyncio.sleep(0)
            assert [await channel.receive(5.0) for _ in messages] == messages
            plain.sendall(data * 3)
            assert [await channel.receive(5.0) for _ in messages * 3] == messages * 3
            for step in (2, 3, 7, 50):
                for start in range(0, len(data), step):
                    plain.sendall(data[start : start + step])
                    await asyncio.sleep(0)
                assert [await channel.receive(5.0) for _ in messages] == messages
            await channel.send_many(messages)
            await channel.flush(5.0)
            # A line ends with LF on the way out; CR LF is understood on the way in.
            expected = data.replace(b"\r\n", b"\n") if framing == "line" else data
            got = b""
            while len(got) < len(expected):
                got += plain.recv(65536)
            assert got == expected

    run(main)


def test_a_message_per_byte_written_while_somebody_waits(run: Runner) -> None:
    async def main() -> None:
        async with raw_peer("u16") as (channel, plain):
            waiting = asyncio.create_task(channel.receive(5.0))
            for byte in b"\x00\x03abc":
                await asyncio.sleep(0.001)
                assert not waiting.done()
                plain.sendall(bytes([byte]))
            assert await waiting == b"abc"

    run(main)


def test_large_message_in_small_pieces(run: Runner) -> None:
    async def main() -> None:
        message = payload(200_000)
        async with raw_peer("u32") as (channel, plain):
            waiting = asyncio.create_task(channel.receive(10.0))
            data = len(message).to_bytes(4, "big") + message + b"\0\0\0\1z"
            for start in range(0, len(data), 4_999):
                plain.sendall(data[start : start + 4_999])
                await asyncio.sleep(0)
            assert await waiting == message
            assert await channel.receive(5.0) == b"z"

    run(main)
