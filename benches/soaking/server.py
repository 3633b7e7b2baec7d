"""The soak's server: every connection of every listener in one group, no object and no task for any of them.

It sends back what wants to be sent back, feeds those who asked to be fed whether or not they read, and counts
what happens. A timer of 1 ms runs beside it and notes how late it comes.

    server.py ADDRESS...      commands: report, calm
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import Counter
from typing import Any

from common import ECHO, FEED, obey, say

import jackfield

TICK = 0.001
MEAL = 32 * 1024
"""Bytes of one message to those who are fed."""
QUEUE = 256 * 1024
"""High-water mark: what one connection that does not read may cost."""


class Ticker:
    """How late a timer of 1 ms comes, in seconds."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.forget()
        self._due = self.loop.time() + TICK
        self.loop.call_at(self._due, self._tick)

    def forget(self) -> None:
        """Begin to count."""
        self.worst = 0.0
        self.milliseconds: Counter[int] = Counter()

    def _tick(self) -> None:
        late = self.loop.time() - self._due
        self.worst = max(self.worst, late)
        self.milliseconds[int(late * 1000)] += 1
        self._due = self.loop.time() + TICK
        self.loop.call_at(self._due, self._tick)

    def within(self, share: float) -> int:
        """Milliseconds within which this share of the ticks came."""
        left = share * self.milliseconds.total()
        for milliseconds, count in sorted(self.milliseconds.items()):
            left -= count
            if left <= 0:
                return milliseconds + 1
        return 0


class Server:
    """What happened at the server."""

    def __init__(self, group: jackfield.Group) -> None:
        self.group = group
        self.echoed = 0
        self.fed: dict[int, int] = {}
        """The next number for each one that is fed, by id."""
        self.lost_while_fed = 0
        self.failures: Counter[str] = Counter()
        self.failed = 0

    def take(self, event: jackfield.Event) -> None:
        match event:
            case jackfield.Message(member, data) if data[:1] == ECHO:
                with contextlib.suppress(jackfield.ChannelClosed):
                    member.send_nowait(data)
                    self.echoed += 1
            case jackfield.Message(member, data) if data[:1] == FEED:
                self.fed[member.id] = 0
            case jackfield.Left(member, reason, error):
                if self.fed.pop(member.id, None) is not None:
                    self.lost_while_fed += 1
                if error is not None:
                    self.failed += 1
                    self.failures[reason if len(self.failures) < 10 else "others"] += 1
            case jackfield.AcceptFailed(_, error):
                self.failed += 1
                self.failures[str(error)] += 1

    async def feed(self) -> None:
        """A numbered message for everyone who is fed, four times a second; a full queue misses it."""
        while True:
            await asyncio.sleep(0.25)
            for member, number in list(self.fed.items()):
                with contextlib.suppress(jackfield.JackfieldError):
                    self.group.send_nowait(member, number.to_bytes(8, "big") + bytes(MEAL))
                    self.fed[member] = number + 1

    async def facts(self, ticker: Ticker) -> dict[str, Any]:
        return {
            "connected": len(self.group),
            "echoed": self.echoed,
            "fed": len(self.fed),
            "lost while fed": self.lost_while_fed,
            "failed": self.failed,
            "failures": dict(self.failures),
            "worst": ticker.worst,
            "within 99.9 %": ticker.within(0.999) / 1000,
            "ticks": ticker.milliseconds.total(),
        }


async def main() -> None:
    jackfield.raise_open_files()
    async with contextlib.AsyncExitStack() as stack:
        group = await stack.enter_async_context(jackfield.Group())
        addresses = []
        for address in sys.argv[1:]:
            listening = jackfield.listen(
                address, framing="u32", high_water=QUEUE, when_full="drop_newest", backlog=4096
            )
            listener = await stack.enter_async_context(listening)
            listener.into(group)
            addresses.append(str(listener.address.without_options()))
        server, ticker = Server(group), Ticker()

        async def serve() -> None:
            while True:
                for event in await group.receive_many():
                    server.take(event)

        async def calm() -> dict[str, Any]:
            ticker.forget()
            return {}

        tasks = [asyncio.create_task(each) for each in (serve(), server.feed())]
        say({"addresses": addresses})
        commands = asyncio.create_task(obey({"report": lambda: server.facts(ticker), "calm": calm}))
        await asyncio.wait([*tasks, commands], return_when=asyncio.FIRST_COMPLETED)
        for task in (*tasks, commands):
            if task.done():
                task.result()
            task.cancel()
        group.abort()


if __name__ == "__main__":
    jackfield.run(main)
