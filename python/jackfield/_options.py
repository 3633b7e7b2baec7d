"""Options: everything that can be set on a channel or listener, by name, in code and in addresses alike.

One field of ``Options`` is one name in an address; ``_option_values`` says how its text is read and checked,
``_socket_options`` what it means to the kernel. In text, units are mandatory (``5s``, ``4M``); in code, times
are seconds and sizes bytes as numbers, or the same text. ``None`` means off where an option can be off (or
the kernel's choice), and otherwise its default.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypedDict

from jackfield._address import Address
from jackfield._address_form import format_options
from jackfield._errors import InvalidFraming, InvalidOption
from jackfield._framing import Framing
from jackfield._keepalive import Keepalive
from jackfield._option_values import KINDS, OFF
from jackfield._units import UnitError, format_bytes, format_seconds, read_bytes, read_seconds, read_switch
from jackfield._when_full import WhenFull

if TYPE_CHECKING:
    from typing import Unpack

SCHEME_OPTIONS = {
    "raw": ("protocol",),
    "exec": ("argv",),
    "pty": ("argv",),
}
"""Options that belong to one transport: they stay in the address, and the transport reads them there."""


TLS_OPTIONS = (
    "cert",
    "key",
    "ca",
    "pin",
    "verify",
    "server_name",
    "alpn",
    "tls_min",
    "handshake_timeout",
    "handshake_rate",
)
"""The options that belong to TLS, in the order of their fields."""

_LISTS = ("allow", "pin", "alpn")
"""Options that an address may give several times: their values add up."""

LINE_OPTIONS = ("baud", "bits", "parity", "stop", "flow", "dtr", "rts", "exclusive")
"""The options that belong to serial lines, in the order of their fields."""


class OptionFields(TypedDict, total=False):
    """The keyword arguments of everything that takes options; text is read as in an address."""

    framing: Framing | str | None
    max_message: int | str | None
    high_water: int | str | None
    when_full: WhenFull | str | None
    nodelay: bool | str | None
    keepalive: Keepalive | bool | str | None
    vanished_after: float | str | None
    reuse_address: bool | str | None
    reuse_port: bool | str | None
    send_buffer: int | str | None
    receive_buffer: int | str | None
    linger: float | str | None
    bind: str | None
    device: str | None
    dscp: int | str | None
    mark: int | str | None
    priority: int | str | None
    ttl: int | str | None
    mtu_discover: str | None
    v6only: bool | str | None
    freebind: bool | str | None
    transparent: bool | str | None
    user_timeout: float | str | None
    congestion: str | None
    quickack: bool | str | None
    cork: bool | str | None
    notsent_low_water: int | str | None
    max_segment: int | str | None
    max_pacing_rate: int | str | None
    syn_retries: int | str | None
    defer_accept: float | str | None
    fastopen: int | str | None
    incoming_cpu: int | str | None
    kernel_busy_poll: float | str | None
    interface: str | None
    source: str | None
    loop: bool | str | None
    broadcast: bool | str | None
    packet_info: bool | str | None
    baud: int | str | None
    bits: int | str | None
    parity: str | None
    stop: int | str | None
    flow: str | None
    dtr: bool | str | None
    rts: bool | str | None
    exclusive: bool | str | None
    connect_timeout: float | str | None
    backlog: int | str | None
    idle_timeout: float | str | None
    max_clients: int | str | None
    cert: str | None
    key: str | None
    ca: str | None
    pin: Iterable[str] | str | None
    verify: str | None
    server_name: str | None
    alpn: Iterable[str] | str | None
    tls_min: str | None
    handshake_timeout: float | str | None
    handshake_rate: int | str | None
    access: str | None
    allow: Iterable[str] | str | None


@dataclass(frozen=True, slots=True)
class Options:
    """What is set on a channel or listener. A bad value raises ``InvalidOption`` or ``InvalidFraming``."""

    framing: Framing | None = None
    """How messages are told apart; ``None`` is the transport's own: chunks or datagrams."""
    max_message: int = 16 * 2**20
    """Bytes of the longest message; a longer one is ``MessageTooLarge``."""
    high_water: int = 2**20
    """Bytes queued for sending above which ``when_full`` decides."""
    when_full: WhenFull = WhenFull.WAIT
    nodelay: bool = True
    """Send small TCP segments at once (TCP_NODELAY)."""
    keepalive: Keepalive | None = Keepalive()  # noqa: RUF009 - frozen, like a number
    """How vanished peers are found while nothing is under way (TCP); ``None`` is off."""
    vanished_after: float | None = 30.0
    """Seconds without a word from the peer, with data under way, after which it has vanished (TCP); ``None``
    leaves it to the kernel, which takes minutes. A peer that lives and does not read is never given up."""
    reuse_address: bool | None = None
    """SO_REUSEADDR; ``None`` sets it where it is right: on TCP listeners and for multicast groups."""
    reuse_port: bool = False
    """SO_REUSEPORT: several listeners share one address, and the kernel spreads the clients."""
    send_buffer: int | None = None
    """Bytes of the kernel's send buffer; ``None`` leaves it to the kernel."""
    receive_buffer: int | None = None
    """Bytes of the kernel's receive buffer; ``None`` leaves it to the kernel."""
    linger: float | None = None
    """Seconds that leaving ``async with``, or the end of a handler, may spend on delivering what is queued;
    ``None`` is as long as it takes."""
    bind: str | None = None
    """Our own end when connecting: ``host``, ``host:port``, ``:port``, ``/path`` or ``@name``."""
    device: str | None = None
    """The network interface to stay on (SO_BINDTODEVICE)."""
    dscp: int | None = None
    """Differentiated services, 0 to 63; in text also ``EF``, ``CS0``-``CS7``, ``AF11``-``AF43``."""
    mark: int | None = None
    """Mark for routing and firewall rules (SO_MARK), 0 to 2**32 - 1."""
    priority: int | None = None
    """Queueing priority of what is sent, 0 to 6; more needs CAP_NET_ADMIN (SO_PRIORITY)."""
    ttl: int | None = None
    """Hops that packets may take, 1 to 255; multicasts go 1 unless it is set when opening (IP_TTL,
    IPV6_UNICAST_HOPS, IP_MULTICAST_TTL)."""
    mtu_discover: str | None = None
    """Path MTU discovery: ``dont``, ``want``, ``do``, ``probe``, ``interface`` or ``omit``, with the meanings
    that ip(7) has for IP_MTU_DISCOVER."""
    v6only: bool | None = None
    """Whether an IPv6 socket keeps to IPv6; ``None``: only if its host is given (IPV6_V6ONLY)."""
    freebind: bool | None = None
    """Bind to an address that this machine does not have yet (IP_FREEBIND)."""
    transparent: bool | None = None
    """Bind to foreign addresses, for proxies; needs CAP_NET_ADMIN (IP_TRANSPARENT)."""
    user_timeout: float | None = None
    """Seconds that sent data may stay unacknowledged before the connection is lost (TCP_USER_TIMEOUT)."""
    congestion: str | None = None
    """Congestion control: ``cubic``, ``bbr``, ``reno`` ... (TCP_CONGESTION)."""
    quickack: bool | None = None
    """Acknowledge at once instead of a little later; the kernel may leave this mode (TCP_QUICKACK)."""
    cork: bool | None = None
    """Send full segments only, for at most 200 ms, until it is set to False (TCP_CORK)."""
    notsent_low_water: int | None = None
    """Bytes not yet sent above which the kernel takes no more: less delay (TCP_NOTSENT_LOWAT)."""
    max_segment: int | None = None
    """Bytes of the longest segment, before connecting (TCP_MAXSEG)."""
    max_pacing_rate: int | None = None
    """Bytes a second that the kernel sends at most (SO_MAX_PACING_RATE)."""
    syn_retries: int | None = None
    """How often a connection attempt is repeated before the kernel gives up (TCP_SYNCNT)."""
    defer_accept: float | None = None
    """Seconds that a listener waits for a client's first bytes before it is accepted (TCP_DEFER_ACCEPT)."""
    fastopen: int | None = None
    """A listener takes data in the first packet, of so many clients at once (TCP_FASTOPEN)."""
    incoming_cpu: int | None = None
    """The processor whose packets a listener of a reuse_port group prefers (SO_INCOMING_CPU)."""
    kernel_busy_poll: float | None = None
    """Seconds that the kernel polls the network device before a receive sleeps (SO_BUSY_POLL)."""
    interface: str | None = None
    """The network interface of multicasts, by its name or an address of it: groups are joined there, and what
    is sent to one leaves there; ``None`` goes by the routing table."""
    source: str | None = None
    """The only sender to be heard of the multicast group that is joined (source-specific multicast)."""
    loop: bool | None = None
    """Whether programs on this machine hear the multicasts that are sent; yes unless said otherwise
    (IP_MULTICAST_LOOP)."""
    broadcast: bool = False
    """Permit sending to broadcast addresses (SO_BROADCAST)."""
    packet_info: bool = False
    """Endpoints say which of our addresses each datagram was sent to, and the interface (IP_PKTINFO)."""
    baud: int = 9600
    """Bits a second on a serial line: any rate that the device can go at."""
    bits: int = 8
    """Data bits of a byte on a serial line, 5 to 8."""
    parity: str = "none"
    """The bit behind each byte on a serial line: ``none``, ``even``, ``odd``, ``mark`` or ``space``."""
    stop: int = 1
    """Stop bits behind each byte on a serial line, 1 or 2."""
    flow: str = "none"
    """How a slow reader holds the sender back on a serial line: ``none``, ``rtscts`` by wires, ``xonxoff`` by
    the bytes 0x11 and 0x13, which messages cannot have then."""
    dtr: bool | None = None
    """The line DTR once a serial line is open; ``None`` leaves it as its driver does, which is on."""
    rts: bool | None = None
    """The line RTS once a serial line is open; ``None`` leaves it as its driver does, which is on."""
    exclusive: bool = True
    """Open a serial line for this process alone (TIOCEXCL, and a lock by flock(2))."""
    connect_timeout: float | None = 10.0
    """Seconds for connecting, with names and all attempts; ``None`` is as long as the kernel waits."""
    backlog: int = 4096
    """Connections that may wait to be accepted; the kernel caps it at net.core.somaxconn."""
    idle_timeout: float | None = 60.0
    """Seconds of silence after which a datagram listener forgets a peer; ``None`` is never."""
    max_clients: int | None = None
    """Clients at the same time; ``None`` is as many as descriptors allow."""
    cert: str | None = None
    """The file of our certificate, and behind it those between it and an authority; a listener needs one."""
    key: str | None = None
    """The file of its private key (PEM); ``None``: it stands in the file of ``cert``."""
    ca: str | None = None
    """A file of authorities to trust: instead of the system's when connecting; of a listener, who must have
    signed its clients' certificates."""
    pin: tuple[str, ...] | None = None
    """Fingerprints of the certificates that the other end may have, each ``sha256:`` and 64 digits. Without
    ``ca`` they say all: no authority is asked, for no name and no date."""
    verify: str = "full"
    """How the other end's certificate is looked at: ``full`` (also the name), ``chain`` (signed by an
    authority, for any name), ``optional`` (a listener's clients may come without one), ``none`` (not)."""
    server_name: str | None = None
    """The name that is asked for, and that the certificate must have; ``None`` is the address's host."""
    alpn: tuple[str, ...] | None = None
    """Application protocols, the preferred first: the ends agree on one (RFC 7301)."""
    tls_min: str = "1.2"
    """The oldest version of TLS that is spoken: ``1.2`` or ``1.3``."""
    handshake_timeout: float | None = 10.0
    """Seconds that a listener gives its clients for the TLS handshake; ``None`` is as long as they like. When
    connecting, ``connect_timeout`` counts."""
    handshake_rate: int | None = None
    """TLS handshakes a second that a listener begins for one address (of IPv6: one /64), five seconds of them
    at once; whoever comes beyond that is reset, and counted as a handshake that failed. ``None``: any
    number."""
    access: str | None = None
    """Who may connect to a hub: ``plain`` consents to clients without TLS and token."""
    allow: tuple[str, ...] | None = None
    """Networks that may connect to a hub, such as ``192.168.1.0/24``; ``None`` is every one."""

    def __post_init__(self) -> None:
        for name, value in self.items():
            object.__setattr__(self, name, checked(name, value))

    @classmethod
    def from_address(cls, address: Address) -> Options:
        """The options that an address carries. Raises ``InvalidOption`` naming the address."""
        given: dict[str, Any] = {}
        own = SCHEME_OPTIONS.get(address.scheme, ())
        for name, value in address.options:
            if name in own:
                continue
            check_name(name, value, address)
            try:
                read = checked(name, value)
            except InvalidOption as error:
                raise InvalidOption(name, value, error.message, error.hint, address=address) from None
            except InvalidFraming as error:
                error.address = address
                raise
            given[name] = given[name] + read if name in _LISTS and given.get(name) and read else read
        return cls(**given)

    def merge(self, **options: Unpack[OptionFields]) -> Options:
        """These options with some replaced: keyword arguments win over what an address says.

        Raises ``InvalidOption``, also for a name that does not exist.
        """
        for name, value in options.items():
            check_name(name, value)
        return replace(self, **options)  # type: ignore[arg-type]  # text is read by __post_init__

    def items(self) -> list[tuple[str, Any]]:
        """Name and value of every option, in the order of the fields."""
        return [(field.name, getattr(self, field.name)) for field in fields(self)]

    def to_query(self) -> str:
        """Every option that differs from its default, as in an address: ``framing=u32&nodelay=no``."""
        changed = [(name, value) for name, value in self.items() if value != DEFAULTS[name]]
        return format_options(tuple((name, text(name, value)) for name, value in changed))


