"""UDP one way without a library: a DatagramProtocol of asyncio or uvloop, or blocking sockets."""

import asyncio
from typing import Any

from common import arguments, ready, run
from udp_common import CREDIT, STALL, TRIES, Ahead, udp_socket

words = arguments()
SENT_BETWEEN_TURNS = 64


class Sink(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.total = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, peer: Any) -> None:
        if len(data) > 1:
            self.total += 1
            if self.total % CREDIT:
                return
        self.transport.sendto(self.total.to_bytes(8, "big"), peer)


class Source(asyncio.DatagramProtocol):
    def __init__(self, ahead: Ahead) -> None:
        self.ahead = ahead
        self.news = asyncio.Event()
        self.may_write = asyncio.Event()
        self.may_write.set()

    def datagram_received(self, data: bytes, peer: Any) -> None:
        self.ahead.told(data)
        self.news.set()

    def pause_writing(self) -> None:
        self.may_write.clear()

    def resume_writing(self) -> None:
        self.may_write.set()

    async def wait(self) -> bool:
        self.news.clear()
        try:
            async with asyncio.timeout(STALL):
                await self.news.wait()
        except TimeoutError:
            return False
        return True


async def sink() -> None:
    sock = udp_socket(words.address, bind=True)
    sock.setblocking(False)
    await asyncio.get_running_loop().create_datagram_endpoint(Sink, sock=sock)
    ready("udp://{}:{}".format(*sock.getsockname()))
    await asyncio.Event().wait()


async def source() -> None:
    sock = udp_socket(words.address, bind=False)
    sock.setblocking(False)
    ahead = Ahead(words.seconds)
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(lambda: Source(ahead), sock=sock)
    message = b"x" * words.size
    while not ahead.is_over:
        if not ahead.has_room(SENT_BETWEEN_TURNS):
            if not await protocol.wait():
                ahead.stalled()
            continue
        for _ in range(SENT_BETWEEN_TURNS):
            transport.sendto(message)
        ahead.sent += SENT_BETWEEN_TURNS
        await protocol.may_write.wait()
    for _ in range(TRIES):
        if ahead.received >= ahead.sent:
            break
        transport.sendto(b"?")
        await protocol.wait()
    ahead.report()


def blocking_sink() -> None:
    sock = udp_socket(words.address, bind=True)
    ready("udp://{}:{}".format(*sock.getsockname()))
    total = 0
    while True:
        data, peer = sock.recvfrom(65536)
        if len(data) > 1:
            total += 1
            if total % CREDIT:
                continue
        sock.sendto(total.to_bytes(8, "big"), peer)


def blocking_source() -> None:
    sock = udp_socket(words.address, bind=False)
    sock.settimeout(STALL)
    ahead = Ahead(words.seconds)
    message = b"x" * words.size
    while not ahead.is_over:
        if ahead.has_room(SENT_BETWEEN_TURNS):
            for _ in range(SENT_BETWEEN_TURNS):
                sock.send(message)
            ahead.sent += SENT_BETWEEN_TURNS
            continue
        try:
            ahead.told(sock.recv(64))
        except TimeoutError:
            ahead.stalled()
    for _ in range(TRIES):
        if ahead.received >= ahead.sent:
            break
        sock.send(b"?")
        try:
            ahead.told(sock.recv(64))
        except TimeoutError:
            continue
    ahead.report()


if words.role.startswith("blocking"):
    {"blocking-udp-sink": blocking_sink, "blocking-udp-source": blocking_source}[words.role]()
else:
    run({"udp-sink": sink, "udp-source": source}[words.role](), uvloop=words.uvloop)
