"""Bytes to clients: send, and send_on for those that come in pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ..protocol import BAD_REQUEST, REFUSED, Request, RequestError
from ..sending import begin
from ..target import select_in_turns
from ..text import LINE_ENDINGS
from .replies import with_snippet

if TYPE_CHECKING:
    from ..session import Session

MAX_SENDINGS: Final = 16  # of one operator, under way at a time


async def send(session: Session, request: Request) -> dict[str, Any]:
    target = request.text("target")
    ids = await select_in_turns(target, session.hub)
    request = with_snippet(session, request)
    name = request.text("ending", "none")
    if name != "default" and name not in LINE_ENDINGS:
        raise RequestError(BAD_REQUEST, f"unknown line ending {name!r}; known are {', '.join(LINE_ENDINGS)}")
    if request.id in session.sendings:
        raise RequestError(BAD_REQUEST, f"request {request.id} is still under way")
    if len(session.sendings) >= MAX_SENDINGS:
        raise RequestError(REFUSED, f"one operator may have {MAX_SENDINGS} sends under way at a time")
    ending = None if name == "default" else LINE_ENDINGS[name]
    sending = await begin(session.hub, ids, ending, wait=request.seconds("wait", 0.0), by=session.who)
    session.sendings[request.id] = target, sending
    return await _pass_on(session, request.id, request, whole=None)


async def send_on(session: Session, request: Request) -> dict[str, Any]:
    of = request.integer("of")
    if of not in session.sendings:
        raise RequestError(BAD_REQUEST, f"send_on: no send with the id {of} is under way")
    whole = request.data("whole") if "whole" in request.arguments else None
    return await _pass_on(session, of, request, whole=whole)


async def _pass_on(session: Session, of: int, request: Request, *, whole: bytes | None) -> dict[str, Any]:
    sending = session.sendings[of][1]
    more = request.flag("more")
    try:
        data = request.data("data")
        if not more and whole is None and request.op == "send_on":
            sending.give_up_messages("it is too long as one message")
        await sending.pass_on(data, last=not more, whole=whole)
    except BaseException:
        del session.sendings[of]
        raise
    if not more:
        session.log_sending(of)
    return sending.report()


OPERATIONS: Final = {"send": send, "send_on": send_on}
