"""The gate: who is let in with what, what a refusal says, and what a flood of wrong tokens does."""

from __future__ import annotations

import random
from typing import Any

import pytest

import jackfield
from jackfield import Address
from jackfield.hub.plan import ListenerPlan, plan_listeners
from jackfield.hub.security.gate import Admitted, Certificate, Gate, Refused
from jackfield.hub.security.limits import MOST_ADDRESSES, Addresses, Bucket, Meter, Rates
from jackfield.hub.security.tokens import INVITATION, Tokens, make_secret
from jackfield.hub.state import State

HOST = "10.0.0.1"
NEVER_MADE = make_secret(bytes(32))


def plan(text: str) -> ListenerPlan:
    (made,) = plan_listeners([Address.parse(text)])
    return made


OPEN = plan("tcp://127.0.0.1:7000")
TOKEN = plan("tcp://127.0.0.1:7001?access=token")


class World:
    """A gate with tokens."""

    def __init__(self) -> None:
        self.tokens = Tokens(State.nowhere(), random.Random(5).randbytes)
        self.addresses = Addresses()
        self.gate = Gate(self.tokens, self.addresses)

    def admit(self, at: ListenerPlan, now: float = 100.0, host: str | None = HOST, **more: Any) -> Admitted:
        certificate, least = more.pop("certificate", None), more.pop("least", "member")
        hello = {"type": "hello", **more}
        return self.gate.admit(at, host, hello, now=now, where="x", certificate=certificate, least=least)

    def refused(self, at: ListenerPlan, **more: Any) -> Refused:
        with pytest.raises(Refused) as caught:
            self.admit(at, **more)
        return caught.value


@pytest.fixture
def world() -> World:
    return World()


def test_an_open_listener_asks_for_nothing_and_still_checks_what_is_shown(world: World) -> None:
    assert world.admit(OPEN, name="ann") == Admitted(name="ann")
    assert world.refused(OPEN, token=NEVER_MADE).code == "bad_token"
    made, secret = world.tokens.create(1.0, role="operator", name="ben")
    admitted = world.admit(OPEN, token=secret, name="other")
    assert admitted == Admitted("operator", "ben", "ben", made.id)


def test_what_each_token_gets(world: World) -> None:
    tokens = world.tokens
    _, lasting = tokens.create(1.0)
    _, expired = tokens.create(1.0, expires=5.0)
    gone, revoked = tokens.create(1.0)
    tokens.revoke(gone.id, 2.0)
    _, invitation = tokens.create(1.0, kind=INVITATION, name="ann", expires=1000.0)
    _, elsewhere = tokens.create(1.0, listeners=("tls://10.0.0.1:1",))
    assert world.admit(TOKEN, token=lasting).identity.startswith("token:")
    first = world.admit(TOKEN, token=invitation)
    assert first.name == "ann"
    assert first.new_token is not None
    assert world.admit(TOKEN, token=first.new_token, host=None).identity == "ann"
    for shown, code, reason in (
        (None, "bad_token", "no token"),
        (NEVER_MADE, "bad_token", "unknown"),
        (expired, "expired_token", "expired"),
        (invitation, "used_token", "used"),
        (revoked, "bad_token", "revoked"),
        (elsewhere, "bad_token", "for another listener"),
        ("garbage", "bad_token", "unknown"),
        (5, "bad_token", "unknown"),
        ({"$gt": ""}, "bad_token", "unknown"),
        (["a"] * 1000, "bad_token", "unknown"),
    ):
        problem = World.refused(world, TOKEN, token=shown, host=None, now=100.0)
        world.addresses = world.gate._addresses = Addresses()
        assert (problem.code, problem.reason) == (code, reason)
        assert "revoked" not in problem.message


