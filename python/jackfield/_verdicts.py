"""What the network said, in words: an error number and an ICMP message become cause, sentence and hint.

``judge`` is pure: it looks at ``Evidence`` and nothing else. ``gather`` adds what this machine's tables know.
Sources: RFC 792 and RFC 4443 (messages), icmp(7), ip(7), tcp(7) (what the kernel makes of them).
"""

from __future__ import annotations

import errno
import ipaddress
from dataclasses import dataclass
from errno import ETIMEDOUT  # `gather` has a parameter named as the module
from typing import NamedTuple

from jackfield._causes import Cause
from jackfield._routes import Route, is_own, neighbour_answers, route_to


@dataclass(frozen=True)
class Evidence:
    """What is known about packets that got no welcome."""

    protocol: str
    """"tcp" or "udp"."""
    host: str
    """The target as a number."""
    port: int
    errno: int | None
    icmp: tuple[int, int] | None = None
    """Type and code of the ICMP message; over IPv6 of ICMPv6."""
    offender: str | None = None
    """Who sent it."""
    elapsed: float | None = None
    """Seconds until the answer."""
    route: Route | None = None
    """How this machine reaches the target."""
    offender_is_own: bool = False
    """Whether the message came from this machine itself."""
    neighbour: bool | None = None
    """Whether the next hop on the local link has answered lately; None if unknown."""

    @property
    def target_is_own(self) -> bool:
        """Whether the target is this machine."""
        return self.route is not None and self.route.kind == "local"

    @property
    def link(self) -> str:
        """`` on eth0`` where the interface is known."""
        return f" on {self.route.device}" if self.route is not None and self.route.device else ""


_NEIGHBOUR_TIME = 0.5
"""Seconds after which a host on the same link that has not answered ARP is probably not there."""


class Verdict(NamedTuple):
    """A cause with its words."""

    cause: Cause
    said: str
    """The middle of a sentence: what happened and how that is known."""
    hint: str
    """What to try."""


def gather(
    *,
    protocol: str,
    host: str,
    port: int,
    errno: int | None,
    icmp: tuple[int, int] | None = None,
    offender: str | None = None,
    elapsed: float | None = None,
) -> Evidence:
    """The facts with what this machine's routes and neighbours say; asks the kernel, sends nothing."""
    host, zone = _plain(host)
    route = route_to(host + zone)
    own = offender is not None and offender != host and (is_own(offender) or is_own(offender + zone))
    neighbour = None
    silent = errno == ETIMEDOUT
    if (own or silent) and route is not None and route.device is not None and route.kind == "unicast":
        neighbour = neighbour_answers(route.gateway or host, route.device)
    # A zone is part of how the host is written; who answers has none.
    return Evidence(protocol, host, port, errno, icmp, offender, elapsed, route, own, neighbour)


def _plain(host: str) -> tuple[str, str]:
    """The host as it stands in ICMP messages, and its zone; an IPv4 address mapped into IPv6 is one."""
    plain, percent, zone = host.partition("%")
    try:
        ip = ipaddress.ip_address(plain)
    except ValueError:
        return plain, percent + zone
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return str(mapped or ip), percent + zone


def judge(evidence: Evidence) -> Verdict | None:
    """The verdict; None for an error that is not the network's."""
    if evidence.icmp is not None and evidence.offender is not None:
        return _told(evidence, _meaning(evidence))
    match evidence.errno:
        case errno.ECONNREFUSED:
            return _refused(evidence)
        case errno.ETIMEDOUT:
            return _silent(evidence)
        case errno.ENETDOWN:
            return Verdict(Cause.INTERFACE_DOWN, "the network interface is down", "see `ip link`")
        case errno.EPERM:
            return _own_firewall(evidence, "a firewall rule of this machine drops what is sent there")
        case errno.ENETUNREACH:
            return _no_route(evidence)
        case errno.EHOSTUNREACH | errno.EHOSTDOWN | errno.EACCES | errno.EINVAL:
            return _own_route(evidence)
        case _:
            return None


_V4_FILTERED = {9: "network prohibited", 10: "host prohibited", 13: "administratively prohibited"}
_V4_FILTERED |= {14: "precedence violation", 15: "precedence cut off"}
_V6_FILTERED = {1: "administratively prohibited", 5: "source address policy", 6: "rejecting route"}


