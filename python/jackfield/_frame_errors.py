"""What is wrong with a frame, in words: which byte, what should stand there, what the peer seems to speak."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from jackfield._error_classes import (
    FramingError,
    InvalidFrame,
    JackfieldError,
    MessageTooLarge,
    TruncatedFrame,
)
from jackfield._recognise import Speech, recognise, show

if TYPE_CHECKING:
    from jackfield._errors import EngineFacts


def too_large(facts: EngineFacts) -> JackfieldError:
    """A message over the limit: ours, or one that the peer has announced or begun."""
    size = f"a message of {facts.size} bytes" if facts.size is not None else "a message"
    limit = f"the limit of {facts.limit} bytes" if facts.limit is not None else "the limit"
    if facts.errno == errno.EMSGSIZE:
        hint = "send it in parts, use a stream (tcp, unix), or raise send_buffer= on a Unix packet socket"
        return MessageTooLarge(f"{size} does not fit into one packet of {facts.channel}", hint=hint)
    if facts.beginning is None and facts.operation is not None and "send" in facts.operation:
        hint = "raise max_message= on both ends"
        return MessageTooLarge(f"{size} is over {limit} of {facts.channel}", hint=hint)
    where = f" at byte {facts.start} of the stream" if facts.start is not None else ""
    message = f"{facts.whom} began {size}{where}, which is over {limit}"
    if facts.beginning is None:
        hint = "check that both ends use the same framing, or raise max_message="
        return MessageTooLarge(message, hint=hint)
    return _with_evidence(
        MessageTooLarge, message, facts, "check that both ends use the same framing, or raise max_message="
    )


def invalid(facts: EngineFacts) -> JackfieldError:
    """A byte that cannot stand where it stands."""
    where = f" at byte {facts.position} of the stream" if facts.position is not None else ""
    said = facts.message or "these bytes do not fit the framing"
    message = f"{facts.whom} sent an invalid frame{where}: {said}"
    return _with_evidence(InvalidFrame, message, facts, "check that both ends use the same framing")


def unsendable(facts: EngineFacts) -> JackfieldError:
    """Our own message, which the framing cannot carry."""
    said = facts.message or "its framing cannot carry these bytes"
    hint = "choose a framing that can carry it"
    return InvalidFrame(f"nothing was sent to {facts.whom}: {said}", hint=hint)


def truncated(facts: EngineFacts) -> JackfieldError:
    """The stream ended inside a frame."""
    came = f" after {facts.size} bytes" if facts.size is not None else ""
    of = f" of {facts.limit}" if facts.size is not None and facts.limit is not None else ""
    message = f"{facts.whom} ended the stream inside a frame{came}{of}"
    return _with_evidence(TruncatedFrame, message, facts, "its program ended early, or uses another framing")


def _with_evidence(kind: type[FramingError], message: str, facts: EngineFacts, hint: str) -> JackfieldError:
    """The error with the frame's first bytes, and with what they look like.

    Only the first bytes of a stream say what is spoken: in the middle, text is only text.
    """
    beginning = facts.beginning or b""
    speech: Speech | None = recognise(beginning) if not facts.start else None
    if beginning:
        message += f"; the frame begins with {show(beginning)}"
    if speech is not None:
        message += f", which is {speech.what}" if speech.protocol != "text" else ", which is text"
    error = kind(message, hint=speech.hint if speech is not None else hint)
    error.beginning = beginning
    error.speaks = speech.protocol if speech is not None else None
    return error
