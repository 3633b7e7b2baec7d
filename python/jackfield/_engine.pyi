"""The boundary, declared: what crosses between Python and the engine; mypy.stubtest holds it to the module.

What may wait gives a coroutine, which at run time is an ``Operation``: a coroutine by protocol. Times are
seconds, ``timeout=None`` waits for ever; ids are those of links and never used again within an event loop.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator, Iterable, Sequence
from contextvars import Context
from typing import Any, Literal, Protocol, Self, TypeAlias, TypeVar, final

from typing_extensions import disjoint_base

from jackfield._address import Address
from jackfield._endpoint import Datagram
from jackfield._tls import TlsFacts

__all__ = [
    "AcceptFailed",
    "BlockingChannel",
    "BlockingListener",
    "Channel",
    "Endpoint",
    "Fan",
    "FellBehind",
    "Group",
    "Joined",
    "Left",
    "LinkConfig",
    "Member",
    "Message",
    "Operation",
    "Published",
    "Reactor",
    "Recognised",
    "Session",
    "Switch",
    "TlsSession",
    "TlsTerms",
    "certificate_of",
    "check_framing",
    "disown",
    "give_up",
    "graft",
    "install_factories",
    "is_down",
    "make_certificate",
    "make_lasting",
    "outage",
    "queued",
    "raise_open_files",
    "tls_admit",
    "tls_admit_singly",
    "tls_detach",
    "tls_handshake",
    "tls_handshakes_failed",
    "tls_of_channel",
    "tls_of_link",
    "tls_replace",
    "tls_take_failed",
]

_T = TypeVar("_T")

_RawAddress: TypeAlias = tuple[str, int, int] | bytes | None
"""``(host, port, scope)``, a Unix name as bytes (abstract: behind a NUL), or no name."""

_Until: TypeAlias = Literal["queued", "sent", "peer_kernel", "received", "stored"]
"""How far a message must have come."""

_Statistics: TypeAlias = tuple[
    int, int, int, int, int, int, int, int, float, float | None, float | None, int, int
]
"""In the order of the library's ``Statistics``."""

def make_lasting(channel: Channel, on_down: Callable[[], object]) -> bool:
    """From now on the channel waits for another connection when it loses its own; False if it cannot."""

def is_down(channel: Channel) -> bool:
    """Whether the channel waits for another connection."""

def outage(channel: Channel, operation: str) -> Exception:
    """How the channel's last connection was lost, with what became of the messages."""

def disown(channel: Channel) -> None:
    """The channel's link has another owner from now on."""

def graft(channel: Channel, fresh: Channel) -> None:
    """Move the connection of ``fresh``, which is spent then, into the channel. Raises OSError."""

def give_up(channel: Channel, number: int) -> None:
    """No other connection will come: who waits on the channel gets ``ChannelLost`` with this errno."""

def queued(channel: Channel) -> tuple[int, int]:
    """Bytes and messages that wait to be sent."""

class _Buffer(Protocol):
    """Anything whose bytes can be read: bytes, bytearray, memoryview, array ..."""

    def __buffer__(self, flags: int, /) -> memoryview: ...

_Data: TypeAlias = bytes | bytearray | memoryview | _Buffer

def install_factories(
    errors: Callable[[str, dict[str, Any]], BaseException],
    addresses: Callable[[str, _RawAddress], Address],
    tls: Callable[[dict[str, Any]], TlsFacts | None],
) -> None:
    """Say who makes errors (``kind, facts -> exception``), addresses (``protocol, raw -> Address``) and what
    two ends agreed on (``facts -> TlsFacts``)."""

def check_framing(text: str) -> str:
    """The canonical text of a framing. Raises ValueError with message and position."""

def raise_open_files() -> tuple[int, int]:
    """Raise the soft limit of open files to the hard one; gives (before, now). Raises OSError."""

def tls_of_channel(channel: Channel) -> dict[str, Any] | None:
    """What a channel's ends agreed on; None without TLS, and once the channel is gone."""

def tls_detach(channel: Channel) -> tuple[int, TlsSession | None]:
    """Take a connection and its TLS out of a channel, which is closed then. Raises as ``detach`` does."""

def tls_of_link(reactor: Reactor, id: int) -> dict[str, Any] | None:
    """The same, of any link of a reactor."""

