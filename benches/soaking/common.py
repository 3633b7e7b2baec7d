"""What the soak's programs share: commands on standard input, each answered with a line of JSON; messages.

A message begins with what it is for: `=` wants to be sent back, `+` asks to be fed. What is fed begins with
a number.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

ECHO, FEED = b"=", b"+"

Answer = Callable[[], Awaitable[dict[str, Any]]]


async def obey(answers: dict[str, Answer]) -> None:
    """Answer one command after the other until standard input ends: whoever started this program is gone."""
    lines: asyncio.Queue[str] = asyncio.Queue()
    pending = b""

    def read() -> None:
        nonlocal pending
        more = os.read(0, 65536)
        if not more:
            asyncio.get_running_loop().remove_reader(0)
            lines.put_nowait("end")
        *whole, pending = (pending + more).split(b"\n")
        for line in whole:
            lines.put_nowait(line.decode())

    asyncio.get_running_loop().add_reader(0, read)
    while (line := await lines.get()) != "end":
        say(await answers[line]())


def say(facts: dict[str, Any]) -> None:
    """One line of JSON on standard output."""
    print(json.dumps(facts), flush=True)


def complain(what: str) -> None:
    print(what, file=sys.stderr, flush=True)
