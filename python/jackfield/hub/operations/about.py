"""The hub itself: hello, status, stop."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Final

import jackfield

from .. import protocol
from ..protocol import Request
from ..roster import version
from ..status import status as hub_status

if TYPE_CHECKING:
    from ..session import Session


async def hello(session: Session, request: Request) -> dict[str, Any]:
    about = {"kind": protocol.KIND, "protocol": protocol.PROTOCOL_VERSION}
    return {**about, "version": version(), "pid": os.getpid()}


async def status(session: Session, request: Request) -> dict[str, Any]:
    return hub_status(session.hub)


async def stop(session: Session, request: Request) -> None:
    # The answer must be on its way before the hub ends.
    await session.reply(protocol.ok(request.id, {}))
    with contextlib.suppress(jackfield.JackfieldError):
        await session.channel.flush(timeout=1.0)
    session.hub.stop(f"operator {session.who}")


OPERATIONS: Final = {"hello": hello, "status": status, "stop": stop}
