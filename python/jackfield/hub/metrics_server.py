"""`serve --metrics ADDRESS`: the hub's figures over HTTP, for Prometheus and nothing else.

A server of one page that anyone may ask who reaches the address; it is bounded in everything that a peer can
choose: connections, the length of a request, the time that one may take.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

import jackfield
from jackfield import Channel

from .health import Health, measure
from .metrics import CONTENT_TYPE, text
from .part import Part

if TYPE_CHECKING:
    from .server import Hub

MOST: Final = 32  # connections at a time
LONGEST: Final = 8192  # bytes of a request
PATIENCE: Final = 5.0  # seconds from a connection to the end of its answer
_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    500: "Server Error",
}


class Metrics(Part):
    """The page of one hub."""

    def __init__(self, address: jackfield.Address) -> None:
        self._address = address
        self._stack = contextlib.AsyncExitStack()

    async def open(self, hub: Hub) -> None:
        self._hub = hub
        self._stack = contextlib.AsyncExitStack()
        opening = jackfield.listen(self._address, framing="none", max_clients=MOST, high_water=16 << 20)
        listener = await self._stack.enter_async_context(opening)
        await self._stack.enter_async_context(listener.serving(self._serve))
        hub.log("metrics", url=f"http://{listener.address.endpoint}/metrics")

    async def close(self) -> None:
        await self._stack.aclose()

    async def _serve(self, channel: Channel) -> None:
        with contextlib.suppress(jackfield.JackfieldError, OSError, TimeoutError):
            async with asyncio.timeout(PATIENCE):
                request = b""
                while b"\r\n\r\n" not in request and b"\n\n" not in request and len(request) <= LONGEST:
                    request += await channel.receive()
                await channel.send(await self._answer(request))
                await channel.close(PATIENCE)
                return
        channel.abort()

    async def _answer(self, request: bytes) -> bytes:
        line = request.split(b"\n", 1)[0].rstrip(b"\r").split(b" ")
        if len(request) > LONGEST or len(line) != 3 or not line[2].startswith(b"HTTP/1."):
            return _response(400, "the request is no HTTP/1 request of bearable length\n")
        method, path = line[0], line[1].partition(b"?")[0]
        if method not in (b"GET", b"HEAD"):
            return _response(405, "only GET and HEAD are answered\n", "Allow: GET, HEAD\r\n")
        if path != b"/metrics":
            return _response(404, "the figures are at /metrics\n", head=method == b"HEAD")
        health = self._hub.part(Health)
        if health is None:
            return _response(500, "nobody counts\n")
        return _response(200, text(await measure(self._hub, health)), head=method == b"HEAD")


def _response(status: int, body: str, more: str = "", *, head: bool = False) -> bytes:
    content = body.encode()
    kind = CONTENT_TYPE if status == 200 else "text/plain; charset=utf-8"
    headers = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(content)}\r\n{more}Connection: close\r\n\r\n"
    )
    return headers.encode() + (b"" if head else content)
