"""What to listen on, and how to join it."""

from __future__ import annotations

from typing import Any

import pytest

from jackfield import Address
from jackfield.hub.identify import NO_RULE, parse_rule
from jackfield.hub.joining import banner, how_to_join
from jackfield.hub.plan import Limits, ListenerPlan, PlanError, plan_listeners
from jackfield.hub.security.access import is_local


def plan(text: str, **options: Any) -> ListenerPlan:
    (made,) = plan_listeners([Address.from_command_line(text)], **options)
    return made


def test_framing_and_ending() -> None:
    made = plan("tcp://127.0.0.1:7000")
    assert (made.framing, made.ending, made.ending_bytes) == ("none", "lf", b"\n")
    made = plan("tcp://127.0.0.1:7000,framing=u32")
    assert (made.framing, made.ending) == ("u32", "none")
    made = plan("tcp://127.0.0.1:7000", framing="line", ending="crlf")
    assert (made.framing, made.ending) == ("line", "none")
    made = plan("tcp://127.0.0.1:7000,eol=CRLF")
    assert (made.ending, made.ending_bytes) == ("crlf", b"\r\n")
    assert made.address.option("eol") is None
    with pytest.raises(PlanError, match="known are lf"):
        plan("tcp://127.0.0.1:7000,eol=dos")


def test_how_clients_are_recognised() -> None:
    made = plan("tcp://127.0.0.1:7000,identify=host,conflict=newer")
    assert (made.identify.by_host, made.newer_wins) == (True, True)
    assert str(made.address) == "tcp://127.0.0.1:7000"
    made = plan("tcp://127.0.0.1:7000,identify=id%3D(%5Cd%7B1%2C3%7D)")
    assert (made.identify.text, made.newer_wins) == (r"id=(\d{1,3})", False)
    rule = parse_rule(r"id=(\w+)")
    assert plan("tcp://127.0.0.1:7000", identify=rule).identify == rule
    assert plan("tcp://127.0.0.1:7000,identify=none", identify=rule).identify == NO_RULE
    for text, why in {
        "identify=(a": "cannot be used: missing",
        "conflict=both": "conflict=both means nothing",
    }.items():
        with pytest.raises(PlanError, match=why):
            plan(f"tcp://127.0.0.1:7000,{text}")


def test_the_address_wins_over_the_limits() -> None:
    limits = Limits(queue=1000, max_message=500)
    assert plan("tcp://127.0.0.1:7000").options(limits) == {
        "framing": "none",
        "max_message": 500,
        "high_water": 1000,
    }
    made = plan("tcp://127.0.0.1:7000,high_water=4M,max_clients=3,framing=line")
    assert made.options(limits) == {"max_message": 500}
    assert made.max_clients == 3
    assert made.address.option("max_clients") is None
    assert made.address.option("high_water") == "4M"


def test_what_the_hub_cannot_serve() -> None:
    with pytest.raises(PlanError, match="cannot listen on serial") as caught:
        plan("serial:///dev/ttyUSB0")
    assert caught.value.hint == "it can on tcp, tls, udp, unix, unix+dgram, unix+seqpacket and fd"
    twice = [Address.parse("tcp://127.0.0.1:7000"), Address.parse("tcp://127.0.0.1:7000?framing=line")]
    with pytest.raises(PlanError, match="given twice"):
        plan_listeners(twice)
    assert len(plan_listeners([Address.parse("tcp://127.0.0.1:0")] * 2)) == 2


