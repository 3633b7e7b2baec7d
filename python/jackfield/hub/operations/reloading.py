"""What keeps a hub running: reload, and flush for a backup."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

import jackfield

from .. import protocol
from ..protocol import REFUSED, Request, RequestError
from ..reload import PATIENCE

if TYPE_CHECKING:
    from ..session import Session


async def reload(session: Session, request: Request) -> None:
    reloader = session.hub.reloader
    if reloader is None:
        raise RequestError(REFUSED, "this hub was not started by 'jackfield serve', and cannot be reloaded")
    done = await reloader.reload(by=session.who, timeout=request.seconds("timeout", PATIENCE))
    # The answer must be on its way before the hub ends.
    try:
        await session.reply(protocol.ok(request.id, done))
        with contextlib.suppress(jackfield.JackfieldError):
            await session.channel.flush(timeout=1.0)
    finally:
        session.hub.leave()


async def flush(session: Session, request: Request) -> dict[str, Any]:
    hub = session.hub
    await hub.state.flush()
    path, config = hub.state.path, hub.settings.config
    return {
        "state": str(path) if path is not None and path.is_file() else None,
        "config": None if config is None else str(config),
    }


OPERATIONS: Final = {"flush": flush, "reload": reload}