def _meaning(evidence: Evidence) -> str:
    """What the message means, whatever the family: port, filtered, route, host, protocol, circle or other."""
    kind, code = evidence.icmp or (0, 0)
    if ":" in evidence.host:
        if kind == 3:
            return "circle"
        if kind == 4 and code == 1:
            return "protocol"
        if kind != 1:
            return "other"
        return {0: "route", 3: "host", 4: "port"}.get(code, "filtered" if code in _V6_FILTERED else "route")
    if kind == 11:
        return "circle"
    if kind != 3:
        return "other"
    if code in _V4_FILTERED:
        return "filtered"
    return {0: "route", 6: "route", 11: "route", 2: "protocol", 3: "port"}.get(code, "host")


def _told(evidence: Evidence, meaning: str) -> Verdict | None:
    """An ICMP message came back: everything hangs on who sent it."""
    offender, host, port = evidence.offender, evidence.host, evidence.port
    by_target = offender == host
    if evidence.offender_is_own:
        if meaning in ("host", "route"):
            return _neighbour(evidence)
        return _own_firewall(evidence, f"a firewall rule of this machine refuses it ({_icmp(evidence)})")
    if meaning == "circle":
        said = f"the packets went in a circle: at {offender} their time to live had run out"
        return Verdict(Cause.ROUTING_LOOP, said, f"follow the way with `tracepath {host}`")
    if meaning == "protocol":
        said = f"{offender} answered that it does not speak {evidence.protocol.upper()} ({_icmp(evidence)})"
        return Verdict(Cause.PROTOCOL_UNKNOWN, said, "check the address")
    if meaning == "port" and by_target and evidence.protocol == "udp":
        said = f"the host is up and answered that its port {port} is closed ({_icmp(evidence)})"
        if evidence.target_is_own:
            said = f"nothing on this machine is bound to UDP port {port} there ({_icmp(evidence)})"
        return Verdict(Cause.PORT_CLOSED, said, _refused(evidence).hint)
    if by_target or meaning in ("filtered", "port"):
        if evidence.target_is_own:
            return _own_firewall(evidence, f"a firewall rule of this machine refuses it ({_icmp(evidence)})")
        at = f"at the host itself ({offender})" if by_target else f"at {offender}, on the way to the host,"
        said = f"a filter {at} refuses it ({_icmp(evidence)})"
        if meaning == "port":
            said += f"; a closed {evidence.protocol.upper()} port would have answered otherwise"
        hint = f"ask who runs {offender} to let port {port} through, and check the port"
        return Verdict(Cause.FILTERED, said, hint)
    if meaning == "route":
        said = f"the router {offender} has no route to {host} and refused at once ({_icmp(evidence)})"
        if evidence.elapsed is None or evidence.elapsed >= 1:
            said = said.replace(" and refused at once", "")
        return Verdict(Cause.ROUTER_REFUSED, said, f"check the address, and the routes of {offender}")
    if meaning == "host":
        said = f"the router {offender} answered that it cannot reach {host} ({_icmp(evidence)})"
        hint = f"check the address, that the host is on, and the routes of {offender}"
        if evidence.elapsed is not None and evidence.elapsed >= 2:
            said += f"; the answer took {evidence.elapsed:.2g} s: it probably found no such host on its link"
        return Verdict(Cause.ROUTER_REFUSED, said, hint)
    return Verdict(Cause.UNREACHABLE, f"{offender} refused it ({_icmp(evidence)})", "check the address")


def _icmp(evidence: Evidence) -> str:
    """The message for people: ``ICMP type 3 code 13, administratively prohibited``."""
    kind, code = evidence.icmp or (0, 0)
    six = ":" in evidence.host
    names = _V6_NAMES if six else _V4_NAMES
    name = names.get((kind, code))
    return f"ICMP{'v6' if six else ''} type {kind} code {code}" + (f", {name}" if name else "")


_V4_NAMES = {(3, code): name for code, name in _V4_FILTERED.items()}
_V4_NAMES |= {
    (3, 0): "network unreachable",
    (3, 1): "host unreachable",
    (3, 2): "protocol unreachable",
    (3, 3): "port unreachable",
    (3, 7): "host unknown",
    (11, 0): "time to live exceeded",
}
_V6_NAMES = {(1, code): name for code, name in _V6_FILTERED.items()}
_V6_NAMES |= {
    (1, 0): "no route to destination",
    (1, 2): "beyond scope of source address",
    (1, 3): "address unreachable",
    (1, 4): "port unreachable",
    (3, 0): "hop limit exceeded",
    (4, 1): "unrecognized next header",
}


