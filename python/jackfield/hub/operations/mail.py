"""Messages that wait for clients who are absent: mail_queue, mail_list, mail_drop."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any, Final

import jackfield

from .. import protocol
from ..identities import label
from ..native.contents import EXPIRES, LONGEST, LONGEST_WAIT, content, letter_view
from ..native.handshake import Refused
from ..native.mail import Mail
from ..protocol import BAD_REQUEST, REFUSED, Request, RequestError
from ..roster import timestamp
from ..sending import in_turns
from ..target import NoSuchClient, select_in_turns
from ..text import LINE_ENDINGS
from .clients import absent_of
from .replies import with_snippet

if TYPE_CHECKING:
    from ..server import Hub
    from ..session import Session

PAGE: Final = 100  # letters in one event
MOST_AT_ONCE: Final = 10_000  # absent clients that one message may be queued for


async def mail_queue(session: Session, request: Request) -> dict[str, Any]:
    """Say something to those who are there, and have it wait for the others that are meant."""
    hub, mail = session.hub, _mail(session.hub)
    target = request.text("target")
    request = with_snippet(session, request)
    data, ending = request.data("data"), request.text("ending", "none")
    if ending != "default" and ending not in LINE_ENDINGS:
        raise RequestError(
            BAD_REQUEST, f"unknown line ending {ending!r}; known are {', '.join(LINE_ENDINGS)}"
        )
    if len(data) > LONGEST:
        raise RequestError(REFUSED, f"a message of {len(data)} bytes is too long to wait: at most {LONGEST}")
    expires = request.integer("expires", int(EXPIRES), least=1, most=int(LONGEST_WAIT))
    absent = await absent_of(hub, target)
    if len(absent) > MOST_AT_ONCE:
        raise RequestError(
            REFUSED, f"{len(absent)} absent clients are meant, and at most {MOST_AT_ONCE} may be"
        )
    ids: list[int] = []
    try:
        ids = await select_in_turns(target, hub)
    except NoSuchClient:
        if not absent:
            raise
    own_ending = None if ending == "default" else LINE_ENDINGS[ending]
    sent = 0
    sender, waiting, problem = f"operator/{secrets.token_hex(8)}", 0, ""
    for some in in_turns(ids):
        for each in some:
            try:
                sent += hub.tell(each, data, by=session.who, ending=own_ending)
            except jackfield.FramingError as cannot:
                problem = str(cannot)
        await asyncio.sleep(0)
    body = {"from": {"id": None, "name": session.who}, **content(data), "ending": ending}
    for number, entry in enumerate(absent, 1):
        try:
            await mail.enqueue(
                entry.identity, body, sender=sender, number=number, name=session.who, expires=float(expires)
            )
            waiting += 1
        except Refused as refused:
            problem = refused.message
    hub.log("queued", by=session.who, target=target, bytes=len(data), sent=sent, waiting=waiting)
    report = {"sent": sent, "dropped": len(ids) - sent, "waiting": waiting, "refused": len(absent) - waiting}
    return report | ({"refused_because": problem} if problem else {})


async def mail_list(session: Session, request: Request) -> dict[str, Any]:
    """For whom messages wait; with a target, the messages themselves."""
    hub, mail = session.hub, _mail(session.hub)
    target = request.text("target", "")
    if target:
        identity, after, count = _identity(hub, target), 0, 0
        while found := await mail.letters(identity, after, PAGE):
            after, count = found[-1].id, count + len(found)
            views = [letter_view(each) for each in found]
            await session.reply(protocol.event(request.id, {"letters": views}))
        return {"count": count}
    store = await mail.ready()
    queues = [
        {
            "name": _name(hub, queue.to),
            "identity": queue.to,
            "letters": queue[1],
            "bytes": queue.bytes,
            "since": timestamp(queue.since),
        }
        for queue in await store.queues()
    ]
    for some in in_turns(queues, PAGE):
        await session.reply(protocol.event(request.id, {"queues": list(some)}))
    return {"count": len(queues)}


async def mail_drop(session: Session, request: Request) -> dict[str, Any]:
    """Forget what waits for somebody, or one message of it."""
    hub, mail = session.hub, _mail(session.hub)
    target = request.text("target")
    number = request.integer("number") if "number" in request.arguments else None
    identity = _identity(hub, target)
    dropped = await mail.drop(identity, number)
    if number is not None and not dropped:
        raise RequestError(
            REFUSED, f"no message {number} waits for {target[:80]}", hint="see 'jackfield mail ls'"
        )
    hub.log("mail_dropped", by=session.who, to=_name(hub, identity), letters=dropped)
    return {"name": _name(hub, identity), "identity": identity, "dropped": dropped}


def _mail(hub: Hub) -> Mail:
    if hub.native is None:
        raise RequestError(REFUSED, "this hub keeps no messages for absent clients")
    return hub.native.mail


def _identity(hub: Hub, target: str) -> str:
    """The identity that is meant: an absent client's, or one's that is there. Raises `NoSuchClient`."""
    registry = hub.identities.registry
    entry = registry.known_as(target)
    if entry is None and target.isascii() and target.isdigit() and len(target) < 16:
        entry = registry.entry_of(int(target))
    if entry is not None and entry.identity:
        return entry.identity
    if hub.native is not None and target in hub.native.mail.counts:
        return target  # of one that is known no more
    raise NoSuchClient(target, hub)


def _name(hub: Hub, identity: str) -> str:
    entry = hub.identities.registry.known_as(identity)
    return identity if entry is None else label(entry)


OPERATIONS: Final = {"mail_queue": mail_queue, "mail_list": mail_list, "mail_drop": mail_drop}
