"""A real browser for the tests of the pages: one for all of them, and a console before a scripted hub."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import support
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from scripted import NOW
from stage import Background, Open, Stage

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


@pytest.fixture(scope="session")
def background() -> Iterator[Background]:
    made = Background()
    yield made
    made.end()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for a file: Playwright's loop holds this thread until it ends, and other files run their own."""
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
