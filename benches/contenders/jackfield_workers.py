"""Jackfield with worker processes: each request costs so much Python code, and no waiting."""

import asyncio
import os

from common import arguments, ready

import jackfield

WORK = 4_000  # turns of a Python loop, some hundred microseconds


async def compute(channel: jackfield.Channel) -> None:
    async for message in channel:
        total = 0
        for number in range(WORK):
            total += number * number
        assert total
        await channel.send(message)


async def main(address: str, count: int) -> None:
    async with jackfield.listen(address, framing="u32") as listener:
        server = asyncio.create_task(listener.serve(compute, workers=jackfield.Processes(count)))
        # They wait for each other before they accept: one that answers means that all are there.
        async with jackfield.connect(listener.address, framing="u32") as channel:
            await channel.request(b"up?")
        ready(str(listener.address))
        await server


if __name__ == "__main__":
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    words = arguments()
    jackfield.run(main(words.address, words.workers))
