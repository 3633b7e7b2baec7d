"""Connecting: from an address to a channel."""

from __future__ import annotations

import asyncio
import errno
import functools
import math
import socket
import time
from collections.abc import Awaitable, Callable, Generator
from types import TracebackType
from typing import Any, Generic, TypeVar, Unpack, overload

from jackfield import _engine
from jackfield._address import Address
from jackfield._causes import Cause
from jackfield._channel import Channel
from jackfield._errors import Attempt, JackfieldError, NotSupported, TimedOut, from_os_error
from jackfield._happy_eyeballs import ATTEMPT_DELAY, first_connected, most_telling
from jackfield._loop import current_reactor
from jackfield._names import find_places
from jackfield._option_values import bind_address
from jackfield._options import OptionFields, Options
from jackfield._reconnect import LastingChannel, connect_lasting
from jackfield._socket_options import opening_settings
from jackfield._states import Backoff, State
from jackfield._transports import RawAddress, Setup, as_address, prepare, resolve

T = TypeVar("T", bound=Any)

_UNIX_RETRY = 0.01
"""Seconds between tries while a Unix listener's queue is full: there connect(2) says EAGAIN at once."""


class Opening(Generic[T]):
    """What ``connect`` and ``listen`` give: ``await`` it for the object, or use it in ``async with``."""

    __slots__ = ("_open", "_opened")

    def __init__(self, open_: Any) -> None:
        self._open = open_
        self._opened: T | None = None

    def __await__(self) -> Generator[Any, None, T]:
        return self._open().__await__()  # type: ignore[no-any-return]

    async def __aenter__(self) -> T:
        self._opened = await self
        return await self._opened.__aenter__()  # type: ignore[no-any-return]

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._opened is not None:
            await self._opened.__aexit__(kind, error, traceback)


@overload
def connect(
    address: Address | str, *, reconnect: None = None, on_state: None = None, **options: Unpack[OptionFields]
) -> Opening[Channel]: ...


@overload
def connect(
    address: Address | str,
    *,
    reconnect: Backoff | str,
    on_state: Callable[[State], object] | None = None,
    **options: Unpack[OptionFields],
) -> Opening[LastingChannel]: ...


def connect(
    address: Address | str,
    *,
    reconnect: Backoff | str | None = None,
    on_state: Callable[[State], object] | None = None,
    **options: Unpack[OptionFields],
) -> Opening[Channel] | Opening[LastingChannel]:
    """Connect to an address: ``channel = await connect(...)`` or ``async with connect(...) as channel``.

    Options are those of ``Options``, in the address or here; here wins. Of a name that resolves to several
    addresses each is tried, a quarter of a second apart or as soon as one has failed, and the first to
    connect wins (Happy Eyeballs, RFC 8305). All of it takes ``connect_timeout`` seconds at most; the error's
    ``attempts`` tell what each one said. ``stdio:`` is standard input and output, ``fd://3`` an open socket,
    ``serial:///dev/ttyUSB0?baud=9600`` the line of a device.

    Raises ``InvalidAddress``, ``InvalidOption``, ``TypeError`` (such as ``reconnect=True``) at once;
    ``NameNotResolved``, ``ConnectRefused``, ``ConnectTimedOut``, ``HostUnreachable``, ``AccessDenied``,
    ``TooManyOpenFiles`` and other ``ConnectFailed`` when awaited. Cancelled, it leaves nothing open.

    With ``reconnect=Backoff()`` (or text such as ``100ms..30s``, its first and longest wait) failed attempts
    are repeated, the first ones too, each within ``connect_timeout``, and a lost connection is replaced by
    another: see ``LastingChannel``. ``on_state`` is called with every ``State``, from the first attempt on.
    Only errors that another attempt may not meet again are waited out; others are raised at once.
    """
    where = address if isinstance(address, Address) else Address.parse(address)
    backoff = Backoff.of(reconnect)
    if where.scheme == "fd" and backoff is None:
        return opening_descriptor(where, options, listening=False)
    setup = prepare(where, Options.from_address(where).merge(**options), listening=False)
    if where.scheme == "stdio":
        from jackfield._stdio import open_stdio

        if backoff is not None:
            raise NotSupported("stdio: is there once: nothing can reconnect it", address=where)
        standard: Opening[Channel] = opened_at_once(lambda: open_stdio(setup))
        return standard
    if backoff is None:
        return Opening(lambda: open_channel(setup))
    return Opening(lambda: connect_lasting(setup, backoff, open_channel, on_state))


