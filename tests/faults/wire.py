"""Messages as they are between two sockets, for tests that cut, damage and forge them."""

from __future__ import annotations

import asyncio
import socket

from support import payload, raw_peer

LENGTH = "length:offset=2,size=2,order=be,adjust=4"


def fitting(framing: str, size: int) -> bytes:
    """A message of this size that the framing can carry; some framings have one size, or a largest one."""
    if framing.startswith("fixed:"):
        return payload(16, seed=size)
    if framing == LENGTH:
        size = min(size, 60_000)
        return b"ID" + size.to_bytes(2, "big") + payload(size) + b"csum"
    if framing == "slip":
        size = max(size, 1)  # it has no empty messages
    largest = {"u8": 255, "u16": 65_535, "u16le": 65_535}.get(framing, size)
    # Letters alone stand in no delimiter.
    return bytes(b"abcdefghijklm"[byte % 13] for byte in payload(min(size, largest)))


async def on_the_wire(framing: str, messages: list[bytes]) -> bytes:
    """What these messages are between two sockets."""
    async with raw_peer(framing) as (channel, plain):

        def drain() -> bytes:
            got = b""
            while more := plain.recv(65_536):
                got += more
            return got

        reading = asyncio.create_task(asyncio.to_thread(drain))
        await channel.send_many(messages)
        await channel.close(10.0)
        return await reading


def send_with_end(plain: socket.socket, data: bytes) -> None:
    """MSG_MORE holds the last piece back until the end goes with it: one segment has both (tcp(7))."""
    plain.sendall(data, socket.MSG_MORE)
    plain.shutdown(socket.SHUT_WR)
