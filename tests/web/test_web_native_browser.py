"""The client in JavaScript over WebSocket: in Node, and in a page of a real browser."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from background import Background
from playwright.sync_api import Browser

from jackfield import portable
from jackfield.hub.embedded import serve
from jackfield.web import Web, native

CLIENT = Path(__file__).parents[2] / "examples/clients/jackfield.mjs"
PAGE = """<!doctype html><title>a page of somebody else</title><script type="module">
    import { connect } from "./jackfield.mjs";
    const bytes = new TextEncoder(), text = new TextDecoder();
    window.talk = async (address, hello, peer, words) => {
        const client = await connect(address, hello);
        client.answer = (data) => bytes.encode(text.decode(data) + " from the page");
        window.client = client;
        return text.decode(await client.request(peer, bytes.encode(words)));
    };
    window.ready = true;
</script>"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture
def pages(directory: Path) -> Iterator[str]:
    """A web server that is not the hub's, with the page and the client."""
    (directory / "index.html").write_text(PAGE)
    shutil.copy(CLIENT, directory)
    serving = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(directory)))
    thread = Thread(target=serving.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{serving.server_port}/"
    serving.shutdown()
    serving.server_close()
    thread.join(10)


class Place:
    """A hub with its web server, and a token of a member."""

    def __init__(self, web: Web, tcp: str, token: str) -> None:
        self.web, self.tcp, self.token = web, tcp, token

    @property
    def ws(self) -> str:
        return f"ws{self.web.url.removeprefix('http')}{native.PATH}"


@asynccontextmanager
async def place(directory: Path) -> AsyncIterator[Place]:
    web = Web()
    async with serve("tcp://127.0.0.1:0", parts=[web], state=directory / "hub.db") as hub:
        await web.link(by="pid:1")
        _, secret = hub.security.tokens.create(hub.security.now(), role="member", by="a test")
        yield Place(web, str(hub.listeners[0][0].address.without_options()), secret)


@pytest.fixture
def here(directory: Path) -> Iterator[Place]:
    with Background(lambda: place(directory)) as background:
        yield background.hub


def test_a_page_of_another_origin_talks_with_a_client_of_the_hub(
    browser: Browser, pages: str, here: Place
) -> None:
    with portable.connect(here.tcp, name="dev7") as device:
        device.answer(lambda peer, data: data.upper())
        page = browser.new_page()
        page.goto(pages)
        page.wait_for_function("window.ready")
        asked = "([address, hello]) => window.talk(address, hello, 'dev7', 'status')"
        refused = page.evaluate(f"(given) => ({asked})(given).catch((error) => error.code)", [here.ws, {}])
        assert refused == "bad_token"
        hello = {"name": "page", "token": here.token}
        assert page.evaluate(asked, [here.ws, hello]) == "STATUS"
        answer = device.request(next(each["name"] for each in device.clients() if each["native"]
                                     and each["name"] != "dev7"), b"hello", 10.0)  # fmt: skip
        assert answer == b"hello from the page"
        page.close()


def test_node_talks_over_websocket(here: Place) -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not installed: scripts/install_peers.sh installs it")
    flag = "--experimental-websocket"  # of 20.10 to 21; later ones have it without
    known = ["node", "-p", f"process.allowedNodeEnvironmentFlags.has('{flag}') || typeof WebSocket"]
    found = subprocess.run(known, capture_output=True, text=True, timeout=50).stdout.strip()
    if found == "undefined":
        pytest.skip("this node has no WebSocket: 20.10 is the first that has")
    flags = [flag] if found == "true" else []
    program = f"""
        import {{ connect }} from {json.dumps(str(CLIENT))};
        const text = new TextEncoder(), client = await connect({json.dumps(here.ws)});
        console.log(new TextDecoder().decode(await client.request("dev7", text.encode("status"))));
        client.close();
        await connect({json.dumps(here.ws + "/other")}).catch((error) => console.log(error.message));
        process.exit();
    """
    with portable.connect(here.tcp, name="dev7") as device:
        device.answer(lambda peer, data: data.upper())
        command = ["node", *flags, "--input-type=module", "-e", program]
        done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert done.stdout.splitlines() == ["STATUS", f"no WebSocket at {here.ws}/other"], done
