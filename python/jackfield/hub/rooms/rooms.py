"""The rooms of one hub: which there are, who is in them, and the way of a message to all members.

Owns rooms, seats, and the order of things. In a durable room a message is stored first; then its sender is
told so, then everyone gets it, in the order of the room's sequences. In others it is passed on at once, by
the engine alone if all members are native. What lasts beside messages is in the hub's state.
"""

from __future__ import annotations

import asyncio
import difflib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from ..client import Client
from ..part import Part
from ..state_file import DAMAGED, StateError
from .chatting import Chatting
from .keeping import Keeping, keep
from .lines import Pace
from .native_members import NativeMembers
from .outlet import Outlet
from .plain import Plain
from .removing import Removals
from .room import (
    FORBIDDEN,
    GAP,
    KEPT,
    NO_SUCH_MEMBER,
    NO_SUCH_ROOM,
    RECENT,
    News,
    Room,
    RoomError,
    Seat,
    check_body,
    check_room_name,
    check_topic,
)
from .said import Said, newest_of
from .searching import Searches, search
from .store import Appended, Became, Cursor, Message, Page, Retention, RunAppended
from .writer import Writer

if TYPE_CHECKING:
    from ..server import Hub

KIND: Final = "room"  # of documents in the state
GATHER: Final = 0.25  # seconds in which who comes and goes is gathered, once that is often
TOLD_AT_ONCE: Final = 5  # comings and goings of a quiet room that are told one by one
TOLD_TAKES: Final = 0.0005  # seconds more for each member that is told
FRAME: Final = 24  # bytes of a published message beside its body: its number, and what a frame costs
BEHIND: Final = 0.02  # seconds after which a leave is told: what was said before it is on its way to the disk


