"""The messages between operators and the hub."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.hub import protocol
from jackfield.hub.protocol import RequestError, parse_reply, parse_request


def test_a_request_reads_back() -> None:
    request = parse_request(
        protocol.request(7, "send", target="dev*", data=protocol.encode_data(b"\0\xff"), wait=None)
    )
    assert (request.id, request.op) == (7, "send")
    assert request.text("target") == "dev*"
    assert request.data("data") == b"\0\xff"
    assert request.seconds("wait", 1.5) == 1.5
    assert request.flag("reset") is False
    assert request.text("ending", "none") == "none"


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"1",
        b'"x"',
        b"null",
        b"{}",
        b'{"id": 1}',
        b'{"op": "x"}',
        b'{"id": true, "op": "x"}',
        b'{"id": "1", "op": "x"}',
        b'{"id": 1.5, "op": "x"}',
        b'{"id": 1, "op": 3}',
        b'{"id": 1e400, "op": "x"}',
        b'{"id": 99999999999999999999999999, "op": "x"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_garbage_is_refused(message: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        parse_request(message)
    assert caught.value.code == protocol.BAD_REQUEST


@given(st.binary())
def test_no_bytes_raise_anything_else(message: bytes) -> None:
    for parse in (parse_request, parse_reply):
        with contextlib.suppress(RequestError):
            parse(message)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(json_values)
def test_no_argument_raises_anything_else(value: Any) -> None:
    request = parse_request(json.dumps({"id": 1, "op": "x", "a": value}).encode())
    for take in (
        request.text,
        request.flag,
        request.integer,
        request.data,
        lambda name: request.seconds(name, 1.0),
    ):
        with contextlib.suppress(RequestError):
            take("a")


@pytest.mark.parametrize("value", [-1, 1001, True, "5", 2.0, None])
def test_integers_have_bounds(value: object) -> None:
    request = parse_request(json.dumps({"id": 1, "op": "x", "a": value}).encode())
    with pytest.raises(RequestError):
        request.integer("a", most=1000)


@pytest.mark.parametrize("value", ["nan", "=", "a", "!!!!", "é"])
def test_data_must_be_base64(value: str) -> None:
    request = parse_request(json.dumps({"id": 1, "op": "x", "data": value}).encode())
    with pytest.raises(RequestError, match="base64"):
        request.data("data")


def test_replies() -> None:
    assert parse_reply(protocol.ok(1)) == {"id": 1, "ok": {}}
    assert parse_reply(protocol.event(2, {"log": {}})) == {"id": 2, "event": {"log": {}}}
    problem = RequestError(protocol.AMBIGUOUS, "several", hint="one of them", candidates=["a", "b"])
    assert parse_reply(protocol.error(None, problem)) == {
        "id": None,
        "error": {"code": "ambiguous", "message": "several", "hint": "one of them", "candidates": ["a", "b"]},
    }
    for message in (b'{"id": 1}', b'{"ok": {}}', b'{"id": 1, "ok": {}, "event": {}}'):
        with pytest.raises(RequestError):
            parse_reply(message)


def test_text_that_is_no_text_travels() -> None:
    assert parse_request(protocol.request(1, "x", target="\udcff")).text("target") == "\udcff"
