"""What the tests of the web console share: a hub with its console in this loop, a browser without pages."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from support import eventually
from websockets.asyncio.client import ClientConnection, connect

import jackfield
from jackfield.hub.embedded import serve
from jackfield.hub.server import Hub
from jackfield.web import Web


class Console:
    """A hub with its console, and one who is logged in."""

    def __init__(self, hub: Hub, web: Web, browser: httpx.AsyncClient) -> None:
        self.hub = hub
        self.web = web
        self.browser = browser
        self.csrf = ""

    @property
    def url(self) -> str:
        return self.web.url

    @property
    def headers(self) -> dict[str, str]:
        """What a page of the console sends with what changes something."""
        return {"origin": self.url, "x-csrf-token": self.csrf}

    @property
    def cookie(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.browser.cookies.items())

    async def code(self) -> str:
        """The code of a new link."""
        return (await self.web.link(by="pid:1"))["url"].partition("#")[2]

    async def login(self, code: str, **headers: str) -> httpx.Response:
        return await self.browser.post(
            "/api/v1/login", json={"code": code}, headers={"origin": self.url, **headers}
        )

    async def ask(self, op: str, **arguments: Any) -> Any:
        """What an operation that changes something answers; it must succeed."""
        answer = await self.browser.post(f"/api/v1/{op}", json=arguments, headers=self.headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def read(self, op: str, **arguments: Any) -> Any:
        answer = await self.browser.get(f"/api/v1/{op}", params=arguments)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def live(self, **headers: str) -> connect:
        """The WebSocket, as a page opens it."""
        given = {"Cookie": self.cookie, "Origin": self.url, **headers}
        origin = given.pop("Origin")
        return connect(
            f"ws{self.url.removeprefix('http')}/api/v1/live",
            origin=origin or None,  # type: ignore[arg-type]
            additional_headers=given,
            max_size=None,
        )


@asynccontextmanager
async def console(*addresses: str, login: bool = True, state: Path | None = None) -> AsyncIterator[Console]:
    web = Web()
    async with serve(*(addresses or ("tcp://127.0.0.1:0",)), framing="line", parts=[web], state=state) as hub:
        await web.link(by="pid:1")
        async with httpx.AsyncClient(base_url=web.url, timeout=20.0) as browser:
            made = Console(hub, web, browser)
            if login:
                answer = await made.login(await made.code())
                assert answer.status_code == 200, answer.text
                made.csrf = answer.json()["csrf"]
            yield made


@asynccontextmanager
async def client(made: Console) -> AsyncIterator[jackfield.Channel]:
    """A client of the hub's first listener that the hub knows of."""
    before = len(made.hub)
    async with jackfield.connect(made.hub.listeners[0][0].address, framing="line") as channel:
        await eventually(lambda: len(made.hub) > before)
        yield channel


async def reply(socket: ClientConnection, request: dict[str, Any]) -> dict[str, Any]:
    """What ends a request on the WebSocket."""
    await socket.send(json.dumps(request))
    while True:
        found: dict[str, Any] = json.loads(await asyncio.wait_for(socket.recv(), 10))
        if found["id"] == request["id"] and "event" not in found:
            return found