def tls_handshake(reactor: Reactor, id: int) -> bool | None:
    """Whether the peer of a connecting link has spoken TLS; None when there is no handshake under way."""

def tls_admit_singly(reactor: Reactor, id: int) -> None:
    """From now on newcomers of an encrypted listener are taken by ``tls_admit`` alone."""

def tls_admit(reactor: Reactor, id: int) -> bool:
    """Take one newcomer, whose handshake begins; whether there was one. Raises OSError."""

def tls_replace(reactor: Reactor, id: int, terms: TlsTerms) -> bool:
    """A listener accepts with other terms from now on. False if it is not encrypted."""

def tls_handshakes_failed(reactor: Reactor, id: int) -> int:
    """How many handshakes of a listener's newcomers have failed."""

def tls_take_failed(reactor: Reactor, id: int) -> tuple[Any, dict[str, Any]] | None:
    """The oldest failed handshake that nobody has asked for: the peer's address and the facts."""

def make_certificate(
    names: Sequence[str],
    *,
    subject: str,
    not_before: int,
    not_after: int,
    authority: bool,
    signer: tuple[str, str] | None,
    serial: bytes,
) -> tuple[str, str, str]:
    """Certificate, key and fingerprint, as PEM. Raises ValueError."""

def certificate_of(der: bytes) -> dict[str, Any]:
    """What a certificate in DER form says."""

@final
class LinkConfig:
    """What the links of one listener or one connection have in common."""

    def __new__(
        cls,
        *,
        framing: str,
        max_message: int,
        high_water: int,
        when_full: str,
        vanished_after: float | None,
        idle_timeout: float | None,
        max_clients: int | None,
        kind: int,
        options: Sequence[tuple[int, int, bytes]],
        backlog: int,
        tls: TlsTerms | None = None,
    ) -> Self: ...

@final
class TlsSession:
    """The keys and the state of one TLS connection, on their way to a blocking channel."""

@final
class TlsTerms:
    """What TLS connections are opened with. Raises ValueError with the option and what is wrong with it."""

    def __new__(
        cls,
        *,
        listening: bool,
        cert: bytes | None,
        key: bytes | None,
        ca: bytes | None,
        pins: Sequence[bytes],
        verify: str,
        server_name: str,
        alpn: Sequence[str],
        only_tls13: bool,
        handshake_timeout: float | None,
        handshake_rate: float | None,
    ) -> Self: ...

@final
class Operation(Coroutine[Any, Any, Any]):
    """What a coroutine awaits. While it waits it is a future by protocol, so that a task can sleep on it."""

    def __await__(self) -> Generator[Any, Any, Any]: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Any: ...
    def send(self, value: Any) -> Any: ...
    def throw(self, typ: Any, val: Any = None, tb: Any = None, /) -> Any: ...
    def close(self) -> None: ...
    @property
    def _asyncio_future_blocking(self) -> bool | None: ...
    @_asyncio_future_blocking.setter
    def _asyncio_future_blocking(self, value: bool) -> None: ...
    def get_loop(self) -> asyncio.AbstractEventLoop | None: ...
    def add_done_callback(
        self, callback: Callable[[Operation], object], /, *, context: Context | None = None
    ) -> None: ...
    def remove_done_callback(self, callback: Callable[[Operation], object]) -> int: ...
    def cancel(self, msg: object | None = None) -> bool: ...
    def done(self) -> bool: ...
    def cancelled(self) -> bool: ...
    def result(self) -> None: ...
    def exception(self) -> None: ...

