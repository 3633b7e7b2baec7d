"""What this machine's routing and neighbour tables say of a host, asked of the kernel (rtnetlink(7)).

Needs no privilege and sends no packet. Evidence only: what cannot be found out is None.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Final

from jackfield import netlink

_USABLE: Final = ("reachable", "stale", "delay", "noarp", "permanent")
_FAILED: Final = ("incomplete", "failed")
_REFUSING: Final = {
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
    try:
        answer = netlink.route_to(host)
    except OSError as error:
        refused = {errno.ENETUNREACH: "none", **_REFUSING}.get(error.errno or 0)
        return Route(refused) if refused else None
    kind = answer.kind if answer.kind == "local" or answer.kind in _REFUSING.values() else "unicast"
    return Route(kind, answer.interface, answer.gateway)


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
    try:
        state = netlink.neighbour(host, device)
    except OSError:
        return None
    return True if state in _USABLE else False if state in _FAILED else None
