"""Who may come to a listener: defaults, consent, networks."""

from __future__ import annotations

import pytest

from jackfield import Address
from jackfield.hub.plan import AccessUndecided, ListenerPlan, PlanError, check_bound, plan_listeners
from jackfield.hub.security.access import Access, Unconsented, access_of
from jackfield.hub.security.limits import REMOTE, UNLIMITED, Rates


def plan(text: str) -> ListenerPlan:
    (made,) = plan_listeners([Address.from_command_line(text)])
    return made


@pytest.mark.parametrize(
    ("address", "mode"),
    [
        ("tcp://127.0.0.1:7000", "plain"),
        ("tcp://127.9.9.9:7000", "plain"),
        ("tcp://[::1]:7000", "plain"),
        ("udp://localhost:7000", "plain"),
        ("unix:///run/a.sock", "plain"),
        ("unix+dgram://@name", "plain"),
        ("tls://127.0.0.1:7000", "plain"),
        ("tls://:7000", "token"),
        ("tls://0.0.0.0:7000", "token"),
        ("tls://:7000?access=plain", "plain"),
        ("tls://:7000?access=certificate&ca=ca.pem", "certificate"),
        ("tcp://:7000?access=plain", "plain"),
        ("udp://192.168.1.5:7000?access=plain", "plain"),
        ("tcp://127.0.0.1:7000?access=token", "token"),
        ("unix:///run/a.sock?access=token", "token"),
    ],
)
def test_the_default_is_open_here_and_a_token_over_tls_elsewhere(address: str, mode: str) -> None:
    assert access_of(Address.parse(address)).mode == mode


@pytest.mark.parametrize(
    "address",
    [
        *("tcp://:7000", "tcp://0.0.0.0:7000", "tcp://[::]:7000", "udp://:7000", "tcp://192.168.1.5:7000"),
        *("tcp://hub.example:7000", "udp://[fe80::1%25eth0]:7000", "tcp://[::ffff:192.168.1.5]:7000"),
    ],
)
def test_what_others_reach_without_tls_must_say_so(address: str) -> None:
    with pytest.raises(Unconsented, match="can be reached from other machines") as caught:
        access_of(Address.parse(address))
    assert access_of(caught.value.consenting).is_open
    assert access_of(caught.value.private).is_open


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("tcp://127.0.0.1:1?access=open", "access=open means nothing: it is plain, token or certificate"),
        ("tcp://127.0.0.1:1?access=certificate", "needs tls://"),
        ("tls://127.0.0.1:1?access=certificate", "needs ca=FILE"),
        ("tls://127.0.0.1:1?access=certificate&ca=ca.pem&verify=optional", "needs ca=FILE"),
        ("tls://127.0.0.1:1?access=certificate&ca=ca.pem&verify=none", "needs ca=FILE"),
        ("udp://127.0.0.1:1?access=token", "datagrams have none"),
        ("tcp://:1?access=token", "could read tokens"),
        ("unix:///run/a?allow=10.0.0.0/8", "networks"),
    ],
)
def test_what_cannot_be(address: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        access_of(Address.parse(address))


def test_listeners_of_operators_never_go_without_a_token() -> None:
    assert access_of(Address.parse("tcp://127.0.0.1:1"), control=True).mode == "token"
    assert access_of(Address.parse("tls://:1"), control=True).mode == "token"
    for text, why in {
        "tcp://:1": "without TLS",
        "tls://:1?access=plain": "operators come with a token",
    }.items():
        with pytest.raises(ValueError, match=why):
            access_of(Address.parse(text), control=True)


@pytest.mark.parametrize(
    ("host", "comes"),
    [
        ("192.168.1.7", True),
        ("::ffff:192.168.1.7", True),
        ("fd00::5", True),
        ("fd00::5%eth0", True),
        ("192.168.2.7", False),
        ("::ffff:10.0.0.1", False),
        ("127.0.0.1", False),
        ("::1", False),
        ("no host", False),
        ("", False),
        (None, True),
    ],
)
def test_who_is_in_allow(host: str | None, comes: bool) -> None:
    made = plan("tcp://:7000,access=plain,allow=192.168.1.0/24,fd00::/8")
    assert made.access.admits(host) is comes
    assert Access().admits(host)


def test_an_address_says_it_and_the_socket_does_not_see_it() -> None:
    made = plan("tcp://:7000,framing=line,allow=10.0.0.0/8,access=plain,message_rate=5/s,byte_rate=2M")
    assert str(made.address) == "tcp://:7000?framing=line"
    assert (made.rates.messages, made.rates.bytes, made.rates.connects) == (5, 2 * 1024**2, REMOTE.connects)
    both = Address.parse("tcp://:7000?allow=10.0.0.0/8&allow=fd00::/8&access=plain&eol=lf")
    (made,) = plan_listeners([both])
    assert made.access.admits("10.1.1.1")
    assert made.access.admits("fd00::1")


def test_a_refusal_says_what_to_write() -> None:
    with pytest.raises(AccessUndecided, match="nothing says who may come") as caught:
        plan("tcp://:7000,framing=line")
    assert caught.value.consenting == "tcp://:7000,framing=line,access=plain"
    assert caught.value.private == "tcp://127.0.0.1:7000,framing=line"
    assert caught.value.consenting in caught.value.hint
    assert caught.value.private in caught.value.hint


def test_a_socket_that_a_service_manager_opened_is_looked_at_when_it_is_there() -> None:
    made = plan("fd://hub,framing=line")
    check_bound(made, Address.parse("tcp://127.0.0.1:7000"))
    check_bound(made, Address.parse("unix:///run/a.sock"))
    with pytest.raises(AccessUndecided) as caught:
        check_bound(made, Address.parse("tcp://0.0.0.0:7000"))
    assert caught.value.consenting.startswith("fd://hub,")
    check_bound(plan("fd://hub,access=plain"), Address.parse("tcp://0.0.0.0:7000"))


def test_only_what_others_reach_is_limited_without_a_word() -> None:
    assert plan("tcp://127.0.0.1:7000").rates == UNLIMITED
    assert plan("tcp://:7000,access=plain").rates == REMOTE
    assert plan("tcp://:1,access=plain,message_rate=none,byte_rate=off,connect_rate=none").rates == Rates()
    for text in ("message_rate=0", "message_rate=5K", "byte_rate=fast", "connect_rate=", "message_rate=-1"):
        with pytest.raises(PlanError, match="is not a rate"):
            plan(f"tcp://127.0.0.1:7000,{text}")
    with pytest.raises(PlanError, match="protocol=smtp"):
        plan("tcp://127.0.0.1:7000,protocol=smtp")
