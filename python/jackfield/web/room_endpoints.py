"""What the API answers about rooms, and about messages that wait for absent clients."""

from __future__ import annotations

from typing import Final

from .endpoint import Endpoint
from .schemas import data, flag, listing, nullable, number, record, text, told, whole

_ROOM: Final = text("The room's name.", most=200)
_VIEW: Final = record(
    {"room": told(), "topic": told(), "durable": flag(), "open": flag(), "members": whole(), "last": whole()},
    {"maker": told("The origin of the client that made it.")},
    more=True,
    about="One room.",
)
_MEMBER: Final = record({"source": whole(), "name": told(), "kind": told(), "state": told()}, more=True)
_ROW: Final = {
    "type": "array",
    "description": "Sequence, Unix seconds, sender, name, the sender's number, text or {base64}.",
    "items": {"type": ["integer", "number", "string", "object"]},
}
_KEPT: Final = {"age": nullable(number("Seconds.")), "count": nullable(whole()), "bytes": nullable(whole())}

ENDPOINTS: Final = (
    Endpoint("room_list", "The rooms.", record(), record({"rooms": listing(_VIEW)}), reads=True),
    Endpoint(
        "room_members",
        "Who is in a room.",
        record({"room": _ROOM}, {"after": whole("A source.")}),
        record({"members": listing(_MEMBER), "count": whole()}, {"next": whole()}),
        reads=True,
    ),
    Endpoint(
        "room_create",
        "Make a room.",
        record(
            {"room": _ROOM},
            {
                "topic": text(),
                "ephemeral": flag("Keeps nothing on disk."),
                "open": flag("Plain clients may come in."),
            },
        ),
        _VIEW,
    ),
    Endpoint(
        "room_topic",
        "Say what a room is about, or ask.",
        record({"room": _ROOM}, {"topic": text()}),
        record({"room": told(), "topic": told()}),
    ),
    Endpoint(
        "room_open", "Let plain clients in, or no more.", record({"room": _ROOM, "open": flag()}), _VIEW
    ),
    Endpoint(
        "room_retention",
        "How much of a room is kept, or ask.",
        record(
            {"room": _ROOM},
            {"age": number("Seconds."), "count": whole(), "bytes": whole(), "all": flag("Keep everything.")},
        ),
        record({"room": told(), "deleted": whole()}, _KEPT),
    ),
    Endpoint(
        "room_delete",
        "Delete a room and what was said in it, or all rooms of one maker.",
        record({}, {"room": _ROOM, "maker": text("Whose rooms, as room_list says it.", most=300)}),
        record({}, {"room": told(), "members": whole(), "maker": told(), "rooms": listing(told())}),
    ),
    Endpoint(
        "room_kick",
        "Put somebody out of a room.",
        record({"room": _ROOM, "name": text(most=200)}),
        record({"room": told(), "kicked": listing(told())}),
    ),
    Endpoint(
        "room_read",
        "What was said: after a sequence, or the last ones.",
        record(
            {"room": _ROOM}, {"after": whole(), "limit": whole(least=1, most=1000), "last": whole(most=1000)}
        ),
        record({"messages": listing(_ROW), "behind": whole(), "first": whole(), "last": whole()}),
        reads=True,
    ),
    Endpoint(
        "room_search",
        "Find what was said.",
        record({"text": text(most=1000)}, {"room": _ROOM, "limit": whole(least=1, most=1000)}),
        record({"messages": listing(_ROW, "Each begins with its room.")}),
        reads=True,
    ),
    Endpoint(
        "mail_queue",
        "Say something to clients, and keep it for those who are absent.",
        record(
            {"target": text()},
            {"data": data(), "snippet": text(), "ending": text(), "expires": whole("Seconds.", least=1)},
        ),
        record(
            {"sent": whole(), "dropped": whole(), "waiting": whole(), "refused": whole()},
            {"refused_because": told()},
        ),
    ),
    Endpoint(
        "mail_list",
        "For whom messages wait; with a target, the messages.",
        record({}, {"target": text()}),
        record(
            {"count": whole()},
            {"queues": listing(record(more=True)), "letters": listing(record(more=True))},
        ),
        reads=True,
        gathers=(("queues", "queues"), ("letters", "letters")),
    ),
    Endpoint(
        "mail_drop",
        "Forget what waits for somebody, or one message of it.",
        record({"target": text()}, {"number": whole()}),
        record({"name": told(), "identity": told(), "dropped": whole()}),
    ),
)
