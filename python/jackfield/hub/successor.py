"""The successor's side of a reload: from the socket that it inherits to a hub that serves.

Owns the order in which a new process becomes the hub: it makes sure that it can (configuration, listeners
that are new), takes what its predecessor gives, says `serving`, and touches the clients only then. Whatever
fails before ends this process at once, without a word to any client: the predecessor still has everything.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import sys
from collections.abc import Iterator, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import jackfield
from jackfield import Channel, Listener

from . import handover_wire as wire
from .inheritance import Inheritance, NotKept, adopt_listener, put_in
from .plan import Limits, ListenerPlan
from .reload import DESCRIPTOR

if TYPE_CHECKING:
    from .server import Hub

ALONE_WITHIN = 10.0  # seconds that the predecessor may take to leave the terminal


def inherited_socket(environment: MutableMapping[str, str]) -> int | None:
    """The socket to the predecessor, if this process was started to succeed it. No child inherits it."""
    given = environment.pop(DESCRIPTOR, None)
    if given is None:
        return None
    fd = int(given)
    os.set_inheritable(fd, False)
    return fd


def give_up(fd: int, message: str, hint: str = "") -> None:
    """Tell the predecessor why this process cannot take over; it need not listen any more."""
    told = wire.encode({"failed": message, "hint": hint})
    try:
        with socket.socket(fileno=os.dup(fd)) as plain:
            plain.setblocking(True)
            plain.settimeout(1.0)
            plain.sendall(struct.pack(">I", len(told)) + told)
    except OSError:
        pass


class Succession:
    """What comes from the predecessor. `receive`, then `open` and `put_in` by the hub, then `serving`."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        # A large state and its descriptors are read as they come, never ahead.
        made = jackfield.adopt(fd, framing=wire.FRAMING, max_message=wire.MAX_MESSAGE)
        assert isinstance(made, Channel)
        self._channel = made
        self._opened: dict[int, Listener] = {}  # by place in the plan: what the predecessor has not
        self._heirs: list[Listener | None] = []
        self.held = Inheritance()
        self.predecessor = 0
        self.control: tuple[int, int] = (-1, -1)  # the control socket and its lock
        self.not_kept: list[NotKept] = []
        self.kept = 0

    async def receive(self, plans: Sequence[ListenerPlan], limits: Limits) -> None:
        """Make sure that this process can go on, then take everything."""
        hello, _, _ = await self._next()
        if hello.get("hello") != wire.VERSION:
            raise ValueError(f"the running hub (version {hello.get('version')}) hands over in another way")
        self.predecessor = hello["pid"]
        places = _places(plans, hello["listeners"])
        for place, plan in enumerate(plans):
            if place not in places.values():
                self._opened[place] = await jackfield.listen(plan.address, **plan.options(limits))
        await self._channel.send(wire.encode({"prepared": os.getpid()}))
        body, blobs, fds = await self._next()
        *sockets, listening, lock = fds
        self.control = listening, lock
        self.held = wire.read_hub(body, blobs, sockets)
        while True:
            body, blobs, fds = await self._next()
            if "end" in body:
                return
            self.held.clients += wire.read_clients(body, blobs, fds)

    async def _next(self) -> tuple[dict[str, Any], list[bytes], list[int]]:
        message, fds = await self._channel.receive_fds()
        return *wire.decode(message), fds

    def open(self, hub: Hub) -> None:
        """Let the hub listen where its predecessor did, and where it was prepared."""
        plans, limits = hub.settings.listeners, hub.settings.limits
        places = _places(plans, [held.planned for held in self.held.listeners])
        heirs: dict[int, Listener] = {}
        for old, held in enumerate(self.held.listeners):
            if old in places:
                plan = plans[places[old]]
                heirs[places[old]] = adopt_listener(held, plan, plan.options(limits))
            else:
                os.close(held.fd)
        for place, plan in enumerate(plans):
            hub.add_listener(heirs[place] if place in heirs else self._opened[place], plan)
        self._heirs = [heirs.get(places.get(old, -1)) for old in range(len(self.held.listeners))]
        hub.started, hub.joined, hub.refused = self.held.started, self.held.joined, self.held.refused
        hub.journal.remember(self.held.log)
        for when, who, data in self.held.memory:
            hub.memory.add(when, who, data)
        for kind, name, text in self.held.documents:
            hub.state.save(kind, name, json.loads(text))
        hub.identities.load()

    def put_in(self, hub: Hub) -> None:
        """Let the hub go on with the clients."""
        there = len(self.held.clients)
        self.not_kept = put_in(hub, self.held, self._heirs)
        self.kept = there - len(self.not_kept)

    async def serving(self) -> None:
        """Tell the predecessor that its clients are this process's now."""
        not_kept = [[each.id, each.name, each.reason] for each in self.not_kept]
        message = {"serving": os.getpid(), "kept": self.kept, "not_kept": not_kept}
        await self._channel.send(wire.encode(message))
        await self._channel.flush()

    async def alone(self) -> None:
        """Wait until the predecessor has left the terminal."""
        with contextlib.suppress(jackfield.JackfieldError, OSError):
            await self._channel.receive(ALONE_WITHIN)
        self._channel.abort()

    @contextlib.contextmanager
    def or_nothing(self) -> Iterator[None]:
        """What fails in the block ends this process, which has touched nothing yet."""
        try:
            yield
        except BaseException as problem:
            self.fail(problem)

    def fail(self, problem: BaseException) -> NoReturn:
        """End this process as if it had never been."""
        give_up(self._fd, str(problem) or type(problem).__name__, getattr(problem, "hint", "") or "")
        sys.stderr.flush()
        os._exit(1)


def _places(plans: Sequence[ListenerPlan], before: Sequence[str]) -> dict[int, int]:
    """By place before, the place now of each listener that stays: the same address, options aside."""
    now: dict[str, list[int]] = {}
    for place, plan in enumerate(plans):
        now.setdefault(str(plan.address.without_options()), []).append(place)
    places = {}
    for old, text in enumerate(before):
        same = now.get(str(jackfield.Address.parse(text).without_options()), [])
        if same:
            places[old] = same.pop(0)
    return places
