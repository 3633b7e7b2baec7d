"""The messages between operators and the hub.

Over the control socket (a Unix stream of u32-framed messages), and over a listener with `protocol=control`,
where a `hello` with a token or an invitation comes first (`security/remote.py`), each message is one JSON
object in UTF-8. An operator sends requests and may have several under way:

    {"id": 1, "op": "clients"}                        `id`: a number of the operator's choice

The hub answers each with any number of events and one end, all carrying that `id`:

    {"id": 1, "event": {...}}                         zero or more
    {"id": 1, "ok": {...}}                            the end: done
    {"id": 1, "error": {"code": ..., "message": ..., "hint": ..., "candidates": [...]}}     or: not done

What cannot be read as a request is answered with an `error` whose `id` is null. Requests:

    op         arguments                              events, then ok
    hello      token?, name?, versions?               ok {kind, protocol, version?, pid?, role?, name?,
                                                      token?}
    status     -                                      ok {pid, version, since, clients, ..., listeners: [...]}
    clients    target?, state?, tag?, protocol?,      event {clients: [view, ...]} (pages), ok {count}
               text?
    send       target, data, ending?, wait?, more?    ok {sent: count, dropped: count, left?, partly?,
                                                      partly_sent?, skipped?, skipped_because?}
    send_on    of, data, more?, whole?                ok as send
    ask        target, data, ending?, wait?, expect?, event {asking: [[id, name], ...], total} (pages),
               binary?, timeout?, wave?, halt_on?,    event {absent: [names]}, event {wave, of, to: [ids]},
               pause?, again?                         event {results: [{id, name, outcome, seconds?, answer?,
                                                      groups?, said?, detail?}, ...]} ..., ok {clients,
                                                      outcomes: {outcome: count}, waves, halted,
                                                      not_sent: [ids]}
    request    target, data, timeout?                 ok {id, name, answer, seconds}: of a native client
    mail_queue  target, data, ending?, expires?       ok {sent, dropped, waiting, refused, refused_because?}
    mail_list  target?                                event {queues: [{name, identity, letters, bytes, since},
                                                      ...]}, or with a target event {letters: [{number, from,
                                                      at, expires, bytes, data, ...}, ...]} ..., ok {count}
    mail_drop  target, number?                        ok {name, identity, dropped}
    rename     target, name                           ok {id, name, before, lasting}
    claim      target                                 ok {id, name, before, from, lasting}
    tag        target, add?, remove?                  ok {clients: count, lasting: count}
    note       target, text                           ok {id, note, lasting}
    forget     target                                 ok {name, identity}
    snippet_add       name, data, ending?             ok {name, replaced}
    snippet_list      -                               event {snippet, data, ending} ..., ok {}
    snippet_show      name                            ok {snippet, data, ending}
    snippet_remove    name                            ok {name}
    script_add        path                            ok {path, hooks}
    script_list       -                               ok {scripts: [with its counts, ...]}
    script_remove     name                            ok {path}
    autoreply_add     pattern, reply, name?, to?,     ok {name, replaced}
                      exact?, ending?, rate?
    autoreply_list    -                               ok {rules: [rule with its counts, ...]}
    autoreply_remove  name                            ok {name}
    dial_add   address, name?, framing?, ending?      ok {name, address, state, client, reason, explain, ...}
    dial_list  -                                      ok {dials: [as dial_add, ...]}
    dial_remove  name                                 ok {name, address, lasting}
    kick       target, reset?                         ok {kicked: [ids]}
    logs       last?, follow?                         event {log: {...}}, ok {} (only without follow)
    audit      last?, follow?                         event {audit: {time, who, what, target, outcome, ...}},
                                                      ok {} (only without follow)
    talk       target, earlier?                       event {attached: view, ending}, event {message,
                                                      earlier?} ..., ok {left: reason}
    watch      last?                                  event {clients: [view, ...]} (pages), event {ready:
                                                      status, log: [...]}, then what is new: see below
    look       of, seen: [ids], open: [ids]           ok {}; the watch `of` gets event {open: id, ending,
                                                      earlier: [{at, heard}, ...]} for each newly open one
    room_list  -                                      ok {rooms: [room with maker: its client's origin, ...]}
    room_members  room, after?                        ok {members: [member, ...], count, next?}
    room_create   room, topic?, ephemeral?, open?     ok the room
    room_topic    room, topic?                        ok {room, topic}
    room_open     room, open                          ok the room: whether plain clients may join it
    room_retention  room, age?, count?, bytes?, all?  ok {room, age, count, bytes, deleted}
    room_delete   room | maker                        ok {room, members: count} | {maker, rooms: [names]}
    room_kick     room, name                          ok {room, kicked: [names]}
    room_read     room, after?, limit?, last?         ok {messages: [row, ...], behind, first, last}
    room_search   text, room?, limit?                 ok {messages: [[room, *row], ...]}
    room_chat     room, name, last?                   event {room, source, members, history: [row, ...]},
                                                      then what is new: see below; ok {left: reason}
    room_say      of, text | data                     ok {number}
    room_private  of, to, text                        ok {to}
    room_seen     of, sequence                        ok {sequence}: kept for the next one of that name
    record     target?                                event {recording, records, bytes, lost, clients,
                                                      ended: the last one} ...,
                                                      ok {records, bytes, lost, clients, left: reason}
    recorded   of                                     one chunk of the recording `of` is written; ok {}
    record_end of, reason?                            ok {}; the recording `of` has its own ok behind its rest
    cancel     of                                     ends the logs, talk, watch, record or ask with that
                                                      id; ok {}
    web_link   address?                               ok {url, address, expires}: a link that logs in once
    token_create  role?, name?, expires?, listeners?  ok {token: its text, id, kind, role, name, expires, ...}
    token_list    -                                   ok {tokens: [the same without its text, ...]}
    token_revoke  token: id or name                   ok {revoked: [ids]}
    invite     role?, name?, expires?, listeners?,    ok {token, ..., invitations: [what to come with, the
               host?                                  best first], equal: how many are as good as that,
                                                      operators: whether it is for --hub}
    stop       -                                      ok {}, then the hub ends
    flush      -                                      ok {state, config}: what should last is on disk there
    reload     timeout?                               ok {pid, predecessor, kept, not_kept: [{id, name,
                                                      reason}], seconds, paused}, then the hub hangs up

Who comes over the network asks first what it has reached, by a `hello` with `versions` ([1]) and no token.
The answer is {"kind": "jackfield-control", "protocol": the highest version of both}, or unsupported_version.
Only then follows a `hello` with the token, which so no listener for clients ever sees. A first `hello` that
has a token is taken as well.

A view says who a client is (`id`, `name`, `protocol`, `local`, `peer`, `pid`, `uid`), how it goes (`since`,
bytes and messages both ways, `queued`, `dropped`, `framing`, `explain`, over TCP `round_trip` in seconds) and
what is known of it: `state` ("connected" or "absent"), `tags`, `note`; with an identity also `identity`,
`connections`, `first_seen`; in conflict `conflict`, the name that it claims and another one has. The view of
one that is absent has no `id` (null) and nothing that only a connection has; `since` is when it left (as
`last_seen`), `peer` where it was.

`state` in a request is "connected" (the default), "absent" or "all". rename, tag, note and forget take one
that is absent by its name. `lasting` says whether it outlives the connection; if so, it is on disk.

The view of a native client has `native` (true), `agent`, `instance`, `services`, `role` and `sessions`, how
many its identity has. `waiting` is how many messages wait for it. A `mail_queue` says to those of its target
who are there, and has the same wait for `expires` seconds for those who are known and absent.

Bytes are base64. A `send` may name a `snippet` in place of `data`. `ending` is a line ending's name, or
"default" for the one of each client's listener. `wait` is how many seconds `send` may wait for room in
a full queue; without it a full queue drops the newest. A `send` with `more` goes on with `send_on` to the
same clients (`of`: the id of the send) until one comes without `more`: streams without framing get each
piece as it comes, everyone else gets `whole`, all of it as one message, at the end, and is skipped without.
The counts are in clients, and tell of the send so far. An operator that does not read what it asked for is
disconnected.

An `ask` sends and tells what became of each client: `outcome` is answered, sent (nothing was expected),
no_match (`said` is the beginning of what it said instead), silent, left, full or refused. `expect` is a
regular expression in RE2's syntax; each client is listened to before it is sent to, and has `timeout`
seconds (2) after that. `binary` answers have no lines. `wave` clients are asked at a time, `pause` seconds
apart; none are once `halt_on` ("2", "10%") have failed. `again` marks a repetition: the log has only those
that fail. From Python, with `operate` of `hub/operator.py`:

    async for part in operator.stream(
        "ask", target="dev*", data=encode_data(b"version?"), ending="lf", expect="v([0-9]+)"
    ):
        for result in part.get("results", ()):
            print(result["name"], result["outcome"])

A `watch` tells, in events that each carry one of these, what has happened since the one before:

    clients    [view, ...]: who came, whose name or state changed; every change of those in `look`'s `seen`,
               which are the clients on the screen
    gone       [id, ...]
    absent     [view, ...]: who is known and not there, and whose view there changed; `id` is null
    returned   [identity, ...]: who is not absent any more, being there again or forgotten
    activity   [[id, heard, heard_bytes, told, told_bytes, last], ...]: what was said meanwhile, counted
    previews   [[id, last, text], ...]: what clients on the screen said last
    said       [{id, at, heard | told, by?, bytes?}, ...]: the messages of conversations in `look`'s `open`;
               `bytes` is how long a message is that was cut
    log        [{time, event, ...}, ...]
    missed     {messages?, bytes?, log?, activity?}: how much was lost, the operator not keeping up
    reset      true: forget every client; all that are there follow

A room is {room, topic, durable, open, lasting, members: count, last, made_by, created, retention}, a member
{source, id, name, kind, state, role}. A row is [sequence, at, sender, name, sender's number, text or
{"base64"}]. A `room_chat` makes the operator a member under a name until it is cancelled. Its events are
{said: [[*row, source], ...]}, {came, changed, left: [member, ...], count}, {topic, by}, {private: {from, at,
text | data}}, {stored: number, sequence} once all up to that number of its own is on disk, {problem}.

A `record` goes on with clients that come later and match. Each event is a chunk of a recording
(docs/recording.md) to be appended to a file, and is acknowledged with `recorded`: at most 4 chunks are on
their way. For an operator that is slow 8 MiB wait, what does not fit is lost, counted and told in the
recording itself.

Who does not read a watch is told less, never disconnected for it.

Error codes: bad_request, no_such_client, ambiguous, refused, failed; no_answer, of a `request` within its
time; forbidden, when the operator's role may not do that (`security/roles.py`); unsupported_version;
reloaded, with a null id, on every connection whose hub has handed over to a successor, which answers at the
same path. Pure: this file only reads and writes messages.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any, Final

PROTOCOL_VERSION: Final = 1
KIND: Final = "jackfield-control"  # what a listener for operators calls itself
MAX_MESSAGE: Final = 32 * 1024 * 1024
FRAMING: Final = "u32"

BAD_REQUEST: Final = "bad_request"
NO_SUCH_CLIENT: Final = "no_such_client"
AMBIGUOUS: Final = "ambiguous"
REFUSED: Final = "refused"
FAILED: Final = "failed"
NO_ANSWER: Final = "no_answer"
FORBIDDEN: Final = "forbidden"
RELOADED: Final = "reloaded"
UNSUPPORTED_VERSION: Final = "unsupported_version"


class RequestError(Exception):
    """A request cannot be done; carries what the operator is told."""

    def __init__(
        self, code: str, message: str, *, hint: str = "", candidates: list[str] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.candidates = candidates or []


@dataclass(frozen=True, slots=True)
class Request:
    """One request: its id, what to do, and the arguments as they came; each is checked when taken."""

    id: int
    op: str
    arguments: dict[str, Any]

    def text(self, name: str, default: str | None = None) -> str:
        return str(self._take(name, str, default, "a text"))

    def flag(self, name: str) -> bool:
        return bool(self._take(name, bool, False, "true or false"))

    def integer(self, name: str, default: int | None = None, *, least: int = 0, most: int = 2**53) -> int:
        value = self._take(name, int, default, "a whole number")
        if isinstance(value, bool) or not least <= value <= most:
            raise RequestError(
                BAD_REQUEST, f"{self.op}: {name!r} must be a whole number from {least} to {most}"
            )
        return int(value)

    def seconds(self, name: str, default: float, *, most: float = 86400.0) -> float:
        value = self._take(name, (int, float), default, "a number of seconds")
        if isinstance(value, bool) or not 0 <= value <= most:
            longest = "a day" if most == 86400 else f"{most:g}"
            raise RequestError(
                BAD_REQUEST, f"{self.op}: {name!r} must be a number of seconds up to {longest}"
            )
        return float(value)

    def texts(self, name: str) -> list[str]:
        values = self._take(name, list, [], "a list of texts")
        if not all(isinstance(value, str) for value in values):
            raise RequestError(BAD_REQUEST, f"{self.op}: {name!r} must be a list of texts")
        return list(values)

    def data(self, name: str) -> bytes:
        try:
            return base64.b64decode(self.text(name), validate=True)
        except (binascii.Error, ValueError):
            raise RequestError(BAD_REQUEST, f"{self.op}: {name!r} must be base64") from None

    def _take(self, name: str, kind: Any, default: Any, wanted: str) -> Any:
        value = self.arguments.get(name, default)
        if value is None:
            raise RequestError(BAD_REQUEST, f"{self.op} needs {name!r}")
        if not isinstance(value, kind):
            raise RequestError(BAD_REQUEST, f"{self.op}: {name!r} must be {wanted}")
        return value


def parse_request(message: bytes) -> Request:
    """The request in `message`."""
    value = _object(message)
    request_id, op = value.pop("id", None), value.pop("op", None)
    if isinstance(request_id, bool) or not isinstance(request_id, int) or abs(request_id) >= 2**53:
        raise RequestError(BAD_REQUEST, "a request needs a whole number as 'id'")
    if not isinstance(op, str):
        raise RequestError(BAD_REQUEST, "a request needs an 'op'")
    return Request(request_id, op, value)


def _object(message: bytes) -> dict[str, Any]:
    try:
        value = json.loads(message)
    except (ValueError, RecursionError):
        raise RequestError(BAD_REQUEST, "not a JSON message") from None
    if not isinstance(value, dict):
        raise RequestError(BAD_REQUEST, "not a JSON object")
    return value


def parse_reply(message: bytes) -> dict[str, Any]:
    """A reply of the hub: an object with `id` and one of `event`, `ok`, `error`."""
    value = _object(message)
    if len(value.keys() & {"event", "ok", "error"}) != 1 or "id" not in value:
        raise RequestError(BAD_REQUEST, "not a reply")
    return value


def greeting(request: Request) -> dict[str, Any] | None:
    """The answer to a `hello` that asks what it has reached, and shows no token; None for any other request.

    Raises `RequestError` where both have no version in common.
    """
    if request.op != "hello" or "token" in request.arguments or "versions" not in request.arguments:
        return None
    if PROTOCOL_VERSION not in request._take("versions", list, None, "a list of numbers"):
        raise RequestError(
            UNSUPPORTED_VERSION,
            f"this hub's operators speak version {PROTOCOL_VERSION}",
            hint="use a jackfield of the hub's version",
        )
    return {"kind": KIND, "protocol": PROTOCOL_VERSION}


def request(request_id: int, op: str, /, **arguments: Any) -> bytes:
    """A request as a message; arguments that are None are left out."""
    given = {name: value for name, value in arguments.items() if value is not None}
    return _message({"id": request_id, "op": op, **given})


def event(request_id: int, body: dict[str, Any]) -> bytes:
    return _message({"id": request_id, "event": body})


def ok(request_id: int, body: dict[str, Any] | None = None) -> bytes:
    return _message({"id": request_id, "ok": body or {}})


def error(request_id: int | None, problem: RequestError) -> bytes:
    body: dict[str, Any] = {"code": problem.code, "message": problem.message}
    if problem.hint:
        body["hint"] = problem.hint
    if problem.candidates:
        body["candidates"] = problem.candidates
    return _message({"id": request_id, "error": body})


def encode_data(data: bytes) -> str:
    """Bytes as the protocol carries them."""
    return base64.b64encode(data).decode("ascii")


def decode_data(text: str) -> bytes:
    return base64.b64decode(text)


def _message(value: dict[str, Any]) -> bytes:
    # ensure_ascii: a lone surrogate of an odd file name stays valid UTF-8 on the wire.
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode("ascii")
