"""A hub in an event loop of another thread, for tests of blocking clients and of other programs."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from native_hub import running_hub

import jackfield


class Background:
    """An event loop in a thread, with a hub in it."""

    def __init__(self, opening: Any) -> None:
        self.ready = threading.Event()
        self.opening = opening
        self.thread = threading.Thread(target=jackfield.run, args=(self.main,), daemon=True)

    async def main(self) -> None:
        self.loop, self.over = asyncio.get_running_loop(), asyncio.Event()
        async with self.opening() as self.hub:
            self.ready.set()
            await self.over.wait()

    def call(self, function: Any) -> Any:
        """Call it in the loop's thread."""

        async def work() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(work(), self.loop).result(10.0)

    def __enter__(self) -> Any:
        self.thread.start()
        assert self.ready.wait(10.0)
        return self

    def __exit__(self, *_: Any) -> None:
        self.loop.call_soon_threadsafe(self.over.set)
        self.thread.join(10.0)


@contextlib.contextmanager
def real_hub(directory: Path, address: str = "tcp://127.0.0.1:0") -> Iterator[str]:
    """The address of a hub in another thread."""
    with Background(lambda: running_hub(directory, f"{address}?protocol=native")) as background:
        yield str(background.hub.listeners[0][0].address)
