"""The soak's ordinary clients in one process: many that only stay, some that ask and check every answer.

A busy client waits a while, asks with a message of its own size and content, and compares what comes back.
One after the other the busy ones leave and are replaced by new ones, so that whatever an ended connection
leaves behind adds up.

    load.py --idle 10000 --busy 1000 --pause 0.05 --life 30 ADDRESS...      commands: report, check
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections import Counter
from typing import Any

from common import ECHO, complain, obey, say

import jackfield

AT_ONCE = 64
"""Connections that are being opened at a time."""
PATIENCE = 60.0
"""Seconds that an answer may take."""
SIZES = (16, 64, 64, 64, 256, 1_000, 4_000, 40_000)


class Load:
    """All clients, and what happened to them."""

    def __init__(self, addresses: list[str], *, pause: float, life: float) -> None:
        self.addresses = addresses
        self.pause = pause
        self.life = life
        self.idle: list[jackfield.Channel] = []
        self.busy: set[jackfield.Channel] = set()
        self.requests = self.wrong = self.replaced = 0
        self.slowest = 0.0
        self.failures: Counter[str] = Counter()
        self.failed = 0
        self._opening = asyncio.Semaphore(AT_ONCE)
        self._replacing = asyncio.Lock()
        self._chance = random.Random(1)
        self._noise = self._chance.randbytes(1 << 20)

    async def open(self, number: int) -> jackfield.Channel:
        async with self._opening:
            address = self.addresses[number % len(self.addresses)]
            return await jackfield.connect(address, framing="u32", connect_timeout=PATIENCE)

    async def open_all(self, idle: int, busy: int) -> list[asyncio.Task[None]]:
        """All connections; the tasks of the busy ones."""
        self.idle += await asyncio.gather(*map(self.open, range(idle)))
        self.busy.update(await asyncio.gather(*map(self.open, range(busy))))
        return [asyncio.create_task(self.ask_for_ever(*each)) for each in enumerate(list(self.busy))]

    def message(self) -> bytes:
        """Of any size, a piece of the same noise from anywhere."""
        size = self._chance.choice(SIZES)
        at = self._chance.randrange(len(self._noise) - size)
        return ECHO + self._noise[at : at + size]

    async def ask(self, channel: jackfield.Channel) -> None:
        message, began = self.message(), time.perf_counter()
        answer = await channel.request(message, timeout=PATIENCE)
        self.slowest = max(self.slowest, time.perf_counter() - began)
        self.requests += 1
        self.wrong += answer != message

    async def ask_for_ever(self, number: int, channel: jackfield.Channel) -> None:
        """Ask; now and then change to another connection."""
        while True:
            self.busy.add(channel)
            end = time.monotonic() + self.life * (0.5 + self._chance.random())
            try:
                while time.monotonic() < end:
                    await asyncio.sleep(self.pause * 2 * self._chance.random())
                    await self.ask(channel)
                # One at a time, so that the number of descriptors stays the same.
                async with self._replacing:
                    self.busy.discard(channel)
                    await channel.close(5.0)
                    channel = await self.open(number)
                    self.replaced += 1
            except (jackfield.JackfieldError, OSError) as error:
                self.failed += 1
                self.failures[f"{type(error).__name__}: {error}"[:200]] += 1
                self.busy.discard(channel)
                channel.abort()
                await asyncio.sleep(1.0)
                channel = await self.open(number)

    async def report(self) -> dict[str, Any]:
        return {
            "idle": len(self.idle),
            "busy": len(self.busy),
            "requests": self.requests,
            "wrong": self.wrong,
            "failed": self.failed,
            "failures": dict(self.failures.most_common(5)),
            "replaced": self.replaced,
            "slowest": self.slowest,
        }

    async def check(self) -> dict[str, Any]:
        """Ask once over every idle connection."""
        answering = 0
        for first in range(0, len(self.idle), AT_ONCE):
            some = self.idle[first : first + AT_ONCE]
            results = await asyncio.gather(*map(self.ask, some), return_exceptions=True)
            answering += sum(result is None for result in results)
            for result in results:
                if result is not None:
                    complain(f"an idle connection does not answer: {result}")
        return {"answering": answering}


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("addresses", nargs="+")
    parser.add_argument("--idle", type=int, required=True)
    parser.add_argument("--busy", type=int, required=True)
    parser.add_argument(
        "--pause", type=float, required=True, help="seconds between two questions, on average"
    )
    parser.add_argument("--life", type=float, required=True, help="seconds of a busy connection, on average")
    words = parser.parse_args()
    jackfield.raise_open_files()
    load = Load(words.addresses, pause=words.pause, life=words.life)
    tasks = await load.open_all(words.idle, words.busy)
    say({"connected": len(load.idle) + len(load.busy)})
    commands = asyncio.create_task(obey({"report": load.report, "check": load.check}))
    await asyncio.wait([*tasks, commands], return_when=asyncio.FIRST_COMPLETED)
    for task in (*tasks, commands):
        if task.done():
            task.result()
        task.cancel()
    for channel in (*load.idle, *load.busy):
        channel.abort()


if __name__ == "__main__":
    jackfield.run(main)
