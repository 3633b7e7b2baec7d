"""Saying again what was recorded: one side of one connection, at the recorded times or faster.

Owns the order and the time of what is said. Times are counted from the beginning of the recording and not
from the last message, so that they do not drift. In lock-step a message waits until as much was answered as
had been when it was recorded; what follows a late answer keeps its distance to it. The thin shell over
`Pace` and `Comparison`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from .comparing import Comparison, Difference
from .index import Message, Track
from .records import Direction

SECOND: Final = 1_000_000_000
STREAMS: Final = ("tcp", "tls", "unix", "serial", "pair", "stdio")


class Line(Protocol):
    """Whom it is said to."""

    async def send(self, message: bytes, /) -> None: ...
    async def receive(self) -> Sequence[bytes]:
        """What was answered; nothing at the end."""
        ...


class Pace:
    """When what was recorded at a time is due, on the event loop's clock. Pure."""

    def __init__(self, began: int, now: float, speed: float | None) -> None:
        """`began` is the recorded time that is `now`; `speed` None is as fast as possible."""
        self._began = began
        self._start = now
        self._speed = speed

    def due(self, time: int) -> float:
        """When it is due; the past means at once. What goes back in the recording is due at once, too."""
        if self._speed is None:
            return self._start
        return self._start + max(0, time - self._began) / SECOND / self._speed

    def held_up(self, time: int, now: float) -> None:
        """What was due at `time` happens `now`: all that follows keeps its distance to it."""
        late = now - self.due(time)
        if late > 0:
            self._start += late


@dataclass(frozen=True, slots=True)
class How:
    """How to play.

    At which `speed` (None: at once), in lock-step with answers, comparing them, waiting `timeout` seconds.
    """

    speed: float | None = 1.0
    lock_step: bool = False
    check: bool = False
    timeout: float = 5.0


class Player:
    """One side of one connection, played once.

    `says` is the direction of what is said; the other one is answers.
    """

    def __init__(
        self,
        track: Track,
        says: Direction,
        how: How,
        *,
        stream: bool,
        moved: Callable[[int], None] = lambda size: None,
    ) -> None:
        self.track = track
        self._says = says
        self._how = how
        self._stream = stream
        self._moved = moved
        self._answers = "in" if says == "out" else "out"
        answers = (message.data for message in track.messages() if message.direction != says)
        self._comparison = Comparison(answers, stream=stream) if how.check else None
        self._heard = asyncio.Event()
        self._ended = False
        self.said = 0  # messages
        self.said_bytes = 0
        self.answered = 0
        self.answered_bytes = 0

    @property
    def difference(self) -> Difference | None:
        """The first answer that differs from the recording, of those that are checked."""
        return None if self._comparison is None else self._comparison.difference

    @property
    def wanted(self) -> int:
        """Answers in the recording: bytes on a stream, messages elsewhere."""
        return (self.track.bytes if self._stream else self.track.count)[self._answers]

    async def play(self, line: Line, pace: Pace) -> None:
        """Say everything, then wait for the recorded answers, at most the time-out.

        Raises what the line raises. Cancelled, a first part was said.
        """
        listening = asyncio.create_task(self._listen(line))
        try:
            await self._say_all(line, pace)
            await self._wait_for_answers(self.wanted)
            if self._how.speed is not None:
                end = self.track.last if self.track.ended is None else self.track.ended
                await _until(pace.due(end))
            # An answer that is not in the recording may be on its way at this moment.
            await asyncio.sleep(0)
            if self._comparison is not None and (self._ended or self._have < self.wanted):
                self._comparison.end()
            if listening.done():
                listening.result()
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    @property
    def _have(self) -> int:
        return self.answered_bytes if self._stream else self.answered

    async def _say_all(self, line: Line, pace: Pace) -> None:
        before = 0  # answers that stand before this message in the recording
        missed = 0  # of these, those that did not come in time: nobody waits for them again
        answer: Message | None = None
        for message in self.track.messages():
            if message.direction != self._says:
                before += len(message.data) if self._stream else 1
                answer = message
                continue
            if self._how.lock_step and answer is not None and self._have + missed < before:
                if not await self._wait_for_answers(before - missed):
                    missed = before - self._have
                pace.held_up(answer.time, asyncio.get_running_loop().time())
            if self._how.check and (missed or self.difference is not None):
                return
            await _until(pace.due(message.time))
            await line.send(message.data)
            self.said += 1
            self.said_bytes += len(message.data)
            self._moved(len(message.data))

    async def _wait_for_answers(self, count: int) -> bool:
        """Wait until there are so many, within the time-out; whether there are."""
        try:
            async with asyncio.timeout(self._how.timeout):
                while self._have < count and not self._ended and self.difference is None:
                    self._heard.clear()
                    await self._heard.wait()
        except TimeoutError:
            return False
        return self._have >= count

    async def _listen(self, line: Line) -> None:
        try:
            while messages := await line.receive():
                for message in messages:
                    self.answered += 1
                    self.answered_bytes += len(message)
                    if self._comparison is not None:
                        self._comparison.heard(message)
                self._heard.set()
        finally:
            self._ended = True
            self._heard.set()


async def _until(when: float) -> None:
    loop = asyncio.get_running_loop()
    while (rest := when - loop.time()) > 0:  # noqa: ASYNC110 - a timer may be early by its clock's grain
        await asyncio.sleep(rest)


def is_stream(protocol: str, framing: str) -> bool:
    """Whether bytes come cut anyhow: a stream without framing."""
    return protocol in STREAMS and framing == "none"
