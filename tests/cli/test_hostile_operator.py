"""Every operation of the control socket, with arguments of every wrong kind: the hub answers, and lives."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from programs import HubProcess, StartHub, wait_for

from jackfield.hub.operations import OPERATIONS
from jackfield.hub.protocol import encode_data

pytestmark = pytest.mark.timeout(300)

HARMLESS = sorted(set(OPERATIONS) - {"stop", "reload"})

GOOD: dict[str, Any] = {
    "add": ["floor1"],
    "address": "tcp://127.0.0.1:1",
    "again": True,
    "binary": True,
    "data": encode_data(b"x"),
    "earlier": 1,
    "ending": "lf",
    "exact": True,
    "expires": 60,
    "expect": "x",
    "follow": False,
    "framing": "line",
    "halt_on": "1",
    "host": "127.0.0.1",
    "last": 1,
    "listeners": [],
    "more": False,
    "name": "good",
    "note": "seen",
    "number": 1,
    "of": 1,
    "open": [1],
    "path": "/nonexistent.py",
    "pattern": "never",
    "pause": 0,
    "rate": "1/1s",
    "reason": "done",
    "remove": ["floor2"],
    "reply": encode_data(b"x"),
    "reset": False,
    "role": "member",
    "seen": [1],
    "snippet": "good",
    "state": "all",
    "tag": "floor1",
    "target": "1",
    "text": "note",
    "timeout": 0.01,
    "to": "all",
    "token": "nobody",
    "wait": 0,
    "wave": 1,
    "whole": encode_data(b"x"),
}
"""Every argument that a request may have, with a value that is right."""

TAKEN: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("invite", "token_create"), ("expires", "host", "listeners", "name", "role")),
    "token_list": ("last",),
}
"""What these take: each answer of theirs takes its time, since so many tokens are made here."""

BAD: list[Any] = [
    None,
    True,
    -1,
    2**63,
    10**300,
    1e308,
    float("nan"),
    float("-inf"),
    "",
    " ",
    ",,",
    "\x00",
    "\x1b]0;owned\x07\x1b[2J",
    "\u202ename\u2066",
    "\ud800",
    "-x",
    "all",
    "*",
    "[",
    "[!a-",
    "tag:",
    "../../../etc/passwd",
    "/" * 5000,
    "(" * 200,
    "(?P<name>a{1000}){1000}",
    "a" * 100_000,
    "1," * 5000,
    "9" * 5000,
    "%s{}",
    [],
    [None],
    [-1],
    [2**60],
    ["\ud800"],
    ["a\nb"] * 2,
    ["t" * 5000] * 300,
    [[[[]]]],
    {},
    {"a": {"b": []}},
]


class Operator:
    """A connection to the control socket that sends whatever it likes."""

    def __init__(self, control: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(30)
        self.socket.connect(str(control))
        self.read = self.socket.makefile("rb")
        self.next_id = 0

    def send(self, message: bytes) -> None:
        self.socket.sendall(struct.pack(">I", len(message)) + message)

    def receive(self) -> dict[str, Any]:
        head = self.read.read(4)
        assert len(head) == 4, "the hub hung up"
        found: dict[str, Any] = json.loads(self.read.read(struct.unpack(">I", head)[0]))
        return found

    def request(self, op: str, arguments: dict[str, Any]) -> int:
        self.next_id += 1
        self.send(json.dumps({**arguments, "id": self.next_id, "op": op}).encode())
        return self.next_id

    def replies(self, op: str, several: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """What comes for requests, each cancelled where it goes on, up to the answer of a last `hello`."""
        asked = set()
        for arguments in several:
            asked.add(self.request(op, arguments))
            self.request("cancel", {"of": self.next_id})
        last = self.request("hello", {})
        found = []
        while (reply := self.receive())["id"] != last:
            found.append(reply)
        return [reply for reply in found if reply["id"] in asked]


@pytest.fixture
def hub(start_hub: StartHub, directory: Path) -> HubProcess:
    return start_hub(
        "tcp://127.0.0.1:0,framing=line", "--identify", "host", "--state", str(directory / "hub.db")
    )


@pytest.fixture
def client(hub: HubProcess) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", hub.port())) as plain:
        plain.sendall(b"here\n")
        wait_for(lambda: hub.clients())
        yield plain


def healthy(hub: HubProcess) -> None:
    """The hub serves, and nothing that was asked was a fault of its own."""
    hub.do("status")
    assert b" fault " not in bytes(hub.out)
    assert b"\x1b" not in bytes(hub.out)


def test_every_operation_answers_bad_arguments(hub: HubProcess, client: socket.socket) -> None:
    operator = Operator(hub.control)
    faults = []
    for op in HARMLESS:
        for name in TAKEN.get(op, GOOD):
            bad = [{}, dict.fromkeys(GOOD), *({**GOOD, name: value} for value in BAD)]
            errors = (reply.get("error", {}) for reply in operator.replies(op, bad))
            faults += [
                (op, name, error) for error in errors if "a fault of the hub" in error.get("message", "")
            ]
    assert faults == []
    operator.socket.close()
    healthy(hub)


def test_a_reload_with_a_bad_argument_is_none(hub: HubProcess) -> None:
    replies = Operator(hub.control).replies("reload", [{"timeout": value} for value in BAD])
    assert {reply["error"]["code"] for reply in replies} == {"bad_request"}
    assert len(replies) == len(BAD)
    healthy(hub)


MALFORMED = [
    b"",
    b"\xff\xfe",
    b"null",
    b"[]",
    b"{}",
    b"{" * 100_000,
    b"[" * 100_000,
    b'{"id": 1}',
    b'{"id": true, "op": "hello"}',
    b'{"id": 1e5, "op": "hello"}',
    b'{"id": "1", "op": "hello"}',
    b'{"id": 9007199254740993, "op": "hello"}',
    b'{"id": %s, "op": "hello"}' % (b"9" * 10_000),
    b'{"id": NaN, "op": "hello"}',
    b'{"id": 1, "op": null}',
    b'{"id": 1, "op": ["hello"]}',
    b'{"id": 1, "op": "\\ud800"}',
    b'{"id": 1, "op": "__class__"}',
    b'{"id": 1, "op": "%s"}' % (b"x" * 100_000),
]


def test_what_is_no_request_is_answered(hub: HubProcess) -> None:
    operator = Operator(hub.control)
    for message in MALFORMED:
        operator.send(message)
        assert operator.receive()["error"]["code"] == "bad_request", message[:80]
    healthy(hub)


def test_a_length_beyond_the_limit_ends_that_operator_alone(hub: HubProcess) -> None:
    other = Operator(hub.control)
    bad = Operator(hub.control)
    bad.socket.sendall(b"\xff\xff\xff\xff" + b"x" * 100)
    with contextlib.suppress(ConnectionResetError):
        while bad.socket.recv(1000):
            pass
    assert "ok" in other.replies("hello", [{}])[0]
    healthy(hub)