@final
class Reactor:
    """One event loop's reactor, and how links are opened."""

    def __new__(cls, *, busy_poll: float | None = None, stepped: bool = False) -> Self: ...
    def time(self) -> float:
        """The reactor's clock in seconds; a stepped one begins with 0."""

    def busy_poll_statistics(self) -> tuple[int, int, float, int, bool] | None:
        """Spins, hits, seconds spent, pauses, whether it pauses now; None without busy polling."""

    def __len__(self) -> int:
        """How many links there are, listeners included."""

    def fileno(self) -> int:
        """Readable when a turn has something to do; for foreign loops."""

    def attach(
        self, event_loop: asyncio.AbstractEventLoop, ready: Any | None, timers: list[Any] | None
    ) -> None: ...
    def attach_foreign(self, event_loop: asyncio.AbstractEventLoop, kick: Callable[[], object]) -> None: ...
    def close(self) -> None: ...
    def turn(self, timeout: float | None) -> list[tuple[int, int]]:
        """Wait at most so long, resume what can go on, give foreign descriptors' events."""

    def poll(self) -> bool:
        """A turn that never waits. True if another is needed soon."""

    def interrupt(self) -> None: ...
    def watch(self, fd: int, events: int) -> None: ...
    def rewatch(self, fd: int, events: int) -> None: ...
    def unwatch(self, fd: int) -> None: ...
    def connect(
        self, to: _RawAddress, config: LinkConfig, bind: _RawAddress = None, timeout: float | None = None
    ) -> tuple[int, Coroutine[Any, Any, None]]:
        """Start to connect; the link's id and the outcome. Raises OSError, now or when awaited."""

    def listen(self, at: _RawAddress, config: LinkConfig) -> int:
        """Bind and listen; the listener's id. Raises OSError."""

    def bind(self, at: _RawAddress, config: LinkConfig) -> int:
        """Bind a datagram socket that talks to anyone; the link's id. Raises OSError."""

    def pair(self, config: LinkConfig) -> tuple[int, int]:
        """Two connected links. Raises OSError."""

    def adopt_file(self, fd: int, config: LinkConfig, path: bytes, before: bytes | None = None) -> int: ...
    def adopt(self, fd: int, config: LinkConfig, family: int, listens: bool) -> int:
        """Take a socket that somebody else has opened; the link's id. Raises OSError: it is the caller's."""

    def accept(
        self, listener: int, wrap: Callable[[int], _T], timeout: float | None = None
    ) -> Coroutine[Any, Any, _T]:
        """The next connection as ``wrap(id)``. Raises OSError, ChannelClosed, TimedOut."""

    def close_link(self, id: int, timeout: float | None = None) -> None: ...
    def is_closed(self, id: int) -> bool: ...
    def local(self, id: int, protocol: str) -> Address: ...
    def detach(self, id: int) -> int:
        """Take the descriptor out of a link, which is closed then. Raises ChannelBusy, NotSupported."""

    def read_option(self, id: int, level: int, number: int, size: int) -> bytes:
        """One of a socket's options (getsockopt(2)). Raises OSError, ChannelClosed."""

    def write_option(self, id: int, level: int, number: int, value: bytes) -> None:
        """Set one of a socket's options (setsockopt(2)). Raises OSError, ChannelClosed."""

    def link_fd(self, id: int) -> int | None: ...
    def clients(self, id: int) -> tuple[int, int, int]:
        """A listener's (clients now, refused, datagrams that the kernel dropped)."""

