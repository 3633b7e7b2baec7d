"""Asking the kernel over netlink: routes, neighbours and sockets. None of it needs a privilege.

Here is only the wire form (netlink(7), rtnetlink(7), sock_diag(7)): what the answers mean is for those who
ask. Every function raises ``OSError`` where the kernel says no or does not know the question, and blocks for
as long as the kernel takes, which answers at once.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = [  # noqa: RUF022 - sorted as every other module's
    "CLOSE",
    "InetSocket",
    "LISTEN",
    "RouteAnswer",
    "UnixSocket",
    "inet_sockets",
    "neighbour",
    "neighbours",
    "read_table",
    "route_to",
    "tcp_socket",
    "unix_sockets",
]

_ROUTE, _SOCK_DIAG = 0, 4
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3
_GETROUTE, _NEWROUTE = 26, 24
_GETNEIGH, _NEWNEIGH = 30, 28
_BY_FAMILY = 20
_PATIENCE = 2.0

_ROUTE_KINDS = {
    1: "unicast", 2: "local", 3: "broadcast", 4: "broadcast", 5: "multicast", 6: "blackhole",
    7: "unreachable", 8: "prohibit",
}  # fmt: skip
_NEIGHBOUR_STATES = {
    0x01: "incomplete", 0x02: "reachable", 0x04: "stale", 0x08: "delay", 0x10: "probe", 0x20: "failed",
    0x40: "noarp", 0x80: "permanent",
}  # fmt: skip

LISTEN, CLOSE = 10, 7
"""States of include/net/tcp_states.h; an unconnected datagram socket is in CLOSE."""


@dataclass(frozen=True)
class RouteAnswer:
    """A route: what it does ("unicast", "local", "unreachable" ...), from where, and over what."""

    kind: str
    source: str | None
    interface: str | None
    gateway: str | None
    """The router that packets go to first; None on the local link."""


@dataclass(frozen=True)
class InetSocket:
    """A socket of sock_diag. Of a listener ``received`` are the waiting connections, ``sent`` their limit."""

    host: str
    port: int
    state: int
    received: int
    sent: int
    uid: int
    inode: int
    v6only: bool = False
    interface: int = 0


@dataclass(frozen=True)
class UnixSocket:
    """A Unix socket of sock_diag that has a name."""

    name: bytes
    """As bound: a path, or ``\\0`` and an abstract name."""
    kind: int
    state: int
    inode: int
    file: tuple[int, int] | None
    """Inode and device of its file."""
    received: int
    sent: int
    uid: int | None


def route_to(host: str) -> RouteAnswer:
    """The route that a packet to an address (a number) would take now."""
    family, packed = _packed(host)
    body = struct.pack("=BBBBBBBBI", family, len(packed) * 8, 0, 0, 0, 0, 0, 0, 0)
    zone = host.partition("%")[2]
    wanted = _attribute(1, packed)
    if zone:
        index = int(zone) if zone.isdigit() else socket.if_nametoindex(zone)
        wanted += _attribute(4, struct.pack("=I", index))
    for kind, data in _ask(_ROUTE, _GETROUTE, _REQUEST, body + wanted):
        if kind == _NEWROUTE:
            found = _attributes(data[12:])
            oif = found.get(4)
            via = found.get(5) or found.get(18, b"")[2:]
            return RouteAnswer(
                _ROUTE_KINDS.get(data[7], "unknown"),
                _readable(found.get(7)),
                _interface(struct.unpack("=I", oif)[0]) if oif else None,
                _readable(via),
            )
    raise OSError("the kernel gave no route")


def neighbours() -> dict[str, str]:
    """The state of every host on the local links that the kernel knows: "reachable", "failed" and so on."""
    found: dict[str, str] = {}
    for kind, data in _ask(_ROUTE, _GETNEIGH, _REQUEST | _DUMP, struct.pack("=BxxxiHBB", 0, 0, 0, 0, 0)):
        host = _readable(_attributes(data[12:]).get(1)) if kind == _NEWNEIGH else None
        if host is not None:
            found[host] = _neighbour_state(data)
    return found


def neighbour(host: str, interface: str) -> str | None:
    """The state of one host (a number) on an interface's link; None for one that was never asked for."""
    family, packed = _packed(host)
    index = socket.if_nametoindex(interface)
    body = struct.pack("=BxxxiHBB", family, index, 0, 0, 0) + _attribute(1, packed)
    try:
        for kind, data in _ask(_ROUTE, _GETNEIGH, _REQUEST, body):
            if kind == _NEWNEIGH:
                return _neighbour_state(data)
    except FileNotFoundError:
        pass
    return None


def inet_sockets(protocol: int, states: tuple[int, ...]) -> Iterator[InetSocket]:
    """Every TCP or UDP socket of this network name space in one of the states, IPv4 before IPv6."""
    mask = sum(1 << state for state in states)
    for family in (socket.AF_INET, socket.AF_INET6):
        body = struct.pack("=BBBxI", family, protocol, 0, mask) + bytes(48)
        for kind, data in _ask(_SOCK_DIAG, _BY_FAMILY, _REQUEST | _DUMP, body):
            if kind == _BY_FAMILY:
                yield _inet_socket(data)


