"""What a browser of the tests talks to: a console in a thread, before a scripted hub."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any

from playwright.sync_api import Page
from scripted import Scripted

import jackfield
from jackfield.web.app import make_app
from jackfield.web.logins import Logins
from jackfield.web.server import Server, listen
from jackfield.web.site import Site

Open = Callable[..., Page]
"""`open_page(language=, width=, height=, dark=, path=)`: a page that is logged in."""


class Background:
    """An event loop in a thread of its own, for what the browser talks to."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Event | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: jackfield.run(self._main), daemon=True)
        self._thread.start()
        self._ready.wait(10)

    async def _main(self) -> None:
        self.loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        self._ready.set()
        await self._ended.wait()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        assert self.loop is not None
        future: Future[Any] = asyncio.run_coroutine_threadsafe(work, self.loop)
        return future.result(30)

    def end(self) -> None:
        assert self.loop is not None
        assert self._ended is not None
        self.loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(30)


class Stage:
    """A console that is served, with a scripted hub behind it."""

    def __init__(self, background: Background) -> None:
        self.background = background
        self.door = Scripted()
        self.logins = Logins()
        self.run = background.run
        self.run(self._open())

    async def _open(self) -> None:
        listening = listen("127.0.0.1", 0)
        port = listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.site = Site(self.door, self.logins, port, secure=False, version="1.0.0")
        self._server = Server(make_app(self.site), listening)
        await self._server.start()

    def link(self) -> str:
        code = self.logins.link(self.site.clock(), name="pid:4242", role="admin")
        return f"{self.url}/login#{code}"

    def close(self) -> None:
        self.run(self._server.stop())
