"""How many rooms one may make, and that those end which nobody uses."""

from __future__ import annotations

from pathlib import Path

import pytest
from native_peer import Peer, running_hub
from support import Runner, eventually

from jackfield.hub.operator import operate
from jackfield.hub.rooms import keeping
from jackfield.hub.rooms.keeping import UNUSED_FOR, end_unused
from jackfield.hub.rooms.room import Room
from jackfield.hub.rooms.rooms import Rooms
from jackfield.hub.server import Hub


def rooms_of(hub: Hub) -> Rooms:
    rooms = hub.part(Rooms)
    assert rooms is not None
    return rooms


def token_of(hub: Hub, **more: str) -> str:
    return hub.security.tokens.create(hub.security.now(), **more)[1]  # type: ignore[arg-type]


async def make(peer: Peer, room: str) -> str:
    """Make a room and leave it; empty, or why there is none."""
    joined = await peer.ask("join", room=room, create={"durable": True})
    if joined["type"] == "error":
        return str(joined["code"])
    await peer.ask("leave", room=room)
    return ""


def test_nobody_takes_all_rooms(run_here: Runner, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not with other names and connections either, and a restart of the hub forgets nothing."""
    monkeypatch.setattr(keeping, "MOST_OF_ONE", 3)
    state = directory / "hub.db"

    async def main() -> None:
        async with running_hub(directory, state=state) as hub:
            ann, ben = token_of(hub, name="ann"), token_of(hub, name="ben")
            greedy = [await Peer.join(hub, token=ann, instance=f"{number}") for number in range(2)]
            made = [await make(greedy[number % 2], f"ann-{number}") for number in range(5)]
            assert made == [""] * 3 + ["overloaded"] * 2
            strangers = [await Peer.join(hub, name=f"name{number}") for number in range(5)]
            made = [await make(peer, f"room-{number}") for number, peer in enumerate(strangers)]
            assert made == [""] * 3 + ["overloaded"] * 2
            assert await make(await Peer.join(hub, token=ben), "bens") == ""
        async with running_hub(directory, state=state) as hub, operate(hub.settings.control) as operator:
            again, other = await Peer.join(hub, token=ann), await Peer.join(hub, name="other")
            assert await make(again, "more") == "overloaded"
            assert await make(other, "more") == "overloaded"
            await operator.request("room_create", room="more")
            chief = await Peer.join(hub, token=token_of(hub, name="chief", role="operator"))
            assert [await make(chief, f"chief-{number}") for number in range(5)] == [""] * 5
            await operator.request("room_delete", room="ann-0")
            assert await make(again, "ann-0") == ""
            assert {room.maker for room in rooms_of(hub)} == {
                "native:ann",
                "native:ben",
                "address:127.0.0.1",
                "",
            }
            for peer in (again, other, chief):
                await peer.close()

    run_here(main)


def test_an_address_takes_its_share_and_leaves_the_others_theirs(
    run_here: Runner, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "MOST_OF_ONE", 4)
    monkeypatch.setattr(keeping, "MOST_OF_PLACES", 10)

    async def main() -> None:
        async with running_hub(directory) as hub, operate(hub.settings.control) as operator:
            made: dict[str, list[str]] = {}
            for host in range(1, 5):
                peers = [
                    await Peer.join(hub, local=f"127.0.0.{host}", name=f"{host}-{number}")
                    for number in range(3)
                ]
                made[f"address:127.0.0.{host}"] = [
                    await make(peers[number % 3], f"r-{host}-{number}") for number in range(5)
                ]
            counts = {origin: results.count("") for origin, results in made.items()}
            assert list(counts.values()) == [4, 4, 2, 0], "a share for each address, and a bound of all"
            assert await make(await Peer.join(hub, token=token_of(hub, name="ben")), "bens") == ""
            figures = (await operator.request("status"))["rooms"]
            refused = sum(results.count("overloaded") for results in made.values())
            assert (figures["rooms"], figures["refused"]) == (11, refused)
            assert figures["makers"]["address:127.0.0.1"] == 4
            told = [event for event in hub.journal.last(100) if event.kind == "room_refused"]
            assert dict(told[0].facts)["maker"] == "address:127.0.0.1"
            listed = {room["room"]: room["maker"] for room in (await operator.request("room_list"))["rooms"]}
            assert listed["r-2-0"] == "address:127.0.0.2"
            gone = await operator.request("room_delete", maker="address:127.0.0.2")
            assert gone["rooms"] == [f"r-2-{number}" for number in range(4)]
            assert await make(await Peer.join(hub, local="127.0.0.4", name="late"), "late") == ""

    run_here(main)


def test_a_room_made_anew_while_those_of_another_are_deleted_stays(
    run_here: Runner, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            rooms, peer = rooms_of(hub), await Peer.join(hub, name="ann")
            for name in ("first", "second"):
                assert await make(peer, name) == ""
            maker, delete = rooms.find("first").maker, rooms.delete

            async def deleting(room: Room, *, by: str) -> int:
                count = await delete(room, by=by)
                if room.name == "first":
                    await delete(rooms.find("second"), by=by)
                    rooms.create("second", made_by="an operator")
                return count

            monkeypatch.setattr(rooms, "delete", deleting)
            assert await keeping.delete_all_of(rooms, maker, by="test") == ["first"]
            assert rooms.find("second").maker == ""
            await peer.close()

    run_here(main)


def test_a_room_ends_that_nobody_uses(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub, operate(hub.settings.control) as operator:
            rooms, peer = rooms_of(hub), await Peer.join(hub, name="ann")
            await operator.request("room_create", room="of-an-operator")
            for name in ("used", "spoken-in", "unused"):
                await peer.ask("join", room=name, create={"durable": True})
            spoken = rooms.find("spoken-in")
            rooms.publish(spoken, next(iter(spoken.seats.values())), 1, b"hello")
            await eventually(lambda: spoken.last == 1)
            for name in ("spoken-in", "unused"):
                await peer.ask("leave", room=name)
            assert await end_unused(rooms, set(rooms)) == set(), "a new one has its time"
            for room in rooms:
                room.created -= UNUSED_FOR
            seen = await end_unused(rooms, set())
            assert [room.name for room in seen] == ["unused"]
            assert await end_unused(rooms, seen) == set()
            assert set(rooms.rooms) == {"of-an-operator", "used", "spoken-in"}
            await peer.close()

    run_here(main)
