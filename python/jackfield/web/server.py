"""uvicorn in a loop that is somebody else's: no signals, no logging, no process of its own.

Owns the socket's life, and the time that a browser may take to say what it wants.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Iterator
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from . import native
from .newcomers import Guarded, Newcomers

CONNECTIONS: Final = 256  # beside those of native clients
FIRST_REQUEST: Final = 10.0  # seconds from a connection to its first request, with TLS
LONGEST_MESSAGE: Final = 8 * 1024 * 1024  # bytes of one WebSocket message
LONGEST_OF_CLIENTS: Final = 128 * 1024  # the same of native clients; the hub itself refuses less than that
MOST_FRAGMENTS: Final = 1000  # of one message
MOST_PINGS: Final = 100  # that come at once
AT_ONCE: Final = 16_384  # bytes of a WebSocket that one turn of the loop takes: thousands of frames
LAST_WORDS: Final = 5.0  # seconds that a WebSocket may take for what is left to say


class _Impatient(H11Protocol):
    """A connection that says nothing, or very slowly, is closed."""

    newcomers: Newcomers | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if self.newcomers is not None:
            self.newcomers.done(transport.get_extra_info("peername"))
        self._late = self.loop.call_later(FIRST_REQUEST, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        self._late.cancel()
        super().connection_lost(exc)

    def _give_up(self) -> None:
        asked = (
            self.cycle is not None or self.transport.get_protocol() is not self
        )  # it is a WebSocket by now
        if not asked:
            self.transport.abort()


class _Bounded(WebSocketsSansIOProtocol):
    """A WebSocket whose peer can make nothing grow: not by pings, by small fragments, or by never reading.

    What comes at once is taken in pieces, with the loop's other work between them.
    """

    _rest = b""  # what came, and is not taken yet
    _taking: asyncio.Handle | None = None
    _pings = 0  # of what came at once
    _cut: asyncio.TimerHandle | None = None

    def handle_connect(self, event: Any) -> None:
        if event.path.partition("?")[0] == native.PATH:
            self.conn.max_message_size = LONGEST_OF_CLIENTS
        super().handle_connect(event)

    def data_received(self, data: bytes) -> None:
        self._rest += data
        if self._taking is None:
            self._take()
        else:
            self.transport.pause_reading()

    def _take(self) -> None:
        was_paused, self._taking = self._taking is not None, None
        piece, self._rest = self._rest[:AT_ONCE], self._rest[AT_ONCE:]
        self._pings = 0
        super().data_received(piece)
        if self.transport.is_closing():
            self._rest = b""
        elif self._rest:
            self.transport.pause_reading()
            self._taking = self.loop.call_soon(self._take)
        elif was_paused and not self.read_paused:
            self.transport.resume_reading()

    async def receive(self) -> Any:
        message = await self.queue.get()
        if self.read_paused and self.queue.empty():
            self.read_paused = False
            if not self._rest:
                self.transport.resume_reading()
        return message

    def eof_received(self) -> None:
        """With TLS the end may come with the last bytes."""
        rest, self._rest = self._rest, b""
        if rest:
            super().data_received(rest)
        super().eof_received()

    def handle_cont(self, event: Any) -> None:
        if len(self.frames) >= MOST_FRAGMENTS:
            self._fail("too many fragments")
        else:
            super().handle_cont(event)

    def handle_ping(self) -> None:
        self._pings += 1
        if self._pings > MOST_PINGS or not self.writable.is_set():
            self._fail("too many pings")
        else:
            super().handle_ping()

    def _fail(self, reason: str) -> None:
        if not self.close_sent:
            self.conn.fail(1008, reason)
            self.handle_parser_exception()

    async def send(self, message: Any) -> None:
        if self.transport.is_closing():
            raise ClientDisconnected  # asyncio would log each word to it
        await super().send(message)

    async def run_asgi(self) -> None:
        await super().run_asgi()
        self._cut_soon()

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self._cut_soon()

    def _cut_soon(self) -> None:
        """What it does not read would keep the connection for ever."""
        if not self.disconnected and self._cut is None:
            self._cut = self.loop.call_later(LAST_WORDS, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for timer in (self._cut, self._taking):
            if timer is not None:
                timer.cancel()


class _Server(uvicorn.Server):
    newcomers: Newcomers | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn does it, but a TLS handshake has an end."""
        config, loop = self.config, asyncio.get_running_loop()

        def make() -> asyncio.Protocol:
            made = _Impatient(config=config, server_state=self.server_state, app_state={})
            made.newcomers = self.newcomers
            return made

        patience = FIRST_REQUEST if config.ssl is not None else None
        self.servers = [
            await loop.create_server(
                make, sock=each, ssl=config.ssl, backlog=config.backlog, ssl_handshake_timeout=patience
            )
            for each in sockets or ()
        ]
        self.started = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """They are the hub's."""
        yield


class Server:
    """One application on one listening socket, from `start` to `stop`."""

    def __init__(self, app: ASGIApp, listening: socket.socket, *, tls: ssl.SSLContext | None = None) -> None:
        config = uvicorn.Config(
            app,
            loop="none",
            http=_Impatient,
            ws=_Bounded,
            ws_max_size=LONGEST_MESSAGE,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            proxy_headers=False,
            limit_concurrency=CONNECTIONS + native.MOST,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=1,
            h11_max_incomplete_event_size=32 * 1024,
        )
        config.load()
        config.ssl = tls
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        self._server = _Server(config)
        self.newcomers = None if tls is None else Newcomers()
        self._server.newcomers = self.newcomers
        self._listening = listening if self.newcomers is None else Guarded.of(listening, self.newcomers)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Serve from now on."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._listening]))
        while not self._server.started and not self._task.done():  # noqa: ASYNC110 - uvicorn has no event
            await asyncio.sleep(0)
        if self._task.done():
            self._task.result()

    async def stop(self) -> None:
        """End every connection, and the socket."""
        if self._task is None:
            return
        self._server.should_exit = True
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None


def listen(host: str, port: int) -> socket.socket:
    """A listening socket at an IP address or localhost; no name server is asked. Raises OSError."""
    numeric = "127.0.0.1" if host == "localhost" else host
    flags = socket.AI_PASSIVE | socket.AI_NUMERICHOST
    family, _, _, _, where = socket.getaddrinfo(numeric, port, type=socket.SOCK_STREAM, flags=flags)[0]
    listening = socket.socket(
        family, socket.SOCK_STREAM, socket.IPPROTO_TCP
    )  # asyncio sets nodelay only then
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(where)
        listening.listen(128)
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    return listening
