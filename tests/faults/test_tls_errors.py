"""Each way in which TLS fails, with its cause and its words: handshakes with ends that do it wrong."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import Runner, eventually
from support_tls import Certificates, certificates

import jackfield
from jackfield import Cause
from jackfield._errors import from_engine

DAY = 86_400
NOW = time.time()


@contextlib.asynccontextmanager
async def listening(**options: Any) -> AsyncIterator[jackfield.Listener]:
    """A listener that greets everybody who shakes hands."""

    async def greet(channel: jackfield.Channel) -> None:
        await channel.send(b"welcome")
        with contextlib.suppress(jackfield.JackfieldError):
            await channel.receive(5.0)

    merged = {**certificates().listening, **options}
    async with jackfield.listen("tls://127.0.0.1:0", **merged) as listener, listener.serving(greet):
        yield listener


async def refusal(address: jackfield.Address, **options: Any) -> jackfield.JackfieldError:
    """Why a client does not come to talk: the error of connecting, or of its first receive."""
    try:
        async with jackfield.connect(address, **{**certificates().connecting, **options}) as channel:
            assert await channel.receive(5.0) == b"welcome"
            await channel.receive(5.0)
    except jackfield.JackfieldError as error:
        return error
    raise AssertionError("it went well")


@contextlib.contextmanager
def rogue(serve: Callable[[socket.socket], None]) -> Iterator[jackfield.Address]:
    """A server in a thread that does with its one client what it likes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def work() -> None:
            with contextlib.suppress(OSError):
                client, _ = listener.accept()
                with client, contextlib.suppress(OSError):
                    client.settimeout(10)
                    serve(client)

        thread = threading.Thread(target=work)
        thread.start()
        yield jackfield.Address.parse(f"tls://127.0.0.1:{listener.getsockname()[1]}")
        thread.join(10)
        assert not thread.is_alive()