class Rooms(Part):
    """The rooms of one hub."""

    def __init__(self) -> None:
        self.rooms: dict[str, Room] = {}
        self.outlets: dict[str, Outlet] = {}
        self.searches = Searches()
        self.run = os.urandom(6).hex()  # tells what was said in this run of the hub from other runs
        self._news: dict[str, News] = {}
        self._telling: dict[str, asyncio.TimerHandle] = {}
        self._pace: dict[str, Pace] = {}  # of telling who comes and goes
        self._members: dict[str, dict[str, int]] = {}  # room -> kind -> how many
        self._opening: dict[str, asyncio.Task[None]] = {}

    # ---------------------------------------------------------------- lifetime

    async def open(self, hub: Hub) -> None:
        self.hub = hub
        self.keeping = Keeping(hub)
        self.plain = Plain(self)
        self.chatting = Chatting(self)
        self.outlets[self.plain.kind] = self.plain
        self.outlets[self.chatting.kind] = self.chatting
        if hub.native is not None:
            self.native = NativeMembers(self, hub.native)
            self.outlets[self.native.kind] = self.native
        self.writer = Writer(
            hub.store, stored=self._stored, delayed=self._delayed, open_again=self._open_again
        )
        self.removals = Removals(hub, self.writer)
        for name, document in hub.state.load(KIND).items():
            try:
                self.rooms[name] = Room.of_document(name, document)
            except (KeyError, TypeError, ValueError, AttributeError, RoomError) as problem:
                raise StateError(
                    f"the state in {hub.state.path} is damaged: room {name!r}: {problem}", DAMAGED
                ) from problem
        for plan in hub.settings.listeners:
            if plan.room and plan.room not in self.rooms:
                self.create(plan.room, made_by="the hub", open_to_plain=True)
        await asyncio.gather(*map(self.ready, self.rooms.values()))
        self._keeping = asyncio.create_task(keep(self))

    async def close(self) -> None:
        for timer in self._telling.values():
            timer.cancel()
        self._telling.clear()
        self._keeping.cancel()
        await asyncio.gather(self._keeping, *self._opening.values(), return_exceptions=True)
        await self.removals.close()
        await self.writer.close()
        self.plain.close()
        if "native" in self.outlets:
            self.native.close()
        self._opening.clear()
        self.rooms.clear()
        self._members.clear()
        self._news.clear()
        self.outlets.clear()

    def hand_over(self) -> dict[str, Any]:
        return {
            "plain": self.plain.hand_over(),
            "rooms": {room.name: room.document() for room in self if not room.lasting},
        }

    async def resume(self, now: float, clients: Sequence[Client], handed: Any) -> None:
        given = handed if isinstance(handed, dict) else {}
        for name, document in given.get("rooms", {}).items():
            if name not in self.rooms:
                self.rooms[name] = Room.of_document(name, document)
                self.rooms[name].lasting = False
        self.plain.resume(now, clients, given.get("plain", {}))

    # ---------------------------------------------------------------- clients

    def came(self, now: float, client: Client) -> None:
        self.plain.came(now, client)

    def heard(self, now: float, client: Client, data: bytes) -> None:
        self.plain.said(now, client, data)

    def went(self, now: float, client: Client, reason: str) -> None:
        self.plain.went(now, client, reason)

    def renamed(self, now: float, client: Client) -> None:
        self.plain.renamed(client)
        if "native" in self.outlets:
            self.native.renamed(client)

    # ---------------------------------------------------------------- which rooms there are

    def __iter__(self) -> Iterator[Room]:
        return iter(self.rooms.values())

    def find(self, name: str) -> Room:
        """The room of that name. Raises `RoomError`."""
        room = self.rooms.get(name)
        if room is None:
            near = difflib.get_close_matches(name, self.rooms, 1)
            hint = (
                f"did you mean {near[0]}?"
                if near
                else "'jackfield rooms' lists them, 'jackfield rooms create NAME' makes one"
            )
            raise RoomError(NO_SUCH_ROOM, f"there is no room {name[:80]!r}", hint)
        return room

    def create(
        self,
        name: str,
        *,
        made_by: str,
        maker: str = "",
        durable: bool = True,
        topic: str = "",
        open_to_plain: bool = False,
        lasting: bool = True,
        retention: Retention | None = None,
    ) -> Room:
        """Make a room; `maker` as `keeping.maker_of` says. Raises `RoomError`, also for one that is there."""
        check_room_name(name)
        if name in self.rooms:
            raise RoomError(FORBIDDEN, f"there is a room {name} already")
        self.keeping.check(maker, self, made_by)
        room = Room(
            name,
            durable=durable,
            topic=check_topic(topic),
            open_to_plain=open_to_plain,
            lasting=lasting,
            made_by=made_by,
            maker=maker,
            created=self.hub.clock(),
            retention=retention or KEPT,
        )
        self.rooms[name] = room
        self.save(room)
        if durable:
            self._opening[name] = asyncio.create_task(self._open(room))
        self.hub.log("room_made", room=name, durable=durable, by=made_by)
        return room

    async def delete(self, room: Room, *, by: str) -> int:
        """End a room with all that was said in it; how many members it had."""
        members = list(room.seats.values())
        for seat in members:
            self.leave(room, seat, f"{by} deleted the room", telling=False)
        self.rooms.pop(room.name, None)
        self._forget(room)
        if room.lasting:
            self.hub.state.delete(KIND, room.name)
        if room.durable:
            opening = self._opening.pop(room.name, None)
            self.removals.begin(room.name, *(() if opening is None else (opening,)))
            await self.removals.ended(room.name)
        self.hub.log("room_deleted", room=room.name, members=len(members), by=by)
        return len(members)

    async def ready(self, room: Room) -> None:
        """Wait until a room knows what was said in it before. Raises `StoreError`."""
        if not room.durable:
            return
        opening = self._opening.get(room.name)
        if opening is None or (opening.done() and opening.exception() is not None):
            opening = self._opening[room.name] = asyncio.create_task(self._open(room))
        await asyncio.shield(opening)

    async def _open(self, room: Room) -> None:
        """Have the room in the store, and remember the last that was said."""
        await self.removals.ended(room.name)
        store = self.hub.store
        facts = await store.open_room(room.name, at=room.created, topic=room.topic or None)
        if facts.last:
            page = await store.read(room.name, max(0, facts.last - RECENT), limit=RECENT)
            if room.last <= facts.last and not room.recent(1):
                room.remember(page.messages)
        room.last = max(room.last, facts.last)

    async def _open_again(self, names: set[str]) -> None:
        for name in names:
            room = self.rooms.get(name)
            if room is not None:
                await self.hub.store.open_room(name, at=room.created)

    def save(self, room: Room) -> None:
        """Keep what lasts of a room."""
        if room.lasting:
            self.hub.state.save(KIND, room.name, room.document())

    def set_topic(self, room: Room, topic: str, *, by: str) -> None:
        """Say what the room is about. Raises `RoomError`."""
        room.topic = check_topic(topic)
        self.save(room)
        self.hub.log("room_topic", room=room.name, topic=room.topic, by=by)
        for outlet in self._outlets_of(room):
            outlet.topic(room, by)

    # ---------------------------------------------------------------- members

    def enter(self, room: Room, seat: Seat, *, telling: bool = True) -> Seat:
        """Let somebody in; from now on it is told what is said. Raises `RoomError`."""
        room.enter(seat)
        kinds = self._members.setdefault(room.name, {})
        kinds[seat.kind] = kinds.get(seat.kind, 0) + 1
        self.outlets[seat.kind].entered(room, seat)
        self._settle(room)
        if telling:
            self.announce(room, seat)
        return seat

    def announce(self, room: Room, seat: Seat) -> None:
        """Tell everyone of a newcomer."""
        self._news_of(room).enter(seat)
        self._tell_soon(room)

    def leave(self, room: Room, seat: Seat, reason: str, *, telling: bool = True) -> None:
        """Let somebody go. Does nothing for one that is not there."""
        room.catch_up()
        if not room.leave(seat):
            return
        kinds = self._members[room.name]
        kinds[seat.kind] -= 1
        if not kinds[seat.kind]:
            del kinds[seat.kind]
        if telling:
            self._news_of(room).leave(seat, reason)
            self._tell_soon(room, delay=BEHIND if room.durable else 0.0)
        self.outlets[seat.kind].left(room, seat, reason)
        self._settle(room)
        if not room.seats and not room.lasting and self.rooms.get(room.name) is room:
            del self.rooms[room.name]
            self._forget(room)
            self.hub.log("room_ended", room=room.name)

    def _settle(self, room: Room) -> None:
        """Have the engine pass on what is said where nobody else has to hear of it."""
        if not room.durable and "native" in self.outlets:
            self.native.publishes(room, alone=set(self._members[room.name]) <= {self.native.kind})

    def rename(self, room: Room, seat: Seat, name: str) -> None:
        """Call a member something else. The name is checked before."""
        if seat.name != name:
            self.changed(room, seat, name=name)

    def changed(self, room: Room, seat: Seat, *, name: str = "") -> None:
        """Something about a member is different: its state, and perhaps its name."""
        room.catch_up()
        before, seat.name = seat.name, name or seat.name
        self._news_of(room).change(seat, before)
        self._tell_soon(room)

    def member(self, room: Room, name: str) -> Seat:
        """The one member that is called that. Raises `RoomError`."""
        found = room.named(name)
        if not found:
            near = difflib.get_close_matches(name, room.names(), 1)
            hint = f"did you mean {near[0]}?" if near else ""
            raise RoomError(NO_SUCH_MEMBER, f"nobody in {room.name} is called {name[:80]!r}", hint)
        return found[0]

    def kick(self, room: Room, seat: Seat, *, by: str) -> None:
        """Put somebody out of a room; it stays connected, and may come again."""
        self.hub.log("room_kicked", room=room.name, name=seat.name, id=seat.client, by=by)
        self.leave(room, seat, f"put out by {by}")

    def private(self, room: Room, seat: Seat, to: str, body: bytes) -> Seat:
        """Say something to one member alone, in all of its places in the room. Raises `RoomError`."""
        check_body(body)
        self.member(room, to)
        found = room.named(to)
        for each in found:
            self.outlets[each.kind].private(each, room, self.hub.clock(), seat.name, body)
        return found[0]

    # ---------------------------------------------------------------- messages

    def publish(self, room: Room, seat: Seat, number: int, body: bytes) -> None:
        """Say something to a room; `number` is the sender's own sequence. Raises `RoomError`."""
        check_body(body)
        self.publish_many(room, Said(room.name, seat, seat.name, self.hub.clock(), number, [body]))

    def publish_many(self, room: Room, said: Said) -> None:
        """Say all of it, or nothing. The bodies are checked before. Raises `RoomError`."""
        if room.durable:
            self.writer.add(said)
            return
        said.sequence = room.last + 1
        self._pass_on(room, [said])

    def _stored(self, group: Sequence[Said], became: Sequence[RunAppended]) -> None:
        """A group is on disk: tell who said it, then everyone."""
        fresh: dict[str, list[Said]] = {}
        newest: dict[tuple[str, int], tuple[Seat, int, int, int]] = {}  # seat, number, sequence, bytes
        for said, (sequence, each) in zip(group, became, strict=True):
            if each is None:
                said.sequence = sequence
                size = said.size + FRAME * len(said)
                stored, told = [said], [(said.last_number, said.last_sequence, size)]
            else:
                stored, told = self._apart(said, each)
            fresh.setdefault(said.room, []).extend(stored)
            for number, sequence, size in told:
                key = (said.room, said.seat.source)
                size += newest[key][3] if key in newest else 0
                newest[key] = (said.seat, number, sequence, size)
        for (room_name, _), (seat, number, sequence, size) in newest.items():
            room = self.rooms.get(room_name)
            if room is not None and room.seats.get(seat.source) is seat:
                self._safely(self.outlets[seat.kind].stored, room, seat, number, sequence, size)
        for room_name, heard in fresh.items():
            room = self.rooms.get(room_name)
            if room is not None and heard and room_name not in self.removals:
                self._pass_on(room, heard)

    def _apart(
        self, said: Said, results: Sequence[Appended]
    ) -> tuple[list[Said], list[tuple[int, int, int]]]:
        """Message by message: what is fresh, and of each that is stored its number, sequence and bytes."""
        fresh, told = [], []
        for at, (sequence, what) in enumerate(results):
            one = said.part(at, sequence)
            if what is Became.STORED:
                fresh.append(one)
            elif what is not Became.AGAIN:
                self._refuse(one, what)
                continue
            told.append((one.number, sequence, one.size + FRAME))
        return fresh, told

    def _refuse(self, one: Said, what: Became) -> None:
        room, seat = self.rooms.get(one.room), one.seat
        if room is None or room.seats.get(seat.source) is not one.seat:
            return
        problem = RoomError(NO_SUCH_ROOM, f"there is no room {one.room} any more")
        if what is Became.GAP:
            text = f"{one.number} does not follow the last number that was stored of you"
            problem = RoomError(GAP, text, "the answer to join says which one that is")
        self.outlets[seat.kind].not_stored(room, seat, one.number, one.size + FRAME, problem)

    def _delayed(self, group: Sequence[Said], reason: str) -> None:
        self.hub.log("room_not_stored", messages=sum(map(len, group)), reason=reason)
        for name, seat in {(said.room, said.seat) for said in group}:
            room = self.rooms.get(name)
            if room is not None and room.seats.get(seat.source) is seat:
                self.outlets[seat.kind].delayed(room, seat, reason)

    def _pass_on(self, room: Room, said: Sequence[Said]) -> None:
        room.remember(newest_of(said))
        for outlet in self._outlets_of(room):
            self._safely(outlet.heard, room, said)

    def _safely(self, tell: Callable[..., None], *facts: Any) -> None:
        """A fault of ours with one member keeps nothing from being stored, nor from the others."""
        try:
            tell(*facts)
        except Exception as problem:
            self.hub.log("fault", event="room", error=f"{type(problem).__name__}: {problem}")

    def _outlets_of(self, room: Room) -> list[Outlet]:
        return [self.outlets[kind] for kind in self._members.get(room.name, ())]

    # ---------------------------------------------------------------- what was said before

    async def read(self, room: Room, after: int, limit: int) -> Page:
        """What was said after a sequence. Raises `StoreError`."""
        if not room.durable:
            messages = room.after(after, limit)
            return Page(messages, messages[0].sequence if messages else room.last + 1, room.last)
        await self.ready(room)
        return await self.hub.store.read(room.name, after, limit=limit)

    async def search(
        self, text: str, *, rooms: Sequence[Room], limit: int, who: str
    ) -> list[tuple[str, Message]]:
        """Messages with these words, newest first, each with its room, when it is that searcher's turn.

        Raises `RoomError`, `StoreError`. Cancelled, the search ends.
        """
        return await self.searches.do(who, lambda: search(self, text, within=rooms, limit=limit))

    async def published(self, room: Room, sender: str) -> int:
        """The last number of a sender that is stored."""
        return await self.hub.store.published(room.name, sender) if room.durable else 0

    async def cursor(self, room: Room, reader: str) -> int | None:
        """How far somebody has read a room, if that is known."""
        return await self.hub.store.cursor(room.name, reader) if room.durable else None

    async def seen(self, cursor: Cursor) -> None:
        """Somebody has read so far."""
        if self.find(cursor.room).durable:
            await self.hub.store.set_cursors([cursor])

    async def retain(self, room: Room) -> int:
        """Delete what a room does not keep any more; how many messages that were. Raises `StoreError`."""
        await self.ready(room)
        return await self.hub.store.retain(room.name, room.retention, now=self.hub.clock())

    # ---------------------------------------------------------------- who comes and goes

    def _news_of(self, room: Room) -> News:
        return self._news.setdefault(room.name, News())

    def _tell_soon(self, room: Room, *, delay: float = 0.0) -> None:
        """Tell what is new: at once or soon, or gathered where a lot is."""
        if room.name in self._telling or self.rooms.get(room.name) is not room:
            return
        loop = asyncio.get_running_loop()
        pace = self._pace.setdefault(room.name, Pace(rate=1 / GATHER, burst=TOLD_AT_ONCE))
        delay = delay if pace.allow(loop.time()) else max(GATHER, len(room.seats) * TOLD_TAKES)
        if delay:
            self._telling[room.name] = loop.call_later(delay, self._tell, room.name)
        else:
            self._tell(room.name)

    def _tell(self, name: str) -> None:
        self._telling.pop(name, None)
        news, room = self._news.pop(name, None), self.rooms.get(name)
        if not news or room is None:
            return
        for outlet in self._outlets_of(room):
            outlet.news(room, news)

    def _forget(self, room: Room) -> None:
        self._members.pop(room.name, None)
        self._news.pop(room.name, None)
        self._pace.pop(room.name, None)
        timer = self._telling.pop(room.name, None)
        if timer is not None:
            timer.cancel()
