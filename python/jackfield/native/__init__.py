"""A native client of a hub, on asyncio: streams to other clients, requests, messages, presence, rooms.

    async with jackfield.hub.connect("tcp://127.0.0.1:7000", name="alice") as client:
        channel = await client.open("bob")
        print(await client.request("bob", b"how are you?", timeout=2.0))

An application: it uses only the public `jackfield` library; the protocol itself is `jackfield.portable`.

    client      `connect` and `Client`: one session with a hub, and who asked it for what
    session     the connections below it, one after the other, and the protocol over them
    channel     a stream as a channel
    streams     which streams there are, and who takes those that others open
    requests    questions with numbers over one stream for each peer
    room        a room: messages in order and once, publishing until it is stored
    people      who is there; messages that wait for who is not
    invitation  an address or an invitation -> where to connect, and with what
    credentials what redeemed invitations are kept in
    errors      what a hub or a peer says no to
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "Client",
    "HubRefused",
    "Peer",
    "PeerRefused",
    "RequestRefused",
    "Room",
    "RoomMessage",
    "SessionLost",
    "StreamChannel",
    "connect",
]

_HOMES = {
    "Client": "client",
    "HubRefused": "errors",
    "Peer": "channel",
    "PeerRefused": "errors",
    "RequestRefused": "errors",
    "Room": "room",
    "RoomMessage": "room_message",
    "SessionLost": "errors",
    "StreamChannel": "channel",
    "connect": "client",
}


def __getattr__(name: str) -> Any:
    """Public names come when they are first used: the command line imports single modules of these."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    return value
