"""TLS without an event loop: what two ends agree on, certificates, half-close, many at once, workers."""

from __future__ import annotations

import asyncio
import ctypes
import functools
import hashlib
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from support import Runner
from support_sync import Waiting, beside, until
from support_tls import certificates

import jackfield
from jackfield import Cause, Processes, Threads, sync

pytestmark = pytest.mark.timeout(120)

LARGE = 64 << 20
"""Bytes that no socket has room for."""


def server(**options: Any) -> sync.Listener:
    return sync.listen(
        "tls://127.0.0.1:0", **{**certificates().listening, "framing": "u32", "max_message": LARGE, **options}
    )


def client(address: jackfield.Address, **options: Any) -> sync.Channel:
    return sync.connect(
        address, **{**certificates().connecting, "framing": "u32", "max_message": LARGE, **options}
    )


@contextmanager
def connected(
    listener: sync.Listener | None = None, **options: Any
) -> Iterator[tuple[sync.Channel, sync.Channel]]:
    """A client's channel and the server's channel to it."""
    with listener or server() as listening:
        accepting = beside(listening.accept, 20.0)
        here = client(listening.address, **options)
        there = accepting.result(20.0)
        try:
            yield here, there
        finally:
            here.abort()
            there.abort()


def echo(channel: sync.Channel) -> None:
    for message in channel:
        channel.send(message)


def answer_by_process(channel: sync.Channel) -> None:
    for _ in channel:
        channel.send(b"%d" % os.getpid())


async def answer_by_loop(channel: jackfield.Channel) -> None:
    async for _ in channel:
        await channel.send(b"%d" % os.getpid())


def test_what_was_agreed_on() -> None:
    with connected(server(alpn="jackfield"), alpn="jackfield") as (here, there):
        assert here.protocol == there.protocol == "tls"
        assert here.peer.scheme == "tls"
        found, other = here.tls, there.tls
        assert found is not None
        assert other is not None
        assert found.version == other.version == "TLSv1.3"
        assert found.cipher == other.cipher == "TLS_AES_256_GCM_SHA384"
        assert found.alpn == other.alpn == "jackfield"
        assert other.peer is None
        assert found.peer is not None
        assert found.peer.fingerprint == certificates().server.fingerprint
        here.close()
        assert here.tls is None
    one, two = sync.pair()
    assert one.tls is None
    one.abort()
    two.abort()


def test_both_ends_show_certificates() -> None:
    wanted = certificates().connecting["ca"]
    with connected(server(ca=wanted), **certificates().identity) as (_, there):
        assert there.tls is not None
        assert there.tls.peer is not None
        assert there.tls.peer.names == ("client.example",)
    with connected(pin=certificates().server.fingerprint, ca=None) as (here, there):
        here.send(b"pinned")
        assert there.receive(10.0) == b"pinned"


def test_certificates_are_reloaded_and_connections_go_on(directory: Path) -> None:
    def renew() -> str:
        made = jackfield.make_certificate(["127.0.0.1"], signer=certificates().authority)
        made.save(directory / "cert.pem", directory / "key.pem")
        return made.fingerprint

    def shown(channel: sync.Channel) -> str:
        assert channel.tls is not None
        assert channel.tls.peer is not None
        return channel.tls.peer.fingerprint

    first = renew()
    files = {"cert": str(directory / "cert.pem"), "key": str(directory / "key.pem")}
    for workers in (None, Threads(4)):
        with server(**files) as listener, listener.serving(echo, workers=workers):
            here = client(listener.address)
            assert shown(here) == first
            second = renew()
            listener.reload_certificates()
            there = client(listener.address)
            assert shown(there) == second
            for channel in (here, there):
                assert channel.request(b"still here", timeout=10.0) == b"still here"
                channel.close()
            (directory / "cert.pem").write_text("nothing")
            with pytest.raises(jackfield.InvalidOption, match="cert"):
                listener.reload_certificates()
            assert client_once(listener.address) == b"once"
            first = renew()
    with (
        sync.listen("tcp://127.0.0.1:0") as plain,
        pytest.raises(jackfield.NotSupported, match="has no certificates"),
    ):
        plain.reload_certificates()


def client_once(address: jackfield.Address) -> bytes:
    with client(address) as channel:
        return channel.request(b"once", timeout=10.0)


