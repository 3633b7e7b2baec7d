"""What operators ask native clients that answer: request."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from ..protocol import NO_SUCH_CLIENT, REFUSED, Request, RequestError, encode_data
from ..target import select_one_in_turns

if TYPE_CHECKING:
    from ..native import NativeSession
    from ..session import Session

PATIENCE: Final = 10.0  # seconds that an answer is waited for, unless it is said


async def request(session: Session, request: Request) -> None:
    """Ask one native client, and wait for its answer beside other requests."""
    hub, data, timeout = session.hub, request.data("data"), request.seconds("timeout", PATIENCE)
    client_id = await select_one_in_turns(request.text("target"), hub)
    client = hub.client(client_id)
    found = None if hub.native is None else hub.native.session_of(client_id)
    if client is None:
        raise RequestError(NO_SUCH_CLIENT, "the client left at this moment")
    if found is None:
        hint = f"'jackfield send {client_id} DATA --expect PATTERN' waits for what a plain one says"
        raise RequestError(REFUSED, f"{client.name} is no native client, and takes no requests", hint=hint)
    session.begin(request.id, _ask(session, client_id, found, data, timeout))


async def _ask(
    session: Session, client_id: int, asked: NativeSession, data: bytes, timeout: float
) -> dict[str, Any]:
    began, outcome, name = time.monotonic(), "cancelled", asked.name
    try:
        answer = await asked.native.questions.ask(asked, data, session.who, timeout)
        outcome = "answered"
    except RequestError as problem:
        outcome = problem.code
        raise
    finally:
        session.hub.log("requested", by=session.who, client=name, bytes=len(data), outcome=outcome)
    seconds = round(time.monotonic() - began, 6)
    return {"id": client_id, "name": name, "answer": encode_data(answer), "seconds": seconds}


OPERATIONS: Final = {"request": request}
