"""A native client that chats in a durable room whatever becomes of the hub, for `test_room_crash.py`.

It speaks by `portable.py`'s machine. Its rules are those of any client that loses nothing: what was not
acknowledged is sent again under its number, from what the hub says was published; what others said is read
behind its cursor, and heard from then on; a gap in what is heard is read.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import time
from collections.abc import Callable
from typing import Any

from jackfield.portable import Connection, Control, Data, Deframer, Failed, Welcomed, framed

ROOM = "ops"
WINDOW = 30  # messages that are not acknowledged
TOLD_EVERY = 10  # messages between two words to the hub of how far it has read
PATIENCE = 10.0


class Wrong(AssertionError):
    """The hub broke a promise."""


class Member:
    """One client. `is_quiet`: it says nothing more, and only catches up."""

    def __init__(self, name: str, path: str) -> None:
        self.name = name
        self.path = path
        self.is_quiet = False
        self.said = 0  # the number of its last message
        self.acknowledged: dict[int, int] = {}  # of what the hub said: number -> sequence
        self.published = 0  # all up to it are stored, as the hub said
        self.heard: list[tuple[int, int, bytes]] = []  # sequence, number, body: its cursor's way
        self.told = 0  # how far the hub said that it keeps the cursor
        self.lives = 0
        self.state = "not connected"

    def __str__(self) -> str:
        return f"{self.name}: {self.published} of {self.said} are stored, {self.cursor} heard, {self.state}"

    @property
    def cursor(self) -> int:
        """How far it has read."""
        return self.heard[-1][0] if self.heard else 0

    async def run(self, is_done: Callable[[], bool]) -> None:
        """Connect, again and again, until that is so."""
        while not is_done():
            with contextlib.suppress(OSError, EOFError, TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    reader, writer = await asyncio.open_unix_connection(self.path)
                try:
                    self.state = "connected"
                    await _Life(self, reader, writer, is_done).run()
                finally:
                    self.state = "not connected"
                    writer.transport.abort()
            await asyncio.sleep(0.005)  # between two attempts


class _Life:
    """One connection of a member."""

    def __init__(
        self,
        member: Member,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        is_done: Callable[[], bool],
    ) -> None:
        self._member = member
        self._reader = reader
        self._writer = writer
        self._is_done = is_done
        hello = {"name": member.name, "instance": "1", "agent": "test", "services": []}
        self._machine = Connection(hello=hello, now=time.monotonic())
        self._deframer = Deframer()
        self._answers: dict[int, dict[str, Any]] = {}
        self._asked = 0
        self._stream = 0
        self._sent = 0  # the number of the last message that was sent here
        self._last_shared = 0  # sequence of the last message that was heard here
        self._ahead: list[tuple[int, int, bytes]] = []  # heard before what is read
        self._reading = False

    async def run(self) -> None:
        self._machine.start(time.monotonic())
        await self._until(lambda: self._machine.is_open)
        member = self._member
        joined = await self._ask("join", room=ROOM, create={"durable": True}, after="cursor")
        self._stream = joined["stream"]
        self._machine.attach(self._stream, joined["credit"])
        if joined["published"] < member.published:
            raise Wrong(
                f"{member.name}: {member.published} was acknowledged, {joined['published']} is stored"
            )
        if not (member.told <= joined["cursor"] or joined["cursor"] == joined["last"]):
            raise Wrong(f"{member.name}: the cursor was {member.told}, and is {joined['cursor']}")
        self._sent = member.published = joined["published"]
        member.said = max(member.said, self._sent)
        member.lives += 1
        member.state = "joined"
        await self._read()
        member.state = "listening"
        while not self._is_done():
            self._publish()
            if member.cursor - member.told >= TOLD_EVERY:
                sequence = member.cursor
                await self._ask("seen", room=ROOM, sequence=sequence)
                member.told = sequence
            if self._ahead:
                await self._read()
            await self._step(0.05)

    def _publish(self) -> None:
        member = self._member
        while self._sent < member.said or (not member.is_quiet and self._sent - member.published < WINDOW):
            number = self._sent + 1
            payload = number.to_bytes(8, "big") + b"%s says %d" % (member.name.encode(), number)
            if self._machine.credit(self._stream) < len(payload) + 16:
                return
            self._machine.send(self._stream, payload)
            self._sent = number
            member.said = max(member.said, number)

    async def _read(self) -> None:
        """Read from the store what is behind the cursor, then take what was heard meanwhile."""
        member = self._member
        self._reading = True
        while True:
            page = await self._ask("read", room=ROOM, after=member.cursor, limit=500)
            for sequence, _, _, _, number, body in page["messages"]:
                self._take(sequence, number, body.encode())
            if not page["behind"]:
                break
        self._reading = False
        ahead, self._ahead = self._ahead, []
        for each in ahead:
            self._hear(*each)

    def _hear(self, sequence: int, number: int, body: bytes) -> None:
        if self._reading or sequence > self._member.cursor + 1:
            self._ahead.append((sequence, number, body))
        elif sequence == self._member.cursor + 1:
            self._take(sequence, number, body)

    def _take(self, sequence: int, number: int, body: bytes) -> None:
        if sequence != self._member.cursor + 1:
            raise Wrong(f"{self._member.name}: after {self._member.cursor} came {sequence}")
        self._member.heard.append((sequence, number, body))

    # The wire

    async def _ask(self, op: str, **arguments: Any) -> dict[str, Any]:
        self._asked += 1
        number = self._asked
        self._machine.control({"type": op, "n": number, **arguments})
        await self._until(lambda: number in self._answers)
        answer = self._answers.pop(number)
        if answer["type"] != "ok":
            raise Wrong(f"{op} {arguments}: {answer}")
        return answer

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await self._step(PATIENCE)

    async def _step(self, seconds: float) -> None:
        """Send what waits, and take what comes within so long."""
        if self._writer.transport.is_closing():
            raise EOFError
        for message in self._machine.take():
            self._writer.write(framed(message))
        try:
            async with asyncio.timeout(seconds):
                data = await self._reader.read(65_536)
        except TimeoutError:
            return
        if not data:
            raise EOFError
        for message in self._deframer.feed(data):
            for event in self._machine.receive(message, time.monotonic()):
                self._happened(event)

    def _happened(self, event: Any) -> None:
        match event:
            case Control(message) if "n" in message:
                self._answers[message["n"]] = message
            case Control(message) if message["type"] == "room_behind":
                self._ahead.append((message["sequence"], 0, b""))  # it is read, as a gap is
            case Control(message) if message["type"] == "room_refused":
                raise Wrong(f"{self._member.name}: {message}")
            case Data(stream, payload, _, True) if stream == self._stream:
                _, sequence, number = struct.unpack_from(">IQQ", payload)
                if sequence <= self._last_shared:
                    raise Wrong(f"{self._member.name}: {sequence} was told after {self._last_shared}")
                self._last_shared = sequence
                self._hear(sequence, number, payload[20:])
            case Data(stream, payload, _, False) if stream == self._stream:
                number, sequence = struct.unpack(">QQ", payload)
                self._member.acknowledged[number] = sequence
                self._member.published = max(self._member.published, number)
            case Failed():
                raise Wrong(f"{self._member.name}: {event}")
            case Welcomed():
                pass
