"""A peer that does not read: back-pressure, and the five things that a full queue can do.

    python examples/full_queue.py

With each policy 1,000 numbered messages of 1 KiB go to a peer that does not read yet, through a queue of
64 KiB. Then the peer reads, and says what arrived. What is missing was refused, or is counted.
"""

import asyncio
import contextlib

import jackfield

MESSAGES, SIZE, QUEUE = 1_000, 1024, 64 * 1024


def message(number: int) -> bytes:
    return number.to_bytes(4, "big").ljust(SIZE, b".")


async def receive_all(channel: jackfield.Channel) -> list[int]:
    """The numbers of what comes, until the peer ends or is cut off, perhaps in the middle of one."""
    numbers = []
    with contextlib.suppress(jackfield.ChannelLost, jackfield.TruncatedFrame):
        async for data in channel:
            numbers.append(int.from_bytes(data[:4], "big"))
    return numbers


async def fill(channel: jackfield.Channel) -> str:
    """Send all messages, as long as that succeeds; what the sends said."""
    for number in range(MESSAGES):
        try:
            await channel.send(message(number), timeout=0.1)
        except (jackfield.QueueFull, jackfield.TimedOut, jackfield.ChannelLost) as error:
            return f"message {number} raised {type(error).__name__}"
    return "every send returned"


async def show(policy: jackfield.WhenFull) -> None:
    """Send to a peer that does not read; what each send said, what is counted, what arrived at last."""
    ours, theirs = jackfield.pair(framing="u16", high_water=QUEUE, when_full=policy)
    said = await fill(ours)
    counted = ours.statistics()
    print(f"{policy}: {said}; {counted.queued_messages} queued, {counted.dropped_messages} dropped")
    closing = asyncio.create_task(ours.close())
    numbers = await receive_all(theirs)
    print(f"    then {len(numbers)} arrived, the last is {numbers[-1]}")
    await closing
    await theirs.close()


async def with_a_reader() -> tuple[int, int]:
    """`wait` with a peer that reads: how many messages arrived, and how many bytes were queued at most."""
    ours, theirs = jackfield.pair(framing="u16", high_water=QUEUE)
    reading = asyncio.create_task(receive_all(theirs))
    largest = 0
    for number in range(MESSAGES):
        await ours.send(message(number))
        largest = max(largest, ours.statistics().queued_bytes)
    await ours.close()
    arrived = len(await reading)
    await theirs.close()
    return arrived, largest


async def main() -> None:
    for policy in jackfield.WhenFull:
        await show(policy)
    arrived, largest = await with_a_reader()
    print(f"wait, with a reader: {arrived} of {MESSAGES} arrived; ", end="")
    print(f"the queue stayed below its mark: {largest <= QUEUE}")


if __name__ == "__main__":
    jackfield.run(main)
