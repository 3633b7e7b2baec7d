"""How blocking channels end: in order, by reset, in the middle of a frame, from another thread, by nobody."""

from __future__ import annotations

import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support import BLOCKING, STREAMS, WITH_END, Transport, every, payload
from support import reset as reset_plain
from support_sync import Waiting, beside, raw_end, sleeps, two_ends, until

import jackfield
from jackfield import sync

pytestmark = pytest.mark.timeout(60)


def flood(channel: sync.Channel, message: bytes) -> None:
    """Send until that fails."""
    while True:
        channel.send(message)


@every([transport for transport in WITH_END if transport in BLOCKING])
def test_the_end_comes_behind_the_last_message_and_stays(transport: Transport, directory: Path) -> None:
    with two_ends(transport, directory) as (client, server):
        client.send_many([b"one", b"two"])
        client.close()
        client.close()
        assert server.receive(10.0) == b"one"
        assert list(server) == [b"two"]
        for _ in range(2):
            with pytest.raises(jackfield.EndOfStream):
                server.receive(10.0)
        assert list(server) == []


@every([transport for transport in WITH_END if transport in BLOCKING])
def test_half_close_goes_on_the_other_way(transport: Transport, directory: Path) -> None:
    with two_ends(transport, directory) as (client, server):
        client.send(b"question")
        client.send_eof()
        with pytest.raises(jackfield.ChannelClosed, match="ended this side"):
            client.send(b"too late")
        assert list(server) == [b"question"]
        server.send(b"answer")
        assert client.receive(10.0) == b"answer"


def test_send_eof_follows_what_waits() -> None:
    one, two = sync.pair(framing="u32")
    with one, two:
        large = payload(2**21)
        one.send(large, 0.02)
        one.send_eof()
        flushing = beside(one.flush, 20.0)
        assert list(two) == [large]
        flushing.result(10.0)


@every([transport for transport in STREAMS if transport in BLOCKING])
def test_a_peer_that_ends_inside_a_frame(transport: Transport, directory: Path) -> None:
    with two_ends(transport, directory, framing="none") as (client, server):
        with two_ends(transport, directory, framing="u32") as (other, _):
            pass
        assert other.closed
        server.send(b"abc")
        server.close()
        with pytest.raises(jackfield.TruncatedFrame):
            client.receive_exactly(5, 10.0)
        assert client.receive(10.0) == b"abc"
        with pytest.raises(jackfield.EndOfStream):
            client.receive(10.0)


def test_a_reset_is_a_lost_channel_for_both_directions() -> None:
    with raw_end("u32") as (channel, plain):
        waiting = Waiting(channel.receive)
        reset_plain(plain)
        with pytest.raises(jackfield.ChannelLost, match="reset"):
            waiting.outcome()
        with pytest.raises(jackfield.ChannelLost):
            channel.receive(10.0)
        with pytest.raises(jackfield.ChannelLost):
            channel.send(b"x")
        with pytest.raises(jackfield.ChannelLost):
            channel.flush()


def test_last_words_are_heard_after_a_send_failed() -> None:
    with raw_end("line") as (channel, plain):
        plain.sendall(b"you are not welcome\n")
        plain.close()
        with pytest.raises(jackfield.ChannelLost):
            flood(channel, b"hello " * 1_000)
        assert channel.receive(10.0) == b"you are not welcome"


def test_a_reset_that_a_send_met_first_is_no_end() -> None:
    with raw_end("line") as (channel, plain):
        plain.sendall(b"last words\nand th")
        reset_plain(plain)
        with pytest.raises(jackfield.ChannelLost):
            flood(channel, b"hello")
        assert channel.receive(10.0) == b"last words"
        for _ in range(2):
            with pytest.raises(jackfield.ChannelLost):
                channel.receive(10.0)


def test_last_words_are_heard_after_a_wait_for_an_acknowledgement_failed() -> None:
    with raw_end("line") as (channel, plain):
        plain.sendall(b"last words\n")
        reset_plain(plain)
        with pytest.raises(jackfield.ChannelLost):
            channel.flush(10.0, until="peer_kernel")
        assert channel.receive(10.0) == b"last words"
        with pytest.raises(jackfield.ChannelLost):
            channel.receive(10.0)


def test_a_peer_can_be_told_what_was_wrong() -> None:
    with raw_end("u32", max_message=1_000) as (channel, plain):
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n" + bytes(50_000))
        with pytest.raises(jackfield.MessageTooLarge):
            channel.receive(10.0)
        channel.send(b"what?")
        channel.flush(10.0)
        channel.close(10.0)
        plain.settimeout(20)
        with plain.makefile("rb") as file:
            assert file.read() == b"\0\0\0\x05what?"


