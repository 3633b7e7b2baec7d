"""What the test batteries share: the loops and transports that all runs on, and how two ends are opened.

Nothing sleeps to synchronise: `eventually` polls a condition, everything else waits for the event itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import hashlib
import itertools
import os
import random
import shutil
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvloop
from namespaces import lacking
from support_tls import certificates

import jackfield
from jackfield._loop import current_reactor

LIMIT = 20.0
"""Seconds that one test's coroutine may take; a healthy one takes a small part of a second."""

_names = itertools.count(1)


# Loops --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Runner:
    """Runs a test's coroutine on one kind of loop and checks what it leaves behind."""

    kind: str

    def factory(self) -> asyncio.AbstractEventLoop:
        """A new loop of this kind."""
        makers = {"selector": jackfield.new_event_loop, "asyncio": asyncio.SelectorEventLoop}
        return makers.get(self.kind, uvloop.new_event_loop)()

    def __call__(
        self,
        main: Callable[[], Coroutine[Any, Any, Any]],
        *,
        limit: float = LIMIT,
        debug: bool | None = None,
    ) -> Any:
        """Run ``main`` within ``limit`` seconds; no link may be left, and nothing may have gone to the loop's
        exception handler."""
        complaints: list[dict[str, Any]] = []

        async def guarded() -> Any:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
            async with asyncio.timeout(limit):
                result = await main()
            gc.collect()
            await eventually(lambda: len(current_reactor()) == 0, "every link is released", limit=3.0)
            return result

        with asyncio.Runner(loop_factory=self.factory, debug=debug) as runner:
            result = runner.run(guarded())
        assert not complaints, complaints
        return result


async def eventually(
    condition: Callable[[], object], what: str = "the condition", limit: float = 5.0
) -> None:
    """Give the loop turns until the condition is true."""
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, f"not within {limit} s: {what}"
        await asyncio.sleep(0.001)


async def turns(count: int = 3) -> None:
    """Let everything that is ready now run."""
    for _ in range(count):
        await asyncio.sleep(0)


# Transports ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Transport:
    """One way to connect two ends."""

    name: str
    scheme: str
    template: str
    keeps_boundaries: bool = False
    has_end: bool = True
    """Whether the peer's end is seen: not on datagrams."""

    def address(self, directory: Path) -> str:
        """An address that nothing uses yet."""
        if self.name == "tcp6":
            need_ipv6()
        number = next(_names)
        path = directory / f"s{number}"
        certs = certificates().directory
        return self.template.format(path=path, name=f"jackfield-{os.getpid()}-{number}", certs=certs)

    @property
    def is_reliable(self) -> bool:
        return self.name != "udp"


TRANSPORTS = [
    Transport("tcp", "tcp", "tcp://127.0.0.1:0"),
    Transport("tcp6", "tcp", "tcp://[::1]:0"),
    Transport("tls", "tls", "tls://127.0.0.1:0?cert={certs}/server.pem&key={certs}/server.key"),
    Transport("unix", "unix", "unix://{path}"),
    Transport("abstract", "unix", "unix://@{name}"),
    Transport("pair", "pair", "pair:"),
    Transport("seqpacket", "unix+seqpacket", "unix+seqpacket://{path}", keeps_boundaries=True),
    Transport("udp", "udp", "udp://127.0.0.1:0", keeps_boundaries=True, has_end=False),
    Transport("dgram", "unix+dgram", "unix+dgram://{path}", keeps_boundaries=True, has_end=False),
]
BLOCKING = TRANSPORTS
"""Those of ``jackfield.sync``."""
STREAMS = [transport for transport in TRANSPORTS if not transport.keeps_boundaries]
WITH_END = [transport for transport in TRANSPORTS if transport.has_end]
CONNECTED = [transport for transport in WITH_END if transport.name != "pair"]
LISTENING = [transport for transport in TRANSPORTS if transport.name != "pair"]

FRAMINGS = [
    "line",
    "line:crlf",
    "delimiter:0x0d0a",
    "delimiter:END",
    "fixed:16",
    "u8",
    "u16",
    "u16le",
    "u32",
    "u32le",
    "u64",
    "u64le",
    "varint",
    "netstring",
    "length:offset=2,size=2,order=be,adjust=4",
    "cobs",
    "slip",
]


def every(transports: list[Transport]) -> pytest.MarkDecorator:
    """A test for each of the transports."""
    return pytest.mark.parametrize("transport", transports, ids=lambda transport: transport.name)


def options_for(transport: Transport, options: dict[str, Any]) -> dict[str, Any]:
    """The options that fit: streams are framed with u32 unless they say otherwise, packets never."""
    if transport.keeps_boundaries:
        return {name: value for name, value in options.items() if name != "framing"}
    return {"framing": "u32", **options}


