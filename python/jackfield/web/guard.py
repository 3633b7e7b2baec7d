"""What a browser may be made to do: hosts, origins, headers, and how often a login may be tried. Pure.

A page of another site cannot read answers (same origin) and must not be able to cause anything either: what
changes something needs the cookie, the session's CSRF token in a header, and an Origin that is ours. A name
that is made to resolve to this machine (DNS rebinding) is no host of ours.
"""

from __future__ import annotations

import ipaddress
from collections import deque
from collections.abc import Iterable
from typing import Final

CSP: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS: Final = {
    "content-security-policy": CSP,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
"""On every answer."""


def is_own_host(host: str, *, port: int, names: Iterable[str] = ()) -> bool:
    """Whether a Host header means this server: an IP address, localhost or one of `names`, and its port.

    An address cannot be rebound; a name that somebody else's name server answers for can.
    """
    name, given = _split(host)
    if given is None or given != port:
        return False
    if name.lower() in ("localhost", *(each.lower() for each in names)):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _split(host: str) -> tuple[str, int | None]:
    """Name and port of a Host header; the port is None where there is none that can be read."""
    if host.startswith("["):
        name, _, rest = host[1:].partition("]")
        port = rest.removeprefix(":") if rest.startswith(":") else ""
    else:
        name, _, port = host.partition(":")
    return name, int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else None


def is_own_origin(origin: str | None, *, host: str, secure: bool) -> bool:
    """Whether a request comes from a page of this server, as its Origin header says; none is no proof."""
    return origin is not None and origin == f"{'https' if secure else 'http'}://{host}"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches that address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Attempts:
    """How often something may be tried from one place, `most` times in `period` seconds, and by everyone."""

    def __init__(self, *, most: int = 10, of_all: int = 60, period: float = 60.0) -> None:
        self._most = most
        self._of_all = of_all
        self._period = period
        self._tried: deque[tuple[float, str]] = deque()

    def wait(self, now: float, place: str) -> float:
        """Seconds until it may be tried again; 0 if it may, and then it counts."""
        while self._tried and self._tried[0][0] <= now - self._period:
            self._tried.popleft()
        here = [when for when, who in self._tried if who == place]
        full = len(self._tried) >= self._of_all
        if len(here) >= self._most or full:
            first = here[0] if len(here) >= self._most else self._tried[0][0]
            return max(1.0, first + self._period - now)
        self._tried.append((now, place))
        return 0.0
