"""Errors: every class, and the two factories that pick one and write its words.

``from_engine`` serves the native engine (what happened on a channel), ``from_os_error`` everything that opens
an endpoint (what the operating system said). Both always return an error and never raise.
"""

from __future__ import annotations

import errno as errno_names
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from jackfield._error_classes import (
    AccessDenied,
    AddressInUse,
    AddressNotAvailable,
    AdoptFailed,
    AlreadyWaiting,
    Attempt,
    CertificateRejected,
    ChannelBusy,
    ChannelClosed,
    ChannelLost,
    ConnectFailed,
    ConnectRefused,
    ConnectTimedOut,
    DescriptorsLost,
    EndOfStream,
    FramingError,
    HandshakeFailed,
    HostUnreachable,
    InvalidAddress,
    InvalidFrame,
    InvalidFraming,
    InvalidOption,
    JackfieldError,
    ListenFailed,
    MessageTooLarge,
    NameNotResolved,
    NameServerAnswer,
    NotSupported,
    PeerStalled,
    PeerVanished,
    ProtocolViolation,
    QueueFull,
    TimedOut,
    TooManyOpenFiles,
    TruncatedFrame,
)
from jackfield._frame_errors import invalid, too_large, truncated, unsendable
from jackfield._life_errors import counted, note_loss, stalled, vanished
from jackfield._os_errors import from_os_error
from jackfield._path_mtu import known_path_mtu
from jackfield._routes import refuses
from jackfield._tls_errors import broken, late
from jackfield._verdicts import gather, judge

if TYPE_CHECKING:
    from jackfield._address import Address

__all__ = [
    "AccessDenied",
    "AddressInUse",
    "AddressNotAvailable",
    "AdoptFailed",
    "AlreadyWaiting",
    "Attempt",
    "CertificateRejected",
    "ChannelBusy",
    "ChannelClosed",
    "ChannelLost",
    "ConnectFailed",
    "ConnectRefused",
    "ConnectTimedOut",
    "DescriptorsLost",
    "EndOfStream",
    "FramingError",
    "HandshakeFailed",
    "HostUnreachable",
    "InvalidAddress",
    "InvalidFrame",
    "InvalidFraming",
    "InvalidOption",
    "JackfieldError",
    "ListenFailed",
    "MessageTooLarge",
    "NameNotResolved",
    "NameServerAnswer",
    "NotSupported",
    "PeerStalled",
    "PeerVanished",
    "ProtocolViolation",
    "QueueFull",
    "TimedOut",
    "TooManyOpenFiles",
    "TruncatedFrame",
    "from_engine",
    "from_os_error",
]


class EngineFacts:
    """What the engine knows, each fact of its type or None."""

    def __init__(self, facts: Mapping[str, object]) -> None:
        self.all = facts
        self.local: Address | None = facts.get("local")  # type: ignore[assignment]
        self.peer: Address | None = facts.get("peer")  # type: ignore[assignment]
        self.protocol = _text(facts.get("protocol"))
        self.message = _text(facts.get("message"))
        self.operation = _text(facts.get("operation"))
        self.errno = _integer(facts.get("errno"))
        self.limit = _integer(facts.get("limit"))
        self.size = _integer(facts.get("size"))
        self.position = _integer(facts.get("position"))
        self.start = _integer(facts.get("start"))
        beginning = facts.get("beginning")
        self.beginning = beginning if isinstance(beginning, bytes) else None
        self.offender = _text(facts.get("offender"))
        kind, code = _integer(facts.get("icmp_type")), _integer(facts.get("icmp_code"))
        self.icmp = None if kind is None or code is None else (kind, code)
        timeout = facts.get("timeout")
        self.timeout = float(timeout) if isinstance(timeout, (int, float)) else None

    @property
    def channel(self) -> str:
        """The channel for people: ``the tcp channel 127.0.0.1:7000 -> 127.0.0.1:40000``."""
        protocol = f"{self.protocol} " if self.protocol else ""
        ends = [end.endpoint for end in (self.local, self.peer) if end is not None and not end.is_unnamed]
        ends = ends[:1] if self.protocol == "serial" else ends
        return f"the {protocol}channel {' -> '.join(ends)}" if ends else f"the {protocol}channel"

    @property
    def whom(self) -> str:
        """The other end for people."""
        if self.peer is None or self.peer.is_unnamed:
            return "the peer"
        return f"the peer {self.peer.endpoint}"


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def from_engine(kind: str, facts: Mapping[str, object]) -> JackfieldError:
    """The error for what happened on a channel.

    ``kind`` is one of closed, end, lost, vanished, stalled, tls, too_large, invalid_frame, truncated,
    queue_full, timed_out, already_waiting, busy, not_supported, violation. ``facts`` may have protocol,
    local, peer (Address), errno, message, limit, size, position (bytes), timeout (seconds) and operation
    ("receive", "send" ...), and what ``_life_errors`` and ``_tls_errors`` read; each may be missing or None.
    """
    known = EngineFacts(facts)
    writer = _WRITERS.get(kind)
    error = writer(known) if writer else JackfieldError(known.message or f"{known.channel}: {kind}")
    error.local = known.local
    error.peer = known.peer
    error.stage = known.operation
    error.errno = known.errno
    error.offender, error.icmp = known.offender, known.icmp
    if isinstance(error, ChannelLost):
        note_loss(error, facts)
    for name in ("size", "limit", "position", "timeout"):
        if hasattr(type(error), name):
            setattr(error, name, getattr(known, name))
    return error