@disjoint_base
class Channel:
    """One connected end; the library's ``Channel`` adds facts and the context manager."""

    def __new__(cls, reactor: Reactor, setup: Any, id: int) -> Self: ...
    @property
    def _setup(self) -> Any: ...
    @property
    def id(self) -> int:
        """Unique for the life of the event loop."""

    @property
    def closed(self) -> bool:
        """Whether it was closed from this side."""

    def __aiter__(self) -> Self: ...
    def __anext__(self) -> Coroutine[Any, Any, bytes]: ...
    def receive(self, timeout: float | None = None) -> Coroutine[Any, Any, bytes]:
        """The next message. Raises EndOfStream, ChannelLost, TimedOut. Cancelled, it has taken nothing."""

    def receive_many(
        self, max_messages: int | None = None, timeout: float | None = None
    ) -> Coroutine[Any, Any, list[bytes]]:
        """The messages that are there, at least one and at most ``max_messages``."""

    def receive_exactly(self, count: int, timeout: float | None = None) -> Coroutine[Any, Any, bytes]:
        """Exactly ``count`` bytes of a stream without framing."""

    def receive_until(self, separator: bytes, timeout: float | None = None) -> Coroutine[Any, Any, bytes]:
        """The bytes before ``separator``, which is taken away, of a stream without framing."""

    def send(
        self, data: _Data, timeout: float | None = None, *, until: _Until | None = None
    ) -> Coroutine[Any, Any, None]:
        """Queue a message: at once when there is room, else once there is.

        ``until`` waits for more: "sent" until this machine's kernel has taken it, "peer_kernel" until the
        peer's kernel has acknowledged it. Cancelled or timed out in that time, the message leaves all the
        same; before, while it waits for room, nothing was queued. "received" and "stored" need a peer that
        says so: ``NotSupported`` on plain transports. Raises ``ChannelLost``, ``TimedOut``, ``PeerStalled``.
        """

    def request(self, data: _Data, timeout: float | None = None) -> Coroutine[Any, Any, bytes]:
        """Send a message and receive the next one: for peers that answer each message once, in order.

        ``timeout`` is for both together, in seconds. Raises ``TimedOut``, ``EndOfStream``, ``ChannelLost``.
        Cancelled or timed out after sending, the answer will be the next message received, if it still comes:
        nothing is discarded silently, so receive it, or close the channel, before the next request; where
        answers may be late, let them carry the number of their question.
        """

    def send_many(
        self, messages: Iterable[_Data], timeout: float | None = None, *, until: _Until | None = None
    ) -> Coroutine[Any, Any, None]:
        """Queue several messages in order. A cancelled call has queued a first part of them.

        ``until`` is that of ``send``, for all of them.
        """

    def send_nowait(self, data: _Data) -> None:
        """Queue a message, or raise QueueFull."""

    def send_eof(self) -> None:
        """End our side once everything queued has left; receiving goes on."""

    def flush(
        self, timeout: float | None = None, *, until: _Until | None = None
    ) -> Coroutine[Any, Any, None]:
        """Wait until the kernel has taken everything queued; with ``until="peer_kernel"`` until the peer's
        kernel has acknowledged what was queued when it was called."""

    def close(self, timeout: float | None = None) -> Coroutine[Any, Any, None]:
        """Start to close: what is queued is still delivered, for at most ``timeout`` seconds. Awaited, it
        waits for the end."""

    def abort(self) -> None:
        """Close at once: what is queued is dropped, a stream's peer sees a reset."""

    def fileno(self) -> int:
        """The descriptor. Raises ChannelClosed."""

    def detach(self) -> int:
        """Take the descriptor out of the channel, which is closed then; the connection goes on.

        The descriptor is the caller's, and still non-blocking. What is queued leaves first, as far as the
        kernel takes it at once. Raises ChannelBusy, and the channel goes on, when received or queued bytes
        would be lost; NotSupported for a peer of a datagram listener; ChannelClosed, ChannelLost.
        """

    def _send_fds(
        self, data: _Data, fds: Sequence[int], timeout: float | None = None
    ) -> Coroutine[Any, Any, None]: ...
    def _receive_fds(
        self, max_fds: int, timeout: float | None = None
    ) -> Coroutine[Any, Any, tuple[bytes, list[int], bool]]: ...
    def _send_urgent(self, byte: int, timeout: float | None = None) -> Coroutine[Any, Any, None]: ...
    def _receive_urgent(self, timeout: float | None = None) -> Coroutine[Any, Any, bytes]: ...
    def _tcp_info(self) -> dict[str, int | None]: ...
    def _read_option(self, level: int, number: int, size: int, /) -> bytes: ...
    def _write_option(self, level: int, number: int, value: bytes, /) -> None: ...
    def _facts(self) -> tuple[str, Address, Address, tuple[int, int, int] | None, _Statistics] | None: ...
    def _pulse(self) -> dict[str, Any] | None: ...
    def _is_flushed(self) -> bool: ...

