"""Options: text and numbers, limits, what is wrong with a value, and the way back into an address."""

from __future__ import annotations

import contextlib
import pickle
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackfield._address import Address
from jackfield._errors import InvalidFraming, InvalidOption
from jackfield._framing import Framing
from jackfield._keepalive import Keepalive
from jackfield._option_values import KINDS, bind_address
from jackfield._options import OptionFields, Options
from jackfield._units import format_bytes, format_seconds, read_bytes, read_seconds
from jackfield._when_full import WhenFull


def _from(query: str, scheme: str = "tcp://:7000") -> Options:
    return Options.from_address(Address.parse(f"{scheme}?{query}"))


def test_defaults() -> None:
    options = Options.from_address(Address.parse("tcp://:7000"))
    assert options == Options()
    assert options.max_message == 16 * 1024 * 1024
    assert options.high_water == 1024 * 1024
    assert options.when_full is WhenFull.WAIT
    assert options.keepalive == Keepalive(60, 5, 3)
    assert (options.connect_timeout, options.idle_timeout, options.backlog) == (10.0, 60.0, 4096)
    assert options.framing is None
    assert options.to_query() == ""


def test_every_field_has_a_kind_and_a_keyword() -> None:
    names = [name for name, _ in Options().items()]
    assert names == list(KINDS)
    assert names == list(OptionFields.__annotations__)


@pytest.mark.parametrize(
    ("query", "name", "value"),
    [
        ("framing=u32", "framing", Framing("u32")),
        ("framing=none", "framing", Framing("none")),
        ("max_message=4M", "max_message", 4 * 1024 * 1024),
        ("max_message=512B", "max_message", 512),
        ("high_water=1.5K", "high_water", 1536),
        ("when_full=drop_oldest", "when_full", WhenFull.DROP_OLDEST),
        ("nodelay=no", "nodelay", False),
        ("nodelay", "nodelay", True),
        ("reuse_port", "reuse_port", True),
        ("reuse_port=0", "reuse_port", False),
        ("reuse_address=false", "reuse_address", False),
        ("keepalive=10s/2s/5", "keepalive", Keepalive(10, 2, 5)),
        ("keepalive=2m/5s/5", "keepalive", Keepalive(120, 5, 5)),
        ("keepalive", "keepalive", Keepalive()),
        ("keepalive=no", "keepalive", None),
        ("send_buffer=64K", "send_buffer", 65536),
        ("receive_buffer=1M", "receive_buffer", 2**20),
        ("linger=250ms", "linger", 0.25),
        ("linger=0s", "linger", 0.0),
        ("bind=192.168.1.5", "bind", "192.168.1.5"),
        ("bind=[::1]:5000", "bind", "[::1]:5000"),
        ("bind=:5000", "bind", ":5000"),
        ("bind=@name", "bind", "@name"),
        ("device=eth0", "device", "eth0"),
        ("dscp=46", "dscp", 46),
        ("dscp=EF", "dscp", 46),
        ("dscp=cs3", "dscp", 24),
        ("dscp=AF41", "dscp", 34),
        ("mark=0x10", "mark", 16),
        ("connect_timeout=2m", "connect_timeout", 120.0),
        ("connect_timeout=off", "connect_timeout", None),
        ("backlog=10", "backlog", 10),
        ("idle_timeout=1h", "idle_timeout", 3600.0),
        ("max_clients=1000", "max_clients", 1000),
        ("access=plain", "access", "plain"),
        ("allow=10.0.0.0/8&allow=192.168.1.7", "allow", ("10.0.0.0/8", "192.168.1.7/32")),
        ("allow=10.0.0.0/8,fd00::/8", "allow", ("10.0.0.0/8", "fd00::/8")),
    ],
)
def test_text(query: str, name: str, value: Any) -> None:
    options = _from(query)
    assert getattr(options, name) == value
    assert options == Options().merge(**{name: value})
    again = options.to_query()
    assert (_from(again) if again else Options()) == options


