"""TLS with programs of others: openssl, curl, the standard library; and the hub over TLS."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import ssl
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support import Runner
from support_tls import certificates

import jackfield

CA = certificates().connecting["ca"]
CERT, KEY = certificates().listening["cert"], certificates().listening["key"]


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl_connects(run_here: Runner, peer_program: Callable[[str], str], version: str) -> None:
    program = peer_program("openssl")

    async def main() -> None:
        async with jackfield.listen("tls://127.0.0.1:0", cert=CERT, key=KEY, framing="line") as listener:
            to = f"127.0.0.1:{listener.address.port}"
            command = ["s_client", version, "-quiet", "-verify_return_error", "-CAfile", CA, "-connect", to]
            pipe = asyncio.subprocess.PIPE
            client = await asyncio.create_subprocess_exec(
                program, *command, stdin=pipe, stdout=pipe, stderr=pipe
            )
            channel = await listener.accept(10.0)
            assert channel.tls is not None
            assert channel.tls.version == {"-tls1_2": "TLSv1.2", "-tls1_3": "TLSv1.3"}[version]
            client.stdin.write(b"hello\nR\n")
            assert await channel.receive(10.0) == b"hello"
            assert await channel.receive(10.0) == b"R"  # -quiet: no command of s_client's
            await channel.send(b"welcome")
            await channel.close()
            said, _ = await client.communicate()
            assert b"welcome" in said

    run_here(main)


def test_openssl_serves(run_here: Runner, peer_program: Callable[[str], str]) -> None:
    program = peer_program("openssl")

    async def main() -> None:
        pipe = asyncio.subprocess.PIPE
        command = ["s_server", "-accept", "127.0.0.1:0", "-cert", CERT, "-key", KEY, "-rev"]
        server = await asyncio.create_subprocess_exec(program, *command, stdin=pipe, stdout=pipe)
        try:
            port = 0
            while not port:
                line = (await server.stdout.readline()).decode()
                assert line, "s_server has ended"
                if line.startswith("ACCEPT "):
                    port = int(line.rpartition(":")[2])
            async with jackfield.connect(f"tls://127.0.0.1:{port}", ca=CA, framing="line") as channel:
                assert await channel.request(b"stressed", timeout=10.0) == b"desserts"
        finally:
            with contextlib.suppress(ProcessLookupError):
                server.kill()
            await server.wait()

    run_here(main)


def test_curl(run_here: Runner, peer_program: Callable[[str], str]) -> None:
    program = peer_program("curl")

    async def answer(channel: jackfield.Channel) -> None:
        await channel.receive_until(b"\r\n\r\n")
        await channel.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")

    async def main() -> None:
        address = "tls://127.0.0.1:0"
        async with (
            jackfield.listen(address, cert=CERT, key=KEY, alpn="http/1.1") as listener,
            listener.serving(answer),
        ):
            url = f"https://localhost:{listener.address.port}/"
            command = [program, "-sS", "--cacert", CA, "--connect-to", "::127.0.0.1:", url]
            curl = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
            said, _ = await curl.communicate()
            assert said == b"hello"
            assert curl.returncode == 0

    run_here(main)


async def until(stream: asyncio.StreamReader, word: str) -> str:
    """The line that has the word."""
    while line := (await stream.readline()).decode():
        if word in line:
            return line
    raise AssertionError(f"it ended without {word}")


def test_a_hub_reloads_its_certificate_and_its_clients_stay(run_here: Runner, directory: Path) -> None:
    def renew() -> None:
        made = jackfield.make_certificate(["127.0.0.1"], signer=certificates().authority)
        made.save(directory / "cert.pem", directory / "key.pem")

    async def connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]:
        context = ssl.create_default_context(cafile=CA)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        return reader, writer, writer.get_extra_info("ssl_object").getpeercert(binary_form=True)

    async def main() -> None:
        renew()
        address = f"tls://127.0.0.1:0,cert={directory}/cert.pem,key={directory}/key.pem"
        command = [sys.executable, "-m", "jackfield.cli", "serve", address, "--log-format", "text"]
        environment = {**os.environ, "XDG_RUNTIME_DIR": str(directory)}
        null, pipe = asyncio.subprocess.DEVNULL, asyncio.subprocess.PIPE
        streams = {"stdin": null, "stdout": pipe, "stderr": asyncio.subprocess.STDOUT}
        hub = await asyncio.create_subprocess_exec(*command, env=environment, **streams)
        try:
            port = int((await until(hub.stdout, " ready ")).rsplit(":", 1)[1])
            _, old, first = await connect(port)
            await until(hub.stdout, " joined ")
            renew()
            hub.send_signal(signal.SIGHUP)
            await until(hub.stdout, " certificates_reloaded ")
            _, new, second = await connect(port)
            assert first != second
            await until(hub.stdout, " joined id=2")
            old.close()
            new.close()
            assert "peer closed" in await until(hub.stdout, " left ")
        finally:
            with contextlib.suppress(ProcessLookupError):
                hub.terminate()
            await hub.wait()

    run_here(main)
