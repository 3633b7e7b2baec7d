"""Sessions that outlive their connections, and what is said at the end of a hub, over real sockets."""

from __future__ import annotations

import asyncio
import struct
from pathlib import Path
from typing import Any

import pytest
from native_peer import CREDIT, DATA, RESET, Peer, native_of, running_hub
from support import Runner, eventually

from jackfield.hub.native import Follower, NativeSession, held, part
from jackfield.hub.server import Hub

GRANT = struct.pack(">I", 60_000)


async def linked(hub: Hub) -> tuple[Peer, Peer, int]:
    """Alice with a stream 1 to Bob, who has it under the number that comes third."""
    alice, bob = await Peer.join(hub, name="alice"), await Peer.join(hub, name="bob")
    alice.open(1, "bob")
    stream, _ = await bob.opened()
    bob.send(stream, CREDIT, GRANT)
    await alice.on(1, CREDIT)
    return alice, bob, stream


def test_a_session_goes_on_with_its_streams_and_nothing_is_lost_or_doubled(
    run_here: Runner, directory: Path
) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            alice, bob, stream = await linked(hub)
            alice.send(1, DATA, b"before")
            assert await bob.on(stream, DATA) == b"before"
            alice.abort()
            await eventually(lambda: len(native_of(hub).sessions) == 1)
            bob.send(stream, DATA, b"while away")
            again = await alice.back(hub, name="alice")
            welcome = await again.welcomed()
            assert (welcome["session"]["resumed"], welcome["session"]["received"]) == (True, 2)
            assert await again.on(1, DATA) == b"while away"
            again.send(1, DATA, b"after")
            assert await bob.on(stream, DATA) == b"after"
            for peer in (again, bob):
                await peer.close()

    run_here(main)