def opening_descriptor(where: Address, options: OptionFields, *, listening: bool) -> Opening[Any]:
    """The opening of an ``fd://`` address, by ``connect`` or ``listen``."""
    from jackfield._adopt import adopt_address

    merged = Options.from_address(where).merge(**options)
    return opened_at_once(lambda: adopt_address(where, merged, set(options), listening=listening))


def opened_at_once(make: Callable[[], T]) -> Opening[T]:
    """An opening that need not wait for anything."""

    async def open_() -> T:
        return make()

    return Opening(open_)


def pair(**options: Unpack[OptionFields]) -> tuple[Channel, Channel]:
    """Two channels connected to each other, within this process (socketpair(2))."""
    address = Address.parse("pair:")
    setup = prepare(address, Options().merge(**options), listening=False)
    reactor = current_reactor()
    ends = reactor.pair(setup.config(0))
    for level, number, value in opening_settings(setup.options, "pair", 0, listening=False):
        for end in ends:
            reactor.write_option(end, level, number, value)
    return Channel(reactor, setup, ends[0]), Channel(reactor, setup, ends[1])


async def open_channel(setup: Setup) -> Channel:
    """Connect. Raises ``ConnectFailed`` in one of its forms."""
    if setup.protocol == "pair":
        raise JackfieldError(
            "pair: is two ends at once", hint="use jackfield.pair(), which gives both channels"
        )
    if setup.protocol == "serial":
        from jackfield._serial import open_serial

        return open_serial(setup)
    address, limit = setup.address, setup.options.connect_timeout
    started = time.monotonic()
    reactor = current_reactor()
    places = await find_places(setup, connect=connect, limit=limit)
    deadline = None if limit is None else started + limit
    tries: list[Callable[[], Awaitable[int]]] = [
        functools.partial(_attempt, reactor, setup, *place, deadline) for place in places
    ]
    own = None if setup.options.bind is None else bind_address(setup.protocol, setup.options.bind)
    # Two attempts cannot have the same local port at a time.
    delay = math.inf if own is not None and own.port else ATTEMPT_DELAY
    outcome = await first_connected(tries, discard=reactor.close_link, delay=delay, deadline=deadline)
    link, failed = outcome
    if link is not None:
        return Channel(reactor, setup, link)
    attempts = [
        Attempt(as_address(setup.protocol, places[index][1]), error, elapsed)
        for index, error, elapsed in failed
    ]
    nowhere = OSError(errno.EADDRNOTAVAIL, "the name has no address of a usable family")
    failure = most_telling([error for _, error, _ in failed] or [nowhere])
    raise from_os_error(failure, stage="connect", address=address, attempts=attempts, own=own) from failure


async def _attempt(
    reactor: _engine.Reactor, setup: Setup, family: int, place: RawAddress, deadline: float | None
) -> int:
    """One try; the link's id. Raises OSError, at the deadline TimeoutError. Cancelled, it leaves nothing."""
    timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
    config = setup.config(family)
    own = await _own_end(setup, family)
    while True:
        try:
            link, outcome = reactor.connect(place, config, own, timeout)
            await outcome
        except BlockingIOError:
            if deadline is not None and time.monotonic() + _UNIX_RETRY > deadline:
                message = "the server's accept queue stayed full"
                raise TimeoutError(errno.ETIMEDOUT, message) from None
            await asyncio.sleep(_UNIX_RETRY)
        except TimedOut as late:
            error = TimeoutError(errno.ETIMEDOUT, f"no answer within {timeout:.3g} s")
            if late.cause is Cause.HANDSHAKE_TIMEOUT:
                error.tls = {"cause": late.cause, "said": late.message}  # type: ignore[attr-defined]
            raise error from None
        else:
            return link


async def _own_end(setup: Setup, family: int) -> RawAddress:
    """The ``bind`` option for this family. Raises OSError."""
    if setup.options.bind is None:
        return None
    own = bind_address(setup.protocol, setup.options.bind)
    if own.host is None and not setup.is_unix:
        return ("0.0.0.0" if family == socket.AF_INET else "::", own.port or 0, 0)
    try:
        places = await resolve(setup, own)
    except socket.gaierror as error:
        message = f"the name {own.host} of bind= does not resolve: {error.strerror}"
        raise OSError(errno.EADDRNOTAVAIL, message) from error
    for other, place in places:
        if other == family:
            return place
    raise OSError(errno.EADDRNOTAVAIL, f"bind={setup.options.bind} is not of the peer's address family")
