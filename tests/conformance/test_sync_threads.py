"""Blocking channels from several threads: whole messages, in turn, and nobody holds up Python."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from support import BLOCKING, Transport, every
from support_sync import Waiting, beside, two_ends, until

import jackfield
from jackfield import sync

pytestmark = pytest.mark.timeout(60)


@every([transport for transport in BLOCKING if transport.is_reliable])
def test_many_senders_and_many_receivers_pass_whole_messages(transport: Transport, directory: Path) -> None:
    senders, receivers, each = 6, 4, 500
    got: list[list[bytes]] = [[] for _ in range(receivers)]

    def send(channel: sync.Channel, name: int) -> None:
        for number in range(each):
            size = number * 7919 % 900
            channel.send(bytes([name]) + number.to_bytes(2, "big") + bytes([name]) * size)

    def receive(channel: sync.Channel, into: list[bytes]) -> None:
        for message in channel:
            into.append(message)
            if message == b"stop":
                return

    with two_ends(transport, directory) as (client, server):
        receiving = [beside(receive, server, into) for into in got]
        sending = [beside(send, client, name) for name in range(senders)]
        for work in sending:
            work.result(40.0)
        client.send_many([b"stop"] * receivers)
        for work in receiving:
            work.result(40.0)
    messages = [message for into in got for message in into if message != b"stop"]
    assert Counter(message[0] for message in messages) == dict.fromkeys(range(senders), each)
    for into in got:
        for name in range(senders):
            numbers = [
                int.from_bytes(message[1:3], "big")
                for message in into
                if message != b"stop" and message[0] == name
            ]
            assert numbers == sorted(numbers), "what one thread got of one sender is in its order"
    for message in messages:
        name, number = message[0], int.from_bytes(message[1:3], "big")
        assert message[3:] == bytes([name]) * (number * 7919 % 900)


def test_threads_that_wait_are_served_in_their_order() -> None:
    one, two = sync.pair(framing="u32")
    with one, two:
        waiting = [Waiting(two.receive) for _ in range(5)]
        for number in range(5):
            one.send(b"%d" % number)
            assert waiting[number].outcome() == b"%d" % number


def test_a_thread_whose_time_is_up_leaves_the_queue() -> None:
    one, two = sync.pair(framing="u32")
    with one, two:
        first, last = Waiting(two.receive), None
        with pytest.raises(jackfield.TimedOut):
            two.receive(0.05)
        last = Waiting(two.receive)
        one.send_many([b"1", b"2"])
        assert (first.outcome(), last.outcome()) == (b"1", b"2")


def test_receiving_and_sending_do_not_wait_for_each_other() -> None:
    one, two = sync.pair(framing="u32")
    with one, two:
        receiving = Waiting(one.receive)
        one.send(b"sent while another thread receives")
        assert two.receive(10.0) == b"sent while another thread receives"
        two.send(b"x")
        assert receiving.outcome() == b"x"


def test_send_nowait_does_not_wait_for_another_thread() -> None:
    one, two = sync.pair(framing="u32")
    with two:
        sending = Waiting(lambda: one.send(b"x" * 2**22))
        with pytest.raises(jackfield.QueueFull, match="another thread"):
            one.send_nowait(b"y")
        assert len(two.receive(10.0)) == 2**22
        sending.outcome()
        one.close()


@pytest.mark.parametrize("timeout", [None, 30.0])
def test_python_goes_on_while_a_call_waits(timeout: float | None) -> None:
    one, two = sync.pair(framing="u32")
    with one, two:
        waiting = Waiting(lambda: two.receive(timeout))
        started, count = time.process_time(), 0
        while time.process_time() - started < 0.05:
            count += 1
        assert count > 0
        assert waiting.waits
        one.send(b"x")
        assert waiting.outcome() == b"x"


def test_statistics_can_be_read_while_others_wait() -> None:
    one, two = sync.pair(framing="u32")
    with two:
        receiving, sending = Waiting(one.receive), Waiting(lambda: one.send(b"x" * 2**22))
        facts = one.statistics()
        assert facts.queued_messages == 1
        assert facts.messages_in == 0
        assert one.protocol == "pair"
        assert not one.closed
        one.abort()
        for waiting in (receiving, sending):
            with pytest.raises(jackfield.ChannelClosed):
                waiting.outcome()


def test_a_hundred_channels_in_a_hundred_threads() -> None:
    def shout(channel: sync.Channel) -> None:
        for message in channel:
            channel.send(message.upper())

    def ask(address: jackfield.Address, number: int) -> None:
        with sync.connect(address, framing="line") as channel:
            for turn in range(20):
                assert channel.request(
                    b"client %d turn %d" % (number, turn), 30.0
                ) == b"CLIENT %d TURN %d" % (
                    number,
                    turn,
                )

    with sync.listen("tcp://127.0.0.1:0", framing="line") as listener, listener.serving(shout):
        asking = [beside(ask, listener.address, number) for number in range(100)]
        for work in asking:
            work.result(50.0)
        until(lambda: listener.statistics().clients == 0, "every client has left")
    until(
        lambda: not any(thread.name.startswith("client ") for thread in threading.enumerate()), "threads end"
    )
