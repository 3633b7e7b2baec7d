"""A real browser for the tests of the pages: one for all of them, and a console before a scripted hub."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from typing import Any

import pytest
import support
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from scripted import NOW, Scripted

import jackfield
from jackfield.web.app import make_app
from jackfield.web.logins import Logins
from jackfield.web.server import Server, listen
from jackfield.web.site import Site

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--font-render-hinting=none",
    "--hide-scrollbars",
]


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


@pytest.fixture(scope="session")
def background() -> Iterator[Background]:
    made = Background()
    yield made
    made.end()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = support.peer_program("chromium")
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield made
        made.close()


@pytest.fixture
def stage(background: Background) -> Iterator[Stage]:
    made = Stage(background)
    yield made
    made.close()


Open = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser, stage: Stage) -> Iterator[Open]:
    """Pages that are logged in; whatever a page complains of fails the test."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_one(
        *, language: str = "en", width: int = 1280, height: int = 800, dark: bool = False, path: str = ""
    ) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            locale="zh-CN" if language == "zh" else "en-GB",
            timezone_id="UTC",
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
            device_scale_factor=1,
        )
        contexts.append(context)
        context.set_default_timeout(15_000)
        page = context.new_page()
        page.clock.set_fixed_time(NOW)
        page.on("pageerror", lambda problem: complaints.append(str(problem)))
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.goto(stage.link())
        page.wait_for_selector(".state[data-state=live]")
        if path:
            page.goto(f"{stage.url}/#/{path}")
        return page

    yield open_one
    for context in contexts:
        context.close()
    expected = ("401", "ERR_CONNECTION", "WebSocket", "Failed to load resource")
    assert [each for each in complaints if not any(word in each for word in expected)] == []
