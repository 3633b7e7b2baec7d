"""The Jackfield protocol in one file: the standard library and nothing else, on any system with Python 3.8.

Copy this file alone and run ``python3 portable.py --help``, or import it. From pure to thin shell:

- the codec: ``Frame``, ``encode``, ``decode``, and ``Deframer`` for transports that are streams;
- ``Connection``: either end of a session as a state machine. Messages and the time go in, events and messages
  come out; it opens nothing, reads no clock and draws no random numbers;
- ``connect``: a blocking client over TCP, TLS and Unix sockets, which comes back when its connection is lost;
- the command line: ``join``, ``clients``, ``message``, ``request``.

docs/protocol.md is the specification (P-001 and so on are its rules), tests/vectors/protocol settles every
doubt. The package itself uses the codec and the state machine from here, so the file is long on purpose:
divided, it could not be copied alone.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import os
import random
import secrets
import select
import selectors
import socket
import ssl
import struct
import sys
import threading
import time
import urllib.parse
from collections import deque
from typing import Any, Callable, Iterator, NamedTuple, Sequence, Union  # noqa: UP035 - this file runs on Python 3.8

__all__ = [  # noqa: RUF022 - as sorted() has them
    "ACK", "ACK_ALONG", "ACK_BYTES", "ACK_DELAY", "ACK_FRAMES", "Accepted", "Acknowledged", "CANCELLED",
    "CONTROL", "CREDIT", "CREDIT_EXCEEDED", "Client", "Connection", "Control", "Credited", "DATA", "Data",
    "Deframer", "END", "Ended", "FORBIDDEN", "FRAME_COST", "Failed", "Frame", "Greeted", "HANDSHAKE",
    "HEADER", "KINDS", "Letter", "Line", "MAGIC", "MAX_CREDIT", "MAX_MESSAGE", "MAX_PAYLOAD",
    "MAX_STREAMS", "MORE", "NO_SUCH_PEER", "NO_SUCH_SERVICE", "OPEN", "OVERLOADED", "Opened", "PASSING",
    "PEER_GONE", "PING", "PONG", "Place", "Ponged", "ProtocolError", "REFUSED", "RESET", "RESETS",
    "RETAINED", "ROOM_STREAMS", "Refused", "Room", "SHARED", "STREAM_STATE", "SUBPROTOCOL", "Stream",
    "TIMEOUT", "TOO_MANY_STREAMS", "VERSION", "WasReset", "WebSocket", "Welcomed", "connect", "decode",
    "encode", "framed", "from_json", "harmless", "main", "to_json",
]  # fmt: skip

VERSION = 1
MAGIC = b"\x8fJACK\r\n\x1a"
"""The first message of each side."""

CONTROL, OPEN, DATA, END, RESET, CREDIT, ACK, PING, PONG = range(9)
KINDS = ("CONTROL", "OPEN", "DATA", "END", "RESET", "CREDIT", "ACK", "PING", "PONG")
MORE, SHARED = 1, 2
"""Flags of DATA: the message goes on in the next one; one-to-many delivery, neither counted nor credited."""

MAX_PAYLOAD = 65_536
HEADER = struct.Struct(">IBBH")
MAX_MESSAGE = HEADER.size + MAX_PAYLOAD
"""Bytes of the longest message on the wire: what a transport's framing has to allow."""
SUBPROTOCOL = "jackfield.1"
"""What a WebSocket calls the protocol."""
FRAME_COST = 16
"""What a DATA frame costs beside its payload, in credit."""
MAX_CREDIT = 2**31 - 1
ROOM_STREAMS = 2**31
"""Streams from here on come with ``join`` and not with OPEN: they are rooms."""
MAX_STREAMS = 1_024
"""Streams that the other side may have open at once."""
RETAINED = 4 << 20
"""Bytes that a hub keeps for a client until they are acknowledged; a client stops sending there."""
ACK_BYTES, ACK_FRAMES, ACK_DELAY = 256 << 10, 512, 1.0
ACK_ALONG = 16  # frames after which an ACK goes along with what is sent anyway
"""An acknowledgement is due after so many bytes, frames or seconds, whatever comes first."""
HANDSHAKE = 10.0
"""Seconds for magic and HELLO, or for the answer to them."""
PASSING = ("handshake_timeout", "rate_limited", "overloaded")
"""Refusals that leave the session as it is: the same HELLO may be taken later."""
PING_AFTER, SILENT_AFTER = 20.0, 60.0
"""After so many seconds without a word from the hub a client asks; after so many it takes it for gone."""

(CANCELLED, REFUSED, NO_SUCH_PEER, NO_SUCH_SERVICE, PEER_GONE, OVERLOADED, CREDIT_EXCEEDED, STREAM_STATE,
 TOO_MANY_STREAMS, TIMEOUT, FORBIDDEN) = range(1, 12)  # fmt: skip
RESETS = {
    CANCELLED: "cancelled", REFUSED: "refused", NO_SUCH_PEER: "no_such_peer", PEER_GONE: "peer_gone",
    NO_SUCH_SERVICE: "no_such_service", OVERLOADED: "overloaded", CREDIT_EXCEEDED: "credit_exceeded",
    STREAM_STATE: "stream_state", TOO_MANY_STREAMS: "too_many_streams", TIMEOUT: "timeout",
    FORBIDDEN: "forbidden",
}  # fmt: skip
"""What a RESET's code is called."""


class ProtocolError(ValueError):
    """The other side broke a rule, or refused; ``code`` is one of the protocol's, and the connection ends."""

    def __init__(self, code: str, message: str, hint: str | None = None) -> None:
        super().__init__(f"{message}; {hint}" if hint else message)
        self.code = code
        self.message = message
        self.hint = hint


# The codec ----------------------------------------------------------------------------------------


class Frame(NamedTuple):
    """One frame, as it stands on the wire."""

    stream: int
    kind: int
    flags: int
    payload: bytes

    @property
    def is_counted(self) -> bool:
        """Whether it has a number in its session."""
        return self.kind <= CREDIT and not self.flags & SHARED


_LENGTHS = {END: (0, 0), RESET: (4, 260), CREDIT: (4, 4), ACK: (8, 8), PING: (8, 8), PONG: (8, 8)}
"""How short and how long the payload of a kind may be; the others: anything."""
_ON_ZERO = (CONTROL, ACK, PING, PONG)


def encode(stream: int, kind: int, payload: bytes = b"", flags: int = 0) -> bytes:
    """A frame as one message."""
    return HEADER.pack(stream, kind, flags, 0) + payload


def decode(message: bytes) -> Frame:
    """A message as a frame. Raises ``ProtocolError`` with ``bad_frame`` or ``too_big``."""
    if len(message) < HEADER.size:
        raise ProtocolError("bad_frame", f"a frame of {len(message)} bytes is shorter than its header of 8")
    if len(message) > MAX_MESSAGE:
        raise ProtocolError("too_big", f"a frame of {len(message)} bytes is longer than {MAX_MESSAGE}")
    stream, kind, flags, reserved = HEADER.unpack_from(message)
    if kind >= len(KINDS):
        raise ProtocolError("bad_frame", f"there is no frame of kind {kind}")
    name = KINDS[kind]
    if reserved:
        raise ProtocolError("bad_frame", f"the reserved field of a {name} frame is {reserved}, not 0")
    if flags & ~(MORE | SHARED) or (flags and kind != DATA):
        raise ProtocolError("bad_frame", f"a {name} frame has the flags {flags:#04x}")
    if (stream == 0) != (kind in _ON_ZERO):
        raise ProtocolError("bad_frame", f"a {name} frame is on stream {stream}")
    shortest, longest = _LENGTHS.get(kind, (0, MAX_PAYLOAD))
    if not shortest <= len(message) - HEADER.size <= longest:
        raise ProtocolError(
            "bad_frame", f"the payload of a {name} frame has {len(message) - HEADER.size} bytes"
        )
    return Frame(stream, kind, flags, bytes(message[HEADER.size :]))


