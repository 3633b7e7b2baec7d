"""What the API answers: the hub's operations with the types of what they take and give.

Owns the list. The OpenAPI document, the check of what comes in, and the tests of what goes out are all made
of it; what an operation does is the affair of `hub/operations/`. An operation that goes on until it is
cancelled is not here: it is asked for on the WebSocket `/api/v1/live`.
"""

from __future__ import annotations

from typing import Any, Final

from ..hub.text import LINE_ENDINGS
from . import access_endpoints, room_endpoints
from .endpoint import Endpoint
from .schemas import (
    counts,
    data,
    flag,
    listing,
    nullable,
    number,
    record,
    seconds,
    text,
    told,
    whole,
)

ENDINGS: Final = ("default", *LINE_ENDINGS)
LIVE: Final = {
    "cancel": "ends what goes on",
    "look": "says which clients a watch shows",
    "record": "a recording, chunk by chunk",
    "record_end": "ends a recording",
    "recorded": "acknowledges a chunk",
    "room_chat": "takes part in a room",
    "room_private": "says something to one member",
    "room_say": "says something in a room",
    "room_seen": "keeps how far one has read",
    "reload": "ends every connection; use `jackfield reload`",
    "send_on": "goes on with a send",
    "talk": "one client's messages",
    "watch": "everything that a console shows",
}
"""What is asked for on the WebSocket alone, and what it is."""


_TARGET: Final = text("An id, a name, a pattern such as `dev*`, `tag:NAME`, a comma list of these, or `all`.")
_ENDING: Final = text("What ends it; `default` is that of each client's listener.", choices=ENDINGS)
_WHEN: Final = told("UTC, ISO 8601.")
VIEW: Final = record(
    {
        "id": nullable(whole("None for one that is absent.")),
        "name": told(),
        "state": told("`connected` or `absent`."),
    },
    {
        "protocol": told(),
        "local": told("This side's end."),
        "peer": told("The client's end."),
        "since": {"description": "UTC, ISO 8601."},
        "bytes_in": whole(),
        "bytes_out": whole(),
        "messages_in": whole(),
        "messages_out": whole(),
        "queued": whole("Bytes that wait for it."),
        "dropped": whole("Messages that its full queue refused."),
        "framing": told(),
        "explain": told("Why nothing moves, or that all is well."),
        "round_trip": number("Seconds, as the kernel measures it over TCP."),
        "tags": listing(told()),
        "note": told(),
    },
    about="One client.",
    more=True,
)
_LISTENER: Final = record({"address": told(), "framing": told(), "clients": whole()}, more=True)
_STATUS: Final = record(
    {
        "pid": whole(),
        "version": told(),
        "since": _WHEN,
        "clients": whole(),
        "joined": whole(),
        "refused": whole(),
        "handshakes_failed": whole("TLS handshakes of newcomers."),
        "max_clients": whole(),
        "memory": whole("Bytes."),
        "rates": {"type": "object", "description": "Per second: bytes and messages, in and out."},
        "listeners": listing(_LISTENER),
    },
    more=True,
)
_SENT: Final = record({"sent": whole(), "dropped": whole()}, more=True, about="In clients.")
_NAMED: Final = record({"name": told()}, more=True)
_NAME: Final = text("Up to 64 letters, digits and . _ + -.", most=200)
_RESULT: Final = record(
    {"id": whole(), "name": told(), "outcome": told()}, {"answer": data(), "seconds": number()}, more=True
)
_EVENT: Final = record({"time": _WHEN, "event": told()}, more=True)
_SNIPPET: Final = record({"snippet": told(), "data": data(), "ending": told()})
_DIAL: Final = record({"name": told(), "address": told(), "state": told()}, more=True)
_RULE: Final = record(
    {"name": told(), "pattern": told(), "reply": data(), "ending": told(), "to": told()}, more=True
)
_NOTHING: Final = record()
_MESSAGE: Final = {
    "data": data("What is sent."),
    "ending": _ENDING,
    "snippet": text("A snippet to send instead."),
}

