"""Who is there and who is absent, and out with them: clients, kick."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from .. import protocol
from ..dialling import why_away
from ..identities import candidate_of
from ..identity import Entry
from ..protocol import BAD_REQUEST, Request, RequestError
from ..roster import short_protocol
from ..sending import in_turns
from ..target import Matcher, NoSuchClient, TargetTooLong, select_in_turns

if TYPE_CHECKING:
    from ..server import Hub
    from ..session import Session

COMPARED: Final = 2000  # absent clients between two pauses
PAGE: Final = 250  # clients in one event
STATES: Final = ("connected", "absent", "all")
SEARCHED: Final = ("name", "peer", "local", "identity", "tags", "note", "conflict")


async def clients(session: Session, request: Request) -> dict[str, Any]:
    hub = session.hub
    target = request.text("target", "all")
    state = request.text("state", "connected")
    if state not in STATES:
        raise RequestError(BAD_REQUEST, f"unknown state {state!r}; known are {', '.join(STATES)}")
    wanted = _filter(request)
    absent = [] if state == "connected" else await absent_of(hub, target)
    ids: list[int] = []
    try:
        ids = await select_in_turns(target, hub)
    except NoSuchClient:
        if not absent:
            raise
    count = 0
    for some in in_turns([] if state == "absent" else ids, PAGE):
        views = [view for view in map(hub.view, some) if view is not None and wanted(view)]
        count += len(views)
        await session.reply(protocol.event(request.id, {"clients": views}))
        await asyncio.sleep(0)  # thousands of views must not hold up the clients
    for entries in in_turns(absent, PAGE):
        known = (hub.identities.absent_facts(entry) | why_away(hub, entry) for entry in entries)
        views = [view for view in known if wanted(view)]
        count += len(views)
        await session.reply(protocol.event(request.id, {"clients": views}))
        await asyncio.sleep(0)
    return {"count": count}


async def absent_of(hub: Hub, target: str) -> list[Entry]:
    """Who of the absent ones is meant, whoever left last first."""
    registry = hub.identities.registry
    named = registry.known_as(target)
    if named is not None:
        return [] if named.client_id else [named]
    try:
        matcher = Matcher(target)
    except TargetTooLong:
        raise
    except ValueError:  # no part at all means nobody
        return []
    found: list[Entry] = []
    for some in in_turns([*registry.absent()], COMPARED):
        found += [entry for entry in some if matcher.matches(candidate_of(entry))]
        await asyncio.sleep(0)
    return sorted(found, key=lambda entry: entry.last, reverse=True)


def _filter(request: Request) -> Callable[[dict[str, Any]], bool]:
    """What `tag`, `protocol` and `text` ask of a view."""
    tag, kind = request.text("tag", ""), request.text("protocol", "")
    text = request.text("text", "").casefold()

    def wanted(view: dict[str, Any]) -> bool:
        if tag and not any(fnmatchcase(each, tag) for each in view["tags"]):
            return False
        if kind and kind not in (view["protocol"], short_protocol(view["protocol"])):
            return False
        return not text or any(text in str(view.get(name, "")).casefold() for name in SEARCHED)

    return wanted


async def kick(session: Session, request: Request) -> dict[str, Any]:
    target = request.text("target")
    ids = await select_in_turns(target, session.hub)
    reset = request.flag("reset")
    for some in in_turns(ids):
        for client_id in some:
            session.hub.kick(client_id, reset=reset, by=session.who)
        await asyncio.sleep(0)
    session.hub.log("kicked", target=target, clients=len(ids), reset=reset, by=session.who)
    return {"kicked": ids}


OPERATIONS: Final = {"clients": clients, "kick": kick}
