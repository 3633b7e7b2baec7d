"""What the answers of a network mean: the pure judgement. `test_error_table` has the real ones."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest

from jackfield._causes import Cause
from jackfield._routes import Route, is_own, neighbour_answers, route_to
from jackfield._verdicts import Evidence, gather, judge

FAR = Route("unicast", "eth0", "10.0.0.254")
NEAR = Route("unicast", "eth0")
HERE = Route("local", "lo")
FOUR = Evidence("tcp", "10.9.0.1", 80, errno.EHOSTUNREACH, route=FAR)
SIX = Evidence("tcp", "fd09::1", 80, errno.EHOSTUNREACH, route=FAR)


@pytest.mark.parametrize(
    ("evidence", "cause", "says"),
    [
        (replace(FOUR, errno=errno.ENETDOWN), Cause.INTERFACE_DOWN, "the network interface is down"),
        (FOUR, Cause.UNREACHABLE, "nobody said why"),
        (replace(FOUR, errno=errno.EPERM), Cause.OWN_FIREWALL, "drops what is sent there"),
        (replace(FOUR, errno=errno.ECONNREFUSED, route=HERE), Cause.NOTHING_LISTENS, "on this machine"),
        (replace(FOUR, errno=errno.ECONNREFUSED, protocol="udp"), Cause.PORT_CLOSED, "port 80 is closed"),
        (replace(FOUR, icmp=(3, 7), offender="10.0.0.9"), Cause.ROUTER_REFUSED, "host unknown"),
        (replace(FOUR, icmp=(3, 10), offender="10.0.0.9"), Cause.FILTERED, "host prohibited"),
        (replace(FOUR, icmp=(3, 2), offender="10.9.0.1"), Cause.PROTOCOL_UNKNOWN, "does not speak TCP"),
        (replace(FOUR, icmp=(11, 0), offender="10.0.0.9"), Cause.ROUTING_LOOP, "in a circle"),
        (replace(FOUR, icmp=(12, 0), offender="10.0.0.9"), Cause.UNREACHABLE, "10.0.0.9 refused it"),
        (replace(FOUR, icmp=(3, 1), offender="10.9.0.1"), Cause.FILTERED, "at the host itself"),
        (replace(SIX, icmp=(1, 0), offender="fd00::9"), Cause.ROUTER_REFUSED, "has no route to fd09::1"),
        (replace(SIX, icmp=(1, 5), offender="fd00::9"), Cause.FILTERED, "source address policy"),
        (replace(SIX, icmp=(1, 6), offender="fd00::9"), Cause.FILTERED, "rejecting route"),
        (replace(SIX, icmp=(3, 0), offender="fd00::9"), Cause.ROUTING_LOOP, "in a circle"),
        (replace(SIX, icmp=(4, 1), offender="fd09::1"), Cause.PROTOCOL_UNKNOWN, "does not speak TCP"),
    ],
)
def test_verdicts(evidence: Evidence, cause: Cause, says: str) -> None:
    verdict = judge(evidence)
    assert verdict is not None
    assert verdict.cause is cause
    assert says in verdict.said
    assert verdict.hint


def test_our_own_host_unreachable_is_a_neighbour_a_gateway_or_a_firewall() -> None:
    own = replace(FOUR, icmp=(3, 1), offender="10.0.0.1", offender_is_own=True, neighbour=False)
    for route, neighbour, cause in (
        (NEAR, False, Cause.NO_SUCH_NEIGHBOUR),
        (NEAR, None, Cause.NO_SUCH_NEIGHBOUR),
        (FAR, False, Cause.GATEWAY_SILENT),
        (FAR, True, Cause.OWN_FIREWALL),
    ):
        verdict = judge(replace(own, route=route, neighbour=neighbour))
        assert verdict is not None
        assert verdict.cause is cause


@pytest.mark.parametrize("number", [errno.EACCES, errno.EINVAL, errno.EMFILE, errno.EADDRINUSE, None])
def test_what_is_not_the_networks(number: int | None) -> None:
    assert judge(replace(FOUR, errno=number)) is None


def test_every_route_that_refuses() -> None:
    for kind in ("unreachable", "prohibit", "blackhole"):
        verdict = judge(replace(FOUR, route=Route(kind)))
        assert verdict is not None
        assert (verdict.cause, kind in verdict.said) == (Cause.OWN_ROUTE_REFUSES, True)


def test_an_ipv4_address_in_an_ipv6_one_is_judged_as_what_it_is() -> None:
    evidence = gather(
        protocol="tcp",
        host="::ffff:192.0.2.1",
        port=80,
        errno=errno.EHOSTUNREACH,
        icmp=(3, 13),
        offender="192.0.2.1",
    )
    verdict = judge(evidence)
    assert evidence.host == "192.0.2.1"
    assert verdict is not None
    assert verdict.cause is Cause.FILTERED
    assert "at the host itself" in verdict.said


def test_this_machine_is_its_own() -> None:
    assert is_own("127.0.0.1")
    assert route_to("no number") is None
    assert not is_own(None)
    assert neighbour_answers("10.0.0.1", "no such interface") is None
