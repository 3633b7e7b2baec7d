"""Who clients are: rename, claim, tag, note, forget. What lasts is on disk before the answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from ..identities import label
from ..identity import change_tags
from ..protocol import BAD_REQUEST, REFUSED, Request, RequestError
from ..sending import in_turns
from ..target import AmbiguousTarget, NoSuchClient, select_one_in_turns

if TYPE_CHECKING:
    from ..session import Session


async def rename(session: Session, request: Request) -> dict[str, Any]:
    hub, identities = session.hub, session.hub.identities
    target, name = request.text("target"), request.text("name")
    absent = identities.absent_one(target)
    if absent is not None:
        client_id, before = None, label(absent)
        identities.registry.rename_entry(absent, name)
        lasting = identities.save(absent)
        hub.log("renamed", name=name, before=before, by=session.who)
    else:
        client_id = await select_one_in_turns(target, hub)
        before, lasting = identities.rename(client_id, name)
        hub.log("renamed", id=client_id, name=name, before=before, by=session.who)
    await hub.state.flush()
    return {"id": client_id, "name": name, "before": before, "lasting": lasting}


async def claim(session: Session, request: Request) -> dict[str, Any]:
    hub = session.hub
    done = await hub.identities.award(request.text("target"))
    hub.log("claimed", id=done["id"], name=done["name"], before=done["before"], by=session.who)
    await hub.state.flush()
    return done


async def tag(session: Session, request: Request) -> dict[str, Any]:
    hub, identities, target = session.hub, session.hub.identities, request.text("target")
    add, remove = request.texts("add"), request.texts("remove")
    if not add and not remove:
        raise RequestError(BAD_REQUEST, "tag needs tags to add or to remove")
    meant = await identities.meant(target)
    for some in in_turns(meant):
        for each in some:  # whatever is refused is refused before anybody is changed
            change_tags(identities.tags_of(each), add=add, remove=remove)
        await asyncio.sleep(0)
    count = lasting = 0
    for some in in_turns(meant):
        for each in some:
            entry = identities.entry(each)
            if entry is not None:
                count += 1
                identities.registry.tag(entry, add=add, remove=remove)
                lasting += identities.save(entry)
        await asyncio.sleep(0)
    facts = {name: ",".join(tags) for name, tags in (("added", add), ("removed", remove)) if tags}
    hub.log("tagged", **_id(meant), target=target, clients=count, **facts, by=session.who)
    await hub.state.flush()
    return {"clients": count, "lasting": lasting}


async def note(session: Session, request: Request) -> dict[str, Any]:
    hub, identities, target = session.hub, session.hub.identities, request.text("target")
    meant = await identities.meant(target)
    if len(meant) != 1:
        candidates = list(
            filter(None, map(hub.by_id, [each for each in meant[:10] if isinstance(each, int)]))
        )
        raise AmbiguousTarget(target, candidates, len(meant)) if meant else NoSuchClient(target, hub)
    entry = identities.entry(meant[0])
    if entry is None:
        raise NoSuchClient(target, hub)
    identities.registry.note(entry, request.text("text"))
    lasting = identities.save(entry)
    hub.log("noted", **_id(meant), target=target, note=entry.note, by=session.who)
    await hub.state.flush()
    return {"id": entry.client_id or None, "note": entry.note, "lasting": lasting}


async def forget(session: Session, request: Request) -> dict[str, Any]:
    hub, identities, target = session.hub, session.hub.identities, request.text("target")
    absent = identities.absent_one(target)
    if absent is None:
        found = hub.identities.registry.known_as(target)
        if found is not None:
            what = f"{label(found)} is connected, as client {found.client_id}"
            raise RequestError(REFUSED, what, hint="only absent ones can be forgotten; kick it first")
        raise NoSuchClient(target, hub)
    name = label(absent)
    identities.forget(absent)
    hub.log("forgotten", name=name, identity=absent.identity, by=session.who)
    await hub.state.flush()
    return {"name": name, "identity": absent.identity}


def _id(meant: list[Any]) -> dict[str, int]:
    """The `id` of a log event that is about one client."""
    return {"id": meant[0]} if len(meant) == 1 and isinstance(meant[0], int) else {}


OPERATIONS: Final = {"rename": rename, "claim": claim, "tag": tag, "note": note, "forget": forget}
