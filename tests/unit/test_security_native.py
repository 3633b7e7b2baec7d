"""Tokens, invitations and roles where native clients come: a hub with a gate, spoken to over sockets."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from native_peer import Peer, running_hub

import jackfield
from jackfield.hub.operator import operate
from jackfield.hub.protocol import RequestError
from jackfield.hub.security.tokens import make_secret
from jackfield.hub.server import Hub

TOKEN = "tcp://127.0.0.1:0?access=token"


async def refused(hub: Hub, **hello: Any) -> str:
    """The code that a hello is refused with."""
    peer = await Peer.connect(hub)
    peer.hello(**hello)
    try:
        return str((await peer.event("error"))["code"])
    finally:
        await peer.close()


def created(hub: Hub, **more: Any) -> str:
    return hub.security.tokens.create(hub.security.now(), **more)[1]


def audit_of(hub: Hub) -> list[dict[str, Any]]:
    return list(hub.security.audit_log.recent)


def test_a_token_gets_in_and_gives_name_and_role(directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory, TOKEN) as hub:
            named = await Peer.join(hub, token=created(hub, name="ann", role="operator"), name="other")
            assert (named.welcome["name"], named.welcome["role"]) == ("ann", "operator")
            again = await Peer.join(hub, token=created(hub, role="member"), name="ben")
            assert (again.welcome["name"], again.welcome["role"]) == ("ben", "member")
            assert "token" not in again.welcome
            assert [await refused(hub), await refused(hub, token=make_secret(bytes(32)))] == ["bad_token"] * 2
            assert hub.security.counts["bad_token"] == 2

    jackfield.run(main)


def test_whoever_proves_a_name_gets_it_from_who_merely_said_it(directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory, "tcp://127.0.0.1:0") as hub:
            squatter = await Peer.join(hub, name="ann", instance="other")
            ann = await Peer.join(hub, token=created(hub, name="ann"))
            ben = await Peer.join(hub, name="ben")
            assert ann.welcome["name"] == "ann"
            assert [each["name"] for each in (await squatter.ask("clients"))["clients"]] == [
                "tcp-1",
                "ann",
                "ben",
            ]
            ben.control(type="message", n=50, to="ann", text="hello", sequence=1)
            assert (await ann.event("message"))["text"] == "hello"
            assert await refused(hub, name="ann") == "name_taken"
            for peer in (squatter, ann, ben):
                await peer.close()

    jackfield.run(main)


def test_an_invited_one_does_not_become_whoever_was_revoked(directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory, TOKEN) as hub:
            ann = await Peer.join(hub, token=created(hub, name="ann"))
            (token,) = hub.security.tokens
            await hub.security.revoke(token.id)
            await ann.ended()
            invitation = created(hub, kind="invitation", expires=100.0)
            assert await refused(hub, token=invitation, name="ann") == "name_taken"
            ben = await Peer.join(hub, token=invitation, name="ben")
            assert ben.welcome["name"] == "ben", "the invitation is as good as before"
            await ben.close()

    jackfield.run(main)


def test_an_invitation_becomes_a_token_once(directory: Path) -> None:
    async def main() -> None:
        state = directory / "hub.db"
        async with running_hub(directory, TOKEN, state=state) as hub:
            invitation = created(hub, kind="invitation", expires=60.0, name="ann", role="operator")
            first = await Peer.join(hub, token=invitation)
            kept = first.welcome["token"]
            assert (first.welcome["name"], first.welcome["role"]) == ("ann", "operator")
            assert await refused(hub, token=invitation) == "used_token"
            assert invitation not in json.dumps(audit_of(hub))
            assert kept not in json.dumps(audit_of(hub))
            assert ("redeem", "done") in [(each["what"], each["outcome"]) for each in audit_of(hub)]
        async with running_hub(directory, TOKEN, state=state) as hub:
            assert await refused(hub, token=invitation) == "used_token"
            back = await Peer.join(hub, token=kept)
            assert back.welcome["name"] == "ann"
            for secret in (invitation, kept):
                assert secret.encode() not in state.read_bytes()

    jackfield.run(main)


def test_of_a_crowd_with_one_invitation_one_gets_in(directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory, TOKEN, state=directory / "hub.db") as hub:
            invitation = created(hub, kind="invitation", expires=60.0)
            crowd = [await Peer.connect(hub) for _ in range(20)]
            for number, peer in enumerate(crowd):
                peer.hello(token=invitation, instance=f"crowd{number}")
            answers = [
                await peer.control_where(lambda body: body["type"] in ("welcome", "error")) for peer in crowd
            ]
            assert [answer["type"] for answer in answers].count("welcome") == 1
            assert {answer["code"] for answer in answers if answer["type"] == "error"} <= {
                "used_token",
                "rate_limited",
            }

    jackfield.run(main)


def test_what_moderators_do_is_in_the_audit_log(directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub, operate(hub.settings.control) as operator:
            mallory = await Peer.join(hub, name="mallory")
            await operator.request("room_create", room="ops", topic="secret plans")
            await mallory.ask("join", room="ops")
            await operator.request("room_kick", room="ops", name="mallory")
            assert (await mallory.event("room_left"))["members"][0]["reason"].startswith("put out by pid:")
            with pytest.raises(RequestError, match="nobody in ops"):
                await operator.request("room_kick", room="ops", name="mallory")
            await operator.request("room_delete", room="ops")
            await operator.request("kick", target="mallory")
            told = [(each["what"], each["target"], each["outcome"].split(":")[0]) for each in audit_of(hub)]
            assert told == [
                ("room_create", "ops", "done"),
                ("room_kick", "ops mallory", "done"),
                ("room_kick", "ops mallory", "not done"),
                ("room_delete", "ops", "done"),
                ("kick", "mallory", "done"),
            ]
            assert all(each["who"].startswith("pid:") for each in audit_of(hub))
            assert "secret plans" not in json.dumps(audit_of(hub))

    jackfield.run(main)


def test_a_revoked_token_ends_its_sessions(directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory, TOKEN, state=directory / "hub.db") as hub:
            secret = created(hub, name="ann")
            peer = await Peer.join(hub, token=secret)
            async with operate(directory / "hub.sock") as operator:
                await operator.request("token_revoke", token="ann")
            assert (await peer.event("error"))["code"] == "bad_token"
            await peer.ended()
            again = {"session": {**peer.welcome["session"], "received": 0}}
            assert await refused(hub, token=secret, **again) == "bad_token"

    jackfield.run(main)


def test_a_session_needs_the_token_that_it_began_with(directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory, TOKEN) as hub:
            ann = await Peer.join(hub, token=created(hub, name="ann"))
            theirs = {**ann.welcome["session"], "received": 0}
            assert await refused(hub, token=created(hub, name="eve"), session=theirs) == "bad_session"
            assert await refused(hub, session=theirs) == "bad_token"
            other = {**theirs, "key": "x" * 32}
            assert await refused(hub, token=created(hub, name="ann"), session=other) == "bad_session"

    jackfield.run(main)


def test_expiry_does_not_come_undone_when_the_clock_is_set_back(directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory, TOKEN) as hub:
            now = hub.clock()
            hub.clock = lambda: now
            short, invitation = created(hub, expires=10.0), created(hub, kind="invitation", expires=10.0)
            hub.clock = lambda: now + 11.0
            assert await refused(hub, token=short) == "expired_token"
            hub.clock = lambda: now - 100_000.0
            assert await refused(hub, token=short) == "expired_token"
            assert await refused(hub, token=invitation) == "expired_token"

    jackfield.run(main)


def test_what_a_role_may_not_do_is_forbidden(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with running_hub(directory, TOKEN) as hub:
            from jackfield.hub.native import control

            async def secret(*_: Any) -> dict[str, Any]:
                return {"secret": 42}

            monkeypatch.setitem(control.CONTROLS, "no_row_for_this", secret)
            peer = await Peer.join(hub, token=created(hub, role="operator"))
            assert (await peer.ask("no_row_for_this"))["code"] == "forbidden"
            admin = await Peer.join(hub, token=created(hub, role="admin"))
            assert (await admin.ask("no_row_for_this"))["secret"] == 42

    jackfield.run(main)


def test_thousands_of_wrong_tokens_leave_the_others_their_turn(directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory, TOKEN) as hub:
            good = await Peer.join(hub, token=created(hub, name="ann"))
            ended = asyncio.Event()

            async def guess(number: int) -> None:
                for _ in range(50):
                    peer = await Peer.connect(hub)
                    peer.hello(token=make_secret(number.to_bytes(32)), instance="guesser")
                    await peer.event("error")
                    await peer.close()
                ended.set()

            guessers = [asyncio.create_task(guess(number)) for number in range(20)]
            slowest = 0.0
            loop = asyncio.get_running_loop()
            while not ended.is_set():
                began = loop.time()
                assert (await good.ask("clients"))["type"] == "ok"
                slowest = max(slowest, loop.time() - began)
            await asyncio.gather(*guessers)
            assert slowest < 5.0
            assert sum(hub.security.counts.values()) == 1000
            assert len(audit_of(hub)) < 200

    jackfield.run(main)
