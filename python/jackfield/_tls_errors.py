"""Why TLS failed, in words: the handshake, a certificate, a record, the end.

The engine gives a cause and facts; names and subjects among them are the other end's words, so they are shown
quoted.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from jackfield._causes import Cause
from jackfield._error_classes import (
    CertificateRejected,
    ChannelLost,
    ConnectTimedOut,
    HandshakeFailed,
    JackfieldError,
    TimedOut,
)
from jackfield._life_errors import counted, note_loss
from jackfield._recognise import recognise, show

if TYPE_CHECKING:
    from jackfield._failure import Failure

_OF_CERTIFICATES = frozenset(
    {
        Cause.CERTIFICATE_EXPIRED,
        Cause.CERTIFICATE_NOT_YET_VALID,
        Cause.WRONG_NAME,
        Cause.UNKNOWN_ISSUER,
        Cause.BAD_CERTIFICATE,
        Cause.PIN_MISMATCH,
    }
)

_OF_BEGINNINGS = frozenset({Cause.NO_SHARED_VERSION, Cause.NO_SHARED_CIPHER})

_SHOWN = 200
"""Characters that a sentence shows of the other end's words."""


def handshake_failed(failure: Failure) -> JackfieldError:
    """The error for a connection whose handshake failed: ``failure.error.tls`` has the engine's facts."""
    facts: Mapping[str, object] = getattr(failure.error, "tls", {})
    cause = Cause(str(facts["cause"]))
    said, hint = _words(cause, facts)
    text = f"{failure.start}: {said}{failure.tried}"
    if cause is Cause.HANDSHAKE_TIMEOUT:
        return ConnectTimedOut(text, hint=hint, cause=cause)
    if cause in _OF_CERTIFICATES and "fingerprint" in facts:
        return _rejected(text, hint, cause, facts)
    error = HandshakeFailed(text, hint=hint, cause=cause)
    speech = recognise(_beginning(facts))
    error.speaks = speech.protocol if speech is not None else None
    return error


def newcomer_failed(peer: str, facts: Mapping[str, object]) -> JackfieldError:
    """The error for a listener's client whose handshake failed."""
    cause = Cause(str(facts["cause"]))
    said, hint = _words(cause, facts)
    text = f"the TLS handshake with {peer} failed: {said}"
    if cause in _OF_CERTIFICATES and "fingerprint" in facts:
        return _rejected(text, hint, cause, facts)
    return HandshakeFailed(text, hint=hint, cause=cause)


def _rejected(text: str, hint: str | None, cause: Cause, facts: Mapping[str, object]) -> CertificateRejected:
    error = CertificateRejected(text, hint=hint, cause=cause)
    error.fingerprint = str(facts["fingerprint"])
    error.expected = str(facts["expected"]) if "expected" in facts else None
    error.names = tuple(filter(None, str(facts.get("names", "")).split(", ")))
    return error


def broken(channel: str, whom: str, facts: Mapping[str, object]) -> JackfieldError:
    """The error for a channel whose TLS broke after the handshake."""
    cause = Cause(str(facts.get("tls_cause", "tls_protocol")))
    if cause in _OF_BEGINNINGS and "alert" in facts:
        cause = Cause.REFUSED_BY_PEER  # such as of a renegotiation: what was in common is settled
    said, hint = _words(cause, facts)
    error = ChannelLost(f"{channel} is lost: {said}{counted(facts)}", hint=hint, cause=cause)
    note_loss(error, facts)
    return error


def late(timeout: float | None, *, heard: bool) -> TimedOut:
    """Connecting ran out of time in the handshake."""
    how = "the server stopped in the middle of it" if heard else "the server accepted, and said nothing"
    within = "" if timeout is None else f" within {timeout:.3g} s"
    return TimedOut(f"the TLS handshake did not come about{within}: {how}", cause=Cause.HANDSHAKE_TIMEOUT)


def _words(cause: Cause, facts: Mapping[str, object]) -> tuple[str, str | None]:
    """What happened, and what to try."""
    said = _quoted(facts.get("said", ""))
    if cause is Cause.HANDSHAKE_TIMEOUT:
        return said, "check that the other end speaks TLS at that port, and that its program runs"
    if cause is Cause.HANDSHAKE_RATE:
        return said, "if all of them are wanted, raise handshake_rate= (of a hub's listener: connect_rate=)"
    if cause is Cause.NOT_TLS:
        return _not_tls(facts)
    if cause in _OF_CERTIFICATES:
        return _certificate(cause, facts, said)
    words, hint = _WORDS[cause]
    alert = f" (alert {facts['alert']})" if "alert" in facts else ""
    return words + alert + (f": {said}" if cause in _WITH_DETAIL and not alert else ""), hint


