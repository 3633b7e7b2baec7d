"""Whom the hub dials: dial_add, dial_list, dial_remove."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

import jackfield

from ..dial_plan import plan_dial
from ..dialling import Dial, Dialling
from ..plan import PlanError
from ..protocol import BAD_REQUEST, FAILED, REFUSED, Request, RequestError

if TYPE_CHECKING:
    from ..session import Session

FIRST_OUTCOME: Final = 2.0  # seconds that an answer waits for what the first attempt comes to


def _dialling(session: Session) -> Dialling:
    found = session.hub.part(Dialling)
    if found is None:
        raise RequestError(FAILED, "this hub does not dial")
    return found


def _found(session: Session, name: str) -> Dial:
    dialling = _dialling(session)
    dial = dialling.find(name)
    if dial is None:
        known = [each.plan.name for each in dialling][:10]
        there = f"dialled are {', '.join(known)}" if known else "nobody is dialled"
        raise RequestError(REFUSED, f"{name[:80]!r} is not dialled; {there}", candidates=known)
    return dial


async def dial_add(session: Session, request: Request) -> dict[str, Any]:
    dialling = _dialling(session)
    try:
        plan = plan_dial(
            jackfield.Address.parse(request.text("address")),
            name=request.text("name", "") or None,
            framing=request.text("framing", "none"),
            ending=request.text("ending", "lf"),
        )
    except PlanError as problem:
        raise RequestError(BAD_REQUEST, str(problem), hint=problem.hint) from problem
    try:
        dial = dialling.add(plan)
    except ValueError as problem:
        raise RequestError(REFUSED, str(problem)) from problem
    session.hub.log("dialled", dial=plan.name, address=plan.where, by=session.who)
    await session.hub.state.flush()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(dial.changed.wait(), FIRST_OUTCOME)
    return dial.view(session.hub.clock())


async def dial_list(session: Session, request: Request) -> dict[str, Any]:
    now = session.hub.clock()
    return {"dials": [dial.view(now) for dial in _dialling(session)]}


async def dial_remove(session: Session, request: Request) -> dict[str, Any]:
    dial = _found(session, request.text("name"))
    await _dialling(session).remove(dial, by=session.who)
    await session.hub.state.flush()
    return {"name": dial.plan.name, "address": dial.plan.where, "lasting": dial.lasting}


OPERATIONS: Final = {"dial_add": dial_add, "dial_list": dial_list, "dial_remove": dial_remove}
