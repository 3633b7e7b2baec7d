"""Blocking listeners: accept, serve, limits, socket files, and how they end."""

from __future__ import annotations

import logging
import socket
import threading
from pathlib import Path

import pytest
from support import BLOCKING, CONNECTED, Transport, every, raw_connect
from support_sync import Waiting, until

import jackfield
from jackfield import sync

pytestmark = pytest.mark.timeout(60)


@every([transport for transport in CONNECTED if transport in BLOCKING])
def test_accept_in_order_with_a_timeout(transport: Transport, directory: Path) -> None:
    with sync.listen(transport.address(directory)) as listener:
        for timeout in (0, 0.02):
            with pytest.raises(jackfield.TimedOut, match="no client came"):
                listener.accept(timeout)
        waiting = Waiting(listener.accept)
        with sync.connect(listener.address) as client, waiting.outcome() as server:
            client.send(b"x")
            assert server.receive(10.0) == b"x"
        assert listener.protocol == transport.scheme
        assert not listener.closed
        assert "open" in repr(listener)
    assert listener.closed


@pytest.mark.parametrize("timeout", [None, 50.0])
def test_closing_wakes_threads_that_accept(timeout: float | None) -> None:
    listener = sync.listen("tcp://127.0.0.1:0")
    waiting = [Waiting(lambda: listener.accept(timeout)) for _ in range(3)]
    listener.close()
    listener.abort()
    for call in waiting:
        with pytest.raises(jackfield.ChannelClosed):
            call.outcome()
    assert list(listener) == []
    with pytest.raises(jackfield.ChannelClosed):
        listener.fileno()
    with pytest.raises(ConnectionRefusedError):
        raw_connect(listener.address)


def test_several_threads_accept_and_each_client_has_one() -> None:
    with sync.listen("tcp://127.0.0.1:0") as listener:
        waiting = [Waiting(listener.accept) for _ in range(4)]
        clients = [raw_connect(listener.address) for _ in range(4)]
        accepted = [call.outcome() for call in waiting]
        assert {channel.peer.port for channel in accepted} == {plain.getsockname()[1] for plain in clients}
        for channel in accepted:
            channel.close()
        for plain in clients:
            plain.close()


def test_iteration_gives_channels_until_closed() -> None:
    listener = sync.listen("tcp://127.0.0.1:0")
    plain = [raw_connect(listener.address) for _ in range(3)]
    count = 0
    for channel in listener:
        channel.abort()
        count += 1
        if count == 3:
            listener.close()
    assert count == 3
    for client in plain:
        client.close()


def test_the_clients_limit_resets_newcomers() -> None:
    with sync.listen("tcp://127.0.0.1:0", max_clients=1) as listener:
        first = raw_connect(listener.address)
        channel = listener.accept(10.0)
        second = raw_connect(listener.address)
        with pytest.raises(jackfield.TimedOut):
            listener.accept(0.05)
        with pytest.raises(ConnectionResetError):
            second.recv(1)
        assert listener.statistics()[:2] == (1, 1)
        channel.close()
        assert listener.statistics()[:2] == (0, 1)
        third = raw_connect(listener.address)
        listener.accept(10.0).close()
        for plain in (first, second, third):
            plain.close()


def test_a_handler_per_thread_and_what_it_raises(caplog: pytest.LogCaptureFixture) -> None:
    def handler(channel: sync.Channel) -> None:
        for message in channel:
            if message == b"raise":
                raise ValueError("as asked")
            channel.send(message)

    caplog.set_level(logging.INFO, logger="jackfield")
    with (
        sync.listen("tcp://127.0.0.1:0", framing="line") as listener,
        listener.serving(handler),
        sync.connect(listener.address, framing="line") as good,
    ):
        bad = sync.connect(listener.address, framing="line")
        bad.send(b"raise")
        with pytest.raises(jackfield.ChannelLost):
            bad.receive(10.0)
        bad.abort()
        assert good.request(b"still here", 10.0) == b"still here"
    assert "ValueError: as asked" in caplog.text


def test_the_end_of_serve_ends_the_handlers(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[BaseException] = []

    def handler(channel: sync.Channel) -> None:
        try:
            channel.receive()
        except jackfield.ChannelClosed as error:
            seen.append(error)
            raise

    with sync.listen("tcp://127.0.0.1:0") as listener, listener.serving(handler):
        plain = raw_connect(listener.address)
        until(lambda: listener.statistics().clients == 1, "the client is there")
    assert len(seen) == 1
    assert not caplog.records
    plain.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("client ", "serve "))]


def test_a_socket_file_is_removed_at_the_end_and_a_stale_one_replaced(directory: Path) -> None:
    path = directory / "s"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    with sync.listen(f"unix://{path}") as listener:
        with pytest.raises(jackfield.AddressInUse):
            sync.listen(f"unix://{path}")
        sync.connect(listener.address).close()
    assert not path.exists()


def test_a_dropped_listener_warns() -> None:
    def drop() -> None:
        sync.listen("tcp://127.0.0.1:0")

    with pytest.warns(ResourceWarning, match="dropped"):
        drop()
