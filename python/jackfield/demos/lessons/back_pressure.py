"""Back-pressure: a peer that does not read, who holds the bytes meanwhile, and what a full queue can do."""

from __future__ import annotations

import asyncio
import re

import jackfield

from ..examples import full_queue
from ..examples.full_queue import MESSAGES, QUEUE, SIZE
from ..lesson import Show, claim, printed


async def lesson(show: Show) -> None:
    ours, theirs = jackfield.pair(framing="u16", high_water=QUEUE)
    async with ours, theirs:
        said = await full_queue.fill(ours)
        stalled = re.fullmatch(r"message (\d+) raised PeerStalled", said)
        claim(stalled is not None, said)
        taken = int(stalled[1]) if stalled else 0
        queued = ours.statistics().queued_messages
        claim(0 < queued < taken and ours.statistics().queued_bytes <= QUEUE, queued, taken)
        facts = {"taken": taken, "queued": queued, "kernel": taken - queued, "messages": MESSAGES}
        await show("fills", said, str(ours.explain()), **facts)

        closing = asyncio.create_task(ours.close())
        numbers = await full_queue.receive_all(theirs)
        await closing
    claim(numbers == list(range(taken)), len(numbers), taken)
    await show("reads", f"0, 1, 2 ... {numbers[-1]}", came=len(numbers))

    arrived, largest = await full_queue.with_a_reader()
    claim(arrived == MESSAGES and largest <= QUEUE, arrived, largest)
    await show("pace", f"{arrived} x {SIZE}", came=arrived, largest=largest, mark=QUEUE)

    lines = []
    outcomes = {"reject": "QueueFull", "drop_oldest": "the last is 999", "drop_newest": "every send returned"}
    for policy, outcome in {**outcomes, "disconnect": "ChannelLost"}.items():
        with printed() as output:
            await full_queue.show(jackfield.WhenFull(policy))
        came = output.take()
        claim(outcome in "\n".join(came), policy, came)
        lines += came
    await show("policies", *lines)
