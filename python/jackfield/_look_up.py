"""getaddrinfo(3) off the loop, in a thread that nobody waits for.

A resolver that hears nothing may take half a minute, and cannot be interrupted. asyncio's own executor is
waited for when the loop ends, so a program would hang as long; these threads end by themselves, or with the
process.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import weakref
from typing import Any

_AT_A_TIME = 64
"""Threads of one loop, also those that nobody waits for any more; further look-ups wait for their turn."""

_turns: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = weakref.WeakKeyDictionary()


async def look_up(host: str, port: int, *, kind: int) -> list[tuple[Any, ...]]:
    """What getaddrinfo(3) gives for a socket kind. Raises ``OSError``; cancelled, the thread ends unheard."""
    loop = asyncio.get_running_loop()
    turns = _turns.setdefault(loop, asyncio.Semaphore(_AT_A_TIME))
    await turns.acquire()
    future: asyncio.Future[list[tuple[Any, ...]]] = loop.create_future()

    def tell(result: list[tuple[Any, ...]], error: BaseException | None) -> None:
        turns.release()
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)

    def work() -> None:
        result: list[tuple[Any, ...]] = []
        error: BaseException | None = None
        try:
            result = list(socket.getaddrinfo(host, port, type=kind, flags=socket.AI_ADDRCONFIG))
        except BaseException as caught:
            error = caught
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            loop.call_soon_threadsafe(tell, result, error)

    threading.Thread(target=work, name="jackfield-resolver", daemon=True).start()
    return await future