def _neighbour(evidence: Evidence) -> Verdict:
    """Our own kernel says "host unreachable": it has asked the link for the next hop in vain."""
    if evidence.neighbour is True:
        return _own_firewall(evidence, f"a firewall rule of this machine refuses it ({_icmp(evidence)})")
    asked = "neighbour discovery" if ":" in evidence.host else "ARP"
    after = f" for {evidence.elapsed:.2g} s" if evidence.elapsed is not None and evidence.elapsed >= 1 else ""
    gateway = evidence.route.gateway if evidence.route is not None else None
    if gateway is not None:
        said = (
            f"the gateway {gateway} does not answer: nobody{evidence.link} answered for it ({asked}){after}"
        )
        hint = f"check that router and the cable, with `ip neigh show {gateway}` and `ip route`"
        return Verdict(Cause.GATEWAY_SILENT, said, hint)
    said = (
        f"no such host on the local link: nobody answered for {evidence.host}{evidence.link} ({asked}){after}"
    )
    hint = f"check the address, that the host is on, and the cable, with `ip neigh show {evidence.host}`"
    return Verdict(Cause.NO_SUCH_NEIGHBOUR, said, hint)


def _own_firewall(evidence: Evidence, said: str) -> Verdict:
    return Verdict(Cause.OWN_FIREWALL, said, "look at `sudo nft list ruleset`")


def _refused(evidence: Evidence) -> Verdict:
    port = evidence.port
    if evidence.protocol == "udp":
        there = "" if evidence.target_is_own else " on that host"
        hint = f"start the program there, or see what is bound with `ss -lunp 'sport = :{port}'`{there}"
        return Verdict(Cause.PORT_CLOSED, f"it was answered that the port {port} is closed", hint)
    if evidence.target_is_own:
        said = "connection refused: nothing on this machine listens there"
        hint = f"start the server, or see what listens with `ss -ltnp 'sport = :{port}'`"
    else:
        said = f"connection refused: the host answered with a reset, and nothing listens on port {port}"
        said += " (or a firewall sent the reset)"
        hint = f"start the server there, or check the port with `ss -ltn 'sport = :{port}'` on that host"
    return Verdict(Cause.NOTHING_LISTENS, said, hint)


def _silent(evidence: Evidence) -> Verdict:
    within = f" within {evidence.elapsed:.3g} s" if evidence.elapsed is not None else ""
    if evidence.neighbour is False and (evidence.elapsed or 0) >= _NEIGHBOUR_TIME:
        return _neighbour(evidence)
    if evidence.target_is_own:
        said = (
            f"no answer{within} from this machine itself: the server's accept queue is full because it does "
        )
        said += "not accept, or a firewall rule drops the packets"
        hint = (
            f"see Recv-Q against Send-Q in `ss -ltn 'sport = :{evidence.port}'`, and whether the server hangs"
        )
        return Verdict(Cause.NO_ANSWER, said, hint)
    said = f"no answer{within}: the host is down, a firewall drops the packets, "
    said += "or the server's accept queue is full"
    hint = f"try `ping {evidence.host}`, check host and port, or raise connect_timeout="
    return Verdict(Cause.NO_ANSWER, said, hint)


def _no_route(evidence: Evidence) -> Verdict:
    said = f"this machine has no route to {evidence.host}: its own routing table ends there"
    if ":" in evidence.host:
        said = f"this machine has no IPv6 route to {evidence.host}: its own routing table ends there"
    hint = f"see `ip route get {evidence.host}` and `ip link`"
    return Verdict(Cause.NO_ROUTE, said, hint)


def _own_route(evidence: Evidence) -> Verdict | None:
    """Refused within the call, by this machine: the routing table says whether a route does it."""
    if evidence.route is not None and evidence.route.refuses:
        said = (
            f"a route of this machine refuses it: {evidence.host} is in a route of type {evidence.route.kind}"
        )
        hint = f"see `ip{' -6' if ':' in evidence.host else ''} route show type {evidence.route.kind}`"
        return Verdict(Cause.OWN_ROUTE_REFUSES, said, hint)
    if evidence.errno in (errno.EHOSTUNREACH, errno.EHOSTDOWN):
        said = "the host is unreachable, and nobody said why"
        hint = f"see `ip route get {evidence.host}` and `ip neigh show {evidence.host}`"
        return Verdict(Cause.UNREACHABLE, said, hint)
    return None
