"""The part of the hub that records: what clients say and are told, as the bytes of a recording.

Owns which clients are recorded, how each is introduced, and the pace: chunks go to a sink that acknowledges
each, at most `WINDOW` of them at a time. A sink that is slow makes the tape fill up, and what does not fit is
counted in the recording itself. Whoever made the recorder decides where the chunks go: to an operator
(`operations/recording.py`) or into a directory (`log_directory.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from jackfield import Member

from ..recording.encoding import PIECE, pieces
from ..recording.records import Client as Recorded
from ..recording.records import Happened, Left, Opened
from ..recording.tape import CHUNK, LIMIT, Chunk, Tape
from .client import Client
from .journal import Event
from .part import Part
from .roster import endpoint_text, version
from .sending import in_turns
from .target import Matcher

if TYPE_CHECKING:
    from .server import Hub

WINDOW: Final = 4  # chunks on their way
PATIENCE_AT_END: Final = 0.5  # seconds that the last chunks may take when the hub ends
GATHER: Final = 0.03  # seconds in which records gather into a chunk


class _Known:
    """A client as the recording knows it: `ref` 0 is not recorded; `file` is where it was introduced last."""

    __slots__ = ("file", "name", "ref")

    def __init__(self, name: str, ref: int) -> None:
        self.name = name
        self.ref = ref
        self.file = 0


class Recorder(Part):
    """Records the clients that `target` means, those that come later included.

    `sink` is handed each chunk and calls `acknowledge` when it is written. With `roll`, a function of the
    bytes in the file and of the time, a new file begins whenever it says so. Times are nanoseconds.
    """

    reopens = False  # its sink is gone then
    looks_on = True

    def __init__(
        self,
        sink: Callable[[Chunk], None],
        *,
        target: str = "all",
        roll: Callable[[int, int], bool] | None = None,
        limit: int = LIMIT,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._sink = sink
        self._matcher = None if target == "all" else Matcher(target)
        self.target = target
        self._roll = roll
        self._clock = clock
        self._tape = Tape(os.urandom(4), limit=limit)
        self._known: dict[int, _Known] = {}
        self._refs = 0
        self._file = 0
        self._window = WINDOW
        self._scheduled: asyncio.Handle | None = None
        self._finished = asyncio.Event()
        self._hub: Hub | None = None
        self.closed = False
        self.reason = ""  # why it ended
        self.records = 0  # handed to the sink
        self.bytes = 0  # of clients, in these

    @property
    def lost(self) -> int:
        """Records that there was no room for."""
        return self._tape.lost

    @property
    def clients(self) -> int:
        """Connections that are recorded, those that ended included."""
        return self._refs

    # ---------------------------------------------------------------- lifetime

    reopens = False  # what it wrote has its end

    async def open(self, hub: Hub) -> None:
        self._hub = hub
        self._begin()
        for some in in_turns(hub.ids()):
            for client_id in some:
                client = hub.client(client_id)
                if client is not None:
                    self._meet(client, earlier=True)
            await asyncio.sleep(0)
        for client_id in [each for each in self._known if hub.member(each) is None]:
            self._leave(client_id, "it left as the recording began")
        self._schedule(at_once=True)

    async def resume(self, now: float, clients: Sequence[Client], handed: Any) -> None:
        for client in clients:
            if client.id not in self._known:
                self._meet(client, earlier=True)

    async def close(self) -> None:
        """The hub ends: what was recorded has half a second to be written."""
        self.end("the hub ended")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_AT_END):
                await self._finished.wait()

    def end(self, reason: str) -> None:
        """Record no more, and close the recording; what waits is still handed over. May be called twice."""
        if not self.closed:
            self.closed = True
            self.reason = reason
            self._tape.close(self._clock(), reason)
            self._schedule(at_once=True)

    async def wait_finished(self) -> None:
        """Wait until the recording has ended, and all of it is handed over and acknowledged."""
        await self._finished.wait()

    def abandon(self) -> None:
        """The sink is gone: what waits is lost."""
        self.closed = True
        if self._scheduled is not None:
            self._scheduled.cancel()
        self._window = 0
        self._finished.set()

    def _begin(self) -> None:
        self._file += 1
        program = f"jackfield {version()}"
        self._tape.begin(Opened(self._clock(), program, "server", self.target))

    # ---------------------------------------------------------------- what happens

    def came(self, now: float, client: Client) -> None:
        self._known.pop(client.id, None)
        self._meet(client)

    def went(self, now: float, client: Client, reason: str) -> None:
        self._leave(client.id, reason)

    def heard(self, now: float, client: Client, data: bytes) -> None:
        self._data(client, False, data, "")

    def told(self, now: float, client: Client, data: bytes, by: str) -> None:
        self._data(client, True, data, by)

    def happened(self, event: Event) -> None:
        """Something went to the hub's log."""
        if not self.closed:
            when = int(event.time * 1e9)
            self._tape.add(Happened(when, event.kind, dict(event.facts)), when)
            self._schedule()

    def _data(self, client: Client, out: bool, data: bytes, by: str) -> None:
        known = self._known.get(client.id)
        if known is None or known.name != client.name or (known.file != self._file and known.ref):
            known = self._meet(client)
        if not known.ref or self.closed:
            return
        if len(data) <= PIECE:
            self._tape.data(self._clock(), known.ref, out, data, by)
        else:
            now = self._clock()
            for piece, more in pieces(data):
                self._tape.data(now, known.ref, out, piece, by, more=more)
        self._schedule()

    def _meet(self, client: Client, *, earlier: bool = False) -> _Known:
        """A client that is not introduced in this file, or has another name than it had."""
        known = self._known.get(client.id)
        if known is None:
            known = self._known[client.id] = _Known(client.name, 0)
        known.name = client.name
        if not known.ref and self._means(client):
            self._refs += 1
            known.ref = self._refs
        if known.ref and not self.closed:
            now = self._clock()
            introduced = self._tape.add(self._introduction(now, client, known.ref, earlier=earlier), now)
            # What there was no room for is said before the next record of this client.
            known.file = self._file if introduced else 0
            self._schedule()
        return known

    def _leave(self, client_id: int, reason: str) -> None:
        known = self._known.pop(client_id, None)
        if known is not None and known.file == self._file and known.ref and not self.closed:
            now = self._clock()
            self._tape.add(Left(now, known.ref, reason), now)
            self._schedule()

    def _means(self, client: Client) -> bool:
        if self._matcher is None:
            return True
        assert self._hub is not None
        return self._matcher.matches(self._hub.candidate(client.member))

    def _introduction(self, now: int, client: Client, ref: int, *, earlier: bool) -> Recorded:
        assert self._hub is not None
        member = client.member
        since = None
        if earlier:
            since = int(self._hub.group.statistics(member).since * 1e9)
        credentials = member.credentials
        return Recorded(
            now,
            ref,
            client.id,
            client.name,
            member.protocol,
            *_place(member, local=True),
            *_place(member, local=False),
            self._hub.plan_of(member).framing,
            since,
            None if credentials is None else credentials[0],
            None if credentials is None else credentials[1],
        )

    # ---------------------------------------------------------------- to the sink

    def acknowledge(self) -> None:
        """The sink has written a chunk."""
        self._window = min(WINDOW, self._window + 1)
        self._schedule(at_once=True)

    def _schedule(self, *, at_once: bool = False) -> None:
        tape = self._tape
        if self._roll is not None and not self.closed and self._roll(tape.written, self._clock()):
            tape.close(self._clock(), "it goes on in the next file")
            self._begin()
        if self._window == 0:
            return
        if at_once or tape.waiting >= CHUNK:
            if self._scheduled is not None:
                self._scheduled.cancel()
            self._hand_over()
        elif self._scheduled is None:
            self._scheduled = asyncio.get_running_loop().call_later(GATHER, self._hand_over)

    def _hand_over(self) -> None:
        self._scheduled = None
        while self._window and (chunk := self._tape.take()) is not None:
            self._window -= 1
            self.records += chunk.records
            self.bytes += chunk.bytes
            self._sink(chunk)
        if self.closed and self._window == WINDOW and not self._tape.waiting:
            self._finished.set()


def _place(member: Member, *, local: bool) -> tuple[str, int | None]:
    """An end of a connection: address and port, or a path; a nameless Unix peer is its process."""
    address = member.local if local else member.peer
    if address is not None and address.port is not None:
        host = address.host or "*"
        mapped = host.removeprefix("::ffff:")
        return (mapped if "." in mapped else host), address.port
    return endpoint_text(address, None if local else member.credentials), None