def test_a_connection_that_is_not_known_to_be_gone_makes_room(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            alice, bob, stream = await linked(hub)
            again = await alice.back(hub, name="alice")
            assert (await again.welcomed())["session"]["resumed"] is True
            await alice.ended()
            bob.send(stream, DATA, b"to the new one")
            assert await again.on(1, DATA) == b"to the new one"
            await eventually(lambda: len(hub) == 2)
            for peer in (again, bob):
                await peer.close()

    run_here(main)


def test_a_session_that_is_not_taken_up_in_time_is_over(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            native_of(hub).held_for = 0.1
            alice, bob, stream = await linked(hub)
            alice.abort()
            assert (await bob.on(stream, RESET))[:4] == struct.pack(">I", 5)
            again = await alice.back(hub, name="alice")
            session = (await again.welcomed())["session"]
            assert session["resumed"] is False
            assert session["id"] != alice.welcome["session"]["id"]
            for peer in (again, bob):
                await peer.close()

    run_here(main)


def test_nobody_pushes_out_the_sessions_of_others(
    run_here: Runner, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "MOST_HELD", 5)

    async def main() -> None:
        async with running_hub(directory) as hub:
            token = hub.security.tokens.create(hub.security.now(), name="alice")[1]
            alice = await Peer.join(hub, token=token)
            alice.abort()
            await eventually(lambda: not native_of(hub).sessions)
            crowd = []
            for number in range(12):
                crowd.append(await Peer.join(hub, name=f"other{number}"))
                crowd[-1].abort()
                await eventually(lambda: not native_of(hub).sessions)
            again = await alice.back(hub, token=token)
            assert (await again.welcomed())["session"]["resumed"] is True
            for number, resumed in ((7, False), (8, True), (11, True)):
                other = await crowd[number].back(hub, name=f"other{number}")
                assert (await other.welcomed())["session"]["resumed"] is resumed
                await other.close()
            await again.close()

    run_here(main)


def test_of_sessions_without_a_connection_those_go_for_which_too_much_is_kept(
    run_here: Runner, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part, "MOST_KEPT", 50_000)
    monkeypatch.setattr(part, "KEPT_OF_ONE", 20_000)

    class Ends(Follower):
        def __init__(self) -> None:
            self.names: list[str] = []

        def ended(self, session: NativeSession, reason: str) -> None:
            self.names.append(session.name)

    async def main() -> None:
        async with running_hub(directory) as hub:
            ends = Ends()
            native_of(hub).follow(ends)
            peers = [await Peer.join(hub, name=name) for name in ("small", "large", "largest")]
            for peer, size in zip(peers, (10, 20_000, 30_000), strict=True):
                assert hub.tell(int(peer.welcome["id"]), b"\xff" * size, by="test", ending=None)
                await peer.event("message")
            for peer in peers:
                peer.abort()
            await eventually(lambda: ends.names == ["largest"])
            for peer, resumed in zip(peers, (True, True, False), strict=True):
                again = await peer.back(hub, name=peer.welcome["name"])
                assert (await again.welcomed())["session"]["resumed"] is resumed
                await again.close()

    run_here(main)


def test_one_owner_pushes_out_its_own_sessions_alone(
    run_here: Runner, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six of one address with 20 kB each, and one of another with 30 kB, where there is room for 80 kB."""
    monkeypatch.setattr(part, "MOST_KEPT", 80_000)
    monkeypatch.setattr(part, "KEPT_OF_ONE", 80_000)

    async def main() -> None:
        async with running_hub(directory) as hub:
            native = native_of(hub)
            greedy = [await Peer.join(hub, local="127.0.0.2", name=f"g{number}") for number in range(6)]
            victim = await Peer.join(hub, name="victim")
            for peer, size in [(victim, 30_000), *((peer, 20_000) for peer in greedy)]:
                assert hub.tell(int(peer.welcome["id"]), b"x" * size, by="test", ending=None)
                await peer.event("message")
            for peer in (*greedy, victim):
                peer.abort()
            await eventually(lambda: not native.sessions and len(native._held) == 3)
            assert [session.name for session in native._held].count("victim") == 1
            again = await victim.back(hub, name="victim")
            assert (await again.welcomed())["session"]["resumed"] is True
            await again.close()

    run_here(main)


def test_whoever_most_is_kept_for_loses_the_largest() -> None:
    class Session:
        def __init__(self, origin: str) -> None:
            self.origin = origin

    a, b = [Session("a") for _ in range(4)], [Session("b") for _ in range(2)]
    kept: Any = dict(zip((*a, *b), (10, 40, 20, 30, 50, 5), strict=True))
    assert held.surplus(kept, 155) == []
    assert held.surplus(kept, 154) == [a[1]], "100 of a, 55 of b"
    assert held.surplus(kept, 100) == [a[1], a[3]]
    assert held.surplus(kept, 70) == [a[1], a[3], b[0]]
    assert len(held.surplus(kept, 0)) == 6


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("fault", ["key", "identity", "received"])
def test_the_session_of_another_is_not_given(
    run_here: Runner, directory: Path, fault: str, *, held: bool
) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            alice = await Peer.join(hub, name="alice")
            if held:
                alice.abort()
                await eventually(lambda: not native_of(hub).sessions)
            thief = await Peer.connect(hub)
            session = {
                "id": alice.welcome["session"]["id"],
                "key": alice.welcome["session"]["key"],
                "received": 0,
            }
            if fault == "key":
                session["key"] = "x" * len(session["key"])
            if fault == "received":
                session["received"] = 1000
            thief.hello(name="mallory" if fault == "identity" else "alice", session=session)
            code = (await thief.event("error"))["code"]
            assert code == ("bad_ack" if fault == "received" else "bad_session")
            await thief.ended()
            if fault != "received":
                back = alice if not held else await alice.back(hub, name="alice")
                if held:
                    assert (await back.welcomed())["session"]["resumed"] is True
                assert (await back.ask("clients"))["type"] == "ok"
                await back.close()

    run_here(main)


def test_who_broke_the_protocol_has_no_session_any_more(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            alice, bob, stream = await linked(hub)
            alice.raw(b"nonsense")
            assert (await alice.event("error"))["code"] == "bad_frame"
            assert (await bob.on(stream, RESET))[:4] == struct.pack(">I", 5)
            again = await alice.back(hub, name="alice")
            assert (await again.welcomed())["session"]["resumed"] is False
            for peer in (again, bob):
                await peer.close()

    run_here(main)


def test_what_becomes_of_sessions_is_told_to_followers(run_here: Runner, directory: Path) -> None:
    class Diary(Follower):
        def __init__(self) -> None:
            self.entries: list[str] = []

        def began(self, session: NativeSession) -> None:
            self.entries.append("began")

        def paused(self, session: NativeSession, reason: str) -> None:
            self.entries.append("paused")

        def resumed(self, session: NativeSession) -> None:
            self.entries.append("resumed")

        def ended(self, session: NativeSession, reason: str) -> None:
            self.entries.append("ended")

    async def main() -> None:
        async with running_hub(directory) as hub:
            diary = Diary()
            native_of(hub).follow(diary)
            alice = await Peer.join(hub, name="alice")
            alice.abort()
            await eventually(lambda: diary.entries[-1] == "paused")
            again = await alice.back(hub, name="alice")
            await again.welcomed()
            hub.kick(int(again.welcome["id"]), reset=False, by="test")
            assert diary.entries == ["began", "paused", "resumed", "ended"]
            await again.ended()

    run_here(main)


def test_a_hub_that_ends_says_so(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            alice = await Peer.join(hub, name="alice")
        going = await alice.event("going")
        assert (going["reason"], going["back"]) == ("the hub ends", False)
        await alice.ended()

    run_here(main)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:0", "unix://{}/a", "unix+seqpacket://{}/b"])
@pytest.mark.parametrize("protocol", ["auto", "native"])
def test_native_clients_come_over_every_transport(
    run_here: Runner, directory: Path, address: str, protocol: str
) -> None:
    async def main() -> None:
        text = f"{address.format(directory)}?protocol={protocol}"
        async with running_hub(directory, text) as hub:
            alice, bob, stream = await linked(hub)
            alice.send(1, DATA, b"x" * 50_000)
            assert await bob.on(stream, DATA) == b"x" * 50_000
            assert len((await alice.ask("clients"))["clients"]) == 2
            for peer in (alice, bob):
                await peer.close()

    run_here(main)


def test_both_kinds_of_clients_meet_on_one_listener(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory, "tcp://127.0.0.1:0") as hub:
            plain = await Peer.connect(hub)
            await eventually(lambda: len(hub) == 1)
            assert hub.tell(1, b"hello", by="test", ending=None)
            assert await asyncio.wait_for(plain.reader.readexactly(6), 10) == b"hello\n"
            alice = await Peer.join(hub, name="alice")
            alice.open(1, "tcp-1")
            credit = struct.unpack(">I", await alice.on(1, CREDIT))[0]
            assert credit > 1000
            alice.send(1, DATA, b"from alice")
            assert await asyncio.wait_for(plain.reader.readexactly(10), 10) == b"from alice"
            plain.writer.write(b"from nc")
            assert await alice.on(1, DATA) == b"from nc"
            await eventually(lambda: [data for _, _, data in hub.memory.all()] == [b"from nc"])
            await plain.close()
            assert (await alice.on(1, RESET))[:4] == struct.pack(">I", 5)
            await alice.close()

    run_here(main)


def test_what_is_said_to_a_newcomer_reaches_it_whatever_it_turns_out_to_be(
    run_here: Runner, directory: Path
) -> None:
    async def main() -> None:
        async with running_hub(directory, "tcp://127.0.0.1:0") as hub:
            native, talker, silent = [await Peer.connect(hub) for _ in range(3)]
            await eventually(lambda: len(hub) == 3)
            for client_id in (1, 2, 3):
                assert hub.tell(client_id, b"welcome", by="script")
            native.hello(name="alice")
            await native.welcomed()
            assert (await native.event("message"))["text"] == "welcome"
            talker.writer.write(b"hi")
            for plain in (talker, silent):
                assert await asyncio.wait_for(plain.reader.readexactly(7), 10) == b"welcome"
            for peer in (native, talker, silent):
                await peer.close()

    run_here(main)
