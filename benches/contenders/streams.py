"""asyncio streams: u32 frames by `readexactly`, `write` followed by `drain`."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from common import BATCH, HEADER, Meter, arguments, connected, listening, run

type_of_handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
GONE = (asyncio.IncompleteReadError, ConnectionError)
BULK = 65536  # messages from here on get a stream limit that holds one whole
words = arguments()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(*GONE):
        while True:
            header = await reader.readexactly(4)
            message = await reader.readexactly(HEADER.unpack(header)[0])
            writer.write(HEADER.pack(len(message)) + message)
            await writer.drain()
    writer.close()


async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    count = 0
    with contextlib.suppress(*GONE):
        while True:
            header = await reader.readexactly(4)
            await reader.readexactly(HEADER.unpack(header)[0])
            count += 1
    writer.write(HEADER.pack(8) + count.to_bytes(8, "big"))
    writer.close()


async def send_each(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    message = b"x" * words.size
    with contextlib.suppress(*GONE):
        while True:
            writer.write(HEADER.pack(len(message)) + message)
            await writer.drain()


async def send_gathered(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    messages = [b"x" * words.size] * BATCH
    with contextlib.suppress(*GONE):
        while True:
            writer.write(b"".join([HEADER.pack(len(message)) + message for message in messages]))
            await writer.drain()


async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def ping() -> None:
    reader, writer = await asyncio.open_connection(sock=connected(words.address))
    message = b"x" * words.size
    meter = Meter(words.seconds)
    while True:
        writer.write(HEADER.pack(len(message)) + message)
        await writer.drain()
        header = await reader.readexactly(4)
        await reader.readexactly(HEADER.unpack(header)[0])
        if not meter.tick():
            break
    writer.close()


async def serve(handler: type_of_handler) -> None:
    limit = 2 * words.size if words.size >= BULK else 65536
    server = await asyncio.start_server(handler, sock=listening(words.address), limit=limit)
    await server.serve_forever()


ROLES: dict[str, type_of_handler] = {
    "echo": echo,
    "receive": receive,
    "bulk": receive,
    "send-each": send_each,
    "send-gathered": send_gathered,
    "accept": accept,
}

if __name__ == "__main__":
    run(ping() if words.role == "ping" else serve(ROLES[words.role]), uvloop=words.uvloop)
