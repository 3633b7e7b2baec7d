"""A room as its native member has it: each message once and in order, whatever happens on the way."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from native_peer import native_of, running_hub
from support import Runner, eventually

from jackfield.hub.rooms.rooms import Rooms
from jackfield.hub.server import Hub
from jackfield.native import Client, RequestRefused, Room, connect
from jackfield.native.room import MOST_WAITING
from jackfield.portable import Control


def joined(hub: Hub, name: str, **more: Any) -> Any:
    return connect(str(hub.listeners[0][0].address.without_options()), name=name, **more)


def rooms_of(hub: Hub) -> Rooms:
    rooms = hub.part(Rooms)
    assert rooms is not None
    return rooms


async def receive(room: Room, count: int) -> list[tuple[int, bytes]]:
    async with asyncio.timeout(20):
        return [((found := await room.receive()).sequence, found.data) for _ in range(count)]


def cut(hub: Hub, client: Client) -> None:
    """Lose a client's connection, as a pulled cable does."""
    member = hub.member(int(client.id))
    assert member is not None
    hub.let_go(member, "cut", 0.0, for_good=False)


def said(first: int, last: int) -> list[tuple[int, bytes]]:
    return [(number, b"%d" % number) for number in range(first, last + 1)]


def test_what_is_published_is_stored_and_comes_to_all_in_order(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with (
            running_hub(directory) as hub,
            joined(hub, "alice") as alice,
            joined(hub, "bob") as bob,
            alice.room("ops", create=True, topic="tests") as hers,
            bob.room("ops") as his,
        ):
            assert (hers.topic, his.topic) == ("tests", "tests")
            assert await hers.publish("hello") == 1
            found = await his.receive()
            assert (found.sequence, found.name, found.text, found.missed) == (1, "alice", "hello", 0)
            sequences = await asyncio.gather(*(hers.publish(b"%d" % number) for number in range(2, 502)))
            assert sequences == list(range(2, 502))
            assert await receive(his, 500) == said(2, 501)
            assert await his.publish(b"\xff\x00") == 502
            assert (await hers.read(500))[1].data == b"\xff\x00"
            assert [each.sequence for each in await his.search("hello")] == [1]
            assert {each["name"] for each in await his.members()} == {"alice", "bob"}
            await his.set_topic("fish")
            await eventually(lambda: hers.topic == "fish")

    run_here(main)


def test_what_is_said_right_behind_the_answer_is_heard(run_here: Runner, directory: Path) -> None:
    """It may be in the same packet, and be taken before the program's next turn."""

    async def main() -> None:
        async with running_hub(directory) as hub, joined(hub, "alice") as alice:
            heard, machine, there = alice._session.heard, alice._session.machine, []

            def hear(event: Any) -> None:
                heard(event)
                if isinstance(event, Control) and "stream" in event.message:
                    there.append(event.message["stream"] in machine.streams)

            alice._session.heard = hear
            await alice.room("ops", create=True)
            assert there == [True]

    run_here(main)


def test_whoever_comes_back_has_each_message_once(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with (
            running_hub(directory) as hub,
            joined(hub, "alice") as alice,
            alice.room("ops", create=True) as hers,
        ):
            for number in range(1, 11):
                await hers.publish(b"%d" % number)
            async with joined(hub, "bob") as bob, bob.room("ops", after=0) as his:
                assert await receive(his, 4) == said(1, 4)
            # He remembers what he had himself.
            async with joined(hub, "bob") as bob, bob.room("ops", after=4) as his:
                await hers.publish(b"11")
                assert await receive(his, 7) == said(5, 11)
            # Or the hub does.
            async with joined(hub, "carol") as carol, carol.room("ops", after="cursor") as room:
                assert await hers.publish(b"12") == 12
                assert await receive(room, 1) == said(12, 12)
                room._has_seen(12)
            await hers.publish(b"13")
            async with joined(hub, "carol") as carol, carol.room("ops", after="cursor") as room:
                assert await receive(room, 1) == said(13, 13)

    run_here(main)


@pytest.mark.parametrize("held_for", [60.0, 0.0])
def test_a_lost_connection_loses_and_doubles_nothing(
    run_here: Runner, directory: Path, held_for: float
) -> None:
    """With the session that goes on, and with another one."""

    async def main() -> None:
        async with running_hub(directory) as hub:
            native_of(hub).held_for = held_for
            quick = {"reconnect": "10ms..20ms"}
            async with (
                joined(hub, "alice", **quick) as alice,
                joined(hub, "bob", **quick) as bob,
                alice.room("ops", create=True) as hers,
                bob.room("ops") as his,
            ):

                async def publish() -> list[int]:
                    return [await hers.publish(b"%d" % number) for number in range(1, 401)]

                sessions = [each.welcome["session"]["id"] for each in (alice, bob)]
                publishing = asyncio.create_task(publish())
                found: list[tuple[int, bytes]] = []
                while len(found) < 400:
                    found += await receive(his, 50)
                    if len(found) in (100, 250):
                        cut(hub, bob)
                    if len(found) in (150, 300):
                        cut(hub, alice)
                assert found == said(1, 400)
                assert await asyncio.wait_for(publishing, 20) == list(range(1, 401))
                if held_for:
                    assert [each.welcome["session"]["id"] for each in (alice, bob)] == sessions
                    found_later = await asyncio.wait_for(hers.read(0, limit=1000), 20)
                    assert [each.sequence for each in found_later] == list(range(1, 401))

    run_here(main)


def test_a_slow_program_reads_the_rest_later(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with (
            running_hub(directory) as hub,
            joined(hub, "alice") as alice,
            joined(hub, "bob") as bob,
            alice.room("ops", create=True) as hers,
            bob.room("ops") as his,
        ):
            many = MOST_WAITING + 1500
            for start in range(1, many + 1, 500):
                await asyncio.gather(*(hers.publish(b"%d" % n) for n in range(start, start + 500)))
            await eventually(lambda: len(his._ready) >= MOST_WAITING)
            assert len(his._ready) <= MOST_WAITING + 500
            assert await receive(his, many) == said(1, many)

    run_here(main)


class Hurried:
    """A client whose hub says that there is more right behind its answer to `read`."""

    name = "bob"

    def __init__(self) -> None:
        self.room: Room | None = None
        self.asked: list[int] = []

    async def control(self, kind: str, **arguments: Any) -> dict[str, Any]:
        assert kind == "read"
        self.asked.append(arguments["after"])
        number = len(self.asked)
        if number == 1:
            assert self.room is not None
            self.room._fell_behind({"room": "ops", "sequence": 2})
        return {"messages": [[number, 0.0, "alice/1", "alice", number, f"{number}"]], "behind": False}


class Prompt(Hurried):
    """A client that hears a message right after the answer to `read` with the one before."""

    async def control(self, kind: str, **arguments: Any) -> dict[str, Any]:
        assert self.room is not None
        heard = struct.pack(">IQQ", 1, 2, 2) + b"2"
        asyncio.get_running_loop().call_soon(self.room._said, heard)
        return {"messages": [[1, 0.0, "alice/1", "alice", 1, "1"]], "behind": False}


def test_what_is_heard_as_reading_ends_is_handed_out(run_here: Runner) -> None:
    async def main() -> None:
        client = Prompt()
        room = Room(client, "ops", after="now", create=None)  # type: ignore[arg-type]
        client.room = room
        receiving = asyncio.create_task(receive(room, 2))
        await asyncio.sleep(0)  # it waits
        room._read_on()
        assert await asyncio.wait_for(receiving, 10) == said(1, 2)

    run_here(main)


def test_more_that_is_told_of_while_the_last_is_read_is_read_too(run_here: Runner) -> None:
    async def main() -> None:
        client = Hurried()
        room = Room(client, "ops", after="now", create=None)  # type: ignore[arg-type]
        client.room = room
        room._fell_behind({"room": "ops", "sequence": 1})
        assert await receive(room, 2) == said(1, 2)
        assert client.asked == [0, 1]

    run_here(main)


def test_what_ends_a_membership(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub, joined(hub, "alice") as alice:
            with pytest.raises(RequestRefused) as refused:
                await alice.room("nowhere")
            assert refused.value.code == "no_such_room"

            async def ended_by(end: Callable[[], Any]) -> str:
                room = await alice.room("ops", create=True)
                waiting = asyncio.create_task(room.receive())
                await eventually(lambda: len(rooms_of(hub).rooms["ops"].seats) == 1)
                if asyncio.iscoroutine(answer := end()):
                    await answer
                with pytest.raises(EOFError):
                    await asyncio.wait_for(waiting, 20)
                await room.leave()
                return room.reason

            rooms = rooms_of(hub)
            kick = lambda: rooms.kick(rooms.rooms["ops"], rooms.rooms["ops"].named("alice")[0], by="test")  # noqa: E731
            assert await ended_by(kick) == "put out by test"
            assert (
                await ended_by(lambda: rooms.delete(rooms.rooms["ops"], by="test")) == "test deleted the room"
            )

    run_here(main)


def test_a_room_that_is_not_durable(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with (
            running_hub(directory) as hub,
            joined(hub, "alice") as alice,
            joined(hub, "bob") as bob,
            alice.room("game", create=True, durable=False) as hers,
            bob.room("game") as his,
        ):
            assert not his.durable
            for number in range(1, 301):
                assert await hers.publish(b"%d" % number) == 0
            assert await receive(his, 300) == said(1, 300)

    run_here(main)


def test_who_was_away_from_a_room_that_is_not_durable_hears_it_again(
    run_here: Runner, directory: Path
) -> None:
    async def main() -> None:
        async with (
            running_hub(directory) as hub,
            joined(hub, "alice") as alice,
            joined(hub, "bob", reconnect="200ms..200ms") as bob,
            alice.room("game", create=True, durable=False) as hers,
            bob.room("game") as his,
        ):
            await hers.publish(b"1")
            assert await receive(his, 1) == said(1, 1)
            cut(hub, bob)
            for number in range(2, 6):
                await hers.publish(b"%d" % number)
            for number in range(2, 6):
                found = await asyncio.wait_for(his.receive(), 20)
                assert (found.data, found.missed) == (b"%d" % number, 0)
            await hers.publish(b"6")
            assert await receive(his, 1) == said(6, 6)

    run_here(main)
