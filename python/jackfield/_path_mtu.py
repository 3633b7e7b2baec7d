"""The path MTU: how long a packet may be on the way to a host, as this machine's kernel knows it by now.

The kernel keeps it for each destination, starting from the interface's own, and lowers it when a router
answers that a packet was too long (RFC 1191, RFC 8201). A connected socket shows it: IP_MTU in ip(7),
IPV6_MTU in ipv6(7).
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jackfield._address import Address

_IP_MTU, _IPV6_MTU = 14, 24


def path_mtu(place: tuple[str, int, int]) -> int:
    """Bytes of the longest IP packet to ``(host, port, scope)``; nothing is sent. Raises ``OSError``."""
    host, port, scope = place
    v6 = ":" in host
    with socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM) as scratch:
        scratch.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        scratch.connect((host, port or 9, 0, scope) if v6 else (host, port or 9))
        return path_mtu_of(scratch)


def known_path_mtu(peer: Address) -> int | None:
    """The same for an address; None if it cannot be told."""
    host, _, zone = (peer.host or "").partition("%")
    try:
        scope = socket.if_nametoindex(zone) if zone else 0
        return path_mtu((host, peer.port or 0, scope))
    except OSError:
        return None


def path_mtu_of(connected: socket.socket) -> int:
    """The same for the peer of a connected socket."""
    if connected.family == socket.AF_INET6:
        return connected.getsockopt(socket.IPPROTO_IPV6, _IPV6_MTU)
    return connected.getsockopt(socket.IPPROTO_IP, _IP_MTU)
