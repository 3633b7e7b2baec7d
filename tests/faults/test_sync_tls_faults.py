"""TLS without an event loop: peers that lie, stop, break off or are killed; new keys in the middle."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from support_sync import Waiting, beside, until
from support_tls import certificates

import jackfield
from jackfield import Cause, sync

pytestmark = pytest.mark.timeout(120)


def server(**options: Any) -> sync.Listener:
    return sync.listen("tls://127.0.0.1:0", **{**certificates().listening, "framing": "u32", **options})


def client(address: jackfield.Address | str, **options: Any) -> sync.Channel:
    return sync.connect(address, **{**certificates().connecting, "framing": "u32", **options})


@contextmanager
def rogue(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server of one client that does what ``serve`` does."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def work() -> None:
            plain, _ = listening.accept()
            with plain, contextlib.suppress(OSError):
                plain.settimeout(20)
                serve(plain)

        served = beside(work)
        yield f"tls://127.0.0.1:{listening.getsockname()[1]}"
        served.result(20.0)


def secured(plain: socket.socket, **settings: Any) -> ssl.SSLSocket:
    """The standard library's server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates().listening["cert"], certificates().listening["key"])
    for name, value in settings.items():
        setattr(context, name, value)
    return context.wrap_socket(plain, server_side=True)


def reset(plain: socket.socket) -> None:
    """Break the connection off."""
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    plain.close()


def refusal(address: jackfield.Address | str, **options: Any) -> jackfield.JackfieldError:
    with pytest.raises(jackfield.JackfieldError) as told:
        client(address, **options)
    return told.value


@contextmanager
def between(target: jackfield.Address) -> Iterator[tuple[jackfield.Address, Relay]]:
    """A relay to the server."""
    relay = Relay(target)
    try:
        yield relay.address, relay
    finally:
        relay.close()


class Relay:
    """Passes bytes on, and spoils those of the server from when it is told to."""

    def __init__(self, target: jackfield.Address) -> None:
        self.spoil: Callable[[bytes], bytes] = bytes
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = jackfield.Address.parse(f"tls://127.0.0.1:{self._listening.getsockname()[1]}")
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._serve, args=(target.port,), daemon=True).start()

    def _serve(self, port: int) -> None:
        with contextlib.suppress(OSError):
            here, _ = self._listening.accept()
            there = socket.create_connection(("127.0.0.1", port))
            self._ends += [here, there]
            threading.Thread(target=self._copy, args=(here, there, False), daemon=True).start()
            self._copy(there, here, True)

    def _copy(self, source: socket.socket, target: socket.socket, spoiled: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(self.spoil(data) if spoiled else data)
            target.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        """End both connections, as a program that ends does: what it has not read makes it a reset."""
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self) -> None:
        for end in [self._listening, *self._ends]:
            end.close()


# The handshake ------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [b"SSH-2.0-OpenSSH_9.6\r\n", b"\x00" * 64, b"\xff" * 4_000])
def test_what_is_not_tls(said: bytes) -> None:
    def serve(plain: socket.socket) -> None:
        plain.sendall(said)
        plain.recv(65_536)

    with rogue(serve) as address:
        error = refusal(address)
    assert isinstance(error, jackfield.HandshakeFailed)
    assert error.cause is Cause.NOT_TLS


def test_a_server_that_says_nothing() -> None:
    def serve(plain: socket.socket) -> None:
        while plain.recv(65_536):
            pass

    with rogue(serve) as address:
        begin = time.monotonic()
        error = refusal(address, connect_timeout=0.3)
        assert time.monotonic() - begin < 10.0
    assert isinstance(error, jackfield.ConnectTimedOut)
    assert error.cause is Cause.HANDSHAKE_TIMEOUT
    assert "accepted, and said nothing" in str(error)


@pytest.mark.parametrize("end", [socket.socket.close, reset])
def test_a_server_that_ends_in_the_handshake(end: Callable[[socket.socket], None]) -> None:
    def serve(plain: socket.socket) -> None:
        plain.recv(65_536)
        end(plain)

    with rogue(serve) as address:
        error = refusal(address)
    assert isinstance(error, jackfield.HandshakeFailed)
    assert error.cause is Cause.CLOSED_IN_HANDSHAKE


def test_certificates_that_are_not_trusted() -> None:
    with server() as listener:
        accepting = Waiting(lambda: listener.accept(20.0))
        error = refusal(listener.address, ca=None, pin="ab" * 32)
        assert isinstance(error, jackfield.CertificateRejected)
        assert error.cause is Cause.PIN_MISMATCH
        assert error.fingerprint == certificates().server.fingerprint
        error = refusal(listener.address, server_name="hub.example")
        assert error.cause is Cause.WRONG_NAME
        until(lambda: listener.statistics().handshakes_failed == 2, "both were told")
        assert {failed.cause for failed in listener.failed_handshakes()} == {Cause.CERTIFICATE_REFUSED}
        assert listener.failed_handshakes() == []
        here = client(listener.address)
        accepting.outcome().abort()
        here.abort()


