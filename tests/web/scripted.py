"""A hub that says what is written here: the pages look the same on every machine and at every time.

It speaks the operators' protocol to the console as a hub does, and answers each request with fixed data. What
clients are called and say is as hostile as it gets in `HOSTILE`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

import jackfield
from jackfield import Channel
from jackfield.hub import protocol
from jackfield.hub.operator import Operator
from jackfield.hub.protocol import RequestError, encode_data

NOW = 1_795_262_400.0  # 2026-11-21 12:00:00 UTC
TIME: Final = "2026-11-21T{}.000Z"
HOSTILE = "<img src=x onerror=pwned=1>\x1b[31m\u202eevil\u200b<script>pwned=1</script>"
NAMES = ("door", "pump-3", "tracker", "plc-hall-2", "meter", "gate-north", "camera", "scale", "oven", "press")
SAID = ("21.5", "ok", "52.520,13.405", "READY", "0.00 kW", "closed", "motion", "12.410 kg", "180.2", "idle")


def view(number: int, name: str, **more: Any) -> dict[str, Any]:
    found = {
        "id": number,
        "name": name,
        "protocol": "tcp",
        "local": "10.0.0.1:7000",
        "peer": f"10.0.{number // 250}.{number % 250 + 2}:{40000 + number}",
        "since": TIME.format("08:30:00"),
        "bytes_in": 1200 * number % 90_000,
        "bytes_out": 340 * number % 20_000,
        "messages_in": 30 * number % 999,
        "messages_out": 7 * number % 99,
        "queued": 0,
        "dropped": 0,
        "framing": "line",
        "explain": "all is well",
        "state": "connected",
        "tags": [],
        "note": "",
        "round_trip": 0.0004,
    }
    return found | more


def few() -> list[dict[str, Any]]:
    views = [view(number, name) for number, name in enumerate(NAMES, 1)]
    views[0] |= {"tags": ["hall", "critical"], "note": "beside the stairs"}
    views[1] |= {
        "tags": ["hall"],
        "queued": 412_000,
        "explain": "the peer has not read for 41 s, 412 kB wait here",
    }
    views[2] |= {"protocol": "udp", "local": "10.0.0.1:7001", "framing": "none"}
    del views[2]["round_trip"]
    views[5] |= {"conflict": "door"}
    views[6] |= {"protocol": "unix", "local": "/run/lines.sock", "peer": "pid:4711", "pid": 4711, "uid": 1000}
    del views[6]["round_trip"]
    return views


def many(count: int) -> list[dict[str, Any]]:
    return [view(number, f"dev-{number}") for number in range(1, count + 1)]


LOG = [
    {"time": TIME.format("08:29:58"), "event": "ready", "pid": 4000, "listening": "tcp://10.0.0.1:7000"},
    {"time": TIME.format("08:30:00"), "event": "joined", "id": 1, "name": "tcp-1", "peer": "10.0.0.3:40001"},
    {"time": TIME.format("08:30:01"), "event": "joined", "id": 2, "name": "tcp-2", "peer": "10.0.0.4:40002"},
    {
        "time": TIME.format("08:31:12"),
        "event": "renamed",
        "id": 1,
        "name": "door",
        "before": "tcp-1",
        "by": "pid:4242",
    },
    {
        "time": TIME.format("09:02:44"),
        "event": "sent",
        "by": "web:a1b2c3",
        "target": "door",
        "bytes": 8,
        "clients": 1,
    },
    {
        "time": TIME.format("09:40:00"),
        "event": "refused",
        "protocol": "tcp",
        "peer": "10.9.9.9:51000",
        "reason": "not allowed",
    },
    {"time": TIME.format("10:15:30"), "event": "kicked", "target": "tcp-77", "clients": 1, "by": "pid:4242"},
    {
        "time": TIME.format("11:59:02"),
        "event": "left",
        "id": 88,
        "name": "tcp-88",
        "reason": "the peer closed the connection",
    },
]
EARLIER = [
    (60.0, b"hello, I am door"),
    (48.5, b"state=closed temp=21.0"),
    (31.0, b"\x01\x03\x04\x00\x2a\xff"),
    (12.0, b"state=open"),
]
TOLD = [
    (30.0, "told", b"status?", "pid:4242"),
    (29.8, "heard", b"state=open temp=21.5", ""),
    (5.0, "told", b"close", "web:you"),
]
STATUS = {
    "pid": 4000,
    "version": "1.0.0",
    "since": TIME.format("08:29:58"),
    "clients": 10,
    "joined": 88,
    "refused": 1,
    "max_clients": 50_000,
    "queue_limit": 1_048_576,
    "message_limit": 1_048_576,
    "state": "/var/lib/jackfield/hub.db",
    "state_problem": "",
    "config": "/etc/jackfield/jackfield.toml",
    "memory": 61_000_000,
    "descriptors": 31,
    "descriptors_limit": 100_000,
    "lag": 0.0008,
    "rates": {"messages_in": 118.0, "messages_out": 24.0},
    "dropped": 3,
    "parts": [],
    "listeners": [
        {"address": "tcp://10.0.0.1:7000", "framing": "line", "ending": "lf", "clients": 8, "refused": 1},
        {"address": "udp://10.0.0.1:7001", "framing": "none", "ending": "lf", "clients": 1, "refused": 0},
        {"address": "unix:///run/lines.sock", "framing": "line", "ending": "lf", "clients": 1, "refused": 0},
    ],
}
RULES = [
    {
        "name": "ping",
        "pattern": "^ping$",
        "exact": False,
        "reply": encode_data(b"pong"),
        "ending": "lf",
        "to": "all",
        "rate": "10/s",
        "matched": 42,
        "sent": 42,
        "limited": 0,
        "withheld": 0,
        "dropped": 0,
    },
    {
        "name": "whoami",
        "pattern": "id=(\\w+)",
        "exact": False,
        "reply": encode_data(b"welcome \\1"),
        "ending": "crlf",
        "to": "tag:hall",
        "rate": "10/s",
        "matched": 3,
        "sent": 2,
        "limited": 1,
        "withheld": 0,
        "dropped": 0,
    },
]
SNIPPETS = [("modbus-read", bytes.fromhex("010300000002c40b"), "none"), ("status", b"status?", "default")]
DIALS = [
    {"name": "meter", "address": "tcp://10.0.0.9:502", "state": "connected", "explain": "connected for 3 h"}
]


AUDIT = [
    {"time": TIME.format("08:31:12"), "who": "pid:4242", "what": "rename", "target": "1", "outcome": "done"},
    {"time": TIME.format("09:15:00"), "who": "10.9.9.9", "what": "admit", "target": "", "outcome": "refused"},
]
ROOMS = [
    {
        "room": name, "topic": topic, "durable": durable, "open": opened, "lasting": True, "members": members,
        "last": last, "made_by": "pid:4242", "created": NOW - 86_400, "retention": {},
    }
    for name, topic, durable, opened, members, last in (
        ("lobby", "Whoever comes says hello", True, True, 12, 4821),
        ("ops", "The night shift", True, False, 3, 96),
        ("telemetry", "", False, False, 40, 190_233),
    )
]  # fmt: skip
SAID_IN_ROOM = [
    [93, NOW - 900, "a/1", "lin", 1, "pump-3 is not reading, I will look at it"],
    [94, NOW - 840, "a/1", "lin", 2, "it waits for 412 kB"],
    [95, NOW - 300, "b/1", "marek", 1, "restarted it from here"],
    [96, NOW - 60, "a/1", "lin", 3, "谢谢, it is fine again"],
]
CHAT = {
    "room": ROOMS[1],
    "source": 3,
    "members": [
        {"source": 1, "id": "4", "name": "lin", "kind": "native", "state": "here", "role": "member"},
        {"source": 2, "id": "9", "name": "marek", "kind": "plain", "state": "away", "role": "member"},
        {
            "source": 3,
            "id": None,
            "name": "operator",
            "kind": "operator",
            "state": "here",
            "role": "operator",
        },
    ],
    "history": SAID_IN_ROOM,
}
TOKENS = [
    {
        "id": id_, "kind": kind, "role": role, "name": name, "state": state, "made": NOW - ago,
        "made_by": "pid:4242", "expires": None if ends is None else NOW + ends,
    }
    for id_, kind, role, name, state, ago, ends in (
        ("9f3a01c2", "token", "operator", "lin", "valid", 7_000, None),
        ("11b0e7aa", "invitation", "member", "", "valid", 600, 85_000),
        ("70d4c9f1", "invitation", "member", "meter-7", "used", 90_000, -3_600),
    )
]  # fmt: skip


class Scripted:
    """The door of such a hub; `asked` is what it was asked for, `views` who is there."""

    def __init__(self) -> None:
        self.views = few()
        self.hostile = False
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._sessions: set[tuple[Channel, int]] = set()
        self._channels: set[Channel] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def channel(self, who: str, role: str) -> AsyncIterator[Channel]:
        ours, theirs = jackfield.pair(framing="u32", max_message=protocol.MAX_MESSAGE, high_water=32 << 20)
        serving = asyncio.create_task(self._serve(theirs))
        self._channels.add(theirs)
        try:
            yield ours
        finally:
            self._channels.discard(theirs)
            serving.cancel()
            ours.abort()
            theirs.abort()

    @asynccontextmanager
    async def operate(self, who: str, role: str) -> AsyncIterator[Operator]:
        async with self.channel(who, role) as channel:
            operator = Operator(channel)
            reading = asyncio.create_task(operator.read())
            try:
                yield operator
            finally:
                reading.cancel()

    def hang_up(self) -> None:
        """Lose every operator."""
        for channel in tuple(self._channels):
            channel.abort()

    async def tell(self, **event: Any) -> None:
        """An event of every watch that goes on."""
        for channel, number in tuple(self._sessions):
            if channel in self._channels:
                await channel.send(protocol.event(number, event))

    async def _serve(self, channel: Channel) -> None:
        async for message in channel:
            request = protocol.parse_request(message)
            if request.op != "hello":
                self.asked.append((request.op, request.arguments))
            if request.op == "watch":
                self._sessions.add((channel, request.id))
            for reply in self._answer(request):
                await channel.send(reply)

    def _answer(self, request: protocol.Request) -> Iterator[bytes]:
        events = list(self._events(request))
        yield from (protocol.event(number, event) for number, event in events)
        if request.op in ("watch", "room_chat") or request.arguments.get("follow"):
            return
        try:
            yield protocol.ok(request.id, self._done(request))
        except RequestError as problem:
            yield protocol.error(request.id, problem)

    def _events(self, request: protocol.Request) -> Iterator[tuple[int, dict[str, Any]]]:
        given = request.arguments
        match request.op:
            case "watch":
                yield from ((request.id, event) for event in self._watch())
            case "look":
                for client in given["open"]:
                    yield from ((given["of"], event) for event in self._conversation(client))
            case "clients":
                yield request.id, {"clients": self.views}
            case "logs":
                yield from ((request.id, {"log": event}) for event in LOG)
            case "audit":
                yield from ((request.id, {"audit": record}) for record in AUDIT)
            case "room_chat":
                yield request.id, CHAT
            case "snippet_list":
                for name, data, ending in SNIPPETS:
                    yield request.id, {"snippet": name, "data": encode_data(data), "ending": ending}
            case "ask":
                result = {"id": 1, "name": "door", "outcome": "answered", "seconds": 0.0042}
                yield request.id, {"results": [{**result, "answer": encode_data(b"version 2.4.1")}]}

    def _watch(self) -> Iterator[dict[str, Any]]:
        hostile = {"name": HOSTILE, "note": HOSTILE, "peer": HOSTILE, "explain": HOSTILE, "tags": [HOSTILE]}
        views = [{**each, **hostile} for each in self.views] if self.hostile else self.views
        for start in range(0, len(views), 250):
            yield {"clients": views[start : start + 250]}
        if len(views) < 100:
            for step in range(12):  # a round trip that goes up and down
                trips = [
                    {**each, "round_trip": each["round_trip"] * (1 + (step * each["id"] * 7 % 11) / 8)}
                    for each in views
                    if "round_trip" in each
                ]
                yield {"clients": trips}
            said = [HOSTILE] * len(SAID) if self.hostile else SAID
            yield {"previews": [[number, NOW - 7 * number, text] for number, text in enumerate(said, 1)]}
            absent = {
                "id": None,
                "name": "lift",
                "identity": "id:lift",
                "state": "absent",
                "tags": [],
                "note": "",
            }
            yield {"absent": [{**absent, "peer": "10.0.0.8", "last_seen": TIME.format("07:12:00")}]}
        yield {"ready": STATUS, "log": LOG}

    def _conversation(self, client: int) -> Iterator[dict[str, Any]]:
        text = HOSTILE.encode()
        earlier = [(at, text if self.hostile else data) for at, data in EARLIER]
        yield {
            "open": client,
            "ending": "lf",
            "earlier": [{"at": NOW - at, "heard": encode_data(data)} for at, data in earlier],
        }
        said = [
            {"id": client, "at": NOW - at, way: encode_data(data), **({"by": by} if by else {})}
            for at, way, data, by in TOLD
        ]
        yield {"said": said}

    def _done(self, request: protocol.Request) -> dict[str, Any]:
        given = request.arguments
        match request.op:
            case "hello":
                return {"version": "1.0.0", "pid": 4000, "protocol": 1}
            case "status":
                return STATUS
            case "autoreply_list":
                return {"rules": RULES}
            case "dial_list":
                return {"dials": DIALS}
            case "room_list":
                return {"rooms": ROOMS}
            case "room_search":
                return {"messages": [["ops", *row] for row in SAID_IN_ROOM if given["text"] in row[5]]}
            case "token_list":
                return {"tokens": TOKENS}
            case "invite":
                return {"token": "jf_secret", "invitations": ["tls://10.0.0.1:7443?invitation=jf_secret"]}
            case "script_list":
                return {"scripts": []}
            case "send":
                return {"sent": 1, "dropped": 0}
            case "clients":
                return {"count": len(self.views)}
            case "ask":
                return {
                    "clients": 1,
                    "outcomes": {"answered": 1},
                    "waves": 0,
                    "halted": False,
                    "not_sent": [],
                }
            case "rename" if given["name"] == "taken":
                raise RequestError(protocol.REFUSED, "the name 'taken' is in use", hint="choose another one")
        return {}