# Reading and writing -----------------------------------------------------------------------------


def check_name(name: str, value: object, address: Address | None = None) -> None:
    """Raise ``InvalidOption`` if there is no such option, naming the nearest one."""
    if name in KINDS:
        return
    near = get_close_matches(name.replace("-", "_").lower(), KINDS, n=1)
    hint = f"did you mean {near[0]}" if near else f"the options are {', '.join(KINDS)}"
    raise InvalidOption(name, value, "there is no such option", hint, address=address)


def checked(name: str, value: Any) -> Any:
    """The value of an option, read if it is text, and within its limits."""
    kind = KINDS[name]
    if value is None or (kind.can_be_off and isinstance(value, str) and value.lower() in OFF):
        return None if kind.can_be_off else DEFAULTS[name]
    if value == "" and kind.read is not read_switch and name != "keepalive":
        raise InvalidOption(name, value, "its value is missing", f"write {name}={kind.example}")
    try:
        checked = kind.read(value) if isinstance(value, str) else value
        return kind.check(checked)
    except UnitError as error:
        raise InvalidOption(name, value, error.message, error.hint) from None


def text(name: str, value: object) -> str:
    if value is None:
        return "off"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ",".join(value)
    read = KINDS[name].read
    if read is read_seconds and isinstance(value, (int, float)):
        return format_seconds(value)
    if read is read_bytes and isinstance(value, int):
        return format_bytes(value)
    return str(value)


DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(Options)}
