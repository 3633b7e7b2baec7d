"""What `--json` prints: times as text in ISO 8601, whatever command says them; bytes in hex."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from programs import HubProcess, StartHub

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture
def hub(start_hub: StartHub) -> Iterator[HubProcess]:
    hub = start_hub("tcp://127.0.0.1:0,room=lobby", "tcp://127.0.0.1:0,framing=line,protocol=native")
    with socket.create_connection(("127.0.0.1", hub.port())) as one:
        hub.joined(1)
        hub.do("chat", "lobby", "--name", "desk", data=b"pump broken\n")
        hub.do("rename", "1", "dev1")
        yield hub
        one.shutdown(socket.SHUT_WR)


def numbers(document: Any) -> Iterator[float]:
    if isinstance(document, dict | list):
        for each in document.values() if isinstance(document, dict) else document:
            yield from numbers(each)
    elif isinstance(document, int | float):
        yield document


@pytest.mark.parametrize(
    ("words", "time"),
    [
        ("rooms --json", "created"),
        ("rooms create ops --json", "created"),
        ("rooms history lobby --json", "at"),
        ("rooms search pump --json", "at"),
        ("token create --name ann --expires 9d --json", "expires"),
        ("invite --json", "expires"),
        ("clients --json", "since"),
        ("status --json", "since"),
        ("logs --json -n 1", "time"),
        ("audit --json -n 1", "time"),
    ],
)
def test_times_are_text(hub: HubProcess, words: str, time: str) -> None:
    document = json.loads(hub.do(*words.split()))
    if isinstance(document, list):
        (document,) = document
    assert TIME.fullmatch(document[time]), document
    assert not [each for each in numbers(document) if 1.6e9 < each < 4e9], document


def test_what_an_automatic_reply_says_is_hex(hub: HubProcess) -> None:
    hub.do("autoreply", "add", "--hex", "01", "ff00")
    (rule,) = json.loads(hub.do("autoreply", "--json"))
    assert rule["reply"] == "ff00"