class Deframer:
    """Cuts a stream into messages: each behind its length, u32 big-endian. It is used as a `WebSocket` is."""

    is_open = True

    def __init__(self) -> None:
        self.code: int | None = None
        self._buffer = bytearray()

    def take(self) -> bytes:
        """What is to be sent before anything else: nothing."""
        return b""

    def framed(self, message: bytes) -> bytes:
        """A message as it goes over the stream."""
        return framed(message)

    def closing(self) -> bytes:
        """The last that goes over the stream: nothing."""
        return b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The messages that are whole now. Raises ``ProtocolError`` (``too_big``)."""
        self._buffer += data
        start = 0
        try:
            while len(self._buffer) - start >= 4:
                size = int.from_bytes(self._buffer[start : start + 4], "big")
                if size > MAX_MESSAGE:
                    raise ProtocolError("too_big", f"a message of {size} bytes is longer than {MAX_MESSAGE}")
                if len(self._buffer) - start < 4 + size:
                    return
                start += 4 + size
                yield bytes(self._buffer[start - size : start])
        finally:
            del self._buffer[:start]


def framed(message: bytes) -> bytes:
    """A message as it goes over a stream."""
    return len(message).to_bytes(4, "big") + message


class WebSocket:
    """The client's end of a WebSocket (RFC 6455) that carries messages: bytes in, messages out, and back.

    Feed it what comes; what it has to say by itself - first the request that opens it - is in ``take``.
    Messages can be framed once it ``is_open``. Without I/O.
    """

    def __init__(self, host: str, path: str = "/") -> None:
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        self._expected = base64.b64encode(digest).decode(), SUBPROTOCOL
        request = (
            f"GET {path} HTTP/1.1",
            f"Host: {host}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Protocol: {SUBPROTOCOL}",
        )
        self._out = bytearray(("\r\n".join(request) + "\r\n\r\n").encode())
        self._buffer = bytearray()
        self._message: bytearray | None = None  # of which fragments have come
        self.is_open = False
        self.code: int | None = None
        """What the server has closed it with."""

    def take(self) -> bytes:
        """What is to be sent before anything else: the request, answers to pings."""
        out, self._out = bytes(self._out), bytearray()
        return out

    def framed(self, message: bytes) -> bytes:
        """A message as it goes over the connection."""
        return self._frame(2, message)

    def closing(self) -> bytes:
        """The last that goes over the connection."""
        return self._frame(8, (1000).to_bytes(2, "big"))

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The messages that are whole now; nothing comes behind the server's last frame.

        Raises ``Refused`` for an answer that opens no WebSocket, and ``ProtocolError`` for what is none.
        """
        self._buffer += data
        if not self.is_open and not self._opened():
            return
        while self.code is None:
            frame = self._next()
            if frame is None:
                return
            message = self._heard(*frame)
            if message is not None:
                yield message

    def _opened(self) -> bool:
        """Whether the answer to the request is there, and good."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > 16_384 or b"HTTP/1.1 "[: len(self._buffer)] != self._buffer[:9]:
                raise Refused("bad_magic", "this is no web server, or none that speaks HTTP/1.1")
            return False
        status, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        fields = {}
        for line in lines:
            name, _, value = line.partition(":")
            fields[name.strip().lower()] = value.strip()
        if not status.startswith("HTTP/1.1 101 "):
            code = "overloaded" if status.split()[1:2] in (["503"], ["429"]) else "forbidden"
            raise Refused(
                code, f"the web server answers {status[9:80]!r}", "look at the address and its path"
            )
        if (fields.get("sec-websocket-accept"), fields.get("sec-websocket-protocol")) != self._expected:
            raise Refused("unsupported_version", f"the web server opens no WebSocket for {SUBPROTOCOL}")
        del self._buffer[: end + 4]
        self.is_open = True
        return True

    def _next(self) -> tuple[int, bool, bytes] | None:
        """Opcode, whether it is the last fragment, and payload of the next frame; None until it is whole."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        opcode, final, size, start = buffer[0] & 15, buffer[0] & 128 != 0, buffer[1], 2
        is_wrong = buffer[0] & 0x70 or size & 128 or opcode not in (0, 1, 2, 8, 9, 10)
        if is_wrong or (opcode > 7 and (size > 125 or not final)):
            raise ProtocolError("bad_frame", "this is no frame of a WebSocket's server")
        if size >= 126:
            start = 4 if size == 126 else 10
            if len(buffer) < start:
                return None
            size = int.from_bytes(buffer[2:start], "big")
        if size + len(self._message or b"") > MAX_MESSAGE:
            raise ProtocolError("too_big", f"a message of {size} bytes or more is longer than {MAX_MESSAGE}")
        if len(buffer) < start + size:
            return None
        payload = bytes(buffer[start : start + size])
        del buffer[: start + size]
        return opcode, final, payload

    def _heard(self, opcode: int, final: bool, payload: bytes) -> bytes | None:
        """The message that a frame completes, if it does."""
        if opcode == 8:  # the end of the connection follows
            self.code = int.from_bytes(payload[:2], "big") or 1005
            self._out += self._frame(8, payload[:2])
        if opcode == 9:
            self._out += self._frame(10, payload)
        if opcode > 7:
            return None
        if opcode == 1 or (opcode == 0) != (self._message is not None):
            raise ProtocolError("bad_frame", "a message that is not binary, or a fragment out of place")
        whole = (self._message or bytearray()) + payload
        self._message = None if final else whole
        return bytes(whole) if final else None

    @staticmethod
    def _frame(opcode: int, payload: bytes) -> bytes:
        size = len(payload)
        mask = secrets.token_bytes(4)
        head = bytes((0x80 | opcode, 0x80 | (127 if size > 0xFFFF else 126 if size > 125 else size)))
        if size > 125:
            head += size.to_bytes(8 if size > 0xFFFF else 2, "big")
        pad = (mask * (size // 4 + 1))[:size]
        masked = int.from_bytes(payload, "little") ^ int.from_bytes(pad, "little")
        return head + mask + masked.to_bytes(size, "little")


Wire = Union[Deframer, WebSocket]  # noqa: UP007 - this file runs on Python 3.8
"""How messages go over a connection."""


def to_json(value: dict[str, Any]) -> bytes:
    """An object as UTF-8, lone surrogates as escapes. Raises ``ProtocolError`` (``too_big``)."""
    try:
        data = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except UnicodeEncodeError:
        data = json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
    if len(data) > MAX_PAYLOAD:
        raise ProtocolError("too_big", f"an object of {len(data)} bytes is longer than {MAX_PAYLOAD}")
    return data


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


def from_json(payload: bytes) -> dict[str, Any]:
    """The object in a payload. Raises ``ProtocolError`` (``bad_json``)."""
    try:
        value = json.loads(payload.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ProtocolError("bad_json", f"what should be a JSON object is none: {error}") from None
    if not isinstance(value, dict):
        raise ProtocolError("bad_json", f"what should be a JSON object is a {type(value).__name__}")
    return value


def _member(value: dict[str, Any], name: str, kind: type) -> Any:
    """A member that must be there. Raises ``ProtocolError`` (``bad_json``)."""
    found = value.get(name)
    if not isinstance(found, kind) or (kind is int and isinstance(found, bool)):
        raise ProtocolError("bad_json", f"the member {name} is missing, or is no {kind.__name__}")
    return found


def _number(value: dict[str, Any], name: str, limit: int) -> int:
    found: int = _member(value, name, int)
    if not 0 <= found <= limit:
        raise ProtocolError("bad_json", f"the member {name} is {found}, and may be 0 to {limit}")
    return found


def harmless(text: str) -> str:
    """Text of another side for a terminal: what steers one, or draws nothing, becomes escapes."""
    if text.isprintable():
        return text
    escapes = (each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
    return "".join(escapes)


# Events -------------------------------------------------------------------------------------------


class Greeted(NamedTuple):
    """To a hub: a client's HELLO. ``Connection.welcome`` or ``refuse`` answers it."""

    hello: dict[str, Any]


class Welcomed(NamedTuple):
    """To a client: it is let in. Unless ``resumed``, every stream of an earlier session is gone."""

    welcome: dict[str, Any]
    resumed: bool


class Control(NamedTuple):
    """A control message."""

    message: dict[str, Any]


class Opened(NamedTuple):
    """The other side opened a stream: ``accept`` or ``reset`` answers it."""

    stream: int
    header: dict[str, Any]


class Accepted(NamedTuple):
    """A stream that was opened here is taken."""

    stream: int


class Credited(NamedTuple):
    """So much may be sent on a stream now: each frame costs its payload and 16."""

    stream: int
    credit: int


class Data(NamedTuple):
    """One DATA frame; with ``more`` the message goes on in the next of this stream."""

    stream: int
    payload: bytes
    more: bool
    shared: bool


class Ended(NamedTuple):
    """The other side sends no more on a stream."""

    stream: int


class WasReset(NamedTuple):
    """A stream has ended at once, by the other side or, if it broke a rule, from here (``by_peer`` false)."""

    stream: int
    code: int
    reason: str
    by_peer: bool


class Acknowledged(NamedTuple):
    """The other side has so many frames of this session."""

    frames: int


class Ponged(NamedTuple):
    """The answer to a PING."""

    payload: bytes


class Failed(NamedTuple):
    """The connection has to end, once everything in ``take`` has left, and the session with all its streams.

    Only a handshake that failed with a code of ``PASSING`` may be tried again with the same session.
    """

    code: str
    message: str
    hint: str | None
    by_peer: bool


# The state machine --------------------------------------------------------------------------------


class _Stream:
    """One conversation. Invariant: at least one direction has not ended."""

    __slots__ = (
        "accepted", "can_receive", "can_send", "ended_here", "ended_there", "inside", "is_room", "mine",
    )  # fmt: skip

    def __init__(self, *, mine: bool, can_send: int, can_receive: int, is_room: bool = False) -> None:
        self.mine = mine
        self.is_room = is_room
        self.accepted = not mine
        self.can_send = can_send
        """Credit that the other side has granted and was not used."""
        self.can_receive = can_receive
        """Credit that was granted to the other side and was not used."""
        self.ended_here = False
        self.ended_there = False
        self.inside = False
        """Whether a message has begun that the other side has not finished."""


class _Session:
    """What outlives a connection. Invariant: ``kept`` has the frames ``sent - len(kept) + 1`` to ``sent``."""

    def __init__(self, id_: str = "", key: str = "") -> None:
        self.id = id_
        self.key = key
        self.sent = 0
        self.received = 0
        self.kept: deque[bytes] = deque()
        self.kept_bytes = 0
        self.streams: dict[int, _Stream] = {}
        self.last_mine = 0
        self.last_theirs = 0

    @property
    def released(self) -> int:
        """So many frames are not kept any more."""
        return self.sent - len(self.kept)

    def keep(self, message: bytes, *, limit: int | None) -> None:
        self.sent += 1
        self.kept.append(message)
        self.kept_bytes += len(message)
        while limit is not None and self.kept_bytes > limit:
            self._drop()

    def acknowledged(self, count: int) -> None:
        while self.released < count:
            self._drop()

    def _drop(self) -> None:
        self.kept_bytes -= len(self.kept.popleft())


class Connection:
    """One end of a session. Feed it the messages that come, send what ``take`` gives, mind ``deadline``.

    A client's lives over many connections: ``start`` at each new one, ``lost`` when it ends. A hub has one
    for each connection; ``welcome(resume=...)`` moves the session of an earlier one into it. What is sent
    while there is no connection is kept, and leaves once the session goes on.

    Methods that put something on the wire raise ``RuntimeError`` for streams that are not open; ``send`` also
    for more than the credit.
    """

    def __init__(
        self,
        *,
        hello: dict[str, Any] | None = None,
        versions: tuple[int, ...] = (VERSION,),
        now: float = 0.0,
        retained: int = RETAINED,
        max_streams: int = MAX_STREAMS,
    ) -> None:
        """A client's has a ``hello``: ``instance``, ``agent``, ``services``, ``name``, ``token`` ..."""
        self.is_client = hello is not None
        self.versions = versions
        self.welcomed: dict[str, Any] = {}
        """A client's last WELCOME."""
        self._hello = dict(hello or {})
        self._retained = retained
        self._max_streams = max_streams
        self._session = _Session()
        self._is_over = False
        self._version = max(versions)
        self._begin(now)
        if self.is_client:
            self._state = "lost"

    def _begin(self, now: float) -> None:
        self._out: list[bytes] = []
        self._state = "magic"
        self._since = self._heard = now
        self._unacknowledged = [0, 0]  # frames and bytes that came since the last ACK of ours
        self._ack_due: float | None = None
        self._pinged = False

    # What a shell asks

    @property
    def is_open(self) -> bool:
        """Whether the handshake is done and the connection lasts."""
        return self._state == "open"

    @property
    def has_failed(self) -> bool:
        """Whether the connection has to end, once everything in ``take`` has left."""
        return self._state == "failed"

    @property
    def session_id(self) -> str:
        """The session's id; empty before the first WELCOME."""
        return self._session.id

    @property
    def unacknowledged(self) -> int:
        """Bytes that were sent, or wait to be, and were not acknowledged."""
        return self._session.kept_bytes

    @property
    def streams(self) -> list[int]:
        """Those that are open."""
        return list(self._session.streams)

    def credit(self, stream: int) -> int:
        """What may be sent on a stream; 0 if it is not open, or was not accepted."""
        found = self._session.streams.get(stream)
        return 0 if found is None or found.ended_here or not found.accepted else found.can_send

    def take(self) -> list[bytes]:
        """The messages to send, in order; each is given once."""
        out, self._out = self._out, []
        return out

    @property
    def deadline(self) -> float | None:
        """When ``tick`` has something to do; None for never."""
        if self._state in ("magic", "handshake"):
            return self._since + HANDSHAKE
        if self._state != "open":
            return None
        times = [] if self._ack_due is None else [self._ack_due]
        if self.is_client:
            times.append(self._heard + (SILENT_AFTER if self._pinged else PING_AFTER))
        return min(times) if times else None

    # What a shell tells

    def start(self, now: float) -> None:
        """A client: there is a new connection. Magic and HELLO leave, with the session, if there was one."""
        self._begin(now)
        hello: dict[str, Any] = {"type": "hello", "versions": list(self.versions)}
        hello.update(self._hello)
        session = self._session
        if session.id:
            hello["session"] = {"id": session.id, "key": session.key, "received": session.received}
        self._out += [MAGIC, encode(0, CONTROL, to_json(hello))]

    def lost(self) -> None:
        """The connection has ended. The session goes on with another, unless ``Failed`` ended it."""
        if self._is_over:
            self._session, self._is_over = _Session(), False
        self._state = "lost"
        self._out = []

    def receive(self, message: bytes, now: float) -> list[Any]:
        """What a message means. Rules that it breaks give ``Failed``, and later messages nothing at all."""
        self._heard, self._pinged = now, False
        events: list[Any] = []
        if self._state in ("failed", "lost"):
            return events
        try:
            if self._state == "open":
                self._frame(decode(message), len(message), now, events)
            else:
                self._handshake(message, now, events)
        except ProtocolError as error:
            self._fail(error, events)
        return events

    def violated(self, error: ProtocolError) -> list[Any]:
        """The transport found a broken rule, such as a length over the limit."""
        events: list[Any] = []
        if self._state not in ("failed", "lost"):
            self._fail(error, events)
        return events

    def tick(self, now: float) -> list[Any]:
        """What the passing of time means: due acknowledgements, pings, an end for who says nothing."""
        events: list[Any] = []
        deadline = self.deadline
        if deadline is None or now < deadline:
            return events
        if self._state != "open":
            self._fail(ProtocolError("handshake_timeout", f"no handshake within {HANDSHAKE:g} s"), events)
            return events
        if self._ack_due is not None and now >= self._ack_due:
            self._acknowledge()
        if self.is_client and now >= self._heard + SILENT_AFTER:
            self._state = "silent"
        elif self.is_client and not self._pinged and now >= self._heard + PING_AFTER:
            self._pinged = True
            self._out.append(encode(0, PING, bytes(8)))
        return events

    @property
    def is_silent(self) -> bool:
        """A client: the hub has said nothing for so long that the connection should be given up."""
        return self._state == "silent"

    # What an application does

    def welcome(self, members: dict[str, Any], now: float, *, resume: Connection | None = None) -> list[Any]:
        """A hub: let a client in. ``members``: ``id``, ``name``, ``role``, ``session`` (``id``, ``key``) ...

        With ``resume`` the session of that connection goes on here, if all that the client lacks is still
        kept; ``Welcomed.resumed`` tells. Gives events like ``receive``.
        """
        events: list[Any] = []
        try:
            resumed = resume is not None and self._resume(resume)
        except ProtocolError as error:
            self._fail(error, events)
            return events
        session = dict(members["session"])
        if not resumed:
            self._session = _Session(session["id"], session["key"])
        session = {"id": self._session.id, "key": self._session.key, "resumed": resumed,
                   "received": self._session.received}  # fmt: skip
        answer = {"type": "welcome", "version": self._version}
        answer.update(members)
        answer["session"] = session
        self._out += [MAGIC, encode(0, CONTROL, to_json(answer)), *self._session.kept]
        self._state = "open"
        events.append(Welcomed(answer, resumed))
        return events

    def refuse(self, code: str, message: str, hint: str | None = None) -> None:
        """End the session with an error of our own; also a hub's answer to a HELLO."""
        self._fail(ProtocolError(code, message, hint), [])

    def control(self, message: dict[str, Any]) -> None:
        """Send a control message."""
        self._put(0, CONTROL, to_json(message))

    def open(self, header: dict[str, Any]) -> int:
        """Open a stream: ``to`` (a hub's: ``from``), ``service``, ``credit``. Gives its number."""
        session = self._session
        credit: int = header["credit"]
        payload = to_json(header)
        number = session.last_mine + 2 if session.last_mine else (1 if self.is_client else 2)
        session.last_mine = number
        session.streams[number] = _Stream(mine=True, can_send=0, can_receive=credit)
        self._put(number, OPEN, payload)
        return number

    def accept(self, stream: int, credit: int) -> None:
        """Take a stream that the other side opened, and let it send so much."""
        self.grant(stream, credit)

    def grant(self, stream: int, credit: int) -> None:
        """Let the other side send so much more."""
        self._find(stream).can_receive += credit
        self._put(stream, CREDIT, credit.to_bytes(4, "big"))

    def send(self, stream: int, payload: bytes, *, more: bool = False) -> None:
        """Send one DATA frame; ``credit(stream)`` has to be its length and 16 at least."""
        found = self._find(stream)
        cost = len(payload) + FRAME_COST
        if cost > self.credit(stream) or len(payload) > MAX_PAYLOAD:
            raise RuntimeError(f"stream {stream} may send {self.credit(stream)}, and this frame costs {cost}")
        found.can_send -= cost
        self._put(stream, DATA, payload, MORE if more else 0)

    def end(self, stream: int) -> None:
        """Send no more on a stream; receiving goes on."""
        found = self._find(stream)
        found.ended_here = True
        self._put(stream, END)
        if found.ended_there:
            del self._session.streams[stream]

    def reset(self, stream: int, code: int = CANCELLED, reason: str = "") -> None:
        """End a stream at once; nothing happens if it has ended already."""
        if self._session.streams.pop(stream, None) is not None:
            text = reason.encode("utf-8", "replace")[:256].decode("utf-8", "ignore")
            self._put(stream, RESET, code.to_bytes(4, "big") + text.encode())

    def attach(self, stream: int, credit: int) -> None:
        """A client that joined a room: its stream, and what may be sent there. A hub: what the client may."""
        sending, receiving = (credit, 0) if self.is_client else (0, credit)
        found = _Stream(mine=False, can_send=sending, can_receive=receiving, is_room=True)
        self._session.streams[stream] = found

    def detach(self, stream: int) -> None:
        """The room was left: what still comes on its stream is ignored."""
        self._session.streams.pop(stream, None)

    def ping(self, payload: bytes = bytes(8)) -> None:
        """Ask for a PONG with the same eight bytes."""
        if self._state == "open":
            self._out.append(encode(0, PING, payload))

    # The handshake

    def _handshake(self, message: bytes, now: float, events: list[Any]) -> None:
        if self._state == "magic":
            if message != MAGIC:
                raise ProtocolError(
                    "bad_magic", "the first message is not the magic of the Jackfield protocol",
                    "the other side is no Jackfield client or hub, or speaks without the framing u32",
                )  # fmt: skip
            self._state = "handshake"
            return
        if self._state == "deciding":
            raise ProtocolError("bad_frame", "a client sent more before it was welcomed")
        frame = decode(message)
        if frame.kind != CONTROL:
            raise ProtocolError(
                "bad_frame", f"a {KINDS[frame.kind]} frame came before the handshake was done"
            )
        value = from_json(frame.payload)
        kind = _member(value, "type", str)
        if self.is_client:
            self._was_answered(kind, value, events)
        elif kind != "hello":
            raise ProtocolError(
                "unknown_type", f"a client's first control message is {kind[:40]!r}, not 'hello'"
            )
        else:
            self._was_greeted(value, events)

    def _was_greeted(self, hello: dict[str, Any], events: list[Any]) -> None:
        offered = [each for each in _member(hello, "versions", list) if type(each) is int]
        common = set(offered) & set(self.versions)
        if not common:
            known = ", ".join(map(str, sorted(self.versions)))
            raise ProtocolError("unsupported_version", f"this hub speaks version {known} of the protocol",
                                "update whichever side is older")  # fmt: skip
        for name, longest in (("name", 64), ("instance", 64), ("agent", 120), ("token", 128)):
            text = hello.get(name) or ""
            if not isinstance(text, str) or len(text) > longest or not text.isprintable():
                raise ProtocolError("bad_json", f"{name} is not a text of {longest} printable characters")
        services = hello.get("services", [])
        if not isinstance(services, list) or len(services) > 32 or not all(type(s) is str for s in services):
            raise ProtocolError("bad_json", "services is not a list of at most 32 texts")
        if hello.get("session") is not None:
            self._check_earlier(hello)
        self._version = max(common)
        self._hello = hello
        self._state = "deciding"
        events.append(Greeted(hello))

    @staticmethod
    def _check_earlier(hello: dict[str, Any]) -> None:
        try:
            session = _member(hello, "session", dict)
            _member(session, "id", str)
            _member(session, "key", str)
            _number(session, "received", 2**63 - 1)
        except ProtocolError as error:
            raise ProtocolError("bad_session", error.message) from None

    def _was_answered(self, kind: str, value: dict[str, Any], events: list[Any]) -> None:
        if kind == "error":
            self._was_refused(value, events)
            return
        if kind != "welcome":
            raise ProtocolError(
                "unknown_type", f"a hub's first control message is {kind[:40]!r}, not 'welcome'"
            )
        if _member(value, "version", int) not in self.versions:
            raise ProtocolError("unsupported_version", f"the hub chose version {value['version']}")
        session = _member(value, "session", dict)
        id_, key = _member(session, "id", str), _member(session, "key", str)
        received = _number(session, "received", 2**63)
        resumed: bool = _member(session, "resumed", bool)
        own = self._session
        if resumed:
            if id_ != own.id:
                raise ProtocolError("bad_session", "the hub resumed a session that this client never had")
            if not own.released <= received <= own.sent:
                raise ProtocolError("bad_ack", f"the hub has {received} frames of {own.sent}")
            own.acknowledged(received)
        else:
            if own.id:
                events += [
                    WasReset(stream, PEER_GONE, "the session could not be resumed", True)
                    for stream in own.streams
                ]
                own = self._session = _Session()
        own.id, own.key = id_, key
        self._state = "open"
        self._out += own.kept
        self.welcomed = value
        if isinstance(value.get("token"), str):
            self._hello["token"] = value["token"]
        events.append(Welcomed(value, resumed))

    def _resume(self, earlier: Connection) -> bool:
        wanted, session = self._hello.get("session"), earlier._session
        if not isinstance(wanted, dict):
            return False
        if wanted["id"] != session.id or wanted["key"] != session.key:
            raise ProtocolError("bad_session", "the session is another's", "join without the session")
        if wanted["received"] > session.sent:
            raise ProtocolError("bad_ack", f"the client has {wanted['received']} frames of {session.sent}")
        if wanted["received"] < session.released:
            return False
        session.acknowledged(wanted["received"])
        self._session = session
        earlier._session = _Session()
        earlier._state, earlier._out = "lost", []
        return True

    # Frames

    def _frame(self, frame: Frame, size: int, now: float, events: list[Any]) -> None:
        if frame.is_counted:
            self._session.received += 1
            self._unacknowledged[0] += 1
            self._unacknowledged[1] += size
            if self._ack_due is None:
                self._ack_due = now + ACK_DELAY
        if frame.kind == CONTROL:
            self._was_told(from_json(frame.payload), events)
        elif frame.kind == ACK:
            self._was_acknowledged(int.from_bytes(frame.payload, "big"), events)
        elif frame.kind == PING:
            self._out.append(encode(0, PONG, frame.payload))
        elif frame.kind == PONG:
            events.append(Ponged(frame.payload))
        elif frame.kind == OPEN:
            self._was_opened(frame.stream, from_json(frame.payload), events)
        else:
            self._on_stream(frame, events)
        if self._unacknowledged[0] >= ACK_FRAMES or self._unacknowledged[1] >= ACK_BYTES:
            self._acknowledge()

    def _was_told(self, message: dict[str, Any], events: list[Any]) -> None:
        kind = _member(message, "type", str)
        if "n" in message:
            _number(message, "n", 2**53)
        if kind == "error" and "n" not in message:
            self._was_refused(message, events)
        elif kind in ("hello", "welcome"):
            raise ProtocolError("unknown_type", f"there was a {kind} before")
        else:
            events.append(Control(message))

    def _was_refused(self, message: dict[str, Any], events: list[Any]) -> None:
        words = [message.get(name) for name in ("code", "message", "hint")]
        code, text, hint = [word if isinstance(word, str) else None for word in words]
        self._is_over = self._state == "open" or code not in PASSING
        self._state = "failed"
        events.append(Failed(code or "unknown", text or "the other side gave no reason", hint, True))

    def _was_acknowledged(self, count: int, events: list[Any]) -> None:
        session = self._session
        if count > session.sent:
            raise ProtocolError("bad_ack", f"{count} frames were acknowledged, and {session.sent} were sent")
        if count > session.released:
            session.acknowledged(count)
            events.append(Acknowledged(count))

    def _was_opened(self, number: int, header: dict[str, Any], events: list[Any]) -> None:
        session = self._session
        if number % 2 == (0 if not self.is_client else 1) or number >= ROOM_STREAMS:
            raise ProtocolError("stream_state", f"stream {number} is not the other side's to open")
        if number <= session.last_theirs:
            raise ProtocolError("stream_state", f"stream {number} was opened before")
        _member(header, "service", str)
        if self.is_client:
            _member(_member(header, "from", dict), "id", str)
        elif header.get("to") is not None:
            _member(header, "to", str)
        credit = _number({"credit": 0, **header}, "credit", 2**63)
        if credit > MAX_CREDIT:
            raise ProtocolError("credit_overflow", f"stream {number} was granted more than {MAX_CREDIT}")
        session.last_theirs = number
        session.streams[number] = _Stream(mine=False, can_send=credit, can_receive=0)
        if sum(not each.mine and not each.is_room for each in session.streams.values()) > self._max_streams:
            self.reset(number, TOO_MANY_STREAMS, f"{self._max_streams} streams are open")
        else:
            events.append(Opened(number, header))

    def _on_stream(self, frame: Frame, events: list[Any]) -> None:
        if frame.flags & SHARED and not self.is_client:
            raise ProtocolError("bad_frame", "a client sent a DATA frame with the flag SHARED")
        number = frame.stream
        stream = self._session.streams.get(number)
        if stream is None:
            if not frame.flags & SHARED and not self._has_been(number):
                raise ProtocolError("stream_state", f"stream {number} was never opened")
            return
        if frame.kind == RESET:
            del self._session.streams[number]
            code = int.from_bytes(frame.payload[:4], "big")
            events.append(WasReset(number, code, frame.payload[4:].decode("utf-8", "replace"), True))
        elif frame.kind == CREDIT:
            self._was_granted(number, stream, int.from_bytes(frame.payload, "big"), events)
        elif frame.flags & SHARED:
            events.append(Data(number, frame.payload, False, True))
        elif stream.ended_there:
            self._break(number, STREAM_STATE, f"{KINDS[frame.kind]} behind END", events)
        else:
            self._take_acceptance(number, stream, events)
            if frame.kind == END:
                self._was_ended(number, stream, events)
            else:
                self._was_sent(number, stream, frame, events)

    def _has_been(self, number: int) -> bool:
        if number >= ROOM_STREAMS:
            return number % 2 == 0
        mine = (number % 2 == 1) == self.is_client
        return number <= (self._session.last_mine if mine else self._session.last_theirs)

    def _take_acceptance(self, number: int, stream: _Stream, events: list[Any]) -> None:
        if not stream.accepted:
            stream.accepted = True
            events.append(Accepted(number))

    def _was_granted(self, number: int, stream: _Stream, credit: int, events: list[Any]) -> None:
        stream.can_send += credit
        if stream.can_send > MAX_CREDIT:
            raise ProtocolError("credit_overflow", f"stream {number} was granted more than {MAX_CREDIT}")
        self._take_acceptance(number, stream, events)
        if not stream.ended_here:
            events.append(Credited(number, stream.can_send))

    def _was_sent(self, number: int, stream: _Stream, frame: Frame, events: list[Any]) -> None:
        cost = len(frame.payload) + FRAME_COST
        if not (stream.is_room and self.is_client):
            if cost > stream.can_receive:
                what = f"{cost} was sent, and {stream.can_receive} was granted"
                self._break(number, CREDIT_EXCEEDED, what, events)
                return
            stream.can_receive -= cost
        stream.inside = bool(frame.flags & MORE)
        events.append(Data(number, frame.payload, stream.inside, False))

    def _was_ended(self, number: int, stream: _Stream, events: list[Any]) -> None:
        if stream.inside:
            self._break(number, STREAM_STATE, "END within a message", events)
            return
        stream.ended_there = True
        events.append(Ended(number))
        if stream.ended_here:
            del self._session.streams[number]

    def _break(self, number: int, code: int, reason: str, events: list[Any]) -> None:
        self.reset(number, code, reason)
        events.append(WasReset(number, code, reason, False))

    # Sending

    def _find(self, number: int) -> _Stream:
        found = self._session.streams.get(number)
        if found is None:
            raise RuntimeError(f"stream {number} is not open")
        return found

    def _put(self, stream: int, kind: int, payload: bytes = b"", flags: int = 0) -> None:
        message = encode(stream, kind, payload, flags)
        if self._state == "failed":
            return
        self._session.keep(message, limit=None if self.is_client else self._retained)
        if self._state == "open":
            self._out.append(message)
            if self._unacknowledged[0] >= ACK_ALONG:
                self._acknowledge()

    def _acknowledge(self) -> None:
        self._out.append(encode(0, ACK, self._session.received.to_bytes(8, "big")))
        self._unacknowledged = [0, 0]
        self._ack_due = None

    def _fail(self, error: ProtocolError, events: list[Any]) -> None:
        answer = {"type": "error", "code": error.code, "message": error.message, "hint": error.hint}
        if error.code == "unsupported_version":
            answer["versions"] = sorted(self.versions)  # type: ignore[assignment]
        if not self.is_client and self._state in ("magic", "handshake", "deciding"):
            self._out.append(MAGIC)
        self._out.append(encode(0, CONTROL, to_json(answer)))
        self._is_over = self._state == "open" or error.code not in PASSING
        self._state = "failed"
        events.append(Failed(error.code, error.message, error.hint, False))


# A blocking client --------------------------------------------------------------------------------

WINDOW = 256 << 10
"""Credit that a peer gets for one stream of this client."""
SERVICES = ("channel", "request")
FATAL = ("unsupported_version", "bad_token", "expired_token", "used_token", "forbidden", "bad_magic")
"""Refusals that another attempt meets again."""
FIRST_DELAY, LONGEST_DELAY = 0.1, 30.0
UNANSWERED = 1.0
"""Seconds after which who asks a client that answers no questions is told so."""
MOST_LETTERS = 10_000
MOST_BYTES = 16 << 20
"""Of a message."""
MOST_SAID = 45_000
"""Bytes of a message in a room."""
PAGE = 100
"""Messages of a room that are read at a time."""


class Refused(ConnectionError):
    """The hub, or a peer, says no; ``code`` is the protocol's word for why."""

    def __init__(self, code: str, message: str, hint: str | None = None) -> None:
        super().__init__(harmless(f"{message} ({code}); {hint}" if hint else f"{message} ({code})"))
        self.code, self.message, self.hint = code, message, hint


READABLE = "has no TLS, and everyone on the way could read the token"


def is_readable(scheme: str, host: str | None) -> bool:
    """Whether what is said to there goes over a network without TLS."""
    if scheme not in ("tcp", "ws") or host in (None, "", "localhost"):
        return False
    import ipaddress  # few programs have a token and no TLS

    try:
        return not ipaddress.ip_address(str(host).partition("%")[0]).is_loopback
    except ValueError:
        return True


class Place(NamedTuple):
    """Where a hub is: ``tcp://host:port``, ``tls://host:port?pin=sha256:HEX&invitation=jf_...``, ``unix:///path``,
    ``ws://host:port/native``, ``wss://host:port/native?jf.pin=sha256:HEX``.

    ``ca=FILE`` has the authorities to trust, ``cert=FILE&key=FILE`` a certificate to show.
    """

    scheme: str
    host: str
    port: int
    path: str
    pin: str | None
    token: str | None
    ca: str | None = None
    cert: str | None = None
    key: str | None = None

    @classmethod
    def parse(cls, text: str) -> Place:
        """Read an address, or an invitation. Raises ``ValueError``."""
        wrong = f"{text!r} is not the address of a hub; write tcp://host:port, tls://, unix:///path or ws://"
        try:
            url = urllib.parse.urlsplit(text if "://" in text else f"tcp://{text}")
            port = url.port
        except ValueError:
            raise ValueError(wrong) from None
        options = dict(urllib.parse.parse_qsl(url.query))
        if url.scheme in ("ws", "wss"):  # the query is the server's, but for what begins with jf.
            query = [part for part in url.query.split("&") if part and not part.startswith("jf.")]
            path = (url.path if url.path.strip("/") else "/native") + ("?" + "&".join(query) if query else "")
            options = {name[3:]: value for name, value in options.items() if name.startswith("jf.")}
            port = port or (443 if url.scheme == "wss" else 80)
        else:
            path = ""
        pin, token = options.get("pin"), options.get("invitation") or options.get("token")
        if url.scheme == "unix" and (url.path or url.netloc):
            path = urllib.parse.unquote(url.netloc + url.path)
            return cls("unix", "", 0, "\0" + path[1:] if path.startswith("@") else path, pin, token)
        if url.scheme not in ("tcp", "tls", "ws", "wss") or port is None:
            raise ValueError(wrong)
        files = (options.get(name) for name in ("ca", "cert", "key"))
        return cls(url.scheme, url.hostname or "127.0.0.1", port, path, pin, token, *files)

    def wire(self) -> Wire:
        """How messages go over a connection to there."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return WebSocket(f"{host}:{self.port}", self.path) if self.scheme in ("ws", "wss") else Deframer()

    def open(self, timeout: float) -> Any:
        """A connected socket. Raises ``OSError``."""
        if self.scheme == "unix":
            plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            plain.settimeout(timeout)
            try:
                plain.connect(self.path)
            except OSError:
                plain.close()
                raise
            return plain
        plain = socket.create_connection((self.host, self.port), timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.scheme in ("tcp", "ws"):
            return plain
        try:
            return self._encrypted(plain)
        except BaseException:
            plain.close()
            raise

    def _encrypted(self, plain: socket.socket) -> Any:
        context = ssl.create_default_context(cafile=self.ca)
        if self.cert is not None:
            context.load_cert_chain(self.cert, self.key)
        if self.pin is not None:
            # The pin says which certificate it has to be, and so more than its name and issuer.
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            found = context.wrap_socket(plain, server_hostname=self.host)
        except ssl.SSLCertVerificationError as error:
            raise ssl.SSLCertVerificationError(
                1,
                f"the certificate of {self.host} is not trusted: {error.verify_message}; a hub's own is known"
                f" by its pin, tls://{self.host}:{self.port}?pin=sha256:..., which every invitation has",
            ) from error
        if self.pin is not None:
            seen = hashlib.sha256(found.getpeercert(binary_form=True) or b"").hexdigest()
            wanted = self.pin.rpartition(":")[2].replace("-", "").lower()
            if not hmac.compare_digest(seen, wanted):
                found.close()
                said = f"the certificate of {self.host} is sha256:{seen}, and not the pinned one"
                raise ssl.SSLError(0, said)
        return found


def connect(
    address: str,
    *,
    name: str | None = None,
    token: str | None = None,
    services: Sequence[str] = SERVICES,
    timeout: float = HANDSHAKE,
    reconnect: bool = True,
    insecure_token: bool = False,
) -> Client:
    """Join a hub, within ``timeout`` seconds: ``with connect("tcp://host:7000", name="x") as client``.

    Raises ``ValueError`` for what is no address, ``OSError`` if nobody can be reached, and of these
    ``Refused`` if the hub does not want this client, and ``TimeoutError``. With ``reconnect`` it comes back
    by itself when the connection is lost, and its session goes on. A token or an invitation is a
    ``ValueError`` where everyone on the way could read it, unless ``insecure_token`` says that they may.
    """
    place = Place.parse(address)
    if (token or place.token) and not insecure_token and is_readable(place.scheme, place.host):
        raise ValueError(
            f"{place.scheme}://{place.host}:{place.port} {READABLE}; write tls://, or insecure_token"
        )
    hello = {"instance": secrets.token_hex(8), "agent": "jackfield portable", "services": list(services)}
    hello.update({key: said for key, said in (("name", name), ("token", token or place.token)) if said})
    client = Client(place, hello, timeout, reconnect=reconnect)
    try:
        client._until(lambda: client._welcomes or client._ended, timeout, "the hub has not answered")
        if client._ended is not None:
            raise client._ended
    except BaseException:
        client.close()
        raise
    return client


class Letter(NamedTuple):
    """A message that another client sent."""

    sender: str
    data: bytes
    at: float
    """Seconds since 1970."""


class Client:
    """A session with a hub. A thread of its own keeps it; every method may be called from any thread.

    Waits end with ``TimeoutError`` after their ``timeout`` in seconds (None: never), and with ``OSError``
    when the client has ended.
    """

    def __init__(self, place: Place, hello: dict[str, Any], timeout: float, *, reconnect: bool) -> None:
        """``connect`` makes one."""
        self._place, self._machine = place, Connection(hello=hello)
        self._services: Sequence[str] = hello["services"]
        self._timeout, self._reconnect = timeout, reconnect
        self._changed = threading.Condition(threading.RLock())
        self._welcomes = self._number = self._sequence = 0
        self._ended: Exception | None = None
        self._token: str | None = None
        self._is_closing = False
        self._answers: dict[int, dict[str, Any] | None] = {}
        self._then: dict[int, Callable[[dict[str, Any]], None]] = {}
        self._letters: deque[tuple[int, Letter]] = deque()
        self._handed: dict[int, None] = {}
        self._streams: dict[int, Stream] = {}
        self._opened: dict[str, deque[Stream]] = {}
        self._asking: dict[str, tuple[Stream, dict[int, bytes | None]]] = {}
        self._rooms: dict[str, Room] = {}
        self._answering: Callable[[str, bytes], bytes] | None = None
        self.events: deque[dict[str, Any]] = deque(maxlen=1_000)
        """What the hub told besides: ``came``, ``went``, ``room_joined`` ...; the newest thousand."""
        self._woken, self._wake = socket.socketpair()
        self._woken.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="jackfield", daemon=True)
        self._thread.start()

    @property
    def name(self) -> str:
        """What others know this client by."""
        return str(self._machine.welcomed.get("name", ""))

    @property
    def token(self) -> str | None:
        """What the hub gave for an invitation, and None without one: keep it, it admits from now on."""
        return self._token

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection now."""
        return self._machine.is_open

    # What a program asks for

    def control(self, op: str, *, timeout: float | None = None, **arguments: Any) -> dict[str, Any]:
        """Ask the hub by a control message. Raises ``Refused``."""
        return self._ask(op, arguments, timeout)

    def _ask(
        self,
        op: str,
        arguments: dict[str, Any],
        timeout: float | None,
        then: Callable[[dict[str, Any]], None] = lambda answer: None,
    ) -> dict[str, Any]:
        """The same; ``then`` is called with the answer before anything behind it is heard."""
        with self._changed:
            self._number += 1
            number = self._number
            self._answers[number], self._then[number] = None, then
            try:
                self._do(lambda: self._machine.control({"type": op, "n": number, **arguments}))
                self._until(lambda: self._answers[number] is not None, timeout, f"{op} was not answered")
                answer = self._answers[number] or {}
            finally:
                del self._answers[number], self._then[number]
        if answer.get("type") == "error":
            raise Refused(str(answer.get("code")), str(answer.get("message")), answer.get("hint"))
        return answer

    def clients(self, timeout: float | None = None) -> list[dict[str, Any]]:
        """Who is there: ``id``, ``name``, ``state``, ``services`` ... of each."""
        return list(self.control("clients", timeout=timeout).get("clients") or ())

    def message(self, peer: str, data: bytes | str, timeout: float | None = None) -> str:
        """Send a message to a client that may be absent: ``delivered``, or ``waiting``."""
        body: dict[str, Any] = (
            {"text": data} if isinstance(data, str) else {"data": base64.b64encode(data).decode()}
        )
        with self._changed:
            self._sequence += 1
            body["sequence"] = self._sequence
        return str(self.control("message", to=peer, timeout=timeout, **body).get("state"))

    def receive(self, timeout: float | None = None) -> Letter:
        """The next message that another client sent; each once."""
        with self._changed:
            self._until(lambda: self._letters, timeout, "no message came")
            number, letter = self._letters.popleft()
            self._handed[number] = None
            while len(self._handed) > MOST_LETTERS:
                del self._handed[next(iter(self._handed))]
            self._do(lambda: self._machine.control({"type": "delivered", "number": number}))
            return letter

    def open(self, peer: str, service: str = "channel", timeout: float | None = None) -> Stream:
        """Open a stream to a client. Raises ``Refused``."""
        with self._changed:
            header = {"to": peer, "service": service, "credit": WINDOW}
            number = self._do(lambda: self._machine.open(header))
            stream = self._streams[number] = Stream(self, number, peer)
            try:
                self._until(lambda: stream._accepted or stream._reset, timeout, f"{peer} has not answered")
            except BaseException:
                stream.abort()
                raise
            if stream._reset is not None:
                raise stream._reset
            return stream

    def accept(self, service: str = "channel", timeout: float | None = None) -> Stream:
        """The next stream that another client opens."""
        with self._changed:
            waiting = self._opened.setdefault(service, deque())
            self._until(lambda: waiting, timeout, f"nobody opened a stream for {service}")
            stream = waiting.popleft()
            self._do(lambda: self._machine.accept(stream.number, WINDOW))
            return stream

    def request(self, peer: str, data: bytes | str, timeout: float | None = None) -> bytes:
        """Ask a client, and wait for its answer. Raises ``Refused`` if it is not there, or has none."""
        question = data.encode() if isinstance(data, str) else data
        with self._changed:
            stream, answers = self._asking.get(peer, (None, {}))
            if stream is None or stream._reset is not None:
                stream = self.open(peer, "request", timeout)
                stream._heard = lambda message: self._was_answered(answers, message)
                self._asking[peer] = (stream, answers)
            self._number += 1
            number = self._number % 2**31
            answers[number] = None
            try:
                stream.send(number.to_bytes(4, "big") + question, timeout)
                lost = stream
                what = f"{peer} has not answered"
                self._until(lambda: answers[number] is not None or lost._reset or lost._ended, timeout, what)
                answer = answers[number]
            finally:
                del answers[number]
            if answer is None:
                raise stream._reset or ConnectionResetError(f"{peer} takes no more questions")
            if answer[0] & 0x80:
                raise Refused("failed", f"{peer} could not answer: {answer[4:].decode('utf-8', 'replace')}")
            return answer[4:]

    def answer(self, function: Callable[[str, bytes], bytes]) -> None:
        """From now on ``function(peer, data)`` answers what others ask, in the client's own thread."""
        with self._changed:
            self._answering = function
            for stream in self._opened.pop("request", ()):
                self._start_answering(stream)

    def join(
        self,
        room: str,
        *,
        create: bool = False,
        durable: bool = False,
        after: int | str = "now",
        timeout: float | None = None,
    ) -> Room:
        """Join a room; with ``create`` it is made if there is none.

        ``after`` is where to begin: behind a sequence, at the ``cursor`` that the hub keeps for this client's
        identity, or with what is said from ``now`` on. Raises ``Refused``.
        """
        made: dict[str, Any] = {"create": {"durable": durable}} if create else {}
        with self._changed:
            if room not in self._rooms:
                joined = Room(self, room, made)
                joined._enter(after, timeout)
                self._rooms[room] = joined
            return self._rooms[room]

    def close(self) -> None:
        """Leave the hub; what is queued leaves first. May be repeated."""
        with self._changed:
            if not self._is_closing and self._machine.is_open:
                self._machine.control({"type": "bye"})
            self._is_closing = True
            self._poke()
        if threading.current_thread() is not self._thread:
            self._thread.join(5.0)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    # Waiting

    def _until(self, condition: Callable[[], Any], timeout: float | None, what: str) -> None:
        with self._changed:
            if self._changed.wait_for(lambda: condition() or self._ended is not None, timeout) is False:
                raise TimeoutError(f"{harmless(what)} within {timeout:g} s")
            if not condition() and self._ended is not None:
                raise ConnectionError(f"this client has ended: {self._ended}") from self._ended

    def _do(self, action: Callable[[], Any]) -> Any:
        """Have the machine do something, and the thread send it."""
        with self._changed:
            if self._ended is not None:
                raise ConnectionError(f"this client has ended: {self._ended}") from self._ended
            result = action()
            self._poke()
            return result

    def _poke(self) -> None:
        with contextlib.suppress(OSError):  # full: it wakes up anyway; closed: it has ended
            self._wake.send(b"x")

    # The thread

    def _run(self) -> None:
        delay = 0.0
        try:
            while not self._is_closing:
                began = time.monotonic()
                error = self._converse()
                with self._changed:
                    is_fatal = isinstance(error, Refused) and error.code in FATAL
                    if is_fatal or not (self._reconnect and self._welcomes):
                        self._ended = error
                        break
                delay = (
                    FIRST_DELAY
                    if time.monotonic() - began > 1.0
                    else min(max(FIRST_DELAY, delay * 2), LONGEST_DELAY)
                )
                deadline = time.monotonic() + delay * (1 - random.random() / 2)
                while not self._is_closing and time.monotonic() < deadline:
                    select.select([self._woken], [], [], max(0.0, deadline - time.monotonic()))
                    self._drain()
        finally:
            with self._changed:
                self._ended = self._ended or ConnectionAbortedError("it was closed")
                self._lose(self._ended)
                self._changed.notify_all()
            self._woken.close()
            self._wake.close()

    def _drain(self) -> None:
        try:
            while self._woken.recv(4096):
                pass
        except OSError:
            pass

    def _converse(self) -> Exception:
        """Speak over one connection until it ends; why it did."""
        try:
            connection = self._place.open(self._timeout)
        except OSError as error:
            return error
        with connection, selectors.DefaultSelector() as selector:
            connection.setblocking(False)
            selector.register(connection, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            with self._changed:
                self._machine.start(time.monotonic())
            try:
                return self._pump(connection, selector, self._place.wire())
            except (OSError, ProtocolError) as error:
                return error
            finally:
                with self._changed:
                    self._machine.lost()
                    self._changed.notify_all()

    def _pump(self, connection: Any, selector: selectors.BaseSelector, wire: Wire) -> Exception:
        out = bytearray()
        failure: Exception | None = None
        while True:
            with self._changed:
                deadline = self._refuse_questions(time.monotonic(), self._machine.deadline)
                out += wire.take()
                for message in self._machine.take() if wire.is_open else ():
                    out += wire.framed(message)
            if out:
                with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    del out[: connection.send(out)]
            if not out and (failure is not None or self._is_closing):
                with contextlib.suppress(AttributeError, OSError, ValueError):
                    connection.send(wire.closing())
                    connection.unwrap()  # TLS has an end of its own; nobody waits for the hub's
                return failure or ConnectionAbortedError("it was closed")
            selector.modify(connection, selectors.EVENT_READ | (selectors.EVENT_WRITE if out else 0))
            pending = getattr(connection, "pending", lambda: 0)()
            wait = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready = {key.fileobj for key, _ in selector.select(0.0 if pending else wait)}
            if self._woken in ready:
                self._drain()
            with self._changed:
                events = self._machine.tick(time.monotonic())
                if self._machine.is_silent:
                    return ConnectionResetError(f"the hub has said nothing for {SILENT_AFTER:g} s")
                if connection in ready or pending:
                    events += self._receive(connection, wire)
                for event in events:
                    failure = self._hear(event) or failure
                self._changed.notify_all()

    def _receive(self, connection: Any, wire: Wire) -> list[Any]:
        try:
            data = connection.recv(65_536)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return []
        if not data:
            code = f" (code {wire.code})" if wire.code is not None else ""
            raise ConnectionResetError(f"the hub has ended the connection{code}")
        events = []
        for message in wire.feed(data):
            events += self._machine.receive(message, time.monotonic())
        return events

    def _hear(self, event: Any) -> Exception | None:
        """An event of the machine; the error that ends the connection, if it is one."""
        if isinstance(event, Failed):
            error = Refused(event.code, event.message, event.hint)
            if event.code not in PASSING:
                self._lose(error)
            return error
        if isinstance(event, Welcomed):
            self._welcomes += 1
            given = self._machine.welcomed.get("token")
            self._token = given if isinstance(given, str) else self._token
            if not event.resumed and self._welcomes > 1:
                self._lose(ConnectionResetError("the hub did not keep the session"))
        elif isinstance(event, Control):
            self._was_told(event.message)
        elif isinstance(event, Opened):
            self._was_opened(event)
        elif not isinstance(event, (Acknowledged, Ponged)):
            stream = self._streams.get(event.stream)
            if stream is not None:
                stream._hear(event)
        return None

    def _was_told(self, message: dict[str, Any]) -> None:
        number = message.get("number")
        try:
            if message["type"] == "ok" and message.get("n") in self._then:
                self._then[message["n"]](message)
            elif message.get("room") in self._rooms and "n" not in message:
                self._rooms[message["room"]]._was_told(message)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ProtocolError("bad_json", f"what the hub says of a room cannot be: {error!r}") from None
        if "n" in message:
            if message["n"] in self._answers:
                self._answers[message["n"]] = message
        elif message["type"] != "message":
            self.events.append(message)
        elif number in self._handed:
            self._machine.control({"type": "delivered", "number": number})
        elif isinstance(number, int) and len(self._letters) < MOST_LETTERS:
            text, sender = message.get("text"), message.get("from")
            try:
                data = text.encode() if isinstance(text, str) else base64.b64decode(str(message.get("data")))
            except ValueError:
                return
            name = sender.get("name") if isinstance(sender, dict) else sender
            if all(each != number for each, _ in self._letters):
                self._letters.append(
                    (number, Letter(harmless(str(name)), data, float(message.get("at") or 0)))
                )

    def _was_opened(self, event: Opened) -> None:
        service = event.header["service"]
        waiting = self._opened.setdefault(service, deque())
        if service not in self._services or len(waiting) >= 64:
            self._machine.reset(event.stream, NO_SUCH_SERVICE, "nobody takes it")
            return
        stream = Stream(self, event.stream, harmless(str(event.header["from"].get("name"))))
        self._streams[event.stream] = stream
        if service == "request" and self._answering is not None:
            self._start_answering(stream)
        else:
            waiting.append(stream)

    def _refuse_questions(self, now: float, deadline: float | None) -> float | None:
        """Refuse streams for questions that nobody answers; when to look again, by ``deadline`` anyway."""
        waiting = self._opened.get("request", deque())
        while waiting and waiting[0]._since + UNANSWERED <= now:
            stream = waiting.popleft()
            self._streams.pop(stream.number, None)
            self._machine.reset(stream.number, NO_SUCH_SERVICE, "nobody answers questions there")
        if not waiting:
            return deadline
        due: float = waiting[0]._since + UNANSWERED
        return due if deadline is None else min(due, deadline)

    def _start_answering(self, stream: Stream) -> None:
        def heard(message: bytes) -> None:
            number, function = message[:4], self._answering
            if function is None or len(message) < 4 or message[0] & 0x80:
                return
            try:
                body = function(stream.peer, message[4:])
            except Exception as error:
                number, body = (
                    bytes([number[0] | 0x80]) + number[1:],
                    str(error)[:500].encode("utf-8", "replace"),
                )
            stream._queue(number + body)

        stream._heard = heard
        self._machine.accept(stream.number, WINDOW)

    @staticmethod
    def _was_answered(answers: dict[int, bytes | None], message: bytes) -> None:
        number = int.from_bytes(message[:4], "big") & 0x7FFFFFFF
        if len(message) >= 4 and number in answers:
            answers[number] = message

    def _lose(self, error: Exception) -> None:
        """The session is over."""
        for stream in list(self._streams.values()):
            stream._lose(ConnectionResetError(f"the stream to {stream.peer} is gone: {error}"))
        for number in self._answers:
            self._answers[number] = {"type": "error", "code": "lost", "message": f"not answered: {error}"}
        self._opened.clear()


class Stream:
    """One conversation with another client: messages in, messages out, in order."""

    def __init__(self, client: Client, number: int, peer: str) -> None:
        self.number, self.peer = number, peer
        self._client, self._machine = client, client._machine
        self._accepted = self._ended = self._ending = False
        self._reset: Exception | None = None
        self._inbox: deque[tuple[bytes, int]] = deque()  # messages and what credit each one used
        self._part, self._cost = bytearray(), 0
        self._outbox: deque[bytes] = deque()
        self._heard: Callable[[bytes], None] | None = None
        self._room: Room | None = None
        self._since = time.monotonic()

    def send(self, data: bytes, timeout: float | None = None) -> None:
        """Queue a message, once those before it have left. Raises ``OSError`` when the stream is gone."""
        with self._client._changed:
            self._client._until(
                lambda: not self._outbox or self._reset, timeout, f"{self.peer} takes no more"
            )
            if self._reset is not None:
                raise self._reset
            self._queue(bytes(data))

    def receive(self, timeout: float | None = None) -> bytes | None:
        """The next message; None once the peer has ended its side. Raises ``OSError`` for a lost stream."""
        with self._client._changed:
            self._client._until(
                lambda: self._inbox or self._ended or self._reset, timeout, f"{self.peer} is silent"
            )
            if self._inbox:
                message, cost = self._inbox.popleft()
                self._grant(cost)
                return message
            if self._reset is not None and not self._ended:
                raise self._reset
            return None

    def end(self) -> None:
        """Send no more; what is queued leaves first, and receiving goes on."""
        with self._client._changed:
            self._ending = True
            self._client._do(self._send_on)

    def abort(self) -> None:
        """End at once."""
        with self._client._changed:
            self._client._streams.pop(self.number, None)
            self._machine.reset(self.number)
            self._reset = self._reset or ConnectionAbortedError("the stream was aborted")
            self._client._poke()

    def _grant(self, credit: int) -> None:
        if credit and self.number in self._machine.streams and not self._ended:
            self._machine.grant(self.number, credit)
            self._client._poke()

    def _queue(self, data: bytes) -> None:
        if self.number in self._machine.streams:
            self._outbox.append(data)
            self._client._do(self._send_on)

    def _send_on(self) -> None:
        machine = self._machine
        while self._outbox and machine.credit(self.number) >= FRAME_COST:
            rest = self._outbox[0]
            piece = rest[: min(MAX_PAYLOAD, machine.credit(self.number) - FRAME_COST)]
            if rest and not piece:
                break
            if len(piece) < len(rest) and self._room is not None:
                break  # what is published is one frame
            more = len(piece) < len(rest)
            machine.send(self.number, piece, more=more)
            if more:
                self._outbox[0] = rest[len(piece) :]
            else:
                self._outbox.popleft()
        if self._ending and not self._outbox and self.number in machine.streams:
            self._ending = False
            machine.end(self.number)

    def _hear(self, event: Any) -> None:
        if isinstance(event, Accepted):
            self._accepted = True
        elif isinstance(event, Credited):
            self._send_on()
        elif isinstance(event, Ended):
            self._ended = True
        elif isinstance(event, WasReset):
            code = RESETS.get(event.code, f"code {event.code}")
            self._lose(Refused(code, event.reason or f"{self.peer} has reset the stream"))
        elif isinstance(event, Data):
            self._hear_data(event)

    def _hear_data(self, event: Data) -> None:
        if self._room is not None:
            self._room._hear(event)
        if self.number >= ROOM_STREAMS:
            return
        self._part += event.payload
        self._cost += len(event.payload) + FRAME_COST
        if len(self._part) > MOST_BYTES:
            self._machine.reset(self.number, OVERLOADED, f"a message is longer than {MOST_BYTES} bytes")
            self._lose(ConnectionError(f"a message of {self.peer} is longer than {MOST_BYTES} bytes"))
        elif event.more:
            if not self._inbox:  # or a message longer than the window would never come whole
                self._grant(self._cost)
                self._cost = 0
        else:
            message, cost = bytes(self._part), self._cost
            self._part, self._cost = bytearray(), 0
            if self._heard is None:
                self._inbox.append((message, cost))
            else:
                self._grant(cost)
                self._heard(message)

    def _lose(self, error: Exception) -> None:
        self._reset = self._reset or error
        self._client._streams.pop(self.number, None)


class Line(NamedTuple):
    """What somebody said in a room."""

    sequence: int
    sender: str
    data: bytes
    missed: int = 0
    """How many before it are lost: in a durable room only what it keeps no more."""


class Room:
    """A room that this client has joined; ``Client.join`` makes one.

    What was not heard, since the connection was lost or others spoke faster than this program reads, is read
    from the room's store: in a durable room each message comes once and in order, in another one ``missed``
    counts. A new session joins again by itself, once ``read`` or ``publish`` is called.
    """

    def __init__(self, client: Client, name: str, made: dict[str, Any]) -> None:
        self.name = name
        self.durable = True
        self._client, self._made = client, made
        self._stream: Stream | None = None
        self._is_entering = False
        self._gone: Exception | None = None  # why this client is not in the room any more
        self._source = self._own = 0  # this member's seat, and the number that it gave last
        self._next = 0  # the sequence that follows what waits in `_lines`
        self._known = 0  # the highest sequence that was told of
        self._before = 0  # the last one when this client came
        self._is_behind = False  # what follows has to be read from the store
        self._pending: dict[int, list[Any]] = {}  # by number: what was said, and what became of it
        self._names: dict[Any, str] = {}
        self._lines: deque[Line] = deque()

    def publish(self, data: bytes, timeout: float | None = None) -> int:
        """Say something to everybody in the room, this client included.

        Gives its sequence (of several that were stored at once that of the last) once it is stored, and 0 at
        once where the room is not durable. Raises ``ValueError`` for what is too long, and ``Refused``; timed
        out, it may be said all the same.
        """
        if len(data) > MOST_SAID:
            raise ValueError(f"{len(data)} bytes are too long for a room: {MOST_SAID} at most")
        with self._client._changed:
            what = f"{self.name} takes no more"
            self._wait(self._has_room, timeout, what)
            self._own += 1
            entry: list[Any] = [data, None]
            if self.durable:
                self._pending[self._own] = entry
            self._say(self._own, data)
            if not self.durable:
                return 0
            self._wait(lambda: entry[1] is not None, timeout, f"{self.name} has not stored it")
            if isinstance(entry[1], Exception):
                raise entry[1]
            return int(entry[1])

    def read(self, timeout: float | None = None) -> Line:
        """The next thing that somebody said. Raises ``OSError`` once this client is not in the room."""
        end = None if timeout is None else time.monotonic() + timeout
        with self._client._changed:
            while not self._lines:
                left = None if end is None else max(0.0, end - time.monotonic())
                self._wait(self._has_more, left, f"nobody spoke in {self.name}")
                if not self._lines:
                    self._read_on(left)
            return self._lines.popleft()

    def history(self, limit: int = 50) -> list[Line]:
        """What was said last in a durable room before this client joined, the oldest first."""
        after = max(0, self._before - limit)
        answer = self._client.control("read", room=self.name, after=after, limit=limit)
        return [self._line(row) for row in answer.get("messages") or ()]

    def leave(self) -> None:
        """Hear no more of it."""
        with self._client._changed:
            self._client._rooms.pop(self.name, None)
            if self._gone is None:
                self._gone = ConnectionAbortedError(f"the room {self.name} was left")
                self._client.control("leave", room=self.name)
            if self._stream is not None:
                self._client._machine.detach(self._stream.number)
                self._stream._lose(self._gone)

    # Being there

    def _wait(self, condition: Callable[[], Any], timeout: float | None, what: str) -> None:
        """Wait, and join again if the session was lost meanwhile."""
        end = None if timeout is None else time.monotonic() + timeout
        while not condition():
            left = None if end is None else max(0.0, end - time.monotonic())
            if self._gone is not None:
                raise self._gone
            if self._is_lost():
                self._enter(self._next - 1 if self.durable else "now", left)
            else:
                self._client._until(lambda: condition() or self._gone or self._is_lost(), left, what)

    def _is_lost(self) -> bool:
        return self._stream is None or self._stream._reset is not None

    def _has_room(self) -> bool:
        return self._stream is not None and self._stream._reset is None and not self._stream._outbox

    def _has_more(self) -> bool:
        return bool(self._lines) or (self._is_behind and not self._is_lost())

    def _enter(self, after: int | str, timeout: float | None) -> None:
        if self._is_entering:
            self._client._until(lambda: not self._is_entering, timeout, f"{self.name} was not joined")
            return
        self._is_entering = True
        try:
            self._client._ask(
                "join", {"room": self.name, "after": after, **self._made}, timeout, self._entered
            )
        except Refused as problem:
            if problem.code != "lost":
                self._gone = self._gone or problem
        finally:
            self._is_entering = False
            self._client._changed.notify_all()
        if self._gone is not None:
            raise self._gone

    def _entered(self, joined: dict[str, Any]) -> None:
        client, number, last = self._client, int(joined["stream"]), int(joined.get("last") or 0)
        client._machine.attach(number, joined["credit"])
        self._stream = client._streams[number] = Stream(client, number, self.name)
        self._stream._room, self._stream._accepted = self, True
        self.durable, self._source = bool(joined["durable"]), joined["source"]
        self._name_all(joined)
        if not self._next:
            self._next, self._before = int(joined.get("cursor", last)) + 1, last
        self._known = last
        self._is_behind = self._next <= last
        self._own = max(self._own, int(joined.get("published") or 0))
        for each, (data, _) in self._pending.items():  # the hub stores nothing twice
            self._say(each, data)

    def _say(self, number: int, data: bytes) -> None:
        if self._stream is not None:
            self._stream._queue(number.to_bytes(8, "big") + data)

    # What comes

    def _hear(self, event: Data) -> None:
        payload = event.payload
        if not event.shared and len(payload) == 16:
            number, sequence = struct.unpack(">QQ", payload)
            for each in [each for each in self._pending if each <= number]:
                self._pending.pop(each)[1] = sequence
        if not event.shared or len(payload) < 20:
            return
        source, sequence, _ = struct.unpack_from(">IQQ", payload)
        missed = sequence - self._next
        if missed < 0:
            return
        if self._is_behind or len(self._lines) >= MOST_LETTERS or (missed and self.durable):
            self._is_behind, self._known = True, max(self._known, sequence)
            return
        self._next = sequence + 1
        self._lines.append(Line(sequence, self._names.get(source, f"#{source}"), payload[20:], missed))

    def _read_on(self, timeout: float | None) -> None:
        """Read what follows from the store."""
        try:
            answer = self._client.control(
                "read", room=self.name, after=self._next - 1, limit=PAGE, timeout=timeout
            )
        except Refused as problem:
            if problem.code == "lost" or self._is_lost():  # the next session joins, and reads on
                return
            raise
        rows = [row for row in answer.get("messages") or () if row[0] >= self._next]
        for row in rows:
            line = self._line(row)
            self._lines.append(line._replace(missed=line.sequence - self._next))
            self._next = line.sequence + 1
        if not rows:  # what came before is kept no more
            self._next = max(
                self._next, int(answer.get("first") or 0), 0 if self.durable else self._known + 1
            )
        self._is_behind = bool(answer.get("behind")) or self._next <= self._known
        if self._is_behind and not rows:
            self._client._changed.wait(0.01)  # it is on its way into the store's view

    @staticmethod
    def _line(row: list[Any]) -> Line:
        sequence, _, _, name, _, body = row
        data = body.encode() if isinstance(body, str) else base64.b64decode(body["base64"])
        return Line(sequence, harmless(str(name)), data)

    def _was_told(self, event: dict[str, Any]) -> None:
        """An event of this room."""
        kind = event["type"]
        if kind == "room_behind":
            self._is_behind, self._known = True, max(self._known, int(event.get("sequence") or 0))
        elif kind == "room_refused":
            entry = self._pending.pop(event.get("sequence") or 0, [None, None])
            entry[1] = Refused(str(event.get("code")), str(event.get("message")))
        elif kind == "room_left":
            for each in event.get("members") or ():
                if each.get("source") == self._source and self._gone is None:
                    why = harmless(str(each.get("reason") or "left"))
                    self._gone = ConnectionAbortedError(f"not in the room {self.name} any more: {why}")
                    self._client._rooms.pop(self.name, None)
                self._names.pop(each.get("source"), None)
        else:
            self._name_all(event)

    def _name_all(self, event: dict[str, Any]) -> None:
        for each in event.get("members") or ():
            self._names[each.get("source")] = harmless(str(each.get("name")))


# The command line ---------------------------------------------------------------------------------


def _say(text: str, *, error: bool = False) -> None:
    print(text, file=sys.stderr if error else sys.stdout, flush=True)


def _chat(client: Client, room: Room | None) -> None:
    """Type lines: ``@bob hello`` to one client, anything else to the room."""

    def letters() -> None:
        while True:
            letter = client.receive()
            _say(f"{letter.sender}: {harmless(letter.data.decode('utf-8', 'replace'))}")

    def lines(room: Room) -> None:
        while True:
            line = room.read()
            if line.missed:
                _say(f"[{room.name}] {line.missed} messages are lost here", error=True)
            _say(f"[{room.name}] {line.sender}: {harmless(line.data.decode('utf-8', 'replace'))}")

    for work in [letters] if room is None else [letters, lambda: lines(room)]:
        threading.Thread(target=_until_ended, args=(client, work), daemon=True).start()
    for typed in sys.stdin:
        text = typed.rstrip("\r\n")
        if text in ("/quit", "/exit"):
            break
        try:
            if text == "/clients":
                _list(client)
            elif text.startswith("@"):
                peer, _, said = text[1:].partition(" ")
                _say(f"({client.message(peer, said, timeout=10.0)})")
            elif room is not None:
                room.publish(text.encode())
            elif text:
                _say("write '@NAME text' to a client; /clients lists them, /quit leaves", error=True)
        except (Refused, TimeoutError) as problem:
            _say(str(problem), error=True)


def _until_ended(client: Client, work: Callable[[], None]) -> None:
    try:
        work()
    except OSError as error:
        if not client._is_closing:
            _say(f"portable.py: {harmless(str(error))}", error=True)


def _list(client: Client) -> None:
    for each in client.clients(timeout=10.0):
        words = [str(each.get(key) if each.get(key) is not None else "-") for key in ("id", "name", "state")]
        _say(harmless("  ".join(words)))


def _parser() -> Any:
    import argparse  # the package imports this file, and needs no command line

    examples = """examples:
  python3 portable.py join tcp://127.0.0.1:7000 --name alice --room lobby
  python3 portable.py clients tcp://127.0.0.1:7000
  python3 portable.py message tcp://127.0.0.1:7000 dev7 'restart, please'
  python3 portable.py request 'tls://hub:7000?pin=sha256:...&invitation=jf_...' dev7 now --token-file hub
  python3 portable.py request 'tls://hub:7000?pin=sha256:...' dev7 now --token-file hub

An invitation is good for one time. The hub gives a token for it, which admits this client from then on: it is
kept in FILE with --token-file FILE, and printed without."""
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="portable.py", description="A client of a Jackfield hub.", epilog=examples, formatter_class=shape
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    helps = {
        "join": "stay there: type lines, see what comes", "clients": "list who is there",
        "message": "send a message, which waits if its client is absent",
        "request": "ask a client, and print its answer",
    }  # fmt: skip
    for command, help_ in helps.items():
        each = commands.add_parser(command, help=help_, description=help_)
        each.add_argument(
            "address",
            metavar="ADDRESS",
            help="tcp://host:port, tls://..., ws://..., unix:///path, or an invitation",
        )
        if command in ("message", "request"):
            each.add_argument("peer", metavar="CLIENT")
            each.add_argument("text", metavar="TEXT")
        if command == "join":
            each.add_argument("--room", help="speak in this room, which is made if there is none")
        each.add_argument("--name", help="what others know this client by")
        each.add_argument("--token", help="what admits this client")
        each.add_argument(
            "--token-file", metavar="FILE", help="holds the token; what comes for an invitation is kept there"
        )
        each.add_argument(
            "--insecure-token",
            action="store_true",
            help="show a token where everyone on the way could read it",
        )
        each.add_argument("--timeout", type=float, default=10.0, metavar="SECONDS")
    return parser


def _token_in(file: str | None) -> str | None:
    """The token in a file, which is made if there is none: one that cannot be is found out in time."""
    if file is None:
        return None
    with open(os.open(file, os.O_RDWR | os.O_CREAT, 0o600), encoding="utf-8") as found:
        return found.read().strip() or None


def _keep(token: str, chosen: Any) -> None:
    """Keep what the hub gave for the invitation; or say it, with how to come again."""
    import shlex

    why = "put it into a file, and come again with"
    if chosen.token_file is not None:
        try:
            with open(os.open(chosen.token_file, os.O_WRONLY | os.O_TRUNC), "w", encoding="utf-8") as kept:
                kept.write(token + "\n")
            os.chmod(chosen.token_file, 0o600)
        except OSError as error:
            why = f"it cannot be kept in {chosen.token_file} ({error.strerror}); {why}"
        else:
            _say(f"portable.py: the token for the invitation is kept in {chosen.token_file}", error=True)
            return
    where, _, query = chosen.address.partition("?")
    names = ("invitation", "token", "jf.invitation", "jf.token")
    left = "&".join(part for part in query.split("&") if part and part.partition("=")[0] not in names)
    address = shlex.quote(harmless(where + ("?" + left if left else "")))
    _say(f"portable.py: the invitation is used up; this token came for it: {harmless(token)}", error=True)
    _say(f"{why}: python3 portable.py {chosen.command} {address} ... --token-file FILE", error=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; its exit code: 0, 1 for a failure, 130 after Ctrl-C."""
    chosen = _parser().parse_args(arguments)
    token = None
    try:
        token = chosen.token or _token_in(chosen.token_file)
        with connect(
            chosen.address, name=chosen.name, token=token, timeout=chosen.timeout, services=(),
            insecure_token=chosen.insecure_token,
        ) as client:  # fmt: skip
            if client.token is not None:
                _keep(client.token, chosen)
            _run(client, chosen)
    except (OSError, ValueError) as error:
        is_kept = token is not None and token != chosen.token
        _say(f"portable.py: {harmless(_what_failed(error, chosen, is_kept=is_kept))}", error=True)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _what_failed(error: Exception, chosen: Any, *, is_kept: bool) -> str:
    if not isinstance(error, OSError):
        return str(error)
    where = error.filename or chosen.address.partition("?")[0]
    said = f"{where}: {error.strerror or error}"
    if is_kept and isinstance(error, Refused) and error.code in ("bad_token", "expired_token"):
        said += f"; the token is that of {chosen.token_file}: remove it to come with an invitation"
    return said


def _run(client: Client, chosen: Any) -> None:
    if chosen.command == "join":
        room = None
        if chosen.room is not None:
            room = client.join(chosen.room, create=True, timeout=chosen.timeout)
        _say(f"joined {chosen.address.partition('?')[0]} as {harmless(client.name)}", error=True)
        _chat(client, room)
    elif chosen.command == "clients":
        _list(client)
    elif chosen.command == "message":
        _say(client.message(chosen.peer, chosen.text, chosen.timeout))
    else:
        answer = client.request(chosen.peer, chosen.text, chosen.timeout).decode("utf-8", "replace")
        lines = (answer[:-1] if answer.endswith("\n") else answer).split("\n")
        _say("\n".join("\t".join(map(harmless, line.split("\t"))) for line in lines))


if __name__ == "__main__":
    sys.exit(main())
