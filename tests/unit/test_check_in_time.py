"""What `check` says over an open channel ends in time, whatever the peer does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from jackfield import TimedOut
from jackfield.diagnosis import conversation


class Trickle:
    """A channel whose peer says a byte every tenth of a second of a stepped clock, without end."""

    def __init__(self, first: bytes) -> None:
        self.now = 0.0
        self.said = 0
        self._first = first

    def monotonic(self) -> float:
        return self.now

    async def send(self, data: bytes, timeout: float | None = None) -> None:
        pass

    async def flush(self, timeout: float | None = None) -> None:
        pass

    async def receive(self, timeout: float | None = None) -> bytes:
        self.now += 0.1
        self.said += 1
        return self._first if self.said == 1 else b"\0"


def test_a_handshake_byte_by_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    channel: Any = Trickle(b"\x16\x03\x03\x40\x00")  # a record of 16 KiB begins
    monkeypatch.setattr(conversation, "time", channel)
    stream = conversation.TlsStream(channel, "localhost", verify=False)
    with pytest.raises(TimedOut):
        asyncio.run(stream.handshake(2.0))
    assert channel.said == 20


def test_a_line_byte_by_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    channel: Any = Trickle(b"HTTP/1.1 ")
    monkeypatch.setattr(conversation, "time", channel)
    answer = asyncio.run(conversation.first_answer(channel, b"", "nothing", wait=2.0, whole_line=True))
    assert channel.said == 20
    assert answer.data.startswith(b"HTTP/1.1 ")