@asynccontextmanager
async def two_ends(
    transport: Transport, directory: Path, *, listening: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[tuple[jackfield.Channel, jackfield.Channel]]:
    """A client's channel and the server's channel to it; ``listening`` has the server's own options."""
    options = options_for(transport, options)
    if transport.name == "pair":
        client, server = jackfield.pair(**options)
        try:
            yield client, server
        finally:
            client.abort()
            server.abort()
        return
    async with jackfield.listen(transport.address(directory), **options, **(listening or {})) as listener:
        client = await jackfield.connect(listener.address, **options)
        server = None
        try:
            if not transport.has_end:
                # A datagram listener learns of a peer from its first packet.
                await client.send(b"here I am")
            server = await listener.accept(5.0)
            if not transport.has_end:
                assert await server.receive(5.0) == b"here I am"
            yield client, server
        finally:
            client.abort()
            if server is not None:
                server.abort()


@contextlib.contextmanager
def raw_listener(family: int = socket.AF_INET) -> Iterator[tuple[socket.socket, str]]:
    """A plain listening socket and its Jackfield address."""
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        if family == socket.AF_UNIX:
            name = f"jackfield-raw-{os.getpid()}-{next(_names)}"
            listening.bind(f"\0{name}")
            address = f"unix://@{name}"
        else:
            listening.bind(("127.0.0.1", 0))
            address = f"tcp://127.0.0.1:{listening.getsockname()[1]}"
        listening.listen(64)
        yield listening, address


def raw_connect(address: jackfield.Address) -> socket.socket:
    """A plain blocking socket connected to a Jackfield listener; the kernel's backlog answers it."""
    if address.path is None:
        return socket.create_connection((address.host or "127.0.0.1", address.port or 0), timeout=10)
    kind = {"unix": socket.SOCK_STREAM, "unix+dgram": socket.SOCK_DGRAM}.get(
        address.scheme, socket.SOCK_SEQPACKET
    )
    plain = socket.socket(socket.AF_UNIX, kind)
    plain.settimeout(10)
    plain.connect(f"\0{address.path[1:]}" if address.is_abstract else address.path)
    return plain


@asynccontextmanager
async def raw_peer(
    framing: str | None = None, **options: Any
) -> AsyncIterator[tuple[jackfield.Channel, socket.socket]]:
    """A channel of a TCP listener and the plain socket at its other end."""
    async with jackfield.listen("tcp://127.0.0.1:0", framing=framing, **options) as listener:
        plain = raw_connect(listener.address)
        channel = await listener.accept(5.0)
        try:
            yield channel, plain
        finally:
            channel.abort()
            plain.close()


def reset(plain: socket.socket) -> None:
    """Close with a reset instead of an end."""
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    plain.close()


# Messages -----------------------------------------------------------------------------------------


def payload(size: int, seed: int = 0) -> bytes:
    """Bytes that tell shifted, doubled and missing parts apart."""
    return random.Random(size * 31 + seed).randbytes(size)


class Chain:
    """Messages of which each carries the hash of all before it: any loss, copy or exchange breaks it."""

    def __init__(self) -> None:
        self.count = 0
        self._hash = hashlib.blake2b(digest_size=16)

    def next(self, size: int = 0) -> bytes:
        """The next message, for the sender."""
        message = self.peek(size)
        self.commit(message)
        return message

    def peek(self, size: int = 0) -> bytes:
        """What would be the next message; it becomes part of the chain by ``commit``, once it was sent."""
        return self._hash.digest() + self.count.to_bytes(8, "big") + b"." * size

    def commit(self, message: bytes) -> None:
        """It was sent."""
        self._hash.update(message)
        self.count += 1

    def check(self, message: bytes) -> None:
        """The next message, for the receiver."""
        expected = self._hash.digest() + self.count.to_bytes(8, "big")
        got = int.from_bytes(message[16:24], "big")
        assert message[:24] == expected, f"message {got} came where {self.count} was due"
        self._hash.update(message)
        self.count += 1


async def gather_all(*awaitables: Awaitable[Any]) -> list[Any]:
    """Like a TaskGroup with results."""
    return list(await asyncio.gather(*awaitables))


def resident_bytes() -> int:
    """Memory of this process that is in use (VmRSS)."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def quick_enough(attempt: Callable[[], float], limit: float, tries: int = 4) -> None:
    """One of the tries must take less than ``limit`` seconds: a busy machine may slow down some, a fault all.

    ``attempt`` gives how long what is promised took. Where others have most of the processor, the limit is
    longer by as much as everything is slower.
    """
    took: list[float] = []
    allowed = 0.0
    while not took or took[-1] >= allowed:
        assert len(took) < tries, f"never within {limit} s: {took}, at last {allowed:.2f} s were allowed"
        before = slowness()
        took.append(attempt())
        allowed = limit * max(before, slowness())


def slowness() -> float:
    """How many times as long as its processor time something takes here and now; 1 on a quiet machine."""
    began, used, work = time.monotonic(), time.thread_time(), 0.05
    while time.thread_time() - used < work:
        pass
    return max(1.0, (time.monotonic() - began) / work)


@functools.cache
def has_ipv6() -> bool:
    """Whether this machine has an IPv6 loopback address."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as plain:
            plain.bind(("::1", 0))
    except OSError:
        return False
    return True


def need_ipv6() -> None:
    """Without IPv6 the test is skipped, and on CI it fails."""
    if not has_ipv6():
        lacking("this machine has no IPv6")


def peer_program(name: str) -> str:
    """The path of a real peer's program. Missing, the test is skipped; on CI it fails."""
    found = shutil.which(name)
    if found is None:
        lacking(f"the peer program {name} is not installed")
    return found
