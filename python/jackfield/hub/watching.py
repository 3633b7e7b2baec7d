"""Operators who watch: the part of the hub that tells them what changes, as fast as each of them reads.

Owns the pace. There is one `Watching` while somebody watches, and none otherwise, so that nobody pays for it.
Each operator has a task: it waits for news, lets some gather, and sends what `Watcher` made of them once the
operator has read what was sent before. Making events takes at most a twentieth of the hub's time.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import jackfield

from . import protocol
from .client import Client
from .part import Part
from .server import Hub
from .status import status
from .watcher import Watcher, pages, preview_row

if TYPE_CHECKING:
    from .session import Session

GATHER: Final = 0.05  # seconds in which news gather
SHARE: Final = 20  # times as long as making events took, until the next ones are made
SLOWEST: Final = 5.0  # seconds between two tellings, however long they took
LOOK_AGAIN: Final = 1.0  # seconds after which clients on a screen are looked at without news, too

Key = tuple[int, int]  # a session's identity, and the id of its request


class Watching(Part):
    """The operators who watch one hub."""

    looks_on = True

    def __init__(self) -> None:
        self.watchers: dict[Key, Watcher] = {}
        self._leaving: set[asyncio.Future[None]] = set()

    def came(self, now: float, client: Client) -> None:
        for watcher in self.watchers.values():
            watcher.changed(client.id)

    def went(self, now: float, client: Client, reason: str) -> None:
        for watcher in self.watchers.values():
            watcher.changed(client.id)

    def heard(self, now: float, client: Client, data: bytes) -> None:
        for watcher in self.watchers.values():
            watcher.heard(now, client.id, data)

    def told(self, now: float, client: Client, data: bytes, by: str) -> None:
        for watcher in self.watchers.values():
            watcher.told(now, client.id, data, by)

    def add(self, key: Key, watcher: Watcher) -> None:
        """Tell a watcher from now on."""
        self.watchers[key] = watcher

    def remove(self, key: Key, hub: Hub) -> None:
        """An operator watches no more; without operators this part goes."""
        self.watchers.pop(key, None)
        if not self.watchers:
            leaving = asyncio.ensure_future(hub.detach(self))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)


class HubRoster:
    """The clients of a hub, those that are there and those that are absent."""

    def __init__(self, hub: Hub) -> None:
        self.ids = hub.ids
        self.view = hub.view
        self.absent = hub.identities.absent


async def begin(session: Session, request_id: int, *, last: int) -> None:
    """Watch for an operator until its request is cancelled or it goes; `last` log events come first.

    Raises `RequestError`.
    """
    hub = session.hub
    news = asyncio.Event()
    watcher = Watcher(news.set)
    watching = hub.part(Watching)
    if watching is None:
        watching = Watching()
        await hub.attach(watching)
    key = (id(session), request_id)
    watching.add(key, watcher)
    unfollow = hub.journal.follow(lambda event: watcher.logged(event.to_json()))
    telling = asyncio.create_task(_tell(session, request_id, watcher, news, last))

    def ended(_: object) -> None:
        unfollow()
        watching.remove(key, hub)
        session.forget(request_id)

    telling.add_done_callback(ended)
    session.subscribe(request_id, lambda: _cancel(telling))


async def _tell(session: Session, request_id: int, watcher: Watcher, news: asyncio.Event, last: int) -> None:
    """Tell who is there, then what is new, a telling at a time, until cancelled or the operator goes."""
    with contextlib.suppress(jackfield.JackfieldError, OSError):
        bodies, roster = beginning(session.hub, last), HubRoster(session.hub)
        while True:
            spent = 0.0
            while True:
                started = time.monotonic()
                body = next(bodies, None)
                message = b"" if body is None else protocol.event(request_id, body)
                spent += time.monotonic() - started
                if body is None:
                    break
                await send(session, message)
            await session.channel.flush()
            await asyncio.sleep(min(SLOWEST, SHARE * spent))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), LOOK_AGAIN)
            await asyncio.sleep(GATHER)
            news.clear()
            bodies = watcher.take(roster)


def beginning(hub: Hub, last: int) -> Iterator[dict[str, Any]]:
    """Everyone who is there, what was said lately, and the last events of the log."""
    yield from pages("clients", filter(None, map(hub.view, hub.ids())))
    newest = hub.memory.newest().items()
    yield from pages("previews", (preview_row(each, when, data) for each, (when, data) in newest))
    yield {"ready": status(hub), "log": [event.to_json() for event in hub.journal.last(last)]}


async def send(session: Session, message: bytes) -> None:
    """Send an event, waiting for room for as long as it takes: what happens meanwhile is summed up."""
    while True:
        try:
            session.channel.send_nowait(message)
            break
        except jackfield.QueueFull:
            await session.channel.flush()
    await asyncio.sleep(0)  # thousands of events must not hold up the clients


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
