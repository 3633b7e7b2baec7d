"""The web console over TLS: curl and a real browser log in, and their cookie goes over TLS alone."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from background import Background
from playwright.sync_api import Browser
from test_web_tls import console


@pytest.fixture
def background(directory: Path) -> Iterator[Background]:
    with Background(lambda: console(directory)) as made:
        yield made


def login(made: Background) -> str:
    """A link that logs in once."""
    _, web = made.hub
    found = asyncio.run_coroutine_threadsafe(web.link(by="pid:1"), made.loop).result(10)
    return str(found["url"])


def test_curl_gets_in_with_a_secure_cookie(background: Background, directory: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed: scripts/install_peers.sh installs it")
    address, _, code = login(background).partition("/login#")
    assert address.startswith("https://127.0.0.1:")

    def curl(path: str, *more: str) -> str:
        jar = ["--cacert", directory / "hub.cert.pem", "-b", directory / "jar", "-c", directory / "jar"]
        command = ["curl", "-sS", "-i", *map(str, jar), address + path, *more]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done
        return done.stdout

    headers = ("-H", f"Origin: {address}", "-H", "Content-Type: application/json")
    answer = curl("/api/v1/login", *headers, "-d", json.dumps({"code": code}))
    assert answer.startswith("HTTP/1.1 200 ")
    (cookie,) = (line for line in answer.splitlines() if line.lower().startswith("set-cookie:"))
    assert "__Host-jackfield_" in cookie
    assert "Secure" in cookie
    assert '"clients":0' in curl("/api/v1/status").replace(" ", "")
    assert curl("/api/v1/status", "-b", "none").startswith("HTTP/1.1 ")


def test_a_browser_is_live_over_tls(browser: Browser, background: Background) -> None:
    context = browser.new_context(ignore_https_errors=True)
    context.set_default_timeout(15_000)
    page = context.new_page()
    page.goto(login(background))
    page.wait_for_selector(".state[data-state=live]")
    (cookie,) = context.cookies()
    assert cookie["secure"]
    assert cookie["name"].startswith("__Host-")
    context.close()
