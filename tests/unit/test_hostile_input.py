"""What no address is, what a peer announces, what a TLS server says: each an error that says what it is."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import Any

import pytest
from support import Runner

import jackfield
from jackfield import sync
from jackfield.diagnosis.conversation import _readable

CALLS: list[Callable[[Any], object]] = [
    jackfield.connect,
    jackfield.listen,
    jackfield.bind,
    sync.connect,
    sync.listen,
]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.__module__}.{call.__name__}")
@pytest.mark.parametrize("what", [None, 7000, b"tcp://127.0.0.1:7000", ("127.0.0.1", 7000)], ids=repr)
def test_what_is_no_address(call: Callable[[Any], object], what: object) -> None:
    with pytest.raises(TypeError, match="an address is text such as"):
        call(what)


@pytest.mark.parametrize("announced", [2**63 - 1, 2**63, 2**64 - 1])
def test_the_largest_announcements_are_told_as_they_are(run: Runner, announced: int) -> None:
    here, there = socket.socketpair()

    async def receive() -> None:
        async with jackfield.adopt(here, framing="u64") as channel:
            there.send(announced.to_bytes(8))
            with pytest.raises(jackfield.MessageTooLarge, match=f"a message of {announced} bytes"):
                await channel.receive(30.0)

    with there:
        run(receive)


def test_a_tls_error_without_a_reason_shows_no_line_of_python() -> None:
    error = ssl.SSLError(1, "[SSL] unknown error (_ssl.c:1006)")
    error.reason = ""
    assert _readable(error) == "unknown error"
