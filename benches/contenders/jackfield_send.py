"""Jackfield: sends to whoever connects, one awaited `send` per message or `send_many`."""

import contextlib

from common import BATCH, arguments, ready

import jackfield

words = arguments()


async def send_each(channel: jackfield.Channel) -> None:
    message = b"x" * words.size
    with contextlib.suppress(jackfield.ChannelLost, jackfield.ChannelClosed):
        while True:
            await channel.send(message)


async def send_gathered(channel: jackfield.Channel) -> None:
    messages = [b"x" * words.size] * BATCH
    with contextlib.suppress(jackfield.ChannelLost, jackfield.ChannelClosed):
        while True:
            await channel.send_many(messages)


async def main() -> None:
    async with jackfield.listen(words.address, framing="u32") as listener:
        ready(str(listener.address.without_options()))
        await listener.serve(send_each if words.role == "send-each" else send_gathered)


jackfield.run(main)