def test_a_bad_frame_is_told_and_stays() -> None:
    with raw_end("u32", max_message=1_000) as (channel, plain):
        plain.sendall(b"\0\0\0\2okGET / HTTP/1.1\r\n\r\n")
        assert channel.receive(10.0) == b"ok"
        for _ in range(2):
            with pytest.raises(jackfield.MessageTooLarge, match="GET "):
                channel.receive(10.0)


@pytest.mark.parametrize("end", ["close", "abort"])
@pytest.mark.parametrize("timeout", [None, 50.0])
@every(BLOCKING)
def test_ending_wakes_a_thread_that_receives(
    transport: Transport, directory: Path, end: str, timeout: float | None
) -> None:
    with two_ends(transport, directory) as (client, _server):
        waiting = Waiting(lambda: client.receive(timeout))
        assert waiting.waits
        getattr(client, end)()
        with pytest.raises(jackfield.ChannelClosed):
            waiting.outcome()
        for call in (client.receive, client.receive_many, client.flush, client.fileno, client.send_eof):
            with pytest.raises(jackfield.ChannelClosed):
                call()
        with pytest.raises(jackfield.ChannelClosed):
            client.send(b"x")
        with pytest.raises(jackfield.ChannelClosed):
            next(client)


@every([transport for transport in BLOCKING if transport.name != "udp"])
def test_aborting_wakes_threads_that_send(transport: Transport, directory: Path) -> None:
    with two_ends(transport, directory) as (client, _server):
        floods = [Waiting(lambda: flood(client, b"f" * 50_000)) for _ in range(3)]
        client.abort()
        for waiting in floods:
            with pytest.raises(jackfield.ChannelClosed):
                waiting.outcome()


def test_closing_wakes_threads_that_wait_for_their_turn() -> None:
    one, two = sync.pair(framing="u32")
    with two:
        waiting = [Waiting(one.receive) for _ in range(4)]
        one.close()
        for call in waiting:
            with pytest.raises(jackfield.ChannelClosed):
                call.outcome()


def test_close_delivers_what_waits_and_has_a_deadline() -> None:
    one, two = sync.pair(framing="u32")
    large = payload(2**21)
    one.send(large, 0.02)
    closing = beside(one.close, 20.0)
    assert list(two) == [large]
    closing.result(10.0)
    two.close()
    one, two = sync.pair(framing="u32")
    one.send(large, 0.02)
    with pytest.raises(jackfield.TimedOut, match="did not leave"):
        one.close(0.05)
    assert one.closed
    assert one.statistics().dropped_messages == 1
    with pytest.raises(jackfield.TruncatedFrame):
        two.receive(10.0)
    two.close()


def test_close_with_a_deadline_ends_a_send_that_waits() -> None:
    one, two = sync.pair(framing="u32")
    with two:
        sending = Waiting(lambda: one.send(payload(2**22)))
        with pytest.raises(jackfield.TimedOut):
            one.close(0.05)
        with pytest.raises(jackfield.ChannelClosed):
            sending.outcome()


def test_close_with_unread_bytes_is_an_end_and_no_reset() -> None:
    with raw_end("u32") as (channel, plain):
        plain.sendall(b"\0\0\0\1x" * 100)
        assert channel.receive(10.0) == b"x"
        plain.sendall(b"more" * 100)
        channel.send(b"bye")
        channel.close()
        assert plain.recv(100) == b"\0\0\0\3bye"
        assert plain.recv(100) == b""


def test_abort_is_a_reset() -> None:
    with raw_end("u32") as (channel, plain):
        channel.abort()
        channel.abort()
        with pytest.raises(ConnectionResetError):
            plain.recv(100)


def test_the_block_closes_and_aborts_when_it_raises() -> None:
    with raw_end("u32") as (channel, plain):
        with channel:
            channel.send(b"x")
        assert plain.recv(100) == b"\0\0\0\1x"
        assert plain.recv(100) == b""
    with raw_end("u32") as (channel, plain):
        with pytest.raises(ZeroDivisionError), channel:
            raise ZeroDivisionError
        with pytest.raises(ConnectionResetError):
            plain.recv(100)


def test_an_unclosed_channel_warns_and_is_aborted() -> None:
    def drop() -> None:
        one, two = sync.pair()
        two.close()
        del one
        gc.collect()

    with pytest.warns(ResourceWarning, match="dropped"):
        drop()


