"""What a hub or a peer says no to. Words of theirs are made harmless for terminals here, once."""

from __future__ import annotations

from typing import Any

from jackfield import ChannelLost, ConnectFailed, JackfieldError, portable


class HubRefused(ConnectFailed, PermissionError):
    """The hub did not let this client in, or ended its session; ``code`` is one of docs/protocol.md."""

    code: str

    def __init__(self, message: str, *, code: str = "unknown", **facts: Any) -> None:
        super().__init__(message, **facts)
        self.code = code


class RequestRefused(JackfieldError):
    """The hub answered a control request with an error; ``code`` says which."""

    code: str

    def __init__(self, message: str, *, code: str = "unknown", **facts: Any) -> None:
        super().__init__(message, **facts)
        self.code = code


class PeerRefused(ConnectFailed):
    """A stream did not come about; ``code`` is ``no_such_peer``, ``no_such_service``, ``refused`` ..."""

    code: str

    def __init__(self, message: str, *, code: str = "unknown", **facts: Any) -> None:
        super().__init__(message, **facts)
        self.code = code


class SessionLost(ChannelLost):
    """The session with the hub is gone, with its streams and all that waited for an answer.

    What was asked may have been done, or not.
    """


def reset_word(code: int) -> str:
    """What a RESET's code is called."""
    return portable.RESETS.get(code, f"code {code}")


def hub_refused(code: str, message: str, hint: str | None, where: object) -> HubRefused:
    """The hub's ``error`` as an exception."""
    code, message = portable.harmless(code), portable.harmless(message)
    hint = None if hint is None else portable.harmless(hint)
    return HubRefused(f"the hub at {where} refuses: {message} ({code})", code=code, hint=hint)


def request_refused(op: str, answer: dict[str, Any]) -> RequestRefused:
    """The answer ``error`` to a control request as an exception."""
    words = {name: answer.get(name) for name in ("code", "message", "hint")}
    code, message, hint = (
        portable.harmless(word) if isinstance(word, str) else "" for word in words.values()
    )
    return RequestRefused(
        f"the hub refuses {op}: {message or 'it gave no reason'} ({code})", code=code, hint=hint or None
    )


def peer_refused(peer: object, service: str, code: int, reason: str) -> PeerRefused:
    """A RESET in answer to OPEN as an exception."""
    word = reset_word(code)
    why = portable.harmless(reason) or word.replace("_", " ")
    return PeerRefused(f"no stream for {service} to {peer}: {why} ({word})", code=word, hint=_HINTS.get(word))


_HINTS = {
    "no_such_peer": "clients() tells who is there",
    "no_such_service": "clients() tells its services; it answers questions within answering()",
    "peer_gone": "it left at that moment: open again when it is back",
}
