"""Which rooms there may be and for how long: what each maker may have, and what is not kept any more.

Owns the bounds on making rooms. A client has the share of its origin (`hub/origins.py`): of its identity if
that is proven, else of where it comes from, as another name or connection makes no share larger. All without
a proven identity have half of the rooms together, so that the other half is there for identities.
Operators have no share: only the bound of all rooms counts for them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from ..journal import Throttle
from ..origins import is_place
from ..security.roles import OPERATOR, includes
from .room import OVERLOADED, Room, RoomError
from .store import StoreError

if TYPE_CHECKING:
    from ..native.session import NativeSession
    from ..server import Hub
    from .rooms import Rooms

MOST_ROOMS: Final = 1_000
MOST_OF_ONE: Final = 50  # that one origin has made
MOST_OF_PLACES: Final = MOST_ROOMS // 2  # that all clients without a proven identity have made
ANYONE: Final = "anyone"  # the maker of some of these, as states of before 2026-11 have it
UNUSED_FOR: Final = (
    86_400.0  # seconds from its making after which a client's room ends where nothing was said
)
MOST_SHOWN: Final = 5  # makers in the hub's figures
LOOK_EVERY: Final = 60.0  # seconds between two looks at what rooms keep


def maker_of(session: NativeSession) -> str:
    """Whose share a room of that client takes; empty for an operator."""
    if includes(session.role, OPERATOR):
        return ""
    return session.origin


def check_room_for(maker: str, rooms: Iterable[Room]) -> None:
    """Raise `RoomError` unless there may be one more of that maker beside these."""
    made = Counter(room.maker for room in rooms)
    if made.total() >= MOST_ROOMS:
        raise RoomError(OVERLOADED, f"the hub has its {MOST_ROOMS} rooms", "delete one first")
    hint = "an operator can make more, and delete some (jackfield rooms --help)"
    if maker and made[maker] >= MOST_OF_ONE:
        who = "clients of your address" if is_place(maker) else "you"
        raise RoomError(OVERLOADED, f"{who} have made {MOST_OF_ONE} rooms, and can make no more", hint)
    if is_place(maker) and sum(made[each] for each in made if _is_anyones(each)) >= MOST_OF_PLACES:
        whose = f"clients without a token or a certificate have made {MOST_OF_PLACES} rooms together"
        raise RoomError(OVERLOADED, f"{whose}, and can make no more", hint)


def _is_anyones(maker: str) -> bool:
    return is_place(maker) or maker == ANYONE


class Keeping:
    """Who was refused a room, for operators to see."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._told = Throttle()
        self.refused = 0  # rooms, for want of a share

    def check(self, maker: str, rooms: Iterable[Room], made_by: str) -> None:
        """`check_room_for`, told in the log."""
        try:
            check_room_for(maker, rooms)
        except RoomError as problem:
            self.refused += 1
            facts = {"maker": maker, "by": made_by, "reason": problem.message}
            self._hub.log_seldom(self._told, "room_refused", **facts)
            raise

    def figures(self, rooms: Iterable[Room]) -> dict[str, Any]:
        """What `status` shows."""
        found = list(rooms)
        most = makers(found)
        shown = {maker: most[maker] for maker in list(most)[:MOST_SHOWN]}
        return {"rooms": len(found), "most": MOST_ROOMS, "refused": self.refused, "makers": shown}


async def delete_all_of(rooms: Rooms, maker: str, *, by: str) -> list[str]:
    """Delete every room that clients of one origin have made; their names."""
    deleted = []
    for room in [room for room in rooms if maker and room.maker == maker]:
        if rooms.rooms.get(room.name) is room:  # and not another one, made meanwhile
            await rooms.delete(room, by=by)
            deleted.append(room.name)
    return deleted


def makers(rooms: Iterable[Room]) -> dict[str, int]:
    """Which clients have made how many of these, whoever made most first."""
    return dict(Counter(room.maker for room in rooms if room.maker).most_common())


async def keep(rooms: Rooms) -> None:
    """Delete what rooms do not keep any more, and rooms that nobody uses, now and then."""
    unused: set[Room] = set()
    while True:
        await asyncio.sleep(LOOK_EVERY)
        await rooms.removals.retry()
        for room in list(rooms):
            if room.durable:
                with contextlib.suppress(StoreError):
                    await rooms.retain(room)
        unused = await end_unused(rooms, unused)


async def end_unused(rooms: Rooms, before: set[Room]) -> set[Room]:
    """End the rooms that nobody uses, and nobody did at the look `before`; those that nobody uses."""
    unused: set[Room] = set()
    for room in list(rooms):
        if not room.lasting or not room.maker or rooms.hub.clock() - room.created < UNUSED_FOR:
            continue
        with contextlib.suppress(StoreError):
            await rooms.ready(room)  # it may have messages that are not known yet
            if room.seats or room.last or rooms.rooms.get(room.name) is not room:
                continue
            if room in before:
                await rooms.delete(room, by="the hub, as nobody used it")
            else:
                unused.add(room)
    return unused
