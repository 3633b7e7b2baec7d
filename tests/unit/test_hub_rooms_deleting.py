"""Deleted rooms: nothing of them stays, and nothing of a new room of the name goes with them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from native_peer import Peer, running_hub
from support import Runner, eventually
from test_hub_rooms_native import member, rooms_of

from jackfield.hub.operator import operate
from jackfield.hub.protocol import RequestError
from jackfield.hub.rooms.store import StoreError
from jackfield.hub.state_file import read_kind


class Held:
    """A call of the store or the state that waits for `gate`, and then happens."""

    def __init__(self, owner: object, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gate, self.begun = asyncio.Event(), asyncio.Event()
        call = getattr(owner, name)

        async def held(*arguments: Any, **more: Any) -> Any:
            self.begun.set()
            await self.gate.wait()
            return await call(*arguments, **more)

        monkeypatch.setattr(owner, name, held)


@pytest.mark.parametrize("lasting", [False, True])
def test_a_new_room_of_the_name_keeps_what_is_said_in_it(
    run_here: Runner, directory: Path, monkeypatch: pytest.MonkeyPatch, lasting: bool
) -> None:
    async def main() -> None:
        state = directory / "hub.db" if lasting else None
        async with running_hub(directory, state=state) as hub:
            rooms = rooms_of(hub)
            old = await member(hub, "alice")
            old.publish(1, b"before")
            await old.stored()
            held = Held(hub.store, "remove_room", monkeypatch)
            deleting = asyncio.create_task(rooms.delete(rooms.rooms["ops"], by="test"))
            await held.begun.wait()
            bob = await Peer.join(hub, name="bob")
            joining = asyncio.create_task(bob.ask("join", room="ops", create={}))
            await eventually(lambda: "ops" in rooms.rooms)
            again = asyncio.create_task(rooms.delete(rooms.rooms["ops"], by="test"))
            third = asyncio.create_task(member(hub, "carol"))
            await eventually(lambda: "ops" in rooms.rooms)
            assert not joining.done()
            held.gate.set()
            assert (await deleting, await again) == (1, 0)
            assert (await joining)["code"] == "no_such_room"  # that one was deleted, too
            new = await third
            new.publish(1, b"after")
            assert await new.stored() == (1, 1)
            assert [facts.last for facts in await hub.store.rooms()] == [1]
            page = await hub.store.read("ops")
            assert [each.body for each in page.messages] == [b"after"]
            assert hub.state.load("deleted_room") == {}
            for peer in (old.peer, bob, new.peer):
                await peer.close()

    run_here(main)


def test_what_was_said_last_goes_with_the_room(
    run_here: Runner, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            rooms = rooms_of(hub)
            alice = await member(hub, "alice")
            held = Held(hub.store, "append_runs", monkeypatch)
            alice.publish(1, b"on its way")
            await held.begun.wait()
            deleting = asyncio.create_task(rooms.delete(rooms.rooms["ops"], by="test"))
            await eventually(lambda: "ops" not in rooms.rooms)
            entering = asyncio.create_task(member(hub, "bob"))
            await eventually(lambda: "ops" in rooms.rooms)
            held.gate.set()
            assert await deleting == 1
            assert (await entering).joined["last"] == 0
            assert (await hub.store.read("ops")).messages == []
            await alice.peer.close()

    run_here(main)


def test_a_name_is_on_disk_before_anything_goes_and_crossed_out_before_a_new_room_is_there(
    run_here: Runner, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at any moment: the next hub neither keeps the old room nor takes away a new one."""
    state = directory / "hub.db"

    def written() -> bool:
        return "ops" in dict(read_kind(state, "deleted_room"))

    async def main() -> None:
        async with running_hub(directory, state=state) as hub:
            rooms = rooms_of(hub)
            alice = await member(hub, "alice")
            await hub.state.flush()
            removing = Held(hub.store, "remove_room", monkeypatch)
            deleting = asyncio.create_task(rooms.delete(rooms.rooms["ops"], by="test"))
            await removing.begun.wait()
            assert written()
            opening = Held(hub.store, "open_room", monkeypatch)
            entering = asyncio.create_task(member(hub, "bob"))
            removing.gate.set()
            await opening.begun.wait()
            assert not written()
            opening.gate.set()
            await deleting
            for each in (alice, await entering):
                await each.peer.close()

    run_here(main)


def test_what_could_not_be_deleted_is_deleted_later(
    run_here: Runner, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the next look, before a new room is opened, or by the next hub with this state."""
    state = directory / "hub.db"

    async def refuse(name: str) -> None:
        raise StoreError(f"the disk is full for {name}")

    async def main() -> None:
        async with running_hub(directory, state=state) as hub, operate(hub.settings.control) as operator:
            rooms = rooms_of(hub)
            remove = hub.store.remove_room
            for name in ("first", "second", "third"):
                alice = await member(hub, "alice", name)
                alice.publish(1, b"secret")
                await alice.stored()
                await alice.peer.close()
                monkeypatch.setattr(hub.store, "remove_room", refuse)
                with pytest.raises(RequestError, match="the disk is full"):
                    await operator.request("room_delete", room=name)
                monkeypatch.setattr(hub.store, "remove_room", remove)
            await eventually(lambda: not rooms.rooms)
            assert [facts.name for facts in await hub.store.rooms()] == ["first", "second", "third"]
            bob = await member(hub, "bob", "first")
            assert bob.joined["last"] == 0
            monkeypatch.setattr(hub.store, "remove_room", refuse)
            await rooms.removals.retry()
            monkeypatch.setattr(hub.store, "remove_room", remove)
            assert set(hub.state.load("deleted_room")) == {"second", "third"}
            await rooms.delete(rooms.find("first"), by="test")
            await bob.peer.close()
            (tasks := rooms.removals._tasks)["second"].result()
            await rooms.removals.ended("second")
            assert set(tasks) == {"third"}
        async with running_hub(directory, state=state) as hub:
            await rooms_of(hub).removals.ended("third")
            assert await hub.store.rooms() == []
            assert hub.state.load("deleted_room") == {}

    run_here(main)
