"""Who is there, for native clients: the list, and what changes in it.

Owns `clients` and `watch`. Changes are gathered and told to all who watch, at most `MOST_TOLD` of them a
second in all: while more happens the news grow fewer, each client is told once however often it changed, and
beyond `MOST_CHANGES` there is one event `many`, upon which who wants to know asks for `clients` again. So a
crowd that watches itself costs its size, and not its square.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from jackfield.portable import to_json

from ..identities import label
from ..identity import Entry
from ..protocol import BAD_REQUEST, RequestError
from ..roster import timestamp
from .session import ENDED, HELD, NativeSession

if TYPE_CHECKING:
    from ..server import Hub
    from .control import ControlRequest
    from .part import Native

PAGE: Final = 100  # clients in one answer, or
FULL: Final = 40_000  # bytes of them: one more, of at most 17 KiB, fits as well
GATHER: Final = 0.1  # seconds in which news gather
MOST_TOLD: Final = 10_000  # events a second, all clients together
MOST_CHANGES: Final = 200  # clients that are told of one by one
AT_ONCE: Final = 200  # events, or clients looked at, between two turns of everyone else
STATES: Final = ("connected", "absent", "all")


class Presence:
    """Who watches, and what they are to be told."""

    def __init__(self, native: Native) -> None:
        self._native = native
        self._watching: dict[NativeSession, None] = {}
        self._away: dict[NativeSession, int] = {}  # who would, with how many changes there had been before
        self._count = 0  # of changes
        self._changed: dict[int, str] = {}  # client ids, with came, went or changed
        self._gone: dict[int, dict[str, Any]] = {}  # the last that was known of those that went
        self._many = 0  # changes that are not told one by one
        self._task: asyncio.Task[None] | None = None

    def watch(self, session: NativeSession, *, on: bool) -> None:
        """Tell a client of changes from now on, or no more. One whose session has ended is told nothing."""
        if not on:
            self._away.pop(session, None)
            self._watching.pop(session, None)
        elif session.state == HELD:
            self._away.setdefault(session, self._count)
        elif session.state != ENDED:
            self._watching[session] = None

    def paused(self, session: NativeSession) -> None:
        """A client that may watch is away for a while."""
        if session in self._watching:
            del self._watching[session]
            self._away[session] = self._count

    def resumed(self, session: NativeSession) -> None:
        """It is back, and told how much it missed."""
        before = self._away.pop(session, None)
        if before is not None:
            self._watching[session] = None
            if self._count > before:
                session.push({"type": "many", "count": self._count - before})

    def changed(self, client_id: int, what: str, view: dict[str, Any] | None = None) -> None:
        """A client `came`, `went` or `changed`; `view` is the last that is known of one that went."""
        if not self._watching and not self._away:
            return
        self._count += 1
        if not self._watching:
            return
        before = self._changed.get(client_id)
        if before == "came" and what == "went":
            del self._changed[client_id]  # nobody has heard of it
        elif before is None and len(self._changed) >= MOST_CHANGES:
            self._many += 1
        elif before != "came":
            self._changed[client_id] = what
            if what == "went" and view is not None:
                self._gone[client_id] = view
        if self._task is None:
            self._task = asyncio.create_task(self._tell())

    def close(self) -> None:
        """Tell nobody any more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _tell(self) -> None:
        wait = GATHER
        try:
            while True:
                await asyncio.sleep(wait)
                events = self._take()
                if not events:
                    return
                told = 0
                for session in list(self._watching):
                    for event in events:
                        session.tell(event)
                    told += len(events)
                    if told % AT_ONCE < len(events):
                        await asyncio.sleep(0)
                wait = max(GATHER, told / MOST_TOLD)
        finally:
            self._task = None

    def _take(self) -> list[bytes]:
        """The events that are due, as payloads that all share."""
        changed, self._changed = self._changed, {}
        gone, self._gone = self._gone, {}
        many, self._many = self._many, 0
        if many:
            return [to_json({"type": "many", "count": many + len(changed)})]
        events = []
        for client_id, what in changed.items():
            found = client_view(self._native.hub, client_id)
            if found is None:
                found, what = gone.get(client_id, {"id": str(client_id)}), "went"
            events.append(to_json({"type": what, "client": found}))
        return events


def client_view(hub: Hub, client_id: int) -> dict[str, Any] | None:
    """What other clients may know of one that is there; None once it left."""
    member = hub.member(client_id)
    if member is None or hub.native is None:
        return None
    session = hub.native.sessions.get(member.id)
    if session is not None:
        return session_view(session)
    return {
        "id": str(client_id),
        "name": hub.identities.registry.name_of(client_id, member.protocol),
        "state": "connected",
        "native": False,
        "services": ["channel"],
        "since": timestamp(hub.group.statistics(member).since),
    }


def session_view(session: NativeSession, state: str = "connected") -> dict[str, Any]:
    """What other clients may know of a native one."""
    return {
        "id": str(session.client_id),
        "name": session.name,
        "state": state,
        "native": True,
        "services": list(session.services),
        "since": timestamp(session.since),
    }


def absent_view(entry: Entry) -> dict[str, Any]:
    """What other clients may know of one that is known and not there."""
    return {
        "id": None,
        "name": label(entry),
        "state": "absent",
        "native": False,
        "services": [],
        "since": timestamp(entry.last),
    }


async def clients(session: NativeSession, request: ControlRequest) -> dict[str, Any]:
    """Everyone who is there, is absent, or both, from `after` on; `next` is where the next page begins."""
    state = request.text("state", "connected")
    if state not in STATES:
        raise RequestError(BAD_REQUEST, f"unknown state {state!r}; known are {', '.join(STATES)}")
    text = request.text("text", "").casefold()
    after = request.text("after", "")
    where, _, position = after.partition(":")
    if after and (where not in ("c", "a") or not position.isascii() or not position.isdigit()):
        raise RequestError(BAD_REQUEST, "'after' must be what 'next' of an earlier answer said")
    place = int(position[:18] or "0")
    found: list[dict[str, Any]] = []
    size = 0
    if state != "absent" and where != "a":
        ids = [each for each in session.hub.ids() if each > place]
        for count, client_id in enumerate(sorted(ids)):
            view = client_view(session.hub, client_id)
            if view is not None and text in view["name"].casefold():
                found.append(view)
                size += len(to_json(view))
            if len(found) == PAGE or size > FULL:
                return {"clients": found, "next": f"c:{client_id}"}
            if count % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
        place = 0
    if state != "connected":
        for entry in islice(list(session.hub.identities.registry.absent()), place, None):
            place += 1
            if entry.identity and text in label(entry).casefold():
                found.append(absent_view(entry))
                size += len(to_json(found[-1]))
            if len(found) == PAGE or size > FULL:
                return {"clients": found, "next": f"a:{place}"}
    return {"clients": found}


async def watch(session: NativeSession, request: ControlRequest) -> dict[str, Any]:
    """Tell this client who comes, goes and changes, or no more."""
    on = request.arguments.get("on", True)
    if not isinstance(on, bool):
        raise RequestError(BAD_REQUEST, "watch: 'on' must be true or false")
    session.native.presence.watch(session, on=on)
    return {"on": on}


CONTROLS: Final = {"clients": clients, "watch": watch}
