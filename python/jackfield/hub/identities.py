"""The identities of one hub: who each client is, kept in its state, and told in its log.

Owns the way from what clients say and operators want to the `Registry`, and from there to the state. Each
entry is one document of the kind `client`, saved when it changes; another one says when the hub was last
alive, so that after a kill it still knows about when its clients were last there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from jackfield import Member

from .identify import Beginnings, identity_of
from .identity import PROVEN, Claimed, Entry, Registry
from .journal import Field, Throttle
from .plan import comes_in_pieces
from .roster import peer_text, timestamp
from .state_file import DAMAGED, StateError
from .target import Absent, Candidate, Matcher, NoSuchClient, select_in_turns, select_one_in_turns

if TYPE_CHECKING:
    from .server import Hub

KIND: Final = "client"
ALIVE_EVERY: Final = 30.0  # seconds between two notes that the hub lives


class Identities:
    """Who is who in one hub. `load` once its state is open; `close` before that is closed."""

    def __init__(self, hub: Hub) -> None:
        self.registry = Registry()
        self._hub = hub
        self._beginnings = Beginnings()
        self._waking: asyncio.TimerHandle | None = None
        self._alive = 0.0
        self._throttle = Throttle.of_clients()

    # ---------------------------------------------------------------- lifetime

    def load(self) -> None:
        """Know again what the state has. Raises `StateError`."""
        state = self._hub.state
        alive = state.load("hub").get("alive", {}).get("at", 0.0)
        entries = []
        for identity, document in state.load(KIND).items():
            try:
                entry = Entry.of_document(identity, document)
                if document["here"]:  # its hub was killed
                    entry.last = max(entry.last, float(alive))
            except (KeyError, TypeError, ValueError) as problem:
                raise StateError(
                    f"the state in {state.path} is damaged: {identity!r}: {problem}", DAMAGED
                ) from None
            entries.append(entry)
        self.registry.restore(entries)

    def close(self) -> None:
        """Everyone leaves with the hub."""
        if self._waking is not None:
            self._waking.cancel()
        now = self._hub.clock()
        for entry in list(self.registry.here()):
            known, _ = self.registry.leave(now, entry.client_id)
            if known is not None:
                self.save(known)

    def note_alive(self, now: float) -> None:
        """The hub lives, which is written down every now and then while somebody who is known is there."""
        if now - self._alive >= ALIVE_EVERY and next(self.registry.here(), None) is not None:
            self._alive = now
            self._hub.state.save("hub", "alive", {"at": now})

    def save(self, entry: Entry) -> bool:
        """Keep what is known; whether it lasts."""
        if entry.identity:
            self._hub.state.save(KIND, entry.identity, entry.document())
        return bool(entry.identity)

    # ---------------------------------------------------------------- clients

    def came(self, now: float, client_id: int, member: Member) -> None:
        """A client was let in."""
        plan = self._hub.plan_of(member)
        if plan.known_as:
            self.recognise(now, client_id, member, plan.known_as)
        elif plan.identify.by_host and member.peer is not None and member.peer.host:
            host = member.peer.host.removeprefix("::ffff:")
            self.recognise(now, client_id, member, f"host:{host}")

        if plan.native == "off":
            self.shown(member)

    def shown(self, member: Member) -> None:
        """A plain client may have shown a certificate, which says who it is."""
        name, client_id, now = self._hub.security.name_shown(member), member.number, self._hub.clock()
        if name and client_id:
            self.part_with(now, client_id)
            self.recognise(now, client_id, member, f"{PROVEN}{name}")

    def heard(self, now: float, client_id: int, member: Member, data: bytes) -> None:
        """A client said something, which may tell who it is."""
        plan = self._hub.plan_of(member)
        if plan.identify.pattern is None or self.registry.is_settled(client_id):
            return
        if not self._hub.admission.holds(member.listener_id, member.id):
            return  # it was kicked, and is not gone yet
        whole = not comes_in_pieces(plan.framing, member.protocol)
        found = self._beginnings.heard(now, client_id, plan.identify, data, whole=whole)
        if found is not None:
            self._said(now, client_id, member, found)
        self._wake(now)

    def went(self, now: float, client_id: int) -> None:
        """A client left, or was kicked; whoever claims what it was called gets that now."""
        self._beginnings.forget(client_id)
        entry, heir = self.registry.leave(now, client_id)
        if entry is None:
            return
        self.save(entry)
        native = self._hub.native
        if native is not None:
            native.mail.restart(entry.identity)
        newest = None if native is None else native.newest(entry.identity)
        heir = heir if newest is None else newest.client_id
        member = self._hub.member(heir) if heir else None
        if member is not None:
            self.recognise(now, heir, member, entry.identity)

    def recognise(
        self, now: float, client_id: int, member: Member, identity: str, *, newer: bool = False
    ) -> Claimed:
        """A client claims an identity; what became of that.

        The newer one wins where its listener says so, and with `newer`.
        """
        registry = self.registry
        before = registry.name_of(client_id, member.protocol)
        newer, peer = newer or self._hub.plan_of(member).newer_wins, peer_text(member)
        claimed = registry.claim(now, client_id, identity, protocol=member.protocol, peer=peer, newer=newer)
        if claimed.forgotten is not None:
            self._hub.state.delete(KIND, claimed.forgotten.identity)
        name = registry.name_of(client_id, member.protocol)
        facts: dict[str, Field] = {"id": client_id, "name": name, "identity": identity}
        if claimed.holder:
            holder = label(claimed.entry)
            reason = f"client {claimed.holder} has it; see 'jackfield claim'"
            self._log("conflict", **facts, conflict=holder, reason=reason)
            return claimed
        self.save(claimed.entry)
        if claimed.lost_by:
            self._log_lost(claimed.entry, claimed.lost_by, f"client {client_id} is newer")
        displaced = 0
        if claimed.displaced is not None:
            self.save(claimed.displaced)
            displaced = claimed.displaced.client_id
            if displaced:
                self._log_lost(claimed.entry, displaced, f"client {client_id} has shown that it is")
        if claimed.lost_by or displaced or name != before:
            self._renamed(client_id, claimed.lost_by, displaced)
        if conflict := registry.conflict_of(client_id):
            reason = "another client is called so; see 'jackfield claim'"
            self._log("conflict", **facts, conflict=conflict, reason=reason)
        else:
            self._log("identified", **facts, before=before, connections=claimed.entry.connections)
        if self._hub.native is not None:
            self._hub.native.mail.restart(identity)
        return claimed

    def _said(self, now: float, client_id: int, member: Member, said: bytes) -> None:
        try:
            identity = identity_of(said)
        except ValueError as problem:
            self._log("not_identified", id=client_id, reason=str(problem))
        else:
            self.recognise(now, client_id, member, identity)
        if not self.registry.is_settled(client_id):
            self._beginnings.pass_over(client_id)

    def _log_lost(self, entry: Entry, client_id: int, reason: str) -> None:
        member = self._hub.member(client_id)
        name = "" if member is None else self.registry.name_of(client_id, member.protocol)
        self._log(
            "conflict", id=client_id, name=name, identity=entry.identity, conflict=label(entry), reason=reason
        )

    def _log(self, kind: str, **facts: Field) -> None:
        self._hub.log_seldom(self._throttle, kind, **facts)

    def _wake(self, now: float) -> None:
        """Look again when somebody has been quiet for long enough."""
        due = self._beginnings.next_due
        if due is not None and self._waking is None:
            self._waking = asyncio.get_running_loop().call_later(max(0.0, due - now), self._look)

    def _look(self) -> None:
        self._waking = None
        now = self._hub.clock()
        for client_id, found in self._beginnings.due(now):
            member = self._hub.member(client_id)
            if member is not None:
                self._said(now, client_id, member, found)
        self._wake(now)

    def suggest(self, entry: Entry, name: str) -> None:
        """Call somebody that, unless the name is taken or an operator gave another one."""
        before = entry.name
        self.registry.suggest(entry, name)
        self.save(entry)
        if entry.name != before:
            self._renamed(entry.client_id)

    def part_with(self, now: float, client_id: int) -> None:
        """A client is not who it was taken for: what is known of that one is absent, or another's."""
        if self.registry.is_settled(client_id):
            self.went(now, client_id)

    # ---------------------------------------------------------------- a reload

    def carried(self, client_id: int) -> dict[str, Any]:
        """What a successor must be told of a client, for `go_on`."""
        entry, claims = self.registry.entry_of(client_id), self.registry.claimed_by(client_id)
        carried: dict[str, Any] = {}
        if entry is not None:
            carried["entry"] = [entry.identity, entry.document()]
        if claims:
            carried["claims"] = claims
        if self._beginnings.is_passed(client_id):
            carried["passed"] = True
        return carried

    def go_on(self, client_id: int, carried: Mapping[str, Any]) -> None:
        """A client that another hub had is here now; it was never away."""
        entry = Entry.of_document(*carried["entry"]) if "entry" in carried else None
        self.registry.resume(client_id, entry, claims=carried.get("claims", ""))
        if carried.get("passed"):
            self._beginnings.pass_over(client_id)

    # ---------------------------------------------------------------- what operators are told

    def facts(self, client_id: int) -> dict[str, Any]:
        """What stands in the view of a client that is there, beside its connection."""
        registry = self.registry
        entry = registry.entry_of(client_id)
        facts: dict[str, Any] = {
            "state": "connected",
            "tags": [] if entry is None else list(entry.tags),
            "note": "" if entry is None else entry.note,
        }
        if conflict := registry.conflict_of(client_id):
            facts["conflict"] = conflict
        if entry is not None and entry.identity:
            facts["identity"] = entry.identity
            facts["connections"] = entry.connections
            facts["first_seen"] = timestamp(entry.first)
        return facts

    def absent(self) -> Iterator[dict[str, Any]]:
        """The views of everyone who is known and not there."""
        return map(self.absent_facts, self.registry.absent())

    def absent_facts(self, entry: Entry) -> dict[str, Any]:
        """The view of one that is absent, with what waits for it."""
        native = self._hub.native
        return absent_view(entry) | ({} if native is None else native.mail.facts(entry.identity))

    def absent_like(self, part: str) -> list[Absent]:
        """Who of them a part of a TARGET means."""
        named = self.registry.known_as(part)
        if named is not None:
            return [] if named.client_id else [_absent(named)]
        if part in ("all", ""):
            return []
        try:
            matcher = Matcher(part)
        except ValueError:  # longer than is compared, or nothing but commas
            return []
        return [_absent(entry) for entry in self.registry.absent() if matcher.matches(candidate_of(entry))]

    # ---------------------------------------------------------------- what operators do

    def absent_one(self, target: str) -> Entry | None:
        """The absent one that is called that, or has that identity."""
        known = self.registry.known_as(target)
        return known if known is not None and not known.client_id else None

    async def meant(self, target: str) -> list[int | Entry]:
        """Whom a TARGET means: the ids of clients that are there, or the absent one that is called that.

        Raises what `select_in_turns` raises.
        """
        absent = self.absent_one(target)
        return [*await select_in_turns(target, self._hub)] if absent is None else [absent]

    def entry(self, each: int | Entry) -> Entry | None:
        """What is known of one that `meant` gave, to be added to; None for a client that left meanwhile."""
        if isinstance(each, Entry):
            return each
        return None if self._hub.member(each) is None else self.registry.entry_for(each)

    def tags_of(self, each: int | Entry) -> tuple[str, ...]:
        """The tags of one that `meant` gave."""
        entry = each if isinstance(each, Entry) else self.registry.entry_of(each)
        return () if entry is None else entry.tags

    def forget(self, entry: Entry) -> None:
        """Know an absent one no more."""
        self.registry.forget(entry)
        self._hub.state.delete(KIND, entry.identity)
        if self._hub.native is not None:
            self._hub.native.mail.forget(entry.identity)

    def rename(self, client_id: int, name: str) -> tuple[str, bool]:
        """Give a client a name; the one before, and whether it lasts. Raises `NameRefused`."""
        member = self._hub.member(client_id)
        protocol = "" if member is None else member.protocol
        before = self.registry.name_of(client_id, protocol)
        conflict = self.registry.conflict_of(client_id)
        entry = self.registry.rename(client_id, protocol, name)
        if conflict and not entry.identity:
            self._beginnings.pass_over(client_id)  # it is told apart now, whatever it says
        self._renamed(client_id)
        return before, self.save(entry)

    def _renamed(self, *client_ids: int) -> None:
        """Show the parts what clients are called now; ids of nobody are passed over."""
        if not self._hub.parts.wants("renamed"):
            return
        for client in filter(None, map(self._hub.client, client_ids)):
            self._hub.parts.show("renamed", self._hub.clock(), client)

    async def award(self, target: str) -> dict[str, Any]:
        """Give a client the name that it claims; who it was, and who lost it. Raises `NameRefused`."""
        client_id = await select_one_in_turns(target, self._hub)
        member = self._hub.member(client_id)
        if member is None:
            raise NoSuchClient(target, self._hub)
        before = self.registry.name_of(client_id, member.protocol)
        awarded = self.registry.award(
            self._hub.clock(), client_id, protocol=member.protocol, peer=peer_text(member)
        )
        lasting = self.save(awarded.entry)
        if awarded.other is not None:
            self.save(awarded.other)
        if awarded.lost_by:
            self._log_lost(awarded.entry, awarded.lost_by, f"an operator gave it to client {client_id}")
        self._renamed(client_id, awarded.lost_by)
        name = self.registry.name_of(client_id, member.protocol)
        return {"id": client_id, "name": name, "before": before, "from": awarded.lost_by, "lasting": lasting}


def label(entry: Entry) -> str:
    """What an entry is called, be it a name or what its identity says."""
    return entry.name or entry.own_name


def absent_view(entry: Entry) -> dict[str, Any]:
    """Everything that `jackfield clients --json` says about one that is absent."""
    return {
        "id": None,
        "name": label(entry),
        "state": "absent",
        "protocol": entry.protocol,
        "peer": entry.peer,
        "since": timestamp(entry.last),
        "tags": list(entry.tags),
        "note": entry.note,
        "identity": entry.identity,
        "connections": entry.connections,
        "first_seen": timestamp(entry.first),
        "last_seen": timestamp(entry.last),
    }


def candidate_of(entry: Entry) -> Candidate:
    """An absent one as patterns see it."""
    return Candidate(-1, label(entry), entry.peer, entry.tags)


def _absent(entry: Entry) -> Absent:
    return Absent(label(entry), entry.peer, timestamp(entry.last))
