"""Connections end when the certificate that let them in does."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from support import Runner, eventually

import jackfield
from jackfield import make_certificate
from jackfield.hub import connect, serve
from jackfield.hub.security.certificate import fingerprint

HOUR = 3600.0


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
            hub.security.expiring.look()
            assert len(hub.clients()) == 3
            now = hub.security.now()
            monkeypatch.setattr(hub.security, "now", lambda: now + 1.5 * HOUR)
            hub.security.expiring.look()
            await eventually(lambda: len(hub.clients()) == 1)
            assert [client.name for client in hub.clients()] == ["longer"]
            told = " ".join(event.line() for event in hub.journal.last(50))
            assert told.count("certificate has expired") >= 2, told
            assert (await longer.clients())[0].name == "longer"
            await plain.close()
            for client in (native, longer):
                await asyncio.wait_for(client.close(), 20.0)

    run_here(main)
