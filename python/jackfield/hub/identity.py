"""What is known of clients beyond their connections: names, tags, notes, and when each was there.

Owns identity. A client *claims* an identity, such as `said:dev1` (its first message) or `host:10.0.0.7`; what
is known of it is kept in an `Entry` that outlives the connection. An entry belongs to one connection at a
time: whoever claims one that another connection has stands beside it, in conflict, and gets it when the other
leaves, or when an operator or the listener says that the newer one wins. Clients without an identity have an
entry only once an operator names, tags or notes them, and lose it with their connection. Pure: times, in Unix
seconds, come in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from .roster import NameRefused, check_name, check_tag, default_name, means_host, parse_default_name

KNOWN_AT_MOST: Final = (
    50_000  # identities; the one that is absent longest, and that nobody named or tagged, goes
)
PROVEN: Final = "native:"  # what begins an identity that a token or a certificate has proven
MOST_TAGS: Final = 32  # of one client
LONGEST_NOTE: Final = 1000  # characters


@dataclass(slots=True, eq=False)
class Entry:
    """What is known of one client. Its name is "" while it goes by its default name."""

    identity: str = ""  # "": it ends with the connection
    name: str = ""
    tags: tuple[str, ...] = ()  # sorted
    note: str = ""
    client_id: int = 0  # of the connection that has it; 0 while absent
    protocol: str = ""  # of the last connection, as is its peer
    peer: str = ""
    connections: int = 0
    first: float = 0.0  # when it first came
    last: float = 0.0  # when it left; while it is there, when it came
    named: bool = False  # by an operator

    @property
    def own_name(self) -> str:
        """The name that follows from its identity, whether or not it can be used."""
        kind, _, text = self.identity.partition(":")
        if kind == "host" and ":" in text:
            return f"ip6-{text}".replace(":", "-").replace("%", "-")
        return text

    @property
    def kept(self) -> bool:
        """Whether an operator made something of it: then it is never forgotten to make room."""
        return bool(self.named or self.tags or self.note)

    @property
    def is_certain(self) -> bool:
        """Whether more than its own word says that it is called so."""
        return self.named or self.identity.startswith(PROVEN)

    def document(self) -> dict[str, Any]:
        """As the hub's state keeps it, under its identity."""
        return {
            "name": self.name,
            "named": self.named,
            "tags": list(self.tags),
            "note": self.note,
            "protocol": self.protocol,
            "peer": self.peer,
            "connections": self.connections,
            "first": self.first,
            "last": self.last,
            "here": bool(self.client_id),
        }

    @classmethod
    def of_document(cls, identity: str, document: Mapping[str, Any]) -> Entry:
        """Raises ValueError, TypeError or KeyError for what is no such document."""
        entry = cls(
            identity,
            document["name"],
            tuple(document["tags"]),
            document["note"],
            protocol=document["protocol"],
            peer=document["peer"],
            connections=int(document["connections"]),
            first=float(document["first"]),
            last=float(document["last"]),
            named=bool(document["named"]),
        )
        texts = (entry.name, entry.note, entry.protocol, entry.peer, *entry.tags)
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("a text is none")
        if entry.name:
            check_name(entry.name)
        return entry


class Claimed(NamedTuple):
    """What became of a claim: `entry` is what was claimed; the client has it unless `holder` says who does.

    `lost_by` is the connection that had it before and lost it, 0 for none; `is_new` tells that it was never
    seen before; `forgotten` is who was forgotten to make room, `displaced` who had merely said the name that
    the entry was proven to have, and has it no more.
    """

    entry: Entry
    holder: int = 0
    lost_by: int = 0
    is_new: bool = False
    forgotten: Entry | None = None
    displaced: Entry | None = None


class Awarded(NamedTuple):
    """Who has a name now, which connection lost it (0: none), and the other entry that was called so."""

    entry: Entry
    lost_by: int = 0
    other: Entry | None = None


