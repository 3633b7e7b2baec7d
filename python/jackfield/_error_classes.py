"""Every error that Jackfield raises, as classes.

Rules: one root; each class also inherits the built-in that a caller would catch; facts are attributes, and
``str()`` is one plain sentence with evidence and a next step. A fact that is not known is ``None``. Errors
can be pickled with all their facts. Which class is picked, and its words, is decided in ``_errors`` (native
engine) and ``_os_errors`` (operating system).
"""

from __future__ import annotations

import errno as errno_names
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jackfield._address import Address
    from jackfield._causes import Cause
    from jackfield._holders import Holder


@dataclass(frozen=True)
class Attempt:
    """One try of a connect: a name may have several addresses, and an error lists what each said."""

    address: Address
    """The address that was tried, with the host as a number."""
    error: BaseException
    """Why it failed."""
    elapsed: float | None = None
    """Seconds from the start of this attempt to its failure."""

    def __str__(self) -> str:
        number = getattr(self.error, "errno", None)
        if isinstance(self.error, TimeoutError):
            said = "no answer"
        elif isinstance(number, int) and number in errno_names.errorcode:
            said = _ERRNO_WORDS.get(number, errno_names.errorcode[number])
        else:
            said = str(self.error) or type(self.error).__name__
        offender = getattr(self.error, "offender", None)
        if offender is not None and offender != self.address.host:
            said += f" by {offender}"
        after = "" if self.elapsed is None else f" after {self.elapsed:.3g} s"
        return f"{self.address.endpoint}: {said}{after}"


_LONG = 300
"""Characters of an invalid text that an error shows."""

_ERRNO_WORDS = {
    errno_names.ECONNREFUSED: "refused",
    errno_names.ETIMEDOUT: "no answer",
    errno_names.EHOSTUNREACH: "host unreachable",
    errno_names.ENETUNREACH: "no route",
    errno_names.EADDRNOTAVAIL: "no local address for it",
    errno_names.EACCES: "not permitted",
    errno_names.EPERM: "not permitted",
    errno_names.ENOENT: "no such file",
}


@dataclass(frozen=True)
class NameServerAnswer:
    """What one name server said about a name that did not resolve."""

    server: str
    """Its address, from /etc/resolv.conf."""
    name: str
    """The full name that it was asked for."""
    said: str | None
    """``NXDOMAIN``, ``SERVFAIL``, ``REFUSED``, ``no error``, ``unreachable: ...``; None for silence."""
    addresses: tuple[str, ...]
    """The addresses that it knows."""
    elapsed: float
    """Seconds that it took, or was waited for."""

    def __str__(self) -> str:
        if self.said is None:
            return f"the name server {self.server} was silent for {self.elapsed:.2g} s"
        if self.said.startswith("unreachable"):
            return f"the name server {self.server} is {self.said}"
        knows = "no address" if self.said == "no error" and not self.addresses else self.said
        knows = " ".join(self.addresses) or knows
        return f"the name server {self.server} answered {knows} for {self.name}"


def _restore(
    kind: type[JackfieldError], args: tuple[object, ...], facts: dict[str, Any], number: int | None
) -> JackfieldError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(facts)
    error.errno = number
    return error


class JackfieldError(Exception):
    """The root of every error of Jackfield.

    ``message`` says what failed and why, ``hint`` what to try; ``str()`` is both.
    """

    message: str
    """What failed, where, and why; without the hint."""
    hint: str | None
    """What to try or to write instead."""
    address: Address | None
    """The address that the caller named."""
    attempts: tuple[Attempt, ...]
    """What was tried, in order, when a name resolved to several addresses."""
    local: Address | None
    """Our end of the channel."""
    peer: Address | None
    """The other end of the channel."""
    stage: str | None
    """How far it came: "resolve", "bind", "listen", "connect", "receive", "send" ..."""
    errno: int | None
    """The operating system's error number; negative for name resolution (EAI_*)."""
    offender: str | None
    """The host that said no, where the network tells it."""
    icmp: tuple[int, int] | None
    """Type and code of the ICMP message that said no (RFC 792; of ICMPv6 over IPv6, RFC 4443)."""
    cause: Cause | None
    """What happened, in one word."""

    def __init__(
        self,
        message: str = "",
        *,
        hint: str | None = None,
        address: Address | None = None,
        attempts: Iterable[Attempt] = (),
        local: Address | None = None,
        peer: Address | None = None,
        stage: str | None = None,
        errno: int | None = None,
        offender: str | None = None,
        icmp: tuple[int, int] | None = None,
        cause: Cause | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.address = address
        self.attempts = tuple(attempts)
        self.local = local
        self.peer = peer
        self.stage = stage
        self.errno = errno
        self.offender = offender
        self.icmp = icmp
        self.cause = cause

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, dict(self.__dict__), self.errno)


