"""Other clients: who is there, who comes and goes, and messages that wait for who is not."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .channel import Peer

if TYPE_CHECKING:
    from .client import Client

MOST_WAITING = 10_000
"""Messages and events that wait here to be taken; of events the oldest go, messages stay with the hub."""
REMEMBERED = 10_000
"""Numbers of messages that were handed on."""


@dataclass(frozen=True, slots=True)
class Person:
    """One client of the hub, as the hub lists it."""

    id: str
    """What the hub calls its connection; empty for one who is absent."""
    name: str
    state: str
    """``connected``, ``absent`` ..."""
    native: bool
    """Whether it speaks the protocol; False for plain connections."""
    services: tuple[str, ...]
    """What streams it takes."""
    since: float | None
    """Seconds since 1970 at its begin."""

    @classmethod
    def read(cls, view: dict[str, Any]) -> Person:
        """From what the hub says; what is missing or of another type is empty."""
        id_, name, state, services, since = (
            view.get(key) for key in ("id", "name", "state", "services", "since")
        )
        return cls(
            id_ if isinstance(id_, str) else "",
            name if isinstance(name, str) else "",
            state if isinstance(state, str) else "",
            view.get("native") is True,
            tuple(each for each in services if isinstance(each, str)) if isinstance(services, list) else (),
            float(since) if isinstance(since, (int, float)) else None,
        )


@dataclass(frozen=True, slots=True)
class Change:
    """Somebody came, went or changed."""

    kind: str
    """``came``, ``went`` or ``changed``."""
    person: Person


@dataclass(frozen=True, slots=True)
class Letter:
    """A message that another client sent to this one."""

    sender: Peer
    data: bytes
    at: float
    """Seconds since 1970 when the hub took it."""

    @property
    def text(self) -> str:
        """The data as text; bytes that are no UTF-8 as replacement characters."""
        return self.data.decode("utf-8", "replace")


class People:
    """What a client hears of others."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._letters: deque[tuple[int, Letter]] = deque()
        self._handed: OrderedDict[int, None] = OrderedDict()
        self._reader: asyncio.Future[None] | None = None
        self._watchers: list[asyncio.Queue[Change | None]] = []
        self._sequence = 0

    def heard(self, message: dict[str, Any]) -> None:
        """An event: ``message``, ``came``, ``went`` or ``changed``."""
        kind = message["type"]
        if kind == "message":
            self._was_written(message)
            return
        view = message.get("client")
        if isinstance(view, dict):
            for queue in self._watchers:
                if queue.qsize() >= MOST_WAITING:
                    queue.get_nowait()
                queue.put_nowait(Change(kind, Person.read(view)))

    def ended(self) -> None:
        """The client has ended: iterations over what comes end."""
        self._wake()
        for queue in self._watchers:
            queue.put_nowait(None)

    def renewed(self) -> None:
        """There is another session: who watches asks anew."""
        if self._watchers:
            self._client.tell("watch", on=True)

    # ---------------------------------------------------------------- who is there

    async def watch(self) -> AsyncIterator[Change]:
        """Who comes, goes and changes from now on, until the client ends."""
        queue: asyncio.Queue[Change | None] = asyncio.Queue()
        self._watchers.append(queue)
        try:
            if len(self._watchers) == 1:
                await self._client.control("watch", on=True)
            while (change := await queue.get()) is not None:
                yield change
        finally:
            self._watchers.remove(queue)
            if not self._watchers:
                self._client.tell("watch", on=False)

    # ---------------------------------------------------------------- messages

    async def write(self, peer: str, data: bytes | str, expires: float | None) -> str:
        """Send a message; ``delivered`` or ``waiting``."""
        self._sequence += 1
        body: dict[str, Any] = {"to": peer, "sequence": self._sequence}
        if isinstance(data, str):
            body["text"] = data
        else:
            body["data"] = base64.b64encode(data).decode()
        if expires is not None:
            body["expires"] = expires
        answer = await self._client.control("message", **body)
        return str(answer.get("state", "delivered"))

    def _was_written(self, message: dict[str, Any]) -> None:
        number = message.get("number")
        if not isinstance(number, int):
            return
        if number in self._handed:
            self._client.post({"type": "delivered", "number": number})
        elif len(self._letters) < MOST_WAITING and all(each[0] != number for each in self._letters):
            letter = _read_letter(message)
            if letter is not None:
                self._letters.append((number, letter))
                self._wake()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def letters(self) -> AsyncIterator[Letter]:
        """The messages of others, each once, until the client ends; the hub hears of it as they are given."""
        while True:
            while not self._letters:
                if self._client.closed:
                    return
                self._reader = asyncio.get_running_loop().create_future()
                try:
                    await self._reader
                finally:
                    self._reader = None
            number, letter = self._letters.popleft()
            self._handed[number] = None
            if len(self._handed) > REMEMBERED:
                self._handed.popitem(last=False)
            self._client.post({"type": "delivered", "number": number})
            yield letter


def _read_letter(message: dict[str, Any]) -> Letter | None:
    sender, at, text = message.get("from"), message.get("at"), message.get("text")
    if isinstance(text, str):
        data = text.encode("utf-8", "replace")
    else:
        try:
            data = base64.b64decode(message.get("data") or b"", validate=True)
        except (binascii.Error, ValueError, TypeError):
            return None
    name, id_ = (sender.get("name"), sender.get("id")) if isinstance(sender, dict) else (sender, None)
    peer = Peer(id_ if isinstance(id_, str) else None, name if isinstance(name, str) else "")
    return Letter(peer, data, float(at) if isinstance(at, (int, float)) else 0.0)
