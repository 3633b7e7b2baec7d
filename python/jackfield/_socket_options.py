"""The kernel's socket options: what each one is to setsockopt(2), set and read back by one table.

A row of ``SOCKET_OPTIONS`` names the option as ``Options`` does, its place in each address family, the form
of its value, the transports that have it, and when it can be set. What ``None`` means is the row's, too: for
some options there is a number that turns them off, the others can only be left alone. Sources: socket(7),
ip(7), ipv6(7), tcp(7), and linux/in.h, linux/in6.h, asm-generic/socket.h for the numbers that Python does not
name. The rows are used by ``opening_settings`` here, and for open sockets in ``_kernel_options``.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jackfield._keepalive import Keepalive
from jackfield._option_values import MTU_DISCOVER

if TYPE_CHECKING:
    from jackfield._options import Options

SOL, IP, IPV6, TCP = socket.SOL_SOCKET, socket.IPPROTO_IP, socket.IPPROTO_IPV6, socket.IPPROTO_TCP
ANY_FAMILY = 0

Setting = tuple[int, int, bytes]
"""Level, number and value for setsockopt(2)."""

Read = Callable[[int, int, int], bytes]
"""Reads an option: level, number, bytes at most. Raises OSError."""

ALL = frozenset({"tcp", "tls", "udp", "unix", "unix+dgram", "unix+seqpacket", "pair"})
INTERNET = frozenset({"tcp", "tls", "udp"})
STREAM = frozenset({"tcp", "tls"})
DATAGRAM = frozenset({"udp"})


@dataclass(frozen=True, slots=True)
class Place:
    """One option of the kernel's."""

    family: int
    """The address family that it is for, or ``ANY_FAMILY``."""
    level: int
    number: int
    constant: str
    """Its name in the manual pages."""


class Form:
    """How a value becomes the kernel's number and back."""

    size = 4

    def __init__(
        self,
        to_number: Callable[[Any], int] = int,
        to_value: Callable[[int], Any] = int,
        *,
        off: int | None = None,
        reads_as_off: int | None = None,
    ) -> None:
        self._to_number = to_number
        self._to_value = to_value
        self._off = off
        self._reads_as_off = reads_as_off

    def encode(self, value: Any) -> bytes:
        """The kernel's bytes. Raises ``ValueError`` for None if nothing turns the option off."""
        number = self._off if value is None else self._to_number(value)
        if number is None:
            raise ValueError("it can be left alone when a socket is opened, but not taken back")
        return struct.pack("I", number & 0xFFFFFFFF)

    def decode(self, raw: bytes) -> Any:
        """The value; None for off."""
        number = int.from_bytes(raw[:4], sys.byteorder)
        return None if number == self._reads_as_off else self._to_value(number)


class _Text(Form):
    """A name, ended by a NUL."""

    size = 16

    def encode(self, value: Any) -> bytes:
        return (value or "").encode("utf-8", "surrogateescape") + b"\0"

    def decode(self, raw: bytes) -> Any:
        return raw.partition(b"\0")[0].decode("utf-8", "surrogateescape") or None


@dataclass(frozen=True, slots=True)
class SocketOption:
    """A row of the table."""

    name: str
    places: tuple[Place, ...]
    form: Form
    transports: frozenset[str] = INTERNET
    when: str = "any time"
    """``any time`` or ``before bind``."""
    listens: bool = False
    """It means something to listeners alone."""
    kernel_default: Any = None
    """The value that a new socket has anyway, so that it need not be set."""

    def settings(self, value: Any, family: int) -> list[Setting]:
        """What to set on a socket of the family. Raises ``ValueError`` for None where that cannot be set."""
        raw = self.form.encode(value)
        return [(place.level, place.number, raw) for place in self.places_of(family)]

    def read(self, read: Read, family: int) -> Any:
        """The value in force. Raises ``OSError``."""
        place = self.places_of(family)[0]
        return self.form.decode(read(place.level, place.number, self.form.size))

    def places_of(self, family: int) -> list[Place]:
        """Where it is in this family; the first is read, all are set."""
        return [place for place in self.places if place.family in (ANY_FAMILY, family)]

    @property
    def constants(self) -> str:
        """The manual pages' names."""
        return ", ".join(dict.fromkeys(place.constant for place in self.places))


