"""The hub: listeners of any kind into one group of clients, and what happens to them.

Owns the lifetime of the listeners, the group and the clients in it. There is no object or task per
client: the engine holds them, the hub keeps names that were given and what is of the hub's own
making (who talks to whom). One task consumes the group's events.

Memory stays bounded: each client's queue by `Limits.queue` (a full one drops the newest and counts
it), clients by `Limits.max_clients` (a newcomer beyond it is refused and logged), the log and the
memory of what was said by count and bytes.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jackfield
from jackfield import Group, Joined, Left, Listener, Member, Message

from .display import preview
from .journal import Event, Field, Journal, Memory, Throttle
from .plan import MAX_CLIENTS, MAX_OPERATORS, SCHEMES, Limits, ListenerPlan
from .roster import Names, client_view, endpoint_text, peer_text, short_protocol, timestamp, version
from .sending import Recipient, Sending, in_turns
from .target import Candidate

RESERVED_DESCRIPTORS = 64 + MAX_OPERATORS  # at most, and at most a quarter; clients get the rest
SMALL_LIMIT = 1024  # descriptors; fewer are worth a word at the start
LOGGED_AT_MOST = 2000  # of joins, and of leaves, in LOGGED_EVERY seconds; a flood is counted instead
LOGGED_EVERY = 60.0
DATAGRAMS = ("udp", "unix+dgram")
REFUSALS_EVERY = 1.0  # seconds between two looks at how many the engine turned away
KICK_PATIENCE = 10.0  # seconds that what is queued for a kicked client may take
STREAMS = ("tcp", "unix", "unix+seqpacket")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a hub is told at its start."""

    listeners: Sequence[ListenerPlan]
    control: Path
    limits: Limits = field(default_factory=Limits)
    log_messages: bool = False


class Talker:
    """Whoever wants each message of one client, and to know when it left."""

    __slots__ = ("left", "message")

    def __init__(self, message: Callable[[bytes], None], left: Callable[[str], None]) -> None:
        self.message = message
        self.left = left


