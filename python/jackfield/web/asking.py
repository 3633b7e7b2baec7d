"""One request of the API, done by the hub: arguments in, status and answer out.

Owns what an error of the hub is in HTTP. Who asks has been let in.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol

from jackfield import Channel

from ..hub.operator import NoHub, Operator
from ..hub.protocol import (
    AMBIGUOUS,
    BAD_REQUEST,
    FAILED,
    NO_ANSWER,
    NO_SUCH_CLIENT,
    REFUSED,
    RELOADED,
    RequestError,
)
from ..hub.server import Hub
from ..hub.text import TextError
from ..hub.within import channel_within, operate_within
from . import composing
from .endpoint import Endpoint
from .registry import gathered
from .schemas import Invalid, check

STATUS: Final = {
    BAD_REQUEST: 400,
    NO_SUCH_CLIENT: 404,
    AMBIGUOUS: 409,
    REFUSED: 409,
    NO_ANSWER: 504,
    RELOADED: 503,
    FAILED: 500,
    "forbidden": 403,
}
LONGEST: Final = 600.0  # seconds that one request may take

Answer = tuple[int, dict[str, Any]]


class Door(Protocol):
    """The way to the hub, for one who has been let in with a role and is named `who`."""

    def operate(self, who: str, role: str) -> AbstractAsyncContextManager[Operator]: ...
    def channel(self, who: str, role: str) -> AbstractAsyncContextManager[Channel]: ...


class HubDoor:
    """The door of a hub in this process."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def operate(self, who: str, role: str) -> AbstractAsyncContextManager[Operator]:
        return operate_within(self._hub, who, role=role)

    def channel(self, who: str, role: str) -> AbstractAsyncContextManager[Channel]:
        return channel_within(self._hub, who, role=role)


def error(
    status: int, code: str, message: str, *, hint: str = "", candidates: list[str] | None = None
) -> Answer:
    """An error as the API tells it."""
    told: dict[str, Any] = {"code": code, "message": message}
    if hint:
        told["hint"] = hint
    if candidates:
        told["candidates"] = candidates
    return status, {"error": told}


async def answer(door: Door, who: str, endpoint: Endpoint, arguments: dict[str, Any], *, role: str) -> Answer:
    """Do it. Cancelled, it may or may not have been done."""
    try:
        check(arguments, endpoint.takes)
        if endpoint.op == "compose":
            return 200, composing.compose(arguments)
        if endpoint.op == "notations":
            return 200, composing.notations()
        async with asyncio.timeout(LONGEST), door.operate(who, role) as operator:
            return 200, await _ask(operator, endpoint, arguments)
    except Invalid as problem:
        return error(400, BAD_REQUEST, f"{endpoint.op}: {problem}")
    except TextError as problem:
        return error(400, BAD_REQUEST, str(problem))
    except RequestError as problem:
        return error(
            STATUS.get(problem.code, 500),
            problem.code,
            problem.message,
            hint=problem.hint,
            candidates=problem.candidates,
        )
    except NoHub:
        return error(503, RELOADED, "the hub is ending or being reloaded", hint="ask again in a moment")
    except TimeoutError:
        return error(500, FAILED, f"{endpoint.op} took longer than {LONGEST:.0f} s")


async def _ask(operator: Operator, endpoint: Endpoint, arguments: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {member: [] for _, member in endpoint.gathers}
    before: dict[str, Any] | None = None  # what came last is the end, everything before it an event
    async for part in operator.stream(endpoint.op, **arguments):
        if before is not None:
            gathered(endpoint, found, before)
        before = part
    return found | (before or {})
