"""Connections that the hub makes: each is tried until it holds, and is a client like those that came in.

Owns who is dialled, which lasts in the hub's state, and one task for each: connect, wait until it is lost,
wait a little longer than the last time, again. A kick ends a connection and not the dialling; `remove` ends
both. A peer that is away is known as absent, by the name that it was dialled with, and why it is away.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import jackfield

from .client import Client
from .dial_plan import DialPlan
from .identity import Entry
from .part import Part
from .roster import endpoint_text, timestamp
from .state_file import DAMAGED, StateError

if TYPE_CHECKING:
    from .server import Hub

KIND: Final = "dial"  # of documents in the state
MOST_DIALS: Final = 1000
SETTLED: Final = (
    1.0  # seconds after which a connection counts as one: its loss is waited for from the start again
)
NO_LISTENER: Final = 0  # the listener of members that none has accepted
LOOK_EVERY: Final = 2.0  # seconds between two looks whether a client was let in at all


@dataclass(slots=True, eq=False)
class Dial:
    """One peer that is dialled, and how that goes. Times are Unix seconds."""

    plan: DialPlan
    lasting: bool
    state: str = "connecting"  # or connected, waiting
    since: float = 0.0  # of that state
    next_at: float = 0.0  # of the next attempt, while waiting
    attempt: int = 0  # since it was connected
    client_id: int = 0  # while connected
    reason: str = ""  # why it is not connected, or was not before
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Future[str] | None = None  # of the connection that there is
    task: asyncio.Task[None] | None = None

    def explain(self, now: float) -> str:
        """One sentence about how it stands."""
        why = f' because "{self.reason}"' if self.reason else ""
        if self.state == "connected":
            return f"connected since {timestamp(self.since)}"
        if self.state == "waiting":
            return f"next attempt in {max(0.0, self.next_at - now):.1f} s{why}"
        return f"connecting{why.replace('because', 'again, because') if why else ''}"

    def view(self, now: float) -> dict[str, Any]:
        """Everything that `jackfield dial --json` says about it."""
        return {
            "name": self.plan.name,
            "address": self.plan.where,
            "state": self.state,
            "since": timestamp(self.since),
            "client": self.client_id or None,
            "attempt": self.attempt,
            "next_in": round(max(0.0, self.next_at - now), 3) if self.state == "waiting" else None,
            "reason": self.reason,
            "framing": self.plan.plan.framing,
            "ending": self.plan.plan.ending,
            "lasting": self.lasting,
            "explain": self.explain(now),
        }


class Dialling(Part):
    """The dialled peers of one hub; those of `plans` are dialled from its start to its end."""

    def __init__(self, plans: Sequence[DialPlan] = (), *, backoff: jackfield.Backoff | None = None) -> None:
        self._plans = plans
        self._backoff = backoff or jackfield.Backoff()
        self._dials: dict[str, Dial] = {}
        self._by_member: dict[int, Dial] = {}
        self._counted = False  # among the clients that the hub may have

    async def open(self, hub: Hub) -> None:
        self._hub = hub
        dials = {}
        for name, document in hub.state.load(KIND).items():
            try:
                dials[name] = Dial(DialPlan.of_document(name, document), lasting=True)
            except (KeyError, TypeError, ValueError, jackfield.JackfieldError) as problem:
                raise StateError(
                    f"the state in {hub.state.path} is damaged: dial {name!r}: {problem}", DAMAGED
                ) from problem
        dials |= {plan.name: Dial(plan, lasting=False) for plan in self._plans}
        for dial in dials.values():
            self._begin(dial)

    async def close(self) -> None:
        tasks = [task for dial in self._dials.values() if (task := dial.task) is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for dial in self._dials.values():
            if dial.client_id:  # a successor dials it anew
                self._hub.kick(dial.client_id, reset=False, by="the hub", why="let go")
        self._dials.clear()

    # ---------------------------------------------------------------- who is dialled

    def __iter__(self) -> Iterator[Dial]:
        return iter(self._dials.values())

    def find(self, name: str) -> Dial | None:
        """The one with that name, be it the one that it was dialled with or the one that it has now."""
        dial = self._dials.get(name)
        if dial is not None:
            return dial
        known = self._hub.identities.registry.known_as(name)
        return None if known is None else self.of_identity(known.identity)

    def of_identity(self, identity: str) -> Dial | None:
        """The one that is known under an identity."""
        kind, _, name = identity.partition(":")
        return self._dials.get(name) if kind == "dial" else None

    def add(self, plan: DialPlan) -> Dial:
        """Dial a peer from now on, also after a restart.

        Raises ValueError when the name is taken and when there are too many.
        """
        if plan.name in self._dials:
            raise ValueError(f"{plan.name!r} is dialled already; 'jackfield undial {plan.name}' ends that")
        known = self._hub.identities.registry.known_as(plan.name)
        if known is not None and known.identity != plan.identity:
            raise ValueError(f"another client is called {plan.name!r}; choose another --name")
        if len(self._dials) >= MOST_DIALS:
            raise ValueError(f"{MOST_DIALS} peers are dialled already")
        self._hub.state.save(KIND, plan.name, plan.document())
        return self._begin(Dial(plan, lasting=True))

    async def remove(self, dial: Dial, *, by: str) -> None:
        """Dial a peer no more: what is queued for it still leaves, and it is not known as absent."""
        name = dial.plan.name
        del self._dials[name]
        if dial.lasting:
            self._hub.state.delete(KIND, name)
        if dial.task is not None:
            dial.task.cancel()
            await asyncio.gather(dial.task, return_exceptions=True)
        if dial.client_id:
            self._hub.kick(dial.client_id, reset=False, by=by, why="undialled")
            member = self._hub.member(dial.client_id)
            if member is not None and member.is_connected:  # its coming is not read yet
                member.close(LOOK_EVERY)
        entry = self._hub.identities.registry.known_as(dial.plan.identity)
        if entry is not None and not entry.client_id:
            self._hub.identities.forget(entry)
        self._hub.log("undialled", dial=name, address=dial.plan.where, by=by)

    def _begin(self, dial: Dial) -> Dial:
        now, registry = self._hub.clock(), self._hub.identities.registry
        if not self._counted:
            self._counted = True
            self._hub.admission.add_listener(NO_LISTENER, most=None, datagrams=False)
        if registry.known_as(dial.plan.identity) is None:
            # It is absent from now on, not only once it has been there.
            address = dial.plan.plan.address
            registry.restore(
                [
                    Entry(
                        dial.plan.identity,
                        dial.plan.name if registry.known_as(dial.plan.name) is None else "",
                        protocol=address.scheme,
                        peer=endpoint_text(address),
                        first=now,
                        last=now,
                    )
                ]
            )
        self._dials[dial.plan.name] = dial
        dial.task = asyncio.create_task(self._keep(dial), name=f"dial {dial.plan.name}")
        return dial

    # ---------------------------------------------------------------- one connection after the other

    async def _keep(self, dial: Dial) -> None:
        """Connect again and again."""
        while True:
            self._change(dial, "connecting")
            before, began = dial.reason, time.monotonic()
            try:
                dial.reason = await self._connected_until(dial)
            except jackfield.JackfieldError as problem:
                dial.reason = str(problem)
            except Exception as problem:  # a fault of ours: others go on
                dial.reason = f"{type(problem).__name__}: {problem}"
                self._hub.log("fault", dial=dial.plan.name, error=dial.reason)
            lasted = dial.state == "connected" and time.monotonic() - began > SETTLED
            dial.attempt = 1 if lasted else dial.attempt + 1
            delay = self._backoff.delay(dial.attempt)
            dial.client_id, dial.next_at = 0, self._hub.clock() + delay
            if (
                dial.reason != before and dial.state != "connected"
            ):  # what 'left' tells already is not told twice
                self._hub.log("dial_failed", dial=dial.plan.name, address=dial.plan.where, reason=dial.reason)
            self._change(dial, "waiting")
            await asyncio.sleep(delay)

    async def _connected_until(self, dial: Dial) -> str:
        """Connect, and wait for the end; why it ended. Raises why there was no connection."""
        plan, hub = dial.plan, self._hub
        channel = await jackfield.connect(plan.plan.address, **plan.options(hub.settings.limits))
        refusal = hub.admission.refusal(NO_LISTENER)
        if refusal:
            channel.abort()
            raise jackfield.JackfieldError(refusal)
        if hub.closing:
            channel.abort()
            raise jackfield.ChannelClosed("the hub ends")
        member = hub.group.add(channel)
        hub.dialled[member.id] = plan.plan
        ended = dial.ended = asyncio.get_running_loop().create_future()
        self._by_member[member.id] = dial
        dial.client_id = member.number
        try:
            self._change(dial, "connected")
            while not ended.done():
                await asyncio.wait({ended}, timeout=LOOK_EVERY)
                if not member.is_connected and not ended.done():
                    await asyncio.wait({ended}, timeout=LOOK_EVERY)  # its end may be told any moment
                    return str(ended.result()) if ended.done() else "the hub did not let it in"
            return str(ended.result())
        finally:
            self._by_member.pop(member.id, None)
            dial.ended = None

    def _change(self, dial: Dial, state: str) -> None:
        dial.state, dial.since = state, self._hub.clock()
        if state != "connecting":
            dial.changed.set()

    def went(self, now: float, client: Client, reason: str) -> None:
        dial = self._by_member.get(client.member.id)
        if dial is not None and dial.ended is not None and not dial.ended.done():
            dial.ended.set_result(reason or "the peer ended the connection")


def why_away(hub: Hub, entry: Entry) -> dict[str, Any]:
    """What the view of an absent one says beside what is known of it, if it is dialled."""
    dialling = hub.part(Dialling)
    dial = None if dialling is None else dialling.of_identity(entry.identity)
    return {} if dial is None else {"explain": dial.explain(hub.clock()), "dialled": dial.plan.where}
