"""The web console: web_link."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ..protocol import FAILED, Request, RequestError
from ..web_door import WebDoor

if TYPE_CHECKING:
    from ..session import Session


async def web_link(session: Session, request: Request) -> dict[str, Any]:
    door = session.hub.part(WebDoor)
    if door is None:
        raise RequestError(
            FAILED, "this hub has no web console", hint="start the hub with 'jackfield serve', which has one"
        )
    return await door.link(by=session.who, address=request.text("address", "") or None)


OPERATIONS: Final = {"web_link": web_link}
