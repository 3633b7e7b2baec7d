"""Rooms that are not durable: the engine passes on what native members say, and the hub still knows it."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from native_peer import CREDIT, DATA, Peer, native_of, running_hub
from support import Runner, eventually
from test_hub_rooms_native import Member, member, rooms_of

from jackfield import Fan
from jackfield.hub.rooms.room import LONGEST_BODY
from jackfield.hub.server import Hub

WISH = {"create": {"durable": False}}
ADDRESSES = ("tcp://127.0.0.1:0?protocol=native", "tcp://127.0.0.1:0?room=lobby")


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many messages each call of Python has passed on."""
    from jackfield.hub.rooms.rooms import Rooms

    calls: list[int] = []
    publish_many = Rooms.publish_many

    def counted(self: Rooms, room: Any, said: Any) -> None:
        calls.append(len(said))
        publish_many(self, room, said)

    monkeypatch.setattr(Rooms, "publish_many", counted)
    return calls


async def both(hub: Hub, room: str = "ops", **more: Any) -> tuple[Member, Member]:
    return await member(hub, "alice", room, **(WISH | more)), await member(hub, "bob", room, **(WISH | more))


async def hears(who: Member, count: int) -> list[tuple[int, int, int, bytes]]:
    return [await who.heard() for _ in range(count)]


def test_what_passed_without_python_is_remembered_with_its_senders(
    run_here: Runner, directory: Path, published: list[int]
) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            native_of(hub).held_for = 0.1
            alice, bob = await both(hub)
            assert alice.joined["credit"] == Fan.credit
            alice.publish(1, b"one")
            assert await hears(bob, 1) == [(1, 1, 1, b"one")]
            bob.publish(1, b"two")
            assert (await hears(alice, 2))[1] == (2, 2, 1, b"two")
            await bob.peer.ask("leave", room="ops")
            carol = await member(hub, "carol", **WISH)
            assert (carol.joined["last"], carol.joined["cursor"]) == (2, 2)
            read = await carol.peer.ask("read", room="ops", after=0, limit=10)
            said = [(row[0], row[3], row[5]) for row in read["messages"]]
            assert said == [(1, "alice", "one"), (2, "bob", "two")]
            found = await carol.peer.ask("search", room="ops", text="two", limit=10)
            assert "bob" in str(found["messages"]) or "bob" in str(found)
            assert published == []
            for each in (alice, bob, carol):
                await each.peer.close()
            await eventually(lambda: "ops" not in rooms_of(hub).rooms)

    run_here(main)


def test_python_passes_on_while_a_plain_program_is_there(
    run_here: Runner, directory: Path, published: list[int]
) -> None:
    async def main() -> None:
        async with running_hub(directory, *ADDRESSES) as hub:
            rooms_of(hub).rooms["lobby"].durable = False
            alice, bob = await both(hub, "lobby")
            alice.publish(1, b"one")
            await hears(bob, 1)
            plain = await Peer.connect(hub, listener=1)
            assert b"alice: one" in await plain.reader.readuntil(b"alice: one\n")
            alice.publish(2, b"two")
            while b"alice: two" not in await plain.reader.readline():
                pass
            plain.writer.write(b"three\n")
            assert [each[1:] for each in await hears(bob, 2)] == [(2, 2, b"two"), (3, 1, b"three")]
            before = len(published)
            assert before >= 2
            await plain.close()
            await eventually(lambda: len(rooms_of(hub).rooms["lobby"].seats) == 2)
            alice.publish(3, b"four")
            assert (await hears(bob, 1))[0][1:] == (4, 3, b"four")
            assert (len(published), rooms_of(hub).rooms["lobby"].last) == (before, 4)

    run_here(main)


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"short", "bad_frame"),
        (struct.pack(">Q", 0) + b"x", "bad_frame"),
        (struct.pack(">Q", 2**63) + b"x", "bad_frame"),
        (struct.pack(">Q", 5) + bytes(LONGEST_BODY + 1), "too_big"),
    ],
)
def test_what_cannot_be_said_is_refused_by_the_hub_as_ever(
    run_here: Runner, directory: Path, payload: bytes, code: str
) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            alice, bob = await both(hub)
            alice.peer.send(alice.stream, DATA, payload)
            assert (await alice.peer.event("room_refused"))["code"] == code
            alice.publish(1, b"still here")
            assert (await hears(bob, 1))[0][1:] == (1, 1, b"still here")

    run_here(main)


def test_credit_is_granted_again_whoever_passes_it_on(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory, *ADDRESSES) as hub:
            rooms_of(hub).rooms["lobby"].durable = False
            alice, bob = await both(hub, "lobby")
            credit, number, body = alice.joined["credit"], 0, bytes(10_000)
            plain = None
            for turn in range(6):
                if turn % 2:
                    plain = await Peer.connect(hub, listener=1)
                    await eventually(lambda: len(rooms_of(hub).rooms["lobby"].seats) == 3)
                for _ in range(10):
                    number, credit = number + 1, credit - len(body) - 24
                    alice.publish(number, body)
                assert [each[2] for each in await hears(bob, 10)] == list(range(number - 9, number + 1))
                while credit < Fan.credit // 2:
                    frame = await alice.peer.where(lambda s, k, f, p: (s, k) == (alice.stream, CREDIT))
                    credit += int.from_bytes(frame[3], "big")
                assert 0 < credit <= Fan.credit
                if plain is not None:
                    await plain.close()
                    await eventually(lambda: len(rooms_of(hub).rooms["lobby"].seats) == 2)
                    plain = None

    run_here(main)


def test_who_was_away_is_told_what_it_missed_and_reads_it(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            alice, bob = await both(hub)
            session = next(each for each in native_of(hub).sessions.values() if each.name == "bob")
            bob.peer.abort()
            await eventually(lambda: not session.is_connected)
            alice.publish(1, b"missed")
            await hears(alice, 1)
            again = await bob.peer.back(hub, name="bob", instance="bob-1")
            assert (await again.welcomed())["session"]["resumed"]
            behind = await again.event("room_behind")
            assert (behind["room"], behind["sequence"]) == ("ops", 1)
            read = await again.ask("read", room="ops", after=0, limit=10)
            assert [row[5] for row in read["messages"]] == ["missed"]
            alice.publish(2, b"again")
            bob.peer = again
            assert (await hears(bob, 1))[0][1:] == (2, 2, b"again")

    run_here(main)
