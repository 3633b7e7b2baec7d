"""Messages between native clients, and those that wait for who is absent, over real sockets."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from native_peer import CONTROL, Peer, native_of, running_hub
from support import Runner, eventually

from jackfield.hub.native import contents
from jackfield.hub.server import Hub


async def acknowledge(peer: Peer) -> dict[str, Any]:
    """The next message, which is acknowledged."""
    message = await peer.event("message")
    peer.control(type="delivered", number=message["number"])
    return message


async def known_and_absent(hub: Hub, name: str) -> None:
    peer = await Peer.join(hub, name=name)
    await peer.close()
    await eventually(lambda: name in [each["name"] for each in hub.identities.absent()])


def waiting(hub: Hub, name: str) -> int:
    return next((each.get("waiting", 0) for each in hub.identities.absent() if each["name"] == name), 0)


def test_a_message_is_delivered_once_the_recipient_says_so(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            alice, bob = await Peer.join(hub, name="alice"), await Peer.join(hub, name="bob")
            asking = asyncio.create_task(alice.ask("message", to="bob", text="hello", sequence=1))
            message = await acknowledge(bob)
            assert message["from"] == {"id": alice.welcome["id"], "name": "alice"}
            assert message["text"] == "hello"
            assert (await asking)["state"] == "delivered"
            await eventually(lambda: not native_of(hub).mail.counts)
            for peer in (alice, bob):
                await peer.close()

    run_here(main)


def test_what_waited_comes_in_order_and_once(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            await known_and_absent(hub, "bob")
            alice = await Peer.join(hub, name="alice")
            for sequence in range(1, 101):
                answer = await alice.ask("message", to="bob", text=f"{sequence}", sequence=sequence)
                assert answer["state"] == "waiting"
            again = await alice.ask("message", to="bob", text="7", sequence=7)
            assert again["state"] == "waiting", "it is the same message"
            assert waiting(hub, "bob") == 100
            bob = await Peer.join(hub, name="bob")
            assert [(await acknowledge(bob))["text"] for _ in range(100)] == [str(n) for n in range(1, 101)]
            await eventually(lambda: not native_of(hub).mail.counts)
            assert (await alice.ask("message", to="bob", text="7", sequence=7))["state"] == "delivered"
            assert (await bob.ask("clients"))["type"] == "ok"
            assert not [frame for frame in bob.frames if b'"message"' in frame[3]]
            for peer in (alice, bob):
                await peer.close()

    run_here(main)


def test_what_was_not_acknowledged_comes_again_with_its_number(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            await known_and_absent(hub, "bob")
            alice = await Peer.join(hub, name="alice")
            for sequence in (1, 2):
                await alice.ask("message", to="bob", text=f"{sequence}", sequence=sequence)
            bob = await Peer.join(hub, name="bob")
            first, second = await acknowledge(bob), await bob.event("message")
            await eventually(lambda: hub.view(int(bob.welcome["id"]))["waiting"] == 1)  # type: ignore[index]
            bob.abort()
            await eventually(lambda: waiting(hub, "bob") == 1)
            bob = await Peer.join(hub, name="bob")
            again = await acknowledge(bob)
            assert (again["number"], again["text"]) == (second["number"], "2")
            assert again["number"] > first["number"]
            await eventually(lambda: not native_of(hub).mail.counts)
            for peer in (alice, bob):
                await peer.close()

    run_here(main)


def test_bytes_are_carried_as_they_are(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            alice, bob = await Peer.join(hub, name="alice"), await Peer.join(hub, name="bob")
            alice.control(type="message", n=1, to=bob.welcome["id"], data="AP8=", sequence=1)
            assert (await acknowledge(bob))["data"] == "AP8="
            for peer in (alice, bob):
                await peer.close()

    run_here(main)


def test_a_client_without_a_name_gets_messages_while_it_is_there(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            alice, other = await Peer.join(hub, name="alice"), await Peer.join(hub)
            to = other.welcome["name"]
            asking = asyncio.create_task(alice.ask("message", to=to, text="hello", sequence=1))
            assert (await acknowledge(other))["text"] == "hello"
            assert (await asking)["state"] == "delivered"
            await other.close()
            await eventually(lambda: len(hub) == 1)
            assert (await alice.ask("message", to=to, text="hello", sequence=2))["code"] == "no_such_peer"
            await alice.close()

    run_here(main)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"to": "nobody", "text": "x", "sequence": 1}, "no_such_peer"),
        ({"to": "alice", "sequence": 1}, "bad_request"),
        ({"to": "alice", "text": "x", "data": "AA==", "sequence": 1}, "bad_request"),
        ({"to": "alice", "data": "not base64", "sequence": 1}, "bad_request"),
        ({"to": "alice", "text": "x"}, "bad_request"),
        ({"to": "alice", "text": "x", "sequence": 0}, "bad_request"),
        ({"to": [], "text": "x", "sequence": 1}, "bad_request"),
        ({"to": "alice", "text": "x", "sequence": 1, "expires": -1}, "bad_request"),
        ({"to": "alice", "text": "x" * (contents.LONGEST + 1), "sequence": 1}, "refused"),
    ],
)
def test_a_message_that_cannot_be_is_refused(
    run_here: Runner, directory: Path, arguments: dict[str, Any], code: str
) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            alice = await Peer.join(hub, name="alice")
            assert (await alice.ask("message", **arguments))["code"] == code
            await alice.close()

    run_here(main)


def test_a_message_that_json_makes_too_long_is_refused_and_stops_no_other(
    run_here: Runner, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            await known_and_absent(hub, "bob")
            alice = await Peer.join(hub, name="alice")
            # With a lone surrogate each character is an escape of six bytes: 65,500 with the sender.
            text = "\ud800" + "\u00e9" * 10_909
            said = f'{{"type":"message","n":1,"to":"bob","sequence":1,"text":"\\ud800{text[1:]}"}}'
            alice.send(0, CONTROL, said.encode())
            alice.number = 1
            refused = await alice.control_where(lambda body: body.get("n") == 1)
            assert (refused["code"], refused["hint"]) == ("refused", "send it as 'data'")
            monkeypatch.setattr(contents, "LONGEST_BODY", 65_536)  # as one that came to the disk before
            alice.send(
                0, CONTROL, said.replace('"sequence":1', '"sequence":2').replace('"n":1', '"n":2').encode()
            )
            assert (await alice.control_where(lambda body: body.get("n") == 2))["state"] == "waiting"
            alice.number = 2
            await alice.ask("message", to="bob", text="hello", sequence=3)
            bob = await Peer.join(hub, name="bob")
            assert (await acknowledge(bob))["text"] == "hello"
            await eventually(lambda: not native_of(hub).mail.counts)
            for peer in (alice, bob):
                await peer.close()

    run_here(main)


def test_what_waits_is_bounded_for_each_and_in_all(
    run_here: Runner, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jackfield.hub.rooms.memory_store.MOST_WAITING", 3)
    monkeypatch.setattr("jackfield.hub.native.mail.MOST_LETTERS", 4)

    async def main() -> None:
        async with running_hub(directory) as hub:
            for name in ("bob", "carol"):
                await known_and_absent(hub, name)
            alice = await Peer.join(hub, name="alice")
            states = []
            for sequence, to in enumerate(("bob", "bob", "bob", "bob", "carol", "carol"), 1):
                answer = await alice.ask("message", to=to, text="x", sequence=sequence)
                states.append(answer.get("state") or answer["code"])
            assert states == ["waiting"] * 3 + ["overloaded", "waiting", "overloaded"]
            await alice.close()

    run_here(main)


def test_what_waits_too_long_expires_and_is_told_of(
    run_here: Runner, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jackfield.hub.native.mail.LOOK_EVERY", 0.05)

    async def main() -> None:
        async with running_hub(directory) as hub:
            await known_and_absent(hub, "bob")
            alice = await Peer.join(hub, name="alice")
            await alice.ask("message", to="bob", text="soon gone", sequence=1, expires=0.01)
            await alice.ask("message", to="bob", text="stays", sequence=2)
            await eventually(lambda: waiting(hub, "bob") == 1)
            assert [event for event in hub.journal.last(100) if event.kind == "mail_expired"]
            bob = await Peer.join(hub, name="bob")
            assert (await acknowledge(bob))["text"] == "stays"
            for peer in (alice, bob):
                await peer.close()

    run_here(main)


def test_a_plain_client_gets_what_waited_as_bytes_once(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        listeners = (
            "tcp://127.0.0.1:0?protocol=native",
            "tcp://127.0.0.1:0?identify=id%3D(%5Cw%2B)&framing=line",
        )
        async with running_hub(directory, *listeners) as hub:
            plain = await Peer.connect(hub, listener=1)
            plain.writer.write(b"id=dev1\n")
            await eventually(lambda: hub.by_name("dev1") is not None)
            await plain.close()
            await eventually(lambda: len(hub) == 0)
            alice = await Peer.join(hub, name="alice")
            for sequence, text in enumerate(("on", "off"), 1):
                answer = await alice.ask("message", to="dev1", text=text, sequence=sequence)
                assert answer["state"] == "waiting"
            for expected in (b"on\noff\n", b"now\n"):
                plain = await Peer.connect(hub, listener=1)
                plain.writer.write(b"id=dev1\n")
                await eventually(lambda: hub.by_name("dev1") is not None)
                if expected == b"now\n":
                    answer = await alice.ask("message", to="dev1", text="now", sequence=3)
                    assert answer["state"] == "delivered"
                assert await asyncio.wait_for(plain.reader.readexactly(len(expected)), 10) == expected
                await plain.close()
                await eventually(lambda: len(hub) == 1)
            await alice.close()

    run_here(main)
