"""An operator within the hub's own process: the same requests and answers, over a pair of channels.

Owns the way in. Whoever comes this way has been let in already, with a role, and is named `who`; a reload
waits for what it asks for, as for every other operator.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import jackfield
from jackfield import Channel

from . import protocol
from .operator import Operator
from .security.roles import ADMIN
from .server import Hub
from .session import Session

HIGH_WATER: Final = 8 * 1024 * 1024  # what may wait for one operator
_OPTIONS: Final[dict[str, Any]] = {
    "framing": protocol.FRAMING,
    "max_message": protocol.MAX_MESSAGE,
    "high_water": HIGH_WATER,
}


@asynccontextmanager
async def channel_within(hub: Hub, who: str, *, role: str = ADMIN) -> AsyncIterator[Channel]:
    """A channel that speaks `hub/protocol.py` with the hub, as the control socket does.

    At the end of the block, or when it is cancelled, the operator is gone.
    """
    theirs, ours = jackfield.pair(when_full="reject", **_OPTIONS)
    session = Session(hub, theirs, who, role=role)
    hub.within.add(session)
    serving = asyncio.create_task(session.run())
    try:
        yield ours
    finally:
        ours.abort()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        hub.within.discard(session)
        session.end()
        theirs.abort()


@asynccontextmanager
async def operate_within(hub: Hub, who: str, *, role: str = ADMIN) -> AsyncIterator[Operator]:
    """The same as an `Operator`, for whoever asks from Python."""
    async with channel_within(hub, who, role=role) as channel:
        operator = Operator(channel)
        reading = asyncio.create_task(operator.read())
        try:
            yield operator
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
