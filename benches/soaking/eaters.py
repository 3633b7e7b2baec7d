"""The soak's difficult clients: fed all the time, they do not read for a while, or are stopped from outside.

Nothing is read before somebody asks, so a client that waits lets the kernel's window close. Then it reads all
that is left for it, in order (messages may be missing where the queue was full), and asks: the connection
must still be there.

    eaters.py --count 20 ADDRESS...       commands: read, check
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
from typing import Any

from common import ECHO, FEED, obey, say

import jackfield

PATIENCE = 60.0


class Eater:
    """One connection that is fed."""

    def __init__(self, channel: jackfield.Channel) -> None:
        self.channel = channel
        self.eaten = 0
        self.next = 0
        self.problem = ""
        self._answered: asyncio.Future[None] | None = None

    async def eat(self) -> None:
        try:
            async for message in self.channel:
                if message[:1] == ECHO:
                    assert self._answered is not None
                    self._answered.set_result(None)
                    continue
                number = int.from_bytes(message[:8], "big")
                if number < self.next:
                    self.problem = f"message {number} came after {self.next - 1}"
                self.next = number + 1
                self.eaten += 1
            self.problem = "the server ended the connection"
        except jackfield.JackfieldError as error:
            self.problem = f"{type(error).__name__}: {error}"

    async def check(self) -> None:
        """The server still answers here."""
        self._answered = asyncio.get_running_loop().create_future()
        try:
            await self.channel.send(ECHO, timeout=PATIENCE)
            await asyncio.wait_for(self._answered, PATIENCE)
        except (jackfield.JackfieldError, TimeoutError) as error:
            self.problem = self.problem or f"no answer: {type(error).__name__}: {error}"


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("addresses", nargs="+")
    parser.add_argument("--count", type=int, required=True)
    words = parser.parse_args()
    eaters = []
    for _, address in zip(range(words.count), itertools.cycle(words.addresses), strict=False):
        eaters.append(Eater(await jackfield.connect(address, framing="u32")))
        await eaters[-1].channel.send(FEED)
        await eaters[-1].channel.flush()
    reading: list[asyncio.Task[None]] = []

    async def read() -> dict[str, Any]:
        reading.extend(asyncio.create_task(eater.eat()) for eater in eaters)
        return {}

    async def check() -> dict[str, Any]:
        await asyncio.gather(*(eater.check() for eater in eaters))
        problems = [eater.problem for eater in eaters if eater.problem]
        return {
            "well": len(eaters) - len(problems),
            "eaten": sum(eater.eaten for eater in eaters),
            "missed": sum(eater.next - eater.eaten for eater in eaters),
            "problems": problems[:5],
        }

    say({"connected": len(eaters)})
    await obey({"read": read, "check": check})
    for task in reading:
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*reading)
    for eater in eaters:
        eater.channel.abort()


if __name__ == "__main__":
    jackfield.run(main)
