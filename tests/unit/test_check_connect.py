"""Verdicts of `check` on names, routes and attempts that failed."""

from __future__ import annotations

import errno

import pytest
from observed import (
    BY_ROUTER,
    HOST,
    ON_LINK,
    WHERE,
    Row,
    check_row,
    connected,
    refused,
    remote,
    seen,
    silent,
)

from jackfield.diagnosis.judge import judge
from jackfield.diagnosis.observations import Answer, Attempt, Neighbour, Resolution

ROWS: list[Row] = [
    (
        "a name that is not there",
        seen(
            "nosuch.example:80",
            resolution=Resolution(
                "nosuch.example", 0.1, source="name server 192.0.2.53", failure="no-such-host"
            ),
        ),
        "no-such-host, certain",
        "no host name nosuch.example",
    ),
    (
        "a silent name server",
        seen(
            "x.example:80",
            resolution=Resolution(
                "x.example",
                5,
                source="name server 192.0.2.53",
                failure="name-server-silent",
                said="name server 192.0.2.53 did not answer",
            ),
        ),
        "name-server-silent, certain",
        "name server 192.0.2.53 did not answer",
    ),
    (
        "a name without address",
        seen(
            "x.example:80",
            resolution=Resolution("x.example", 1, failure="name-not-resolved", said="it has only mail"),
        ),
        "name-not-resolved, certain",
        "it has only mail",
    ),
    # attempts with the library's cause
    (
        "a reset",
        remote(errno=errno.ECONNREFUSED, cause="nothing_listens", said="nothing listens"),
        "refused, likely",
        "nothing listens",
    ),
    (
        "a closed UDP port",
        remote(errno=errno.ECONNREFUSED, cause="port_closed", icmp=(3, 3), offender=HOST),
        "refused, certain",
        WHERE,
    ),
    (
        "a router without route",
        remote(errno=errno.EHOSTUNREACH, cause="router_refused", icmp=(3, 1), offender="192.0.2.1"),
        "router-unreachable, certain",
        WHERE,
    ),
    (
        "a filter",
        remote(errno=errno.EHOSTUNREACH, cause="filtered", icmp=(3, 13), offender="192.0.2.1"),
        "filtered, certain",
        WHERE,
    ),
    (
        "a silent neighbour",
        remote(
            ON_LINK, errno=errno.EHOSTUNREACH, cause="no_such_neighbour", icmp=(3, 1), offender="192.0.2.100"
        ),
        "neighbour-silent, certain",
        WHERE,
    ),
    (
        "a silent gateway",
        remote(errno=errno.EHOSTUNREACH, cause="gateway_silent"),
        "gateway-silent, certain",
        WHERE,
    ),
    ("no route", remote(errno=errno.ENETUNREACH, cause="no_route"), "no-route, certain", WHERE),
    (
        "a loop",
        remote(errno=errno.EHOSTUNREACH, cause="routing_loop", icmp=(11, 0), offender="192.0.2.1"),
        "routing-loop, likely",
        WHERE,
    ),
    (
        "silence",
        remote(errno=errno.ETIMEDOUT, timed_out=True, cause="no_answer"),
        "silence, possible",
        "the host is down",
    ),
    (
        "silence of a neighbour that is there",
        remote(ON_LINK, (Neighbour(HOST, "reachable"),), timed_out=True),
        "silence, likely",
        "there on the local link",
    ),
    (
        "silence of a neighbour that is not",
        remote(ON_LINK, (Neighbour(HOST, "incomplete"),), timed_out=True),
        "neighbour-silent, likely",
        f"host {HOST}",
    ),
    (
        "silence of a gateway",
        remote(BY_ROUTER, (Neighbour("192.0.2.1", "failed"),), timed_out=True),
        "gateway-silent, likely",
        "gateway 192.0.2.1",
    ),
    # without it
    ("an errno alone", remote(errno=errno.ENETUNREACH), "no-route, certain", WHERE),
    ("an unknown errno", remote(errno=errno.EPROTO, said="EPROTO"), "failed, certain", "EPROTO"),
    # several addresses
    (
        "the second is there",
        seen(attempts=(silent("[2001:db8::7]:7000"), connected(WHERE)), answer=Answer(0.1, data=b"hi")),
        "ok, certain",
        "answers: hi",
    ),
    (
        "refusal before silence",
        seen(attempts=(silent("192.0.2.8:7000"), refused(WHERE))),
        "refused, likely",
        WHERE,
    ),
    (
        "silence before no route",
        seen(attempts=(Attempt("[2001:db8::7]:7000", 0.0, errno=errno.ENETUNREACH), silent(WHERE))),
        "silence, possible",
        WHERE,
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_what_is_seen_has_its_verdict(row: Row) -> None:
    check_row(row)


def test_of_very_many_addresses_the_first_are_named_and_the_others_counted() -> None:
    addresses = tuple(f"10.0.0.{number}" for number in range(200))
    assert Resolution("x.example", 0.1, addresses).sentence.endswith("10.0.0.7 and 192 more")
    assert Resolution("x.example", 0.1, addresses[:2]).sentence == "x.example is 10.0.0.0, 10.0.0.1"
    evidence = "\n".join(judge(seen(attempts=tuple(silent(f"{host}:7000") for host in addresses))).evidence)
    assert "10.0.0.7:7000" in evidence
    assert "10.0.0.8:7000" not in evidence
    assert "192 more addresses were tried" in evidence