@pytest.mark.parametrize(
    ("query", "says", "hint"),
    [
        ("frameing=line", "there is no such option", "did you mean framing"),
        ("reuse-port", "there is no such option", "did you mean reuse_port"),
        ("NODELAY", "there is no such option", "did you mean nodelay"),
        ("zzz=1", "there is no such option", "the options are framing, max_message"),
        ("nodelay=maybe", "'maybe' is neither yes nor no", "write yes or no"),
        ("max_message=4", "4 has no unit", "write 4B for bytes, 4K or 4M"),
        ("max_message=4MB", "'MB' is not a unit of size", "write 4M;"),
        ("max_message=4m", "'m' is not a unit of size", "write 4M;"),
        ("max_message=0.3B", "no whole number of bytes", "512B"),
        ("max_message=0B", "0B is outside its limits", "from 1B to 1T"),
        ("max_message", "its value is missing", "write max_message=4M"),
        ("max_message=-1M", "not a number with a unit", "4M"),
        ("connect_timeout=5", "5 has no unit", "write 5s for seconds"),
        ("connect_timeout=5sec", "'sec' is not a unit of time", "write 5s;"),
        ("connect_timeout=0s", "outside its limits", "from 1us to 24h"),
        ("linger=soon", "'soon' is not a number with a unit", "5s, 250ms or 2m"),
        ("when_full=dropoldest", "no policy for a full queue", "did you mean drop_oldest"),
        ("when_full=x", "no policy for a full queue", "wait, reject, drop_oldest, drop_newest, disconnect"),
        ("keepalive=60/5/3", "60 has no unit", "60s"),
        ("keepalive=60s/5s", "is not idle/interval/probes", "60s/5s/3"),
        ("keepalive=500ms/5s/3", "whole seconds", "60s/5s/3"),
        ("keepalive=60s/5s/1000", "probes is 1000", "60s/5s/3"),
        ("dscp=64", "64 is outside its limits", "from 0 to 63"),
        ("dscp=AF51", "is not a whole number", "without a unit"),
        ("mark=x", "is not a whole number", "without a unit"),
        ("backlog=5K", "is not a whole number", "without a unit"),
        ("bind=*", "* is not a host", "192.168.1.5:0"),
        ("device=way-too-long-name", "is not a network interface", "ip link"),
        ("allow=192.168.1.5/24", "is not a network", "write 192.168.1.0/24 for the network"),
        ("allow=home", "is not a network", "192.168.1.0/24"),
        ("interface=way-too-long-name", "is not a network interface", "ip link"),
        ("source=home", "is no IP address", "192.0.2.1"),
        ("no_such=1", "there is no such option", "the options are"),
    ],
)
def test_bad_text_is_explained(query: str, says: str, hint: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        _from(query)
    error = caught.value
    assert isinstance(error, ValueError)
    assert says in error.message
    assert hint in (error.hint or "")
    assert error.name == query.partition("=")[0]
    assert error.value == query.partition("=")[2]
    assert str(error.address) in str(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_bad_framing_names_the_address() -> None:
    with pytest.raises(InvalidFraming) as caught:
        _from("framing=u33")
    assert caught.value.text == "u33"
    assert caught.value.address == Address.parse("tcp://:7000?framing=u33")
    with pytest.raises(InvalidOption, match="write framing=u32"):
        _from("framing")
    with pytest.raises(InvalidFraming, match="lone surrogate"):
        Options().merge(framing="line\ud800")


def test_numbers_and_text_in_code() -> None:
    options = Options().merge(max_message="4M", linger=1, nodelay="no", framing="line", when_full="reject")
    assert options.max_message == 4 * 2**20
    assert options.linger == 1.0
    assert options.nodelay is False
    assert str(options.framing) == "line"
    assert options.when_full is WhenFull.REJECT
    assert (
        options.merge(max_message=None, linger=None, framing=None, when_full=None, nodelay=None) == Options()
    )
    assert options.merge(keepalive=False).keepalive is None
    assert options.merge(allow=["10.0.0.0/8"]).allow == ("10.0.0.0/8",)


def test_keyword_arguments_win() -> None:
    address = Address.parse("tcp://:7000?framing=line&nodelay=no")
    options = Options.from_address(address).merge(framing="u32")
    assert (str(options.framing), options.nodelay) == ("u32", False)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_message": True},
        {"max_message": 1.5},
        {"max_message": 0},
        {"nodelay": 1},
        {"connect_timeout": float("nan")},
        {"linger": -1},
        {"keepalive": 60},
        {"framing": 5},
        {"when_full": 5},
        {"bind": 7000},
        {"allow": [5]},
        {"no_such": 1},
    ],
)
def test_bad_values_in_code(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption) as caught:
        Options().merge(**wrong)
    assert caught.value.name in wrong
    assert caught.value.hint


def test_options_of_a_transport_stay_in_the_address() -> None:
    address = Address.parse("udp://239.1.2.3:5000?interface=eth0&high_water=2M")
    assert Options.from_address(address).high_water == 2 * 2**20
    assert Options.from_address(Address.parse("exec:?argv=ls&argv=-l")) == Options()


def test_bind_addresses() -> None:
    assert str(bind_address("tcp", "192.168.1.5")) == "tcp://192.168.1.5:0"
    assert str(bind_address("udp", "::1")) == "udp://[::1]:0"
    assert str(bind_address("tcp", "[::1]:5")) == "tcp://[::1]:5"
    assert str(bind_address("tcp", ":5")) == "tcp://:5"
    assert str(bind_address("unix+dgram", "/tmp/a b")) == "unix+dgram:///tmp/a%20b"


@settings(max_examples=300)
@given(st.integers(0, 2**50))
def test_bytes_come_back(size: int) -> None:
    assert read_bytes(format_bytes(size)) == size


@settings(max_examples=300)
@given(
    st.one_of(
        st.floats(1e-6, 1e6), st.integers(0, 10**6).map(float), st.integers(0, 10**6).map(lambda n: n / 1000)
    )
)
def test_seconds_come_back(seconds: float) -> None:
    assert read_seconds(format_seconds(seconds)) == pytest.approx(seconds, rel=1e-9)


@settings(max_examples=300)
@given(st.sampled_from(sorted(KINDS)), st.text(max_size=12))
def test_any_text_is_a_value_or_an_error(name: str, text: str) -> None:
    options = None
    with contextlib.suppress(InvalidOption, InvalidFraming):
        options = Options().merge(**cast("Any", {name: text}))
    if options is not None:
        query = options.to_query()
        assert (_from(query) if query else Options()) == options


@pytest.mark.parametrize(
    ("text", "meant"), [("lines", "line"), ("LINE", "line"), ("delimeter:END", "delimiter")]
)
def test_a_framing_that_is_mistyped_is_guessed(text: str, meant: str) -> None:
    with pytest.raises(InvalidFraming) as caught:
        Framing(text)
    assert f"did you mean {meant}?" in str(caught.value)
    assert str(caught.value).count("netstring") == 1, "the framings are named once"
