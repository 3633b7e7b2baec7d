"""Native clients in rooms, over real sockets: publish, be told, catch up, be refused."""

from __future__ import annotations

import asyncio
import struct
from pathlib import Path
from typing import Any

import pytest
from native_peer import CREDIT, DATA, Peer, native_of, running_hub
from support import Runner, eventually

from jackfield.hub.operator import operate
from jackfield.hub.rooms.room import CREDIT as GRANTED
from jackfield.hub.rooms.room import LONGEST_BODY
from jackfield.hub.rooms.rooms import Rooms
from jackfield.hub.server import Hub

SHARED = 2


def rooms_of(hub: Hub) -> Rooms:
    rooms = hub.part(Rooms)
    assert rooms is not None
    return rooms


async def member(hub: Hub, name: str, room: str = "ops", *, listener: int = 0, **more: Any) -> Member:
    """A client in a room, which is made if there is none."""
    peer = await Peer.join(hub, name=name, instance=f"{name}-1", listener=listener)
    return await Member.enter(peer, room, **more)


class Member:
    """A peer in one room."""

    def __init__(self, peer: Peer, joined: dict[str, Any]) -> None:
        self.peer, self.joined = peer, joined
        self.stream: int = joined["stream"]
        self.source: int = joined["source"]

    @classmethod
    async def enter(cls, peer: Peer, room: str, **more: Any) -> Member:
        joined = await peer.ask("join", room=room, **({"create": {}} | more))
        assert joined["type"] == "ok", joined
        return cls(peer, joined)

    def publish(self, number: int, body: bytes) -> None:
        self.peer.send(self.stream, DATA, struct.pack(">Q", number) + body)

    async def stored(self) -> tuple[int, int]:
        """The next acknowledgement: up to which number, and its sequence in the room."""
        frame = await self.peer.where(lambda s, k, f, p: (s, k, f) == (self.stream, DATA, 0))
        number, sequence = struct.unpack(">QQ", frame[3])
        return number, sequence

    async def heard(self) -> tuple[int, int, int, bytes]:
        """The next message: source, sequence, the sender's number, body."""
        frame = await self.peer.where(lambda s, k, f, p: (s, k, f) == (self.stream, DATA, SHARED))
        source, sequence, number = struct.unpack(">IQQ", frame[3][:20])
        return source, sequence, number, frame[3][20:]