class _KeepaliveOption(SocketOption):
    """A switch and three numbers."""

    __slots__ = ()

    def settings(self, value: Any, family: int) -> list[Setting]:
        switch, *rest = self.places_of(family)
        numbers = () if value is None else (value.idle, value.interval, value.probes)
        return [
            (switch.level, switch.number, struct.pack("i", value is not None)),
            *(
                (place.level, place.number, struct.pack("i", number))
                for place, number in zip(rest, numbers, strict=False)
            ),
        ]

    def read(self, read: Read, family: int) -> Any:
        values = [
            struct.unpack("i", read(place.level, place.number, 4))[0] for place in self.places_of(family)
        ]
        return Keepalive(*values[1:]) if values[0] else None


_SWITCH = Form(int, bool)
_NUMBER = Form()
_MILLISECONDS = Form(
    lambda seconds: max(1, round(seconds * 1e3)), lambda number: number / 1e3, off=0, reads_as_off=0
)
_MICROSECONDS = Form(
    lambda seconds: max(1, round(seconds * 1e6)), lambda number: number / 1e6, off=0, reads_as_off=0
)
_WHOLE_SECONDS = Form(lambda seconds: max(1, round(seconds)), float, off=0, reads_as_off=0)
_LENGTH = Form(off=0, reads_as_off=0)
_OR_ZERO = Form(off=0)
_OR_UNLIMITED = Form(off=2**32 - 1, reads_as_off=2**32 - 1)
_DSCP = Form(lambda value: int(value) << 2, lambda number: number >> 2, off=0)
_HOPS = Form(off=-1)
_MTU_DISCOVER = Form(MTU_DISCOVER.index, lambda number: MTU_DISCOVER[number])
_CPU = Form(reads_as_off=2**32 - 1)


def _both(level: str, number: int, level6: str, number6: int) -> tuple[Place, ...]:
    """A place in each family; an IPv6 socket may speak IPv4, too, and then its IPv4 option counts."""
    return (
        Place(socket.AF_INET, IP, number, level),
        Place(socket.AF_INET6, IPV6, number6, level6),
        Place(socket.AF_INET6, IP, number, level),
    )


def _one(level: int, number: int, constant: str) -> tuple[Place, ...]:
    return (Place(ANY_FAMILY, level, number, constant),)