def test_half_close() -> None:
    with connected() as (here, there):
        here.send(b"a question")
        here.send_eof()
        assert there.receive(10.0) == b"a question"
        with pytest.raises(jackfield.EndOfStream):
            there.receive(10.0)
        there.send_many([b"%d" % number for number in range(1_000)])
        there.close()
        assert [bytes(message) for message in here] == [b"%d" % number for number in range(1_000)]


def test_both_ways_at_once_with_hashes() -> None:
    """Bulk in both directions over one connection, by four threads: sockets full, nothing lost."""
    sizes = [1, 100, 16_384, 16_385, 70_000, 1_000_000, 3_000_000]

    def send(channel: sync.Channel, seed: int) -> bytes:
        dice, digest = random.Random(seed), hashlib.sha256()
        for _ in range(60):
            message = dice.randbytes(dice.choice(sizes))
            digest.update(message)
            channel.send(message)
        channel.send_eof()
        return digest.digest()

    def receive(channel: sync.Channel) -> bytes:
        digest = hashlib.sha256()
        for message in channel:
            digest.update(message)
        return digest.digest()

    with connected() as (here, there):
        sending = [beside(send, here, 1), beside(send, there, 2)]
        receiving = [beside(receive, there), beside(receive, here)]
        assert [one.result(60.0) for one in sending] == [one.result(60.0) for one in receiving]


def test_a_sender_that_waits_for_room_holds_up_no_receiver() -> None:
    with connected() as (here, there):
        sending = Waiting(lambda: here.send(bytes(LARGE)))
        for number in range(100):
            there.send(b"%d" % number)
            assert here.receive(10.0) == b"%d" % number
        assert sending.waits
        assert len(there.receive(60.0)) == LARGE
        sending.outcome()


@pytest.mark.parametrize("end", ["close", "abort"])
def test_ending_wakes_who_sends_and_who_receives(end: str) -> None:
    with connected() as (here, _there):
        sending = Waiting(lambda: here.send(bytes(LARGE)))
        receiving = Waiting(here.receive)
        if end == "close":
            with pytest.raises(jackfield.TimedOut):
                here.close(0.2)
        else:
            here.abort()
        for call in (sending, receiving):
            with pytest.raises(jackfield.ChannelClosed):
                call.outcome()


def test_closing_is_an_end_even_while_a_thread_receives() -> None:
    with connected() as (here, there):
        receiving = Waiting(here.receive)
        here.close()
        with pytest.raises(jackfield.EndOfStream):
            there.receive(10.0)
        with pytest.raises(jackfield.ChannelClosed):
            receiving.outcome()


def test_what_came_with_the_handshake_is_not_lost(run_here: Runner) -> None:
    """The server's first words can arrive together with the end of its handshake."""

    async def main() -> None:
        async def greet(channel: jackfield.Channel) -> None:
            await channel.send_many([b"welcome", bytes(100_000)])

        options = {**certificates().listening, "framing": "u32"}
        async with jackfield.listen("tls://127.0.0.1:0", **options) as listener, listener.serving(greet):

            def ask() -> None:
                for _ in range(50):
                    with client(listener.address) as channel:
                        assert channel.receive(10.0) == b"welcome"
                        assert len(channel.receive(10.0)) == 100_000

            await asyncio.to_thread(ask)

    run_here(main)


def test_a_loop_connects_to_a_blocking_server(run_here: Runner) -> None:
    async def main(address: jackfield.Address) -> None:
        options = {**certificates().connecting, "framing": "u32"}
        channels = [await jackfield.connect(address, **options) for _ in range(20)]
        for channel in channels:
            assert await channel.request(bytes(200_000), timeout=10.0) == bytes(200_000)
        for channel in channels:
            await channel.close()

    with server() as listener, listener.serving(echo):
        run_here(lambda: main(listener.address))


def test_who_says_nothing_holds_up_nobody() -> None:
    with server(handshake_timeout=2.0) as listener:
        silent = [socket.create_connection(("127.0.0.1", listener.address.port)) for _ in range(50)]
        accepting = Waiting(lambda: listener.accept(20.0))
        here = client(listener.address)
        there = accepting.outcome()
        here.send(b"hello")
        assert there.receive(10.0) == b"hello"
        until(lambda: failures_after_a_moment(listener) == 50, "the silent ones are let go", 20.0)
        assert listener.statistics() == (1, 0, 0, 50)
        failed = listener.failed_handshakes()
        assert len(failed) == 50
        assert "it said nothing of TLS" in str(failed[0])
        assert failed[0].peer is not None
        for each in silent:
            assert each.recv(1) == b""
            each.close()
        here.abort()
        there.abort()