# What was written wrongly -------------------------------------------------------------------------


def _excerpt(text: str) -> str:
    """The text; of one that would fill a screen, both its ends."""
    return text if len(text) <= _LONG else f"{text[: _LONG // 2]}...{text[-_LONG // 2 :]}"


class _InvalidText(JackfieldError, ValueError):
    """Text that is not in its grammar; ``position`` is where, counted in characters from 0."""

    what = "text"
    text: str
    position: int

    def __init__(self, text: str, position: int, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.text = text
        self.position = position

    def __str__(self) -> str:
        where = f" (at character {self.position + 1})" if self.text else ""
        advice = f"; {_excerpt(self.hint)}" if self.hint else ""
        return f"invalid {self.what} {_excerpt(self.text)!r}: {_excerpt(self.message)}{where}{advice}"

    @property
    def marked(self) -> str:
        """Two lines: the text, and a caret below the character that is wrong."""
        shown = (
            self.text.encode("ascii", "backslashreplace").decode()
            if not self.text.isprintable()
            else self.text
        )
        return f"{shown}\n{' ' * self.position}^"


class InvalidAddress(_InvalidText):
    """An address that cannot be read; raised by ``Address.parse`` and everything that takes an address."""

    what = "address"


class InvalidFraming(_InvalidText):
    """A framing that cannot be read, such as ``u33`` or ``fixed:`` without a size."""

    what = "framing"


class InvalidOption(JackfieldError, ValueError):
    """An option that does not exist, or a value that it cannot take.

    ``name`` and ``value`` are as given; ``hint`` names the closest option or the form of the value.
    """

    name: str
    value: object

    def __init__(
        self,
        name: str,
        value: object,
        message: str,
        hint: str | None = None,
        *,
        address: Address | None = None,
    ) -> None:
        super().__init__(message, hint=hint, address=address)
        self.name = name
        self.value = value

    def __str__(self) -> str:
        given = self.name if self.value in ("", None) else f"{self.name}={self.value}"
        where = f" of {self.address}" if self.address is not None else ""
        advice = f"; {self.hint}" if self.hint else ""
        return f"invalid option {given}{where}: {self.message}{advice}"


# What did not come about --------------------------------------------------------------------------


class ConnectFailed(JackfieldError, OSError):
    """No channel came about; the subclasses say which of the usual ways it failed."""

    servers: tuple[NameServerAnswer, ...] = ()
    """What the name servers said, where a name did not resolve."""


class ConnectRefused(ConnectFailed, ConnectionRefusedError):
    """The host answered that nothing listens there; also a stale Unix socket file."""


class ConnectTimedOut(ConnectFailed, TimeoutError):
    """Nothing answered in time."""


class HandshakeFailed(ConnectFailed):
    """The connection came about, and the TLS handshake failed; ``cause`` says why."""

    speaks: str | None = None
    """What the other end seems to speak instead of TLS: "HTTP", "SSH" ...; None if that cannot be told."""


class CertificateRejected(HandshakeFailed):
    """The other end's certificate is not to be trusted; ``cause`` says why."""

    fingerprint: str | None = None
    """That of the certificate: ``sha256:`` and 64 digits."""
    expected: str | None = None
    """The pinned fingerprints, or the name, that it should have had."""
    names: tuple[str, ...] = ()
    """The names that it is for."""


class HostUnreachable(ConnectFailed):
    """No way there: no route, a router or a filter said no, or no such host on the local link."""


class NameNotResolved(ConnectFailed):
    """The host name has no address, or no name server answered; ``errno`` is the EAI_* number."""


class ListenFailed(JackfieldError, OSError):
    """No listener came about, for none of the reasons that have their own class."""


class AdoptFailed(JackfieldError, OSError):
    """A descriptor cannot become a channel or listener; it stays the caller's, open as it was."""


class AddressInUse(JackfieldError, OSError):
    """Somebody holds the address already; ``holders`` are the processes, as far as we may see them."""

    holders: tuple[Holder, ...] = ()


class AddressNotAvailable(JackfieldError, OSError):
    """This machine does not have the address to bind, or no local port is free."""


class AccessDenied(JackfieldError, PermissionError):
    """The operating system does not permit it; ``hint`` says what to grant."""


class TooManyOpenFiles(JackfieldError, OSError):
    """The limit on open files is reached; ``limit`` is its value."""

    limit: int | None = None


# What ended a channel, or what one call met -------------------------------------------------------


class ChannelClosed(JackfieldError):
    """This side has closed or aborted the channel before, and it was used again."""


class EndOfStream(JackfieldError, EOFError):
    """The peer has ended its sending side in order, and every message before has been handed out."""


class ChannelLost(JackfieldError, ConnectionResetError):
    """The world ended the channel: a reset, a vanished peer, a dead network.

    What became of the messages that were queued: those of ``messages_out`` that are not ``unknown`` were
    acknowledged by the peer's kernel, which does not say that its program read them.
    """

    certainly_unsent: int | None = None
    """Messages of which no byte was handed to this machine's kernel: the peer has seen none of them."""
    unknown: int | None = None
    """Messages that the kernel took, whole or in part, and that the peer's kernel did not acknowledge whole:
    they may have arrived, or not."""


class PeerVanished(ChannelLost):
    """The peer's machine, or the way to it, is gone: it answers neither data nor probes."""

    silent: float | None = None
    """Seconds in which nothing was heard of it."""
    unanswered: int | None = None
    """Retransmissions and probes that it did not answer."""
    unacknowledged: int | None = None
    """Bytes that it did not acknowledge."""


class FramingError(JackfieldError, ValueError):
    """The bytes do not fit the framing: either the peer speaks another one, or it is broken."""

    position: int | None = None
    """Bytes from the start of the stream to the fault; to the frame's start if no single byte is wrong."""
    beginning: bytes = b""
    """The first bytes of the frame as the peer sent them, 32 at most."""
    speaks: str | None = None
    """What the peer seems to speak: "TLS", "HTTP", "SSH" ...; None if that cannot be told."""


class MessageTooLarge(FramingError):
    """A message of ``size`` bytes is over ``limit`` bytes (``max_message``, or the transport's own)."""

    size: int | None = None
    limit: int | None = None


class InvalidFrame(FramingError):
    """Bytes that no frame can begin or go on with."""


class TruncatedFrame(FramingError):
    """The stream ended inside a frame; ``size`` bytes of it had come of ``limit``, where known."""

    size: int | None = None
    limit: int | None = None


class ProtocolViolation(JackfieldError, ValueError):
    """A native client broke a rule of the Jackfield protocol, and its connection has ended."""

    code: str = ""
    """Which one, in the protocol's words: ``bad_magic``, ``bad_frame``, ``too_big``, ``stream_state`` ..."""


class DescriptorsLost(JackfieldError, OSError):
    """A message came, and some of the descriptors that were sent with it did not; the rest is here."""

    data: bytes
    """The message."""
    fds: tuple[int, ...]
    """The descriptors that came; the caller's to close."""

    def __init__(
        self, message: str = "", *, hint: str | None = None, data: bytes = b"", fds: tuple[int, ...] = ()
    ) -> None:
        super().__init__(message, hint=hint, stage="receive_fds")
        self.data = data
        self.fds = fds


class QueueFull(JackfieldError):
    """The queue is above its high-water mark of ``limit`` bytes, and the message was not queued."""

    size: int | None = None
    limit: int | None = None


class TimedOut(JackfieldError, TimeoutError):
    """A wait ended after ``timeout`` seconds; nothing is lost and the channel goes on."""

    timeout: float | None = None


class PeerStalled(TimedOut):
    """A send, flush or close ran out of time because the peer lives and does not read."""

    stalled: float | None = None
    """Seconds since this machine's kernel took something for it last."""
    waiting: int | None = None
    """Bytes that wait for it, here and in the kernel."""


class AlreadyWaiting(JackfieldError, RuntimeError):
    """Another coroutine is waiting in the same call of this channel; one at a time."""


class ChannelBusy(JackfieldError, RuntimeError):
    """The channel holds bytes, or waits for something, that the call would lose; it goes on unchanged."""


class NotSupported(JackfieldError):
    """This transport cannot do that."""
