"""Connections end when the certificate that let them in does."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from support import Runner, eventually

import jackfield
from jackfield import make_certificate
from jackfield.hub import connect, serve
from jackfield.hub.security import expiring as module
from jackfield.hub.security.certificate import fingerprint
from jackfield.hub.security.expiring import LOOK_AT_LEAST_EVERY, Expiring
from jackfield.hub.server import Hub

HOUR = 3600.0
SLACK = 0.1  # seconds: the loop's clock may be a coarse one


def test_connections_end_with_their_certificates(
    run_here: Runner, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A native client and a plain one whose certificates are good for an hour, and one for longer."""
    authority = make_certificate([], subject="fleet", authority=True)
    authority.save(directory / "fleet.pem", directory / "fleet.key")

    def shown(name: str, seconds: float) -> str:
        made = make_certificate([name], signer=authority, start=time.time() - HOUR, seconds=seconds)
        made.save(directory / f"{name}.pem", directory / f"{name}.key")
        return f"cert={directory / f'{name}.pem'}&key={directory / f'{name}.key'}"

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