def test_nobody_without_a_token_has_the_name_of_one_who_has_one(world: World) -> None:
    made, secret = world.tokens.create(1.0, name="ann")
    assert world.refused(OPEN, name="ann").code == "name_taken"
    assert world.refused(TOKEN, name="ann").code == "bad_token"
    assert world.admit(OPEN, name="ann", token=secret).identity == "ann"
    world.tokens.revoke(made.id, 50.0)
    assert world.admit(OPEN, name="ann") == Admitted(name="ann")


def test_a_role_below_the_listeners_is_forbidden(world: World) -> None:
    _, member = world.tokens.create(1.0)
    _, admin = world.tokens.create(1.0, role="admin")
    problem = world.refused(TOKEN, token=member, least="operator")
    assert problem.code == "forbidden"
    assert world.admit(TOKEN, token=admin, least="operator").role == "admin"


def test_an_invited_one_cannot_take_the_name_of_another(world: World) -> None:
    world.tokens.create(1.0, name="ann", role="admin")
    _, invitation = world.tokens.create(1.0, kind=INVITATION, expires=1000.0)
    assert world.refused(TOKEN, token=invitation, name="ann").code == "name_taken"
    assert world.admit(TOKEN, token=invitation, name="ben").identity == "ben"


def test_an_invited_one_cannot_take_a_name_that_somebody_has_proven(world: World) -> None:
    """A certificate's, or that of a token that was revoked: with the name go its messages and cursors."""
    world.gate = Gate(world.tokens, world.addresses, is_proven={"ann", "dev.example"}.__contains__)
    _, invitation = world.tokens.create(1.0, kind=INVITATION, expires=1000.0)
    assert world.refused(TOKEN, token=invitation, name="ann").code == "name_taken"
    own = Certificate(("dev.example",))
    assert world.admit(TOKEN, token=invitation, name="dev.example", certificate=own).identity == "dev.example"
    _, named = world.tokens.create(1.0, kind=INVITATION, name="ann", expires=1000.0)
    assert world.admit(TOKEN, token=named).identity == "ann", "an operator gives it again"


@pytest.mark.parametrize("name", ["hub", "operator", "Admin", "everyone", "me"])
def test_nobody_chooses_a_name_that_passes_for_the_hubs(world: World, name: str) -> None:
    _, invitation = world.tokens.create(1.0, kind=INVITATION, expires=1000.0)
    _, nameless = world.tokens.create(1.0)
    assert world.refused(OPEN, name=name).code == "name_taken"
    assert world.refused(TOKEN, token=invitation, name=name).code == "name_taken"
    assert world.refused(TOKEN, token=nameless, name=name).code == "name_taken"
    _, given = world.tokens.create(1.0, name=name)
    assert world.admit(TOKEN, token=given, name=name).identity == name, "an operator has named it so"


@pytest.mark.parametrize(
    "name", ["all", "3", "tcp-1", "a b", "<b>", "a\x1b[31m", "'; drop--", "x" * 65, 5, [], ""]
)
def test_a_name_that_is_none_is_refused(world: World, name: object) -> None:
    assert world.refused(OPEN, name=name).code == "bad_json"


def test_certificates(world: World) -> None:
    at = plan("tls://127.0.0.1:7000?access=certificate&ca=ca.pem")
    assert world.refused(at).code == "forbidden"
    assert world.refused(at, certificate=Certificate(())).code == "forbidden"
    ann = Certificate(("ann",))
    assert world.admit(at, certificate=ann) == Admitted(identity="ann", name="ann")
    assert world.admit(at, certificate=ann, name="boss") == Admitted(identity="ann", name="ann")
    _, other = world.tokens.create(1.0, name="ben", role="admin")
    assert world.refused(at, certificate=ann, token=other).code == "forbidden"
    _, more = world.tokens.create(1.0, role="operator")
    admitted = world.admit(at, certificate=ann, token=more)
    assert (admitted.identity, admitted.role) == ("ann", "operator")
    assert world.admit(OPEN, certificate=ann, name="ben") == Admitted(identity="ann", name="ann")
    assert world.refused(TOKEN, certificate=ann).code == "bad_token"


