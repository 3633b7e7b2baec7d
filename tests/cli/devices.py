"""Simulated devices for the tests of questions: each answers a line by what its behaviour says."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

LONGEST = 16 * 1024 * 1024  # bytes of a line that is asked

Behaviour = Callable[[bytes], AsyncIterator[bytes]]
"""A line that was asked in, the chunks of the answer out; raising ConnectionError hangs up."""


async def version(line: bytes) -> AsyncIterator[bytes]:
    """Answers at once."""
    yield b"version 1.4.2\r\n"


async def older(line: bytes) -> AsyncIterator[bytes]:
    yield b"version 1.4.1\r\n"


async def byte_by_byte(line: bytes) -> AsyncIterator[bytes]:
    for byte in b"version 1.4.2\r\n":
        yield bytes([byte])
        await asyncio.sleep(0.002)


async def silent(line: bytes) -> AsyncIterator[bytes]:
    return
    yield b""


async def hangs_up(line: bytes) -> AsyncIterator[bytes]:
    raise ConnectionError
    yield b""


async def hostile(line: bytes) -> AsyncIterator[bytes]:
    """Megabytes without a match, then escapes that would clear the screen."""
    for _ in range(64):
        yield b"version " * 8192
    yield b"\x1b[2J\x1b]0;title\x07version evil\x1b[31m\n"


@contextlib.contextmanager
def devices(port: int, behaviours: Sequence[Behaviour]) -> Iterator[None]:
    """A TCP client of the hub for each behaviour, connected in their order."""
    loop = asyncio.new_event_loop()
    connected = threading.Event()
    stop = asyncio.Event()

    async def one(behaviour: Behaviour, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while line := await reader.readline():
                async for chunk in behaviour(line):
                    writer.write(chunk)
                    await writer.drain()
        writer.close()

    async def main() -> None:
        tasks = []
        for behaviour in behaviours:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=LONGEST)
            tasks.append(asyncio.create_task(one(behaviour, reader, writer)))
        connected.set()
        await stop.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    thread = threading.Thread(target=loop.run_until_complete, args=(main(),))
    thread.start()
    try:
        assert connected.wait(60)
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)
        loop.close()
