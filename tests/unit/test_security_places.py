"""Which listeners a token or an invitation is for."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from jackfield import Address
from jackfield.hub.plan import plan_listeners
from jackfield.hub.security.places import At, invited_to, meant

OPEN = "tcp://127.0.0.1:7000"
ASKING = "tls://:7445"
OPERATORS = "tls://127.0.0.1:7444,protocol=control"


def listeners(*texts: str) -> list[At]:
    plans = plan_listeners([Address.from_command_line(text) for text in texts])
    return [At(plan.address, plan) for plan in plans]


def chosen(
    *texts: str, operators: bool = False, named: Sequence[str] = (), host: str = ""
) -> tuple[list[str], int]:
    places, equal = invited_to(
        listeners(*texts), operators=operators, named=named, host=host, own_host="10.0.0.1"
    )
    return [str(address) for _, address in places], equal


@pytest.mark.parametrize(
    ("texts", "found", "equal"),
    [
        ((OPEN, "tls://127.0.0.1:7443", ASKING), ["tls://10.0.0.1:7445", "tls://127.0.0.1:7443", OPEN], 1),
        ((OPEN, "tcp://127.0.0.1:7001,access=token"), ["tcp://127.0.0.1:7001", OPEN], 1),
        ((ASKING, "tls://:7446"), ["tls://10.0.0.1:7445", "tls://10.0.0.1:7446"], 2),
        ((OPEN, "tcp://127.0.0.1:7001,protocol=plain", OPERATORS), [OPEN], 1),
        (("tcp://0.0.0.0:7000,access=plain", "udp://127.0.0.1:1"), [], 0),
        (("tls://:7447,access=certificate,ca=a.pem", OPEN), [OPEN, "tls://10.0.0.1:7447"], 1),
        (("unix:///run/a.sock", OPEN), ["unix:///run/a.sock", OPEN], 2),
    ],
)
def test_the_best_listener_is_first(texts: tuple[str, ...], found: list[str], equal: int) -> None:
    assert chosen(*texts) == (found, equal)


def test_operators_come_to_theirs_unless_another_is_named() -> None:
    assert chosen(OPEN, ASKING, OPERATORS, operators=True) == (["tls://127.0.0.1:7444"], 1)
    assert chosen(OPEN, ASKING, operators=True) == ([], 0)
    assert chosen(OPEN, OPERATORS, operators=True, named=[OPEN]) == ([OPEN], 1)
    both = [OPEN, "tls://127.0.0.1:7444"]
    assert chosen(OPEN, OPERATORS, operators=True, named=both) == (both[::-1], 1)


def test_a_host_counts_where_it_is_reached() -> None:
    assert chosen("tls://127.0.0.1:7443,access=token", ASKING, host="hub.example") == (
        ["tls://hub.example:7445", "tls://hub.example:7443"],
        1,
    )
    assert chosen(OPEN, ASKING, host="127.0.0.1") == (["tls://127.0.0.1:7445", OPEN], 1)
    assert chosen(OPEN, host="hub.example") == ([], 0)  # without TLS everyone on the way could read it
    assert chosen(ASKING, host="fd00::1") == (["tls://[fd00::1]:7445"], 1)


@pytest.mark.parametrize("text", ["7445", ":7445", "tls://:7445"])
def test_what_a_listener_is_named_by(text: str) -> None:
    known = listeners(OPEN, ASKING, OPERATORS)
    assert meant(known, text) == known[1]
    assert meant(known, "7444") == known[2]
    assert meant(known, "7446") is None
