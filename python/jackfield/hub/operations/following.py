"""What goes on until it is cancelled: logs that are followed, the audit log too, and talk with one client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .. import protocol
from ..protocol import Request
from ..talkers import Talker
from ..target import NoSuchClient, select_one_in_turns

if TYPE_CHECKING:
    from ..session import Session

PIECE: Final = 4 * 1024 * 1024  # bytes of a client's message in one event; a longer one comes in several


async def logs(session: Session, request: Request) -> dict[str, Any] | None:
    last = request.integer("last", 20, most=100_000)
    follow = request.flag("follow")
    journal = session.hub.journal
    if follow:
        session.subscribe(
            request.id,
            journal.follow(lambda event: session.push(protocol.event(request.id, {"log": event.to_json()}))),
        )
    for event in journal.last(last):
        await session.reply(protocol.event(request.id, {"log": event.to_json()}))
    return None if follow else {}


async def audit(session: Session, request: Request) -> dict[str, Any] | None:
    last = request.integer("last", 20, most=100_000)
    follow = request.flag("follow")
    log = session.hub.security.audit_log
    before = list(log.recent)[-last:] if last else []
    if follow:
        session.subscribe(
            request.id,
            log.follow(lambda record: session.push(protocol.event(request.id, {"audit": record}))),
        )
    for record in before:
        await session.reply(protocol.event(request.id, {"audit": record}))
    return None if follow else {}


async def talk(session: Session, request: Request) -> None:
    hub = session.hub
    client_id = await select_one_in_turns(request.text("target"), hub)
    member, view = hub.member(client_id), hub.view(client_id)
    if member is None or view is None:
        raise NoSuchClient(request.text("target"), hub)
    attached = {"attached": view, "ending": hub.plan_of(member).ending}
    earlier = hub.memory.of(client_id, request.integer("earlier", 0, most=1000))

    def said(data: bytes, **more: Any) -> None:
        for start in range(0, max(1, len(data)), PIECE):
            piece = protocol.encode_data(data[start : start + PIECE])
            session.push(protocol.event(request.id, {"message": piece, **more}))

    def left(reason: str) -> None:
        session.forget(request.id)
        session.push(protocol.ok(request.id, {"left": reason}))

    session.push(protocol.event(request.id, attached))
    for when, data in earlier:
        said(data, earlier=when)
    session.subscribe(request.id, hub.talkers.add(client_id, Talker(said, left)))
    hub.log("attached", id=client_id, name=view["name"], by=session.who)


async def cancel(session: Session, request: Request) -> dict[str, Any]:
    of = request.integer("of")
    if session.cancel(of):
        await session.reply(protocol.ok(of, {"left": "cancelled"}))
    return {}


OPERATIONS: Final = {"audit": audit, "logs": logs, "talk": talk, "cancel": cancel}
