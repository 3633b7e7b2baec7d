"""What a hub gives away when it is reloaded, and how a hub goes on with it: its successor, or itself after
all.

Owns the moment in which clients change hands. `take_out` and `put_in` never wait, so that nothing is read
or written between their first step and their last: each client goes with its socket, what it had sent and
nobody has had, and what waits for it (`Group.detach`). Listeners go as their sockets, and with them whoever
waits to be accepted there.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jackfield
from jackfield import Address, Detached, Listener

from .journal import Event
from .plan import ListenerPlan

if TYPE_CHECKING:
    from .server import Hub


@dataclass(frozen=True, slots=True)
class HeldListener:
    """A listening socket without an owner: its plan's address, the one it is bound to, and its descriptor."""

    planned: str
    bound: str
    fd: int


@dataclass(frozen=True, slots=True)
class HeldClient:
    """A client without an owner: the place of its listener, its name, whether it was let in already.

    `who` is what is known of it (`Identities.carried`).
    """

    listener: int
    protocol: str
    name: str
    known: bool
    detached: Detached
    who: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NotKept:
    """A client that did not come along, and why."""

    id: int
    name: str
    reason: str


@dataclass(slots=True)
class Inheritance:
    """All that a hub gives away. Its descriptors belong to whoever has it."""

    next_id: int = 1
    started: float = 0.0
    joined: int = 0
    refused: int = 0
    log: Sequence[Event] = ()
    memory: Sequence[tuple[float, int, bytes]] = ()
    documents: Sequence[tuple[str, str, str]] = ()
    parts: dict[str, Any] = field(default_factory=dict)
    listeners: list[HeldListener] = field(default_factory=list)
    clients: list[HeldClient] = field(default_factory=list)
    not_kept: list[NotKept] = field(default_factory=list)

    def close(self) -> None:
        """Close every descriptor. The connections end with that, unless another process has them as well."""
        fds = [listener.fd for listener in self.listeners]
        fds += [client.detached.fd for client in self.clients if client.detached.fd is not None]
        for fd in fds:
            with contextlib.suppress(OSError):
                os.close(fd)


def take_out(hub: Hub) -> Inheritance:
    """Take everything out of a hub. What cannot be taken stays, and is told in `not_kept`."""
    held = Inheritance(
        started=hub.started,
        joined=hub.joined,
        refused=hub.refused + hub.turned_away(),
        log=hub.journal.last(1000),
        memory=hub.memory.all(),
        documents=hub.state.unwritten(),
    )
    places = {listener.id: place for place, (listener, _) in enumerate(hub.listeners)}
    hub.group.admit_newcomers()
    held.next_id = hub.group.next_number
    for member in hub.group.members():
        if hub.native is not None and hub.native.takes(member.id):
            continue  # its session ends with the hub: it comes back by itself, as it is told
        known = hub.admission.holds(member.listener_id, member.id)
        number, protocol = member.number, member.protocol
        name, who = hub.identities.registry.name_of(number, protocol), hub.identities.carried(number)
        place = places.get(member.listener_id)
        try:
            if place is None:
                raise jackfield.ChannelBusy("the hub had connected to it itself, and does so again")
            detached = hub.group.detach(member)
        except (jackfield.JackfieldError, OSError) as problem:
            held.not_kept.append(NotKept(number, name, str(problem)))
            if protocol in ("udp", "unix+dgram"):
                member.abort()  # or its listener could not go
            continue
        hub.admission.let_go(member.listener_id, member.id)
        held.clients.append(HeldClient(place, protocol, name, known, detached, who))
    for listener, plan in hub.listeners:
        bound = str(listener.address.without_options())
        held.listeners.append(HeldListener(str(plan.address), bound, listener.detach()))
    hub.listeners = []
    return held


def adopt_listener(held: HeldListener, plan: ListenerPlan, options: dict[str, Any]) -> Listener:
    """Go on listening with a socket that was opened for the same address."""
    if plan.address.scheme == "fd":
        given = jackfield.Options.from_address(plan.address)
        own = {name: getattr(given, name) for name, _ in plan.address.options}
        made = jackfield.adopt(held.fd, **{**options, **own})
    else:
        bound = Address.parse(held.bound)
        where = plan.address.without_options()
        if where.port == 0:
            where = bound if where.host is not None else Address.parse(f"{where.scheme}://:{bound.port}")
        made = jackfield.adopt(held.fd, opened_as=where.with_options(**dict(plan.address.options)), **options)
    assert isinstance(made, Listener)
    return made


def put_in(hub: Hub, held: Inheritance, heirs: Sequence[Listener | None]) -> list[NotKept]:
    """Make clients of the held ones, each at the heir of its listener; those who could not be, and why.

    What is not kept is closed.
    """
    not_kept = []
    for client in held.clients:
        detached, listener = client.detached, heirs[client.listener]
        number = detached.number
        try:
            if listener is None:
                raise jackfield.ChannelClosed("its listener is not in the new configuration")
            member = hub.group.adopt(listener, detached)
        except (jackfield.JackfieldError, OSError) as problem:
            not_kept.append(NotKept(number, client.name, str(problem)))
            hub.identities.went(hub.clock(), number)
            if detached.fd is not None:
                os.close(detached.fd)
            continue
        if client.known:
            hub.admission.let_in(listener.id, member.id)
        hub.identities.go_on(number, client.who)
    held.clients = []
    return not_kept
