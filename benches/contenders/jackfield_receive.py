"""Jackfield: counts messages until end of stream and answers with their number.

`receive` and `bulk` iterate over the channel; `receive-many` takes what has been parsed in batches.
"""

import contextlib

from common import arguments, ready

import jackfield

words = arguments()


async def count_each(channel: jackfield.Channel) -> int:
    count = 0
    async for _ in channel:
        count += 1
    return count


async def count_batches(channel: jackfield.Channel) -> int:
    count = 0
    with contextlib.suppress(jackfield.EndOfStream):
        while True:
            count += len(await channel.receive_many())
    return count


async def receive(channel: jackfield.Channel) -> None:
    count = await (count_batches if words.role == "receive-many" else count_each)(channel)
    await channel.send(count.to_bytes(8, "big"))
    await channel.close()


async def main() -> None:
    async with jackfield.listen(words.address, framing="u32") as listener:
        ready(str(listener.address.without_options()))
        await listener.serve(receive)


jackfield.run(main)
