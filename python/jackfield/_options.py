"""Options: everything that can be set on a channel or listener, by name, in code and in addresses alike.

One field of ``Options`` is one name in an address; the table ``_KINDS`` says how its text is read and
checked. In text, units are mandatory (``5s``, ``4M``); in code, times are seconds and sizes bytes as numbers,
or the same text. ``None`` means off where an option can be off (or the kernel's choice), and
otherwise its default.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypedDict

from jackfield._address import Address
from jackfield._address_form import format_options
from jackfield._errors import InvalidFraming, InvalidOption, JackfieldError
from jackfield._framing import Framing
from jackfield._units import (
    UnitError,
    format_bytes,
    format_seconds,
    read_bytes,
    read_integer,
    read_seconds,
    read_switch,
)
from jackfield._when_full import WhenFull

if TYPE_CHECKING:
    from typing import Unpack

SCHEME_OPTIONS = {
    "udp": ("interface",),
    "serial": ("baud",),
    "raw": ("protocol",),
    "exec": ("argv",),
    "pty": ("argv",),
}
"""Options that belong to one transport: they stay in the address, and the transport reads them there."""


@dataclass(frozen=True, slots=True)
class Keepalive:
    """How a vanished peer of an idle connection is found: after ``idle`` seconds of silence, ``probes``
    questions ``interval`` seconds apart. Text: ``60s/5s/3``. The kernel counts in whole seconds."""

    idle: int = 60
    interval: int = 5
    probes: int = 3

    def __post_init__(self) -> None:
        for name, value, largest in (
            ("idle", self.idle, 32767),
            ("interval", self.interval, 32767),
            ("probes", self.probes, 127),
        ):
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= largest:
                unit = "" if name == "probes" else " seconds"
                message = f"{name} is {value}, and must be a whole number from 1 to {largest}{unit}"
                raise InvalidOption("keepalive", value, message, "write for example 60s/5s/3")

    @classmethod
    def parse(cls, text: str) -> Keepalive:
        """Read ``60s/5s/3``. Raises ``InvalidOption``."""
        parts = text.split("/")
        try:
            if len(parts) != 3:
                raise UnitError(f"{text!r} is not idle/interval/probes", "write for example 60s/5s/3, or no")
            idle, interval = read_seconds(parts[0]), read_seconds(parts[1])
            whole = idle == int(idle) and interval == int(interval)
            if not whole:
                raise UnitError("the kernel counts keepalive in whole seconds", "write for example 60s/5s/3")
            return cls(int(idle), int(interval), read_integer(parts[2]))
        except UnitError as error:
            raise InvalidOption("keepalive", text, error.message, error.hint) from None

    def __str__(self) -> str:
        return f"{self.idle}s/{self.interval}s/{self.probes}"


class OptionFields(TypedDict, total=False):
    """The keyword arguments of everything that takes options; text is read as in an address."""

    framing: Framing | str | None
    max_message: int | str | None
    high_water: int | str | None
    when_full: WhenFull | str | None
    nodelay: bool | str | None
    keepalive: Keepalive | bool | str | None
    reuse_address: bool | str | None
    reuse_port: bool | str | None
    send_buffer: int | str | None
    receive_buffer: int | str | None
    linger: float | str | None
    bind: str | None
    device: str | None
    dscp: int | str | None
    mark: int | str | None
    connect_timeout: float | str | None
    backlog: int | str | None
    idle_timeout: float | str | None
    max_clients: int | str | None
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
    keepalive: Keepalive | None = Keepalive()
    """How vanished peers are found (TCP); ``None`` is off."""
    reuse_address: bool | None = None
    """SO_REUSEADDR; ``None`` sets it where it is right: on TCP listeners."""
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
    connect_timeout: float | None = 10.0
    """Seconds for connecting, with names and all attempts; ``None`` is as long as the kernel waits."""
    backlog: int = 4096
    """Connections that may wait to be accepted; the kernel caps it at net.core.somaxconn."""
    idle_timeout: float | None = 60.0
    """Seconds of silence after which a datagram listener forgets a peer; ``None`` is never."""
    max_clients: int | None = None
    """Clients at the same time; ``None`` is as many as descriptors allow."""
    access: str | None = None
    """Who may connect to a hub: ``plain`` consents to clients without TLS and token."""
    allow: tuple[str, ...] | None = None
    """Networks that may connect to a hub, such as ``192.168.1.0/24``; ``None`` is every one."""

    def __post_init__(self) -> None:
        for name, value in self.items():
            object.__setattr__(self, name, _checked(name, value))

    @classmethod
    def from_address(cls, address: Address) -> Options:
        """The options that an address carries. Raises ``InvalidOption`` naming the address."""
        given: dict[str, Any] = {}
        own = SCHEME_OPTIONS.get(address.scheme, ())
        for name, value in address.options:
            if name in own:
                continue
            if name not in _KINDS:
                raise _unknown(name, value, address)
            try:
                read = _checked(name, value)
            except InvalidOption as error:
                raise InvalidOption(name, value, error.message, error.hint, address=address) from None
            except InvalidFraming as error:
                error.address = address
                raise
            given[name] = given[name] + read if name == "allow" and given.get(name) and read else read
        return cls(**given)

    def merge(self, **options: Unpack[OptionFields]) -> Options:
        """These options with some replaced: keyword arguments win over what an address says.

        Raises ``InvalidOption``, also for a name that does not exist.
        """
        for name, value in options.items():
            if name not in _KINDS:
                raise _unknown(name, value, None)
        return replace(self, **options)  # type: ignore[arg-type]  # text is read by __post_init__

    def items(self) -> list[tuple[str, Any]]:
        """Name and value of every option, in the order of the fields."""
        return [(field.name, getattr(self, field.name)) for field in fields(self)]

    def to_query(self) -> str:
        """Every option that differs from its default, as in an address: ``framing=u32&nodelay=no``."""
        changed = [(name, value) for name, value in self.items() if value != _DEFAULTS[name]]
        return format_options(tuple((name, _text(name, value)) for name, value in changed))


def bind_address(scheme: str, text: str) -> Address:
    """The ``bind`` option as an address of the scheme; a missing port is 0. Raises ``InvalidAddress``."""
    if text.startswith(("/", "@")):
        return Address(scheme, path=text)
    bare_ipv6 = text.count(":") > 1 and not text.startswith("[")
    host = f"[{text}]" if bare_ipv6 else text
    has_port = ":" in host.rpartition("]")[2]
    return Address.parse(f"{scheme}://{host}" if has_port else f"{scheme}://{host}:0")


_OFF = frozenset({"off", "no", "none", "false"})


# Reading and checking -----------------------------------------------------------------------------


def _unknown(name: str, value: object, address: Address | None) -> InvalidOption:
    near = get_close_matches(name.replace("-", "_").lower(), _KINDS, n=1)
    hint = f"did you mean {near[0]}" if near else f"the options are {', '.join(_KINDS)}"
    return InvalidOption(name, value, "there is no such option", hint, address=address)


def _checked(name: str, value: Any) -> Any:
    """The value of an option, read if it is text, and within its limits."""
    kind = _KINDS[name]
    if value is None or (kind.can_be_off and isinstance(value, str) and value.lower() in _OFF):
        return None if kind.can_be_off else _DEFAULTS[name]
    if value == "" and kind.read is not read_switch and name != "keepalive":
        raise InvalidOption(name, value, "its value is missing", f"write {name}={kind.example}")
    try:
        checked = kind.read(value) if isinstance(value, str) else value
        return kind.check(checked)
    except UnitError as error:
        raise InvalidOption(name, value, error.message, error.hint) from None


def _text(name: str, value: object) -> str:
    if value is None:
        return "off"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ",".join(value)
    read = _KINDS[name].read
    if read is read_seconds and isinstance(value, (int, float)):
        return format_seconds(value)
    if read is read_bytes and isinstance(value, int):
        return format_bytes(value)
    return str(value)


class _Kind:
    """How one option is read from text and checked, and whether ``off`` and ``no`` mean None."""

    def __init__(
        self,
        read: Callable[[str], Any],
        check: Callable[[Any], Any],
        example: str,
        *,
        can_be_off: bool = True,
    ) -> None:
        self.read = read
        self.check = check
        self.example = example
        self.can_be_off = can_be_off


def _whole(smallest: int, largest: int, form: Callable[[int], str] = str) -> Callable[[Any], int]:
    limits = f"from {form(smallest)} to {form(largest)}"

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise UnitError(f"{value!r} is not a whole number", f"give a number {limits}")
        if not smallest <= value <= largest:
            raise UnitError(
                f"{form(value) if value >= 0 else value} is outside its limits", f"give a number {limits}"
            )
        return value

    return check


def _seconds(smallest: float, largest: float) -> Callable[[Any], float]:
    limits = f"give a time from {format_seconds(smallest)} to {format_seconds(largest)}"

    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise UnitError(f"{value!r} is not a time in seconds", limits)
        if not smallest <= value <= largest:
            raise UnitError(f"{value:g} s is outside its limits", limits)
        return float(value)

    return check


def _size(smallest: int, largest: int, *, can_be_off: bool = True) -> _Kind:
    return _Kind(read_bytes, _whole(smallest, largest, format_bytes), "4M", can_be_off=can_be_off)


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise UnitError(f"{value!r} is neither True nor False", "give True or False")
    return value


def _framing(value: Any) -> Framing:
    return value if isinstance(value, Framing) else Framing(_plain(value))


def _plain(value: Any) -> str:
    if not isinstance(value, str):
        raise UnitError(f"{value!r} is not text", "give a str")
    return value


def _when_full(value: Any) -> WhenFull:
    try:
        return WhenFull(value)
    except ValueError:
        near = get_close_matches(str(value).lower(), list(WhenFull), n=1)
        hint = f"did you mean {near[0]}" if near else f"write one of {', '.join(WhenFull)}"
        raise UnitError(f"{value!r} is no policy for a full queue", hint) from None


def _read_keepalive(text: str) -> Keepalive:
    return Keepalive() if text.lower() in ("", "yes", "on", "true") else Keepalive.parse(text)


def _keepalive(value: Any) -> Keepalive | None:
    if isinstance(value, bool):
        return Keepalive() if value else None
    if not isinstance(value, Keepalive):
        raise UnitError(f"{value!r} is not a Keepalive", "give Keepalive(60, 5, 3), '60s/5s/3' or None")
    return value


def _bind(value: Any) -> str:
    text = _plain(value)
    try:
        bind_address("unix" if text.startswith(("/", "@")) else "tcp", text)
    except JackfieldError as error:
        hint = "write host, host:port, :port, /path or @name, such as 192.168.1.5:0"
        raise UnitError(error.message, hint) from None
    return text


def _device(value: Any) -> str:
    text = _plain(value)
    if (
        not 1 <= len(text.encode("utf-8", "surrogateescape")) <= 15
        or "/" in text
        or not text.isprintable()
        or " " in text
    ):
        raise UnitError(
            f"{text!r} is not a network interface", "write a name such as eth0 (ip link lists them)"
        )
    return text


def _read_dscp(text: str) -> int:
    upper = text.upper()
    if upper == "EF":
        return 46
    if len(upper) == 3 and upper[:2] == "CS" and upper[2] in "01234567":
        return 8 * int(upper[2])
    if len(upper) == 4 and upper[:2] == "AF" and upper[2] in "1234" and upper[3] in "123":
        return 8 * int(upper[2]) + 2 * int(upper[3])
    return read_integer(text)


def _allow(value: Any) -> tuple[str, ...]:
    networks = []
    for part in [value] if isinstance(value, str) else value:
        try:
            networks.append(str(ipaddress.ip_network(_plain(part))))
        except ValueError as error:
            if isinstance(error, UnitError):
                raise
            hint = "write for example 192.168.1.0/24"
            if "host bits" in str(error):
                network = ipaddress.ip_network(part, strict=False)
                hint = f"write {network} for the network, or {part.partition('/')[0]} for one host"
            raise UnitError(f"{part!r} is not a network", hint) from None
    return tuple(networks)


_DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(Options)}
_KINDS: dict[str, _Kind] = {
    "framing": _Kind(_plain, _framing, "u32", can_be_off=False),
    "max_message": _size(1, 2**40, can_be_off=False),
    "high_water": _size(1, 2**40, can_be_off=False),
    "when_full": _Kind(_plain, _when_full, "wait", can_be_off=False),
    "nodelay": _Kind(read_switch, _switch, "yes", can_be_off=False),
    "keepalive": _Kind(_read_keepalive, _keepalive, "60s/5s/3"),
    "reuse_address": _Kind(read_switch, _switch, "yes", can_be_off=False),
    "reuse_port": _Kind(read_switch, _switch, "yes", can_be_off=False),
    "send_buffer": _size(1, 2**31 - 1),
    "receive_buffer": _size(1, 2**31 - 1),
    "linger": _Kind(read_seconds, _seconds(0, 65535), "5s"),
    "bind": _Kind(_plain, _bind, "192.168.1.5"),
    "device": _Kind(_plain, _device, "eth0"),
    "dscp": _Kind(_read_dscp, _whole(0, 63), "46"),
    "mark": _Kind(read_integer, _whole(0, 2**32 - 1), "1"),
    "connect_timeout": _Kind(read_seconds, _seconds(1e-6, 86400), "5s"),
    "backlog": _Kind(read_integer, _whole(1, 2**31 - 1), "4096", can_be_off=False),
    "idle_timeout": _Kind(read_seconds, _seconds(1e-3, 31536000), "60s"),
    "max_clients": _Kind(read_integer, _whole(1, 2**31 - 1), "1000"),
    "access": _Kind(_plain, _plain, "plain"),
    "allow": _Kind(lambda text: tuple(filter(None, text.split(","))), _allow, "192.168.1.0/24"),
}
