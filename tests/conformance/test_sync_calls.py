"""Blocking calls one by one: time-outs that lose nothing, full queues, facts, an event loop next door."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from support import BLOCKING, Chain, Transport, every, payload
from support_sync import Waiting, beside, raw_end, two_ends, wrap

import jackfield
from jackfield import sync

pytestmark = pytest.mark.timeout(60)


@every(BLOCKING)
def test_a_receive_that_times_out_has_taken_nothing(transport: Transport, directory: Path) -> None:
    with two_ends(transport, directory) as (client, server):
        for timeout in (0, 0.0, 0.01, -1):
            with pytest.raises(jackfield.TimedOut, match="no message came"):
                server.receive(timeout)
        with pytest.raises(TimeoutError):
            server.receive_many(timeout=0.01)
        client.send(b"late")
        assert server.receive(10.0) == b"late"


def test_a_thousand_timeouts_against_a_stream_in_pieces_lose_nothing() -> None:
    sent, received, timeouts = Chain(), Chain(), 0
    data = b"".join(
        len(message).to_bytes(4, "big") + message
        for message in (sent.next(number % 50) for number in range(2_000))
    )
    with raw_end("u32") as (channel, plain):
        for start in range(0, len(data), 37):
            plain.sendall(data[start : start + 37])
            try:
                while True:
                    received.check(channel.receive(0))
            except jackfield.TimedOut:
                timeouts += 1
        while received.count < sent.count:
            received.check(channel.receive(10.0))
    assert timeouts > 1_000


def test_a_large_message_survives_timeouts_on_its_way() -> None:
    message = payload(2**20)
    with raw_end("u32") as (channel, plain):
        plain.sendall(len(message).to_bytes(4, "big"))
        for start in range(0, len(message), 2**18):
            with pytest.raises(jackfield.TimedOut):
                channel.receive(0.01)
            sender = beside(plain.sendall, message[start : start + 2**18])
            if start + 2**18 < len(message):
                with pytest.raises(jackfield.TimedOut):
                    channel.receive(0.05)
            sender.result(10.0)
        assert channel.receive(10.0) == message


def test_a_timed_out_receive_exactly_gives_back_what_came() -> None:
    with raw_end() as (channel, plain):
        plain.sendall(b"abc")
        with pytest.raises(jackfield.TimedOut):
            channel.receive_exactly(5, 0.05)
        with pytest.raises(jackfield.TimedOut):
            channel.receive_until(b"\n", 0.05)
        assert channel.receive(10.0) == b"abc"


def fill(channel: sync.Channel, message: bytes) -> int:
    """Send until no whole message more goes; how many went, the last one perhaps in part."""
    for count in range(1_000_000):
        try:
            channel.send(message, 0.02)
        except jackfield.TimedOut:
            return count
    raise AssertionError("it never fills")


@every([transport for transport in BLOCKING if transport.name != "udp"])
def test_a_send_that_times_out_has_sent_nothing(transport: Transport, directory: Path) -> None:
    with two_ends(transport, directory) as (client, server):
        message = b"m" * 3_000
        went = fill(client, message)
        assert went > 0
        assert all(server.receive(10.0) == message for _ in range(went - 1))
        client.send(b"after", 10.0)
        assert server.receive(10.0) == message
        assert server.receive(10.0) == b"after"


def test_a_message_that_has_left_in_part_is_queued_and_leaves_first() -> None:
    one, two = sync.pair(framing="u32")
    with one, two:
        large = payload(2**22)
        one.send(large, 0.05)
        waiting = one.statistics()
        assert 0 < waiting.queued_bytes < 2**22
        assert waiting.queued_messages == 1
        with pytest.raises(jackfield.TimedOut, match="did not leave"):
            one.flush(0.02)
        with pytest.raises(jackfield.TimedOut):
            one.send(b"behind", 0.02)
        receiving = beside(two.receive, 20.0)
        one.flush(20.0)
        assert receiving.result(20.0) == large
        assert one.statistics().queued_bytes == 0


def test_a_receive_sends_what_waits_on() -> None:
    """Two that have both left something behind and now receive: neither may wait for the other for ever."""
    one, two = sync.pair(framing="u32")
    large = payload(2**21)

    def take(channel: sync.Channel) -> bytes:
        message = channel.receive(20.0)
        channel.flush(20.0)
        return message

    with one, two:
        one.send(large, 0.02)
        two.send(large, 0.02)
        first = beside(take, one)
        assert take(two) == large
        assert first.result(20.0) == large


def test_send_nowait_and_a_full_queue() -> None:
    one, two = sync.pair(framing="u32", high_water=100_000)
    with two:
        count = 0

        def flood() -> None:
            nonlocal count
            while True:
                one.send_nowait(b"z" * 1_000)
                count += 1

        with pytest.raises(jackfield.QueueFull, match="full"):
            flood()
        assert one.statistics().queued_messages > 90
        reading = beside(lambda: [len(two.receive(10.0)) for _ in range(count)])
        one.flush(10.0)
        assert reading.result(10.0) == [1_000] * count
        one.send_nowait(b"room again")
        assert two.receive(10.0) == b"room again"
        one.close()


@pytest.mark.parametrize("when_full", ["reject", "drop_newest", "drop_oldest", "disconnect"])
def test_what_happens_when_full_is_chosen_and_counted(when_full: str) -> None:
    one, two = sync.pair(framing="u32", high_water=50_000, when_full=when_full)
    with two:
        rejected, lost = 0, ""
        for number in range(1_000):
            try:
                one.send(number.to_bytes(4, "big") + b"y" * 2_000)
            except jackfield.QueueFull:
                rejected += 1
            except jackfield.ChannelLost as error:
                lost = str(error)
                break
        dropped = one.statistics().dropped_messages
        got = []
        closing = beside(one.close)
        for message in two:
            got.append(int.from_bytes(message[:4], "big"))
        closing.result(10.0)
        assert got == sorted(got)
        if when_full == "reject":
            assert rejected == 1_000 - len(got) > 0 == dropped
        elif when_full.startswith("drop"):
            assert dropped == 1_000 - len(got) > 0
            assert (got[-1] == 999) == (when_full == "drop_oldest")
        else:
            assert dropped > 0
        assert ("read fast enough" in lost) == (when_full == "disconnect")


@every(BLOCKING)
def test_request(transport: Transport, directory: Path) -> None:
    with two_ends(transport, directory) as (client, server):
        answering = beside(lambda: server.send(server.receive(10.0).upper()))
        assert client.request(b"hello", timeout=10.0) == b"HELLO"
        answering.result(10.0)
        started = time.monotonic()
        with pytest.raises(jackfield.TimedOut):
            client.request(b"nobody answers", 0.05)
        assert time.monotonic() - started >= 0.05
        assert server.receive(10.0) == b"nobody answers"


@every(BLOCKING)
def test_the_facts(transport: Transport, directory: Path) -> None:
    with two_ends(transport, directory) as (client, server):
        assert client.protocol == server.protocol == transport.scheme
        assert (client.local, client.peer) == (server.peer, server.local)
        is_unix = transport.scheme not in ("udp", "tcp", "tls")
        assert (client.credentials is not None) == (is_unix and transport.name != "dgram")
        client.send(b"12345")
        assert server.receive(10.0) == b"12345"
        sent, received = client.statistics(), server.statistics()
        assert (sent.messages_out, received.messages_in) == (1, 1)
        assert sent.bytes_out == received.bytes_in >= 5
        assert received.last_received is not None
        assert abs(received.last_received - time.time()) < 10
        assert client.fileno() >= 0
        assert client.id != server.id
        assert "open" in repr(client)
        client.abort()
        assert client.closed
        assert "closed" in repr(client)
        assert client.statistics().messages_out == 1


def test_connecting_raises_what_the_asynchronous_twin_raises(directory: Path) -> None:
    with pytest.raises(jackfield.ConnectRefused) as refused:
        sync.connect("tcp://127.0.0.1:1")
    assert refused.value.attempts
    with pytest.raises(jackfield.InvalidAddress):
        sync.connect("tpc://127.0.0.1:1")
    with pytest.raises(jackfield.InvalidOption):
        sync.connect("tcp://127.0.0.1:1", high_water="much")
    with pytest.raises(jackfield.ConnectFailed):
        sync.connect(f"unix://{directory}/nobody")
    with sync.listen("tcp://127.0.0.1:0") as listener, pytest.raises(jackfield.AddressInUse):
        sync.listen(listener.address)
    with pytest.raises(jackfield.NotSupported, match="packets of all peers"):
        sync.listen("udp://127.0.0.1:0")


def test_in_a_thread_that_runs_a_loop_it_opens_all_the_same() -> None:
    async def main() -> bytes:
        with (
            sync.listen("tcp://127.0.0.1:0", framing="line") as listener,
            sync.connect(listener.address, framing="line") as client,
            listener.accept(10.0) as server,
        ):
            client.send(b"from inside a loop")
            return server.receive(10.0)

    assert asyncio.run(main()) == b"from inside a loop"


def test_both_twins_speak_with_each_other() -> None:
    async def main() -> None:
        async def shout(channel: jackfield.Channel) -> None:
            async for message in channel:
                await channel.send(message.upper())

        def ask(address: jackfield.Address) -> list[bytes]:
            with sync.connect(address, framing="u32") as channel:
                return [channel.request(b"x" * size, 10.0) for size in (1, 1_000, 100_000)]

        async with jackfield.listen("tcp://127.0.0.1:0", framing="u32") as listener, listener.serving(shout):
            answers = await asyncio.to_thread(ask, listener.address)
        assert answers == [b"X" * size for size in (1, 1_000, 100_000)]

    jackfield.run(main)


def test_opening_leaves_no_descriptor_behind() -> None:
    def count() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = 0
    for turn in range(6):
        if turn == 1:
            before = count()  # the first turn may have loaded something for good
        with sync.listen("tcp://127.0.0.1:0") as listener, sync.connect(listener.address) as client:
            listener.accept(10.0).close()
            with pytest.raises(jackfield.EndOfStream):
                client.receive(10.0)
    assert count() == before


def test_a_closed_udp_port_is_told_and_the_channel_goes_on() -> None:
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.bind(("127.0.0.1", 0))
        port = plain.getsockname()[1]
        channel = sync.connect(f"udp://127.0.0.1:{port}")
        plain.close()
        channel.send(b"to nobody")
        with pytest.raises(jackfield.ChannelLost, match="is closed"):
            channel.receive(10.0)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
            again.bind(("127.0.0.1", port))
            channel.send(b"to somebody")
            assert again.recv(100) == b"to somebody"
        channel.close()


def test_a_message_too_large_is_refused_and_harms_nothing() -> None:
    one, two = sync.pair(framing="u32", max_message=1_000)
    with one, two:
        with pytest.raises(jackfield.MessageTooLarge, match="1000"):
            one.send(b"x" * 1_001)
        with pytest.raises(jackfield.MessageTooLarge):
            one.send_many([b"first", b"x" * 1_001, b"never"])
        one.send(b"fine")
        assert two.receive(10.0) == b"first"
        assert two.receive(10.0) == b"fine"


def test_a_descriptor_that_is_not_open_is_refused() -> None:
    import socket

    plain = socket.socket()
    plain.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        wrap(plain)


def test_a_waiting_call_is_seen_to_wait() -> None:
    """The helper itself: it tells a call that waits from one that came back."""
    one, two = sync.pair(framing="u32")
    with one, two:
        waiting = Waiting(two.receive)
        assert waiting.waits
        one.send(b"x")
        assert waiting.outcome() == b"x"
        assert not waiting.waits


def test_until_the_peers_kernel_has_it() -> None:
    with raw_end("line") as (channel, plain):
        channel.send(b"one", 10.0, until="peer_kernel")
        channel.send_many([b"two", b"three"], until="sent")
        channel.flush(10.0, until="peer_kernel")
        plain.settimeout(0)
        assert plain.recv(100) == b"one\ntwo\nthree\n"
        plain.settimeout(None)
        channel.send(b"x" * 4_000_000, 0.1)
        with pytest.raises(jackfield.TimedOut):
            channel.flush(0.05, until="peer_kernel")
        with pytest.raises(jackfield.NotSupported, match="peer_kernel"):
            channel.send(b"x", until="stored")
        with pytest.raises(ValueError, match="is none of"):
            channel.send(b"x", until="delivered")  # type: ignore[arg-type]


def test_options_are_read_back_and_set() -> None:
    with sync.listen("tcp://127.0.0.1:0") as listener, sync.connect(listener.address) as channel:
        assert listener.kernel_options()["nodelay"] is True
        assert channel.kernel_options()["nodelay"] is True
        assert channel.set_option("nodelay", False) is False
        assert channel.kernel_options()["nodelay"] is False
        with pytest.raises(jackfield.InvalidOption):
            channel.set_option("nodeley", True)
