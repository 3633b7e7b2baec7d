"""The WebSocket `/native`: native clients, each message of the Jackfield protocol in one binary message.

Owns the way between a WebSocket and the hub's group: a pair of channels, of which the group has one end, so
that the engine's switch, the rates, the time-outs and the audit log apply as to whoever comes over TCP. Both
ways are bounded: what the group does not take is not read from the WebSocket, and what a WebSocket does not
take waits in the client's queue, by the switch's rules.

A browser says which page a WebSocket comes from. One of another origin needs a token also where a listener is
open to this machine: any page that somebody looks at here can reach loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from starlette.responses import JSONResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

import jackfield
from jackfield import Address, Channel, Relayed
from jackfield.portable import MAX_MESSAGE, SUBPROTOCOL

from ..hub.plan import ListenerPlan
from ..hub.security.access import TOKEN, access_of, is_local
from ..hub.security.limits import REMOTE, UNLIMITED
from .guard import is_own_host, is_own_origin

if TYPE_CHECKING:
    from ..hub.server import Hub
    from .site import Site

PATH: Final = "/native"
MOST: Final = 1000  # of all native clients that come this way; each has three descriptors
DOORS: Final = (1, 2)  # numbers of listeners: by the address's own rules, and with a token in any case
LAST_WORDS: Final = 2.0  # seconds that a WebSocket may take for what is left to say
DELIVERY: Final = 10.0  # seconds that either side may take for what the other one had said when it went
NO_FRAME: Final = b"\0"  # the hub answers `bad_frame`, or `bad_magic` where the magic is due
TOO_LONG: Final = bytes(MAX_MESSAGE + 1)  # and `too_big`
ENDED: Final = 1000
GOING: Final = 1012  # the hub ends or is reloaded: come back
NOT_NOW: Final = 1013  # turned away before a word was said


class Visit(NamedTuple):
    """One client: its member of the group, our end of its connection, what is set once the hub let it go."""

    member_id: int
    channel: Channel
    gone: asyncio.Event


class NativeDoor:
    """The way of WebSockets into one hub, served at `address`."""

    def __init__(self, hub: Hub, address: Address) -> None:
        self._hub = hub
        self.open = 0
        self._gone: dict[int, asyncio.Event] = {}  # by member
        self._empty = asyncio.Event()
        self._is_closed = False
        access = access_of(address)
        rates = UNLIMITED if is_local(address) else REMOTE
        plan = ListenerPlan(address, "none", "none", native="only", access=access, rates=rates)
        self.plan = plan
        strict = dataclasses.replace(plan, access=dataclasses.replace(access, mode=TOKEN))
        for number, each in zip(DOORS, (plan, strict), strict=True):
            hub.count_in(number, each)

    @property
    def is_going(self) -> bool:
        """Whether the hub ends, or is being reloaded."""
        return self._is_closed or self._hub.closing or not self._hub.gate.is_set()

    async def close(self) -> None:
        """Let every client go, told that it may come back, and take no more.

        Waits at most `LAST_WORDS` seconds until they have been told.
        """
        self._is_closed, hub = True, self._hub
        if hub.native is not None and not hub.closing:
            hub.native.going(back=True, members=self._gone.keys())
        for member_id in tuple(self._gone):
            member = hub.group.member(member_id)
            if member is not None:
                hub.let_go(member, "the web server ends", LAST_WORDS)
        if self.open:
            self._empty.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS):
                    await self._empty.wait()

    def went(self, member_id: int) -> None:
        """The hub has let a client go; what it said before is still to be passed on."""
        gone = self._gone.get(member_id)
        if gone is not None:
            gone.set()

    def bring_in(self, peer: Address, local: Address, *, foreign: bool) -> Visit | None:
        """A new client, until `leave`; None if none can be had now.

        `foreign` is whether a page of another origin asks.
        """
        if self._hub.native is None or self.is_going or self.open >= MOST:
            return None
        queue = self._hub.settings.limits.queue
        theirs, ours = jackfield.pair(framing="u32", max_message=len(TOO_LONG), high_water=queue)
        protocol: Any = peer.scheme
        relayed = Relayed(protocol, peer, local, DOORS[foreign])
        try:
            member = self._hub.group.add(theirs, native="only", relayed=relayed)
        except BaseException:
            theirs.abort()
            ours.abort()
            raise
        self.open += 1
        self._gone[member.id] = asyncio.Event()
        return Visit(member.id, ours, self._gone[member.id])

    def leave(self, visit: Visit) -> None:
        """A client has gone: its place is free."""
        self._gone.pop(visit.member_id, None)
        self.open -= 1
        visit.channel.abort()
        if not self.open:
            self._empty.set()


async def native(site: Site, socket: WebSocket) -> None:
    """Serve one client until it goes."""
    door = site.native
    wanted = socket.scope.get("subprotocols") or []
    if door is None:
        await _refuse(socket, 404, "not_found", "this server has no native clients")
        return
    if wanted and SUBPROTOCOL not in wanted:
        await _refuse(socket, 400, "unsupported_version", f"this hub speaks {SUBPROTOCOL}")
        return
    visit = door.bring_in(*_ends(site, socket), foreign=_is_foreign(site, socket))
    if visit is None:
        await _refuse(socket, 503, "overloaded", "the hub takes no more WebSockets now; try again later")
        return
    try:
        await socket.accept(subprotocol=SUBPROTOCOL if wanted else None)
        code = await _both_ways(socket, visit.channel, visit.gone)
        code = GOING if door.is_going else code
        with contextlib.suppress(RuntimeError, WebSocketDisconnect, TimeoutError):
            async with asyncio.timeout(LAST_WORDS):
                await socket.close(code)
    finally:
        door.leave(visit)


def _ends(site: Site, socket: WebSocket) -> tuple[Address, Address]:
    """The address of the client, and that of this end."""
    scheme = "wss" if site.secure else "ws"
    ends = (socket.scope.get("client"), socket.scope.get("server"))
    peer, local = (Address.unchecked(scheme, host=end[0], port=end[1] or 0) for end in map(_known, ends))
    return peer, local


def _known(end: Any) -> tuple[str, int]:
    return (str(end[0]), int(end[1] or 0)) if end else ("0.0.0.0", 0)


def _is_foreign(site: Site, socket: WebSocket) -> bool:
    """Whether a page asks that is not of this server; what is no browser names no origin."""
    origin = socket.headers.get("origin")
    if origin is None:
        return False
    host = socket.headers.get("host", "")
    own = is_own_host(host, port=site.port, names=site.names)
    return not (own and is_own_origin(origin, host=host, secure=site.secure))


async def _refuse(socket: WebSocket, status: int, code: str, message: str) -> None:
    """Answer by HTTP, before there is a WebSocket."""
    await socket.send_denial_response(JSONResponse({"error": {"code": code, "message": message}}, status))


async def _both_ways(socket: WebSocket, channel: Channel, gone: asyncio.Event) -> int:
    """Pass messages on until either side is gone; with which code the WebSocket is to be closed."""
    outward = asyncio.create_task(_outward(socket, channel))
    inward = asyncio.create_task(_inward(socket, channel))
    going = asyncio.create_task(gone.wait())
    ways = (outward, inward, going)
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        if inward.done() and not outward.done():
            # The client has gone: what it said before is still heard.
            outward.cancel()
            await asyncio.wait((outward,))
            with contextlib.suppress(jackfield.JackfieldError):
                await channel.close(DELIVERY)
        elif not outward.done():
            await asyncio.wait((outward,), timeout=DELIVERY)
        return outward.result() if outward.done() and not outward.cancelled() else ENDED
    except asyncio.CancelledError:
        return GOING
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def _inward(socket: WebSocket, channel: Channel) -> None:
    with contextlib.suppress(jackfield.JackfieldError):
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                # A connection that ended by a fault of its client ends the session, too.
                last = {1009: TOO_LONG, 1002: NO_FRAME, 1007: NO_FRAME, 1008: NO_FRAME}.get(message["code"])
                if last is not None:
                    await channel.send(last)
                return
            data = message.get("bytes")
            await channel.send(NO_FRAME if not data else data if len(data) <= MAX_MESSAGE else TOO_LONG)


async def _outward(socket: WebSocket, channel: Channel) -> int:
    said = False
    with contextlib.suppress(jackfield.JackfieldError, RuntimeError, WebSocketDisconnect):
        async for message in channel:
            await socket.send_bytes(message)
            said = True
    return ENDED if said else NOT_NOW
