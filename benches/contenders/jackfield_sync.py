"""Jackfield's blocking twin: a server of one client at a time, and a client that asks and waits.

`echo` answers, `bulk` counts what it receives and tells its number at the end, `send-each` sends.
"""

import contextlib

from common import Meter, arguments, ready

import jackfield
from jackfield import sync

words = arguments()


def echo(channel: sync.Channel) -> None:
    for message in channel:
        channel.send(message)


def count(channel: sync.Channel) -> None:
    number = sum(1 for _ in channel)
    channel.send(number.to_bytes(8, "big"))


def send_each(channel: sync.Channel) -> None:
    message = b"x" * words.size
    with contextlib.suppress(jackfield.ChannelLost, jackfield.ChannelClosed):
        while True:
            channel.send(message)


def serve() -> None:
    handle = {"echo": echo, "bulk": count, "send-each": send_each}[words.role]
    with sync.listen(words.address, framing="u32") as listener:
        ready(str(listener.address.without_options()))
        for channel in listener:
            with channel:
                handle(channel)


def ping() -> None:
    message = b"x" * words.size
    with sync.connect(words.address, framing="u32") as channel:
        meter = Meter(words.seconds)
        while True:
            channel.request(message)
            if not meter.tick():
                break


if words.role == "ping":
    ping()
else:
    serve()