_ROWS: list[SocketOption] = [
    SocketOption("nodelay", _one(TCP, 1, "TCP_NODELAY"), _SWITCH, STREAM, kernel_default=False),
    _KeepaliveOption(
        "keepalive",
        (
            Place(ANY_FAMILY, SOL, 9, "SO_KEEPALIVE"),
            Place(ANY_FAMILY, TCP, 4, "TCP_KEEPIDLE"),
            Place(ANY_FAMILY, TCP, 5, "TCP_KEEPINTVL"),
            Place(ANY_FAMILY, TCP, 6, "TCP_KEEPCNT"),
        ),
        _NUMBER,
        STREAM,
    ),
    SocketOption("reuse_address", _one(SOL, 2, "SO_REUSEADDR"), _SWITCH, INTERNET, "before bind"),
    SocketOption(
        "reuse_port", _one(SOL, 15, "SO_REUSEPORT"), _SWITCH, INTERNET, "before bind", kernel_default=False
    ),
    SocketOption("send_buffer", _one(SOL, 7, "SO_SNDBUF"), _NUMBER, ALL),
    SocketOption("receive_buffer", _one(SOL, 8, "SO_RCVBUF"), _NUMBER, ALL),
    SocketOption("device", _one(SOL, 25, "SO_BINDTODEVICE"), _Text()),
    SocketOption("dscp", _both("IP_TOS", 1, "IPV6_TCLASS", 67), _DSCP),
    SocketOption("mark", _one(SOL, 36, "SO_MARK"), _OR_ZERO),
    SocketOption("priority", _one(SOL, 12, "SO_PRIORITY"), _OR_ZERO),
    SocketOption("ttl", _both("IP_TTL", 2, "IPV6_UNICAST_HOPS", 16), _HOPS),
    SocketOption("mtu_discover", _both("IP_MTU_DISCOVER", 10, "IPV6_MTU_DISCOVER", 23), _MTU_DISCOVER),
    SocketOption("v6only", (Place(socket.AF_INET6, IPV6, 26, "IPV6_V6ONLY"),), _SWITCH, when="before bind"),
    SocketOption("freebind", _both("IP_FREEBIND", 15, "IPV6_FREEBIND", 78), _SWITCH, when="before bind"),
    SocketOption(
        "transparent", _both("IP_TRANSPARENT", 19, "IPV6_TRANSPARENT", 75), _SWITCH, when="before bind"
    ),
    SocketOption("user_timeout", _one(TCP, 18, "TCP_USER_TIMEOUT"), _MILLISECONDS, STREAM),
    SocketOption("congestion", _one(TCP, 13, "TCP_CONGESTION"), _Text(), STREAM),
    SocketOption("quickack", _one(TCP, 12, "TCP_QUICKACK"), _SWITCH, STREAM),
    SocketOption("cork", _one(TCP, 3, "TCP_CORK"), _SWITCH, STREAM),
    SocketOption("notsent_low_water", _one(TCP, 25, "TCP_NOTSENT_LOWAT"), _LENGTH, STREAM),
    SocketOption("max_segment", _one(TCP, 2, "TCP_MAXSEG"), _NUMBER, STREAM),
    SocketOption("max_pacing_rate", _one(SOL, 47, "SO_MAX_PACING_RATE"), _OR_UNLIMITED, STREAM),
    SocketOption("syn_retries", _one(TCP, 7, "TCP_SYNCNT"), _NUMBER, STREAM),
    SocketOption("defer_accept", _one(TCP, 9, "TCP_DEFER_ACCEPT"), _WHOLE_SECONDS, STREAM, listens=True),
    SocketOption("fastopen", _one(TCP, 23, "TCP_FASTOPEN"), _LENGTH, STREAM, listens=True),
    SocketOption("incoming_cpu", _one(SOL, 49, "SO_INCOMING_CPU"), _CPU),
    SocketOption("kernel_busy_poll", _one(SOL, 46, "SO_BUSY_POLL"), _MICROSECONDS),
    SocketOption("loop", _both("IP_MULTICAST_LOOP", 34, "IPV6_MULTICAST_LOOP", 19), _SWITCH, DATAGRAM),
    SocketOption("broadcast", _one(SOL, 6, "SO_BROADCAST"), _SWITCH, DATAGRAM, kernel_default=False),
    SocketOption(
        "packet_info",
        _both("IP_PKTINFO", 8, "IPV6_RECVPKTINFO", 49),
        _SWITCH,
        DATAGRAM,
        kernel_default=False,
    ),
]
SOCKET_OPTIONS: dict[str, SocketOption] = {row.name: row for row in _ROWS}
"""Every option of the kernel's by its name in ``Options``, in the same order."""


def opening_settings(options: Options, protocol: str, family: int, *, listening: bool) -> list[Setting]:
    """What to set on a new socket before it is bound or connected, in order."""
    return [
        setting
        for row, value in chosen_options(options, protocol, listening=listening)
        for setting in row.settings(value, family)
    ]


def chosen_options(options: Options, protocol: str, *, listening: bool) -> Iterator[tuple[SocketOption, Any]]:
    """The rows that have to be set, with their values."""
    for row in SOCKET_OPTIONS.values():
        value = getattr(options, row.name)
        if row.name == "reuse_address" and value is None:
            value = (protocol in STREAM and listening) or None
        if value is not None and value != row.kernel_default and protocol in row.transports:
            yield row, value
