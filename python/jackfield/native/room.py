"""A room as its member has it: what is said comes once and in order, what is published is known to be stored.

Owns one membership. Rules: messages are handed out by their sequence in the room; what the hub left out, or
was missed without a connection, is read from its store before anything behind it is handed out; what waits
for the program is bounded, and a slow program reads the rest later. A room that is not durable has no store:
there a gap is counted. What was published and not acknowledged is published again in the next session.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import time
from collections import deque
from collections.abc import Generator
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from jackfield import JackfieldError, MessageTooLarge, portable

from .errors import RequestRefused, SessionLost
from .room_message import RoomMessage, read_row

if TYPE_CHECKING:
    from .client import Client

MOST_WAITING = 2000  # messages that wait for the program
PAGE = 500  # messages that are read at a time
SEEN_EVERY = 0.5  # seconds between two times that the hub is told how far the program is
PASSING = ("failed", "rate_limited", "overloaded")  # refusals after which it is asked again
LONGEST = 45_000  # bytes of a message

_SHARED = struct.Struct(">IQQ")
_STORED = struct.Struct(">QQ")
_NUMBER = struct.Struct(">Q")

After = int | Literal["cursor", "now"]


class Room:
    """A membership: ``async with client.room("lobby") as room``, then ``async for message in room``.

    ``async for`` ends when the room was left, deleted, or the client put out of it, and raises
    ``SessionLost`` when the client has ended.
    """

    def __init__(self, client: Client, name: str, *, after: After, create: dict[str, Any] | None) -> None:
        self.name = name
        self.durable = True
        self.topic = ""
        """What the room is about, as of the last change that was told."""
        self.reason = ""
        """Why this client is not in the room any more."""
        self._client = client
        self._after: After = after
        self._create = create
        self._keeps_cursor = after == "cursor"
        self._stream = 0
        self._source = 0
        self._next = 1  # the sequence that is handed out next, or waits already behind what waits
        self._ready: deque[RoomMessage] = deque()
        self._ahead: dict[int, RoomMessage] = {}  # what came while something before it is being read
        self._reading: asyncio.Task[None] | None = None
        self._read_again = False  # the hub said that there is more after what is being read was asked for
        self._handed = 0  # the sequence that the program has
        self._told_seen = 0
        self._seen_timer: asyncio.TimerHandle | None = None
        self._telling: asyncio.Task[None] | None = None
        self._members: dict[int, dict[str, Any]] = {}
        self._published = 0  # the number that was given last
        self._pending: dict[int, tuple[bytes, asyncio.Future[int]]] = {}  # by number, the oldest first
        self._stored: dict[int, asyncio.Future[int]] = {}  # on disk; the sequence comes with the message
        self._turn = asyncio.Lock()  # of who publishes
        self._changed = asyncio.Event()
        self._error: JackfieldError | None = None
        self._ended = False
        self._undo: list[Any] = []

    @property
    def source(self) -> int:
        """This member's seat, as `RoomMessage.source` names it; another one after a session that was lost."""
        return self._source

    # ---------------------------------------------------------------- coming and going

    def __await__(self) -> Generator[Any, None, Self]:
        return self.join().__await__()

    async def join(self) -> Self:
        """Become a member. Raises ``RequestRefused``, ``SessionLost``."""
        client = self._client
        for kind, callback in (
            ("room_joined", self._were_joined),
            ("room_changed", self._were_joined),
            ("room_left", self._were_left),
            ("room_topic", self._topic_changed),
            ("room_behind", self._fell_behind),
            ("room_refused", self._was_refused),
        ):
            self._undo.append(client.on_event(kind, callback))
        self._undo.append(client.on_new_session(self._join_again))
        try:
            await self._enter(self._after)
        except BaseException:
            self._forget()
            raise
        return self

    async def _enter(self, after: After) -> None:
        more = {} if self._create is None else {"create": self._create}
        arguments = {"room": self.name, "after": after, **more}
        joined = await self._client.ask("join", arguments, lambda joined: self._entered(joined, after))
        if int(joined.get("count", 0)) > len(self._members):
            await self.members()

    def _entered(self, joined: dict[str, Any], after: After) -> None:
        if self._stream:
            self._client.streams.detach(self._stream)
        self._stream, self._source = int(joined["stream"]), int(joined["source"])
        self.durable, self.topic = bool(joined["durable"]), str(joined["topic"])
        self._client.streams.attach(self._stream, int(joined["credit"]), self._heard)
        self._members = {each["source"]: each for each in joined["members"]}
        first = not self._published and not self._pending
        stored = int(joined["published"])
        self._published = max(self._published, stored) if first else self._publish_again(stored)
        last, cursor = int(joined["last"]), int(joined["cursor"])
        self._next = cursor + 1 if after in ("cursor", "now") else max(self._next, cursor + 1)
        self._handed = max(self._handed, self._next - 1)
        if not self.durable:
            self._next = max(self._next, last + 1)
        elif self._next <= last:
            self._read_on()

    def _join_again(self) -> None:
        """There is another session, which knows nothing of this room."""
        task = asyncio.ensure_future(self._come_back())
        self._undo.append(task.cancel)

    async def _come_back(self) -> None:
        try:
            await self._enter(self._next - 1 if self.durable else "now")
        except RequestRefused as problem:
            self._end(str(problem), problem)
        except JackfieldError:
            pass  # there is yet another session, or none any more: that is told elsewhere

    async def leave(self) -> None:
        """Be a member no more. May be repeated; what is not acknowledged yet may be stored, or not."""
        if self._ended:
            return
        await self._tell_seen()
        self._end("left")
        with contextlib.suppress(RequestRefused, SessionLost):
            await self._client.control("leave", room=self.name)

    async def __aenter__(self) -> Self:
        return await self.join()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.leave()

    def _end(self, reason: str, error: JackfieldError | None = None) -> None:
        self._ended, self.reason = True, self.reason or reason
        self._error = self._error or error
        gone = error or SessionLost(f"not in the room {self.name} any more: {portable.harmless(reason)}")
        for _, future in self._pending.values():
            if not future.done():
                future.set_exception(gone)
        self._pending.clear()
        self._settle(0)
        self._forget()
        self._changed.set()

    def _forget(self) -> None:
        for undo in self._undo:
            undo()
        self._undo.clear()
        if self._reading is not None:
            self._reading.cancel()
        for waiting in (self._seen_timer, self._telling):
            if waiting is not None:
                waiting.cancel()
        if self._stream:
            self._client.streams.detach(self._stream)

    # ---------------------------------------------------------------- what is said

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> RoomMessage:
        try:
            return await self.receive()
        except EOFError:
            raise StopAsyncIteration from None

    async def receive(self) -> RoomMessage:
        """The next message, in the order of the room. Who asks for it has dealt with the one before.

        Raises ``EOFError`` once the room was left, ``SessionLost`` when the client has ended. Cancelled,
        nothing is lost.
        """
        self._has_seen(self._handed)
        while not self._ready:
            if self._ended:
                if self._error is not None:
                    raise self._error
                raise EOFError(f"not in the room {self.name} any more: {self.reason}")
            self._changed.clear()
            await self._changed.wait()
        message = self._ready.popleft()
        self._handed = message.sequence
        if self._reading is not None and len(self._ready) < MOST_WAITING // 2:
            self._changed.set()  # whoever reads from the store has room again
        return message

    def _heard(self, event: Any) -> None:
        """An event on the room's stream."""
        if isinstance(event, portable.Data):
            payload = event.payload
            if event.shared:
                if len(payload) >= _SHARED.size:
                    self._said(payload)
            elif len(payload) == _STORED.size:
                self._acknowledged(*_STORED.unpack(payload))
        elif isinstance(event, portable.WasReset):
            self._stream = 0  # the next session joins again, if there is one
            if self._client.closed:
                self._end("the client ended", SessionLost(f"the room {self.name} is gone: {event.reason}"))
        else:
            self._changed.set()  # credit

    def _said(self, payload: bytes) -> None:
        source, sequence, number = _SHARED.unpack_from(payload)
        if source == self._source:
            self._sequence_of(number, sequence)
        if sequence < self._next or sequence in self._ahead:
            return
        missed = 0 if self.durable else sequence - self._next
        name = str(self._members.get(source, {}).get("name", ""))
        message = RoomMessage(
            sequence, time.time(), name, bytes(payload[_SHARED.size :]), source, number, missed
        )
        if not self.durable:
            if len(self._ready) < MOST_WAITING:
                self._next = sequence + 1
                self._ready.append(message)
        elif sequence == self._next and self._reading is None and len(self._ready) < MOST_WAITING:
            self._next = sequence + 1
            self._ready.append(message)
        else:
            if len(self._ahead) < MOST_WAITING:
                self._ahead[sequence] = message
            self._read_on()
        self._changed.set()

    def _read_on(self) -> None:
        """Read from the store what is missing, unless that is being done."""
        if self._reading is None and not self._ended:
            self._settle(0)
            self._reading = asyncio.ensure_future(self._read_missing())
            self._reading.add_done_callback(self._has_read)

    async def _read_missing(self) -> None:
        while True:
            while len(self._ready) >= MOST_WAITING:  # the program is slow: the store has it
                self._changed.clear()
                await self._changed.wait()
            self._take_ahead()
            self._read_again = False
            answer = await self._client.control("read", room=self.name, after=self._next - 1, limit=PAGE)
            for row in answer["messages"]:
                if row[0] >= self._next:
                    missed = 0 if self.durable else row[0] - self._next
                    self._ready.append(replace(read_row(row), missed=missed))
                    self._next = row[0] + 1
            self._take_ahead()
            self._changed.set()
            if not answer["messages"]:
                self._next = max(self._next, int(answer.get("first", 0)))  # what came before is not kept
            if not answer["behind"] and not self._ahead:
                return
            if not answer["behind"] and self._next <= min(self._ahead):
                await asyncio.sleep(0.01)  # what came here is on the way into the store's view

    def _take_ahead(self) -> None:
        """Put behind what waits what follows it already."""
        while (message := self._ahead.pop(self._next, None)) is not None:
            self._ready.append(message)
            self._next += 1
        for sequence in [each for each in self._ahead if each < self._next]:
            del self._ahead[sequence]

    def _has_read(self, task: asyncio.Task[None]) -> None:
        self._reading = None
        if task.cancelled() or self._ended:
            return
        problem = task.exception()
        if isinstance(problem, RequestRefused) and problem.code not in PASSING:
            self._end(str(problem), problem)
        elif isinstance(problem, SessionLost):
            pass  # the next session reads on
        elif problem is not None:
            asyncio.get_running_loop().call_later(0.5, self._read_on)
        else:
            self._take_ahead()
            self._changed.set()
            if self._ahead or self._read_again:
                self._read_on()

    # ---------------------------------------------------------------- publishing

    async def publish(self, data: bytes | str) -> int:
        """Say something; its sequence in the room once it is stored; 0, at once, where that is not durable.

        While this member is behind, several of its messages that were stored at once are all given the
        sequence of the last. Waits while the hub has not stored what was published before. Raises
        ``MessageTooLarge``, ``SessionLost``, ``RequestRefused``. Cancelled, it is said all the same once it
        has a number.
        """
        body = data.encode("utf-8", "replace") if isinstance(data, str) else bytes(data)
        if len(body) > LONGEST:
            text = f"a message of {len(body)} bytes is too long for a room: at most {LONGEST}"
            raise MessageTooLarge(text, stage="send")
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        async with self._turn:
            while not self._may_send(len(body) + _NUMBER.size):
                if self._ended:
                    raise self._error or SessionLost(f"not in the room {self.name} any more: {self.reason}")
                self._changed.clear()
                await self._changed.wait()
            self._published += 1
            if self.durable:
                self._pending[self._published] = body, future
            self._send(self._published, body)
        return await asyncio.shield(future) if self.durable else 0

    def _may_send(self, size: int) -> bool:
        if self._ended or not self._stream:
            return False
        return self._client.streams.credit(self._stream) >= size + portable.FRAME_COST

    def _send(self, number: int, body: bytes) -> None:
        self._client.streams.put(self._stream, _NUMBER.pack(number) + body)

    def _publish_again(self, stored: int) -> int:
        """Say again what is not acknowledged, in another session; the number that was given last."""
        waiting, self._pending = self._pending, {}
        numbers = list(waiting)
        if numbers and stored < numbers[0] - 1:  # the hub takes this for somebody else: count anew
            numbers = list(range(stored + 1, stored + 1 + len(numbers)))
        for number, (body, future) in zip(numbers, waiting.values(), strict=True):
            self._pending[number] = body, future
            self._send(number, body)
        return numbers[-1] if numbers else max(stored, self._published if stored else 0)

    def _acknowledged(self, number: int, sequence: int) -> None:
        """All up to that number is stored; the last of it is `sequence` in the room."""
        for each in [each for each in self._pending if each <= number]:
            _, future = self._pending.pop(each)
            if each == number or self._reading is not None:
                if not future.done():
                    future.set_result(sequence)
            else:
                self._stored[each] = future
        self._changed.set()

    def _sequence_of(self, number: int, sequence: int) -> None:
        future = self._stored.pop(number, None)
        if future is not None and not future.done():
            future.set_result(sequence)

    def _settle(self, sequence: int) -> None:
        """Who waits for a sequence alone need not: it is stored."""
        stored, self._stored = self._stored, {}
        for future in stored.values():
            if not future.done():
                future.set_result(sequence or self._next - 1)

    # ---------------------------------------------------------------- what is asked for

    async def read(self, after: int = 0, *, limit: int = 100) -> list[RoomMessage]:
        """Messages behind a sequence, as they are kept, at most ``limit``. Raises ``RequestRefused``."""
        found: list[RoomMessage] = []
        while len(found) < limit:
            answer = await self._client.control(
                "read", room=self.name, after=after, limit=min(PAGE, limit - len(found))
            )
            found += map(read_row, answer["messages"])
            if not answer["behind"] or not answer["messages"]:
                break
            after = found[-1].sequence
        return found

    async def search(self, text: str, *, limit: int = 20) -> list[RoomMessage]:
        """Messages with these words, the newest first. Raises ``RequestRefused``."""
        answer = await self._client.control("search", room=self.name, text=text, limit=limit)
        return [read_row(row[1:]) for row in answer["messages"]]

    async def set_topic(self, topic: str) -> None:
        """Make the room be about something else. Raises ``RequestRefused``."""
        self.topic = str((await self._client.control("topic", room=self.name, topic=topic))["topic"])

    async def members(self) -> list[dict[str, Any]]:
        """Who is in the room: ``source``, ``id``, ``name``, ``kind``, ``state``, ``role`` of each."""
        found: dict[int, dict[str, Any]] = {}
        after = 0
        while True:
            answer = await self._client.control("members", room=self.name, after=after)
            found |= {each["source"]: each for each in answer["members"]}
            if "next" not in answer:
                self._members = found
                return list(found.values())
            after = answer["next"]

    async def private(self, to: str, text: str) -> None:
        """Say something to one member alone. Raises ``RequestRefused``."""
        await self._client.control("private", room=self.name, to=to, text=text)

    # ---------------------------------------------------------------- how far the program is

    def _has_seen(self, sequence: int) -> None:
        if self._keeps_cursor and sequence > self._told_seen and self._seen_timer is None:
            self._seen_timer = asyncio.get_running_loop().call_later(SEEN_EVERY, self._see)

    def _see(self) -> None:
        self._seen_timer = None
        self._telling = asyncio.ensure_future(self._tell_seen())

    async def _tell_seen(self) -> None:
        handed = self._handed
        if not self._keeps_cursor or handed <= self._told_seen:
            return
        try:
            await self._client.control("seen", room=self.name, sequence=handed)
            self._told_seen = handed
        except (RequestRefused, SessionLost):
            pass  # told with the next one

    # ---------------------------------------------------------------- events

    def _is_here(self, event: dict[str, Any]) -> bool:
        return event.get("room") == self.name

    def _were_joined(self, event: dict[str, Any]) -> None:
        if self._is_here(event):
            self._members |= {each["source"]: each for each in event["members"]}

    def _were_left(self, event: dict[str, Any]) -> None:
        if not self._is_here(event):
            return
        for each in event["members"]:
            if each["source"] == self._source:
                self._end(str(each.get("reason", "")))
            self._members.pop(each["source"], None)

    def _topic_changed(self, event: dict[str, Any]) -> None:
        if self._is_here(event):
            self.topic = str(event["topic"])

    def _fell_behind(self, event: dict[str, Any]) -> None:
        if self._is_here(event):
            self._read_again = True
            self._read_on()

    def _was_refused(self, event: dict[str, Any]) -> None:
        found = self._pending.pop(event.get("sequence", 0), None) if self._is_here(event) else None
        if found is not None and not found[1].done():
            text = f"the room {self.name} refuses a message: {portable.harmless(str(event.get('message')))}"
            found[1].set_exception(RequestRefused(text, code=str(event.get("code", "unknown"))))

    def __repr__(self) -> str:
        return f"<Room {self.name!r} of {self._client.name!r}>"
