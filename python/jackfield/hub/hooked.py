"""Hooks in the hub: what they answer goes to the client, and not into a loop.

Owns `Hooked`, the part that runs a program's own hooks in the hub's loop, and the answering that scripts
share with it. A hook that raises is logged, with its place, and is called again the next time.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

from .client import Client
from .hooks import HookClient, Hooks, checked
from .journal import Throttle
from .part import Part
from .plan import DATAGRAMS
from .reply_rules import LoopGuard
from .roster import peer_text

if TYPE_CHECKING:
    from .server import Hub


class Answers:
    """Sends what hooks say. In the hub's loop."""

    def __init__(self, hub: Hub, by: str) -> None:
        self._hub = hub
        self._by = by
        self._loops: dict[int, LoopGuard] = {}  # of senders of datagrams
        self._throttle = Throttle()

    def send(self, client_id: int, data: bytes | str) -> bool:
        """Send to a client; whether it is there and its queue had room."""
        if isinstance(data, str):
            return self._hub.tell(
                client_id, data.encode("utf-8", "surrogateescape"), by=self._by, ending=None
            )
        return self._hub.tell(client_id, data, by=self._by)

    def kick(self, client_id: int, *, reset: bool) -> None:
        self._hub.kick(client_id, reset=reset, by=self._by)

    def answer(self, now: float, client_id: int, heard: bytes, answer: object) -> None:
        """Send what a hook returned for `heard`, unless that would feed a loop."""
        if answer is None:
            return
        data = checked(answer)
        client = self._hub.client(client_id)
        if client is not None and client.member.protocol in DATAGRAMS:
            loop = self._loops.setdefault(client_id, LoopGuard())
            why = loop.withhold(now, heard)
            if why:
                self.log("script_withheld", id=client_id, reason=why)
                return
            plan = self._hub.plan_of(client.member)
            loop.replied(now, data if isinstance(data, bytes) else data.encode() + plan.ending_bytes)
        if not self.send(client_id, data):
            self.log("script_dropped", id=client_id, reason="it left, or its queue is full")

    def forget(self, client_id: int) -> None:
        self._loops.pop(client_id, None)

    def failed(self, problem: BaseException, **facts: str) -> None:
        """A hook raised: say where, in one line."""
        self.log("script_failed", by=self._by, **facts, error=where(problem))

    def log(self, kind: str, **facts: Any) -> None:
        self._hub.log_seldom(self._throttle, kind, **facts)


class Hooked(Part):
    """A program's own hooks, called in the hub's loop: they must not block."""

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks

    async def open(self, hub: Hub) -> None:
        self._answers = Answers(hub, "program")

    def came(self, now: float, client: Client) -> None:
        if self._hooks.on_join is not None:
            try:
                self._hooks.on_join(self._of(client))
            except Exception as problem:
                self._answers.failed(problem)

    def heard(self, now: float, client: Client, data: bytes) -> None:
        if self._hooks.on_message is not None:
            try:
                answer = self._hooks.on_message(self._of(client), data)
                self._answers.answer(now, client.id, data, answer)
            except Exception as problem:
                self._answers.failed(problem)

    def went(self, now: float, client: Client, reason: str) -> None:
        self._answers.forget(client.id)
        if self._hooks.on_leave is not None:
            try:
                self._hooks.on_leave(self._of(client), reason)
            except Exception as problem:
                self._answers.failed(problem)

    def _of(self, client: Client) -> HookClient:
        return HookClient(
            client.id, client.name, client.member.protocol, peer_text(client.member), self._answers
        )


def where(problem: BaseException) -> str:
    """What was raised, and the innermost line that is not ours: `ValueError: no (hooks.py:12)`."""
    if isinstance(problem, SyntaxError):
        return f"{type(problem).__name__}: {problem.msg} ({problem.filename}:{problem.lineno})"
    ours = __file__.rpartition("/")[0]
    frames = [f for f in traceback.extract_tb(problem.__traceback__) if not f.filename.startswith(ours)]
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(problem).__name__}: {_told(problem)}{place}"


def _told(problem: BaseException) -> str:
    try:
        return str(problem)
    except BaseException:
        return "(it cannot be told)"
