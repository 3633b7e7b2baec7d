"""One question to many clients: what is sent to each, what each answers, and when it is enough.

Owns clocks and listening: a client is listened to from the moment in which its first byte is queued, so
that no answer is too fast and nothing that it said before counts. `expecting` decides what an answer is,
`waves` who is next, `sending` how bytes reach a client. Patterns cost the hub at most a part of its time:
beyond it clients are looked at later, and what more they say than is bounded is passed over.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from .expecting import Answer, Expecting
from .outcomes import ANSWERED, GONE, NO_MATCH, QUEUE_FULL, REFUSED, SENT, SILENT, WELL
from .patterns import Pattern
from .sending import FULL, LEFT, Recipient, Unsendable, begin
from .talkers import Talker
from .waves import Waves

if TYPE_CHECKING:
    from .server import Hub

GATHER: Final = 0.02  # seconds in which results are gathered before they are told
TICK: Final = 0.005  # seconds between two looks at clocks
SHARE: Final = 0.2  # of the hub's time that patterns may take, and
ALLOWANCE: Final = 0.05  # seconds of it at once


@dataclass(frozen=True, slots=True)
class Question:
    """What every client gets, and what is waited for. Times are seconds.

    `ending` None is that of each client's listener. `pattern` None waits for no answer. `wait` is how long
    a full queue is waited for. Waves are of `wave` clients (None: all at once), `pause` apart; none starts
    once `halt_on` clients have failed.
    """

    data: bytes
    ending: bytes | None = b""
    pattern: Pattern | None = None
    binary: bool = False
    timeout: float = 2.0
    wait: float = 0.0
    wave: int | None = None
    halt_on: int | None = None
    pause: float = 0.0


@dataclass(frozen=True, slots=True)
class Result:
    """What became of the question to one client. `seconds` are from the send to the match."""

    id: int
    name: str
    outcome: str
    seconds: float | None = None
    answer: Answer | None = None
    said: bytes = b""
    """Where nothing matched, the beginning of what it said instead."""
    detail: str = ""


@dataclass(slots=True)
class _Asked:
    """A client of the wave at hand. `expecting` is there from when its first byte was queued."""

    id: int
    name: str
    end_talk: Callable[[], None]
    expecting: Expecting | None = None
    sent_at: float = 0.0


@dataclass(slots=True)
class Asking:
    """A question on its way. `run` it once; `waves` tells how far it is."""

    hub: Hub
    ids: Sequence[int]
    question: Question
    by: str
    waves: Waves = field(init=False)
    _asked: dict[int, _Asked] = field(default_factory=dict)
    _by_member: dict[int, _Asked] = field(default_factory=dict)
    _deadlines: deque[tuple[float, _Asked]] = field(default_factory=deque)
    _settling: dict[int, _Asked] = field(default_factory=dict)
    _behind: dict[int, _Asked] = field(default_factory=dict)
    _results: list[Result] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _wave_over: asyncio.Event = field(default_factory=asyncio.Event)
    _timer: asyncio.TimerHandle | None = None
    _spent: float = 0.0
    _since: float = 0.0

    def __post_init__(self) -> None:
        self.waves = Waves(self.ids, size=self.question.wave, halt_on=self.question.halt_on)

    async def run(self) -> AsyncGenerator[Sequence[int] | list[Result], None]:
        """Ask everyone: each wave's ids as it starts, and results as they come.

        Closed or cancelled, nobody else is sent to, and nobody is listened to any more.
        """
        self._since = _now()
        sending: asyncio.Task[None] | None = None
        try:
            while wave := self.waves.next():
                self._wave_over.clear()
                yield wave
                sending = asyncio.create_task(self._send(wave))
                while not self.waves.over or self._results:
                    await self._news_of(sending)
                    results, self._results = self._results, []
                    if results:
                        yield results
                    with suppress(TimeoutError):
                        async with asyncio.timeout(GATHER):
                            await self._wave_over.wait()
                await sending
                if self.waves.more and self.question.pause:
                    await asyncio.sleep(self.question.pause)
        finally:
            if sending is not None:
                sending.cancel()
                with suppress(asyncio.CancelledError):
                    await sending
            if self._timer is not None:
                self._timer.cancel()
            for asked in tuple(self._asked.values()):
                asked.end_talk()

    async def _news_of(self, sending: asyncio.Task[None]) -> None:
        """Wait for results; a send that fails is raised."""
        if sending.done():
            sending.result()
        while not self._news.is_set():
            waiting = asyncio.ensure_future(self._news.wait())
            tasks = {waiting} if sending.done() else {waiting, sending}
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
            if sending.done():
                sending.result()
        self._news.clear()

    # ---------------------------------------------------------------- sending

    async def _send(self, wave: Sequence[int]) -> None:
        self._by_member.clear()
        for client_id in wave:
            self._begin(client_id)
        ids = [client_id for client_id in wave if client_id in self._asked]
        sending = await begin(self.hub, ids, self.question.ending, wait=self.question.wait, by=self.by)
        sending.on_queued = self._queued
        sending.on_end = self._sent
        with suppress(Unsendable):  # each result says it of its client
            await sending.pass_on(self.question.data)
        for asked in [self._asked[client_id] for client_id in ids if client_id in self._asked]:
            if not asked.sent_at:
                self._end(asked, GONE, detail="it left before it was sent to")

    def _begin(self, client_id: int) -> None:
        client = self.hub.client(client_id)
        if client is None:
            self._tell(Result(client_id, str(client_id), GONE, detail="it left before it was sent to"))
            return

        def heard(data: bytes) -> None:
            self._heard(asked, data)

        def left(reason: str) -> None:
            self._left(asked, reason)

        end_talk = self.hub.talkers.add(client_id, Talker(heard, left))
        asked = _Asked(client_id, client.name, end_talk)
        self._asked[client_id] = self._by_member[client.member.id] = asked

    def _queued(self, recipient: Recipient) -> None:
        asked = self._by_member.get(recipient.member.id)
        if asked is not None and asked.expecting is None and self.question.pattern is not None:
            asked.expecting = Expecting(
                self.question.pattern, in_messages=not recipient.in_pieces, binary=self.question.binary
            )

    def _sent(self, recipient: Recipient) -> None:
        asked = self._by_member.get(recipient.member.id)
        if asked is None or asked.id not in self._asked:
            return
        now = asked.sent_at = _now()
        if recipient.failure:
            outcome = REFUSED if recipient.skipped else {FULL: QUEUE_FULL, LEFT: GONE}[recipient.failure]
            part = f", after {recipient.queued} bytes" if recipient.queued else ""
            detail = recipient.failure if recipient.skipped else f"{recipient.failure}{part}"
            self._end(asked, outcome, detail=detail)
        elif self.question.pattern is None:
            self._end(asked, SENT)
        else:
            self._deadlines.append((now + self.question.timeout, asked))
            self._arm(self._deadlines[0][0])

    # ---------------------------------------------------------------- answers

    def _heard(self, asked: _Asked, data: bytes) -> None:
        if asked.expecting is None:
            return  # said before it was asked
        now = _now()
        asked.expecting.feed(now, data)
        if self._may_look(now):
            self._look(now, asked)
        else:
            self._behind[asked.id] = asked
            self._arm(now)

    def _may_look(self, now: float) -> bool:
        return self._spent < ALLOWANCE + SHARE * (now - self._since)

    def _look(self, now: float, asked: _Asked) -> None:
        assert asked.expecting is not None
        began = time.perf_counter()
        answer = asked.expecting.look(now)
        self._spent += time.perf_counter() - began
        if answer is not None:
            self._end(asked, ANSWERED, answer=answer)
        elif asked.expecting.found_at is not None:
            self._settling[asked.id] = asked
            self._arm(asked.expecting.ends_at)
        else:
            self._settling.pop(asked.id, None)

    def _left(self, asked: _Asked, reason: str) -> None:
        answer = self._last_look(asked)
        if answer is not None:
            self._end(asked, ANSWERED, answer=answer)
        else:
            self._end(
                asked, GONE, said=b"" if asked.expecting is None else asked.expecting.said, detail=reason
            )

    def _last_look(self, asked: _Asked) -> Answer | None:
        """The answer in what came so far, if there is time to look at it."""
        if asked.expecting is None:
            return None
        now = _now()
        if asked.expecting.behind and self._may_look(now):
            began = time.perf_counter()
            asked.expecting.look(now)
            self._spent += time.perf_counter() - began
        return asked.expecting.give_up()

    def _arm(self, at: float) -> None:
        """Have `_tick` called at a time, unless it will be sooner."""
        at = max(at, _now() + TICK)
        if self._timer is not None:
            if self._timer.when() <= at:
                return
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(at, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = _now()
        while self._behind and self._may_look(now):
            self._look(now, self._behind.pop(next(iter(self._behind))))
            now = _now()
        for asked in tuple(self._settling.values()):
            if asked.expecting is not None and now >= asked.expecting.ends_at:
                self._look(now, asked)
        while self._deadlines and (
            self._deadlines[0][0] <= now or self._deadlines[0][1].id not in self._asked
        ):
            asked = self._deadlines.popleft()[1]
            if asked.id in self._asked:
                self._time_out(asked)
        due = [asked.expecting.ends_at for asked in self._settling.values() if asked.expecting is not None]
        due += [now] if self._behind else []
        due += [self._deadlines[0][0]] if self._deadlines else []
        if due:
            self._arm(min(due))

    def _time_out(self, asked: _Asked) -> None:
        answer, expecting = self._last_look(asked), asked.expecting
        assert expecting is not None
        if answer is not None:
            self._end(asked, ANSWERED, answer=answer)
            return
        late = expecting.overrun or expecting.behind
        detail = "it says more than could be looked at in time" if late else ""
        self._end(asked, NO_MATCH if expecting.said else SILENT, said=expecting.said, detail=detail)

    def _end(self, asked: _Asked, outcome: str, **facts: Any) -> None:
        if self._asked.pop(asked.id, None) is None:
            return
        for kept in (self._settling, self._behind):
            kept.pop(asked.id, None)
        asked.end_talk()
        seconds = None
        if outcome == ANSWERED and asked.expecting is not None and asked.expecting.found_at is not None:
            # Of a long message it may come before all of it was queued.
            seconds = max(0.0, asked.expecting.found_at - (asked.sent_at or asked.expecting.found_at))
        self._tell(Result(asked.id, asked.name, outcome, seconds, **facts))

    def _tell(self, result: Result) -> None:
        self.waves.ended(result.id, well=result.outcome in WELL)
        self._results.append(result)
        self._news.set()
        if self.waves.over:
            self._wave_over.set()


def _now() -> float:
    return asyncio.get_running_loop().time()
