"""Which rooms there may be and for how long: what each maker may have, and what is not kept any more.

Owns the bounds on making rooms. A client with an identity that it has proven has a share of its own; all
others, whose names are but their own word, have one together: another name makes it no larger.
Operators have no share: only the bound of all rooms counts for them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from ..security.roles import OPERATOR, includes
from .room import OVERLOADED, Room, RoomError
from .store import StoreError

if TYPE_CHECKING:
    from ..native.session import NativeSession
    from .rooms import Rooms

MOST_ROOMS: Final = 1_000
MOST_OF_ONE: Final = 50  # that one identity has made
MOST_OF_ANY: Final = 100  # that all clients without one have made
ANY: Final = "anyone"  # the maker of these
UNUSED_FOR: Final = (
    86_400.0  # seconds from its making after which a client's room ends where nothing was said
)
LOOK_EVERY: Final = 60.0  # seconds between two looks at what rooms keep


def maker_of(session: NativeSession) -> str:
    """Whose share a room of that client takes; empty for an operator."""
    if includes(session.role, OPERATOR):
        return ""
    return session.identity if session.is_proven else ANY


def check_room_for(maker: str, rooms: Iterable[Room]) -> None:
    """Raise `RoomError` unless there may be one more of that maker beside these."""
    made = [room.maker for room in rooms]
    if len(made) >= MOST_ROOMS:
        raise RoomError(OVERLOADED, f"the hub has its {MOST_ROOMS} rooms", "delete one first")
    hint = "an operator can make more, and delete some (jackfield rooms --help)"
    if maker == ANY and made.count(maker) >= MOST_OF_ANY:
        whose = f"clients without a token or a certificate have made {MOST_OF_ANY} rooms together"
        raise RoomError(OVERLOADED, f"{whose}, and can make no more", hint)
    if maker and maker != ANY and made.count(maker) >= MOST_OF_ONE:
        raise RoomError(OVERLOADED, f"you have made {MOST_OF_ONE} rooms, and can make no more", hint)


async def keep(rooms: Rooms) -> None:
    """Delete what rooms do not keep any more, and rooms that nobody uses, now and then."""
    unused: set[Room] = set()
    while True:
        await asyncio.sleep(LOOK_EVERY)
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
