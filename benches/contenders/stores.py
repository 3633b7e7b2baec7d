"""Messages that are acknowledged once they are on disk, from an event loop that is busy all the time.

`stores.py store FILE`: 64 senders, each with a batch of 50 messages under way, and a callback of 0.2 ms that
is always ready. With Jackfield's store, or with a thread of this process that writes what has gathered: in
one statement (`--thread statement`) or in one for each row (`--thread rows`), as one would write it by hand.
"""

import argparse
import asyncio
import json
import os
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from common import WARM_UP

from jackfield.hub.rooms.sqlite_schema import prepare
from jackfield.hub.rooms.sqlite_store import SqliteStore
from jackfield.hub.rooms.store import Publication

SENDERS, BATCH = 64, 50
BURN = 200e-6  # seconds of one callback
ONE_STATEMENT = (
    "INSERT INTO messages SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5"
    " FROM json_each(?)"
)
EACH_ROW = "INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?)"

Append = Callable[[Sequence[Publication]], Awaitable[object]]


class Thread:
    """A thread that writes; it does less than a store: senders and sequences are not looked up."""

    def __init__(self, path: Path, *, one_statement: bool) -> None:
        prepare(path)
        self.groups = self.written = 0
        self._one = one_statement
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA synchronous = FULL")
        self._changed = threading.Condition()
        self._waiting: list[tuple[Sequence[Publication], asyncio.Future[None]]] = []
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._work, daemon=True).start()

    def append(self, batch: Sequence[Publication]) -> asyncio.Future[None]:
        done = self._loop.create_future()
        with self._changed:
            self._waiting.append((batch, done))
            self._changed.notify()
        return done

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                taken, self._waiting = self._waiting, []
            rows = []
            for batch, _ in taken:
                for each in batch:
                    self.written += 1
                    sender = int(each.sender)
                    rows.append((self.written, sender, each.number, each.at, each.name, each.body.decode()))
            if self._one:
                self._connection.execute(ONE_STATEMENT, (json.dumps(rows),))
            else:
                self._connection.execute("BEGIN IMMEDIATE")
                self._connection.executemany(EACH_ROW, rows)
                self._connection.execute("COMMIT")
            self.groups += 1
            self._loop.call_soon_threadsafe(self._answer, taken)

    def _answer(self, taken: list[tuple[Sequence[Publication], asyncio.Future[None]]]) -> None:
        for _, done in taken:
            done.set_result(None)


class Load:
    """The senders and the busy loop."""

    def __init__(self, append: Append, size: int, seconds: float) -> None:
        self._append = append
        self._body = b"x" * size
        self.start = time.perf_counter() + WARM_UP
        self.end = self.start + seconds
        self.count = self.turns = 0
        self.waits: list[float] = []

    def burn(self) -> None:
        until = time.perf_counter() + BURN
        while time.perf_counter() < until:
            pass
        self.turns += until >= self.start
        if until < self.end:
            asyncio.get_running_loop().call_soon(self.burn)

    async def send(self, sender: int) -> None:
        number = 0
        while (begun := time.perf_counter()) < self.end:
            batch = []
            for _ in range(BATCH):
                number += 1
                batch.append(Publication("lobby", f"{sender}", number, 1.7e9, "ana", self._body))
            await self._append(batch)
            now = time.perf_counter()
            if begun >= self.start:
                self.count += BATCH
                self.waits.append(now - begun)


async def main(words: argparse.Namespace) -> None:
    path = Path(words.file)
    append: Append
    if words.thread:
        thread = Thread(path, one_statement=words.thread == "statement")
        append, store = thread.append, None
    else:
        store = await SqliteStore.open(path)
        await store.open_room("lobby", at=1.0)
        append = store.append
    load = Load(append, words.size, words.seconds)
    load.burn()
    await asyncio.gather(*[load.send(sender) for sender in range(1, SENDERS + 1)])
    seconds = time.perf_counter() - load.start
    waits = sorted(load.waits)
    if store is not None:
        groups, written = store.statistics()
    else:
        groups, written = thread.groups, thread.written
    figures = {
        "count": load.count,
        "seconds": seconds,
        "p99": waits[int(len(waits) * 0.99)] if waits else 0.0,
        "group": written / groups,
        "turns": load.turns / seconds,
    }
    print(json.dumps(figures), flush=True)
    os._exit(0)  # the thread is not waited for


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["store"])
    parser.add_argument("file")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--thread", choices=["statement", "rows"])
    asyncio.run(main(parser.parse_args()))
