"""Half-close: one direction ends, and the other goes on."""

from __future__ import annotations

import jackfield

from ..examples.half_close import a_client
from ..lesson import LIMIT, Show, claim


async def lesson(show: Show) -> None:
    async with a_client() as channel:
        try:
            claim(False, await channel.receive(timeout=0.3))
        except jackfield.TimedOut as error:
            waiting = type(error).__name__
        await show("waiting", waiting, sent=channel.statistics().messages_out)

        channel.send_eof()
        answer = await channel.receive(timeout=LIMIT)
        claim(answer == b"the sum is 5050", answer)
        await show("answer", answer.decode())

        try:
            await channel.send(b"one more")
            claim(False, "a message was taken after the end")
        except jackfield.ChannelClosed as error:
            ours = f"{type(error).__name__}: {error}"
        await show("ours", ours)

        try:
            claim(False, await channel.receive(timeout=LIMIT))
        except jackfield.EndOfStream as error:
            theirs = f"{type(error).__name__}: {error}"
        await show("theirs", theirs)
