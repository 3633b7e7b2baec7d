"""A program that lives many short lives with a store, for `test_store_crash.py`.

Reads lines: `live`, then forks a child that opens the store and appends to it as fast as it goes, until it is
killed. Says `life PID`, then of the child `writer PID`, `begins SENDER NUMBER` for what the store says was
published, and `stored SENDER NUMBER SEQUENCE` for the last of each batch that was acknowledged; `ended` when
the child is gone.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path

from jackfield.hub.rooms.sqlite_store import SqliteStore
from jackfield.hub.rooms.store import Publication

SENDERS = ("ana/1", "bo/1", "cy/1")


def say(text: str) -> None:
    """A line, whole, at once."""
    os.write(1, f"{text}\n".encode())


async def publish(store: SqliteStore, sender: str) -> None:
    """One sender, for ever: batches of any size, each after the one before was acknowledged."""
    number = await store.published("lobby", sender)
    say(f"begins {sender} {number}")
    draw = random.Random()
    while True:
        count = draw.choice((1, 1, 3, 50))
        batch = [
            Publication("lobby", sender, number + 1 + at, 1.0, "x", f"{sender} {number + 1 + at}".encode())
            for at in range(count)
        ]
        results = await store.append(batch)
        number += count
        assert all(each.fresh for each in results), results
        say(f"stored {sender} {number} {results[-1].sequence}")


async def live(path: Path) -> None:
    """One life."""
    store = await SqliteStore.open(path)
    await store.open_room("lobby", at=1.0)
    say(f"writer {store.writer}")
    await asyncio.gather(*[publish(store, sender) for sender in SENDERS])


def main() -> None:
    """Lives, one after the other."""
    for _ in sys.stdin:
        child = os.fork()
        if not child:
            os.setsid()
            asyncio.run(live(Path(sys.argv[1])))
        say(f"life {child}")
        os.waitpid(child, 0)
        say("ended")


if __name__ == "__main__":
    main()
