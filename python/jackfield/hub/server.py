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
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jackfield
from jackfield import AcceptFailed, Group, Joined, Left, Listener, Member, Message, Published

from .admission import Admission
from .client import Client
from .dial_plan import GONE
from .display import preview
from .identities import Identities
from .journal import Event, Field, Journal, Memory, Throttle
from .part import P, Part, Parts
from .plan import DATAGRAMS, SCHEMES, ListenerPlan, check_bound
from .racing import until_one_ends
from .rooms.memory_store import MemoryStore
from .rooms.store import Store
from .roster import client_view, endpoint_text, peer_text, short_protocol
from .security.part import Security
from .sending import say
from .settings import Settings as Settings
from .state import State
from .state_file import StateUnavailable
from .talkers import Talkers
from .target import Absent, Candidate

if TYPE_CHECKING:
    from .native import Native
    from .reload import Reloader
    from .session import Session
    from .successor import Succession

REFUSALS_EVERY = 1.0  # seconds between two looks at how many the engine turned away
KICK_PATIENCE = 10.0  # seconds that what is queued for a kicked client may take
STREAMS = ("tcp", "tls", "unix", "unix+seqpacket")


class Hub:
    """One hub. `open`, then `run` until `stop`; `close` delivers what is queued and ends everything."""

    def __init__(
        self,
        settings: Settings,
        *,
        parts: Sequence[Part] = (),
        clock: Callable[[], float] = time.time,
        first_id: int = 1,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.journal = Journal()
        self.memory = Memory()
        self.identities = Identities(self)
        self.state = State.nowhere()
        self.listeners: list[tuple[Listener, ListenerPlan]] = []
        self.group = Group(when_full="drop_newest", first_number=first_id)
        self.started = clock()
        self.joined = 0
        self.refused = 0
        self.admission = Admission(settings.limits.max_clients)
        self.talkers = Talkers()
        self.store: Store = MemoryStore()  # of rooms and letters; `Storage` puts it where it lasts
        self.native: Native | None = None  # the part that speaks with native clients
        self.security = Security(self)
        self.audit = self.security.audit
        self.within: set[Session] = set()  # operators in this process: see `within.py`
        self._plans: dict[int, ListenerPlan] = {}  # by the listener's id
        self.dialled: dict[int, ListenerPlan] = {}  # by member id: of connections that this side made
        self._gone: dict[int, int] = {}  # member id -> client id, of those whose end is in the batch at hand
        self._refusals = Throttle()
        self._joins, self._leaves = Throttle.of_clients(), Throttle.of_clients()
        self._not_saved: set[Path | None] = set()  # files that are not written, as the log knows it
        self._stopping = asyncio.Event()
        self._hurried = False
        self.gate = asyncio.Event()  # closed while a reload is under way
        self.gate.set()
        self.delivering_until = 0.0  # what was queued for those that left has gone by then; monotonic
        self.successor = 0  # the pid of the hub that has everything now
        self.reloader: Reloader | None = None
        self._handed: dict[str, list[Any]] | None = None  # what a predecessor's parts gave, until `run`
        self.closing = False
        self._first_parts = parts
        self.parts = Parts(lambda what, problem: self._fault(what, problem))

    # ---------------------------------------------------------------- lifetime

    async def open(self, *, succession: Succession | None = None) -> None:
        """Listen on everything, or on nothing: a listener that cannot be had ends those before it.

        A successor goes on with the listeners and clients of its predecessor.
        """
        limit = jackfield.raise_open_files()[1]
        if self.admission.limit_by_descriptors(limit):
            facts: dict[str, Field] = {"max_clients": self.admission.max_clients, "descriptors": limit}
            self.log("limited", **facts, hint="see ulimit -Hn")
        try:
            if succession is not None:
                self.open_state()
                succession.open(self)
                self._handed = succession.held.parts
            else:
                for plan in self.settings.listeners:
                    options = plan.options(self.settings.limits)
                    self.add_listener(await jackfield.listen(plan.address, **options), plan)
                self.open_state()  # behind what may fail, so that a start that failed leaves no file
                self.identities.load()
            first = (self.security, *self._first_parts)
            for part in first:
                await self.parts.attach(part, self)
            if succession is not None:
                # Behind all that waits for files: from here on the clients may be written to, which the
                # predecessor must not have to go on from.
                succession.put_in(self)
                for part in first:
                    await self.parts.resume(part, self.clients(), self.clock(), self._handed or {})
        except BaseException as problem:
            if succession is not None:
                succession.fail(problem)  # what it has been given is not to be closed
            await self.parts.detach_all()
            self._close_listeners()
            await self.state.close()
            raise
        for listener, plan in self.listeners:
            self.take_in(listener, plan)

    def add_listener(self, listener: Listener, plan: ListenerPlan) -> None:
        """Count a listener as the hub's; who comes through it is not a client yet (`Listener.into`)."""
        check_bound(plan, listener.address)
        self.listeners.append((listener, plan))
        self.count_in(listener.id, plan, datagrams=listener.protocol in DATAGRAMS)

    def count_in(self, number: int, plan: ListenerPlan, *, datagrams: bool = False) -> None:
        """Clients come through that listener, or, with a number that none has, in a part's own way."""
        self._plans[number] = plan
        self.admission.add_listener(number, most=plan.max_clients, datagrams=datagrams)

    def take_in(self, listener: Listener, plan: ListenerPlan) -> None:
        """Who comes through a listener is a client from now on."""
        listener.into(self.group, native="off" if self.native is None else plan.native)

    def open_state(self) -> None:
        """Have the state that the settings ask for. Raises `StateError`."""
        if self.settings.state is None:
            return
        try:
            self.state = State.open(self.settings.state)
        except StateUnavailable as problem:
            if self.settings.state_required:
                raise
            self.log("no_state", reason=str(problem), hint=problem.hint)

    async def run(self) -> None:
        """Serve until `stop`. Cancelled, the hub stays as it is; `close` it."""
        self._handed = None
        await until_one_ends(self._consume(), self._count_refusals(), self._stopping.wait())

    def stop(self, reason: str) -> None:
        """Make `run` return. Called again, `close` does not wait for what is queued."""
        if self._stopping.is_set():
            self._hurried = True
            return
        self.log("stopping", reason=reason)
        self._stopping.set()

    def leave(self) -> None:
        """Make `run` return: a successor has everything."""
        self._stopping.set()

    async def close(self, *, deadline: float = 0.6) -> None:
        """Take no more clients, deliver what is queued for at most `deadline` seconds, end the rest."""
        self.closing = True
        clients = len(self)
        if self.native is not None:
            self.native.going(back=bool(self.successor))
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
        await self.parts.detach_all()
        self.identities.close()
        await self.state.close()
        self._tell_state_problem()
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
            if self._hurried or time.monotonic() > end:
                break
            await asyncio.sleep(0.01)
        return len(waiting)

    def _queued(self, member: Member) -> int:
        try:
            return self.group.statistics(member).queued_bytes
        except jackfield.ChannelClosed:
            return 0

    # ---------------------------------------------------------------- events of clients

    async def _consume(self) -> None:
        while True:
            events = await self.group.receive_many(64, gather=True)
            now = self.clock()
            # The engine has forgotten the number of a member whose end is in this batch, too.
            self._gone = {e.member.id: e.member.number for e in events if isinstance(e, Left)}
            for event in events:
                # A fault of ours with one client ends neither the hub nor others.
                try:
                    self._handle(now, event)
                except Exception as problem:
                    self._fault(type(event).__name__, problem)
            await asyncio.sleep(0)  # operators get their turn under any load

    async def _count_refusals(self) -> None:
        """Log whom the engine turned away for want of a descriptor, and how much was not logged."""
        known = 0
        while True:
            await asyncio.sleep(REFUSALS_EVERY)
            count = self.turned_away()
            if count > known:
                reason = "no file descriptor was free (see ulimit -n)"
                self.log("refused", clients=count - known, reason=reason)
            known = count
            self._tell_state_problem()
            self.identities.note_alive(self.clock())
            self._tell_left_out()

    def _tell_state_problem(self) -> None:
        """Log once that what should last is not on disk, and once that it is again."""
        for path, problem in ((self.state.path, self.state.problem), (self.store.path, self.store.problem)):
            if problem and path not in self._not_saved:
                self._not_saved.add(path)
                self.log("not_saved", state=str(path), reason=problem)
            elif not problem and path in self._not_saved:
                self._not_saved.remove(path)
                self.log("saved", state=str(path))

    def turned_away(self) -> int:
        """How many the engine has refused for want of a descriptor."""
        return sum(listener.statistics().refused for listener, _ in self.listeners if not listener.closed)

    def _handle(self, now: float, event: jackfield.Event) -> None:
        if isinstance(event, Message):
            if not self.security.hears(now, event.member, event.data):
                return
            if self.native is None or not self.native.received(event.member, event.data):
                self._said(now, event.member, event.data)
        elif isinstance(event, Published):
            if self.native is not None and self.security.hears_all(now, event.member, event.payloads):
                self.native.published(event)
        elif isinstance(event, Joined):
            self._came(now, event.member)
        elif isinstance(event, Left):
            if self.admission.holds(event.member.listener_id, event.member.id):
                self._went(now, event.member, event.reason)
        elif isinstance(event, AcceptFailed):
            self.log_seldom(self._refusals, "accept_failed", reason=str(event.error))
        elif self.native is not None:
            self.native.happened(event)

    def _said(self, now: float, member: Member, data: bytes) -> None:
        self.identities.heard(now, self._number(member), member, data)
        self.heard(now, member, data)

    def heard(self, now: float, member: Member, data: bytes) -> None:
        """A client said `data`: whoever listens is told."""
        client_id = self._number(member)
        self.memory.add(now, client_id, data)
        self.talkers.heard(client_id, data)
        if self.parts.wants("heard"):
            self.parts.show("heard", now, self._client(member), data)
        if self.settings.log_messages:
            self.log("message", id=client_id, name=self._name(member), bytes=len(data), data=preview(data))

    def _came(self, now: float, member: Member) -> None:
        if self.admission.holds(member.listener_id, member.id):
            return  # it was here before a reload
        stranger = self.security.refusal(now, member, self.plan_of(member))
        reason = stranger or self.admission.refusal(member.listener_id)
        if stranger or (reason and member.is_connected):  # one that left by itself is told of as any other
            self.refused += 1
            facts = {"protocol": member.protocol, "peer": peer_text(member)}
            self.log_seldom(self._refusals, "refused", **facts, reason=reason)
            member.abort()
            return
        self.admission.let_in(member.listener_id, member.id)
        self.joined += 1
        self.log_seldom(self._joins, "joined", **self._facts(member), local=endpoint_text(member.local))
        self.identities.came(now, self._number(member), member)
        if self.native is not None:
            self.native.joined(member, self.plan_of(member))
        if self.parts.wants("came"):
            self.parts.show("came", now, self._client(member))

    def _went(self, now: float, member: Member, reason: str, *, for_good: bool = False) -> None:
        self.admission.let_go(member.listener_id, member.id)
        if self._queued(member):
            self.delivering_until = time.monotonic() + KICK_PATIENCE
        self.log_seldom(self._leaves, "left", **self._facts(member), reason=reason)
        if self.parts.wants("went"):
            self.parts.show("went", now, self._client(member), reason)
        if self.native is not None:
            self.native.left(member, reason, for_good=for_good)
        client_id = self._number(member)
        self.identities.went(now, client_id)
        self.talkers.went(client_id, reason)
        self.dialled.pop(member.id, None)

    # ---------------------------------------------------------------- looking clients up

    def by_id(self, client_id: int) -> Candidate | None:
        member = self.member(client_id)
        return None if member is None else self.candidate(member)

    def by_name(self, name: str) -> Candidate | None:
        found = self.identities.registry.find(name)
        member = None if found is None else self.member(found[0])
        if found is None or member is None or (found[1] and found[1] != short_protocol(member.protocol)):
            return None
        return self.candidate(member)

    def __iter__(self) -> Iterator[Candidate]:
        return map(self.candidate, self.group.members())

    def __len__(self) -> int:
        return len(self.group)

    def ids(self) -> list[int]:
        """The id of every client, oldest first."""
        return [member.number for member in self.group.members()]

    def member(self, client_id: int) -> Member | None:
        """The client with that id, unless it left."""
        return self.group.numbered(client_id) if client_id < 2**63 else None

    def plan_of(self, member: Member) -> ListenerPlan:
        """What was planned for the listener that this client came through, or for dialling it."""
        plan = self._plans.get(member.listener_id)
        if plan is None:
            plan = self.dialled.get(member.id, GONE)
        return plan if self.native is None else self.native.plan_of(member.id, plan)

    def view(self, client_id: int) -> dict[str, Any] | None:
        """What operators are told of one client; None once it left."""
        member = self.member(client_id)
        if member is None:
            return None
        try:
            framing = self.plan_of(member).framing
            statistics = self.group.statistics(member)
            explanation = self.group.explain(member)
            view = client_view(member, self._name(member), statistics, framing, explanation)
            view |= self.identities.facts(client_id)
            return view | (self.native.facts(client_id) if self.native is not None else {})
        except jackfield.ChannelClosed:
            return None

    def client(self, client_id: int) -> Client | None:
        """The client with that id, unless it left."""
        member = self.member(client_id)
        return None if member is None else self._client(member)

    def clients(self) -> list[Client]:
        """All that were let in, oldest first."""
        holds = self.admission.holds
        return [self._client(each) for each in self.group.members() if holds(each.listener_id, each.id)]

    def _client(self, member: Member) -> Client:
        number = self._number(member)
        return Client(number, self.identities.registry.name_of(number, member.protocol), member)

    def candidate(self, member: Member) -> Candidate:
        """What a TARGET can name this client by."""
        entry = self.identities.registry.entry_of(member.number)
        tags = () if entry is None else entry.tags
        return Candidate(member.number, self._name(member), peer_text(member), tags)

    def absent(self, part: str) -> list[Absent]:
        """Who of those that are known and not there is meant by a part of a TARGET."""
        return self.identities.absent_like(part)

    def _number(self, member: Member) -> int:
        return member.number or self._gone.get(member.id, 0)

    def _name(self, member: Member) -> str:
        return self.identities.registry.name_of(self._number(member), member.protocol)

    def _facts(self, member: Member) -> dict[str, Field]:
        return {
            "id": self._number(member),
            "name": self._name(member),
            "protocol": member.protocol,
            "peer": peer_text(member),
        }

    # ---------------------------------------------------------------- parts

    async def attach(self, part: Part) -> None:
        """Let a part see what happens until it is detached or the hub closes. Raises what `open` raises."""
        await self.parts.attach(part, self)
        if self._handed is not None:
            await self.parts.resume(part, self.clients(), self.clock(), self._handed)

    async def detach(self, part: Part) -> None:
        """Close a part. Does nothing for one that is not attached."""
        await self.parts.detach(part)

    def part(self, kind: type[P]) -> P | None:
        """The attached part of that class."""
        return self.parts.find(kind)

    def tell(self, client_id: int, data: bytes, *, by: str, ending: bytes | None = b"") -> bool:
        """Send one message to one client without waiting; whether it is there and its queue had room.

        `by` is who says it, as logs and recordings name them; `ending` None is that of the client's listener.
        Raises `jackfield.FramingError` when the client's framing cannot carry it.
        """
        client = self.client(client_id)
        if client is None or not client.member.is_connected:
            return False
        whole = data + (self.plan_of(client.member).ending_bytes if ending is None else ending)
        if not say(self, client.member, whole, by):
            return False
        self.told(client.member, whole, by)
        return True

    def told(self, member: Member, data: bytes, by: str) -> None:
        """Whoever queued `data` for a client says so, for the parts to see."""
        if self.parts.wants("told"):
            self.parts.show("told", self.clock(), self._client(member), data, by)

    # ---------------------------------------------------------------- what operators do

    def _fault(self, what: str, problem: Exception) -> None:
        self.log("fault", event=what, error=f"{type(problem).__name__}: {problem}")

    def log(self, kind: str, **facts: Field) -> None:
        """Write into the hub's log what happened."""
        self.journal.write(Event(self.clock(), kind, tuple(facts.items())))

    def log_seldom(self, throttle: Throttle, kind: str, /, **facts: Field) -> None:
        """Log what clients can cause often: as much as `throttle` allows; `more_before` counts the rest."""
        write, left_out = throttle.allow(self.clock())
        if write:
            self.log(kind, **facts, **({"more_before": left_out} if left_out else {}))

    def _tell_left_out(self, *, at_end: bool = False) -> None:
        for kind, throttle in (("joined", self._joins), ("left", self._leaves)):
            left_out = throttle.take_left_out(float("inf") if at_end else self.clock())
            if left_out:
                self.log("not_logged", **{kind: left_out})

    def kick(self, client_id: int, *, reset: bool, by: str, why: str = "kicked") -> None:
        """End a client: after what is queued for it, or with a reset and at once. It is told of as gone."""
        member = self.member(client_id)
        if member is None or not self.admission.holds(member.listener_id, member.id):
            return  # its coming is not read yet
        reason = f"{why} by {by}" + (" with a reset" if reset else "")
        self.let_go(member, reason, 0.0 if reset else KICK_PATIENCE)

    def let_go(self, member: Member, reason: str, patience: float, *, for_good: bool = True) -> None:
        """End a client for good: after what is queued for it, or at once with 0 seconds of patience."""
        if self.admission.holds(member.listener_id, member.id):
            # The engine reports no end that we asked for.
            self._went(self.clock(), member, reason, for_good=for_good)
        if patience:
            member.close(patience)
        else:
            member.abort()
