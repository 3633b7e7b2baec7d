"""The messages between a hub and its successor: what goes in comes out."""

from __future__ import annotations

import pytest

from jackfield import Detached
from jackfield.hub import handover_wire as wire
from jackfield.hub.inheritance import HeldClient, HeldListener, Inheritance, NotKept
from jackfield.hub.journal import Event

CLIENTS = [
    HeldClient(0, "tcp", "meter", True, Detached(7, 40, ("127.0.0.1", 5, 0), [b"\xff\0"], [b"a", b""], 1, 5)),
    HeldClient(1, "unix", "", False, Detached(8, 41, b"\0name\xff", [], [], 0, 6, tuple(range(9)))),
    HeldClient(2, "udp", "", True, Detached(9, None, ("fe80::1", 6, 2), [b"one", b"", b"three"], [], 0, 7)),
    HeldClient(1, "unix", "", True, Detached(10, 42, None)),
]


def test_clients_come_as_they_went() -> None:
    [(message, fds)] = wire.client_messages(CLIENTS)
    assert fds == [40, 41, 42]
    body, blobs = wire.decode(message)
    assert [_plain(each) for each in wire.read_clients(body, blobs, fds)] == [
        _plain(each) for each in CLIENTS
    ]


def _plain(client: HeldClient) -> HeldClient:
    held = client.detached
    values = [tuple(held.received), tuple(held.queued), held.begun, held.since, held.passed]
    detached = Detached(held.number, held.fd, held.peer, *values)  # type: ignore[arg-type]
    return HeldClient(client.listener, client.protocol, client.name, client.known, detached)


def test_many_go_in_messages_of_bearable_size() -> None:
    many = [HeldClient(0, "tcp", "", True, Detached(n, n, None, [b"x" * 50_000])) for n in range(250)]
    messages = wire.client_messages(many)
    assert all(len(fds) <= wire.CLIENTS_AT_A_TIME for _, fds in messages)
    assert all(len(message) < wire.BYTES_AT_A_TIME + 200_000 for message, _ in messages)
    assert [fd for _, fds in messages for fd in fds] == list(range(250))
    assert wire.client_messages([]) == []


def test_the_hub_itself() -> None:
    event = Event(1.5, "joined", (("id", 3), ("name", "x")))
    held = Inheritance(
        next_id=12,
        started=1.0,
        joined=11,
        refused=2,
        log=[event],
        memory=[(2.0, 7, b"\x00said")],
        documents=[("rule", "x", "{}")],
        parts={"a.B": [None, {"x": 1}]},
        listeners=[HeldListener("tcp://:0", "tcp://*:7000", 9)],
        not_kept=[NotKept(3, "tcp-3", "urgent")],
    )
    body, blobs = wire.decode(wire.hub_message(held))
    found = wire.read_hub(body, blobs, [9])
    assert found.log == [event]
    assert found.memory == [(2.0, 7, b"\x00said")]
    assert (found.next_id, found.joined, found.refused, found.started) == (12, 11, 2, 1.0)
    assert found.documents == held.documents
    assert (found.parts, found.listeners, found.not_kept) == (held.parts, held.listeners, held.not_kept)


@pytest.mark.parametrize("message", [b"", b"[]\n", b"{}", b'{"lengths":[3]}\nab', b'{"lengths":[]}\nab'])
def test_nonsense_is_an_error(message: bytes) -> None:
    if message == b"{}":
        assert wire.decode(message) == ({}, [])
        return
    with pytest.raises(ValueError, match=r"."):
        wire.decode(message)


def test_a_client_without_its_descriptor_is_an_error() -> None:
    [(message, _)] = wire.client_messages(CLIENTS)
    body, blobs = wire.decode(message)
    with pytest.raises(ValueError, match="without its descriptor"):
        wire.read_clients(body, blobs, [40])
