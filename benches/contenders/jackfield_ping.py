"""Jackfield: a client that asks and waits for the answer."""

from common import Meter, arguments

import jackfield

words = arguments()


async def main() -> None:
    message = b"x" * words.size
    async with jackfield.connect(words.address, framing="u32") as channel:
        meter = Meter(words.seconds)
        while True:
            await channel.request(message)
            if not meter.tick():
                break


jackfield.run(main, busy_poll=words.busy_poll)