def test_the_time_for_a_handshake_counts_while_somebody_accepts() -> None:
    """A server that was busy for longer than ``handshake_timeout`` does not let go of who came meanwhile."""
    with (
        server(handshake_timeout=2.0) as listener,
        socket.create_connection(("127.0.0.1", listener.address.port)) as slow,
    ):
        with pytest.raises(jackfield.TimedOut):
            listener.accept(0.1)
        connecting = beside(client, listener.address)
        busy_until = time.monotonic() + 2.5
        until(lambda: time.monotonic() > busy_until, "more than the time for a handshake has passed")
        there = listener.accept(10.0)
        connecting.result(10.0).abort()
        there.abort()
        assert listener.statistics().handshakes_failed == 0
        until(lambda: failures_after_a_moment(listener) == 1, "the slow one is let go", 20.0)
        assert slow.recv(1) == b""


def test_the_time_for_a_handshake_stops_with_a_pool() -> None:
    """Nobody accepts after ``serve`` was interrupted: whose handshake has begun keeps what is left."""

    class Alarm(Exception):
        pass

    def ring(*_: object) -> None:
        raise Alarm

    def use_and_ring() -> None:
        assert client_once(listener.address) == b"once"
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)

    before = signal.signal(signal.SIGALRM, ring)
    try:
        with (
            server(handshake_timeout=3.0) as listener,
            socket.create_connection(("127.0.0.1", listener.address.port)),
        ):
            using = beside(use_and_ring)
            with pytest.raises(Alarm):
                listener.serve(echo, workers=Threads(2))
            using.result(10.0)
            busy_until = time.monotonic() + 3.5
            until(lambda: time.monotonic() > busy_until, "more than the time for a handshake has passed")
            assert failures_after_a_moment(listener) == 0
    finally:
        signal.signal(signal.SIGALRM, before)


def failures_after_a_moment(listener: sync.Listener) -> int:
    """How many handshakes have failed, after a while of accepting nobody."""
    with pytest.raises(jackfield.TimedOut):
        listener.accept(0.1)
    return listener.statistics().handshakes_failed


def test_a_signal_is_seen_between_newcomers() -> None:
    """Also one that interrupts no wait, as while newcomers come all the time."""

    class Alarm(Exception):
        pass

    def ring(*_: object) -> None:
        raise Alarm

    before = signal.signal(signal.SIGALRM, ring)
    try:
        with server() as listener, socket.create_connection(("127.0.0.1", listener.address.port)):
            # From C, so that no interpreter looks for signals before the accept does.
            listener._before_look = functools.partial(ctypes.PyDLL(None)["raise"], int(signal.SIGALRM))
            begun = time.monotonic()
            with pytest.raises(Alarm):
                listener.accept(30.0)
            assert time.monotonic() - begun < 15, "it came before the time-out did"
    finally:
        signal.signal(signal.SIGALRM, before)


def test_threads_that_accept_share_the_newcomers() -> None:
    with server() as listener:
        accepting = [beside(listener.accept, 30.0) for _ in range(8)]
        here = [future.result(30.0) for future in [beside(client, listener.address) for _ in range(8)]]
        there = [future.result(30.0) for future in accepting]
        assert {channel.peer for channel in there} == {channel.local for channel in here}
        assert listener.statistics().clients == 8
        for channel in here + there:
            channel.abort()
        assert listener.statistics().clients == 0


def test_closing_wakes_threads_that_accept() -> None:
    with server() as listener:
        calls = [Waiting(listener.accept) for _ in range(3)]
        listener.close()
        for call in calls:
            with pytest.raises(jackfield.ChannelClosed):
                call.outcome()


def test_clients_beyond_the_limit_are_refused() -> None:
    with server(max_clients=1) as listener, listener.serving(echo):
        here = client(listener.address)
        with pytest.raises(jackfield.JackfieldError):
            client_once(listener.address)
        assert listener.statistics().refused == 1
        here.close()
        until(lambda: listener.statistics().clients == 0, "the first has left")
        assert client_once(listener.address) == b"once"


def test_one_address_has_a_rate_of_handshakes() -> None:
    with server(handshake_rate=1) as listener, listener.serving(echo):
        where, crowd = ("127.0.0.1", listener.address.port), []
        for _ in range(100):
            with suppress(ConnectionResetError):
                crowd.append(socket.create_connection(where, source_address=("127.0.0.2", 0)))
        until(lambda: listener.statistics().handshakes_failed >= 50, "those beyond the rate are reset")
        assert client_once(listener.address) == b"once"
        assert Cause.HANDSHAKE_RATE in {error.cause for error in listener.failed_handshakes()}
        for each in crowd:
            each.close()


