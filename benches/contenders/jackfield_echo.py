"""Jackfield: one waiting coroutine per connection that answers each message with itself."""

from common import arguments, ready

import jackfield

words = arguments()


async def echo(channel: jackfield.Channel) -> None:
    async for message in channel:
        await channel.send(message)


async def main() -> None:
    async with jackfield.listen(words.address, framing="u32") as listener:
        ready(str(listener.address.without_options()))
        await listener.serve(echo)


jackfield.run(main, busy_poll=words.busy_poll)