def context(**settings: Any) -> ssl.SSLContext:
    """The standard library's server."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificates().listening["cert"], certificates().listening["key"])
    for name, value in settings.items():
        setattr(made, name, value)
    return made


def save(name: str, **made: Any) -> dict[str, Any]:
    """A server certificate, signed by the authority that the tests trust."""
    signed = jackfield.make_certificate(["127.0.0.1"], signer=certificates().authority, **made)
    return certificates().save(name, signed)


@pytest.mark.parametrize(
    ("cause", "listener", "client", "words"),
    [
        (
            Cause.CERTIFICATE_EXPIRED,
            {"start": NOW - 3 * DAY, "seconds": DAY},
            {},
            "has expired on 20",
        ),
        (Cause.CERTIFICATE_NOT_YET_VALID, {"start": NOW + DAY}, {}, "is valid from 20"),
        (Cause.BAD_CERTIFICATE, {"authority": True}, {}, "cannot be used"),
        (Cause.WRONG_NAME, {}, {"server_name": "hub.example"}, "not for hub.example: it is for 127.0.0.1"),
        (Cause.UNKNOWN_ISSUER, {}, {"ca": None}, "no authority .* has signed .*CN=127.0.0.1.*CN=test auth"),
        (Cause.PIN_MISMATCH, {}, {"ca": None, "pin": "ab" * 32}, "it is sha256:.*pinned is sha256:abab"),
    ],
)
def test_certificates(
    run_here: Runner,
    cause: Cause,
    listener: dict[str, Any],
    client: dict[str, Any],
    words: str,
) -> None:
    if cause is Cause.UNKNOWN_ISSUER:
        other = jackfield.make_certificate([], subject="another authority", authority=True)
        client = {"ca": certificates().save("other", other)["cert"]}

    async def main() -> None:
        async with listening(**save(f"wrong-{cause}", **listener)) as server:
            error = await refusal(server.address, **client)
            assert isinstance(error, jackfield.CertificateRejected)
            assert error.cause is cause
            assert isinstance(error, jackfield.HandshakeFailed | OSError)
            assert error.fingerprint is not None
            assert error.fingerprint.startswith("sha256:")
            assert error.names == ("127.0.0.1",)
            with pytest.raises(jackfield.CertificateRejected, match=words):
                raise error
            if cause in (Cause.PIN_MISMATCH, Cause.WRONG_NAME):
                assert error.expected in ("sha256:" + "ab" * 32, "hub.example")
            await eventually(lambda: server.statistics().handshakes_failed == 1)
            (told,) = server.failed_handshakes()
            assert told.cause is Cause.CERTIFICATE_REFUSED

    run_here(main)


def test_what_is_not_tls(run_here: Runner) -> None:
    def speak(client: socket.socket) -> None:
        client.sendall(b"SSH-2.0-OpenSSH_9.9\r\n")
        client.recv(4096)

    async def main() -> None:
        with rogue(speak) as address:
            error = await refusal(address)
        assert isinstance(error, jackfield.HandshakeFailed)
        assert error.cause is Cause.NOT_TLS
        assert error.speaks == "SSH"
        assert "an SSH banner" in str(error)
        async with listening() as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.address.port)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            await reader.read()
            writer.close()
            await eventually(lambda: server.statistics().handshakes_failed == 1)
            (told,) = server.failed_handshakes()
            assert told.cause is Cause.NOT_TLS
            assert "an HTTP request" in str(told)
            assert server.failed_handshakes() == []

    run_here(main)


@pytest.mark.parametrize(
    ("cause", "settings", "client"),
    [
        (Cause.NO_SHARED_VERSION, {"maximum_version": ssl.TLSVersion.TLSv1_2}, {"tls_min": "1.3"}),
        (Cause.NO_SHARED_CIPHER, {"maximum_version": ssl.TLSVersion.TLSv1_2, "ciphers": "AES128-SHA"}, {}),
    ],
)
def test_nothing_in_common(
    run_here: Runner, cause: Cause, settings: dict[str, Any], client: dict[str, Any]
) -> None:
    ciphers = settings.get("ciphers")
    made = context(**{name: value for name, value in settings.items() if name != "ciphers"})
    if ciphers:
        made.set_ciphers(ciphers + ":@SECLEVEL=0")

    def serve(plain: socket.socket) -> None:
        with made.wrap_socket(plain, server_side=True):
            pass

    async def main() -> None:
        with rogue(serve) as address:
            error = await refusal(address, **client)
        assert isinstance(error, jackfield.HandshakeFailed)
        assert error.cause is cause
        assert "in common" in str(error)

    run_here(main)


def test_no_application_protocol_in_common(run_here: Runner) -> None:
    async def main() -> None:
        async with listening(alpn="jackfield") as server:
            error = await refusal(server.address, alpn="h2")
            assert isinstance(error, jackfield.HandshakeFailed)
            assert error.cause is Cause.NO_SHARED_ALPN
            await eventually(lambda: server.statistics().handshakes_failed == 1)
            assert server.failed_handshakes()[0].cause is Cause.NO_SHARED_ALPN

    run_here(main)


@pytest.mark.parametrize("tls_min", ["1.3", "1.2"])
def test_a_client_without_the_certificate_that_is_wanted(run_here: Runner, tls_min: str) -> None:
    stranger = certificates().save("stranger", jackfield.make_certificate(["stranger.example"]))

    async def main() -> None:
        async with listening(ca=certificates().connecting["ca"]) as server:
            error = await refusal(server.address)
            assert isinstance(error, jackfield.ChannelLost | jackfield.HandshakeFailed)
            assert error.cause is Cause.CERTIFICATE_REQUIRED
            error = await refusal(server.address, **stranger)
            assert isinstance(error, jackfield.ChannelLost)
            assert error.cause is Cause.CERTIFICATE_REFUSED
            await eventually(lambda: server.statistics().handshakes_failed == 2)
            without, wrong = server.failed_handshakes()
            assert without.cause is Cause.CERTIFICATE_REQUIRED
            assert wrong.cause is Cause.UNKNOWN_ISSUER
            assert isinstance(wrong, jackfield.CertificateRejected)
            assert wrong.names == ("stranger.example",)

    run_here(main)


def test_an_alert(run_here: Runner) -> None:
    def serve(plain: socket.socket) -> None:
        plain.recv(4096)
        plain.sendall(bytes.fromhex("15 03 03 00 02 02 50"))
        plain.recv(4096)

    async def main() -> None:
        with rogue(serve) as address:
            error = await refusal(address)
        assert isinstance(error, jackfield.HandshakeFailed)
        assert error.cause is Cause.REFUSED_BY_PEER
        assert "InternalError" in str(error)

    run_here(main)


def test_rules_that_are_broken(run_here: Runner) -> None:
    """The server sends back what it was sent: a ClientHello."""

    def serve(plain: socket.socket) -> None:
        plain.sendall(plain.recv(4096))
        plain.recv(4096)

    async def main() -> None:
        with rogue(serve) as address:
            error = await refusal(address)
        assert isinstance(error, jackfield.HandshakeFailed)
        assert error.cause is Cause.TLS_PROTOCOL

    run_here(main)


def test_silence_and_an_early_end(run_here: Runner) -> None:
    async def main() -> None:
        with rogue(lambda plain: plain.recv(1)) as address:
            error = await refusal(address)
            assert isinstance(error, jackfield.HandshakeFailed)
            assert error.cause is Cause.CLOSED_IN_HANDSHAKE
        with socket.create_server(("127.0.0.1", 0)) as silent:
            address = jackfield.Address.parse(f"tls://127.0.0.1:{silent.getsockname()[1]}")
            error = await refusal(address, connect_timeout=0.2)
            assert isinstance(error, jackfield.ConnectTimedOut)
            assert error.cause is Cause.HANDSHAKE_TIMEOUT
            assert "said nothing" in str(error)

    run_here(main)


def test_a_client_that_takes_its_time_is_let_go(run_here: Runner) -> None:
    async def main() -> None:
        async with listening(handshake_timeout=0.2) as server:
            silent = await asyncio.open_connection("127.0.0.1", server.address.port)
            slow = await asyncio.open_connection("127.0.0.1", server.address.port)
            slow[1].write(bytes.fromhex("16 03 01 02 00 01"))
            for reader, writer in (silent, slow):
                with contextlib.suppress(ConnectionResetError):
                    assert await reader.read() == b""
                writer.close()
            await eventually(lambda: server.statistics().handshakes_failed == 2)
            assert {error.cause for error in server.failed_handshakes()} == {Cause.HANDSHAKE_TIMEOUT}
            assert server.statistics().clients == 0

    run_here(main)


@contextlib.asynccontextmanager
async def between(
    target: jackfield.Address, spoil: Callable[[bytes], bytes]
) -> AsyncIterator[jackfield.Address]:
    """A relay that hands what the server says to ``spoil`` before it passes it on."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, how: Any = None) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(how(data) if how else data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", target.port)
        await asyncio.gather(copy(reader, back), copy(there, writer, spoil))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield jackfield.Address.parse(f"tls://127.0.0.1:{server.sockets[0].getsockname()[1]}")


