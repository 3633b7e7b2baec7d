"""The WebSocket `/api/v1/live`: the operators' protocol, one message of it in each text message.

A browser is an operator like any other: what it asks for goes to a session of the hub over a channel in this
process, and what comes back waits there while the browser does not read. It ends with its login.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

import jackfield
from jackfield import Channel

from .site import Refused, Site, operator_name

MOST: Final = 64  # of all sessions
LOGGED_OUT: Final = 4401
GOING: Final = 1012  # the hub ends or is reloaded: come back


async def live(site: Site, socket: WebSocket) -> None:
    """Serve one browser until it goes. Refused before it is accepted: the browser learns why by HTTP."""
    try:
        if "authorization" not in socket.headers:
            site.check_origin(socket)
        login = site.who(socket, changes=False)
        if sum(map(len, site.live.values())) >= MOST:
            raise Refused(503, "overloaded", f"{MOST} live connections are there")
    except Refused:
        await socket.close()
        return
    await socket.accept()
    task = asyncio.current_task()
    assert task is not None
    site.live.setdefault(login.key, set()).add(task)
    code = GOING
    try:
        async with asyncio.timeout(None if login.ends == float("inf") else login.ends - site.clock()):
            async with site.door.channel(operator_name(login), login.role) as channel:
                await _both_ways(socket, channel)
    except TimeoutError:
        code = LOGGED_OUT
    except asyncio.CancelledError:
        code = GOING if site.logins.goes_on(login.key) else LOGGED_OUT
        raise
    finally:
        site.live[login.key].discard(task)
        if not site.live[login.key]:
            del site.live[login.key]
        if socket.application_state is not WebSocketState.DISCONNECTED:
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):
                await socket.close(code)


async def _both_ways(socket: WebSocket, channel: Channel) -> None:
    """Until either side is gone."""
    ways = [
        asyncio.create_task(_requests(socket, channel)),
        asyncio.create_task(_replies(socket, channel)),
    ]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def _requests(socket: WebSocket, channel: Channel) -> None:
    with contextlib.suppress(WebSocketDisconnect, jackfield.JackfieldError, OSError, KeyError):
        while True:
            message = (await socket.receive_text()).encode("utf-8", "replace")
            await channel.send(message)


async def _replies(socket: WebSocket, channel: Channel) -> None:
    with contextlib.suppress(WebSocketDisconnect, jackfield.JackfieldError, OSError, RuntimeError):
        async for message in channel:
            await socket.send_text(message.decode())
