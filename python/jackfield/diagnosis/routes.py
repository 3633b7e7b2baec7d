"""Which way a packet would go: source, interface and next hop, and whether the next hop is there."""

from __future__ import annotations

import errno
import socket
import time

from jackfield import netlink

from .observations import Neighbour, Route

_NO_ROUTE = {
    errno.ENETUNREACH: "none",
    errno.EHOSTUNREACH: "unreachable",
    errno.EACCES: "prohibit",
    errno.EINVAL: "blackhole",
}


def look_up_route(host: str) -> Route:
    """The route to an address, which must be a number; sends nothing."""
    begun = time.monotonic()
    try:
        answer = netlink.route_to(host)
    except OSError as error:
        kind = _NO_ROUTE.get(error.errno or 0)
        if kind is None:
            return _by_socket(host, begun)
        return Route(host, time.monotonic() - begun, kind)
    return Route(host, time.monotonic() - begun, answer.kind, answer.source, answer.interface, answer.gateway)


def _by_socket(host: str, begun: float) -> Route:
    """Where netlink cannot be asked: the source address that a connected datagram socket gets."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, 9))
            source = str(probe.getsockname()[0])
        except OSError as error:
            kind = _NO_ROUTE.get(error.errno or 0, "unknown")
            return Route(host, time.monotonic() - begun, kind)
    local = source == host or host.startswith("127.")
    return Route(host, time.monotonic() - begun, "local" if local else "unknown", source)


def look_up_neighbours(routes: tuple[Route, ...]) -> tuple[Neighbour, ...]:
    """The kernel's entries for the first hops of the routes that leave this machine."""
    hops = {route.gateway or route.destination for route in routes if not route.is_local}
    if not hops:
        return ()
    try:
        known = netlink.neighbours()
    except OSError:
        return ()
    return tuple(Neighbour(hop, known[hop]) for hop in sorted(hops) if hop in known)
