"""Connections end when the certificate that let them in does."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from support import Runner, eventually

import jackfield
from jackfield import make_certificate
from jackfield.hub import connect, serve
from jackfield.hub.operator import NoHub, Operator, Remote, operate
from jackfield.hub.protocol import RequestError
from jackfield.hub.security import expiring as module
from jackfield.hub.security import remote
from jackfield.hub.security.certificate import fingerprint
from jackfield.hub.security.expiring import LOOK_AT_LEAST_EVERY, Expiring
from jackfield.hub.security.remote import RemoteOperators
from jackfield.hub.server import Hub
from jackfield.hub.session import Session

HOUR = 3600.0
SLACK = 0.1  # seconds: the loop's clock may be a coarse one


def fleet(directory: Path) -> Callable[[str, float], str]:
    """An authority in `fleet.pem`, and who makes a certificate of it: by name and seconds, good for an hour
    already; as the options of an address that show it."""
    authority = make_certificate([], subject="fleet", authority=True)
    authority.save(directory / "fleet.pem", directory / "fleet.key")

    def shown(name: str, seconds: float) -> str:
        made = make_certificate([name], signer=authority, start=time.time() - HOUR, seconds=seconds)
        made.save(directory / f"{name}.pem", directory / f"{name}.key")
        return f"cert={directory / f'{name}.pem'}&key={directory / f'{name}.key'}"

    return shown


def test_connections_end_with_their_certificates(
    run_here: Runner, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A native client and a plain one whose certificates are good for an hour, and one for longer."""
    shown = fleet(directory)

    async def main() -> None:
        listen = f"tls://127.0.0.1:0?access=certificate&ca={directory / 'fleet.pem'}"
        async with serve(listen, state=directory / "hub.db") as hub:
            pin = fingerprint(directory / "hub.cert.pem")
            where = f"tls://127.0.0.1:{hub.listeners[0][0].address.port}?pin={pin}"
            native = await connect(f"{where}&{shown('short', 2 * HOUR)}", reconnect=None)
            longer = await connect(f"{where}&{shown('longer', 3 * HOUR)}", reconnect=None)
            plain = await jackfield.connect(f"{where}&{shown('plain', 2 * HOUR)}", framing="none")
            await plain.send(b"hello")
            await eventually(lambda: len(hub.clients()) == 3)
            expiring, loop = hub.security.expiring, asyncio.get_running_loop()
            first = expiring._timer
            assert first is not None, "the next look is due"
            assert first.when() <= loop.time() + LOOK_AT_LEAST_EVERY + SLACK
            expiring.look()
            assert len(hub.clients()) == 3
            assert first.cancelled()
            due = expiring._due[0][0]
            monkeypatch.setattr(hub.security, "now", lambda: due - 0.5)
            expiring.look()
            second = expiring._timer
            assert second is not None
            assert second.when() <= loop.time() + 0.5 + SLACK, "when the first certificates end"
            monkeypatch.setattr(hub.security, "now", lambda: due + 0.5 * HOUR)
            await eventually(lambda: len(hub.clients()) == 1, "the timer has ended them", 30.0)
            assert [client.name for client in hub.clients()] == ["longer"]
            told = " ".join(event.line() for event in hub.journal.last(50))
            assert told.count("certificate has expired") >= 2, told
            assert (await longer.clients())[0].name == "longer"
            await plain.close()
            for client in (native, longer):
                await asyncio.wait_for(client.close(), 20.0)

    run_here(main)


def test_operators_sessions_end_with_what_let_them_in(
    run_here: Runner, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate for an hour and one for 90 days, a token for 80, and one for ever: each in its time."""
    monkeypatch.setattr(remote, "LOOK_AT_LEAST_EVERY", 0.02)
    shown = fleet(directory)

    async def main() -> None:
        both = "tls://127.0.0.1:0?protocol=control&access="
        listen = (f"{both}certificate&ca={directory / 'fleet.pem'}", f"{both}token")
        async with serve(*listen, state=directory / "hub.db") as hub, contextlib.AsyncExitStack() as stack:
            pin = fingerprint(directory / "hub.cert.pem")
            first, second = (
                f"tls://127.0.0.1:{each.address.port}?pin={pin}" for each, _ in hub.security.listeners
            )

            async def come(name: str, where: str, days: float | None = None) -> Operator:
                expires = None if days is None else days * 24 * HOUR
                token = hub.security.tokens.create(
                    hub.security.now(), role="operator", name=name, expires=expires
                )[1]
                there = Remote(jackfield.Address.parse(where), token)
                return await stack.enter_async_context(operate(there))

            short = await come("short", f"{first}&{shown('short', 2 * HOUR)}")
            months = await come("months", f"{first}&{shown('months', 24 * HOUR * 90)}", days=300)
            token = await come("ann", second, days=80)
            lasting = await come("bob", second)
            all_of_them = [short, months, token, lasting]
            begin = hub.security.now()

            async def those_left(after: float) -> list[Operator]:
                monkeypatch.setattr(hub.security, "now", lambda: begin + after)
                before = set(hub_ends(hub).values())
                await eventually(lambda: before.isdisjoint(hub_ends(hub).values()), "each was looked at")
                return [each for each in all_of_them if await is_heard(each)]

            assert await those_left(0.5 * HOUR) == all_of_them
            assert await those_left(1.5 * HOUR) == [months, token, lasting]
            with pytest.raises(RequestError, match="its certificate has expired"):
                await short.request("status")
            assert await those_left(24 * HOUR * 25) == [months, token, lasting]
            assert await those_left(24 * HOUR * 85) == [months, lasting]
            with pytest.raises(RequestError, match="the token has expired"):
                await token.request("status")
            assert await those_left(24 * HOUR * 95) == [lasting]
            await eventually(lambda: not hub_ends(hub), "nothing is left of them")

    run_here(main)


def hub_ends(hub: Hub) -> dict[Session, asyncio.TimerHandle]:
    operators = hub.part(RemoteOperators)
    assert operators is not None
    return operators._ends


async def is_heard(operator: Operator) -> bool:
    try:
        await operator.request("status")
    except (RequestError, NoHub):
        return False
    return True


def test_who_comes_again_and_again_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Members that left are forgotten long before their certificates end; those that are there are not."""
    monkeypatch.setattr(module, "MOST_GONE", 10)
    there: dict[int, SimpleNamespace] = {}

    class Group:
        member = staticmethod(there.get)

        def __len__(self) -> int:
            return len(there)

    hub = SimpleNamespace(group=Group(), security=SimpleNamespace(now=lambda: 0.0))

    async def main() -> None:
        expiring = Expiring(cast(Hub, hub))

        def come(number: int) -> None:
            certificate = SimpleNamespace(not_after=1e9 - number)
            member = SimpleNamespace(id=number, tls=SimpleNamespace(peer=certificate))
            there[number] = member
            expiring.came(cast(jackfield.Member, member))

        for number in range(5):
            come(number)
        for number in range(5, 1_000):
            come(number)
            assert len(expiring._due) <= 2 * len(there) + 10
            del there[number]
        assert {member for _, member in expiring._due} >= set(there)
        assert expiring._due[0] == min(expiring._due)
        expiring.close()

    asyncio.run(main())
