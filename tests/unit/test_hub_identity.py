"""Who is who: names that last, who has one when several claim it, and what is kept."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackfield.hub.identity import LONGEST_NOTE, MOST_TAGS, Claimed, Entry, Registry
from jackfield.hub.roster import NameRefused


class Hub:
    """A registry with a clock, and connections over TCP."""

    def __init__(self, **options: Any) -> None:
        self.registry = Registry(**options)
        self.now = 0.0

    def claim(self, client_id: int, identity: str, *, newer: bool = False) -> Claimed:
        self.now += 1
        peer = f"10.0.0.{client_id}:99"
        return self.registry.claim(self.now, client_id, identity, protocol="tcp", peer=peer, newer=newer)

    def leave(self, client_id: int) -> tuple[Entry | None, int]:
        self.now += 1
        return self.registry.leave(self.now, client_id)

    def name(self, client_id: int) -> str:
        return self.registry.name_of(client_id, "tcp")

    def award(self, client_id: int) -> int:
        return self.registry.award(self.now, client_id, protocol="tcp", peer="").lost_by


def test_renaming_a_connection() -> None:
    hub = Hub()
    registry = hub.registry
    assert hub.name(3) == "tcp-3"
    assert registry.find("tcp-3") == (3, "tcp")
    registry.rename(3, "tcp", "door")
    assert hub.name(3) == "door"
    assert registry.find("door") == (3, "")
    assert registry.find("tcp-3") is None  # it is called otherwise now
    registry.rename(3, "tcp", "gate")
    assert registry.find("door") is None
    registry.rename(3, "tcp", "gate")
    registry.rename(3, "tcp", "tcp-3")
    assert hub.name(3) == "tcp-3"
    assert registry.find("gate") is None
    assert registry.entry_of(3) is None  # nothing is kept of it


def test_a_name_belongs_to_one_client() -> None:
    hub = Hub()
    hub.registry.rename(3, "tcp", "door")
    with pytest.raises(NameRefused, match="client 3 is already called 'door'"):
        hub.registry.rename(4, "tcp", "door")
    assert hub.leave(3) == (None, 0)
    hub.leave(3)
    hub.registry.rename(4, "tcp", "door")
    assert hub.registry.find("door") == (4, "")


def test_a_client_that_comes_back_has_what_it_had() -> None:
    hub = Hub()
    first = hub.claim(1, "said:dev1")
    assert (first.is_new, hub.name(1)) == (True, "dev1")
    hub.registry.rename(1, "tcp", "door")
    hub.registry.tag(first.entry, add=["floor1", "spare"])
    hub.registry.note(first.entry, "in the cellar")
    assert hub.leave(1) == (first.entry, 0)
    assert hub.registry.find("door") is None  # nothing is sent to one that is absent
    assert [entry.name for entry in hub.registry.absent()] == ["door"]

    again = hub.claim(7, "said:dev1")
    assert (again.is_new, hub.name(7)) == (False, "door")
    entry = again.entry
    assert (entry.tags, entry.note, entry.connections) == (("floor1", "spare"), "in the cellar", 2)
    assert (entry.first, entry.last, entry.peer) == (1, 3, "10.0.0.7:99")
    assert hub.registry.find("door") == (7, "")


def test_a_connection_is_one_client_for_its_life() -> None:
    hub = Hub()
    hub.claim(1, "said:dev1")
    hub.claim(2, "said:dev1")
    for client_id in (1, 2):
        hub.claim(client_id, "said:dev1")
        with pytest.raises(ValueError, match="somebody else already"):
            hub.claim(client_id, "said:dev2")
    assert hub.registry.entry_for(1).connections == 1


def test_what_is_kept_is_known_again_after_a_restart() -> None:
    hub = Hub()
    for number, identity in enumerate(("said:dev1", "host:10.0.0.2", "said:no name!"), 1):
        hub.claim(number, identity)
    hub.registry.rename(1, "tcp", "door")
    hub.registry.tag(hub.registry.entry_for(2), add=["a"])
    documents = {entry.identity: entry.document() for entry in hub.registry.here()}

    later = Hub()
    later.registry.restore(Entry.of_document(*item) for item in documents.items())
    assert {entry.name: entry.tags for entry in later.registry.absent()} == {
        "door": (),
        "10.0.0.2": ("a",),
        "": (),
    }
    later.claim(9, "said:dev1")
    assert later.name(9) == "door"
    for broken in ({}, {**documents["said:dev1"], "tags": [1]}, {**documents["said:dev1"], "name": "all"}):
        with pytest.raises((KeyError, TypeError, ValueError)):
            Entry.of_document("said:dev1", broken)


def test_the_older_keeps_its_name_and_the_newer_one_gets_it_when_it_leaves() -> None:
    hub = Hub()
    hub.claim(1, "said:dev1")
    second = hub.claim(2, "said:dev1")
    assert (second.holder, hub.name(1), hub.name(2)) == (1, "dev1", "tcp-2")
    assert [hub.registry.conflict_of(each) for each in (1, 2)] == ["", "dev1"]
    hub.claim(3, "said:dev1")
    entry, heir = hub.leave(1)
    assert entry is not None
    assert (entry.identity, heir) == ("said:dev1", 2)
    hub.claim(heir, entry.identity)
    assert (hub.name(2), hub.name(3), hub.registry.conflict_of(3)) == ("dev1", "tcp-3", "dev1")
    hub.leave(3)
    assert hub.leave(2)[1] == 0


def test_the_newer_wins_where_the_listener_says_so() -> None:
    hub = Hub()
    hub.claim(1, "said:dev1")
    assert hub.claim(2, "said:dev1", newer=True).lost_by == 1
    assert (hub.name(1), hub.name(2)) == ("tcp-1", "dev1")
    assert [hub.registry.conflict_of(each) for each in (1, 2)] == ["dev1", ""]
    assert hub.registry.find("dev1") == (2, "")


def test_an_operator_gives_the_name_to_the_newer_one() -> None:
    hub = Hub()
    hub.registry.tag(hub.claim(1, "said:dev1").entry, add=["a"])
    hub.claim(2, "said:dev1")
    assert hub.award(2) == 1
    assert (hub.name(1), hub.name(2)) == ("tcp-1", "dev1")
    assert hub.registry.entry_for(2).tags == ("a",)
    assert hub.award(1) == 2  # and back
    for nobody in (1, 5):
        with pytest.raises(NameRefused, match="claims no name"):
            hub.award(nobody)


def test_a_name_that_another_identity_has_is_a_conflict_too() -> None:
    hub = Hub()
    hub.claim(1, "said:dev1")
    hub.registry.rename(1, "tcp", "door")
    door = hub.claim(2, "said:door")
    assert (door.holder, hub.name(2), hub.registry.conflict_of(2)) == (0, "tcp-2", "door")
    assert hub.award(2) == 1
    assert (hub.name(1), hub.name(2), hub.registry.conflict_of(2)) == ("tcp-1", "door", "")


def test_a_name_that_was_merely_said_gives_way_to_the_one_who_proves_it() -> None:
    hub = Hub()
    hub.claim(1, "said:ann")
    claimed = hub.claim(2, "native:ann")
    assert (hub.name(1), hub.name(2)) == ("tcp-1", "ann")
    assert claimed.displaced is hub.registry.entry_of(1)
    assert hub.registry.conflict_of(1) == "ann"
    hub.leave(1)
    hub.leave(2)
    assert hub.claim(3, "said:ann").displaced is None
    assert hub.name(3) == "tcp-3"
    assert hub.claim(4, "native:ann").displaced is None
    assert hub.name(4) == "ann"


def test_a_name_that_an_operator_gave_is_kept_from_who_proves_it() -> None:
    hub = Hub()
    hub.claim(1, "said:bob")
    hub.registry.rename(1, "tcp", "ann")
    assert hub.claim(2, "native:ann").displaced is None
    assert (hub.name(1), hub.name(2)) == ("ann", "tcp-2")


def test_renaming_one_in_conflict_tells_the_two_apart() -> None:
    hub = Hub()
    hub.claim(1, "said:dev1")
    hub.claim(2, "said:dev1")
    with pytest.raises(NameRefused, match="already called"):
        hub.registry.rename(2, "tcp", "dev1")
    assert hub.registry.conflict_of(2) == "dev1"
    hub.registry.rename(2, "tcp", "spare")
    assert hub.registry.conflict_of(2) == ""
    assert hub.leave(1)[1] == 0  # it does not inherit


def test_a_name_given_before_the_client_said_who_it_is_becomes_its_own() -> None:
    hub = Hub()
    hub.registry.rename(1, "tcp", "door")
    hub.registry.tag(hub.registry.entry_for(1), add=["a"])
    hub.claim(1, "said:dev1")
    hub.leave(1)
    hub.claim(2, "said:dev1")
    assert (hub.name(2), hub.registry.entry_for(2).tags) == ("door", ("a",))


def test_the_name_of_an_absent_one_is_taken_until_it_is_forgotten() -> None:
    hub = Hub()
    hub.claim(1, "said:dev1")
    hub.leave(1)
    with pytest.raises(NameRefused, match="of an absent client"):
        hub.registry.rename(2, "tcp", "dev1")
    entry = hub.registry.known_as("dev1")
    assert entry is not None
    hub.registry.forget(entry)
    hub.registry.rename(2, "tcp", "dev1")
    assert len(hub.registry) == 0


@pytest.mark.parametrize(
    "identity", ["said:all", "said:7", "said:tcp-4", "said:a b", "said:\x1b[2J", "host:::"]
)
def test_what_can_be_no_name_leaves_the_default_one(identity: str) -> None:
    hub = Hub()
    hub.claim(1, identity)
    assert hub.name(1) in ("tcp-1", "ip6---")
    hub.registry.rename(1, "tcp", "dev1")
    hub.leave(1)
    hub.claim(2, identity)
    assert hub.name(2) == "dev1"  # a name by hand lasts all the same


def test_hosts_of_ipv6_have_names() -> None:
    hub = Hub()
    hub.claim(1, "host:fe80::1%eth0")
    assert hub.name(1) == "ip6-fe80--1-eth0"


def test_what_is_known_is_bounded_and_what_operators_made_stays() -> None:
    hub = Hub(known_at_most=3)
    for number in (1, 2, 3):
        hub.claim(number, f"said:dev{number}")
        hub.leave(number)
    hub.registry.tag(next(hub.registry.absent()), add=["keep"])
    forgotten = hub.claim(4, "said:dev4").forgotten
    assert forgotten is not None
    assert forgotten.identity == "said:dev2"
    hub.claim(5, "said:dev5")
    last = hub.claim(6, "said:dev6")  # no room: it has its name as long as it is there
    assert (hub.name(6), last.entry.identity, len(hub.registry)) == ("dev6", "", 3)
    assert hub.leave(6) == (None, 0)
    assert hub.registry.known_as("dev6") is None
    assert {entry.identity for entry in hub.registry.absent()} == {"said:dev1"}


def test_tags_and_notes_are_bounded() -> None:
    hub = Hub()
    entry = hub.registry.entry_for(1)
    hub.registry.tag(entry, add=[f"t{n}" for n in range(MOST_TAGS)])
    with pytest.raises(NameRefused, match="this would be 33"):
        hub.registry.tag(entry, add=["one-more"])
    hub.registry.tag(entry, add=["one-more"], remove=["t0", "unknown"])
    with pytest.raises(NameRefused, match="too long"):
        hub.registry.note(entry, "x" * (LONGEST_NOTE + 1))
    hub.registry.tag(entry, remove=entry.tags)
    assert hub.registry.entry_of(1) is None


IDENTITIES = st.sampled_from(["said:a", "said:b", "said:c", "said:all", "host:a", "native:a"])
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["claim", "newer", "leave", "rename", "award", "forget"]),
        st.integers(1, 4),
        IDENTITIES,
    ),
    max_size=40,
)


@settings(max_examples=300)
@given(STEPS)
def test_whatever_happens_no_two_have_one_name(steps: list[tuple[str, int, str]]) -> None:
    hub = Hub(known_at_most=3)
    registry = hub.registry
    here: set[int] = set()
    numbers = count(10)
    places = {place: next(numbers) for place in range(1, 5)}  # a connection number is used once
    for what, place, identity in steps:
        client_id = places[place]
        try:
            match what:
                case "claim" | "newer":
                    here.add(client_id)
                    if registry.is_settled(client_id):
                        continue
                    hub.claim(client_id, identity, newer=what == "newer")
                case "leave":
                    here.discard(client_id)
                    places[place] = next(numbers)
                    entry, heir = hub.leave(client_id)
                    if entry is not None and heir:
                        hub.claim(heir, entry.identity)
                case "rename" if client_id in here:
                    registry.rename(client_id, "tcp", identity.partition(":")[2])
                case "award" if client_id in here:
                    hub.award(client_id)
                case "forget":
                    absent = registry.known_as(identity)
                    if absent is not None and not absent.client_id:
                        registry.forget(absent)
        except NameRefused:
            pass
        names = [hub.name(each) for each in here]
        assert len(set(names)) == len(names)
        for each in here:
            assert registry.find(hub.name(each)) in ((each, ""), (each, "tcp"))
        assert {entry.client_id for entry in registry.here()} <= here
        assert not {entry.name for entry in registry.absent() if entry.name} & set(names)
        assert len(registry) <= 3
        assert all(registry.conflict_of(each) != hub.name(each) for each in here)
