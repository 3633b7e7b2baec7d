"""Native clients of a hub: greeted, refused, listed, connected to each other, over real sockets."""

from __future__ import annotations

import asyncio
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from native_peer import CONTROL, CREDIT, DATA, MAGIC, OPEN, PING, RESET, Peer, native_of, running_hub
from support import Runner, eventually


def test_a_client_is_welcomed_and_listed(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            peer = await Peer.join(hub, name="alice", agent="test 2")
            welcome = peer.welcome
            assert (welcome["version"], welcome["name"], welcome["role"]) == (1, "alice", "member")
            assert welcome["session"]["resumed"] is False
            view = hub.view(int(welcome["id"]))
            assert view is not None
            assert (view["name"], view["native"], view["agent"]) == ("alice", True, "test 2")
            assert view["services"] == ["channel", "request"]
            await peer.close()
            await eventually(lambda: len(hub) == 0)
            assert [each["name"] for each in hub.identities.absent()] == ["alice"]

    run_here(main)


def reset_of(payload: bytes) -> tuple[int, str]:
    return struct.unpack(">I", payload[:4])[0], payload[4:].decode()


def test_two_clients_talk_over_a_stream(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            alice, bob = await Peer.join(hub, name="alice"), await Peer.join(hub, name="bob")
            alice.open(1, "bob", credit=1000)
            stream, opened = await bob.opened()
            assert opened == {
                "from": {"id": alice.welcome["id"], "name": "alice"}, "service": "channel", "credit": 1000
            }  # fmt: skip
            bob.send(stream, CREDIT, struct.pack(">I", 500))
            assert await alice.on(1, CREDIT) == struct.pack(">I", 500)
            alice.send(1, DATA, b"hello")
            assert await bob.on(stream, DATA) == b"hello"
            bob.send(stream, DATA, b"yes?")
            assert await alice.on(1, DATA) == b"yes?"
            hub.kick(int(bob.welcome["id"]), reset=True, by="test")
            assert reset_of(await alice.on(1, RESET))[0] == 5
            await alice.close()

    run_here(main)


def test_a_stream_that_is_ended_as_soon_as_it_is_opened_leaves_nothing_behind(
    run_here: Runner, directory: Path
) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            alice, bob = await Peer.join(hub, name="alice"), await Peer.join(hub, name="bob")
            for stream in range(1, 2 * 1100, 2):  # more than a client may have
                alice.open(stream, "bob")
                alice.send(stream, RESET, struct.pack(">I", 1))
                opened, _ = await bob.opened()
                assert reset_of(await bob.on(opened, RESET))[0] == 1
            alice.open(2201, "bob")
            await bob.opened()

    run_here(main)


@pytest.mark.parametrize(
    ("to", "service", "code"),
    [("nobody", "channel", 3), ("99", "channel", 3), ("bob", "video", 4), (None, "video", 4)],
)
def test_a_stream_that_cannot_be_is_reset_with_the_reason(
    run_here: Runner, directory: Path, to: Any, service: str, code: int
) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            alice, bob = await Peer.join(hub, name="alice"), await Peer.join(hub, name="bob")
            alice.open(1, to, service)
            found, reason = reset_of(await alice.on(1, RESET))
            assert found == code
            assert reason
            assert not bob.frames
            for peer in (alice, bob):
                await peer.close()

    run_here(main)


def error_after(directory: Path, run: Runner, *messages: bytes) -> dict[str, Any]:
    """What a client that sends these is told before its connection ends; another one does not notice."""

    async def main() -> dict[str, Any]:
        async with running_hub(directory) as hub:
            other = await Peer.join(hub, name="other")
            peer = await Peer.connect(hub)
            for number, message in enumerate(messages):
                if number == 2:
                    await peer.welcomed()
                peer.raw(message)
            problem = await peer.event("error")
            await peer.ended()
            assert (await other.ask("clients"))["clients"][0]["name"] == "other"
            for each in (peer, other):
                await each.close()
            return problem

    found: dict[str, Any] = run(main)
    return found


def hello(**said: Any) -> bytes:
    body = {"type": "hello", "versions": [1], "instance": "i", "services": [], **said}
    return struct.pack(">IBBH", 0, CONTROL, 0, 0) + json.dumps(body).encode()


@pytest.mark.parametrize(
    ("first", "code"),
    [
        (hello(versions=[2, 7]), "unsupported_version"),
        (hello(versions="1"), "bad_json"),
        (hello(instance=""), "bad_json"),
        (hello(instance="a/b"), "bad_json"),
        (hello(versions=[]), "unsupported_version"),
        (hello(name="all"), "bad_json"),
        (hello(name="127.0.0.1"), "bad_json"),
        (hello(name="tcp-3"), "bad_json"),
        (hello(name="x" * 65), "bad_json"),
        (hello(name=7), "bad_json"),
        (hello(agent="\x1b[2J"), "bad_json"),
        (hello(services=["a"] * 65), "bad_json"),
        (hello(session={"id": "x", "key": "y", "received": -1}), "bad_session"),
        (hello(type="watch"), "unknown_type"),
        (struct.pack(">IBBH", 0, CONTROL, 0, 0) + b"{", "bad_json"),
        (struct.pack(">IBBH", 0, CONTROL, 0, 0) + b"[" * 30_000, "bad_json"),
        (struct.pack(">IBBH", 0, CONTROL, 0, 0) + b"[" * 60_000, "too_big"),
        (struct.pack(">IBBH", 0, CONTROL, 0, 0) + b"[]", "bad_json"),
        (struct.pack(">IBBH", 1, OPEN, 0, 0) + b"{}", "bad_frame"),
    ],
)
def test_a_bad_hello_is_refused_with_its_code(
    run_here: Runner, directory: Path, first: bytes, code: str
) -> None:
    assert error_after(directory, run_here, MAGIC, first)["code"] == code


@pytest.mark.parametrize(
    ("then", "code"),
    [
        (b"short", "bad_frame"),
        (struct.pack(">IBBH", 0, 99, 0, 0), "bad_frame"),
        (struct.pack(">IBBH", 0, CONTROL, 0, 0) + b"nonsense", "bad_json"),
        (struct.pack(">IBBH", 1, OPEN, 0, 0) + b"nonsense", "bad_json"),
        (struct.pack(">IBBH", 1, OPEN, 0, 0) + b'{"to": "x", "credit": 4294967296}', "credit_overflow"),
    ],
)
def test_who_breaks_the_protocol_is_told_and_let_go(
    run_here: Runner, directory: Path, then: bytes, code: str
) -> None:
    assert error_after(directory, run_here, MAGIC, hello(), then)["code"] == code


def test_requests_that_cannot_be_are_refused_and_the_client_stays(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            peer = await Peer.join(hub)
            assert (await peer.ask("no_such_thing"))["code"] == "unknown_type"
            assert (await peer.ask("clients", state="asleep"))["code"] == "bad_request"
            assert (await peer.ask("clients", after="somewhere"))["code"] == "bad_request"
            assert (await peer.ask("watch", on=3))["code"] == "bad_request"
            assert (await peer.ask("clients"))["clients"][0]["name"] == peer.welcome["name"]
            await peer.close()

    run_here(main)


def test_a_name_that_another_program_has_is_refused(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            first = await Peer.join(hub, name="alice", instance="a")
            other = await Peer.connect(hub)
            other.hello(name="alice", instance="b")
            assert (await other.event("error"))["code"] == "name_taken"
            await other.ended()
            again = await Peer.join(hub, name="alice", instance="a")
            assert again.welcome["name"] == "alice"
            third = await Peer.connect(hub)
            third.hello(name="alice", instance="c")
            await eventually(lambda: len(hub) == 3)
            for peer in (first, again):
                await peer.close()
            assert (await third.welcomed())["name"] == "alice", "it waits a moment for the name"
            await third.close()

    run_here(main)


def test_of_several_sessions_the_newest_is_opened_by_name_and_each_by_id(
    run_here: Runner, directory: Path
) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            old, new = [await Peer.join(hub, name="alice", instance="a") for _ in range(2)]
            bob = await Peer.join(hub, name="bob")
            bob.open(1, "alice")
            await new.opened()
            bob.open(3, old.welcome["id"])
            await old.opened()
            listed = (await bob.ask("clients"))["clients"]
            assert [each["name"] for each in listed] == ["alice", "alice", "bob"]
            view = hub.view(int(old.welcome["id"]))
            assert view is not None
            assert (view["sessions"], view["conflict"]) == (2, "")
            await new.close()
            await eventually(lambda: len(hub) == 2)
            bob.open(5, "alice")
            await old.opened()
            for peer in (old, bob):
                await peer.close()

    run_here(main)


def test_who_says_nothing_is_let_go_in_time(
    run_here: Runner, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jackfield.hub.native.handshake.PATIENCE", 0.2)

    async def main() -> None:
        async with running_hub(directory) as hub:
            silent, slow = await Peer.connect(hub), await Peer.connect(hub)
            slow.raw(MAGIC)
            assert (await slow.event("error"))["code"] == "handshake_timeout"
            for peer in (silent, slow):
                await peer.ended()
                await peer.close()
            assert len(hub) == 0

    run_here(main)


def test_a_list_of_clients_with_long_services_comes_in_pages_that_fit(
    run_here: Runner, directory: Path
) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            alice = await Peer.join(hub, name="alice")
            services = ["\U00020000" * 61 + str(number) for number in range(100, 132)]
            others = [await Peer.join(hub, services=services, name=f"other{number}") for number in range(12)]
            found: list[str] = []
            more: dict[str, Any] | None = {}
            while more is not None:
                answer = await alice.ask("clients", **more)
                assert answer["type"] == "ok"
                found += [each["name"] for each in answer["clients"]]
                more = {"after": answer["next"]} if "next" in answer else None
            assert found == ["alice", *(f"other{number}" for number in range(12))]
            for peer in (alice, *others):
                await peer.close()

    run_here(main)


def test_changes_are_told_to_who_watches(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            alice = await Peer.join(hub, name="alice")
            assert (await alice.ask("watch", on=True))["on"] is True
            bob = await Peer.join(hub, name="bob")
            assert (await alice.event("came"))["client"]["name"] == "bob"
            await bob.close()
            gone = (await alice.event("went"))["client"]
            assert (gone["id"], gone["name"]) == (bob.welcome["id"], "bob")
            await alice.ask("watch", on=False)
            await alice.close()

    run_here(main)


def test_dense_requests_are_counted_before_they_are_read(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            other, peer = await Peer.join(hub, name="other"), await Peer.join(hub)
            for number in range(300):
                peer.control(type="clients", n=number, x=[{"a": []}] * 5000)
            answers: list[dict[str, Any]] = []
            while not answers or "n" in answers[-1]:
                answers.append(await peer.control_where(lambda body: True))
            assert answers[-1]["code"] == "rate_limited"
            assert len(answers) < 60, "some milliseconds each"
            await peer.ended()
            assert (await other.ask("clients"))["type"] == "ok"
            for each in (peer, other):
                await each.close()

    run_here(main)


@pytest.mark.parametrize(("size", "code"), [(500, "rate_limited"), (1200, "too_big")], ids=["dense", "long"])
def test_opens_that_take_long_to_read_end_their_client(
    run_here: Runner, directory: Path, size: int, code: str
) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            peer = await Peer.join(hub)
            header = json.dumps({"to": "nobody", "credit": 0, "x": [[]] * size}).encode()
            for number in range(1, 3000, 2):
                peer.send(number, OPEN, header)
            last = await peer.control_where(lambda body: body["type"] == "error" and "n" not in body)
            assert last["code"] == code
            await peer.ended()
            await peer.close()

    run_here(main)


def test_a_flood_of_requests_is_refused_and_then_ended(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            other, peer = await Peer.join(hub, name="other"), await Peer.join(hub)
            for number in range(4000):
                peer.control(type="watch", n=number, on=False)
            refused = await peer.control_where(lambda body: body.get("code") == "rate_limited")
            assert refused["hint"]
            last = await peer.control_where(lambda body: body["type"] == "error" and "n" not in body)
            assert last["code"] == "rate_limited"
            await peer.ended()
            assert (await other.ask("clients"))["type"] == "ok"
            for each in (peer, other):
                await each.close()

    run_here(main)


def test_a_ping_is_answered(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            peer = await Peer.join(hub)
            peer.send(0, PING, b"12345678")
            message = await asyncio.wait_for(peer.reader.readexactly(4 + 8 + 8), 10)
            assert message[-8:] == b"12345678"
            assert native_of(hub).sessions
            await peer.close()

    run_here(main)
