"""asyncio Protocol, on the stdlib loop or on uvloop: u32 frames parsed in `data_received`.

Parsing is written out in each role, as a program that cares for speed would: no call per message.
"""

import asyncio
import contextlib
from typing import cast

from common import BATCH, HEADER, Meter, arguments, connected, listening, run

words = arguments()
unpack_from = HEADER.unpack_from


class Connection(asyncio.Protocol):
    """Keeps the transport, the unfinished frame, and whether the transport can take more."""

    __slots__ = ("rest", "transport", "writable")

    def __init__(self) -> None:
        self.rest = b""
        self.writable: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def pause_writing(self) -> None:
        self.writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        if self.writable is not None and not self.writable.done():
            self.writable.set_result(None)
        self.writable = None

    def connection_lost(self, exc: Exception | None) -> None:
        self.resume_writing()

    def reply_count(self, count: int) -> None:
        self.transport.write(HEADER.pack(8) + count.to_bytes(8, "big"))
        self.transport.close()


class Echo(Connection):
    __slots__ = ()

    def data_received(self, data: bytes) -> None:
        if self.rest:
            data = self.rest + data
        at, end = 0, len(data)
        while end - at >= 4:
            (size,) = unpack_from(data, at)
            stop = at + 4 + size
            if stop > end:
                break
            message = data[at + 4 : stop]
            self.transport.write(HEADER.pack(len(message)) + message)
            at = stop
        self.rest = data[at:] if at < end else b""


class Receive(Connection):
    """Makes each message a `bytes` of its own and counts it."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def data_received(self, data: bytes) -> None:
        if self.rest:
            data = self.rest + data
        at, end = 0, len(data)
        while end - at >= 4:
            (size,) = unpack_from(data, at)
            stop = at + 4 + size
            if stop > end:
                break
            message = data[at + 4 : stop]
            self.count += len(message) == size
            at = stop
        self.rest = data[at:] if at < end else b""

    def eof_received(self) -> None:
        self.reply_count(self.count)


class Bulk(Connection):
    """Large messages: chunks are collected and joined once, never appended to what is there."""

    __slots__ = ("chunks", "collected", "count", "size")

    def __init__(self) -> None:
        super().__init__()
        self.chunks: list[bytes] = []
        self.collected = 0
        self.size = -1
        self.count = 0

    def data_received(self, data: bytes) -> None:
        self.chunks.append(data)
        self.collected += len(data)
        while self.collected >= (4 if self.size < 0 else 4 + self.size):
            whole = b"".join(self.chunks)
            if self.size < 0:
                (self.size,) = unpack_from(whole)
                self.chunks = [whole]
                continue
            message = whole[4 : 4 + self.size]
            self.count += len(message) == self.size
            rest = whole[4 + self.size :]
            self.chunks, self.collected, self.size = [rest], len(rest), -1

    def eof_received(self) -> None:
        self.reply_count(self.count)


class BulkBuffered(asyncio.BufferedProtocol):
    """Large messages received straight into their final buffer: the best that asyncio can do."""

    def __init__(self) -> None:
        self.count = 0
        self.head = bytearray(4)
        self.begin(self.head)

    def begin(self, target: bytearray) -> None:
        self.target = target
        self.view = memoryview(target)
        self.have = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.view[self.have :]

    def buffer_updated(self, nbytes: int) -> None:
        self.have += nbytes
        if self.have < len(self.target):
            return
        if self.target is self.head:
            self.begin(bytearray(unpack_from(self.head)[0]))
        else:
            self.count += 1
            self.begin(self.head)

    def eof_received(self) -> None:
        self.transport.write(HEADER.pack(8) + self.count.to_bytes(8, "big"))
        self.transport.close()


class Accept(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class Send(Connection):
    """Sends to whoever connects, in a task that waits while the transport is paused."""

    __slots__ = ("task",)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.task = asyncio.get_running_loop().create_task(self.send())

    async def send(self) -> None:
        raise NotImplementedError


class SendEach(Send):
    """One write per message, waiting whenever the transport says it is full."""

    __slots__ = ()

    async def send(self) -> None:
        message = b"x" * words.size
        while not self.transport.is_closing():
            self.transport.write(HEADER.pack(len(message)) + message)
            if self.writable is not None:
                await self.writable


class SendGathered(Send):
    __slots__ = ()

    async def send(self) -> None:
        messages = [b"x" * words.size] * BATCH
        while not self.transport.is_closing():
            self.transport.write(b"".join([HEADER.pack(len(message)) + message for message in messages]))
            if self.writable is not None:
                await self.writable


class Room(Connection):
    """Hand-gathered fan-out: the messages of a turn are joined, then written once per member."""

    __slots__ = ()
    members: set["Room"] = set()  # noqa: RUF012 - one room per program
    turn: list[bytes] = []  # noqa: RUF012

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.members.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.members.discard(self)

    def data_received(self, data: bytes) -> None:
        if self.rest:
            data = self.rest + data
        at, end, turn = 0, len(data), self.turn
        while end - at >= 4:
            (size,) = unpack_from(data, at)
            stop = at + 4 + size
            if stop > end:
                break
            if not turn:
                asyncio.get_running_loop().call_soon(self.broadcast)
            message = data[at + 4 : stop]
            turn.append(HEADER.pack(len(message)) + message)
            at = stop
        self.rest = data[at:] if at < end else b""

    def broadcast(self) -> None:
        together = b"".join(self.turn)
        self.turn.clear()
        for member in self.members:
            member.transport.write(together)


class Ping(Connection):
    __slots__ = ("done", "meter", "request")

    def __init__(self) -> None:
        super().__init__()
        self.done = asyncio.get_running_loop().create_future()
        self.meter = Meter(words.seconds)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.send()

    def send(self) -> None:
        message = b"x" * words.size
        self.transport.write(HEADER.pack(len(message)) + message)

    def data_received(self, data: bytes) -> None:
        if self.rest:
            data = self.rest + data
        if len(data) < 4 or len(data) < 4 + unpack_from(data)[0]:
            self.rest = data
            return
        self.rest = b""
        if self.meter.tick():
            self.send()
        elif not self.done.done():
            self.done.set_result(None)


async def ping() -> None:
    _, protocol = await asyncio.get_running_loop().create_connection(Ping, sock=connected(words.address))
    await protocol.done


async def serve(factory: type[asyncio.BaseProtocol]) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(factory, sock=listening(words.address), backlog=4096)
    await server.serve_forever()


ROLES: dict[str, type[asyncio.BaseProtocol]] = {
    "echo": Echo,
    "receive": Receive,
    "bulk": Bulk,
    "bulk-buffered": BulkBuffered,
    "accept": Accept,
    "send-each": SendEach,
    "send-gathered": SendGathered,
    "room": Room,
}

if __name__ == "__main__":
    with contextlib.suppress(ConnectionError):
        run(ping() if words.role == "ping" else serve(ROLES[words.role]), uvloop=words.uvloop)
