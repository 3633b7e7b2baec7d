"""51,000 cancellations against 20,000 messages, receives and sends, with a hash chain as witness."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from support import Chain, Runner, turns

import jackfield

MESSAGES = 20_000
CANCELLATIONS = 51_000
LIMIT = 240.0
"""Seconds; it takes some five on an idle machine."""

pytestmark = pytest.mark.timeout(300)


async def cancelled(task: asyncio.Future[Any]) -> bool:
    """Cancel it and wait for its end, from outside; whether it ended that way."""
    task.cancel()
    await asyncio.wait([task])
    return task.cancelled()


class Receiver:
    """Receives and is cancelled, as often as there is something left of either."""

    def __init__(self, channel: jackfield.Channel) -> None:
        self.channel = channel
        self.chance = random.Random(51)
        self.received = Chain()
        self.cancelled = 0

    def call(self) -> Coroutine[Any, Any, Any]:
        """A receive in one of its forms."""
        form = self.chance.randrange(3)
        if form == 0:
            return self.channel.receive()
        return self.channel.receive(timeout=60.0) if form == 1 else self.channel.receive_many(2)

    async def cancel_one(self, steps: int) -> None:
        """Begin a receive, cancel it after so many steps of the loop, take what it gave all the same."""
        task = asyncio.ensure_future(self.call())
        await turns(steps)
        if await cancelled(task):
            self.cancelled += 1
        else:
            self.take(task.result())

    def take(self, result: bytes | list[bytes]) -> None:
        for message in result if isinstance(result, list) else [result]:
            self.received.check(message)


async def send_all(channel: jackfield.Channel, sent: Chain, may_send: Callable[[], bool]) -> int:
    """Send every message; sends are cancelled at random and made again. How many were given up."""
    chance = random.Random(52)
    given_up = 0

    async def send(message: bytes) -> None:
        # The call itself queues if there is room, so it must not be made before its task runs.
        await channel.send(message)

    while sent.count < MESSAGES:
        if not may_send():
            await asyncio.sleep(0)
            continue
        # A chain that is not gone on with: what was cancelled is not part of it.
        message = sent.peek(chance.choice([0, 10, 700]))
        task = asyncio.create_task(send(message))
        await turns(chance.randrange(3))
        if chance.random() < 0.5 and await cancelled(task):
            given_up += 1
        else:
            await task
            sent.commit(message)
    return given_up


def test_51_000_cancellations_against_20_000_messages(run: Runner) -> None:
    async def main() -> None:
        one, two = jackfield.pair(framing="u32", high_water=2_048)
        async with one, two:
            sent, receiver = Chain(), Receiver(two)
            chance = random.Random(53)
            # The receiver's cancellations are spread over all messages; the sender waits when it is behind.
            sending = asyncio.create_task(
                send_all(
                    one, sent, lambda: sent.count * CANCELLATIONS <= (receiver.cancelled + 500) * MESSAGES
                )
            )
            while receiver.received.count < MESSAGES or receiver.cancelled < CANCELLATIONS:
                await receiver.cancel_one(chance.randrange(4))
            cancelled_sends = await sending
            assert sent.count == receiver.received.count == MESSAGES
            assert receiver.cancelled >= CANCELLATIONS
            assert cancelled_sends > 100
            one.send_eof()
            with pytest.raises(jackfield.EndOfStream):
                await two.receive(10.0)

    run(main, limit=LIMIT)