class Hub:
    """One hub. `open`, then `run` until `stop`; `close` delivers what is queued and ends everything."""

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.time) -> None:
        self.settings = settings
        self.clock = clock
        self.journal = Journal()
        self.memory = Memory()
        self.names = Names()
        self.listeners: list[tuple[Listener, ListenerPlan]] = []
        self.group = Group(when_full="drop_newest")
        self.started = clock()
        self.joined = 0
        self.refused = 0
        self.max_clients = settings.limits.max_clients or MAX_CLIENTS
        self._talkers: dict[int, list[Talker]] = {}
        self._plans: dict[int, ListenerPlan] = {}  # by the listener's id
        self._gone: dict[int, int] = {}  # member id -> client id, of those whose end is in the batch at hand
        self._held: dict[int, set[int]] = {}  # ids of the members let in, by their listener's id
        self._refusals = Throttle()
        self._throttles = {
            kind: Throttle(burst=LOGGED_AT_MOST, period=LOGGED_EVERY) for kind in ("joined", "left")
        }
        self._limited_by_descriptors = 0  # the descriptor limit, where it is what limits the clients
        self._stopping = asyncio.Event()

    # ---------------------------------------------------------------- lifetime

    async def open(self) -> None:
        """Listen on everything, or on nothing: a listener that cannot be had ends those before it."""
        self._raise_descriptor_limit()
        try:
            for plan in self.settings.listeners:
                listener = await jackfield.listen(plan.address, **plan.options(self.settings.limits))
                self.listeners.append((listener, plan))
                self._plans[listener.id] = plan
                self._held[listener.id] = set()
        except BaseException:
            self._close_listeners()
            raise
        for listener, _ in self.listeners:
            listener.into(self.group)

    async def run(self) -> None:
        """Serve until `stop`. Cancelled, the hub stays as it is; `close` it."""
        consuming = asyncio.create_task(self._consume())
        counting = asyncio.create_task(self._count_refusals())
        stopping = asyncio.create_task(self._stopping.wait())
        tasks: tuple[asyncio.Task[Any], ...] = (consuming, counting, stopping)
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def stop(self, reason: str) -> None:
        """Make `run` return. May be called twice."""
        if not self._stopping.is_set():
            self.log("stopping", reason=reason)
            self._stopping.set()

    async def close(self, *, deadline: float = 0.6) -> None:
        """Take no more clients, deliver what is queued for at most `deadline` seconds, end the rest."""
        clients = len(self)
        # Peers of a datagram listener would end with it: those listeners stay until the end.
        self._close_listeners(STREAMS)
        undelivered = await self._deliver(deadline)
        for member in self.group.members():
            if self._queued(member):
                member.abort()
            else:
                member.close()
        await asyncio.sleep(0)
        self._close_listeners()
        self._tell_left_out(at_end=True)
        self.log("stopped", clients=clients, undelivered=undelivered)

    def _close_listeners(self, protocols: Sequence[str] = SCHEMES) -> None:
        for listener, _ in self.listeners:
            if listener.protocol in protocols:
                listener.abort()

    async def _deliver(self, deadline: float) -> int:
        """Wait until nothing is queued, at most `deadline` seconds; for how many it still is."""
        end = time.monotonic() + deadline
        waiting = self.group.members()
        while waiting := [member for member in waiting if self._queued(member)]:
            if time.monotonic() > end:
                break
            await asyncio.sleep(0.01)
        return len(waiting)

    def _queued(self, member: Member) -> int:
        try:
            return self.group.statistics(member).queued_bytes
        except jackfield.ChannelClosed:
            return 0

    def _raise_descriptor_limit(self) -> None:
        limit = jackfield.raise_open_files()[1]
        asked = self.settings.limits.max_clients
        room = max(1, limit - min(RESERVED_DESCRIPTORS, limit // 4))
        self.max_clients = min(asked or MAX_CLIENTS, room)
        if self.max_clients == room:
            self._limited_by_descriptors = limit
        if room < (asked or 0) or (asked is None and limit < SMALL_LIMIT):
            self.log("limited", max_clients=self.max_clients, descriptors=limit, hint="see ulimit -Hn")

    # ---------------------------------------------------------------- events of clients

    async def _consume(self) -> None:
        while True:
            events = await self.group.receive_many(64)
            now = self.clock()
            # The engine has forgotten the number of a member whose end is in this batch, too.
            self._gone = {e.member.id: e.member.number for e in events if isinstance(e, Left)}
            for event in events:
                # A fault of ours with one client ends neither the hub nor others.
                try:
                    self._handle(now, event)
                except Exception as problem:
                    fault = f"{type(problem).__name__}: {problem}"
                    self.log("fault", event=type(event).__name__, error=fault)
            await asyncio.sleep(0)  # operators get their turn under any load

    async def _count_refusals(self) -> None:
        """Log whom the engine turned away for want of a descriptor, and how much was not logged."""
        known = 0
        while True:
            await asyncio.sleep(REFUSALS_EVERY)
            count = self._turned_away()
            if count > known:
                reason = "no file descriptor was free (see ulimit -n)"
                self.log("refused", clients=count - known, reason=reason)
            known = count
            self._tell_left_out()

    def _turned_away(self) -> int:
        return sum(listener.statistics().refused for listener, _ in self.listeners if not listener.closed)

    def _handle(self, now: float, event: jackfield.Event) -> None:
        if isinstance(event, Message):
            self._said(now, event.member, event.data)
        elif isinstance(event, Joined):
            self._came(event.member)
        elif isinstance(event, Left):
            self._went(event.member, event.reason)
        else:
            self._throttled("accept_failed", reason=str(event.error))

    def _said(self, now: float, member: Member, data: bytes) -> None:
        client_id = self._number(member)
        self.memory.add(now, client_id, data)
        for talker in tuple(self._talkers.get(client_id, ())):
            talker.message(data)
        if self.settings.log_messages:
            self.log("message", id=client_id, name=self._name(member), bytes=len(data), data=preview(data))

    def _came(self, member: Member) -> None:
        reason = self._full(member)
        if reason and member.is_connected:  # one that left by itself already is told of as any other
            self.refused += 1
            self._throttled("refused", protocol=member.protocol, peer=peer_text(member), reason=reason)
            member.abort()
            return
        self._held[member.listener_id].add(member.id)
        self.joined += 1
        self._log_unless_flood("joined", **self._facts(member), local=endpoint_text(member.local))

    def _full(self, member: Member) -> str:
        """Why there is no place for a newcomer, those let in before it counted; empty when there is."""
        if sum(map(len, self._held.values())) >= self.max_clients:
            if self._limited_by_descriptors:
                limit = self._limited_by_descriptors
                return (
                    f"the limit of {limit} descriptors leaves room for {self.max_clients} clients (ulimit -n)"
                )
            return f"the hub has its {self.max_clients} clients (--max-clients)"
        most = self._plans[member.listener_id].max_clients
        if most is not None and len(self._held[member.listener_id]) >= most:
            return f"the listener has its {most} clients (max_clients)"
        return self._full_of_datagrams() if member.protocol in DATAGRAMS else ""

    def _full_of_datagrams(self) -> str:
        """Anyone can make up senders of datagrams: beside other listeners they get half of the places."""
        kinds = {listener.id: listener.protocol in DATAGRAMS for listener, _ in self.listeners}
        most = max(1, self.max_clients // 2)
        if all(kinds.values()) or sum(len(self._held[id_]) for id_, yes in kinds.items() if yes) < most:
            return ""
        return f"senders of datagrams have their {most} places, half of all (--max-clients)"

    def _went(self, member: Member, reason: str) -> None:
        self._held[member.listener_id].discard(member.id)
        self._log_unless_flood("left", **self._facts(member), reason=reason)
        client_id = self._number(member)
        self.names.forget(client_id)
        for talker in self._talkers.pop(client_id, ()):
            talker.left(reason)

    # ---------------------------------------------------------------- looking clients up

    def by_id(self, client_id: int) -> Candidate | None:
        member = self.member(client_id)
        return None if member is None else self._candidate(member)

    def by_name(self, name: str) -> Candidate | None:
        found = self.names.find(name)
        member = None if found is None else self.member(found[0])
        if found is None or member is None or (found[1] and found[1] != short_protocol(member.protocol)):
            return None
        return self._candidate(member)

    def __iter__(self) -> Iterator[Candidate]:
        return map(self._candidate, self.group.members())

    def __len__(self) -> int:
        return len(self.group)

    def ids(self) -> list[int]:
        """The id of every client, oldest first."""
        return [member.number for member in self.group.members()]

    def member(self, client_id: int) -> Member | None:
        """The client with that id, unless it left."""
        return self.group.numbered(client_id) if client_id < 2**63 else None

    def plan_of(self, member: Member) -> ListenerPlan:
        """What was planned for the listener that this client came through."""
        return self._plans[member.listener_id]

    def view(self, client_id: int) -> dict[str, Any] | None:
        """What operators are told of one client; None once it left."""
        member = self.member(client_id)
        if member is None:
            return None
        try:
            framing = self.plan_of(member).framing
            statistics = self.group.statistics(member)
            explanation = str(self.group.explain(member))
            return client_view(member, self._name(member), statistics, framing, explanation)
        except jackfield.ChannelClosed:
            return None

    def _candidate(self, member: Member) -> Candidate:
        return Candidate(member.number, self._name(member), peer_text(member))

    def _number(self, member: Member) -> int:
        return member.number or self._gone.get(member.id, 0)

    def _name(self, member: Member) -> str:
        return self.names.of(self._number(member), member.protocol)

    def _facts(self, member: Member) -> dict[str, Field]:
        return {
            "id": self._number(member),
            "name": self._name(member),
            "protocol": member.protocol,
            "peer": peer_text(member),
        }

    # ---------------------------------------------------------------- what operators do

    def log(self, kind: str, **facts: Field) -> None:
        self.journal.write(Event(self.clock(), kind, tuple(facts.items())))

    def _throttled(self, kind: str, **facts: Field) -> None:
        write, left_out = self._refusals.allow(self.clock())
        if write:
            self.log(kind, **facts, **({"more_before": left_out} if left_out else {}))

    def _log_unless_flood(self, kind: str, **facts: Field) -> None:
        write, left_out = self._throttles[kind].allow(self.clock())
        if write:
            self.log(kind, **facts, **({"more_before": left_out} if left_out else {}))

    def _tell_left_out(self, *, at_end: bool = False) -> None:
        for kind, throttle in self._throttles.items():
            left_out = throttle.take_left_out(float("inf") if at_end else self.clock())
            if left_out:
                self.log("not_logged", **{kind: left_out})

    def talk(self, client_id: int, talker: Talker) -> Callable[[], None]:
        """Hand each message of a client to `talker`; the result ends that, and may be called twice."""
        talkers = self._talkers.setdefault(client_id, [])
        talkers.append(talker)

        def end() -> None:
            if talker in talkers:
                talkers.remove(talker)
            if not talkers and self._talkers.get(client_id) is talkers:
                del self._talkers[client_id]

        return end

    async def sending(self, ids: Sequence[int], ending: bytes | None, wait: float) -> Sending:
        """A send to these clients, to be passed its data; `ending` None is that of each one's listener."""
        recipients = []
        for some in in_turns(ids):
            for member in filter(None, map(self.member, some)):
                plan = self.plan_of(member)
                recipients.append(
                    Recipient(
                        member,
                        str(self._candidate(member)),
                        plan.ending_bytes if ending is None else ending,
                        plan.framing == "none" and member.protocol in ("tcp", "unix"),
                    )
                )
            await asyncio.sleep(0)
        return Sending(self.group, recipients, gone=len(ids) - len(recipients), wait=wait)

    def rename(self, client_id: int, name: str) -> str:
        """Give a client a name; the one before. Raises `NameRefused`."""
        member = self.member(client_id)
        protocol = "" if member is None else member.protocol
        before = self.names.of(client_id, protocol)
        self.names.rename(client_id, protocol, name)
        return before

    def kick(self, client_id: int, *, reset: bool, by: str) -> None:
        """End a client: after what is queued for it, or with a reset and at once. It is told of as gone."""
        member = self.member(client_id)
        if member is None or member.id not in self._held[member.listener_id]:  # its coming is not read yet
            return
        # The engine reports no end that we asked for.
        self._went(member, f"kicked by {by}" + (" with a reset" if reset else ""))
        if reset:
            member.abort()
        else:
            member.close(KICK_PATIENCE)

    def status(self) -> dict[str, Any]:
        """The hub in figures."""
        return {
            "pid": os.getpid(),
            "version": version(),
            "since": timestamp(self.started),
            "clients": len(self),
            "joined": self.joined,
            "refused": self.refused + self._turned_away(),
            "max_clients": self.max_clients,
            "queue_limit": self.settings.limits.queue,
            "message_limit": self.settings.limits.max_message,
            "listeners": [
                {
                    "address": str(listener.address.without_options()),
                    "framing": plan.framing,
                    "ending": plan.ending,
                }
                for listener, plan in self.listeners
            ],
        }
