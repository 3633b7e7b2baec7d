"""A native client's place in a room, for `jackfield chat ROOM --join ADDRESS`.

Owns the way between a `Room` of the library and the events that `chat.py` shows, which are those of
`room_chat`. What waits to be shown is bounded: a room that is read slowly is read from its store.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Any, TypeVar

import jackfield
from jackfield import JackfieldError, State

from ..hub.protocol import FAILED, RequestError
from ..hub.rooms.room import NO_SUCH_ROOM
from ..hub.rooms.rows import row
from ..hub.rooms.store import Message
from ..native import Client, HubRefused, RequestRefused, Room, RoomMessage, SessionLost
from .membership import Membership
from .views import counted

UNSHOWN = 1000  # events that wait to be shown
UNSTORED = 256  # messages that wait to be stored
NAME_TAKEN = "name_taken"

T = TypeVar("T")


@contextlib.asynccontextmanager
async def entered(
    address: str,
    room: str,
    names: Sequence[str],
    *,
    token: str | None,
    last: int,
    insecure_token: bool = False,
    create: bool = False,
) -> AsyncIterator[tuple[MemberPlace, dict[str, Any]]]:
    """Be in a room while the block runs, by the first name that is free: the place, and its first event.

    `create` makes the room if there is none. Raises what `Membership.joined` raises, and `RequestError` for a
    room that cannot be joined.
    """
    events: asyncio.Queue[dict[str, Any] | JackfieldError] = asyncio.Queue(UNSHOWN)
    membership = Membership.of(address, token)
    was_away = False

    def state(now: State) -> None:
        nonlocal was_away
        if isinstance(now, jackfield.Reconnecting) and now.attempt == 1:
            was_away = True
            _offer(events, {"problem": f"the connection was lost: {now.error}; it is made again"})
        elif isinstance(now, jackfield.Connected) and was_away:
            was_away = False
            _offer(events, {"problem": "connected again"})

    async with contextlib.AsyncExitStack() as stack:
        for name in names:
            joining = membership.joined(
                name, services=(), insecure_token=insecure_token, on_state=state, typed=len(names) == 1
            )
            try:
                client = await stack.enter_async_context(joining)
                break
            except HubRefused as problem:
                if name == names[-1] or problem.code != NAME_TAKEN:
                    raise
        found = MemberPlace(client, room, events)
        try:
            yield found, await found.begin(last, create=create)
        finally:
            await found.close()


class MemberPlace:
    """One native client in one room: a `Place` of `chat.py`."""

    def __init__(
        self, client: Client, room: str, events: asyncio.Queue[dict[str, Any] | JackfieldError]
    ) -> None:
        self.room = room
        self.name = client.name
        self._client = client
        self._inside: Room = client.room(room)
        self._events = events
        self._shown = 0  # the sequence up to which everything was told
        self._names: dict[int, str] = {}
        self._number = 0
        self._unstored = asyncio.Semaphore(UNSTORED)
        self._tasks: set[asyncio.Task[None]] = set()
        for kind, callback in (
            ("room_joined", self._came),
            ("room_changed", self._changed),
            ("room_left", self._left),
            ("room_topic", self._topic_is),
            ("room_private", self._was_told),
        ):
            client.on_event(kind, callback)

    @property
    def source(self) -> int:
        source: int = self._inside.source
        return source

    async def begin(self, last: int, *, create: bool = False) -> dict[str, Any]:
        """Come in; what is there at first, as `room_chat` tells it. Raises `RequestError`."""
        # The first answer says how far this client had read when it was here last. Being there twice changes
        # nothing; what was said between the two is read.
        more = {"create": {"durable": True}} if create else {}
        before = await _answer(self._client.control("join", room=self.room, after="cursor", **more))
        await _answer(self._inside.join())
        newest = int(before["last"])
        found = await _answer(self._inside.read(max(0, newest - last), limit=last + UNSHOWN // 2))
        members = await _answer(self._inside.members())
        self._names = {each["source"]: each["name"] for each in members}
        self._shown = found[-1].sequence if found else newest
        for each in found:
            if each.sequence > newest:
                _offer(self._events, {"said": [[*_row(each), each.source]]})
        self._start(self._listen())
        return {
            "room": {"room": self.room, "durable": self._inside.durable, "last": newest},
            "source": self.source,
            "members": members,
            "history": [_row(each) for each in found if each.sequence <= newest],
            "seen": int(before["cursor"]),
        }

    async def close(self) -> None:
        """Say and hear nothing more, and leave the room."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._inside.leave()

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ---------------------------------------------------------------- as a place

    async def next(self) -> dict[str, Any]:
        event = await self._events.get()
        if isinstance(event, JackfieldError):
            raise event
        return event

    async def say(self, body: bytes) -> int:
        await self._unstored.acquire()
        self._number += 1
        self._start(self._publish(self._number, body))
        return self._number

    async def _publish(self, number: int, body: bytes) -> None:
        try:
            await self._inside.publish(body)
        except JackfieldError as problem:
            await self._events.put({"problem": str(problem)})
        else:
            await self._events.put({"stored": number})
        finally:
            self._unstored.release()

    async def private(self, to: str, text: str) -> str:
        await _answer(self._inside.private(to, text))
        return to

    async def topic(self, new: str | None) -> str:
        if new is not None:
            await _answer(self._inside.set_topic(new))
        topic: str = self._inside.topic
        return topic

    async def who(self) -> tuple[int, list[str]]:
        members = await _answer(self._inside.members())
        self._names = {each["source"]: each["name"] for each in members}
        return len(members), [each["name"] for each in members]

    async def last(self, count: int) -> list[list[Any]]:
        newest = (await _answer(self._client.control("read", room=self.room, after=0, limit=1)))["last"]
        found = await _answer(self._inside.read(max(0, int(newest) - count), limit=count))
        return [_row(each) for each in found]

    async def search(self, text: str) -> list[list[Any]]:
        return [_row(each) for each in await _answer(self._inside.search(text))]

    async def note_seen(self, sequence: int) -> None:
        await _answer(self._client.control("seen", room=self.room, sequence=sequence))

    # ---------------------------------------------------------------- what the room tells

    async def _listen(self) -> None:
        try:
            async for message in self._inside:
                if message.missed:
                    await self._events.put({"problem": f"missed: {counted(message.missed, 'message')}"})
                if message.sequence > self._shown:
                    await self._events.put({"said": [[*_row(message), message.source]]})
        except JackfieldError as problem:
            await self._events.put(problem)
        else:
            await self._events.put({"ended": self._inside.reason})

    def _came(self, event: dict[str, Any]) -> None:
        if event.get("room") == self.room:
            came = [each for each in event["members"] if each["source"] not in self._names]
            self._names |= {each["source"]: each["name"] for each in came}
            _offer(self._events, {"came": came})

    def _changed(self, event: dict[str, Any]) -> None:
        if event.get("room") == self.room:
            told = [
                {**each, "before": self._names.get(each["source"], each["name"])} for each in event["members"]
            ]
            self._names |= {each["source"]: each["name"] for each in told}
            _offer(self._events, {"changed": told})

    def _left(self, event: dict[str, Any]) -> None:
        if event.get("room") == self.room:
            for each in event["members"]:
                self._names.pop(each["source"], None)
            _offer(self._events, {"left": event["members"]})

    def _topic_is(self, event: dict[str, Any]) -> None:
        if event.get("room") == self.room:
            _offer(self._events, {"topic": event["topic"], "by": event["by"]})

    def _was_told(self, event: dict[str, Any]) -> None:
        if event.get("room") == self.room:
            _offer(self._events, {"private": event})


def _offer(events: asyncio.Queue[Any], event: dict[str, Any]) -> None:
    """News, unless more waits than anybody reads."""
    with contextlib.suppress(asyncio.QueueFull):
        events.put_nowait(event)


def _row(message: RoomMessage) -> list[Any]:
    return row(Message(message.sequence, message.at, "", message.name, message.number, message.data))


async def _answer(asking: Awaitable[T]) -> T:
    """What the hub answers; its refusal as operators are told it."""
    try:
        return await asking
    except RequestRefused as problem:
        # The hub's own hint is for operators.
        hint = "--create makes one" if problem.code == NO_SUCH_ROOM else problem.hint or ""
        raise RequestError(FAILED, problem.message, hint=hint) from problem
    except SessionLost as problem:
        raise RequestError(FAILED, str(problem), hint=problem.hint or "") from problem