@disjoint_base
class Endpoint:
    """A datagram socket without a peer; the library's ``Endpoint`` adds facts and the context manager."""

    def __new__(cls, reactor: Reactor, setup: Any, id: int, datagram: type[Datagram]) -> Self: ...
    @property
    def _setup(self) -> Any: ...
    @property
    def id(self) -> int:
        """Unique for the life of the event loop."""

    @property
    def closed(self) -> bool:
        """Whether it was closed."""

    def __aiter__(self) -> Self: ...
    def __anext__(self) -> Coroutine[Any, Any, Datagram]: ...
    def receive_from(self, timeout: float | None = None) -> Coroutine[Any, Any, Datagram]:
        """The next datagram. Raises ChannelLost, MessageTooLarge, TimedOut, ChannelClosed. Cancelled, it has
        taken nothing."""

    def receive_many_from(
        self, max_datagrams: int | None = None, timeout: float | None = None
    ) -> Coroutine[Any, Any, list[Datagram]]:
        """The datagrams that are there, at least one and at most ``max_datagrams``."""

    def send_to(
        self, data: _Data, to: Address | str, timeout: float | None = None
    ) -> Coroutine[Any, Any, None]:
        """Queue a datagram for ``to``: at once when there is room, else once there is."""

    def send_to_nowait(self, data: _Data, to: Address | str) -> None:
        """Queue a datagram for ``to``, or raise QueueFull."""

    def send_many(
        self, datagrams: Iterable[_Data], to: Address | str, timeout: float | None = None
    ) -> Coroutine[Any, Any, None]:
        """Queue several datagrams for one place, in order. Cancelled, it has queued a first part of them."""

    def send_many_to(
        self, datagrams: Iterable[tuple[_Data, Address | str]], timeout: float | None = None
    ) -> Coroutine[Any, Any, None]:
        """Queue ``(data, to)`` pairs, in order. Cancelled, it has queued a first part of them."""

    def flush(self, timeout: float | None = None) -> Coroutine[Any, Any, None]:
        """Wait until the kernel has taken everything queued."""

    def close(self, timeout: float | None = None) -> Coroutine[Any, Any, None]:
        """Start to close: what is queued still leaves, for at most ``timeout`` seconds. Awaited, it waits for
        the end."""

    def abort(self) -> None:
        """Close at once: what is queued is dropped."""

    def fileno(self) -> int:
        """The descriptor. Raises ChannelClosed."""

    def _read_option(self, level: int, number: int, size: int, /) -> bytes: ...
    def _write_option(self, level: int, number: int, value: bytes, /) -> None: ...
    def _facts(self) -> tuple[Address, _Statistics] | None: ...

@disjoint_base
class BlockingChannel:
    """One connected end without a reactor; ``jackfield.sync.Channel`` adds facts and the context manager."""

    def __new__(
        cls,
        fd: int,
        setup: Any,
        config: LinkConfig,
        listener: BlockingListener | None = None,
        file: tuple[bytes, bytes | None] | None = None,
        session: TlsSession | None = None,
    ) -> Self: ...
    @property
    def _setup(self) -> Any: ...
    @property
    def id(self) -> int:
        """Unique for the life of the process."""

    @property
    def closed(self) -> bool:
        """Whether it was closed from this side."""

    def __iter__(self) -> Self: ...
    def __next__(self) -> bytes: ...
    def receive(self, timeout: float | None = None) -> bytes:
        """The next message. Raises EndOfStream, ChannelLost, TimedOut, which has taken nothing."""

    def receive_many(self, max_messages: int | None = None, timeout: float | None = None) -> list[bytes]:
        """The messages that are there, at least one and at most ``max_messages``."""

    def receive_exactly(self, count: int, timeout: float | None = None) -> bytes:
        """Exactly ``count`` bytes of a stream without framing."""

    def receive_until(self, separator: bytes, timeout: float | None = None) -> bytes:
        """The bytes before ``separator``, which is taken away, of a stream without framing."""

    def send(self, data: _Data, timeout: float | None = None, *, until: _Until | None = None) -> None:
        """Send a message: wait until the kernel has it all. TimedOut: nothing was sent.

        ``until="peer_kernel"`` waits until the peer's kernel has acknowledged it; timed out in that time, it
        was sent.
        """

    def send_many(
        self, messages: Iterable[_Data], timeout: float | None = None, *, until: _Until | None = None
    ) -> None:
        """Send several messages in order, gathered. TimedOut: a first part was sent or is queued.

        ``until`` is that of ``send``, for all of them.
        """

    def send_nowait(self, data: _Data) -> None:
        """Queue a message and write what the kernel takes at once, or raise QueueFull."""

    def request(self, data: _Data, timeout: float | None = None) -> bytes:
        """Send a message and receive the next one; ``timeout`` is for both."""

    def send_eof(self) -> None:
        """End our side once everything queued has left; receiving goes on."""

    def flush(self, timeout: float | None = None, *, until: _Until | None = None) -> None:
        """Wait until the kernel has taken everything queued; with ``until="peer_kernel"`` until the peer's
        kernel has acknowledged it."""

    def close(self, timeout: float | None = None) -> None:
        """Close: what is queued is still delivered, for at most ``timeout`` seconds."""

    def abort(self) -> None:
        """Close at once: what is queued is dropped, a stream's peer sees a reset."""

    def fileno(self) -> int:
        """The descriptor. Raises ChannelClosed."""

    def _read_option(self, level: int, number: int, size: int, /) -> bytes: ...
    def _write_option(self, level: int, number: int, value: bytes, /) -> None: ...
    def _tls(self) -> dict[str, Any] | None:
        """What the two ends agreed on; None without TLS, and once closed."""

    def _facts(self) -> tuple[str, Address, Address, tuple[int, int, int] | None, _Statistics]: ...

