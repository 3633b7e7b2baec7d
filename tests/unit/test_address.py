"""Address: every line of the vectors file, and what holds for any text."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackfield._address import Address
from jackfield._address_form import SCHEMES
from jackfield._errors import InvalidAddress, JackfieldError

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "addresses.json").read_text(encoding="utf-8")
)


def _label(vector: dict[str, Any]) -> str:
    return ascii(vector["text"] if "text" in vector else vector["words"])


def _read(vector: dict[str, Any]) -> Address:
    return Address.parse(vector["text"]) if "text" in vector else Address.from_command_line(*vector["words"])


@pytest.mark.parametrize("vector", [v for v in VECTORS if "error" not in v], ids=_label)
def test_vector_is_read(vector: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    address = _read(vector)
    assert str(address) == vector["canonical"]
    assert address.scheme == vector["scheme"]
    assert address.host == vector.get("host")
    assert address.port == vector.get("port")
    assert address.path == vector.get("path")
    assert address.options == tuple(map(tuple, vector.get("options", [])))
    assert Address.parse(str(address)) == address
    assert Address(address.scheme, address.host, address.port, address.path, address.options) == address
    assert hash(Address.parse(str(address))) == hash(address)


@pytest.mark.parametrize("vector", [v for v in VECTORS if "error" in v], ids=_label)
def test_vector_is_rejected(vector: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    with pytest.raises(InvalidAddress) as caught:
        _read(vector)
    found = {name: getattr(caught.value, name) for name in ("position", "message", "hint")}
    assert found == vector["error"]


def test_vectors_cover_every_scheme() -> None:
    assert {vector["scheme"] for vector in VECTORS if "error" not in vector} == set(SCHEMES)
    assert len(VECTORS) >= 80


def test_canonical_text_is_read_on_the_command_line_too() -> None:
    for vector in VECTORS:
        if "error" not in vector:
            assert str(Address.from_command_line(vector["canonical"])) == vector["canonical"]


def test_a_hinted_address_can_be_used() -> None:
    for vector in VECTORS:
        hint = vector.get("error", {}).get("hint") or ""
        word = hint.removeprefix("write ").removeprefix("did you mean ").partition(",")[0].partition(" ")[0]
        if "://" in word and "text" in vector and "host" not in word:
            Address.parse(word)


def test_value() -> None:
    address = Address.parse("tcp://host:7000?framing=line&allow=10.0.0.0/8&allow=::1")
    assert repr(address) == "Address('tcp://host:7000?framing=line&allow=10.0.0.0/8&allow=::1')"
    assert address.endpoint == "host:7000"
    assert address.option("framing") == "line"
    assert address.option("nodelay") is None
    assert address.option_values("allow") == ("10.0.0.0/8", "::1")
    assert pickle.loads(pickle.dumps(address)) == address
    with pytest.raises(FrozenInstanceError):
        address.port = 1  # type: ignore[misc]
    with pytest.raises(TypeError, match="not int"):
        Address.parse(7000)  # type: ignore[arg-type]


def test_changed_copies() -> None:
    address = Address.parse("tcp://[::1]:7000?framing=line&nodelay")
    assert str(address.with_port(0)) == "tcp://[::1]:0?framing=line&nodelay"
    assert str(address.without_options()) == "tcp://[::1]:7000"
    changed = address.with_options(framing=None, nodelay=False, max_message="4M")
    assert str(changed) == "tcp://[::1]:7000?nodelay=no&max_message=4M"
    assert str(Address.parse("ws://h/p?a=1").with_options(framing="u8")) == "ws://h:80/p?a=1&jf.framing=u8"
    with pytest.raises(InvalidAddress, match="over 65535"):
        address.with_port(70000)
    with pytest.raises(InvalidAddress):
        Address.parse("unix:///x").with_port(1)


def test_names_of_unix_sockets() -> None:
    assert Address.parse("unix://@x").is_abstract
    assert not Address.parse("unix:///x").is_abstract
    assert Address.parse("unix:").is_unnamed
    assert not Address.parse("unix:///x").is_unnamed
    assert Address.parse("unix:").endpoint == "unix:"


def test_the_constructor_checks_and_makes_canonical() -> None:
    assert Address("tcp", "LOCALHOST", 80).host == "localhost"
    assert Address("tcp", "fe80:0::1%eth0", 80).host == "fe80::1%eth0"
    assert Address("ws", "host").port == 80
    for fields in (
        ("tcp", "a b", 1),
        ("tcp", "host", None),
        ("tcp", "host?x", 1),
        ("nope", "host", 1),
        ("unix", None, None, "relative"),
        ("ws", "host", 80, "/x?jf.framing=u8"),
        ("pair", "host"),
    ):
        with pytest.raises(InvalidAddress):
            Address(*fields)


def test_error_tells_what_where_and_instead() -> None:
    with pytest.raises(ValueError, match="there is no scheme") as caught:
        Address.parse("tpc://host:7000")
    error = caught.value
    assert isinstance(error, JackfieldError)
    assert str(error) == (
        "invalid address 'tpc://host:7000': there is no scheme 'tpc' (at character 1); did you mean tcp://host:7000"
    )
    with pytest.raises(InvalidAddress) as marked:
        Address.parse("tcp://host:70a0")
    assert marked.value.marked == "tcp://host:70a0\n             ^"
    copy = pickle.loads(pickle.dumps(marked.value))
    assert (str(copy), copy.position) == (str(marked.value), 13)


# What holds for any text ---------------------------------------------------------------------------

_PIECES = st.sampled_from(
    [
        *SCHEMES,
        "://",
        ":",
        "/",
        "//",
        "///",
        "[",
        "]",
        "::1",
        "@",
        "?",
        "&",
        "=",
        "%",
        "%2",
        "%00",
        "%FF",
        "%c3%a9",
        ",",
        "#",
        "*",
        ".",
        "..",
        "7000",
        "0",
        "99999",
        "host",
        "framing=line",
        "jf.x=1",
        "a=b",
        "é",
        "٣",
        "�",
        "\x00",
        " ",
        "\n",
        "xn--",
        "。",
        "İ",
        "ß",
        "\u200d",
        "127.0.0.1",
        "fe80::1%eth0",
        "argv",
        "protocol=1",
    ]
)
_TEXTS = st.one_of(
    st.text(max_size=40),
    st.lists(_PIECES, max_size=9).map("".join),
    st.builds(
        lambda scheme, rest: f"{scheme}://{rest}", st.sampled_from(list(SCHEMES)), st.text(max_size=30)
    ),
    st.builds(
        lambda scheme, rest: f"{scheme}:{''.join(rest)}",
        st.sampled_from(list(SCHEMES)),
        st.lists(_PIECES, max_size=8),
    ),
)


def _outcome(read: Callable[[], Address]) -> Address | InvalidAddress:
    try:
        return read()
    except InvalidAddress as error:
        return error


def _check_outcome(outcome: Address | InvalidAddress, text: str) -> None:
    if isinstance(outcome, InvalidAddress):
        assert 0 <= outcome.position <= len(text)
        assert outcome.text == text
        assert outcome.message
        assert str(outcome)
        assert outcome.marked
    else:
        assert Address.parse(str(outcome)) == outcome
        assert str(Address.parse(str(outcome))) == str(outcome)


@settings(max_examples=1500)
@given(_TEXTS)
def test_any_text_is_an_address_or_an_error_in_it(text: str) -> None:
    _check_outcome(_outcome(lambda: Address.parse(text)), text)


@settings(max_examples=500)
@given(st.lists(_TEXTS, max_size=3))
def test_any_words_are_an_address_or_an_error_in_them(words: list[str]) -> None:
    _check_outcome(_outcome(lambda: Address.from_command_line(*words)), " ".join(words))


_HOSTS = st.one_of(
    st.none(),
    st.from_regex(r"[a-z][a-z0-9_-]{0,20}(\.[a-z][a-z0-9-]{0,10}){0,3}", fullmatch=True),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
    st.builds(
        lambda ip, zone: f"{ip}%{zone}",
        st.ip_addresses(v=6),
        st.from_regex(r"[a-z0-9.]{1,15}", fullmatch=True),
    ),
)
_VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_OPTIONS = st.dictionaries(st.from_regex(r"[a-z][a-z_]{0,9}", fullmatch=True), _VALUES, max_size=3).map(
    lambda options: tuple(options.items())
)
_PATHS = st.binary(min_size=1, max_size=50).map(lambda raw: raw.replace(b"\0", b"x").rstrip(b"/") + b"x")


@settings(max_examples=500)
@given(_HOSTS, st.integers(0, 65535), _OPTIONS)
def test_fields_come_back_from_host_and_port(
    host: str | None, port: int, options: tuple[tuple[str, str], ...]
) -> None:
    address = Address("tcp", host, port, None, options)
    assert Address.parse(str(address)) == address
    assert (address.port, address.options) == (port, options)
    assert Address.from_command_line(str(address)) == address


@settings(max_examples=500)
@given(st.sampled_from(["/", "@"]), _PATHS, _OPTIONS)
def test_fields_come_back_from_paths(start: str, raw: bytes, options: tuple[tuple[str, str], ...]) -> None:
    path = start + raw.decode("utf-8", "surrogateescape")
    address = Address("unix", path=path, options=options)
    assert Address.parse(str(address)) == address
    assert (address.path, address.options) == (path, options)
    assert Address.from_command_line(str(address)) == address


def test_an_error_shows_both_ends_of_a_long_text() -> None:
    for text in ("a" * 100_000, "tcp://" + "a." * 50_000 + ":1", "x" * 100_000 + "://h:1"):
        with pytest.raises(InvalidAddress) as caught:
            Address.parse(text)
        assert caught.value.text == text
        assert len(str(caught.value)) < 1500
