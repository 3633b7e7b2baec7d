"""Many messages at once in a room: frames that come together are one thing, and nothing is told otherwise."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from native_peer import CREDIT, DATA, running_hub
from support import Runner, eventually
from test_hub_rooms_native import Member, member, rooms_of

from jackfield.hub.rooms.memory_store import MemoryStore
from jackfield.hub.rooms.room import RECENT, Seat
from jackfield.hub.rooms.said import Said, each_of, newest_of
from jackfield.hub.rooms.store import Appended, Publication, RunAppended, StoreError
from jackfield.hub.rooms.writer import Writer

COUNT = 300


def frame(stream: int, payload: bytes) -> bytes:
    return struct.pack(">IIBBH", 8 + len(payload), stream, DATA, 0, 0) + payload


def flood(of: Member, numbers: list[int], body: bytes = b"x" * 64) -> None:
    """Publish in one write, so that the hub has it in one turn."""
    of.peer.writer.write(b"".join(frame(of.stream, struct.pack(">Q", number) + body) for number in numbers))


def said(seat: Seat, number: int, bodies: list[bytes], sequence: int) -> Said:
    return Said("ops", seat, seat.name, 5.0, number, bodies, sequence=sequence)


def test_a_flood_is_stored_once_acknowledged_and_heard_in_order(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory, state=directory / "hub.db") as hub:
            alice, bob = await member(hub, "alice"), await member(hub, "bob")
            flood(alice, list(range(1, COUNT + 1)))
            acknowledged = 0
            while acknowledged < COUNT:
                number, sequence = await alice.stored()
                assert acknowledged < number == sequence
                acknowledged = number
            for each in (alice, bob):
                for number in range(1, COUNT + 1):
                    assert await each.heard() == (1, number, number, b"x" * 64)
            granted = 0
            while granted < COUNT * (64 + 8 + 16):
                found = await alice.peer.where(lambda s, k, f, p: (s, k) == (alice.stream, CREDIT))
                granted += struct.unpack(">I", found[3])[0]
            assert granted == COUNT * (64 + 8 + 16)
            room = rooms_of(hub).find("ops")
            assert room.last == COUNT
            assert [each.number for each in room.recent(2)] == [COUNT - 1, COUNT]
            page = await rooms_of(hub).read(room, 0, COUNT)
            assert [each.number for each in page.messages] == list(range(1, COUNT + 1))

    run_here(main)


def test_a_gap_and_repetitions_within_a_flood(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory, state=directory / "hub.db") as hub:
            alice = await member(hub, "alice")
            flood(alice, [1, 2, 3, 2, 3, 4])
            for number in (1, 2, 3, 4):
                assert await alice.heard() == (1, number, number, b"x" * 64)
            flood(alice, [3, 4, 5, 6])  # numbers that follow each other, and some are stored already
            for number in (5, 6):
                assert await alice.heard() == (1, number, number, b"x" * 64)
            flood(alice, [9, 10])
            for number in (9, 10):
                refused = await alice.peer.event("room_refused")
                assert (refused["sequence"], refused["code"]) == (number, "gap")
            flood(alice, [0, 7])
            assert (await alice.peer.event("room_refused"))["code"] == "bad_frame"
            assert await alice.heard() == (1, 7, 7, b"x" * 64)

    run_here(main)


def test_a_flood_in_a_room_without_a_store(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            alice = await member(hub, "alice", create={"durable": False})
            bob = await member(hub, "bob")
            flood(alice, list(range(1, COUNT + 1)))
            for number in range(1, COUNT + 1):
                assert await bob.heard() == (1, number, number, b"x" * 64)
            assert await alice.heard() == (1, 1, 1, b"x" * 64)
            assert rooms_of(hub).find("ops").last == COUNT

    run_here(main)


def test_who_floods_beyond_its_credit_is_put_out(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory, state=directory / "hub.db") as hub:
            alice, bob = await member(hub, "alice"), await member(hub, "bob")
            flood(alice, list(range(1, 1400)), b"y" * 40_000)
            told = await bob.peer.event("room_left")
            assert told["members"][0]["reason"] == "it sent more than it was granted"

    run_here(main)


def test_what_was_said_at_once_message_by_message() -> None:
    seat = Seat(3, "native", 1, "ana", "ana/1", 0.0)
    one = said(seat, 7, [b"a", b"bc"], 20)
    assert (len(one), one.size, one.last_number, one.last_sequence) == (2, 3, 8, 21)
    assert one.run().publications() == [
        Publication("ops", "ana/1", 7, 5.0, "ana", b"a"),
        Publication("ops", "ana/1", 8, 5.0, "ana", b"bc"),
    ]
    assert one.as_payloads() == [struct.pack(">Q", 7) + b"a", struct.pack(">Q", 8) + b"bc"]
    assert [(each.source, each.message.sequence, each.message.body) for each in each_of([one])] == [
        (3, 20, b"a"), (3, 21, b"bc"),
    ]  # fmt: skip
    assert one.part(1, 30).messages()[0] == one.messages()[1]._replace(sequence=30)


def test_a_room_remembers_the_newest_of_a_flood() -> None:
    seat = Seat(3, "native", 1, "ana", "ana/1", 0.0)
    first, second = said(seat, 1, [b"a"] * RECENT, 1), said(seat, RECENT + 1, [b"b"] * 5, RECENT + 1)
    found = newest_of([first, second])
    assert [each.sequence for each in found] == list(range(6, RECENT + 6))


class FailingStore(MemoryStore):
    """Notes what is asked of it, and fails at its second group, once."""

    def __init__(self, notes: list[str], begun: Callable[[], None]) -> None:
        super().__init__()
        self.notes, self.calls, self.begun = notes, 0, begun

    async def append(self, batch: Sequence[Publication]) -> list[Appended]:
        self.calls += 1
        self.notes.append(f"append {batch[0].number}")
        if self.calls == 1:
            self.begun()
        for _ in range(5):  # turns of the loop that a disk takes at least
            await asyncio.sleep(0)
        if self.calls == 2:
            raise StoreError("the disk is full")
        return await super().append(batch)


def test_the_next_group_is_on_its_way_before_the_last_is_told(run_here: Runner) -> None:
    async def main() -> None:
        notes: list[str] = []
        store = FailingStore(notes, lambda: writer.add(said(seat, 2, [b"b"], 0)))
        await store.open_room("ops", at=1.0)
        seat = Seat(3, "native", 1, "ana", "ana/1", 0.0)

        def stored(group: Sequence[Said], became: Sequence[RunAppended]) -> None:
            assert [each.sequence for each in became] == [one.number for one in group]
            notes.append(f"told {group[0].number}")

        async def open_again(names: set[str]) -> None:
            raise AssertionError(names)

        def delayed(group: Sequence[Said], reason: str) -> None:
            notes.append(f"delayed {group[0].number}")

        writer = Writer(store, stored=stored, delayed=delayed, open_again=open_again)
        writer.add(said(seat, 1, [b"a"], 0))
        await eventually(lambda: "told 2" in notes)
        assert notes == ["append 1", "append 2", "told 1", "delayed 2", "append 2", "told 2"]
        writer.add(said(seat, 3, [b"c"], 0))
        await writer.close()
        assert notes[-2:] == ["append 3", "told 3"]
        assert (writer.groups, writer.written) == (3, 3)

    run_here(main)


class CountingStore(MemoryStore):
    """Notes how many messages are in each group."""

    def __init__(self) -> None:
        super().__init__()
        self.groups: list[int] = []

    async def append(self, batch: Sequence[Publication]) -> list[Appended]:
        self.groups.append(len(batch))
        return await super().append(batch)


@pytest.mark.parametrize(
    ("most", "most_bytes", "groups"), [(5, 1000, [6, 6, 3]), (100, 10, [3, 3, 3, 3, 3]), (100, 1000, [15])]
)
def test_a_group_is_bounded_in_messages_and_bytes(
    run_here: Runner, monkeypatch: pytest.MonkeyPatch, most: int, most_bytes: int, groups: list[int]
) -> None:
    monkeypatch.setattr("jackfield.hub.rooms.writer.MOST_IN_GROUP", most)
    monkeypatch.setattr("jackfield.hub.rooms.writer.MOST_BYTES_IN_GROUP", most_bytes)

    async def main() -> None:
        store = CountingStore()
        await store.open_room("ops", at=1.0)
        seat = Seat(3, "native", 1, "ana", "ana/1", 0.0)
        told: list[int] = []

        def stored(group: Sequence[Said], became: Sequence[RunAppended]) -> None:
            told.extend(each.sequence for each in became)

        async def open_again(names: set[str]) -> None:
            raise AssertionError(names)

        def delayed(group: Sequence[Said], reason: str) -> None:
            raise AssertionError(reason)

        writer = Writer(store, stored=stored, delayed=delayed, open_again=open_again)
        for number in range(1, 16, 3):
            writer.add(said(seat, number, [b"word"] * 3, 0))
        await writer.close()
        assert store.groups == groups
        assert told == [1, 4, 7, 10, 13]

    run_here(main)
