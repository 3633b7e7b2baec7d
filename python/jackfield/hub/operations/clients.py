"""Who is there, what they are called, and out with them: clients, rename, kick."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from .. import protocol
from ..protocol import Request
from ..sending import in_turns
from ..target import select_in_turns, select_one_in_turns

if TYPE_CHECKING:
    from ..session import Session

PAGE: Final = 250  # clients in one event


async def clients(session: Session, request: Request) -> dict[str, Any]:
    ids = await select_in_turns(request.text("target", "all"), session.hub)
    for some in in_turns(ids, PAGE):
        views = [view for view in map(session.hub.view, some) if view is not None]
        await session.reply(protocol.event(request.id, {"clients": views}))
        await asyncio.sleep(0)  # thousands of views must not hold up the clients
    return {"count": len(ids)}


async def rename(session: Session, request: Request) -> dict[str, Any]:
    client_id = await select_one_in_turns(request.text("target"), session.hub)
    name = request.text("name")
    before = session.hub.rename(client_id, name)
    session.hub.log("renamed", id=client_id, name=name, before=before, by=session.who)
    return {"id": client_id, "name": name, "before": before}


async def kick(session: Session, request: Request) -> dict[str, Any]:
    target = request.text("target")
    ids = await select_in_turns(target, session.hub)
    reset = request.flag("reset")
    for some in in_turns(ids):
        for client_id in some:
            session.hub.kick(client_id, reset=reset, by=session.who)
        await asyncio.sleep(0)
    session.hub.log("kicked", target=target, clients=len(ids), reset=reset, by=session.who)
    return {"kicked": ids}


OPERATIONS: Final = {"clients": clients, "rename": rename, "kick": kick}