@final
class BlockingListener:
    """A listening socket; ``jackfield.sync.Listener`` makes channels of what it accepts."""

    def __new__(cls, fd: int, config: LinkConfig) -> Self: ...
    def accept(
        self, timeout: float | None = None, before: Callable[[], object] | None = None
    ) -> tuple[int, TlsSession | None]:
        """The next connection: its descriptor, now the caller's, and its TLS.

        ``before`` is called each time that somebody may have come, before it is looked who. Raises OSError,
        ChannelClosed, TimedOut.
        """

    def swap_newcomers(self, other: BlockingListener) -> None:
        """Give those who shake hands to another listener on the same socket, and get its own."""

    def replace_terms(self, terms: TlsTerms) -> bool:
        """Later connections are accepted with other terms. False without TLS, and once closed."""

    def take_failed(self) -> tuple[Any, dict[str, Any]] | None:
        """The oldest failed handshake that nobody has asked for: the peer's address and the facts."""

    def close(self) -> None:
        """Stop listening; threads that accept are told."""

    def fileno(self) -> int | None:
        """The descriptor, or None once closed."""

    def read_option(self, level: int, number: int, size: int) -> bytes:
        """One of the socket's options (getsockopt(2)). Raises OSError, ChannelClosed."""

    def write_option(self, level: int, number: int, value: bytes) -> None:
        """Set one of the socket's options (setsockopt(2)). Raises OSError, ChannelClosed."""

    def clients(self) -> tuple[int, int, int]:
        """``(clients now, refused, failed handshakes)``."""

@final
class Member:
    """A handle on one member of a group: made anew for each event, equal by ``id``."""

    @property
    def id(self) -> int:
        """Unique for the life of the event loop."""

    @property
    def number(self) -> int:
        """Its place in the order of joining, from 1; 0 if it was never a member."""

    @property
    def protocol(self) -> str: ...
    @property
    def peer(self) -> Address: ...
    @property
    def local(self) -> Address: ...
    @property
    def credentials(self) -> tuple[int, int, int] | None:
        """Process, user and group ids of a Unix peer, else None."""

    @property
    def tls(self) -> TlsFacts | None:
        """What the two ends agreed on, and the member's certificate; None without TLS and once it left."""

    @property
    def listener_id(self) -> int:
        """Names the listener that accepted it; 0 if none did."""

    @property
    def is_connected(self) -> bool:
        """False once it has left."""

    def _statistics(self) -> _Statistics: ...
    def _pulse(self) -> dict[str, Any] | None: ...
    def send_nowait(self, data: _Data) -> None:
        """Queue a message for this member alone. Raises QueueFull, ChannelClosed."""

    def send(self, data: _Data, timeout: float | None = None) -> Coroutine[Any, Any, None]:
        """Queue a message for this member alone; waits while its queue is full."""

    def close(self, timeout: float | None = None) -> None:
        """End it: what is queued for it is still delivered, for at most ``timeout`` seconds."""

    def abort(self) -> None:
        """End it at once: what is queued is dropped, a stream's peer sees a reset."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Joined:
    """A new member."""

    __match_args__: tuple[str] = ...
    @property
    def member(self) -> Member: ...

@final
class Message:
    """A message of a member."""

    __match_args__: tuple[str, str] = ...
    @property
    def member(self) -> Member: ...
    @property
    def data(self) -> bytes: ...

@final
class Left:
    """A member's end. Its facts can still be read; what was queued for it is still delivered."""

    __match_args__: tuple[str, str, str] = ...
    @property
    def member(self) -> Member: ...
    @property
    def reason(self) -> str:
        """One sentence."""

    @property
    def error(self) -> Exception | None:
        """What went wrong; None after an orderly end."""

@final
class AcceptFailed:
    """A listener of the group could not accept; it tries again by itself."""

    __match_args__: tuple[str, str] = ...
    @property
    def listener_id(self) -> int: ...
    @property
    def error(self) -> Exception: ...

