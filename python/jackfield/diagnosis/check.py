"""The check itself: looks step by step, keeps what it saw, and stops where going on would tell nothing.

A thin shell: what is seen means nothing here, ``judge`` decides. Each step is told as soon as it is done.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import jackfield
from jackfield import Address, Channel, JackfieldError

from .conversation import Stream, first_answer, http_request, start_tls
from .judge import interrupted, judge
from .listeners import listen_overflows, look_at_file, look_at_name, look_at_port
from .names import is_number, resolve
from .observations import Answer, Attempt, LocalView, Observations
from .report import Report
from .routes import look_up_neighbours, look_up_route
from .steps import (
    Step,
    answer_step,
    attempt_step,
    listener_steps,
    resolution_step,
    route_step,
    tls_step,
    websocket_steps,
)
from .target import Target, targets
from .websocket import open_websocket

ADDRESSES_MAX = 8
"""Addresses of one name that are tried."""
_TCP_INFO = struct.Struct("=8x24I")
_RTT, _RETRANSMITS = 15, 23
_EMPTY = "an empty datagram"
_GOODBYE = 0.5
_AGAIN = 0.5


@dataclass(frozen=True)
class Manner:
    """How to check; times are seconds."""

    timeout: float = 5.0
    """For resolving, for connecting, and for the TLS handshake."""
    wait: float | None = None
    """For the first byte; ``None`` is 1 second, or ``timeout`` where something was asked."""
    first_byte: bool = True
    """Whether to wait for what the peer says, and to ask for it where the protocol is known."""
    send: bytes | None = None
    """What to say first."""


async def check(
    target: Target | str,
    *,
    manner: Manner | None = None,
    on_step: Callable[[Step], object] | None = None,
) -> Report:
    """Check one target and say what is the matter, if anything.

    ``target`` is an address as people type it (``host:port``, ``https://host``, ``unix:///path``, ``:7000``).
    ``on_step`` is called with each step once it is done. Nothing needs a privilege, and nothing is left open.
    Raises ``InvalidAddress`` and ``NotSupported`` for what is no target; everything else is in the report.
    """
    chosen = targets([target])[0] if isinstance(target, str) else target
    return await Check(chosen, manner or Manner(), on_step).run()


class Check:
    """One check under way; ``report`` says at any time what was seen so far."""

    def __init__(
        self, target: Target, manner: Manner, on_step: Callable[[Step], object] | None = None
    ) -> None:
        self._target = target
        self._manner = manner
        self._on_step = on_step
        self._seen = Observations(target, now=time.time())
        self._steps: list[Step] = []
        self._begun = time.monotonic()
        self._channels: list[Channel] = []
        self._overflows: int | None = None

    async def run(self) -> Report:
        """Look at everything, then judge. Cancelled, it leaves nothing open."""
        try:
            for channel in jackfield.pair():  # so that loading the engine is not counted as connecting
                channel.abort()
            if self._target.is_unix:
                await self._unix()
            elif await self._places():
                await self._inet()
            # In order: a server should see an end, not a reset.
            closing = (channel.close(_GOODBYE) for channel in self._channels)
            await asyncio.gather(*closing, return_exceptions=True)
        finally:
            for channel in self._channels:
                channel.abort()
        return self._report(finished=True)

    def report(self) -> Report:
        """The report of a check that was interrupted."""
        return self._report(finished=False)

    def _report(self, *, finished: bool) -> Report:
        verdict = judge(self._seen) if finished else interrupted(self._seen)
        return Report(self._target, self._seen, tuple(self._steps), verdict, time.monotonic() - self._begun)

    def _tell(self, *steps: Step) -> None:
        self._steps += steps
        if self._on_step is not None:
            for step in steps:
                self._on_step(step)

    # Ways ---------------------------------------------------------------------------------------------

    async def _places(self) -> bool:
        """Addresses and routes; False when there are none."""
        host = self._target.address.host or "127.0.0.1"
        hosts: tuple[str, ...] = (host,)
        if not is_number(host):
            found = await resolve(host, datagram=self._target.is_datagram, timeout=self._manner.timeout)
            self._seen = replace(self._seen, resolution=found)
            self._tell(resolution_step(found))
            hosts = found.addresses
        routes = tuple(look_up_route(each) for each in hosts[:ADDRESSES_MAX])
        self._seen = replace(self._seen, routes=routes)
        self._tell(*(route_step(route) for route in routes))
        return bool(routes)

    async def _inet(self) -> None:
        self._overflows = listen_overflows() if self._is_local else None
        places = [replace(self._target.address, host=route.destination) for route in self._seen.routes]
        if self._target.is_datagram:
            await self._ask_datagrams(places)
            return
        tried = await asyncio.gather(*(self._connect(place) for place in places))
        self._seen = replace(self._seen, attempts=tuple(attempt for attempt, _ in tried))
        self._look_at_hops()
        self._tell(*(attempt_step(attempt, self._target) for attempt in self._seen.attempts))
        channel = next((channel for _, channel in tried if channel is not None), None)
        if channel is None:
            self._look_at_port()
        else:
            await self._converse(channel)

    async def _unix(self) -> None:
        path = self._target.address.path or ""
        self._seen = replace(self._seen, file=look_at_file(path))
        attempt, channel = await self._connect(self._target.address)
        self._seen = replace(self._seen, attempts=(attempt,), local=look_at_name(path))
        self._tell(attempt_step(attempt, self._target))
        if channel is not None and not self._is_stopped:
            await self._first_byte(channel)
            self._seen = replace(self._seen, local=look_at_name(path))
        self._tell_listeners()

    # Connecting ---------------------------------------------------------------------------------------

    async def _connect(self, address: Address) -> tuple[Attempt, Channel | None]:
        begun = time.monotonic()
        try:
            channel = await jackfield.connect(address, connect_timeout=self._manner.timeout)
        except JackfieldError as error:
            return failed_attempt(address, error, time.monotonic() - begun), None
        elapsed = time.monotonic() - begun
        self._channels.append(channel)
        rtt, retransmits = _tcp_info(channel) if channel.protocol == "tcp" else (None, 0)
        local = None if self._target.is_unix else channel.local.endpoint
        return Attempt(
            address.endpoint, elapsed, True, local=local, rtt=rtt, retransmits=retransmits
        ), channel

    async def _ask_datagrams(self, places: list[Address]) -> None:
        """Ask each address until one does not refuse: UDP has no handshake, so asking is connecting."""
        for place in places:
            attempt, channel = await self._connect(place)
            answer = None
            if channel is not None and self._manner.first_byte:
                answer, problem = await self._ask_datagram(channel)
                if problem is not None:
                    attempt = failed_attempt(place, problem, answer.seconds)
                    answer = None
            self._seen = replace(self._seen, attempts=(*self._seen.attempts, attempt), answer=answer)
            self._tell(attempt_step(attempt, self._target))
            if attempt.connected:
                break
        if self._seen.answer is not None:
            self._tell(answer_step(self._seen.answer, self._target))
        self._look_at_hops()
        self._look_at_port()

    async def _ask_datagram(self, channel: Channel) -> tuple[Answer, JackfieldError | None]:
        question = self._manner.send
        asked = _EMPTY if question is None else counted(len(question))
        begun = time.monotonic()
        end = begun + self._wait(asked=True)
        while True:
            left = end - time.monotonic()
            try:
                await channel.send(question or b"")
                # Any datagram may be lost; one that means nothing can be sent again without harm.
                data = await channel.receive(left if question else min(left, _AGAIN))
            except jackfield.TimedOut:
                if time.monotonic() >= end - 0.01:
                    return Answer(time.monotonic() - begun, asked, ended="silence"), None
            except JackfieldError as error:
                return Answer(time.monotonic() - begun, asked), error
            else:
                return Answer(time.monotonic() - begun, asked, data), None

    # Conversing ---------------------------------------------------------------------------------------

    async def _converse(self, channel: Channel) -> None:
        self._look_at_port(channel, tell=False)
        if self._is_stopped:
            self._tell_listeners()
            return
        stream: Stream | None = channel
        if self._target.tls:
            stream = await self._tls(channel)
        if stream is not None:
            await self._first_byte(stream)
        self._look_at_port(channel)

    async def _tls(self, channel: Channel) -> Stream | None:
        """The handshake; where the certificate is not to be trusted, once more to see it."""
        host = (self._target.address.host or "localhost").partition("%")[0]
        timeout = self._manner.timeout
        pins = self._target.pins
        seen, stream = await start_tls(channel, host, verify=not pins, pins=pins, timeout=timeout)
        if stream is None and seen.ended is None and not pins:
            _, again = await self._connect(replace(self._target.address, host=channel.peer.host))
            if again is not None:
                shown, _ = await start_tls(again, host, verify=False, timeout=timeout)
                seen = replace(
                    seen, version=shown.version, cipher=shown.cipher, certificate=shown.certificate
                )
        self._seen = replace(self._seen, tls=seen)
        self._tell(tls_step(seen, self._seen.now))
        return stream

    async def _first_byte(self, stream: Stream) -> None:
        if not self._manner.first_byte:
            return
        if self._target.websocket and self._manner.send is None:
            await self._websocket(stream)
            return
        question, asked = self._manner.send or b"", ""
        if self._manner.send is not None:
            asked = counted(len(question))
        elif self._target.http:
            question = http_request(self._target.host_header, self._target.path)
            asked = f"HEAD {self._target.path}"
        elif self._target.is_datagram:
            return
        http = self._target.http and self._manner.send is None
        wait = self._wait(asked=bool(asked))
        answer = await first_answer(stream, question, asked, wait=wait, whole_line=http)
        self._seen = replace(self._seen, answer=answer)
        self._tell(answer_step(answer, self._target))

    async def _websocket(self, stream: Stream) -> None:
        target = self._target
        seen = await open_websocket(stream, target.host_header, target.path, wait=self._wait(asked=True))
        if seen.data:
            self._seen = replace(self._seen, upgrade=seen)
            self._tell(*websocket_steps(seen))
        else:
            answer = Answer(seen.seconds, f"GET {target.path}", b"", seen.ended)
            self._seen = replace(self._seen, answer=answer)
            self._tell(answer_step(answer, target))

    def _wait(self, *, asked: bool) -> float:
        if self._manner.wait is not None:
            return self._manner.wait
        return (
            self._manner.timeout
            if asked and not (self._target.is_datagram and not self._manner.send)
            else 1.0
        )

    # Looking around -----------------------------------------------------------------------------------

    @property
    def _is_local(self) -> bool:
        return any(route.is_local for route in self._seen.routes)

    @property
    def _is_stopped(self) -> bool:
        local = self._seen.local
        return (
            local is not None
            and any(listener.is_stopped for listener in local.matching)
            and not local.accepted
        )

    def _look_at_hops(self) -> None:
        self._seen = replace(self._seen, neighbours=look_up_neighbours(self._seen.routes))

    def _look_at_port(self, channel: Channel | None = None, *, tell: bool = True) -> None:
        """This machine's side, where the target is on this machine."""
        hosts = tuple(route.destination for route in self._seen.routes if route.is_local)
        if not hosts:
            return
        connected = self._seen.connected
        if connected is not None:
            hosts = (connected.address.rpartition(":")[0].strip("[]"),)
        ends = _ends(channel) if channel is not None else None
        view = look_at_port(self._target.address, hosts, ends=ends)
        now = listen_overflows()
        if now is not None and self._overflows is not None:
            view = replace(view, overflows=now - self._overflows)
        self._seen = replace(self._seen, local=view)
        if tell:
            self._tell_listeners()

    def _tell_listeners(self) -> None:
        self._tell(*listener_steps(self._seen.local or LocalView()))


def failed_attempt(address: Address, error: JackfieldError, seconds: float) -> Attempt:
    """A library's error as an observation."""
    said = (
        error.message.partition(f"{address.without_options()}: ")[2]
        or error.message.partition(" is lost: ")[2]
    )
    elapsed = error.attempts[-1].elapsed if error.attempts else None
    return Attempt(
        address.endpoint,
        seconds if elapsed is None else elapsed,
        errno=error.errno,
        timed_out=isinstance(error, TimeoutError) or error.errno == errno.ETIMEDOUT,
        offender=error.offender,
        icmp=error.icmp,
        cause=None if error.cause is None else str(error.cause),
        said=said or error.message,
        hint=error.hint or "",
    )


def counted(count: int) -> str:
    return "1 byte" if count == 1 else f"{count} bytes"


def _ends(channel: Channel) -> tuple[tuple[str, int], tuple[str, int]]:
    local, peer = channel.local, channel.peer
    return (local.host or "", local.port or 0), (peer.host or "", peer.port or 0)


def _tcp_info(channel: Channel) -> tuple[float | None, int]:
    """The kernel's round-trip time in seconds and its count of retransmits (tcp(7), TCP_INFO)."""
    with socket.fromfd(channel.fileno(), socket.AF_INET, socket.SOCK_STREAM) as twin:
        try:
            fields = _TCP_INFO.unpack(twin.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size))
        except (OSError, struct.error):
            return None, 0
    return fields[_RTT] / 1e6, fields[_RETRANSMITS]