def _closed(facts: EngineFacts) -> JackfieldError:
    doing = f"; {facts.operation}() came after that" if facts.operation else ""
    if facts.message:
        return ChannelClosed(f"{facts.channel}: {facts.message}" if facts.protocol else facts.message)
    return ChannelClosed(f"{facts.channel} has been closed or aborted on this side{doing}")


def _end(facts: EngineFacts) -> JackfieldError:
    if facts.message:
        return EndOfStream(f"{facts.channel}: {facts.message}")
    return EndOfStream(f"{facts.whom} has ended its side, and every message before that was received")


def _not_sent(facts: EngineFacts) -> JackfieldError | None:
    """Why the kernel did not take a datagram, as far as it is about that datagram alone."""
    if facts.protocol != "udp" or facts.peer is None:
        return None
    to, host = facts.peer.endpoint, facts.peer.host or ""
    if facts.errno == errno_names.EACCES and facts.icmp is None and not refuses(host):
        hint = "open the channel or endpoint with broadcast=yes"
        return AccessDenied(f"nothing was sent to {to}: it is a broadcast address", hint=hint)
    if facts.errno != errno_names.EMSGSIZE:
        return None
    limit = known_path_mtu(facts.peer)
    if limit is None:
        return MessageTooLarge(f"a datagram to {to} is longer than its way takes in one packet")
    longest = limit - (48 if ":" in host else 28)
    facts.limit = longest
    return MessageTooLarge(
        f"a datagram to {to} is longer than its way takes in one packet: the path MTU is {limit} bytes",
        hint=f"send at most {longest} bytes at a time, or let them be divided with mtu_discover=dont",
    )


def _lost(facts: EngineFacts) -> JackfieldError:
    not_sent = _not_sent(facts)
    if not_sent is not None:
        return not_sent
    if facts.protocol == "udp" and facts.peer is not None and facts.peer.host:
        told = _not_delivered(facts, facts.peer.host, facts.peer.port or 0)
        if told is not None:
            return told
    said, hint = _LOST.get(facts.errno or 0, ("", None))
    if facts.protocol == "serial":
        said, hint = _UNPLUGGED.get(facts.errno or 0, (said, hint))
    if not said:
        said = facts.message or (os.strerror(facts.errno) if facts.errno else "the connection broke")
    return ChannelLost(f"{facts.channel} is lost: {said}{counted(facts.all)}", hint=hint)


def _vanished(facts: EngineFacts) -> JackfieldError:
    return vanished(facts.channel, facts.all)


def _tls(facts: EngineFacts) -> JackfieldError:
    return broken(facts.channel, facts.whom, facts.all)


def _stalled(facts: EngineFacts) -> JackfieldError:
    return stalled(facts.channel, facts.operation, facts.all)


def _not_delivered(facts: EngineFacts, host: str, port: int) -> JackfieldError | None:
    """A datagram was refused on its way, or did not leave; the channel goes on."""
    evidence = gather(
        protocol="udp", host=host, port=port, errno=facts.errno, icmp=facts.icmp, offender=facts.offender
    )
    verdict = judge(evidence)
    if verdict is None:
        return None
    message = f"a datagram of {facts.channel} is lost: {verdict.said}"
    return ChannelLost(message, hint=verdict.hint, cause=verdict.cause)


