"""TLS handshakes of the console: bounded for each address and in all, counted, and no harm to others."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support import Runner, eventually
from test_web_tls import console

from jackfield.hub.status import status
from jackfield.web import newcomers
from jackfield.web.newcomers import A_SECOND, MOST, MOST_OF_ONE, Newcomers


def test_an_address_has_its_share_and_all_have_a_bound() -> None:
    found = Newcomers(now=lambda: 0.0)
    ones = [found.admit(("198.51.100.1", port), lambda: True) for port in range(MOST_OF_ONE + 5)]
    assert ones.count(True) == MOST_OF_ONE
    others = [found.admit((f"198.51.100.{host}", 1), lambda: True) for host in range(2, MOST + 2)]
    assert others.count(True) == MOST - MOST_OF_ONE
    assert found.refused == 5 + MOST_OF_ONE
    found.done(("198.51.100.1", 0))
    assert found.admit(("192.0.2.1", 1), lambda: True), "one is done"
    same = [found.admit((f"2001:db8::{host}", 1), lambda: True) for host in range(3)]
    assert same == [False] * 3


def test_handshakes_that_have_ended_make_room() -> None:
    found = Newcomers(now=lambda: 0.0)
    is_open = True
    for port in range(MOST_OF_ONE):
        assert found.admit(("2001:db8::1", port), lambda: is_open)
    assert not found.admit(("2001:db8::2", 1), lambda: True), "of one network"
    is_open = False
    assert found.admit(("2001:db8::2", 1), lambda: True)
    assert len(found) == 1


def test_so_many_a_second() -> None:
    now = 0.0
    found = Newcomers(now=lambda: now)

    def quick(count: int) -> int:
        taken = 0
        for port in range(count):
            taken += found.admit(("198.51.100.1", port), lambda: True)
            found.done(("198.51.100.1", port))
        return taken

    assert quick(10 * A_SECOND) == 5 * A_SECOND
    assert found.admit(("198.51.100.2", 1), lambda: True), "others have their own"
    now = 1.0
    assert quick(10 * A_SECOND) == A_SECOND


def test_strangers_that_only_connect_keep_nobody_out(
    run_here: Runner, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixty of one address say nothing: who comes from another gets in, and theirs once they are gone."""
    monkeypatch.setattr(newcomers, "MOST", 40)

    async def ask(port: int, local: str) -> bytes:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, local_addr=(local, 0))
        writer.write(b"GET /login HTTP/1.1\r\nhost: 127.0.0.1:%d\r\nconnection: close\r\n\r\n" % port)
        answer = await reader.read()
        writer.close()
        return answer.partition(b"\r\n")[0]

    async def main() -> None:
        async with console(directory) as (hub, web):
            port = urlsplit(web.url).port
            assert port is not None
            silent = []
            for _ in range(60):
                made = socket.socket()
                made.bind(("127.0.0.2", 0))
                made.setblocking(False)
                with contextlib.suppress(ConnectionResetError):
                    await asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", port))
                silent.append(made)
            await eventually(lambda: web.figures() == {"under_way": MOST_OF_ONE, "refused": 60 - MOST_OF_ONE})
            assert b"200" in await ask(port, "127.0.0.1")
            assert status(hub)["web_handshakes"]["refused"] == 60 - MOST_OF_ONE
            for made in silent:
                made.close()
            await eventually(lambda: web.figures()["under_way"] == 0)
            assert b"200" in await ask(port, "127.0.0.2")

    run_here(main)