def test_clients_that_break_the_handshake_harm_nobody() -> None:
    """Garbage, half a ClientHello, a reset in the middle, an early end: the next one is served."""
    hello = client_hello()

    def garbage(plain: socket.socket) -> None:
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
        while plain.recv(100):
            pass

    def half(plain: socket.socket) -> None:
        plain.sendall(hello[: len(hello) // 2])
        plain.shutdown(socket.SHUT_WR)
        assert not plain.recv(100)

    def cut(plain: socket.socket) -> None:
        plain.sendall(hello)
        plain.recv(1)
        reset(plain)

    with server() as listener:
        accepting = Waiting(lambda: listener.accept(20.0))
        for broken in (garbage, half, cut):
            with socket.create_connection(("127.0.0.1", listener.address.port)) as plain:
                plain.settimeout(20)
                broken(plain)
        until(lambda: listener.statistics().handshakes_failed == 3, "all were let go")
        assert accepting.waits
        failed = [error.cause for error in listener.failed_handshakes()]
        assert sorted(failed) == sorted([Cause.NOT_TLS, *[Cause.CLOSED_IN_HANDSHAKE] * 2])
        here = client(listener.address)
        there = accepting.outcome()
        here.send(b"well")
        assert there.receive(10.0) == b"well"
        here.abort()
        there.abort()


def client_hello() -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        session.do_handshake()
    return outgoing.read()


def test_who_waits_for_a_handshake_computes_nothing() -> None:
    """Neither an accept among silent clients nor a receive takes processor time while it waits."""
    with server(handshake_timeout=None) as listener:
        silent = [socket.create_connection(("127.0.0.1", listener.address.port)) for _ in range(20)]
        with pytest.raises(jackfield.TimedOut):
            listener.accept(0.1)
        begun = time.process_time()
        with pytest.raises(jackfield.TimedOut):
            listener.accept(1.0)
        accepting = beside(listener.accept, 20.0)
        here = client(listener.address)
        there = accepting.result(20.0)
        with pytest.raises(jackfield.TimedOut):
            here.receive(1.0)
        assert time.process_time() - begun < 0.5
        for end in [here, there]:
            end.abort()
        for each in silent:
            each.close()


# Afterwards ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_an_end_without_close_notify(version: ssl.TLSVersion) -> None:
    def serve(plain: socket.socket) -> None:
        wrapped = secured(plain, minimum_version=version, maximum_version=version)
        wrapped.sendall(b"\0\0\0\x07welcome")
        wrapped.close()

    with rogue(serve) as address:
        channel = client(address)
        assert channel.receive(10.0) == b"welcome"
        for call in (lambda: channel.receive(10.0), lambda: channel.send(b"too late")):
            with pytest.raises(jackfield.ChannelLost, match="close_notify") as told:
                call()
            assert told.value.cause is Cause.TRUNCATED
        channel.close()


def test_a_flipped_byte_and_the_alert_that_answers_it() -> None:
    with server() as listener, between(listener.address) as (address, relay):
        accepting = beside(listener.accept, 20.0)
        here = client(address)
        there = accepting.result(20.0)
        relay.spoil = lambda data: data[:-1] + bytes([data[-1] ^ 1])
        there.send(b"spoiled")
        with pytest.raises(jackfield.ChannelLost) as told:
            here.receive(10.0)
        assert told.value.cause is Cause.DAMAGED_RECORD
        with pytest.raises(jackfield.ChannelLost) as other:
            there.receive(10.0)
        assert other.value.cause is Cause.REFUSED_BY_PEER
        assert "alert" in str(other.value)
        here.abort()
        there.abort()


def test_a_connection_that_is_cut_while_both_threads_work() -> None:
    with server() as listener, between(listener.address) as (address, relay):
        accepting = beside(listener.accept, 20.0)
        here = client(address)
        there = accepting.result(20.0)

        def send() -> None:
            while True:
                here.send(bytes(1_000_000))

        sending, receiving = Waiting(send), Waiting(here.receive)
        relay.cut()
        for call in (sending, receiving):
            with pytest.raises(jackfield.ChannelLost):
                call.outcome()
        here.abort()
        there.abort()


def test_a_reset_in_the_middle() -> None:
    def serve(plain: socket.socket) -> None:
        wrapped = secured(plain)
        wrapped.sendall(b"\0\0\0\x05hello")
        assert wrapped.recv(10)
        reset(wrapped)

    with rogue(serve) as address:
        channel = client(address)
        assert channel.receive(10.0) == b"hello"
        channel.send(b"go")
        with pytest.raises(jackfield.ChannelLost) as told:
            channel.receive(10.0)
        assert told.value.errno is not None
        channel.abort()


def test_a_peer_that_is_killed() -> None:
    program = textwrap.dedent(
        """
        import sys
        from jackfield import sync
        with sync.connect(sys.argv[1], ca=sys.argv[2], framing="u32") as channel:
            channel.send(b"alive")
            channel.receive()
        """
    )
    with server() as listener:
        command = [sys.executable, "-c", program, str(listener.address), certificates().connecting["ca"]]
        with subprocess.Popen(command) as other:
            there = listener.accept(60.0)
            assert there.receive(20.0) == b"alive"
            receiving = Waiting(there.receive)
            other.kill()
            with pytest.raises(jackfield.ChannelLost) as told:
                receiving.outcome()
            assert told.value.cause is Cause.TRUNCATED
            there.abort()


# With programs of others --------------------------------------------------------------------------


def channel_has_bytes(channel: sync.Channel) -> bool:
    """Whether the kernel holds something for it."""
    return bool(select.select([channel], [], [], 0)[0])


def command_of(other: subprocess.Popen[bytes], command: bytes) -> None:
    assert other.stdin is not None
    other.stdin.write(command + b"\n")
    other.stdin.flush()


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl_connects_and_changes_keys(peer_program: Callable[[str], str], version: str) -> None:
    """s_client reads nothing while we send much: the answer to its new keys waits, and no thread hangs."""
    program, pipe = peer_program("openssl"), subprocess.PIPE
    with server(framing="line") as listener:
        to = f"127.0.0.1:{listener.address.port}"
        command = [program, "s_client", version, "-connect", to]
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as other:
            try:
                channel = listener.accept(20.0)
                command_of(other, b"first")
                assert channel.receive(10.0) == b"first"
                if version == "-tls1_2":
                    command_of(other, b"R")  # a new handshake, which there is not
                    until(lambda: channel_has_bytes(channel), "it has asked for one")
                    with pytest.raises(jackfield.ChannelLost) as told:
                        channel.receive(10.0)
                    assert told.value.cause is Cause.REFUSED_BY_PEER
                else:
                    receiving = Waiting(channel.receive)
                    command_of(other, b"k")
                    command_of(other, b"K")
                    # Its output is a pipe that nobody reads: it stops, and so do we.
                    sending = Waiting(lambda: channel.send(b"x" * 10_000_000))
                    assert receiving.waits
                    found = beside(lambda: other.stdout.read() if other.stdout else b"")
                    sending.outcome()
                    command_of(other, b"after the new keys")
                    assert receiving.outcome() == b"after the new keys"
                    channel.send(b"the end")
                    channel.close()
                    said = found.result(20.0)
                    assert said.count(b"x") >= 10_000_000
                    assert b"the end" in said
                channel.abort()
            finally:
                other.kill()


def test_openssl_serves(peer_program: Callable[[str], str]) -> None:
    program, pipe = peer_program("openssl"), subprocess.PIPE
    files = certificates().listening
    command = [
        program,
        "s_server",
        "-accept",
        "127.0.0.1:0",
        "-cert",
        files["cert"],
        "-key",
        files["key"],
        "-rev",
    ]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as other:
        try:
            assert other.stdout is not None
            line = next(line for line in other.stdout if line.startswith(b"ACCEPT "))
            port = int(line.rpartition(b":")[2])
            with client(f"tls://127.0.0.1:{port}", framing="line") as channel:
                assert channel.request(b"stressed", timeout=10.0) == b"desserts"
        finally:
            other.kill()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_standard_library_connects(version: ssl.TLSVersion) -> None:
    context = ssl.create_default_context(cafile=certificates().connecting["ca"])
    context.minimum_version = context.maximum_version = version
    with server(framing="line") as listener:
        accepting = beside(listener.accept, 20.0)
        plain = socket.create_connection(("127.0.0.1", listener.address.port))
        with context.wrap_socket(plain, server_hostname="localhost") as other:
            channel = accepting.result(20.0)
            assert channel.tls is not None
            assert channel.tls.version == version.name.replace("_", ".")
            other.sendall(b"hello\n" + b"x" * 500_000 + b"\n")
            assert channel.receive(10.0) == b"hello"
            assert len(channel.receive(10.0)) == 500_000
            sending = beside(channel.send, b"y" * 500_000)
            left = 500_001
            while left:
                left -= len(other.recv(left))
            sending.result(10.0)
            closing = beside(channel.close)
            assert other.recv(1) == b""  # close_notify
            closing.result(10.0)