def test_names_of_certificates() -> None:
    def names(*listed: str, common_name: str = "") -> tuple[str, ...]:
        peer = jackfield.Certificate("", common_name, "", listed, "sha256:00", 0.0, 1.0)
        found = Certificate.of(jackfield.TlsFacts("TLSv1.3", "", None, peer, b""))
        assert found is not None
        return found.names

    assert names("Pump-7.example", common_name="Ann") == ("pump-7.example", "Ann")
    assert names("127.0.0.1", "localhost", "*.example", "all", "tls-3", "::1") == ()
    assert names(common_name="Ann\x1b[31m, CN=boss") == names(common_name="Jackfield hub") == ()
    assert Certificate.of(None) is None
    assert Certificate.of(jackfield.TlsFacts("TLSv1.3", "", None, None, None)) is None


def test_wrong_tokens_make_an_address_wait_and_nobody_else(world: World) -> None:
    _, good = world.tokens.create(1.0)
    codes = [world.refused(TOKEN, token=NEVER_MADE).code for _ in range(8)]
    assert codes == ["bad_token"] * 6 + ["rate_limited"] * 2
    assert world.admit(TOKEN, token=good)
    assert world.refused(TOKEN, token=NEVER_MADE, host="10.0.0.2").code == "bad_token"
    assert world.refused(TOKEN, token=NEVER_MADE, now=101.1).code == "bad_token"
    assert world.refused(TOKEN, token=NEVER_MADE, now=102.0).code == "rate_limited"
    assert world.refused(TOKEN, token=NEVER_MADE, now=103.2).code == "bad_token"
    assert world.addresses.waiting(103.3) == 1
    for _ in range(60):
        world.addresses.failed(HOST, 200.0)
    assert world.addresses.wait(HOST, 200.0) == 300.0
    assert world.refused(TOKEN, token=NEVER_MADE, now=1000.0).code == "bad_token"
    assert world.refused(TOKEN, token=NEVER_MADE, now=1000.0).code == "bad_token"


def test_addresses_are_remembered_in_bounded_memory() -> None:
    addresses = Addresses()
    for number in range(MOST_ADDRESSES + 500):
        host = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        addresses.failed(host, 1.0)
        addresses.connect(host, 5, 1.0)
    assert len(addresses._failures) == len(addresses._connects) == MOST_ADDRESSES
    for number in range(10):
        addresses.failed(f"2001:db8::{number:x}", 1.0)
    assert addresses.wait("2001:db8::ffff", 1.0) > 0
    assert addresses.wait("2001:db8:0:1::1", 1.0) == 0


def test_connects_of_an_address() -> None:
    addresses = Addresses()
    assert sum(addresses.connect(HOST, 10, 1.0) for _ in range(100)) == 50
    assert sum(addresses.connect(HOST, 10, 2.0) for _ in range(100)) == 10
    assert addresses.connect("10.0.0.2", 10, 2.0)
    assert all(addresses.connect(None, 10, 2.0) for _ in range(100))
    assert all(addresses.connect(HOST, None, 2.0) for _ in range(100))


def test_rates_of_a_client() -> None:
    meter = Meter(Rates(messages=10, bytes=1000), 0.0)
    assert [meter.over(1, 0.0) for _ in range(50)] == [""] * 50
    assert "10 messages a second" in meter.over(1, 0.0)
    assert meter.over(1, 10.0) == ""
    assert "1000 bytes a second" in Meter(Rates(bytes=1000), 0.0).over(1, 0.0) + _spent()
    long = Meter(Rates(bytes=10), 0.0)
    assert long.over(1_000_000, 0.0) == ""
    assert long.over(1, 10.0) != ""
    back = Bucket(10, 100.0)
    assert back.take(50, 100.0)
    assert not back.take(1, 50.0)


def _spent() -> str:
    meter = Meter(Rates(bytes=1000), 0.0)
    meter.over(5000, 0.0)
    return meter.over(1, 0.0)