class Registry:
    """The entries of one hub, by connection, by name and by identity."""

    def __init__(self, *, known_at_most: int = KNOWN_AT_MOST) -> None:
        self._known_at_most = known_at_most
        self._by_id: dict[int, Entry] = {}  # of connections that have one
        self._by_name: dict[str, Entry] = {}  # of the absent, too: a name is taken as long as it is known
        self._known: dict[str, Entry] = {}  # by identity
        self._droppable: dict[str, None] = {}  # identities, absent and not `kept`, longest absent first
        self._claims: dict[int, str] = {}  # the identity that a connection claims and another one has
        self._claimants: dict[str, dict[int, None]] = {}  # the same by identity, oldest claim first

    # ---------------------------------------------------------------- looking up

    def name_of(self, client_id: int, protocol: str) -> str:
        """The name of a connection."""
        entry = self._by_id.get(client_id)
        return (entry.name if entry is not None else "") or default_name(client_id, protocol)

    def find(self, name: str) -> tuple[int, str] | None:
        """The connection that `name` may mean, and the protocol's short name it names ("": any)."""
        named = self._by_name.get(name)
        if named is not None:
            return (named.client_id, "") if named.client_id else None
        default = parse_default_name(name)
        if default is not None:
            entry = self._by_id.get(default[0])
            if entry is None or not entry.name:
                return default
        return None

    def entry_of(self, client_id: int) -> Entry | None:
        """What is known of a connection."""
        return self._by_id.get(client_id)

    def is_settled(self, client_id: int) -> bool:
        """Whether a connection has an identity, or claims one."""
        entry = self._by_id.get(client_id)
        return (entry is not None and bool(entry.identity)) or client_id in self._claims

    def claimed_by(self, client_id: int) -> str:
        """The identity that a connection claims and another one has; empty for none."""
        return self._claims.get(client_id, "")

    def known_as(self, name: str) -> Entry | None:
        """What is known under a name, or an identity written out, be it there or absent."""
        return self._by_name.get(name) or self._known.get(name)

    def knows(self, identity: str) -> bool:
        """Whether somebody of that identity is known, be it there or absent."""
        return identity in self._known

    def absent(self) -> Iterator[Entry]:
        """Everyone who is known and not there."""
        return (entry for entry in self._known.values() if not entry.client_id)

    def here(self) -> Iterator[Entry]:
        """Every entry that a connection has."""
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._known)

    def conflict_of(self, client_id: int) -> str:
        """The name that a connection claims and does not have; empty for none."""
        claimed = self._claims.get(client_id)
        if claimed is not None:
            entry = self._known[claimed]
            return entry.name or entry.own_name
        entry_of_it = self._by_id.get(client_id)
        if entry_of_it is None or not entry_of_it.identity or entry_of_it.name:
            return ""
        other = self._by_name.get(entry_of_it.own_name)
        return "" if other is None else entry_of_it.own_name

    # ---------------------------------------------------------------- who comes and goes

    def restore(self, entries: Iterable[Entry]) -> None:
        """What was known when the hub ended: all absent now. Of two of one name the longer absent has it."""
        for entry in sorted(entries, key=lambda entry: entry.last):
            self._known[entry.identity] = entry
            if entry.name and self._by_name.setdefault(entry.name, entry) is not entry:
                entry.name = ""
            self._sort_in(entry)

    def claim(
        self, now: float, client_id: int, identity: str, *, protocol: str, peer: str, newer: bool = False
    ) -> Claimed:
        """A connection says who it is. Where another one has that identity, `newer` decides who gets it.

        Raises ValueError for a connection that has, or claims, another identity: it has one for its life.
        """
        has = self._by_id.get(client_id)
        if self._claims.get(client_id, has.identity if has else "") not in ("", identity):
            raise ValueError(f"client {client_id} is somebody else already")
        forgotten = None
        entry = self._known.get(identity)
        is_new = entry is None
        if entry is None:
            forgotten = self._make_room()
            entry = Entry(identity, first=now, last=now)
            if len(self._known) < self._known_at_most:
                self._known[identity] = entry
            else:  # it is known as long as it is there
                self._take_name(entry, entry.own_name)
                entry.identity = ""
        lost_by = 0
        if entry.client_id == client_id:
            return Claimed(entry)
        if entry.client_id:
            if not newer:
                self._add_claim(client_id, identity)
                return Claimed(entry, holder=entry.client_id)
            lost_by = self._take_away(entry)
        called = self._by_name.get(entry.own_name)
        self._give(now, client_id, entry, protocol, peer)
        displaced = called if called not in (None, entry, self._by_name.get(entry.own_name)) else None
        return Claimed(entry, lost_by=lost_by, is_new=is_new, forgotten=forgotten, displaced=displaced)

    def resume(self, client_id: int, entry: Entry | None, *, claims: str = "") -> None:
        """A connection goes on with its entry, as another hub had it; nothing changes where it never left."""
        if entry is not None and client_id not in self._by_id:
            known = self._known.get(entry.identity)
            if known is None:
                known, name, entry.name = entry, entry.name, ""
                if entry.identity:
                    self._known[entry.identity] = entry
                if name:
                    self._take_name(entry, name)
            self._droppable.pop(known.identity, None)
            self._by_id[client_id] = known
            known.client_id = client_id
        if claims in self._known and client_id not in self._claims:
            self._add_claim(client_id, claims)

    def leave(self, now: float, client_id: int) -> tuple[Entry | None, int]:
        """A connection has ended: what is known of it lastingly, and who is to claim that now (0: nobody)."""
        self._drop_claim(client_id)
        entry = self._by_id.pop(client_id, None)
        if entry is None:
            return None, 0
        entry.client_id = 0
        entry.last = now
        if not entry.identity:
            self._free_name(entry)
            return None, 0
        self._sort_in(entry)
        return entry, next(iter(self._claimants.get(entry.identity, ())), 0)

    def _give(self, now: float, client_id: int, entry: Entry, protocol: str, peer: str) -> None:
        """The entry is that connection's. What an operator made of the connection before is the entry's."""
        self._drop_claim(client_id)
        before = self._by_id.get(client_id)
        self._droppable.pop(entry.identity, None)
        self._by_id[client_id] = entry
        entry.client_id, entry.protocol, entry.peer = client_id, protocol, peer
        entry.connections += 1
        entry.last = now
        if not entry.name:
            self._take_name(entry, entry.own_name)
        if before is None or before is entry:
            return
        given = before.name
        self._free_name(before)
        entry.tags = tuple(sorted({*entry.tags, *before.tags}))[:MOST_TAGS]
        entry.note = before.note or entry.note
        if given:
            self._free_name(entry)
            self._take_name(entry, given)
            entry.named = True

    def _take_away(self, entry: Entry) -> int:
        """The connection that has the entry loses it, and claims it from now on."""
        client_id, entry.client_id = entry.client_id, 0
        del self._by_id[client_id]
        self._add_claim(client_id, entry.identity)
        return client_id

    def _add_claim(self, client_id: int, identity: str) -> None:
        self._drop_claim(client_id)
        self._claims[client_id] = identity
        self._claimants.setdefault(identity, {})[client_id] = None

    def _drop_claim(self, client_id: int) -> None:
        identity = self._claims.pop(client_id, None)
        if identity is not None:
            claimants = self._claimants[identity]
            del claimants[client_id]
            if not claimants:
                del self._claimants[identity]

    def _make_room(self) -> Entry | None:
        """Forget who is absent longest when there is no room for another; who that was."""
        if len(self._known) < self._known_at_most or not self._droppable:
            return None
        entry = self._known[next(iter(self._droppable))]
        self.forget(entry)
        return entry

    def _sort_in(self, entry: Entry) -> None:
        """An absent entry may be forgotten, unless an operator made something of it."""
        self._droppable.pop(entry.identity, None)
        if not entry.client_id and entry.identity and not entry.kept:
            self._droppable[entry.identity] = None

    # ---------------------------------------------------------------- what operators do

    def entry_for(self, client_id: int) -> Entry:
        """What is known of a connection, to be added to."""
        entry = self._by_id.get(client_id)
        if entry is None:
            entry = self._by_id[client_id] = Entry(client_id=client_id)
        return entry

    def rename(self, client_id: int, protocol: str, name: str) -> Entry:
        """Give a connection a name; with its own default name it has none any more. Raises `NameRefused`.

        One that claims the identity of another is told apart from it by that, and claims it no more.
        """
        if name == default_name(client_id, protocol):
            name = ""
        self._check_free(name, self._by_id.get(client_id))
        self._drop_claim(client_id)
        entry = self.entry_for(client_id)
        self.rename_entry(entry, name)
        return entry

    def rename_entry(self, entry: Entry, name: str) -> None:
        """Give a name to what is known, be it there or absent. Raises `NameRefused`."""
        self._check_free(name, entry)
        self._free_name(entry)
        entry.named = bool(name)
        if name:
            self._take_name(entry, name)
        self._sort_in(entry)
        self._clean(entry)

    def suggest(self, entry: Entry, name: str) -> None:
        """Call it by that name, as far as it is free; one that an operator gave stays."""
        if not entry.named and self._by_name.get(name, entry) is entry:
            self._free_name(entry)
            self._take_name(entry, name)

    def _check_free(self, name: str, by: Entry | None) -> None:
        if not name:
            return
        check_name(name)
        other = self._by_name.get(name)
        if other is None or other is by:
            return
        if other.client_id:
            raise NameRefused(f"client {other.client_id} is already called {name!r}; rename that one first")
        raise NameRefused(f"{name!r} is the name of an absent client; forget or rename that one first")

    def award(self, now: float, client_id: int, *, protocol: str, peer: str) -> Awarded:
        """Give a connection the name that it claims. Raises `NameRefused` for one that claims none."""
        identity = self._claims.get(client_id)
        if identity is not None:
            entry = self._known[identity]
            lost_by = self._take_away(entry) if entry.client_id else 0
            self._give(now, client_id, entry, protocol, peer)
            return Awarded(entry, lost_by)
        wanted = self.conflict_of(client_id)
        if not wanted:
            raise NameRefused(f"client {client_id} claims no name that another one has")
        other = self._by_name[wanted]
        self._free_name(other)
        other.named = False
        entry = self._by_id[client_id]
        self._take_name(entry, wanted)
        self._clean(other)
        return Awarded(entry, other.client_id, other)

    def tag(self, entry: Entry, *, add: Iterable[str] = (), remove: Iterable[str] = ()) -> None:
        """Add and remove tags. Raises `NameRefused`."""
        entry.tags = change_tags(entry.tags, add=add, remove=remove)
        self._sort_in(entry)
        self._clean(entry)

    def note(self, entry: Entry, text: str) -> None:
        """Write a note beside an entry, in place of the one before; "" removes it. Raises `NameRefused`."""
        if len(text) > LONGEST_NOTE:
            raise NameRefused(f"a note of {len(text)} characters is too long: at most {LONGEST_NOTE}")
        entry.note = text
        self._sort_in(entry)
        self._clean(entry)

    def forget(self, entry: Entry) -> None:
        """Know an absent one no more."""
        self._droppable.pop(entry.identity, None)
        self._known.pop(entry.identity, None)
        self._free_name(entry)

    # ---------------------------------------------------------------- names

    def _take_name(self, entry: Entry, name: str) -> None:
        """Call it that, unless the name is taken or cannot be one.

        What a client merely says must not get it what is meant for a host, nor what another one proves.
        """
        if means_host(name) and entry.identity.startswith("said:") and not entry.named:
            return
        try:
            check_name(name)
        except NameRefused:
            return
        holder = self._by_name.get(name)
        if holder is not None and entry.identity == f"{PROVEN}{name}" and not holder.is_certain:
            holder.name, holder = "", None
        if holder in (None, entry):
            self._by_name[name] = entry
            entry.name = name

    def _free_name(self, entry: Entry) -> None:
        if entry.name and self._by_name.get(entry.name) is entry:
            del self._by_name[entry.name]
        entry.name = ""

    def _clean(self, entry: Entry) -> None:
        """A connection of which nothing is known has no entry."""
        if entry.client_id and not (entry.identity or entry.name or entry.tags or entry.note):
            self._by_id.pop(entry.client_id, None)


def change_tags(
    tags: Iterable[str], *, add: Iterable[str] = (), remove: Iterable[str] = ()
) -> tuple[str, ...]:
    """What tags would become, sorted. Raises `NameRefused`."""
    wanted = set(add)
    for tag in wanted:
        check_tag(tag)
    found = tuple(sorted({*tags, *wanted}.difference(remove)))
    if len(found) > MOST_TAGS:
        raise NameRefused(f"a client can have {MOST_TAGS} tags, and this would be {len(found)}")
    return found
