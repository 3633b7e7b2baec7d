"""The web console over TLS: by the hub's certificate or another one, for native clients as well."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support import Runner, eventually

import jackfield
from jackfield import Address, portable
from jackfield.hub import connect as join
from jackfield.hub.embedded import serve
from jackfield.hub.protocol import RequestError
from jackfield.hub.server import Hub
from jackfield.web import Web, native, server
from jackfield.web.tls import wants_tls


@asynccontextmanager
async def console(directory: Path, address: str = "tls://127.0.0.1:0") -> AsyncIterator[tuple[Hub, Web]]:
    web = Web(Address.parse(address))
    async with serve("tcp://127.0.0.1:0", parts=[web], state=directory / "hub.db") as hub:
        yield hub, web


def pinned(hub: Hub, web: Web) -> str:
    return f"wss{web.url.removeprefix('https')}{native.PATH}?jf.pin={hub.security.pin}"


def test_beyond_this_machine_it_is_served_over_tls() -> None:
    for text, secure in {
        "tcp://127.0.0.1:0": False, "tcp://[::1]:0": False, "tcp://localhost:0": False,
        "tls://127.0.0.1:0": True, "tcp://0.0.0.0:0": True, "tcp://:0": True, "tcp://192.168.1.1:0": True,
    }.items():  # fmt: skip
        assert wants_tls(Address.parse(text)) is secure, text


def test_native_clients_come_over_wss_by_the_pin(run_here: Runner, directory: Path) -> None:
    def work(where: str) -> bytes:
        with portable.connect(where, name="plain") as client:
            return client.request("web", b"x" * 200_000, 20.0)

    async def main() -> None:
        async with (
            console(directory) as (hub, web),
            join(pinned(hub, web), name="web") as client,
            client.answering(lambda peer, data: data[:3]),
        ):
            (view,) = (each for each in map(hub.view, hub.ids()) if each)
            assert view["protocol"] == "wss"
            assert await asyncio.to_thread(work, pinned(hub, web)) == b"xxx"
            with pytest.raises(jackfield.ConnectFailed):
                await join(pinned(hub, web).partition("?")[0])

    run_here(main)


def test_with_a_certificate_of_ones_own_its_names_are_hosts_of_the_console(
    run_here: Runner, directory: Path
) -> None:
    made = jackfield.make_certificate(["hub.example", "127.0.0.1"])
    made.save(directory / "own.pem", directory / "own.key")
    address = f"tls://127.0.0.1:0?cert={directory / 'own.pem'}&key={directory / 'own.key'}"

    async def status(web: Web, host: str) -> str:
        port = int(web.url.rpartition(":")[2])
        context = ssl.create_default_context(cafile=str(directory / "own.pem"))
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.write(f"GET / HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read(-1)
        writer.close()
        return answer.partition(b" ")[2][:3].decode()

    async def main() -> None:
        async with console(directory, address) as (hub, web):
            assert not (directory / "hub.cert.pem").exists()
            assert [await status(web, host) for host in ("hub.example", "127.0.0.1", "evil.example")] == [
                "200", "200", "403",
            ]  # fmt: skip
            before = (directory / "own.pem").read_bytes()
            again = jackfield.make_certificate(["hub.example", "127.0.0.1"])
            again.save(directory / "own.pem", directory / "own.key")
            web.renew_certificate()
            assert await status(web, "hub.example") == "200"
            (directory / "own.pem").write_bytes(before)
            web.renew_certificate()
            assert any(each.kind == "certificates_not_reloaded" for each in hub.journal.last(10))

    run_here(main)


def test_without_a_certificate_it_is_not_served(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with serve("tcp://127.0.0.1:0", parts=[web := Web()]):
            for address in ("tls://127.0.0.1:0", "0.0.0.0:0"):
                with pytest.raises(RequestError, match="a hub without state keeps none"):
                    await web.link(by="pid:1", address=address)
            broken = directory / "broken.pem"
            broken.write_text("nothing")
            with pytest.raises(RequestError, match="cannot serve the web console with the certificate"):
                await web.link(by="pid:1", address=f"tls://127.0.0.1:0,cert={broken},key={broken}")
            with pytest.raises(RequestError, match="served over TCP"):
                await web.link(by="pid:1", address="udp://127.0.0.1:0")

    run_here(main)


def test_a_handshake_that_never_ends_is_ended(
    run_here: Runner, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "FIRST_REQUEST", 0.2)

    async def main() -> None:
        async with console(directory) as (_, web):
            silent = socket.create_connection(("127.0.0.1", int(web.url.rpartition(":")[2])))
            silent.setblocking(False)

            def is_over() -> bool:
                try:
                    return silent.recv(1) == b""
                except BlockingIOError:
                    return False
                except ConnectionError:
                    return True

            with silent:
                await eventually(is_over)

    run_here(main)
