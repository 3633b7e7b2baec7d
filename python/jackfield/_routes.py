"""What this machine's routing and neighbour tables say of a host, asked of the kernel (rtnetlink(7)).

Needs no privilege and sends no packet. Evidence only: what cannot be found out is None.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from dataclasses import dataclass

_NEWROUTE, _GETROUTE, _NEWNEIGH, _GETNEIGH, _ERROR = 24, 26, 28, 30, 2
_REQUEST = 1
_LOCAL = 2  # RTN_LOCAL
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PREFSRC, _RTA_VIA = 1, 4, 5, 7, 18
_NDA_DST = 1
_USABLE = (
    0x02 | 0x04 | 0x08 | 0x40 | 0x80
)  # reachable, stale, delayed, without ARP, permanent (linux/neighbour.h)
_FAILED = 0x01 | 0x20  # asked for, and not answered

_REFUSING = {
    errno.EHOSTUNREACH: "unreachable",
    errno.EACCES: "prohibit",
    errno.EINVAL: "blackhole",
}


@dataclass(frozen=True)
class Route:
    """How packets to a host leave this machine."""

    kind: str
    """"unicast", "local" (the host is this machine), "none", or a route that refuses: "unreachable",
    "prohibit", "blackhole"."""
    device: str | None = None
    """The interface."""
    gateway: str | None = None
    """The router that they go to first; None on the local link."""

    @property
    def refuses(self) -> bool:
        """Whether a route was set up to say no."""
        return self.kind in _REFUSING.values()


def route_to(host: str) -> Route | None:
    """The route that the kernel would take to a numeric host; None where it cannot be asked."""
    asked = _packed(host)
    if asked is None:
        return None
    family, address, scope = asked
    body = struct.pack("BBBBBBBBI", family, len(address) * 8, 0, 0, 0, 0, 0, 0, 0) + _attribute(
        _RTA_DST, address
    )
    if scope:
        body += _attribute(_RTA_OIF, struct.pack("I", scope))
    answer = _ask(_GETROUTE, body)
    if isinstance(answer, int):
        refused = {errno.ENETUNREACH: "none", **_REFUSING}.get(answer)
        return Route(refused) if refused else None
    if answer is None or len(answer) < 12:
        return None
    found = _attributes(answer[12:])
    kind = "local" if answer[7] == _LOCAL else "unicast"
    refusing = {7: "unreachable", 6: "blackhole", 8: "prohibit"}.get(answer[7])
    return Route(refusing or kind, _device(found.get(_RTA_OIF)), _gateway(found))


def is_own(host: str | None) -> bool:
    """Whether a numeric host is an address of this machine."""
    route = route_to(host) if host else None
    return route is not None and route.kind == "local"


def refuses(host: str) -> bool:
    """Whether a route of this machine was set up to say no to a numeric host."""
    route = route_to(host)
    return route is not None and route.refuses


def neighbour_answers(host: str, device: str) -> bool | None:
    """Whether a neighbour on the local link has answered lately; None if the table does not say."""
    asked = _packed(host)
    if asked is None:
        return None
    try:
        index = socket.if_nametoindex(device)
    except OSError:
        return None
    family, address, _ = asked
    answer = _ask(_GETNEIGH, struct.pack("BxxxiHBB", family, index, 0, 0, 0) + _attribute(_NDA_DST, address))
    if not isinstance(answer, bytes) or len(answer) < 12:
        return None
    state = int.from_bytes(answer[8:10], "little" if struct.pack("H", 1)[0] else "big")
    return True if state & _USABLE else False if state & _FAILED else None


def _packed(host: str) -> tuple[int, bytes, int] | None:
    plain, _, zone = host.partition("%")
    try:
        ip = ipaddress.ip_address(plain)
        scope = (int(zone) if zone.isdigit() else socket.if_nametoindex(zone)) if zone else 0
    except (ValueError, OSError):
        return None
    return (socket.AF_INET if ip.version == 4 else socket.AF_INET6), ip.packed, scope


def _ask(kind: int, body: bytes) -> bytes | int | None:
    """One question: the answer's body, the error number, or None where netlink is not allowed."""
    message = struct.pack("IHHII", 16 + len(body), kind, _REQUEST, 1, 0) + body
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as asking:
            asking.settimeout(0.5)  # the kernel answers within the call; this is for a broken sandbox
            asking.sendto(message, (0, 0))
            answer = asking.recv(8192)
    except OSError:
        return None
    if len(answer) < 20:
        return None
    said = struct.unpack_from("H", answer, 4)[0]
    if said == _ERROR:
        return -int(struct.unpack_from("i", answer, 16)[0])
    return answer[16:] if said in (_NEWROUTE, _NEWNEIGH) else None


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def _attributes(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("HH", data)
        if not 4 <= length <= len(data):
            break
        found[kind] = data[4:length]
        data = data[(length + 3) & ~3 :]
    return found


def _device(index: bytes | None) -> str | None:
    if index is None:
        return None
    try:
        return socket.if_indextoname(struct.unpack("I", index)[0])
    except OSError:
        return None


def _gateway(found: dict[int, bytes]) -> str | None:
    raw = found.get(_RTA_GATEWAY) or found.get(_RTA_VIA, b"")[2:]
    if len(raw) not in (4, 16):
        return None
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)
