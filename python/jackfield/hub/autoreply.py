"""Automatic replies in the hub: the rules that operators gave, applied to what clients say.

Owns the rules, which last in the hub's state, and what is remembered of each client: how much of its rate is
left, the end of its stream, whether it might be a loop. A client that left is forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import jackfield

from .client import Client
from .journal import Throttle
from .part import Part
from .plan import DATAGRAMS, comes_in_pieces
from .reply_rules import Bucket, LoopGuard, Rule, Stream
from .state_file import StateError
from .target import Matcher
from .text import LINE_ENDINGS

if TYPE_CHECKING:
    from .server import Hub

KIND: Final = "autoreply"  # of documents in the state
MOST_RULES: Final = 100


@dataclass(slots=True)
class Counts:
    """What became of one rule so far."""

    matched: int = 0
    sent: int = 0
    limited: int = 0  # beyond the rate
    withheld: int = 0  # not to feed a loop
    dropped: int = 0  # the client's queue was full, or could not carry it


class _Active:
    """A rule at work."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.pattern = rule.compile()
        self.matcher = Matcher(rule.to)
        self.counts = Counts()
        self.ending = None if rule.ending == "default" else LINE_ENDINGS[rule.ending]


@dataclass(slots=True)
class _Remembered:
    """What is known of one client that was heard."""

    stream: Stream | None  # None where messages have boundaries
    loop: LoopGuard | None  # None where there is a connection
    buckets: dict[str, Bucket] = field(default_factory=dict)  # by rule
    searched: dict[str, int] = field(default_factory=dict)  # by rule: up to which position of the stream


class Autoreply(Part):
    """The automatic replies of one hub."""

    def __init__(self) -> None:
        self._active: dict[str, _Active] = {}
        self._clients: dict[int, _Remembered] = {}
        self._throttle = Throttle()

    async def open(self, hub: Hub) -> None:
        self._hub = hub
        for name, value in hub.state.load(KIND).items():
            try:
                self._active[name] = _Active(Rule.from_json(name, value))
            except ValueError as problem:
                raise StateError(f"the state in {hub.state.path} is damaged: {problem}") from problem

    def add(self, rule: Rule) -> None:
        """Answer by a rule from now on, in place of one of that name. ValueError beyond `MOST_RULES`."""
        if rule.name not in self._active and len(self._active) >= MOST_RULES:
            raise ValueError(f"there are {MOST_RULES} automatic replies already; remove one first")
        self._active[rule.name] = _Active(rule)
        for remembered in self._clients.values():
            remembered.buckets.pop(rule.name, None)
            remembered.searched.pop(rule.name, None)
        self._hub.state.save(KIND, rule.name, rule.to_json())

    def remove(self, name: str) -> None:
        """Answer by that rule no more. Raises KeyError when there is none."""
        del self._active[name]
        self._hub.state.delete(KIND, name)

    def rules(self) -> list[tuple[Rule, Counts]]:
        """Every rule with what became of it, in the order in which they answer."""
        return [(active.rule, active.counts) for active in self._active.values()]

    # ---------------------------------------------------------------- what clients say

    def heard(self, now: float, client: Client, data: bytes) -> None:
        if not self._active:
            return
        candidate = self._hub.candidate(client.member)
        meant = [active for active in self._active.values() if active.matcher.matches(candidate)]
        if not meant:
            return
        remembered = self._clients.get(client.id) or self._remember(client)
        before = 0 if remembered.stream is None else remembered.stream.end
        if remembered.stream is not None:
            remembered.stream.add(data)
        counted = [(active, self._count(active, remembered, data, before)) for active in meant]
        matched = [(active, count) for active, count in counted if count]
        if not matched:
            return
        why = "" if remembered.loop is None else remembered.loop.withhold(now, data)
        for active, count in matched:
            active.counts.matched += count
            if why:
                active.counts.withheld += count
                self._log("autoreply_withheld", client, active.rule.name, why)
                continue
            for _ in range(count):
                self._answer(now, client, active, remembered)

    def _remember(self, client: Client) -> _Remembered:
        plan = self._hub.plan_of(client.member)
        in_pieces = comes_in_pieces(plan.framing, client.member.protocol)
        loop = LoopGuard() if client.member.protocol in DATAGRAMS else None
        remembered = self._clients[client.id] = _Remembered(Stream() if in_pieces else None, loop)
        return remembered

    @staticmethod
    def _count(active: _Active, remembered: _Remembered, data: bytes, before: int) -> int:
        """How often the rule answers."""
        if remembered.stream is None:
            return 1 if active.pattern.search(data) is not None else 0
        name = active.rule.name
        count, remembered.searched[name] = remembered.stream.matches(
            active.pattern, remembered.searched.get(name, before)
        )
        return count

    def _answer(self, now: float, client: Client, active: _Active, remembered: _Remembered) -> None:
        rule, counts = active.rule, active.counts
        bucket = remembered.buckets.setdefault(rule.name, Bucket(rule.rate))
        if not bucket.take(now):
            counts.limited += 1
            self._log("autoreply_limited", client, rule.name, f"more than {rule.rate}")
            return
        try:
            sent = self._hub.tell(client.id, rule.reply, by=f"autoreply:{rule.name}", ending=active.ending)
            why = "" if sent else "its queue is full" if client.member.is_connected else "it left"
        except jackfield.FramingError as problem:
            sent, why = False, str(problem)
        if not sent:
            counts.dropped += 1
            self._log("autoreply_dropped", client, rule.name, why)
            return
        counts.sent += 1
        if remembered.loop is not None:
            ending = self._hub.plan_of(client.member).ending_bytes if active.ending is None else active.ending
            remembered.loop.replied(now, rule.reply + ending)

    def _log(self, kind: str, client: Client, rule: str, reason: str) -> None:
        self._hub.log_seldom(self._throttle, kind, rule=rule, id=client.id, name=client.name, reason=reason)

    def went(self, now: float, client: Client, reason: str) -> None:
        self._clients.pop(client.id, None)
