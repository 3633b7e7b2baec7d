"""A native client of the simplest kind, for tests: frames over a plain socket, and a hub to speak with.

It knows the protocol's bytes and nothing of the package.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import native_hub

import jackfield
from jackfield.hub.native import Native
from jackfield.hub.server import Hub

MAGIC = b"\x8fJACK\r\n\x1a"
CONTROL, OPEN, DATA, END, RESET, CREDIT, ACK, PING, PONG = range(9)
PATIENCE = 20.0


def running_hub(directory: Path, *addresses: str, **more: Any) -> contextlib.AbstractAsyncContextManager[Hub]:
    """A hub with its control socket, in this loop; without addresses one for native clients alone."""
    texts = addresses or ("tcp://127.0.0.1:0?protocol=native",)
    return native_hub.running_hub(directory, *texts, **more)


def native_of(hub: Hub) -> Native:
    assert hub.native is not None
    return hub.native


class Peer:
    """One connection. What comes and is not waited for stays in `frames`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.frames: list[tuple[int, int, int, bytes]] = []
        self.number = 0
        self.counted = 0  # frames of the hub that count
        self.welcome: dict[str, Any] = {}
        self.packets: jackfield.Channel | None = None  # of a transport that keeps boundaries

    @classmethod
    async def connect(cls, hub: Hub, *, listener: int = 0, local: str = "") -> Self:
        """A connection that has said nothing yet; `local` is the address that it comes from."""
        address = hub.listeners[listener][0].address
        if address.scheme == "unix+seqpacket":
            packets = await jackfield.connect(address.without_options(), max_message=100_000)
            peer = cls(asyncio.StreamReader(), None)  # type: ignore[arg-type]
            peer.packets = packets
            return peer
        if address.port is None:
            return cls(*await asyncio.open_unix_connection(address.path))
        here = (local, 0) if local else None
        return cls(*await asyncio.open_connection(address.host, address.port, local_addr=here))

    async def back(self, hub: Hub, **hello: Any) -> Peer:
        """Another connection, with the session of this one."""
        peer = await Peer.connect(hub)
        session = {key: self.welcome["session"][key] for key in ("id", "key")}
        peer.hello(session={**session, "received": self.counted}, **hello)
        return peer

    @classmethod
    async def join(cls, hub: Hub, *, listener: int = 0, local: str = "", **hello: Any) -> Self:
        """A client that was welcomed."""
        peer = await cls.connect(hub, listener=listener, local=local)
        peer.hello(**hello)
        await peer.welcomed()
        return peer

    def hello(self, **said: Any) -> None:
        """Magic and HELLO in one flight; what is None is left out."""
        body = {
            "type": "hello", "versions": [1], "instance": "here", "agent": "test 1",
            "services": ["channel", "request"], **said,
        }  # fmt: skip
        self.raw(MAGIC)
        self.control(**{name: value for name, value in body.items() if value is not None})

    async def welcomed(self) -> dict[str, Any]:
        """The hub's magic and WELCOME."""
        self.welcome = await self.event("welcome")
        return self.welcome

    # ---------------------------------------------------------------- to the hub

    def raw(self, message: bytes) -> None:
        if self.packets is not None:
            self.packets.send_nowait(message)
        else:
            self.writer.write(struct.pack(">I", len(message)) + message)

    def send(self, stream: int, kind: int, payload: bytes = b"", flags: int = 0) -> None:
        self.raw(struct.pack(">IBBH", stream, kind, flags, 0) + payload)

    def control(self, **body: Any) -> None:
        self.send(0, CONTROL, json.dumps(body).encode())

    def open(self, stream: int, to: Any, service: str = "channel", credit: int = 65_536) -> None:
        self.send(stream, OPEN, json.dumps({"to": to, "service": service, "credit": credit}).encode())

    async def ask(self, op: str, **arguments: Any) -> dict[str, Any]:
        """A request, and its answer."""
        self.number += 1
        number = self.number
        self.control(type=op, n=number, **arguments)
        return await self.control_where(lambda body: body.get("n") == number)

    # ---------------------------------------------------------------- from the hub

    async def next(self) -> tuple[int, int, int, bytes]:
        """The next frame that comes: stream, kind, flags, payload. Raises EOFError at the end."""
        while True:
            message = await self._message()
            if message == MAGIC:
                continue
            stream, kind, flags, reserved = struct.unpack_from(">IBBH", message)
            assert reserved == 0
            payload = message[8:]
            if kind == CONTROL and json.loads(payload)["type"] in ("welcome", "error") and not self.welcome:
                return stream, kind, flags, payload
            if kind <= CREDIT and not flags & 2:
                self.counted += 1
            if kind not in (ACK, PONG):
                return stream, kind, flags, payload

    async def _message(self) -> bytes:
        try:
            if self.packets is not None:
                return await self.packets.receive()
            (length,) = struct.unpack(">I", await self.reader.readexactly(4))
            return await self.reader.readexactly(length)
        except (asyncio.IncompleteReadError, OSError, jackfield.JackfieldError) as problem:
            raise EOFError from problem

    async def where(
        self, wanted: Callable[[int, int, int, bytes], bool], *, patience: float = PATIENCE
    ) -> tuple[int, int, int, bytes]:
        """The first frame like that, of those that are kept and those that come."""
        async with asyncio.timeout(patience):
            for index, frame in enumerate(self.frames):
                if wanted(*frame):
                    return self.frames.pop(index)
            while True:
                frame = await self.next()
                if wanted(*frame):
                    return frame
                self.frames.append(frame)

    async def on(self, stream: int, kind: int) -> bytes:
        """The payload of the first frame of a kind on a stream."""
        return (await self.where(lambda s, k, f, p: (s, k) == (stream, kind)))[3]

    async def control_where(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        frame = await self.where(lambda s, k, f, p: k == CONTROL and wanted(json.loads(p)))
        body: dict[str, Any] = json.loads(frame[3])
        return body

    async def event(self, kind: str) -> dict[str, Any]:
        return await self.control_where(lambda body: body["type"] == kind and "n" not in body)

    async def opened(self) -> tuple[int, dict[str, Any]]:
        """A stream that the hub opens: its number, and what OPEN said."""
        stream, _, _, payload = await self.where(lambda s, k, f, p: k == OPEN)
        return stream, json.loads(payload)

    async def ended(self) -> None:
        """Wait for the end of the connection."""
        with contextlib.suppress(EOFError):
            while True:
                self.frames.append(await asyncio.wait_for(self.next(), PATIENCE))

    def abort(self) -> None:
        """End with a reset, as a program that is killed may."""
        if self.packets is not None:
            self.packets.abort()
            return
        found = self.writer.get_extra_info("socket")
        if found.family != socket.AF_UNIX:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def close(self) -> None:
        if self.packets is not None:
            await self.packets.close()
            return
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()