def test_what_is_stored_is_acknowledged_and_then_heard_by_all(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            alice, bob = await member(hub, "alice"), await member(hub, "bob")
            assert alice.stream == bob.stream >= 2**31
            assert (alice.source, bob.source) == (1, 2)
            assert [each["name"] for each in bob.joined["members"]] == ["alice", "bob"]
            assert (bob.joined["published"], bob.joined["last"], bob.joined["cursor"]) == (0, 0, 0)
            for number in (1, 2, 3):
                alice.publish(number, b"hello %d" % number)
            while (await alice.stored())[0] < 3:
                pass
            for each in (alice, bob):
                for number in (1, 2, 3):
                    assert await each.heard() == (1, number, number, b"hello %d" % number)
            bob.publish(1, b"\x00\xff" * 1000)
            assert await alice.heard() == (2, 4, 1, b"\x00\xff" * 1000)
            await alice.peer.close()
            await bob.peer.close()

    run_here(main)


def test_what_was_stored_is_not_stored_again_and_a_gap_is_refused(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            alice = await member(hub, "alice")
            alice.publish(1, b"one")
            assert await alice.stored() == (1, 1)
            alice.publish(1, b"one again")
            assert await alice.stored() == (1, 1)
            alice.publish(3, b"three")
            refused = await alice.peer.event("room_refused")
            assert (refused["room"], refused["sequence"], refused["code"]) == ("ops", 3, "gap")
            alice.publish(2, b"two")
            assert await alice.stored() == (2, 2)
            read = await alice.peer.ask("read", room="ops", after=0)
            assert [row[4:] for row in read["messages"]] == [[1, "one"], [2, "two"]]
            await alice.peer.close()
            # The same program comes back, and is told where it was.
            again = await Peer.join(hub, name="alice", instance="alice-1")
            assert (await Member.enter(again, "ops")).joined["published"] == 2
            await again.close()

    run_here(main)


def test_what_cannot_be_published_is_refused_and_the_client_stays(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            alice = await member(hub, "alice")
            for payload, code in (
                (b"short", "bad_frame"),
                (struct.pack(">Q", 0) + b"x", "bad_frame"),
                (struct.pack(">Q", 2**63) + b"x", "bad_frame"),
                (struct.pack(">Q", 1) + bytes(LONGEST_BODY + 1), "too_big"),
            ):
                alice.peer.send(alice.stream, DATA, payload)
                assert (await alice.peer.event("room_refused"))["code"] == code
            alice.publish(1, bytes(LONGEST_BODY))
            assert await alice.stored() == (1, 1)
            read = await alice.peer.ask("read", room="ops", after=0)
            assert len(read["messages"]) == 1, "the longest message fits into one answer"
            await alice.peer.close()

    run_here(main)


def test_a_member_that_sends_beyond_its_credit_is_put_out(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            alice = await member(hub, "alice")
            body = bytes(40_000)
            sent = 0
            while sent < GRANTED // 2:  # within it, credit comes back
                alice.publish(sent // 40_000 + 1, body)
                sent += 40_000
            await alice.peer.on(alice.stream, CREDIT)
            room = rooms_of(hub).rooms["ops"]
            # What waits cannot be stored while the store is busy with nothing: it is held up here.
            place = rooms_of(hub).native.place_of(
                next(iter(hub.native.sessions.values())),
                room,  # type: ignore[union-attr]
            )
            place.waiting = GRANTED
            alice.publish(10**6, body)
            left = await alice.peer.event("room_left")
            assert left["members"][0]["reason"] == "it sent more than it was granted"
            await alice.peer.close()

    run_here(main)


def test_history_is_read_in_pages_and_searched(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            alice = await member(hub, "alice")
            for number in range(1, 301):
                body = "fisch & brot" if number % 100 == 0 else "x" * 1000
                alice.publish(number, body.encode())
            while (await alice.stored())[0] < 300:
                pass
            after, seen = 0, []
            while True:
                page = await alice.peer.ask("read", room="ops", after=after, limit=1000)
                seen += [row[0] for row in page["messages"]]
                after = seen[-1]
                if not page["behind"]:
                    break
            assert seen == list(range(1, 301))
            found = await alice.peer.ask("search", room="ops", text="FISCH")
            assert [row[1] for row in found["messages"]] == [300, 200, 100]
            assert (await alice.peer.ask("search", text="brot"))["messages"][0][0] == "ops"
            assert (await alice.peer.ask("search", room="ops", text=""))["code"] == "bad_request"
            await alice.peer.close()

    run_here(main)


def test_a_client_searches_for_one_thing_at_a_time(
    run_here: Runner, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            alice, bob = (await member(hub, "alice")).peer, (await member(hub, "bob")).peer
            searched, goes_on = rooms_of(hub).search, asyncio.Event()

            async def slowly(*arguments: Any, **more: Any) -> Any:
                await goes_on.wait()
                return await searched(*arguments, **more)

            monkeypatch.setattr(rooms_of(hub), "search", slowly)
            alice.control(type="search", n=100, room="ops", text="word")
            assert (await alice.ask("search", room="ops", text="word"))["code"] == "overloaded"
            goes_on.set()
            assert (await alice.control_where(lambda body: body.get("n") == 100))["type"] == "ok"
            for peer in (alice, bob):
                assert (await peer.ask("search", room="ops", text="word"))["type"] == "ok"
                await peer.close()

    run_here(main)


def test_a_cursor_is_kept_for_who_comes_back(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory, state=directory / "hub.db") as hub:
            alice = await member(hub, "alice")
            for number in (1, 2, 3):
                alice.publish(number, b"x")
            while (await alice.stored())[0] < 3:
                pass
            await alice.peer.ask("seen", room="ops", sequence=2)
            await alice.peer.close()
        async with running_hub(directory, state=directory / "hub.db") as hub:
            assert rooms_of(hub).rooms["ops"].last == 3
            again = await member(hub, "alice", after="cursor")
            assert (again.joined["cursor"], again.joined["last"], again.joined["published"]) == (2, 3, 3)
            bob = await member(hub, "bob", after="cursor")
            assert bob.joined["cursor"] == 3, "who was never there begins now"
            assert (await member(hub, "carol", after=0)).joined["cursor"] == 0
            again.publish(4, b"y")
            assert await bob.heard() == (again.source, 4, 4, b"y")

    run_here(main)


def test_who_comes_and_goes_is_told(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            alice, bob = await member(hub, "alice"), await member(hub, "bob")
            came = await alice.peer.control_where(
                lambda body: body["type"] == "room_joined" and body["members"][0]["name"] == "bob"
            )
            assert came["members"][0]["source"] == bob.source
            answer = await bob.peer.ask("topic", room="ops", topic="fish")
            assert answer["topic"] == "fish"
            assert (await alice.peer.event("room_topic"))["topic"] == "fish"
            await bob.peer.ask("private", room="ops", to="alice", text="psst")
            told = await alice.peer.event("room_private")
            assert (told["from"], told["text"]) == ("bob", "psst")
            await bob.peer.ask("leave", room="ops")
            left = await alice.peer.event("room_left")
            assert left["members"][0]["name"] == "bob"
            bob.publish(1, b"too late")
            listed = await bob.peer.ask("rooms")
            assert [each["room"] for each in listed["rooms"]] == ["ops"]
            assert (await alice.peer.ask("members", room="ops"))["count"] == 1
            assert rooms_of(hub).rooms["ops"].last == 0
            await alice.peer.close()
            await bob.peer.close()

    run_here(main)


@pytest.mark.parametrize(
    ("op", "arguments", "code"),
    [
        ("join", {"room": "nowhere"}, "no_such_room"),
        ("join", {"room": "../x", "create": {}}, "bad_request"),
        ("join", {"room": "x", "create": {"durable": "yes"}}, "bad_request"),
        ("join", {"room": "x", "create": {"topic": "t" * 1000}}, "too_big"),
        ("join", {"room": "x", "create": {}, "after": -1}, "bad_request"),
        ("join", {"room": "x", "create": {}, "after": True}, "bad_request"),
        ("join", {"room": 7}, "bad_request"),
        ("read", {"room": "other", "after": 0}, "forbidden"),
        ("read", {"room": "ops", "after": -1}, "bad_request"),
        ("read", {"room": "ops", "limit": 10**9}, "bad_request"),
        ("search", {"room": "other", "text": "x"}, "forbidden"),
        ("members", {"room": "other"}, "forbidden"),
        ("topic", {"room": "other", "topic": "mine"}, "forbidden"),
        ("seen", {"room": "other", "sequence": 1}, "forbidden"),
        ("leave", {"room": "other"}, "forbidden"),
        ("private", {"room": "ops", "to": "nobody", "text": "x"}, "no_such_member"),
        ("private", {"room": "ops", "to": "alice", "data": "?"}, "bad_request"),
    ],
)
def test_what_cannot_be_asked(
    run_here: Runner, directory: Path, op: str, arguments: dict[str, Any], code: str
) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            rooms_of(hub).create("other", made_by="test")
            alice = await member(hub, "alice")
            answer = await alice.peer.ask(op, **arguments)
            assert (answer["type"], answer["code"]) == ("error", code)
            await alice.peer.close()

    run_here(main)


def test_a_room_that_is_not_durable_is_passed_on_at_once(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            native_of(hub).held_for = 0.1
            wish = {"create": {"durable": False}}
            alice, bob = await member(hub, "alice", **wish), await member(hub, "bob", **wish)
            assert alice.joined["durable"] is False
            for number in range(1, 101):
                alice.publish(number, b"x")
            assert [(await bob.heard())[1] for _ in range(100)] == list(range(1, 101))
            await alice.peer.close()
            await bob.peer.close()
            await eventually(lambda: "ops" not in rooms_of(hub).rooms)

    run_here(main)


def test_plain_and_native_members_hear_each_other(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        addresses = ("tcp://127.0.0.1:0?protocol=native", "tcp://127.0.0.1:0?room=lobby")
        async with running_hub(directory, *addresses) as hub:
            alice = await member(hub, "alice", "lobby")
            plain = await Peer.connect(hub, listener=1)
            assert b"This is lobby" in await plain.reader.readuntil(b"alice, tcp-2\n")
            plain.writer.write(b"hello\n")
            source, _, _, body = await alice.heard()
            assert (source, body) == (2, b"hello")
            alice.publish(1, b"hi \x1b[2J")
            assert await plain.reader.readline() == b"alice: hi \\e[2J\n"
            await plain.close()
            assert (await alice.peer.event("room_left"))["members"][0]["name"] == "tcp-2"
            await alice.peer.close()

    run_here(main)


async def changed(member: Member) -> list[tuple[str, str]]:
    """Names and states of those of the next `room_changed`."""
    event = await member.peer.event("room_changed")
    return [(each["name"], each["state"]) for each in event["members"]]


def test_a_new_name_is_told_to_the_room_and_to_who_watches(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        addresses = ("tcp://127.0.0.1:0?protocol=native", "tcp://127.0.0.1:0?room=lobby")
        async with running_hub(directory, *addresses) as hub, operate(hub.settings.control) as operator:
            alice = await member(hub, "alice", "lobby")
            token = hub.security.tokens.create(hub.security.now(), name="bob", role="member")[1]
            bob, other = [
                await Member.enter(await Peer.join(hub, token=token, instance=instance), "lobby")
                for instance in ("bob-1", "bob-2")
            ]
            plain = await Peer.connect(hub, listener=1)
            assert b"This is lobby" in await plain.reader.readuntil(b"tcp-4\n")
            await alice.peer.ask("watch", on=True)

            await operator.request("rename", target="tcp-4", name="door")
            assert await plain.reader.readline() == b"* You are door now.\n"
            assert await changed(alice) == [("door", "here")]
            told = await alice.peer.event("changed")
            assert (told["client"]["id"], told["client"]["name"]) == ("4", "door")

            # Every session of an identity has its name, and what is said from now on is said by it.
            await operator.request("rename", target="bob", name="robert")
            told_of = [*await changed(alice), *await changed(alice)]
            assert told_of == [("robert", "here"), ("robert", "here")]
            bob.publish(1, b"hello")
            assert (await plain.reader.readuntil(b"hello\n")).endswith(b"\nrobert: hello\n")
            members = (await alice.peer.ask("members", room="lobby"))["members"]
            assert [each["name"] for each in members] == ["alice", "robert", "robert", "door"]
            for each in (other.peer, plain, bob.peer, alice.peer):
                await each.close()

    run_here(main)


def test_one_that_was_renamed_while_away_comes_back_with_its_new_name(
    run_here: Runner, directory: Path
) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub, operate(hub.settings.control) as operator:
            alice, bob = await member(hub, "alice"), await member(hub, "bob")
            bob.peer.abort()
            assert await changed(alice) == [("bob", "away")]
            await operator.request("rename", target="bob", name="robert")
            again = await bob.peer.back(hub, name="bob", instance="bob-1")
            assert (await again.welcomed())["session"]["resumed"] is True
            assert await changed(alice) == [("robert", "here")]
            for peer in (again, alice.peer):
                await peer.close()

    run_here(main)


def test_a_deleted_room_is_gone_for_everyone(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            alice = await member(hub, "alice")
            alice.publish(1, b"x")
            await alice.stored()
            rooms = rooms_of(hub)
            assert await rooms.delete(rooms.rooms["ops"], by="test") == 1
            left = await alice.peer.event("room_left")
            assert left["members"][0]["reason"] == "test deleted the room"
            again = await Member.enter(alice.peer, "ops")
            assert (again.joined["last"], again.joined["published"]) == (0, 0)
            await alice.peer.close()

    run_here(main)


def test_members_with_the_longest_names_are_listed_and_told_in_pieces_that_fit(
    run_here: Runner, directory: Path
) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            alice = await member(hub, "alice", create={"durable": False})
            names = {chr(0x20000 + number) * 64 for number in range(210)}
            others = [await Member.enter(await Peer.join(hub, name=name), "ops") for name in sorted(names)]
            joined = (await member(hub, "bob")).joined
            found = [each["name"] for each in joined["members"]]
            while len(found) < joined["count"]:
                after = joined["members"][-1]["source"]
                joined |= await alice.peer.ask("members", room="ops", after=after)
                found += [each["name"] for each in joined["members"]]
            assert set(found) == names | {"alice", "bob"}

            async def told(what: str, whom: set[str]) -> None:
                while whom:
                    event = await alice.peer.event(what)
                    whom = whom - {each["name"] for each in event["members"]}

            await told("room_joined", names)
            for other in others:
                other.peer.control(type="bye")
                await other.peer.close()
            await told("room_left", names)

    run_here(main)


def test_a_fault_with_one_member_stops_no_room(
    run_here: Runner, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            alice, bob = await member(hub, "alice"), await member(hub, "bob")
            outlet = rooms_of(hub).native
            stored = outlet.stored

            def fails_for_alice(*facts: Any) -> None:
                if facts[1].name == "alice":
                    raise ConnectionResetError("as a connection that broke just now")
                stored(*facts)

            monkeypatch.setattr(outlet, "stored", fails_for_alice)
            alice.publish(1, b"one")
            assert (await bob.heard())[3] == b"one"
            bob.publish(1, b"two")
            assert await bob.stored() == (1, 2)
            await alice.peer.close()
            await bob.peer.close()

    run_here(main)