def _not_tls(facts: Mapping[str, object]) -> tuple[str, str | None]:
    beginning = _beginning(facts)
    speech = recognise(beginning)
    if not beginning:
        return "the other end does not speak TLS", "write tcp:// if it is not encrypted"
    if speech is not None and speech.protocol == "TLS":
        return f"the other end's TLS is damaged from the start: it began with {show(beginning)}", _LOOK
    text = f"the other end does not speak TLS: it began with {show(beginning)}"
    if speech is None:
        return text, "write tcp:// if it is not encrypted, and check the port"
    what = "text" if speech.protocol == "text" else speech.what
    return f"{text}, which is {what}", "write tcp:// for what is not encrypted, and check the port"


def _beginning(facts: Mapping[str, object]) -> bytes:
    found = facts.get("beginning", b"")
    return found if isinstance(found, bytes) else b""


def _certificate(cause: Cause, facts: Mapping[str, object], said: str) -> tuple[str, str | None]:
    names, subject = _quoted(facts.get("names", "")), _quoted(facts.get("subject", ""))
    fingerprint = str(facts.get("fingerprint", ""))
    match cause:
        case Cause.CERTIFICATE_EXPIRED:
            hint = "renew it, or check this machine's clock with `timedatectl`"
            return f"the certificate has expired on {_day(facts.get('not_after'))}", hint
        case Cause.CERTIFICATE_NOT_YET_VALID:
            hint = "check this machine's clock with `timedatectl`"
            return f"the certificate is valid from {_day(facts.get('not_before'))} on", hint
        case Cause.WRONG_NAME:
            if not fingerprint:
                return (
                    "the server does not know the name that was asked for",
                    "say its name with server_name=",
                )
            expected = _quoted(facts.get("expected", "that name"))
            return (
                f"the certificate is not for {expected}: it is for {names or 'no name at all'}",
                "connect by one of these names, or say which is meant with server_name=",
            )
        case Cause.UNKNOWN_ISSUER:
            return (
                "no authority that is trusted here has signed the certificate of "
                f"{subject or 'the other end'}"
                f" (issuer {_quoted(facts.get('issuer', '')) or 'unknown'})",
                f"name its authority with ca=FILE, or, if you know it, pin={fingerprint}",
            )
        case Cause.PIN_MISMATCH:
            return (
                f"the certificate has another fingerprint than the pinned one: it is {fingerprint}, "
                f"and pinned is {facts.get('expected', '')}",
                "if the other end has a new certificate and you can make sure of that, pin the new one",
            )
    return f"the certificate cannot be used: {said}", "have a new one made"


def _day(seconds: object) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(int(str(seconds))))
    except (ValueError, OverflowError, OSError):
        return "an unknown day"


def _quoted(text: object) -> str:
    """The other end's words, harmless on a terminal."""
    shown = "".join(character if character.isprintable() else "?" for character in str(text))
    return shown if len(shown) <= _SHOWN else shown[:_SHOWN] + " ..."


_LOOK = "look at the log of the other end"
_WITH_DETAIL = frozenset(
    {Cause.TLS_PROTOCOL, Cause.DAMAGED_RECORD, Cause.NO_SHARED_CIPHER, Cause.REFUSED_BY_PEER}
)

_WORDS: dict[Cause, tuple[str, str | None]] = {
    Cause.NO_SHARED_VERSION: (
        "the two ends have no version of TLS in common; spoken here are 1.3 and, unless tls_min=1.3, 1.2",
        "update the other end, or leave tls_min= out",
    ),
    Cause.NO_SHARED_CIPHER: (
        "the two ends have no cipher suite or key exchange in common",
        "let the other end use AES-GCM or ChaCha20-Poly1305 with X25519, P-256 or P-384",
    ),
    Cause.NO_SHARED_ALPN: (
        "the two ends have no application protocol in common",
        "give both ends one with alpn=, or leave it out",
    ),
    Cause.CERTIFICATE_REQUIRED: (
        "the server wants a certificate of its clients, and none was shown",
        "give one with cert=FILE and key=FILE",
    ),
    Cause.CERTIFICATE_REFUSED: ("the other end does not accept our certificate", _LOOK),
    Cause.REFUSED_BY_PEER: ("the other end has ended TLS", _LOOK),
    Cause.CLOSED_IN_HANDSHAKE: (
        "the other end has closed in the middle of the TLS handshake",
        "check that it speaks TLS at that port, and look at its log",
    ),
    Cause.TLS_PROTOCOL: ("the other end broke the rules of TLS", _LOOK),
    Cause.DAMAGED_RECORD: ("a TLS record is damaged: it was changed on its way, or is none", None),
    Cause.TRUNCATED: (
        "it ended without the end of TLS (close_notify), so that what came last may be missing",
        "the other end's program crashed or does not end TLS, or somebody cut the connection",
    ),
    Cause.KEYS_USED_UP: ("its keys have encrypted as much as they may", "connect anew, with TLS 1.3"),
}
