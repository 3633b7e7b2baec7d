"""One conversation of the simulator, drawn from a seed, with a hash chain as its witness.

Both ends send and receive at the same time, over a link that splits, delays, stalls and sometimes resets or
ends early. Sends and receives come in all their forms and are cancelled and timed out by chance. What
arrives must be what was sent, in order and once; without a reset nothing may be missing, with one a first
part arrives.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass

import jackfield
from jackfield.testing import Faults, Simulation

FRAMINGS = ["u32", "u16le", "u8", "varint", "netstring", "line", "line:crlf", "delimiter:END", "fixed:16"]
UNTIL_WHOLE = [framing for framing in FRAMINGS if not framing.startswith("line")]

ENDINGS = (jackfield.ChannelLost, jackfield.TruncatedFrame, jackfield.ChannelClosed)
"""A reset or an early end; ``ChannelClosed`` is what the other task of the one who saw it first hears."""

Wrap = Callable[[jackfield.Channel], jackfield.Channel]


class Chain:
    """Messages of which each begins with the hash of all before it, in letters that no framing minds."""

    def __init__(self, *, fixed: bool = False) -> None:
        self.count = 0
        self._fixed = fixed
        self._hash = hashlib.blake2b(digest_size=8)

    def next(self, extra: int) -> bytes:
        """The next message. Only ``sent`` makes it part of the chain."""
        return self._hash.hexdigest().encode() + b"." * (0 if self._fixed else extra)

    def sent(self, message: bytes) -> None:
        """It was queued, whole."""
        self._hash.update(message)
        self.count += 1

    def check(self, message: bytes) -> None:
        """It was received: it must be the next one."""
        expected = self._hash.hexdigest().encode()
        assert message[:16] == expected, f"message {self.count} is not the one that was due: {message[:40]!r}"
        assert message[16:] == b"." * (len(message) - 16), f"message {self.count} is not whole"
        self.sent(message)


@dataclass
class Tally:
    """What a conversation, or many, consisted of."""

    seeds: int = 0
    sent: int = 0
    received: int = 0
    cancelled: int = 0
    timed_out: int = 0
    cut_short: int = 0
    """Conversations that a reset or an early end ended."""

    def add(self, other: Tally) -> None:
        """Sums."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


@dataclass
class Conversation:
    """One direction's chains and the tally of both."""

    chance: random.Random
    tally: Tally
    sent: Chain
    received: Chain
    lossy: bool

    async def send_all(self, channel: jackfield.Channel, total: int, largest: int) -> None:
        """Send ``total`` messages, however often that is cancelled, then the end."""
        chance = self.chance
        try:
            while self.sent.count < total:
                message = self.sent.next(chance.randrange(largest) if chance.random() < 0.5 else 0)
                form = chance.randrange(6)
                if form < 2:
                    timeout = 0.01 if form else None
                    if await self._attempt(self._sending(channel, message, timeout)):
                        self.sent.sent(message)
                elif form == 2:
                    with contextlib.suppress(jackfield.QueueFull):
                        channel.send_nowait(message)
                        self.sent.sent(message)
                elif form == 3:
                    await self._send_batch(channel, chance.randrange(1, 5))
                elif form == 4:
                    await channel.send(message)
                    self.sent.sent(message)
                elif form == 5 and chance.random() < 0.3:
                    await asyncio.sleep(chance.choice([0.0, 0.001, 0.5]))
            await channel.flush()
            channel.send_eof()
        except ENDINGS:
            assert self.lossy, "the channel was lost without a reset"
            channel.abort()
        finally:
            self.tally.sent += self.sent.count

    async def _send_batch(self, channel: jackfield.Channel, count: int) -> None:
        messages = []
        ahead = self.sent
        for _ in range(count):
            message = ahead.next(3)
            ahead.sent(message)
            messages.append(message)
        await channel.send_many(messages)

    async def _sending(self, channel: jackfield.Channel, message: bytes, timeout: float | None) -> None:
        # The call itself queues if there is room, so it must not be made before its task runs.
        await channel.send(message, timeout=timeout)

    async def receive_all(self, channel: jackfield.Channel) -> None:
        """Receive until the end, however often that is cancelled."""
        chance = self.chance
        try:
            while True:
                form = chance.randrange(5)
                if form == 0:
                    messages = [await channel.receive()]
                elif form == 1:
                    messages = await channel.receive_many(4)
                else:
                    timeout = chance.choice([None, 0.0, 0.002, 1.0]) if form == 2 else None
                    task = asyncio.ensure_future(
                        channel.receive_many(3) if form == 3 else channel.receive(timeout)
                    )
                    if not await self._attempt(task):
                        continue
                    result = task.result()
                    messages = result if isinstance(result, list) else [result]
                for message in messages:
                    self.received.check(message)
                if chance.random() < 0.05:
                    await asyncio.sleep(chance.choice([0.0, 0.01, 2.0]))
        except jackfield.EndOfStream:
            pass
        except ENDINGS:
            assert self.lossy, "the channel was lost without a reset"
            channel.abort()
        finally:
            self.tally.received += self.received.count

    async def _attempt(self, call: object) -> bool:
        """Run it as a task that is cancelled by chance; whether it came to its end."""
        task: asyncio.Task[object] = asyncio.ensure_future(call)  # type: ignore[arg-type]
        if self.chance.random() < 0.5:
            for _ in range(self.chance.randrange(4)):
                await asyncio.sleep(0)
            if self.chance.random() < 0.2:
                await asyncio.sleep(0.001)
            task.cancel()
        # From outside: awaiting it would take a cancellation of this very task for the other's.
        await asyncio.wait([task])
        if task.cancelled():
            self.tally.cancelled += 1
            return False
        if isinstance(task.exception(), jackfield.TimedOut):
            self.tally.timed_out += 1
            return False
        task.result()
        return True


def converse(
    seed: int | None = None, *, messages: int = 12, wrap: Wrap | None = None, faults: Faults | None = None
) -> tuple[Tally, str]:
    """One conversation; its tally and its trace's fingerprint. ``wrap`` puts something around a channel."""
    simulation = Simulation(seed)
    chance = simulation.random
    tally = Tally(seeds=1)
    drawn = faults or Faults.drawn(chance, resets=True)
    lossy = drawn.reset_after is not None or drawn.truncate is not None
    # At an early end what there is of a line is a message: with lines that would be no first part.
    framing = chance.choice(UNTIL_WHOLE if lossy else FRAMINGS)
    largest = 200 if framing == "u8" else chance.choice([1, 40, 1_000])
    high_water = chance.choice([64, 2_000, 1_000_000])

    async def main() -> None:
        link = simulation.link(drawn, framing=framing, high_water=high_water)
        ends = [link.left, link.right]
        if wrap is not None:
            ends = [wrap(end) for end in ends]
        fixed = framing == "fixed:16"
        ways = [
            Conversation(random.Random(chance.random()), tally, Chain(fixed=fixed), Chain(fixed=fixed), lossy)
            for _ in ends
        ]
        async with asyncio.TaskGroup() as group:
            for way, sender, receiver in ((ways[0], *ends), (ways[1], *reversed(ends))):
                group.create_task(way.send_all(sender, messages, largest))
                group.create_task(way.receive_all(receiver))
        for way in ways:
            assert way.received.count <= way.sent.count
            if not lossy:
                assert way.received.count == way.sent.count, "messages were lost"
        tally.cut_short += any(way.received.count < way.sent.count for way in ways)

    simulation.run(main)
    return tally, simulation.fingerprint