def test_closing_a_listener_with_a_pool_refuses_newcomers_at_once() -> None:
    with server() as listener, listener.serving(echo, workers=Threads(2)):
        assert client_once(listener.address) == b"once"
        listener.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", listener.address.port))
    assert listener.closed
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", listener.address.port))


def test_a_pool_serves_whose_handshakes_had_begun() -> None:
    with server() as listener:
        connecting = [beside(client, listener.address) for _ in range(5)]
        first = listener.accept(20.0)
        # The others' handshakes went on as far as that call took them.
        with listener.serving(echo, workers=Threads(6)):
            channels = [future.result(20.0) for future in connecting]
            others = [channel for channel in channels if channel.local != first.peer]
            assert len(others) == 4
            for channel in others:
                assert channel.request(b"hello", timeout=20.0) == b"hello"
            with socket.create_connection(("127.0.0.1", listener.address.port)) as broken:
                broken.sendall(b"GET / HTTP/1.1\r\n\r\n")
                until(lambda: listener.statistics().handshakes_failed == 1, "it was let go")
            assert len(listener.failed_handshakes()) == 1
            for channel in [first, *channels]:
                channel.abort()


def test_what_is_promised_of_any_channel() -> None:
    """How far a message has come, what the kernel says, framings by silence, queues that are full."""
    with connected() as (here, there):
        here.send(b"as far as there", until="peer_kernel")
        assert there.receive(10.0) == b"as far as there"
        assert here.kernel_options()["nodelay"]
        assert here.statistics().bytes_out == 4 + len(b"as far as there")
    with connected(server(framing="gap:20ms"), framing="gap:20ms") as (here, there):
        for message in (b"one", b"two"):
            here.send(message)
            assert there.receive(10.0) == message
    with connected(when_full="drop_newest", high_water=100_000) as (here, there):
        for _ in range(400):
            here.send(bytes(90_000))
        assert here.statistics().dropped_messages > 0
        until(lambda: here.statistics().queued_messages > 0, "some wait")
        here.send_eof()
        draining = beside(lambda: [len(message) for message in there])
        with pytest.raises(jackfield.TimedOut):
            here.receive(0.5)  # which sends what waits
        until(lambda: here.statistics().queued_messages == 0, "all has left")
        here.close()
        sizes = draining.result(20.0)
        assert set(sizes) == {90_000}
        assert len(sizes) + here.statistics().dropped_messages == 400


@pytest.mark.parametrize("handler", [answer_by_process, answer_by_loop], ids=["blocking", "asynchronous"])
def test_processes_share_the_clients(handler: Any) -> None:
    with server() as listener, listener.serving(handler, workers=Processes(2)):
        channels: list[sync.Channel] = []
        found: set[bytes] = set()
        while len(found) < 2:
            assert len(channels) < 50, "all clients go to one process"
            channels.append(client(listener.address, connect_timeout=60.0))
            found.add(channels[-1].request(b"who", timeout=60.0))
        with pytest.raises(jackfield.NotSupported, match="read its certificates when they started"):
            listener.reload_certificates()
        for channel in channels:
            channel.close()


def test_workers_of_a_loops_listener(run_here: Runner) -> None:
    async def main() -> None:
        options = {**certificates().listening, "framing": "u32"}
        async with jackfield.listen("tls://127.0.0.1:0", **options) as listener:
            with pytest.raises(jackfield.NotSupported, match=r"handshakes .*in this process"):
                await listener.serve(answer_by_process, workers=Processes(2))
            async with listener.serving(echo, workers=Threads(2)):
                connecting = {**certificates().connecting, "framing": "u32"}
                one, two, three = [await jackfield.connect(listener.address, **connecting) for _ in range(3)]
                for channel in (one, two):
                    assert await channel.request(b"hello", timeout=10.0) == b"hello"
                await three.send(b"third")
                with pytest.raises(jackfield.TimedOut):
                    await three.receive(0.2)
                await one.close()
                assert await three.receive(10.0) == b"third"
                await two.close()
                closing = three
            with pytest.raises((jackfield.ChannelLost, jackfield.EndOfStream)):
                await closing.receive(10.0)
            closing.abort()

    run_here(main)