def test_kill_9_of_a_peer(directory: Path) -> None:
    program = (
        "import sys; from jackfield import sync; channel = sync.connect(sys.argv[1], framing='u32');"
        "channel.send(b'here'); channel.receive()"
    )
    with sync.listen("tcp://127.0.0.1:0", framing="u32") as listener:
        peer = subprocess.Popen([sys.executable, "-c", program, str(listener.address)])
        with listener.accept(20.0) as channel:
            assert channel.receive(10.0) == b"here"
            waiting = Waiting(channel.receive)
            peer.kill()
            with pytest.raises(jackfield.EndOfStream):
                waiting.outcome()
        peer.wait(10)


CTRL_C = """
import signal, socket, sys
from jackfield import sync
channel = sync.connect(sys.argv[1], framing="u32")
signal.signal(signal.SIGUSR1, lambda *_: print("signal", flush=True))
got = []
print("ready", flush=True)
while True:
    try:
        got.append(channel.receive({timeout}))
        if got[-1] == b"end":
            break
    except KeyboardInterrupt:
        print("interrupted", flush=True)
print(got)
channel.close()
"""


@pytest.mark.parametrize("timeout", ["", "60"])
def test_ctrl_c_interrupts_a_receive_and_nothing_is_lost(timeout: str) -> None:
    with sync.listen("tcp://127.0.0.1:0", framing="none") as listener:
        command = [sys.executable, "-u", "-c", CTRL_C.format(timeout=timeout), str(listener.address)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
            assert program.stdout is not None
            with listener.accept(20.0) as channel:
                assert program.stdout.readline() == "ready\n"
                channel.send(b"\0\0\0\5he")  # the beginning of a message is there when Ctrl-C comes
                until(lambda: _waits(program.pid), "the program waits")
                program.send_signal(signal.SIGUSR1)
                assert program.stdout.readline() == "signal\n"
                until(lambda: _waits(program.pid), "it waits on after a handler that returned")
                for _ in range(3):
                    program.send_signal(signal.SIGINT)
                    assert program.stdout.readline() == "interrupted\n"
                    until(lambda: _waits(program.pid), "the program waits again")
                channel.send(b"llo\0\0\0\3end")
                assert program.stdout.readline() == "[b'hello', b'end']\n"
            assert program.wait(10) == 0


def _waits(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def test_a_signal_handler_that_raises_ends_a_send_that_waits() -> None:
    class Alarm(Exception):
        pass

    def ring(*_: object) -> None:
        raise Alarm

    before = signal.signal(signal.SIGALRM, ring)
    one, two = sync.pair(framing="u32")
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(Alarm):
            flood(one, b"x" * 1_000)
        whole = one.statistics()
        assert whole.queued_messages in (0, 1)
        closing = beside(one.close)
        assert {len(message) for message in two} == {1_000}
        closing.result(10.0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        two.close()


@every([transport for transport in STREAMS if transport in BLOCKING])
def test_one_signal_ends_a_large_send_that_waits(transport: Transport, directory: Path) -> None:
    class Alarm(Exception):
        pass

    def ring(*_: object) -> None:
        raise Alarm

    main = threading.get_native_id()

    def ring_once_it_waits() -> None:
        until(lambda: all(asleep_in_a_row() for _ in range(20)), "the send waits")
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)

    def asleep_in_a_row() -> bool:
        time.sleep(0.005)
        return sleeps(main)

    before = signal.signal(signal.SIGALRM, ring)
    try:
        with two_ends(transport, directory, framing="u32", max_message=64 << 20) as (one, two):
            large = bytes(64 << 20)
            ringing = beside(ring_once_it_waits)
            with pytest.raises(Alarm):
                one.send(large)
            ringing.result(10.0)
            assert one.statistics().queued_messages == 1
            receiving = beside(two.receive, 30.0)
            one.close(30.0)
            assert receiving.result(30.0) == large
    finally:
        signal.signal(signal.SIGALRM, before)


def test_the_descriptor_is_closed_once_the_last_call_has_left() -> None:
    one, two = sync.pair(framing="u32")
    with two:
        number = one.fileno()
        waiting = Waiting(one.receive)
        one.close()
        with pytest.raises(jackfield.ChannelClosed):
            waiting.outcome()
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(number)


def test_plain_sockets_still_wait_on_such_a_socket() -> None:
    """A channel needs its socket blocking; one that comes non-blocking is made so."""
    plain, other = socket.socketpair()
    plain.setblocking(False)
    from support_sync import wrap

    with wrap(plain, framing="u8") as channel, other:
        waiting = Waiting(channel.receive)
        assert waiting.waits
        other.sendall(b"\1x")
        assert waiting.outcome() == b"x"
