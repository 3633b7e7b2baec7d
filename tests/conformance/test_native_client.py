"""Native clients of a real hub: streams as channels, requests, presence, sessions that come back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from native_hub import running_hub
from support import Runner, eventually

import jackfield
from jackfield.hub import connect
from jackfield.native import PeerRefused, RequestRefused, StreamChannel
from jackfield.testing.conformance import Check, Traits, battery


@contextlib.asynccontextmanager
async def two_clients(directory: Path, address: str = "tcp://127.0.0.1:0") -> AsyncIterator[tuple[Any, Any]]:
    async with running_hub(directory, f"{address}?protocol=native") as hub:
        where = hub.listeners[0][0].address
        async with connect(where, name="alice") as alice, connect(where, name="bob") as bob:
            yield alice, bob


@contextlib.asynccontextmanager
async def two_ends(directory: Path) -> AsyncIterator[tuple[StreamChannel, StreamChannel]]:
    async with two_clients(directory) as (alice, bob):
        taking = asyncio.ensure_future(anext(bob.channels()))
        left, right = await alice.open("bob"), await taking
        yield left, right
        left.abort()
        right.abort()


@pytest.mark.parametrize("check", battery(Traits()), ids=str)
def test_streams_pass_the_public_battery(run: Runner, directory: Path, check: Check) -> None:
    run(lambda: check(lambda: two_ends(directory)), limit=40.0)


ADDRESSES = ["tcp://127.0.0.1:0", "unix://{}/hub", "unix+seqpacket://{}/hub"]


@pytest.mark.parametrize("address", ADDRESSES)
def test_over_every_transport(run: Runner, directory: Path, address: str) -> None:
    async def main() -> None:
        async with two_clients(directory, address.format(directory)) as (alice, bob):

            async def shout(channel: StreamChannel) -> None:
                async for message in channel:
                    await channel.send(message.upper())

            async with bob.serving(shout), await alice.open("bob") as channel:
                assert await channel.request(b"hello", timeout=10.0) == b"HELLO"
                large = bytes(1_000_000)
                assert await channel.request(large, timeout=20.0) == large

    run(main)


def test_requests_are_answered_in_any_order(run: Runner, directory: Path) -> None:
    async def main() -> None:
        async with two_clients(directory) as (alice, bob):
            gates = {b"%d" % number: asyncio.Event() for number in range(50)}

            async def answer(peer: Any, data: bytes) -> bytes:
                await gates[data].wait()
                return data + b" for " + peer.name.encode()

            async with bob.answering(answer):
                asked = [asyncio.create_task(alice.request("bob", data)) for data in gates]
                for gate in reversed(list(gates.values())):
                    gate.set()
                answers = await asyncio.gather(*asked)
            assert answers == [data + b" for alice" for data in gates]

    run(main)


def test_a_question_that_cannot_be_answered(run: Runner, directory: Path) -> None:
    async def main() -> None:
        async with two_clients(directory) as (alice, bob):

            def answer(peer: Any, data: bytes) -> bytes:
                if data == b"odd":
                    raise ValueError("no idea\x1b[0m")
                return data

            with pytest.raises(TimeoutError, match="bob has not answered within"):
                await alice.request("bob", b"nobody takes it yet", timeout=0.05)
            async with bob.answering(answer):
                with pytest.raises(RequestRefused, match=r"bob could not answer: no idea\\x1b\[0m"):
                    await alice.request("bob", b"odd", timeout=10.0)
                assert await alice.request("bob", b"even", timeout=10.0) == b"even"
            with pytest.raises(PeerRefused, match="no_such_peer") as caught:
                await alice.request("carol", b"there?", timeout=10.0)
            assert caught.value.code == "no_such_peer"

    run(main)


def test_who_leaves_before_answering_is_lost(run: Runner, directory: Path) -> None:
    async def main() -> None:
        async with two_clients(directory) as (alice, bob):
            asked = asyncio.Event()

            async def answer(peer: Any, data: bytes) -> bytes:
                asked.set()
                await asyncio.Event().wait()
                return b""

            async with bob.answering(answer):
                asking = asyncio.create_task(alice.request("bob", b"?", timeout=10.0))
                await asked.wait()
                await bob.close()
                with pytest.raises(jackfield.ChannelLost):
                    await asking

    run(main)


def test_who_is_there(run: Runner, directory: Path) -> None:
    async def main() -> None:
        async with two_clients(directory) as (alice, _):
            found = await alice.clients()
            assert [(each.name, each.native, each.services) for each in found] == [
                (name, True, ("channel", "request")) for name in ("alice", "bob")
            ]
            assert [each.name for each in await alice.clients("bob")] == ["bob"]
            changes = alice.watch()
            first = asyncio.ensure_future(anext(changes))
            await alice.clients()  # answered behind `watch`
            async with connect(alice.address, name="carol"):
                change = await first
                assert (change.kind, change.person.name) == ("came", "carol")
            while (change := await anext(changes)).kind != "went":
                pass
            assert change.person.name == "carol"
            assert change.person.native
            assert change.person.services == ("channel", "request")
            await changes.aclose()

    run(main)


def test_who_answers_no_questions_says_so(run: Runner, directory: Path) -> None:
    """A client that never answers, and one that has stopped to."""

    async def main() -> None:
        async with two_clients(directory) as (alice, bob):
            with pytest.raises(PeerRefused, match="it answers no questions") as refused:
                await alice.request("bob", b"?", timeout=30.0)
            assert refused.value.code == "no_such_service"
            asked = asyncio.Event()

            async def ponder(peer: Any, data: bytes) -> bytes:
                asked.set()
                return await asyncio.Future()

            async with bob.answering(ponder):
                asking = asyncio.ensure_future(alice.request("bob", b"?", timeout=30.0))
                await asked.wait()
            with pytest.raises(jackfield.ChannelLost, match="it answers no more questions"):
                await asking
            async with bob.answering(lambda peer, data: data.upper()):
                assert await alice.request("bob", "ä", timeout=30.0) == "ä".encode()

    run(main)


def test_a_plain_client_is_a_channel(run: Runner, directory: Path) -> None:
    async def main() -> None:
        addresses = ["tcp://127.0.0.1:0?protocol=native", "tcp://127.0.0.1:0"]
        async with running_hub(directory, *addresses) as hub:
            where, plain = (listener.address for listener, _ in hub.listeners[:2])
            async with connect(where, name="alice") as alice, jackfield.connect(plain) as device:
                await eventually(lambda: len(hub) == 2)
                other = next(each for each in await alice.clients() if not each.native)
                async with await alice.open(other.id) as channel:
                    await channel.send(b"status?\n")
                    assert await device.receive_until(b"\n", timeout=10.0) == b"status?"
                    await device.send(b"all well\n")
                    assert await channel.receive(timeout=10.0) == b"all well\n"

    run(main)