@pytest.mark.parametrize(
    ("address", "framing", "ending", "command"),
    [
        ("tcp://127.0.0.1:7000", "none", "lf", "nc 127.0.0.1 7000"),
        ("tcp://127.0.0.1:7000", "line", "none", "nc 127.0.0.1 7000"),
        ("tcp://127.0.0.1:7000", "line:crlf", "none", "nc -C 127.0.0.1 7000"),
        ("tcp://127.0.0.1:7000", "none", "crlf", "nc -C 127.0.0.1 7000"),
        ("tcp://:7000", "none", "lf", "nc 127.0.0.1 7000"),
        ("tcp://0.0.0.0:7000", "none", "lf", "nc 127.0.0.1 7000"),
        ("tcp://[::1]:7000", "none", "lf", "nc ::1 7000"),
        ("udp://127.0.0.1:7000", "none", "lf", "nc -u 127.0.0.1 7000"),
        ("unix:///tmp/a.sock", "none", "lf", "nc -U /tmp/a.sock"),
        ("unix:///tmp/a%20b.sock", "none", "lf", "nc -U '/tmp/a b.sock'"),
        ("unix://@name", "none", "lf", "socat - ABSTRACT-CONNECT:name"),
        ("unix+dgram:///tmp/a.sock", "none", "lf", "nc -uU /tmp/a.sock"),
        ("unix+seqpacket:///tmp/a.sock", "none", "lf", "socat - UNIX-CONNECT:/tmp/a.sock,type=5"),
        ("unix+seqpacket://@name", "none", "lf", "socat - ABSTRACT-CONNECT:name,type=5"),
        ("tcp://:7000", "u32", "none", "jackfield connect 'tcp://127.0.0.1:7000?framing=u32'"),
    ],
)
def test_how_to_join(address: str, framing: str, ending: str, command: str) -> None:
    assert how_to_join(Address.parse(address), framing, ending) == command


@pytest.mark.parametrize(
    ("address", "facts", "command"),
    [
        ("tcp://127.0.0.1:7000", {"native": "only"}, "jackfield join tcp://127.0.0.1:7000"),
        (
            "tls://:7443",
            {"native": "only", "pin": "sha256:ab"},
            "jackfield join 'tls://127.0.0.1:7443?pin=sha256:ab'",
        ),
        ("tls://:7443", {"pin": "sha256:ab"}, "openssl s_client -quiet -connect 127.0.0.1:7443"),
        (
            "tls://:7443",
            {"access": "certificate"},
            "openssl s_client -quiet -connect 127.0.0.1:7443 -cert FILE -key FILE",
        ),
        (
            "tls://:7443",
            {"access": "token", "native": "only"},
            'jackfield join "$(jackfield invite --listener 7443 --control /x)"',
        ),
        (
            "unix:///run/a.sock",
            {"access": "token", "native": "only"},
            'jackfield join "$(jackfield invite --listener unix:///run/a.sock --control /x)"',
        ),
    ],
)
def test_how_to_join_with_a_certificate_or_a_token(address: str, facts: dict[str, str], command: str) -> None:
    how = how_to_join(Address.parse(address), "none", "lf", control_option=" --control /x", **facts)
    assert how == command


def test_the_banner() -> None:
    plans = (plan("tcp://127.0.0.1:7000"), plan("udp://:7001,access=plain"))
    bound = [(made.address, made) for made in plans]
    assert banner(bound, control_option=" --control /x") == [
        "Listening; join from another terminal:",
        "  tcp://127.0.0.1:7000   nc 127.0.0.1 7000",
        "  udp://:7001            nc -u 127.0.0.1 7001",
        "  (an address above is reachable from other machines, and whoever reaches it can join)",
        "See who is there, pick one by its id or name, talk to it:",
        "  jackfield clients --control /x",
        "  jackfield talk 1 --control /x",
        "Ctrl-C ends the hub.",
    ]
    assert banner([], control_option="", operators=[Address.parse("tls://:7444")])[:2] == [
        "Operators elsewhere come with an invitation:",
        '  tls://:7444   jackfield clients --hub "$(jackfield invite --role operator --listener 7444)"',
    ]
    assert "\x1b[1mnc 127.0.0.1 7000\x1b[0m" in banner(bound, control_option="", colour=True)[1]


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("tcp://127.0.0.1:1", True),
        ("tcp://[::1]:1", True),
        ("tcp://localhost:1", True),
        ("unix:///a", True),
        ("tcp://:1", False),
        ("tcp://0.0.0.0:1", False),
        ("tcp://192.168.1.2:1", False),
    ],
)
def test_who_can_reach_it(address: str, local: bool) -> None:
    assert is_local(Address.parse(address)) is local