_LOST: dict[int, tuple[str, str | None]] = {
    errno_names.ECONNRESET: (
        "the peer reset the connection: its program aborted, crashed, or closed without reading everything",
        "look at the log of the other end",
    ),
    errno_names.EPIPE: ("the peer has closed and reads no more", "look at the log of the other end"),
    errno_names.ETIMEDOUT: (
        "the peer vanished, and answers neither data nor keepalive probes",
        "check that host's power and cable, and the network in between",
    ),
    errno_names.EHOSTUNREACH: ("no way to the host is left", "check the network in between"),
    errno_names.ENETUNREACH: ("this machine has no route to it any more", "look at `ip route` and `ip link`"),
    errno_names.ENETDOWN: ("the network interface is down", "look at `ip link`"),
    errno_names.ECONNABORTED: ("this machine's kernel aborted it", None),
    errno_names.ECONNREFUSED: ("nothing reads at the other end", "start the program at the other end"),
    errno_names.ENOTCONN: ("it is no longer connected", None),
}


_UNPLUGGED = dict.fromkeys(
    (errno_names.EIO, errno_names.ENXIO, errno_names.ENODEV),
    (
        "the device has gone: it was unplugged, switched off, or its driver has hung up",
        "plug it in again; with reconnect=Backoff() the channel waits for it",
    ),
)
"""What a serial line says."""


def _queue_full(facts: EngineFacts) -> JackfieldError:
    hint = "wait with send(), raise high_water=, or choose another when_full="
    if facts.message:
        return QueueFull(f"nothing was queued: {facts.message}", hint=hint)
    waits = f"{facts.size} bytes wait, " if facts.size is not None else ""
    limit = f" ({waits}the high-water mark is {facts.limit})" if facts.limit is not None else ""
    return QueueFull(
        f"the send queue of {facts.channel} is full{limit}; the message was not queued", hint=hint
    )


_TIMED_OUT = {
    "receive": "no message came",
    "receive_urgent": "no urgent data came",
    "send": "the send queue did not empty below its high-water mark",
    "flush": "the queued bytes did not leave",
    "accept": "no client came",
    "close": "the queued bytes did not leave",
}


def _timed_out(facts: EngineFacts) -> JackfieldError:
    within = f" within {facts.timeout:g} s" if facts.timeout is not None else " in time"
    operation = facts.operation or ""
    if "heard" in facts.all:
        return late(facts.timeout, heard=facts.all["heard"] == "yes")
    said = facts.message or _TIMED_OUT.get(operation) or _TIMED_OUT.get(operation.partition("_")[0])
    if said is None:
        said = f"{operation}() did not finish" if operation else "the call did not finish"
    return TimedOut(f"{said}{within} on {facts.channel}")


def _accept_failed(facts: EngineFacts) -> JackfieldError:
    number = facts.errno or 0
    failure = OSError(number, os.strerror(number))
    if facts.local is None or facts.local.is_unnamed:
        return JackfieldError(f"a listener cannot accept: {failure.strerror}", errno=number, stage="accept")
    return from_os_error(failure, stage="accept", address=facts.local)


def _already_waiting(facts: EngineFacts) -> JackfieldError:
    operation = f"{facts.operation}()" if facts.operation else "this call"
    hint = "let one task receive and hand the messages on"
    if facts.operation and not facts.operation.startswith("receive"):
        hint = "await the first call before the next"
    return AlreadyWaiting(
        f"another coroutine is already waiting in {operation} of {facts.channel}", hint=hint
    )


def _busy(facts: EngineFacts) -> JackfieldError:
    what = f"{facts.operation}()" if facts.operation else "this"
    return ChannelBusy(f"{facts.channel} cannot do {what} now: {facts.message or 'it is in use'}")


def _not_supported(facts: EngineFacts) -> JackfieldError:
    what = f"{facts.operation}()" if facts.operation else "this"
    said = f": {facts.message}" if facts.message else ""
    return NotSupported(f"{facts.channel} cannot do {what}{said}")


def _violation(facts: EngineFacts) -> JackfieldError:
    code, hint = _text(facts.all.get("code")) or "", _text(facts.all.get("hint"))
    error = ProtocolViolation(f"{facts.channel} was ended: {facts.message} ({code})", hint=hint)
    error.code = code
    return error


_WRITERS: dict[str, Callable[[EngineFacts], JackfieldError]] = {
    "closed": _closed,
    "end": _end,
    "lost": _lost,
    "vanished": _vanished,
    "stalled": _stalled,
    "tls": _tls,
    "too_large": too_large,
    "invalid_frame": invalid,
    "unsendable": unsendable,
    "truncated": truncated,
    "queue_full": _queue_full,
    "timed_out": _timed_out,
    "accept_failed": _accept_failed,
    "already_waiting": _already_waiting,
    "busy": _busy,
    "not_supported": _not_supported,
    "violation": _violation,
}
