"""The messages between a hub and its successor, over a socket pair.

Each is one JSON object in a line, followed by the bytes that it speaks of (`lengths`), and carries
descriptors beside it. In their order:

    old -> new   {"hello": 1, "pid", "version", "listeners": [address, ...]}
    new -> old   {"prepared": pid}                            it has a configuration and new listeners
    old -> new   {"hub": {...}}  + a descriptor per listener, + the control socket's and its lock's
    old -> new   {"clients": [...]}  + their descriptors      as often as needed
    old -> new   {"end": true}
    new -> old   {"serving": pid, "kept", "not_kept": [...]}  the new one has them from here on
    new -> old   {"failed": text, "hint": text}               at any time before that

Pure: bytes in, bytes out.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any, Final

from jackfield import Detached

from .inheritance import HeldClient, HeldListener, Inheritance, NotKept
from .journal import Event

VERSION: Final = 1
FRAMING: Final = "u32"
MAX_MESSAGE: Final = 2**32 - 2048
CLIENTS_AT_A_TIME: Final = 100  # descriptors of one message; the kernel takes 253
BYTES_AT_A_TIME: Final = 4 * 1024 * 1024


def encode(body: dict[str, Any], blobs: Sequence[bytes] = ()) -> bytes:
    """A message of a JSON object and bytes beside it."""
    head = json.dumps({**body, "lengths": [len(blob) for blob in blobs]}, separators=(",", ":"))
    return b"".join([head.encode("ascii"), b"\n", *blobs])


def decode(message: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """The object and the bytes beside it. Raises ValueError."""
    head, _, rest = message.partition(b"\n")
    body = json.loads(head)
    if not isinstance(body, dict):
        raise ValueError("not a JSON object")
    blobs, at = [], 0
    for length in body.pop("lengths", ()):
        blobs.append(rest[at : at + length])
        at += length
    if at != len(rest):
        raise ValueError(f"{len(rest)} bytes beside it, and it speaks of {at}")
    return body, blobs


def hub_message(held: Inheritance) -> bytes:
    """All but the clients."""
    listeners = [{"planned": each.planned, "bound": each.bound} for each in held.listeners]
    body = {
        "next_id": held.next_id,
        "started": held.started,
        "joined": held.joined,
        "refused": held.refused,
        "log": [[event.time, event.kind, list(event.facts)] for event in held.log],
        "memory": [[when, who] for when, who, _ in held.memory],
        "documents": list(held.documents),
        "parts": held.parts,
        "listeners": listeners,
        "not_kept": [[each.id, each.name, each.reason] for each in held.not_kept],
    }
    return encode({"hub": body}, [data for _, _, data in held.memory])


def read_hub(body: dict[str, Any], blobs: Sequence[bytes], fds: Sequence[int]) -> Inheritance:
    """What `hub_message` says; the descriptors are those of its listeners. Raises ValueError, KeyError."""
    found = body["hub"]
    facts = [
        (when, kind, tuple((name, value) for name, value in facts)) for when, kind, facts in found["log"]
    ]
    return Inheritance(
        next_id=found["next_id"],
        started=found["started"],
        joined=found["joined"],
        refused=found["refused"],
        log=[Event(*each) for each in facts],
        memory=[(when, who, data) for (when, who), data in zip(found["memory"], blobs, strict=True)],
        documents=[(kind, name, text) for kind, name, text in found["documents"]],
        parts=found["parts"],
        listeners=[
            HeldListener(each["planned"], each["bound"], fd)
            for each, fd in zip(found["listeners"], fds, strict=True)
        ],
        not_kept=[NotKept(*each) for each in found["not_kept"]],
    )


def client_messages(clients: Sequence[HeldClient]) -> list[tuple[bytes, list[int]]]:
    """The clients in messages of bearable size, each with its descriptors."""
    messages, some, size = [], [], 0
    for client in clients:
        some.append(client)
        size += sum(map(len, client.detached.received)) + sum(map(len, client.detached.queued))
        if len(some) == CLIENTS_AT_A_TIME or size > BYTES_AT_A_TIME:
            messages.append(_clients_message(some))
            some, size = [], 0
    return [*messages, _clients_message(some)] if some else messages


def _clients_message(clients: Sequence[HeldClient]) -> tuple[bytes, list[int]]:
    rows, blobs, fds = [], [], []
    for client in clients:
        held = client.detached
        rows.append(
            {
                "listener": client.listener,
                "protocol": client.protocol,
                "name": client.name,
                "who": client.who,
                "known": client.known,
                "number": held.number,
                "socket": held.fd is not None,
                "peer": _peer_out(held.peer),
                "received": len(held.received),
                "queued": len(held.queued),
                "begun": held.begun,
                "since": held.since,
                "passed": list(held.passed),
            }
        )
        blobs += [*held.received, *held.queued]
        if held.fd is not None:
            fds.append(held.fd)
    return encode({"clients": rows}, blobs), fds


def read_clients(body: dict[str, Any], blobs: Sequence[bytes], fds: Sequence[int]) -> list[HeldClient]:
    """What a message of `client_messages` says. Raises ValueError, KeyError."""
    clients, at, descriptors = [], 0, iter(fds)
    for row in body["clients"]:
        received = blobs[at : at + row["received"]]
        at += row["received"]
        queued = blobs[at : at + row["queued"]]
        at += row["queued"]
        fd = next(descriptors, None) if row["socket"] else None
        if row["socket"] and fd is None:
            raise ValueError(f"client {row['number']} came without its descriptor")
        detached = Detached(
            row["number"],
            fd,
            _peer_in(row["peer"]),
            received,
            queued,
            row["begun"],
            row["since"],
            tuple(row["passed"]),
        )
        where, protocol, name, known = row["listener"], row["protocol"], row["name"], row["known"]
        clients.append(HeldClient(where, protocol, name, known, detached, row["who"]))
    return clients


def _peer_out(peer: tuple[str, int, int] | bytes | None) -> Any:
    return {"name": base64.b64encode(peer).decode()} if isinstance(peer, bytes) else peer


def _peer_in(peer: Any) -> tuple[str, int, int] | bytes | None:
    if peer is None:
        return None
    if isinstance(peer, dict):
        return base64.b64decode(peer["name"])
    host, port, scope = peer
    return host, port, scope