@final
class Recognised:
    """A member is a native client: its messages are whole frames from now on."""

    __match_args__: tuple[str] = ...
    @property
    def member(self) -> Member: ...

@final
class Published:
    """What a native client has sent on one stream: frames of ``Group.receive_many(gather=True)``."""

    __match_args__: tuple[str, str, str] = ...
    @property
    def member(self) -> Member: ...
    @property
    def stream(self) -> int:
        """Its number."""

    @property
    def payloads(self) -> list[bytes]:
        """Each of one DATA frame without flags, in the order in which they came; at least one."""

@final
class FellBehind:
    """A fan left a member out from a sequence on; it is skipped until ``Fan.add``."""

    __match_args__: tuple[str, str, str] = ...
    @property
    def member(self) -> Member: ...
    @property
    def stream(self) -> int:
        """The fan's stream."""

    @property
    def sequence(self) -> int:
        """Of the first message that it misses."""

@final
class Session:
    """A native client's session without a connection, made by ``Switch.hold``; dropped with this object."""

    def drop(self, code: int | None = None, *, reason: str = "") -> bool:
        """End it: the other ends of its routes are reset, by default with the code 5. False: it was over."""

@disjoint_base
class Switch:
    """See the library's ``Switch``."""

    def __new__(cls, group: Group) -> Self: ...
    def send(
        self,
        member: Member | Session | int,
        stream: int,
        kind: int,
        payload: bytes | None = None,
        *,
        flags: int = 0,
    ) -> bool:
        """Queue one frame for a native member. It is counted, and kept until the client acknowledges it.

        False: its stream has ended, and nothing was queued. Raises ``QueueFull``, ``ChannelClosed``,
        ``ValueError``.
        """

    def link(
        self,
        a: Member | Session | int,
        a_stream: int,
        b: Member | Session | int,
        b_stream: int,
        *,
        credit: int = 0,
    ) -> None:
        """Make one route of two streams: DATA, END, RESET and CREDIT of each leave on the other.

        ``credit`` is what the OPEN of ``a`` lets ``b`` send at first. A plain member may be an end, as stream
        0: its messages are DATA, and still reach Python; the engine grants and respects credit for it.
        """

    def unlink(
        self, a: Member | Session | int, a_stream: int, *, code: int | None = None, reason: str = ""
    ) -> bool:
        """End a route: with a code both ends get RESET, without one both streams lead to Python again. False:
        none.
        """

    def own(self, member: Member | Session | int, stream: int) -> None:
        """Say that a stream which a client has opened is for the hub itself. Raises ``ValueError`` if it has
        ended.
        """

    def is_native(self, member: Member | int) -> bool | None:
        """Whether a member is a native client; None while that is not known, and for one that has left."""

    def next_stream(self, member: Member | Session | int | None = None) -> int:
        """The number of the next stream that the hub opens to a member; without one, a free number for a
        fan.
        """

    def hold(self, member: Member | int) -> Session | None:
        """Keep the routes and the unacknowledged frames of a member whose connection is gone.

        Call it after ``Left``, before the next event is asked for; a member that is still connected is taken
        for gone and aborted. None: it had no session yet, or broke the rules. While it is held, what others
        send it is kept, at most 4 MiB.
        """

    def resume(self, member: Member | int, session: Session, received: int) -> int:
        """Go on with a session over the connection of ``member``, between its HELLO and its WELCOME.

        ``received`` is how many of the hub's frames the client has; what it lacks is sent behind the WELCOME.
        Gives how many of the client's frames have come. Raises ``ValueError`` when the client lacks frames
        that are kept no more: drop the session, and welcome it with a new one.
        """

    def _counts(self, member: Member | Session | int) -> tuple[int, int, int]: ...

