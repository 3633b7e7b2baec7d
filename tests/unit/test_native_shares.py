"""Whose letters wait: nobody's leave no room for those of others."""

from __future__ import annotations

from pathlib import Path

import pytest
from native_peer import Peer, native_of, running_hub
from support import Runner, eventually

from jackfield.hub.native import shares
from jackfield.hub.native.handshake import Refused
from jackfield.hub.native.shares import BYTES_OF_ONE, LETTERS_OF_ONE, MOST_BYTES, Count, Shares
from jackfield.hub.server import Hub


def test_a_share_is_a_twentieth_in_letters_and_in_bytes() -> None:
    of = Shares()
    of.add("native:ann/1", LETTERS_OF_ONE - 1, 100)
    of.check("native:ann/2", BYTES_OF_ONE - 100, "native:ann")
    with pytest.raises(Refused):
        of.check("native:ann/2", BYTES_OF_ONE, "native:ann")
    of.add("native:ann/2", 1, 1, origin="native:ann")
    with pytest.raises(Refused) as caught:
        of.check("native:ann/2", 1, "native:ann")
    assert caught.value.code == "overloaded"
    of.check("native:ben/1", BYTES_OF_ONE, "native:ben")
    of.remove("native:ann/2", 1)
    of.check("native:ann/2", 1, "native:ann")
    assert BYTES_OF_ONE * 20 <= MOST_BYTES


def test_what_waits_is_counted_to_one_origin_until_the_last_of_it_is_gone() -> None:
    of = Shares()
    of.add("said:ann/1", 1, 10, origin="address:10.0.0.1")
    of.add("said:ann/1", 1, 20, origin="address:10.0.0.2")
    assert of.counts == {"address:10.0.0.1": Count(2, 30)}
    for size in (10, 20):
        of.remove("said:ann/1", size)
    of.remove("said:ann/1", 5)
    assert of.counts == {}


async def known(hub: Hub, *names: str) -> None:
    for name in names:
        await (await Peer.join(hub, name=name)).close()
    await eventually(lambda: {each["name"] for each in hub.identities.absent()} >= set(names))


def test_nobody_fills_the_room_of_all_letters(
    run_here: Runner, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not under many names, and not over a restart of the hub."""
    monkeypatch.setattr(shares, "LETTERS_OF_ONE", 3)
    state = directory / "hub.db"

    async def send(peer: Peer, to: str, sequence: int) -> str:
        answer = await peer.ask("message", to=to, text="x", sequence=sequence)
        return str(answer.get("state") or answer["code"])

    async def main() -> None:
        async with running_hub(directory, state=state) as hub:
            await known(hub, "bob", "carol")
            ann, ben = [
                hub.security.tokens.create(hub.security.now(), name=name)[1] for name in ("ann", "ben")
            ]
            first, second = [await Peer.join(hub, token=ann, instance=each) for each in "12"]
            assert [await send(first, "bob", 1), await send(second, "carol", 1)] == ["waiting"] * 2
            assert [await send(first, "bob", 2), await send(second, "bob", 2)] == ["waiting", "overloaded"]
            assert await send(await Peer.join(hub, token=ben), "bob", 1) == "waiting"
            strangers = [await Peer.join(hub, name=f"other{number}") for number in range(4)]
            sent = [await send(peer, "bob", 1) for peer in strangers]
            assert sent == ["waiting"] * 3 + ["overloaded"], "they come from one address"
        async with running_hub(directory, state=state) as hub:
            first = await Peer.join(hub, token=ann, instance="1")
            assert await send(first, "bob", 3) == "overloaded"
            carol = await Peer.join(hub, name="carol")
            message = await carol.event("message")
            carol.control(type="delivered", number=message["number"])
            await eventually(lambda: native_of(hub).mail.shares.counts["native:ann"].letters == 2)
            assert await send(first, "bob", 3) == "waiting"
            bob = await Peer.join(hub, name="bob")
            for _ in range(7):
                bob.control(type="delivered", number=(await bob.event("message"))["number"])
            await eventually(lambda: not native_of(hub).mail.shares.counts)
            for peer in (first, carol, bob):
                await peer.close()

    run_here(main)
