"""A client is back before the hub knows that it was away, in every order; and what the hub did meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from native_peer import CREDIT, DATA, Peer, native_of, running_hub
from support import Runner, eventually

from jackfield.hub.native import NativeSession
from jackfield.hub.native.session import ENDED
from jackfield.hub.rooms.rooms import Rooms
from jackfield.hub.server import Hub
from jackfield.native import connect


def session_of(hub: Hub, peer: Peer) -> NativeSession:
    found = native_of(hub).of_id(peer.welcome["session"]["id"])
    assert found is not None
    return found


async def away(hub: Hub, peer: Peer) -> NativeSession:
    """Its connection is lost, and the hub knows."""
    session = session_of(hub, peer)
    peer.abort()
    await eventually(lambda: not session.is_connected)
    return session


async def resumed(hub: Hub, peer: Peer, name: str) -> Peer:
    again = await peer.back(hub, name=name)
    assert (await again.welcomed())["session"]["resumed"] is True
    again.counted = peer.counted
    return again


# What the hub does while a client is away -------------------------------------------------------


def test_a_request_that_is_done_while_its_client_is_away_is_answered(
    run_here: Runner, directory: Path
) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            alice = await Peer.join(hub, name="alice")
            hub.gate.clear()
            alice.control(type="clients", n=7)
            await eventually(lambda: session_of(hub, alice).pending == 1)
            session = await away(hub, alice)
            hub.gate.set()
            await eventually(lambda: session.pending == 0)
            again = await resumed(hub, alice, "alice")
            answer = await again.control_where(lambda body: body.get("n") == 7)
            assert answer["type"] == "ok"
            await again.close()

    run_here(main)


def test_a_watch_that_begins_while_its_client_is_away_tells_what_was_missed(
    run_here: Runner, directory: Path
) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            alice = await Peer.join(hub, name="alice")
            hub.gate.clear()
            alice.control(type="watch", n=1, on=True)
            await eventually(lambda: session_of(hub, alice).pending == 1)
            session = await away(hub, alice)
            hub.gate.set()
            await eventually(lambda: session.pending == 0)
            bob = await Peer.join(hub, name="bob")
            again = await resumed(hub, alice, "alice")
            assert (await again.event("many"))["count"] >= 1
            await bob.close()
            assert (await again.event("went"))["client"]["name"] == "bob"
            await again.close()

    run_here(main)


def test_a_watch_of_a_session_that_has_ended_leaves_nothing_behind(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            alice = await Peer.join(hub, name="alice")
            session = session_of(hub, alice)
            hub.gate.clear()
            alice.control(type="watch", n=1, on=True)
            alice.control(type="bye")
            await eventually(lambda: session.pending == 1 and session.is_leaving)
            await alice.close()
            await eventually(lambda: session.state == ENDED)
            hub.gate.set()
            await eventually(lambda: session.pending == 0)
            presence = native_of(hub).presence
            assert not presence._watching
            assert not presence._away

    run_here(main)


@pytest.mark.parametrize("durable", [True, False])
def test_a_room_that_is_joined_while_its_client_is_away_is_joined(
    run_here: Runner, directory: Path, *, durable: bool
) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            alice, bob = await Peer.join(hub, name="alice"), await Peer.join(hub, name="bob")
            hub.gate.clear()
            alice.control(type="join", n=1, room="ops", create={"durable": durable})
            await eventually(lambda: session_of(hub, alice).pending == 1)
            session = await away(hub, alice)
            hub.gate.set()
            await eventually(lambda: session.pending == 0)
            his = await bob.ask("join", room="ops")
            assert [(each["name"], each["state"]) for each in his["members"]] == [
                ("alice", "away"), ("bob", "here"),
            ]  # fmt: skip
            again = await resumed(hub, alice, "alice")
            answer = await again.control_where(lambda body: body.get("n") == 1)
            came = await again.event("room_joined")
            assert [each["name"] for each in came["members"]] == ["bob"]
            bob.send(his["stream"], DATA, struct.pack(">Q", 1) + b"hello")
            heard = await again.where(lambda stream, kind, flags, _: (stream, flags) == (answer["stream"], 2))
            assert heard[3].endswith(b"hello")
            again.send(answer["stream"], DATA, struct.pack(">Q", 1) + b"and hello")
            heard = await bob.where(lambda stream, kind, flags, payload: payload.endswith(b"and hello"))
            for peer in (again, bob):
                await peer.close()

    run_here(main)


def test_nobody_is_in_a_room_whose_session_had_ended_before(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            native_of(hub).held_for = 0.0
            alice = await Peer.join(hub, name="alice")
            session = session_of(hub, alice)
            hub.gate.clear()
            alice.control(type="join", n=1, room="ops", create={"durable": True})
            await eventually(lambda: session.pending == 1)
            await away(hub, alice)
            await eventually(lambda: session.state == "ended")
            hub.gate.set()
            await eventually(lambda: session.pending == 0)
            rooms = hub.part(Rooms)
            assert rooms is not None
            assert not rooms.rooms["ops"].seats

    run_here(main)


def test_credit_that_is_due_while_a_member_is_away_comes_with_it(
    run_here: Runner, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            rooms = hub.part(Rooms)
            assert rooms is not None
            alice = await Peer.join(hub, name="alice")
            joined = await alice.ask("join", room="ops", create={"durable": True})
            held_up, append = asyncio.Event(), hub.store.append

            async def later(*arguments: Any) -> Any:
                await held_up.wait()
                return await append(*arguments)

            monkeypatch.setattr(hub.store, "append", later)
            alice.send(joined["stream"], DATA, struct.pack(">Q", 1) + b"x" * 1000)
            place = rooms.native.place_of(session_of(hub, alice), rooms.rooms["ops"])
            await eventually(lambda: place.waiting)
            await away(hub, alice)
            held_up.set()
            await eventually(lambda: not place.waiting)
            again = await resumed(hub, alice, "alice")
            assert await again.on(joined["stream"], DATA) == struct.pack(">QQ", 1, 1)
            assert await again.on(joined["stream"], CREDIT) == struct.pack(">I", 1000 + 8 + 16)
            await again.close()

    run_here(main)


def test_who_watched_before_it_was_away_watches_on_and_learns_how_much_it_missed(
    run_here: Runner, directory: Path
) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            alice = await Peer.join(hub, name="alice")
            await alice.ask("watch", on=True)
            await away(hub, alice)
            bob = await Peer.join(hub, name="bob")
            again = await resumed(hub, alice, "alice")
            assert (await again.event("many"))["count"] >= 2  # he, and she herself
            carol = await Peer.join(hub, name="carol")
            came = await again.control_where(
                lambda body: body["type"] == "came" and body["client"]["name"] == "carol"
            )
            assert came["client"]["native"] is True
            for peer in (again, bob, carol):
                await peer.close()

    run_here(main)


def test_a_program_that_watches_does_so_over_another_session(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            address = str(hub.listeners[0][0].address.without_options())
            async with connect(address, name="alice", reconnect="1ms..10ms") as alice:
                seen: list[str] = []

                async def watch() -> None:
                    async for change in alice.watch():
                        seen.append(change.person.name)

                watching = asyncio.create_task(watch())
                await eventually(lambda: native_of(hub).presence._watching)
                before = alice.welcome["session"]["id"]
                (member,) = hub.group.members()
                hub.let_go(member, "cut", 0.0)
                await eventually(lambda: alice.welcome["session"]["id"] != before)
                await eventually(lambda: native_of(hub).presence._watching)
                async with connect(address, name="bob"):
                    await eventually(lambda: "bob" in seen)
                watching.cancel()

    run_here(main)


# Who has the session ----------------------------------------------------------------------------


def test_what_was_said_over_an_earlier_connection_takes_nothing_from_a_later_one(
    run_here: Runner, directory: Path
) -> None:
    """The hub was stopped: it reads both at once, in any order."""

    async def main() -> None:
        async with running_hub(directory) as hub:
            alice, bob = await Peer.join(hub, name="alice"), await Peer.join(hub, name="bob")
            alice.open(1, "bob")
            stream, _ = await bob.opened()
            bob.send(stream, CREDIT, struct.pack(">I", 60_000))
            await alice.on(1, CREDIT)
            abandoned = await Peer.connect(hub)
            await eventually(lambda: len(hub) == 3)
            later = await resumed(hub, alice, "alice")
            session = {key: alice.welcome["session"][key] for key in ("id", "key")}
            abandoned.hello(name="alice", session={**session, "received": 0})
            assert (await abandoned.event("error"))["code"] == "handshake_timeout"
            later.send(1, DATA, b"still here")
            assert await bob.on(stream, DATA) == b"still here"
            for peer in (later, bob, abandoned):
                await peer.close()

    run_here(main)


def test_a_connection_that_was_ended_without_a_word_leaves_no_ghost(
    run_here: Runner, directory: Path
) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            alice = await Peer.join(hub, name="alice")
            (member,) = hub.group.members()
            member.abort()
            again = await alice.back(hub, name="alice")
            assert (await again.welcomed())["session"]["resumed"] is False
            assert [each.id for each in native_of(hub).sessions.values()] == [again.welcome["session"]["id"]]
            assert native_of(hub).of_id(alice.welcome["session"]["id"]) is None
            await again.close()

    run_here(main)


class HalfOpen:
    """A way to a hub that breaks on the client's side alone: the hub's side stands until the end."""

    def __init__(self, host: str, port: int) -> None:
        self._hub = host, port
        self._ours: list[asyncio.StreamWriter] = []
        self._all: list[asyncio.StreamWriter] = []
        self.connections = 0

    async def accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to_hub = await asyncio.open_connection(*self._hub)
        self.connections += 1
        self._ours.append(writer)
        self._all += [writer, to_hub]
        back = asyncio.create_task(self._pass(there, writer))
        with contextlib.suppress(OSError):
            await self._pass(reader, to_hub)
        await back

    @staticmethod
    async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)

    def cut(self) -> None:
        for writer in self._ours:
            writer.transport.abort()
        self._ours.clear()

    def end(self) -> None:
        for writer in self._all:
            writer.transport.abort()


@contextlib.asynccontextmanager
async def half_open(hub: Hub) -> AsyncIterator[tuple[str, HalfOpen]]:
    address = hub.listeners[0][0].address
    assert address.host is not None
    assert address.port is not None
    way = HalfOpen(address.host, address.port)
    server = await asyncio.start_server(way.accepted, "127.0.0.1", 0)
    try:
        yield f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}", way
    finally:
        way.end()
        server.close()


def test_cuts_that_the_hub_does_not_see_cost_no_session(run_here: Runner, directory: Path) -> None:
    """Everything that a client does goes on over one that comes in the middle of it."""

    async def main() -> None:
        async with running_hub(directory) as hub, half_open(hub) as (address, way):
            direct = str(hub.listeners[0][0].address.without_options())
            async with (
                connect(address, name="alice", reconnect="1ms..5ms") as alice,
                connect(direct, name="bob") as bob,
                bob.room("ops", create=True) as his,
                alice.room("ops") as hers,
            ):

                async def answer(peer: Any, data: bytes) -> bytes:
                    return data + b"!"

                async with bob.answering(answer):
                    session = alice.welcome["session"]["id"]
                    for turn in range(30):
                        said = [asyncio.create_task(hers.publish(f"{turn} {each}")) for each in range(5)]
                        asked = asyncio.create_task(alice.request("bob", f"{turn}", timeout=20.0))
                        listed = asyncio.create_task(alice.clients())
                        opening = asyncio.create_task(alice.open("bob", service="channel", timeout=20.0))
                        for _ in range(turn % 4):
                            await asyncio.sleep(0)
                        way.cut()
                        async with asyncio.timeout(20):
                            taken = await anext(bob.channels())
                            assert await asked == b"%d!" % turn
                            assert {each.name for each in await listed} >= {"alice", "bob"}
                            await asyncio.gather(*said)
                            async with await opening, taken:
                                pass
                    assert way.connections > 20
                    assert alice.welcome["session"]["id"] == session
                    async with asyncio.timeout(20):
                        heard = [(await his.receive()).text for _ in range(150)]
                        again = [(await hers.receive()).text for _ in range(150)]
                    assert heard == again == [f"{turn} {each}" for turn in range(30) for each in range(5)]

    run_here(main)
