"""Messages from client to client, and those that wait for somebody who is not there.

Owns their way. A message for a known client is a *letter*: it is on disk before anybody is told that it is
taken, and goes to the newest session of that identity, in order, until the client says that it has it
(`delivered`). A letter that was not acknowledged is delivered again with the same number, which clients hand
on once; a message that is sent again (the same sender and sequence) is taken once. A plain client gets its
letters as bytes when it is known again, once. What waits is bounded for each recipient by the store, for each
sender by its share (`shares.py`), and in all by `MOST_LETTERS` and `MOST_BYTES`; and it expires.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import jackfield
from jackfield.portable import ProtocolError

from ..rooms.store import Letter, Store, StoreError, Waiting
from ..text import LINE_ENDINGS
from .contents import data_of, encoded, name_of
from .handshake import Refused
from .shares import MOST_BYTES, MOST_LETTERS, Count, Shares

if TYPE_CHECKING:
    from jackfield import Member

    from .part import Native
    from .session import NativeSession

WINDOW: Final = 32  # letters on their way to one client
ANSWERED_WITHIN: Final = 5.0  # seconds in which a recipient that is there has it; else it waits
LOOK_EVERY: Final = 30.0  # seconds between two looks for what has expired
RETRY: Final = 2.0  # seconds after which a store that failed is asked again
FLAG: Final = ("hub", "mail")  # of the document that says that letters may wait

Sent = tuple[str, int]  # a letter's sender, and its bytes


@dataclass(slots=True, eq=False)
class Flow:
    """Letters on their way to one recipient: `sent` are those that it has not acknowledged.

    `earlier` are those that an earlier session was sent, and may still acknowledge.
    """

    sent: dict[int, Sent] = field(default_factory=dict)  # by id
    earlier: dict[int, Sent] = field(default_factory=dict)
    last: int = 0  # the id of the last one that was sent
    news: asyncio.Event = field(default_factory=asyncio.Event)
    restart: bool = False


class Mail:
    """The letters of one hub."""

    def __init__(self, native: Native) -> None:
        self._native = native
        self.counts: dict[str, Count] = {}  # by recipient's identity
        self.shares = Shares()
        self._flows: dict[str, Flow] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiters: dict[int, asyncio.Future[None]] = {}  # by letter, of senders who want to know
        self._direct: dict[int, tuple[NativeSession, asyncio.Future[None]]] = {}  # messages without letters
        self._next_direct = time.time_ns() // 1000  # above those of letters, and of hubs before
        self._letters = self._bytes = 0  # that wait, in all
        self._store: Store | None = None
        self._expiring = False
        self._may_wait = False  # the flag is on disk
        self._loaded: asyncio.Task[None] | None = None

    # ---------------------------------------------------------------- lifetime

    async def open(self, store: Store) -> None:
        """Use a store. What waits there is counted soon, if there is anything."""
        self._store = store
        self._may_wait = FLAG[1] in self._native.hub.state.load(FLAG[0])
        self._loaded = None
        if self._may_wait:
            self._loaded = asyncio.create_task(self._load())
            self._begin_expiring()

    async def close(self) -> None:
        for task in [*self._tasks, *([self._loaded] if self._loaded else ())]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._flows.clear()
        self._loaded, self._store, self._expiring = None, None, False

    async def _load(self) -> None:
        assert self._store is not None
        while True:
            try:
                queues, senders = await self._store.queues(), await self._store.senders()
                break
            except StoreError as problem:
                self._native.hub.log("mail_unread", reason=str(problem))
                await asyncio.sleep(RETRY)
        self.counts.clear()
        self.shares.clear()
        self._letters = self._bytes = 0
        for each in senders:
            self.shares.add(*each)
        for to, letters, size, _ in queues:
            self._count(to, letters, size)
            self.wake(to)
        if not queues:
            self._may_wait = False
            self._native.hub.state.delete(*FLAG)

    async def ready(self) -> Store:
        """The store, once it is known what waits there. Raises `StoreError`."""
        if self._store is None:
            raise StoreError("the hub keeps no messages now", "try again in a moment")
        if self._loaded is not None:
            await asyncio.shield(self._loaded)
        return self._store

    def _begin_expiring(self) -> None:
        if not self._expiring:
            self._expiring = True
            self._run(self._expire())

    def _run(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ---------------------------------------------------------------- letters in

    async def enqueue(
        self,
        to: str,
        body: dict[str, Any],
        *,
        sender: str,
        number: int,
        name: str,
        expires: float,
        origin: str = "",
    ) -> tuple[int, bool]:
        """Have a letter on disk; its id, and whether it is new. Without an origin it is within every share.

        Raises `Refused`, `RequestError` and `StoreError`.
        """
        store, hub, content = await self.ready(), self._native.hub, encoded(body)
        if self._letters >= MOST_LETTERS or self._bytes + len(content) > MOST_BYTES:
            raise Refused("overloaded", f"{self._letters} messages wait for absent clients already")
        if origin:
            self.shares.check(sender, len(content), origin)
        if not self._may_wait:
            self._may_wait = True
            hub.state.save(*FLAG, {"letters": True})
            await hub.state.flush()
            self._begin_expiring()
        now = hub.clock()
        letter = Letter(to, sender, number, now, now + expires, name, content)
        self.shares.add(sender, 1, len(content), origin=origin)  # before it is known: others ask meanwhile
        fresh = False
        try:
            (posted,) = await store.enqueue([letter])
            fresh = posted.fresh
        finally:
            if not fresh:
                self.shares.remove(sender, len(content))
        if posted.full:
            raise Refused("overloaded", f"as much as there is room for waits for {name_of(to)}")
        if posted.fresh:
            self._count(to, 1, len(letter.body))
            self.wake(to)
        return posted.id, posted.fresh

    async def send(
        self, to: str, body: dict[str, Any], *, session: NativeSession, number: int, expires: float
    ) -> str:
        """Have a client's letter on disk and on its way; `delivered`, or `waiting`. Raises as `enqueue`."""
        letter, fresh = await self.enqueue(
            to,
            body,
            sender=session.sender,
            number=number,
            name=session.name,
            expires=expires,
            origin=session.origin,
        )
        if not fresh and to not in self.counts:
            return "delivered"
        if self._native.newest(to) is None:
            return "waiting"
        waiter = self._waiters.setdefault(letter, asyncio.get_running_loop().create_future())
        try:
            await asyncio.wait_for(asyncio.shield(waiter), ANSWERED_WITHIN)
            return "delivered"
        except TimeoutError:
            return "waiting"
        finally:
            self._waiters.pop(letter, None)

    async def send_direct(self, session: NativeSession, body: dict[str, Any]) -> str:
        """To a client without an identity: it has it now, or never. Raises `Refused` and `RequestError`."""
        encoded(body)
        number = self.new_number()
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._direct[number] = session, waiter
        try:
            if not session.push({"type": "message", **body, "number": number}):
                raise Refused("overloaded", "its queue is full")
            await asyncio.wait_for(waiter, ANSWERED_WITHIN)
        except TimeoutError:
            raise Refused("no_such_peer", "it did not say that it has it", "it may have it") from None
        finally:
            del self._direct[number]
        return "delivered"

    def new_number(self) -> int:
        """The number of a message that is no letter: it comes once, or never."""
        self._next_direct = number = self._next_direct + 1
        return number

    # ---------------------------------------------------------------- letters out

    def wake(self, to: str) -> None:
        """Letters may go to somebody, if that one is there."""
        count = self.counts.get(to)
        if self._store is None or count is None or not self._is_there(to):
            return
        flow = self._flows.get(to)
        if flow is None:
            flow = self._flows[to] = Flow()
            self._run(self._deliver(to, flow))
        flow.news.set()

    def restart(self, to: str) -> None:
        """Another session of that identity is the newest one: it gets what was not acknowledged."""
        flow = self._flows.get(to)
        if flow is not None:
            flow.restart = True
            flow.news.set()
        self.wake(to)

    def _is_there(self, to: str) -> bool:
        return self._native.newest(to) is not None or self._plain(to) is not None

    def _plain(self, to: str) -> Member | None:
        """The plain client of that identity that is there."""
        entry = self._native.hub.identities.registry.known_as(to)
        if entry is None or not entry.client_id:
            return None
        member = self._native.hub.member(entry.client_id)
        return None if member is None or self._native.takes(member.id) else member

    async def _deliver(self, to: str, flow: Flow) -> None:
        """Send what waits for somebody, for as long as that one is there and anything does."""
        try:
            while self._store is not None and to in self.counts and self._is_there(to):
                flow.news.clear()
                if flow.restart:
                    flow.restart, flow.last = False, 0
                    flow.earlier.update(flow.sent)
                    flow.sent.clear()
                room = WINDOW - len(flow.sent)
                try:
                    found = [] if room <= 0 else await self._store.waiting(to, flow.last, limit=room)
                except StoreError:
                    await asyncio.sleep(RETRY)
                    continue
                if not flow.restart:
                    await self._hand_out(to, flow, found)
                if not found or room <= 0:
                    await flow.news.wait()
        finally:
            if self._flows.get(to) is flow:
                del self._flows[to]

    async def _hand_out(self, to: str, flow: Flow, found: Sequence[Waiting]) -> None:
        session = self._native.newest(to)
        for each in found:
            body = json.loads(each.letter.body)
            ending = body.pop("ending", "default")
            if session is None:
                await self._hand_to_plain(to, each, body, ending)
                flow.last = each.id
                continue
            flow.earlier.pop(each.id, None)
            flow.sent[each.id] = each.letter.sender, len(each.letter.body)
            event = {"type": "message", "at": each.letter.at, **body, "number": each.id}
            try:
                pushed = session.push(event)
            except ProtocolError as problem:  # it came to the disk before such letters were refused
                sent, flow.last = flow.sent.pop(each.id), each.id
                self._done(to, sent)
                self._run(self._forget([each.id]))
                self._native.hub.log(
                    "mail_lost", to=name_of(to), sender=each.letter.name, reason=str(problem)
                )
                continue
            if not pushed:
                del flow.sent[each.id]
                await asyncio.sleep(RETRY)  # its queue is full; what is not sent is sent then
                return
            flow.last = each.id

    async def _hand_to_plain(self, to: str, each: Waiting, body: dict[str, Any], ending: str) -> None:
        """A plain client gets the bytes, and acknowledges nothing: the letter is done with before."""
        member, hub = self._plain(to), self._native.hub
        if member is None or self._store is None:
            return
        await self._store.delivered([each.id])
        self._done(to, (each.letter.sender, len(each.letter.body)))
        sender = f"client:{each.letter.name}"
        try:
            told = hub.tell(member.number, data_of(body), by=sender, ending=LINE_ENDINGS.get(ending))
            reason = "" if told else "its queue is full"
        except jackfield.FramingError as problem:
            reason = str(problem)
        if reason:
            hub.log("mail_lost", to=name_of(to), sender=sender, reason=reason)

    def acknowledged(self, session: NativeSession, number: int) -> None:
        """A client has a message."""
        direct = self._direct.get(number)
        if direct is not None and direct[0] is session and not direct[1].done():
            direct[1].set_result(None)
        flow = self._flows.get(session.identity)
        sent = None if flow is None else flow.sent.pop(number, None) or flow.earlier.pop(number, None)
        if flow is None or sent is None:
            return
        flow.news.set()
        waiter = self._waiters.get(number)
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
        self._done(session.identity, sent)
        self._run(self._forget([number]))

    async def _forget(self, ids: list[int]) -> None:
        while self._store is not None:
            try:
                await self._store.delivered(ids)
                return
            except StoreError:
                await asyncio.sleep(RETRY)

    def _done(self, to: str, sent: Sent) -> None:
        self.shares.remove(*sent)
        if to in self.counts:
            self._count(to, -1, -sent[1])

    def _count(self, to: str, letters: int, size: int) -> None:
        """So many more wait for somebody."""
        count = self.counts.setdefault(to, Count())
        count.letters += letters
        count.bytes += size
        self._letters += letters
        self._bytes += size
        if count.letters <= 0:
            del self.counts[to]

    # ---------------------------------------------------------------- what waits

    async def _expire(self) -> None:
        while self._store is not None:
            with contextlib.suppress(StoreError):
                while gone := await self._store.expire(self._native.hub.clock()):
                    for each in gone:
                        self._drop(each)
                    self._native.hub.log("mail_expired", letters=len(gone))
            await asyncio.sleep(LOOK_EVERY)

    def _drop(self, each: Waiting) -> None:
        flow = self._flows.get(each.letter.to)
        if flow is not None:
            flow.sent.pop(each.id, None)
            flow.earlier.pop(each.id, None)
            flow.news.set()
        self._done(each.letter.to, (each.letter.sender, len(each.letter.body)))

    async def letters(self, to: str, after: int, limit: int) -> list[Waiting]:
        """What waits for an identity. Raises `StoreError`."""
        return await (await self.ready()).waiting(to, after, limit=limit)

    async def drop(self, to: str, number: int | None) -> int:
        """Forget one letter, or all that wait for an identity; how many. Raises `StoreError`."""
        store = await self.ready()
        dropped, after = 0, 0
        while found := await store.waiting(to, after, limit=1000):
            after = found[-1].id
            chosen = [each for each in found if number in (None, each.id)]
            await store.delivered([each.id for each in chosen])
            for each in chosen:
                self._drop(each)
            dropped += len(chosen)
        return dropped

    def forget(self, to: str) -> None:
        """Somebody is known no more: nothing waits for that one."""
        if to in self.counts:
            self._run(self._drop_all(to))

    async def _drop_all(self, to: str) -> None:
        with contextlib.suppress(StoreError):  # what is left expires
            await self.drop(to, None)

    def facts(self, identity: str) -> dict[str, Any]:
        """What the view of a client says of its letters."""
        count = self.counts.get(identity) if identity else None
        return {} if count is None else {"waiting": count.letters}
