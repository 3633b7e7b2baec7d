"""The simulator finds what is broken: each of these faults is planted, and caught within a few seeds."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Iterable
from typing import Any

import pytest
from exchange import converse

import jackfield
from jackfield.testing import _faults

ENOUGH = 150
"""Seeds; the slowest of these takes some 30."""


class Around:
    """A channel with something wrong."""

    def __init__(self, channel: jackfield.Channel) -> None:
        self.channel = channel

    def __getattr__(self, name: str) -> Any:
        return getattr(self.channel, name)


class LosesOnCancellation(Around):
    """As ``future.set_result(message)`` does: who is cancelled after it has lost the message."""

    async def receive(self, timeout: float | None = None) -> bytes:
        inner = asyncio.ensure_future(self.channel.receive(timeout))
        return await asyncio.shield(inner)


class SendsAllTheSame(Around):
    """A cancelled send goes on behind the caller's back."""

    async def send(self, data: bytes, timeout: float | None = None) -> None:
        inner = asyncio.ensure_future(self._send(data, timeout))
        await asyncio.shield(inner)

    async def _send(self, data: bytes, timeout: float | None) -> None:
        await asyncio.sleep(0.0005)
        await self.channel.send(data, timeout)


class ReversesBatches(Around):
    """The messages of a batch arrive in another order."""

    async def send_many(self, messages: Iterable[bytes]) -> None:
        await self.channel.send_many(reversed(list(messages)))


class OvertakesWhatWaits(Around):
    """Two receivers in turn: what the second holds comes late."""

    def __init__(self, channel: jackfield.Channel) -> None:
        super().__init__(channel)
        self.held: collections.deque[bytes] = collections.deque()

    async def receive_many(self, limit: int) -> list[bytes]:
        messages = await self.channel.receive_many(limit)
        self.held.extend(messages[1:])
        return messages[:1]

    async def receive(self, timeout: float | None = None) -> bytes:
        if len(self.held) > 1:
            return self.held.popleft()
        return await self.channel.receive(timeout)


class Doubles(Around):
    """A send that timed out is tried again, though the first one went out."""

    async def send(self, data: bytes, timeout: float | None = None) -> None:
        await self.channel.send(data)
        if timeout is not None:
            await self.channel.send(data)


class EndsTooEarly(Around):
    """The end overtakes the last message."""

    def send_nowait(self, data: bytes) -> None:
        if len(data) % 7:
            self.channel.send_nowait(data)


class CutsLongOnes(Around):
    """A message beyond a size arrives in part."""

    async def send(self, data: bytes, timeout: float | None = None) -> None:
        await self.channel.send(data[:-1] if len(data) > 150 else data, timeout)


BROKEN = [
    LosesOnCancellation,
    SendsAllTheSame,
    ReversesBatches,
    OvertakesWhatWaits,
    Doubles,
    EndsTooEarly,
    CutsLongOnes,
]


def seeds_until_caught(**planted: Any) -> int:
    for seed in range(ENOUGH):
        try:
            converse(seed, **planted)
        except (Exception, asyncio.CancelledError) as error:
            notes = getattr(error, "__notes__", [])
            assert any(f"JACKFIELD_SEED={seed}" in note for note in notes), "how to replay it was not said"
            return seed + 1
    pytest.fail(f"not caught by {ENOUGH} seeds")


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_a_broken_channel_is_caught(broken: Any) -> None:
    assert seeds_until_caught(wrap=broken) <= ENOUGH


def test_the_wrapping_itself_breaks_nothing() -> None:
    for seed in range(ENOUGH):
        converse(seed, wrap=Around)  # type: ignore[arg-type]


@pytest.mark.parametrize("fault", ["drop", "double", "swap", "early end"])
def test_a_link_that_does_what_no_link_does_is_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = _faults.Wire.take

    def broken(self: _faults.Wire, now: float) -> bytes | None:
        piece = honest(self, now)
        self.pieces_taken = getattr(self, "pieces_taken", 0) + 1  # type: ignore[attr-defined]
        if not piece or self.pieces_taken != 5:  # type: ignore[attr-defined]
            return piece
        if fault == "drop":
            return honest(self, now)
        if fault == "double":
            return piece + piece
        if fault == "swap":
            after = honest(self, now)
            return (after or b"") + piece
        return b""

    monkeypatch.setattr(_faults.Wire, "take", broken)
    assert seeds_until_caught() <= ENOUGH