def test_a_flipped_byte(run_here: Runner) -> None:
    def spoil(data: bytes) -> bytes:
        return data[:-1] + bytes([data[-1] ^ 1]) if data[:1] == b"\x17" and len(data) < 100 else data

    async def main() -> None:
        async with listening(tls_min="1.3") as server, between(server.address, spoil) as address:
            error = await refusal(address)
            assert isinstance(error, jackfield.ChannelLost)
            assert error.cause is Cause.DAMAGED_RECORD

    run_here(main)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_an_end_without_close_notify(run_here: Runner, version: ssl.TLSVersion) -> None:
    def serve(plain: socket.socket) -> None:
        secured = context(minimum_version=version, maximum_version=version).wrap_socket(
            plain, server_side=True
        )
        secured.sendall(b"welcome")
        secured.close()

    async def main() -> None:
        with rogue(serve) as address:
            error = await refusal(address)
        assert isinstance(error, jackfield.ChannelLost)
        assert error.cause is Cause.TRUNCATED
        assert "close_notify" in str(error)

    run_here(main)


def test_keys_that_are_used_up() -> None:
    error = from_engine("tls", {"tls_cause": "keys_used_up", "said": ""})
    assert isinstance(error, jackfield.ChannelLost)
    assert error.cause is Cause.KEYS_USED_UP


def test_the_words_of_others_are_harmless(run_here: Runner) -> None:
    nasty = "\x1b[2J\x1b]0;owned\x07"

    async def main() -> None:
        made = jackfield.make_certificate(["127.0.0.1"], subject=nasty)
        async with listening(**certificates().save("nasty", made)) as server:
            error = await refusal(server.address)
            assert error.cause is Cause.UNKNOWN_ISSUER
            assert "\x1b" not in str(error)

    run_here(main)


def test_the_test_certificates_are_in_a_directory_of_their_own() -> None:
    made = certificates()
    assert isinstance(made, Certificates)
    assert isinstance(made.directory, Path)
    assert (made.directory / "server.key").stat().st_mode & 0o077 == 0
