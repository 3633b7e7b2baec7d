"""Jackfield's blocking twin: a server of one client at a time, and a client that asks and waits."""

from common import Meter, arguments, ready

from jackfield import sync

words = arguments()


def echo() -> None:
    with sync.listen(words.address, framing="u32") as listener:
        ready(str(listener.address))
        for channel in listener:
            with channel:
                for message in channel:
                    channel.send(message)


def ping() -> None:
    message = b"x" * words.size
    with sync.connect(words.address, framing="u32") as channel:
        meter = Meter(words.seconds)
        while True:
            channel.request(message)
            if not meter.tick():
                break


if words.role == "echo":
    echo()
else:
    ping()