_ALL: Final = (
    Endpoint(
        "hello",
        "Who answers.",
        _NOTHING,
        record({"kind": told(), "version": told(), "pid": whole(), "protocol": whole()}),
        reads=True,
    ),
    Endpoint("status", "The hub in figures.", _NOTHING, _STATUS, reads=True),
    Endpoint(
        "clients",
        "Who is there.",
        record(
            {},
            {
                "target": _TARGET,
                "state": text(choices=("connected", "absent", "all")),
                "tag": text("A pattern."),
                "protocol": text("Such as tcp."),
                "text": text("In name, peer, identity, tags or note."),
            },
        ),
        record({"count": whole()}, {"clients": listing(VIEW)}),
        reads=True,
        gathers=(("clients", "clients"),),
    ),
    Endpoint(
        "send", "Send bytes to clients.", record({"target": _TARGET}, {**_MESSAGE, "wait": seconds()}), _SENT
    ),
    Endpoint(
        "ask",
        "Send, and wait for what each client answers.",
        record(
            {"target": _TARGET},
            {
                **_MESSAGE,
                "expect": text("A regular expression (RE2)."),
                "binary": flag("Answers have no lines."),
                "timeout": seconds("For each client; 2 s."),
                "wait": seconds("For room in a full queue."),
                "wave": whole("Clients at a time.", least=1),
                "halt_on": text("Such as 2 or 10%: no further wave then."),
                "pause": seconds("Between two waves."),
                "again": flag("A repetition: only failures are logged."),
            },
        ),
        record(
            {"clients": whole(), "outcomes": counts(), "waves": whole(), "halted": flag()},
            {
                "asking": listing(listing({"type": ["integer", "string"]})),
                "absent": listing(told()),
                "results": listing(_RESULT),
                "not_sent": listing(whole()),
            },
        ),
        gathers=(("asking", "asking"), ("absent", "absent"), ("results", "results")),
    ),
    Endpoint(
        "request",
        "Ask a native client, and wait for its answer.",
        record(
            {"target": text("An id, or a name: one client."), "data": data("The question.")},
            {"timeout": seconds("For the answer; 10 s.")},
        ),
        record({"id": whole(), "name": told(), "answer": data(), "seconds": number()}),
    ),
    Endpoint(
        "kick",
        "Disconnect clients.",
        record({"target": _TARGET}, {"reset": flag("At once, with a reset.")}),
        record({"kicked": listing(whole())}),
    ),
    Endpoint(
        "rename",
        "Give one client a name.",
        record({"target": _TARGET, "name": _NAME}),
        record({"id": nullable(whole()), "name": told(), "before": told(), "lasting": flag()}),
    ),
    Endpoint("claim", "Give one client the name that it claims.", record({"target": _TARGET}), _NAMED),
    Endpoint(
        "tag",
        "Add tags to clients, or take them away.",
        record({"target": _TARGET}, {"add": listing(text(most=200)), "remove": listing(text(most=200))}),
        record({"clients": whole(), "lasting": whole()}),
    ),
    Endpoint(
        "note",
        "Write a note on one client.",
        record({"target": _TARGET, "text": text()}),
        record({"id": nullable(whole()), "note": told(), "lasting": flag()}),
    ),
    Endpoint(
        "forget",
        "Forget one that is absent.",
        record({"target": _TARGET}),
        record({"name": told(), "identity": told()}),
    ),
    Endpoint(
        "snippet_add",
        "Keep a message under a name.",
        record({"name": _NAME, "data": data()}, {"ending": _ENDING}),
        record({"name": told(), "replaced": flag()}),
    ),
    Endpoint(
        "snippet_list",
        "The messages that are kept.",
        _NOTHING,
        record({}, {"snippets": listing(_SNIPPET)}),
        reads=True,
        gathers=(("", "snippets"),),
    ),
    Endpoint("snippet_show", "One of them.", record({"name": _NAME}), _SNIPPET, reads=True),
    Endpoint("snippet_remove", "Forget one of them.", record({"name": _NAME}), _NAMED),
    Endpoint(
        "autoreply_add",
        "Answer by itself what matches a pattern.",
        record(
            {"pattern": text("A regular expression (RE2)."), "reply": data()},
            {"name": _NAME, "to": _TARGET, "exact": flag(), "ending": _ENDING, "rate": text("Such as 10/s.")},
        ),
        record({"name": told(), "replaced": flag()}),
    ),
    Endpoint(
        "autoreply_list",
        "The rules, with their counts.",
        _NOTHING,
        record({"rules": listing(_RULE)}),
        reads=True,
    ),
    Endpoint("autoreply_remove", "Forget a rule.", record({"name": _NAME}), _NAMED),
    Endpoint(
        "dial_add",
        "Connect out to an address, again and again.",
        record({"address": text()}, {"name": text(most=200), "framing": text(), "ending": text()}),
        _DIAL,
    ),
    Endpoint("dial_list", "Whom the hub dials.", _NOTHING, record({"dials": listing(_DIAL)}), reads=True),
    Endpoint("dial_remove", "Dial one no more.", record({"name": text()}), _NAMED),
    Endpoint(
        "logs",
        "What happened lately.",
        record({}, {"last": whole(most=100_000)}),
        record({}, {"log": listing(_EVENT)}),
        reads=True,
        gathers=(("log", "log"),),
    ),
    Endpoint(
        "script_add",
        "Call the hooks of a Python file on the hub's machine.",
        record({"path": text("Absolute.")}),
        record({"path": told(), "hooks": listing(told())}),
    ),
    Endpoint(
        "script_list",
        "The files of hooks.",
        _NOTHING,
        record({"scripts": listing(record({"path": told()}, more=True))}),
        reads=True,
    ),
    Endpoint("script_remove", "Call one no more.", record({"name": text()}), record({"path": told()})),
    Endpoint(
        "web_link",
        "A link that logs in once.",
        record({}, {"address": text("Where to serve, if that is nowhere yet.")}),
        record({"url": told(), "address": told(), "expires": number("Seconds.")}),
    ),
    Endpoint(
        "flush",
        "Have on disk what should last.",
        _NOTHING,
        record({"state": nullable(told()), "config": nullable(told())}),
    ),
    Endpoint("stop", "End the hub.", _NOTHING, _NOTHING),
)

ENDPOINTS: Final = {
    endpoint.op: endpoint for endpoint in (*_ALL, *access_endpoints.ENDPOINTS, *room_endpoints.ENDPOINTS)
}


def undescribed(op: str) -> Endpoint:
    """The endpoint of an operation that nobody described: anything may be given and come back."""
    return Endpoint(op, "(not described)", record(more=True), record(more=True))


def gathered(endpoint: Endpoint, answer: dict[str, Any], event: dict[str, Any]) -> None:
    """Take an event of an operation into its answer."""
    for name, member in endpoint.gathers:
        if not name:
            answer.setdefault(member, []).append(event)
        elif name in event:
            value = event[name]
            into = answer.setdefault(member, [])
            into.extend(value) if isinstance(value, list) else into.append(value)