@disjoint_base
class Fan:
    """See the library's ``Fan``."""

    def __new__(
        cls, switch: Switch, stream: int, publish: bool, disconnect: bool, recent: tuple[int, int, int]
    ) -> Self: ...
    @property
    def stream(self) -> int:
        """Its number at each member."""

    def add(self, member: Member | Session | int, source: int = 0) -> None:
        """Take a member in, or again after ``FellBehind``; ``source`` names it in what it publishes.

        It hears what is sent from now on. Raises ``ValueError`` if the member has another stream of that
        number.
        """

    def remove(self, member: Member | Session | int) -> bool:
        """Take a member out; nothing is sent to it about that. False: it was none."""

    def send(self, payload: bytes, *, source: int = 0, sequence: int | None = None) -> int:
        """Send to all members at the end of the turn; gives the sequence, by default the one behind the last.

        Raises ``ValueError`` for more than 65,524 bytes.
        """

    def send_many(self, payloads: list[bytes], *, source: int = 0, sequence: int | None = None) -> int:
        """Send many, whose sequences follow each other from ``sequence`` on; gives the last one.

        Raises ``ValueError`` when one of them has more than 65,524 bytes, and then sends none.
        """

    def publish(self, *, on: bool) -> None:
        """Whether the engine publishes what members send, in a fan that was made for that."""

    def recent(self, after: int) -> list[tuple[int, int, float, bytes]]:
        """The last messages behind a sequence, oldest first: source, sequence, Unix time, what was sent.

        As many as the fan was told to keep, and 256 KiB; none of one that was not told so.
        """

    def members(self) -> list[tuple[Member, int]]:
        """The members, each with its source."""

    def _statistics(self) -> tuple[int, int, int, int, int, int]: ...
    def close(self) -> None:
        """End it; nothing is sent to the members about that."""

_Event: TypeAlias = Joined | Message | Left | AcceptFailed | Recognised | FellBehind | Published

@disjoint_base
class Group:
    """Many links as one; the library's ``Group`` adds the context manager."""

    def __new__(cls, reactor: Reactor, when_full: str, first_number: int) -> Self: ...
    def _hand_over(
        self, member: Member | int
    ) -> tuple[int | None, _RawAddress, list[bytes], list[bytes], int, int, tuple[int, ...]]: ...
    def _take_in(
        self,
        listener: int,
        fd: int | None,
        parts: tuple[_RawAddress, Sequence[bytes], Sequence[bytes], int, int, tuple[int, ...]],
        number: int,
    ) -> Member: ...
    def admit_newcomers(self) -> None:
        """Make members of datagram peers that nobody has heard of yet: their ``Joined`` is still told."""

    @property
    def next_number(self) -> int:
        """The number of the next member."""

    def _join(self, reactor: Reactor, id: int, native: str) -> bool: ...
    def _join_channel(
        self,
        channel: Channel,
        native: str,
        relayed: tuple[str, _RawAddress, _RawAddress, int] | None = None,
    ) -> bool: ...
    def __aiter__(self) -> Self: ...
    def __anext__(self) -> Coroutine[Any, Any, _Event]: ...
    def __len__(self) -> int: ...
    @property
    def dropped_messages(self) -> int:
        """Messages that broadcasts dropped because a member's queue was full."""

    def receive(self, timeout: float | None = None) -> Coroutine[Any, Any, _Event]:
        """The next event. A cancelled receive has taken nothing."""

    def receive_many(
        self, max_events: int = 1024, timeout: float | None = None, *, gather: bool = False
    ) -> Coroutine[Any, Any, list[_Event]]:
        """The events that are there, at least one and at most ``max_events``.

        With ``gather`` DATA frames without flags, which native clients send to this side, come as
        ``Published``: those of one member and stream that follow each other in one event.
        """

    def broadcast(
        self, data: _Data, *, to: Iterable[Member | int] | None = None, when_full: str | None = None
    ) -> Coroutine[Any, Any, int]:
        """As ``broadcast_nowait``; with ``when_full="wait"`` it waits until no member is above its mark."""

    def broadcast_nowait(
        self, data: _Data, *, to: Iterable[Member | int] | None = None, when_full: str | None = None
    ) -> int:
        """Queue a message for all members, or for those of ``to``; gives for how many. Never waits."""

    def send(
        self, member: Member | int, data: _Data, timeout: float | None = None
    ) -> Coroutine[Any, Any, None]:
        """Queue a message for one member; waits while its queue is full."""

    def send_nowait(self, member: Member | int, data: _Data) -> None:
        """Queue a message for one member. Raises QueueFull."""

    def member(self, id: int) -> Member | None:
        """A handle on a member by its id, or None if it is not here."""

    def numbered(self, number: int) -> Member | None:
        """A handle on a member by its number, or None if it is not here."""

    def members(self) -> list[Member]:
        """Handles on all members, in no particular order."""

    def _close(self, timeout: float | None) -> list[Coroutine[Any, Any, None]]: ...
    def abort(self) -> None:
        """End every member and listener of the group at once."""
