"""One send of an operator on its way to clients: each at its own pace, within its own queue.

Owns what became of it. The clients are chosen once, then come the pieces. A stream without framing
takes each piece as it comes; a client that takes messages (framing, packets) gets everything as one
message with the last piece. Rules: no client's queue is filled beyond its limit; whoever does not
take a chunk within `wait` seconds gets no more and is told of, with the bytes it got; nobody waits
for another within a piece, and a piece ends when everyone has it or is given up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import jackfield
from jackfield import Group, Member

from .plan import comes_in_pieces

if TYPE_CHECKING:
    from .server import Hub

# UDP over IPv4; for Unix packets, what the kernel's usual send buffer takes.
PACKET_LIMITS: Final = {"udp": 65_507, "unix+dgram": 200_000, "unix+seqpacket": 200_000}
CHUNK: Final = 64 * 1024  # bytes of a stream that are queued at a time
TURN: Final = 250  # clients served before everyone else has a turn
AT_ONCE: Final = 16  # of those that are sent to: each may take megabytes at once
LOOK_EVERY: Final = 0.02  # seconds between two looks for room at a native client
SHOWN: Final = 10  # clients named in a report
FULL: Final = "its queue is full"
LEFT: Final = "it left"

T = TypeVar("T")


class Unsendable(ValueError):
    """No client that was meant can carry the message; nothing was sent."""


@dataclass(slots=True)
class Recipient:
    """A client that is sent to: `queued` bytes are its own now; `failure` is why it gets no more.

    `skipped` is set where its transport or framing cannot carry the message at all.
    """

    member: Member
    name: str  # as a report names it
    ending: bytes
    in_pieces: bool
    tell: Callable[[bytes], bool] | None = None  # how it is told something, where not by its bytes alone
    queued: int = 0
    failure: str = ""
    skipped: bool = False


class Sending:
    """A send under way: `pass_on` each piece, then `report`. `gone` clients left before it began."""

    def __init__(
        self,
        group: Group,
        recipients: Sequence[Recipient],
        *,
        gone: int,
        wait: float,
        told: Callable[[Member, bytes], None] | None = None,
    ) -> None:
        self._group = group
        self._told = told  # who wants to see what was queued for whom
        self._recipients = recipients
        self._gone = gone
        self._wait = wait  # seconds; 0 drops what a full queue has no room for, and counts it
        self.bytes = 0
        self.on_queued: Callable[[Recipient], None] | None = None
        """Called right after bytes were queued for a client, before anything it says can be heard."""
        self.on_end: Callable[[Recipient], None] | None = None
        """Called when a client has everything of the last piece, or `failure` says why it gets no more."""

    async def pass_on(self, data: bytes, *, last: bool = True, whole: bytes | None = None) -> None:
        """Send a piece to streams and, with the last one, `whole` (None: `data`) to the others.

        Cancelled, some have it and some do not; the report tells which. Raises `Unsendable`.
        """
        self.bytes += len(data)
        pieces: dict[tuple[bool, bytes], list[bytes]] = {}  # shared by all that get the same
        tasks: list[asyncio.Task[None]] = []
        try:
            for some in in_turns(self._recipients, AT_ONCE):
                for recipient in some:
                    if recipient.failure or not (recipient.in_pieces or last):
                        continue
                    ending = recipient.ending if last else b""
                    key = (recipient.in_pieces, ending)
                    if key not in pieces:
                        body = (data if recipient.in_pieces or whole is None else whole) + ending
                        pieces[key] = _chunks(body) if recipient.in_pieces and self._wait else [body]
                    waits = self._begin(recipient, pieces[key])
                    if waits:
                        tasks.append(asyncio.create_task(self._rest(recipient, waits, last=last)))
                    elif last:
                        self._ended(recipient)
                await asyncio.sleep(0)
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        if last and self._recipients and all(recipient.skipped for recipient in self._recipients):
            raise Unsendable(f"{self._recipients[0].failure}; nothing was sent")

    def give_up_messages(self, why: str) -> None:
        """Skip the clients that would get everything as one message."""
        for recipient in self._recipients:
            if not recipient.in_pieces and not recipient.failure:
                recipient.failure, recipient.skipped = f"{why} to {recipient.name}", True

    def _begin(self, recipient: Recipient, chunks: list[bytes]) -> list[bytes]:
        """Queue what there is room for; the chunks that must wait for it."""
        longest = PACKET_LIMITS.get(recipient.member.protocol) if recipient.tell is None else None
        if longest is not None and len(chunks[0]) > longest:
            recipient.skipped = True
            recipient.failure = (
                f"{len(chunks[0])} bytes do not fit into one packet to {recipient.name}: "
                f"{recipient.member.protocol} carries at most {longest}"
            )
            return []
        try:
            if recipient.tell is not None:
                if recipient.tell(chunks[0]):
                    self._queued(recipient, chunks[0])
                elif self._wait and recipient.member.is_connected:
                    return chunks
                else:
                    recipient.failure = FULL if recipient.member.is_connected else LEFT
                return []
            if not self._wait:
                if self._group.broadcast_nowait(chunks[0], to=[recipient.member]):
                    self._queued(recipient, chunks[0])
                else:
                    recipient.failure = FULL if recipient.member.is_connected else LEFT
                return []
            for index, chunk in enumerate(chunks):
                try:
                    recipient.member.send_nowait(chunk)
                except jackfield.QueueFull:
                    return chunks[index:]
                self._queued(recipient, chunk)
        except jackfield.FramingError as problem:
            recipient.failure, recipient.skipped = str(problem), True
        except jackfield.JackfieldError:
            recipient.failure = LEFT
        return []

    async def _rest(self, recipient: Recipient, chunks: list[bytes], *, last: bool) -> None:
        try:
            for chunk in chunks:
                if recipient.tell is not None:
                    await self._tell_later(recipient, recipient.tell, chunk)
                else:
                    await recipient.member.send(chunk, self._wait)
                self._queued(recipient, chunk)
        except TimeoutError:
            recipient.failure = FULL
        except jackfield.FramingError as problem:
            recipient.failure, recipient.skipped = str(problem), True
        except jackfield.JackfieldError:
            recipient.failure = LEFT
        if last:
            self._ended(recipient)

    async def _tell_later(self, recipient: Recipient, tell: Callable[[bytes], bool], chunk: bytes) -> None:
        """Raises TimeoutError when there is no room in time, `ChannelClosed` when it leaves."""
        async with asyncio.timeout(self._wait):
            while not tell(chunk):
                if not recipient.member.is_connected:
                    raise jackfield.ChannelClosed("it left")
                await asyncio.sleep(LOOK_EVERY)

    def _ended(self, recipient: Recipient) -> None:
        if self.on_end is not None:
            self.on_end(recipient)

    def _queued(self, recipient: Recipient, chunk: bytes) -> None:
        recipient.queued += len(chunk)
        if self.on_queued is not None:
            self.on_queued(recipient)
        if self._told is not None:
            self._told(recipient.member, chunk)

    def report(self) -> dict[str, Any]:
        """What became of it: how many have everything, and who does not.

        `dropped` counts all that were meant and do not have it but `skipped` ones; `partly` and
        `skipped` name the first of theirs and are there only when there are any.
        """
        failed = [recipient for recipient in self._recipients if recipient.failure]
        skipped = [recipient.failure for recipient in failed if recipient.skipped]
        partly = [r for r in failed if r.queued and not r.skipped]
        report: dict[str, Any] = {
            "sent": len(self._recipients) - len(failed),
            "dropped": len(failed) - len(skipped) + self._gone,
        }
        left = self._gone + sum(1 for recipient in failed if recipient.failure == LEFT)
        if left:
            report["left"] = left
        if partly:
            report["partly"] = len(partly)
            report["partly_sent"] = [{"name": r.name, "bytes": r.queued} for r in partly[:SHOWN]]
        if skipped:
            report["skipped"] = len(skipped)
            report["skipped_because"] = skipped[:SHOWN]
        return report


def say(hub: Hub, member: Member, data: bytes, by: str) -> bool:
    """Say something to one client; whether it is there and its queue had room. Raises `FramingError`."""
    if hub.native is not None and hub.native.takes(member.id):
        return hub.native.tell(member, data, by)
    return bool(hub.group.broadcast_nowait(data, to=[member]))


async def begin(hub: Hub, ids: Sequence[int], ending: bytes | None, *, wait: float, by: str) -> Sending:
    """A send of a hub to these clients; `ending` None is that of each one's listener."""
    recipients = []
    for some in in_turns(ids):
        if hub.native is not None:  # a plain client's queue is another than a native one's
            await hub.native.greeting.settle(each.id for each in map(hub.member, some) if each is not None)
        for member in filter(None, map(hub.member, some)):
            plan = hub.plan_of(member)
            is_native = hub.native is not None and hub.native.takes(member.id)
            recipients.append(
                Recipient(
                    member,
                    str(hub.candidate(member)),
                    plan.ending_bytes if ending is None else ending,
                    comes_in_pieces(plan.framing, member.protocol),
                    partial(hub.native.tell, member, by=by) if hub.native is not None and is_native else None,
                )
            )
        await asyncio.sleep(0)
    told = partial(hub.told, by=by)
    return Sending(hub.group, recipients, gone=len(ids) - len(recipients), wait=wait, told=told)


def _chunks(data: bytes) -> list[bytes]:
    return [data[start : start + CHUNK] for start in range(0, len(data), CHUNK)] or [data]


def in_turns(items: Sequence[T], count: int = TURN) -> Iterator[Sequence[T]]:
    """`items` in slices, for whoever lets others run in between."""
    for start in range(0, len(items), count):
        yield items[start : start + count]