def tcp_socket(local: tuple[str, int], peer: tuple[str, int]) -> InetSocket | None:
    """The TCP socket with exactly these ends, seen from its own side; its inode is 0 until it is accepted."""
    family, own = _packed(local[0])
    _, other = _packed(peer[0])
    ends = struct.pack(">HH", local[1], peer[1]) + own.ljust(16, b"\0") + other.ljust(16, b"\0")
    body = struct.pack("=BBBxI", family, socket.IPPROTO_TCP, 0, 0xFFFFFFFF) + ends + bytes(4) + b"\xff" * 8
    try:
        answers = list(_ask(_SOCK_DIAG, _BY_FAMILY, _REQUEST, body))
    except FileNotFoundError:
        return None
    found = [_inet_socket(data) for kind, data in answers if kind == _BY_FAMILY]
    return next((one for one in found if one.state != LISTEN), None)


def read_table(table: Path) -> Iterator[InetSocket]:
    """The sockets in one of /proc/net/{tcp,tcp6,udp,udp6} (proc(5)), where the kernel has no sock_diag.

    How many connections an accept queue holds is in there, its limit is not: ``sent`` is -1.
    """
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:
        return
    for line in lines:
        columns = line.split()
        if len(columns) < 10:
            continue
        digits, _, port = columns[1].partition(":")
        words = bytes.fromhex(digits)  # hosts are printed as 32-bit numbers of this machine
        packed = b"".join(
            int.from_bytes(words[start : start + 4], "big").to_bytes(4, sys.byteorder)
            for start in range(0, len(words), 4)
        )
        state, received = int(columns[3], 16), int(columns[4].partition(":")[2], 16)
        host = _readable(packed) or ""
        yield InetSocket(host, int(port, 16), state, received, -1, int(columns[7]), int(columns[9]))


def unix_sockets() -> Iterator[UnixSocket]:
    """Every Unix socket with a name."""
    name, file, queue, uid = 0x01, 0x02, 0x10, 0x40
    body = struct.pack("=BBHIII", socket.AF_UNIX, 0, 0, 0xFFFFFFFF, 0, name | file | queue | uid) + bytes(8)
    for kind, data in _ask(_SOCK_DIAG, _BY_FAMILY, _REQUEST | _DUMP, body):
        if kind != _BY_FAMILY:
            continue
        _, socket_kind, state, inode = struct.unpack_from("=BBBxI", data)
        found = _attributes(data[16:])
        if 0 in found:
            received, sent = struct.unpack("=II", found[4]) if 4 in found else (0, 0)
            yield UnixSocket(
                found[0] if found[0][:1] == b"\0" else found[0].rstrip(b"\0"),
                socket_kind,
                state,
                inode,
                struct.unpack("=II", found[1]) if 1 in found else None,
                received,
                sent,
                struct.unpack("=I", found[7])[0] if 7 in found else None,
            )


# The wire form ------------------------------------------------------------------------------------


def _ask(protocol: int, kind: int, flags: int, body: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and body of each message of the answer."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol) as link:
        link.settimeout(_PATIENCE)
        link.send(struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body)
        while True:
            data = link.recv(1 << 18)
            if len(data) < 16:
                raise OSError(errno.EBADMSG, "the kernel's answer cannot be read")
            while len(data) >= 16:
                length, answer, answer_flags, _, _ = struct.unpack_from("=IHHII", data)
                if answer == _DONE:
                    return
                if length < 16:
                    raise OSError(errno.EBADMSG, "the kernel's answer cannot be read")
                if answer == _ERROR:
                    number = -struct.unpack_from("=i", data, 16)[0]
                    if number:
                        raise OSError(number, os.strerror(number))
                    return
                yield answer, data[16:length]
                if not answer_flags & 0x2:  # NLM_F_MULTI: more follows
                    return
                data = data[(length + 3) & ~3 :]


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _attributes(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if length < 4:
            break
        found[kind & 0x3FFF] = data[4:length]
        data = data[(length + 3) & ~3 :]
    return found


def _inet_socket(data: bytes) -> InetSocket:
    family, state = data[0], data[1]
    port = int.from_bytes(data[4:6], "big")
    host = _readable(data[8:12] if family == socket.AF_INET else data[8:24])
    (interface,) = struct.unpack_from("=I", data, 40)
    _, received, sent, uid, inode = struct.unpack_from("=IIIII", data, 52)
    v6only = _attributes(data[72:]).get(11, b"\0") != b"\0"
    return InetSocket(host or "", port, state, received, sent, uid, inode, v6only, interface)


def _neighbour_state(data: bytes) -> str:
    return _NEIGHBOUR_STATES.get(struct.unpack_from("=H", data, 8)[0], "unknown")


def _packed(host: str) -> tuple[int, bytes]:
    host = host.partition("%")[0]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return family, socket.inet_pton(family, host)


def _readable(packed: bytes | None) -> str | None:
    if packed is None or len(packed) not in (4, 16):
        return None
    if len(packed) == 16 and packed.startswith(b"\0" * 10 + b"\xff\xff"):
        packed = packed[12:]
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def _interface(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:
        return f"interface {index}"
