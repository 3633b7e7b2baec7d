"""A recording on its way to an operator: record, recorded (go on), record_end."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

import jackfield

from ...recording.tape import Chunk
from .. import protocol
from ..protocol import BAD_REQUEST, Request, RequestError
from ..recorder import Recorder

if TYPE_CHECKING:
    from ..session import Session


async def record(session: Session, request: Request) -> None:
    hub = session.hub
    target = request.text("target", "all")

    def to_operator(chunk: Chunk) -> None:
        facts = {"records": chunk.records, "bytes": chunk.bytes, "ended": chunk.ends}
        facts |= {"lost": recorder.lost, "clients": recorder.clients}
        data = protocol.encode_data(chunk.data)
        session.push(protocol.event(request.id, {"recording": data, **facts}))

    try:
        recorder = Recorder(to_operator, target=target)
    except ValueError as problem:
        raise RequestError(BAD_REQUEST, str(problem)) from None
    session.recorders[request.id] = recorder
    attending = asyncio.create_task(_attend(session, request.id, recorder))

    def end() -> None:
        attending.cancel()

    session.subscribe(request.id, end)
    try:
        await hub.attach(recorder)
    except BaseException:
        session.cancel(request.id)
        raise
    hub.log("recording", target=target, by=session.who)


async def _attend(session: Session, request_id: int, recorder: Recorder) -> None:
    """Tell the operator when the recording has ended; when the operator has, end it."""
    try:
        await recorder.wait_finished()
        became = {"records": recorder.records, "bytes": recorder.bytes, "lost": recorder.lost}
        body = {**became, "clients": recorder.clients, "left": recorder.reason}
        session.forget(request_id)
        with contextlib.suppress(jackfield.JackfieldError, OSError, TimeoutError):
            await session.reply(protocol.ok(request_id, body))
    finally:
        session.recorders.pop(request_id, None)
        recorder.abandon()
        await session.hub.detach(recorder)
        session.hub.log(
            "recorded", target=recorder.target, records=recorder.records, lost=recorder.lost, by=session.who
        )


async def recorded(session: Session, request: Request) -> dict[str, Any]:
    _recorder(session, request).acknowledge()
    return {}


async def record_end(session: Session, request: Request) -> dict[str, Any]:
    # What waits goes out first, and its end is the `ok` of the recording itself.
    _recorder(session, request).end(request.text("reason", "the operator ended it"))
    return {}


def _recorder(session: Session, request: Request) -> Recorder:
    recorder = session.recorders.get(request.integer("of"))
    if recorder is None:
        raise RequestError(BAD_REQUEST, f"{request.op}: no recording with that id is under way")
    return recorder


OPERATIONS: Final = {"record": record, "recorded": recorded, "record_end": record_end}
