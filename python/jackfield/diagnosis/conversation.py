"""Talking over an open channel: the TLS handshake, and what the peer says first.

TLS is the standard library's, over a channel instead of a socket. Nothing a peer sends raises anything here:
it becomes an observation. Only a few kilobytes are read.
"""

from __future__ import annotations

import hashlib
import re
import ssl
import time
from collections.abc import Sequence
from typing import Literal, Protocol

from jackfield import Channel, EndOfStream, JackfieldError, TimedOut

from .certificate import read_certificate
from .observations import Answer, Certificate, Tls

_LINE_MAX = 8192
"""Bytes that the first line of an HTTP answer may take."""


class Stream(Protocol):
    """Either the channel itself or TLS over it."""

    async def send(self, data: bytes, /, timeout: float | None = None) -> object: ...

    async def receive(self, timeout: float | None = None) -> bytes: ...

    async def flush(self, timeout: float | None = None) -> object: ...


class TlsStream:
    """TLS over a channel without framing."""

    def __init__(self, channel: Channel, host: str, *, verify: bool) -> None:
        context = ssl.create_default_context()
        if not verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        self._channel = channel
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.session = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)

    async def handshake(self, timeout: float) -> None:
        """Raises ``ssl.SSLError``, ``TimedOut``, ``EndOfStream``, ``ChannelLost``."""
        end = time.monotonic() + timeout
        while True:
            try:
                self.session.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush(end)
                self._incoming.write(await self._channel.receive(_left(end)))
            except ssl.SSLError:
                await self._flush(end)  # the peer hears why
                raise
            else:
                await self._flush(end)
                return

    async def send(self, data: bytes, /, timeout: float | None = None) -> None:
        """Encrypt and queue."""
        self.session.write(data)
        await self._flush(time.monotonic() + (timeout or 10.0))

    async def flush(self, timeout: float | None = None) -> None:
        """Wait until all that was sent has left."""
        await self._channel.flush(timeout)

    async def receive(self, timeout: float | None = None) -> bytes:
        """The next decrypted bytes. Raises as ``handshake`` does."""
        end = time.monotonic() + (timeout or 10.0)
        while True:
            try:
                data = self.session.read(_LINE_MAX)
            except ssl.SSLWantReadError:
                await self._flush(end)
                self._incoming.write(await self._channel.receive(_left(end)))
                continue
            except ssl.SSLZeroReturnError:
                data = b""
            if not data:
                raise EndOfStream("the peer ended the TLS session")
            return data

    async def _flush(self, end: float) -> None:
        if self._outgoing.pending:
            await self._channel.send(self._outgoing.read(), _left(end))


async def start_tls(
    channel: Channel, host: str, *, verify: bool, timeout: float, pins: Sequence[str] = ()
) -> tuple[Tls, TlsStream | None]:
    """Lead a TLS handshake as a client; ``timeout`` in seconds. What went wrong is in the observation.

    With ``pins`` it is those certificates alone that are trusted.
    """
    begun = time.monotonic()

    def seen(problem: str = "", ended: Literal["closed", "reset", "silence", "alert"] | None = None) -> Tls:
        return Tls(time.monotonic() - begun, problem=problem, ended=ended)

    stream = TlsStream(channel, host, verify=verify)
    try:
        await stream.handshake(timeout)
    except ssl.SSLCertVerificationError as error:
        return seen(error.verify_message or str(error)), None
    except ssl.SSLError as error:
        return seen(_readable(error), "alert"), None
    except TimedOut:
        return seen(ended="silence"), None
    except EndOfStream:
        return seen(ended="closed"), None
    except JackfieldError as error:
        return seen(error.message, "reset"), None
    cipher = stream.session.cipher()
    der = stream.session.getpeercert(binary_form=True)
    fingerprint = f"sha256:{hashlib.sha256(der or b'').hexdigest()}"
    is_pinned = fingerprint in pins
    shown = Tls(
        time.monotonic() - begun,
        stream.session.version(),
        cipher[0] if cipher else None,
        verified=is_pinned if pins else verify,
        problem=f"it is {fingerprint}, and not the one of pin=" if pins and not is_pinned else "",
        certificate=_certificate(der),
    )
    return shown, stream if is_pinned or not pins else None


def _certificate(der: bytes | None) -> Certificate | None:
    try:
        return read_certificate(der) if der else None
    except ValueError:
        return None


def _readable(error: ssl.SSLError) -> str:
    """OpenSSL's reason without its file and line; one of them is common and misleading."""
    text = re.sub(r"^\[\w+\] *| *\(_ssl\.c:\d+\)$", "", str(error.args[-1]) if error.args else "")
    reason = (error.reason or text).replace("_", " ").lower()
    if error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
        return f"it does not speak TLS ({reason})"
    return reason


async def first_answer(
    stream: Stream, question: bytes, asked: str, *, wait: float, whole_line: bool = False
) -> Answer:
    """Send the question if there is one, and wait for the first that the peer says, for ``wait`` seconds;
    with ``whole_line`` for a whole line of it."""
    begun = time.monotonic()
    data = b""
    ended: Literal["closed", "reset", "silence"] | None = None
    first: float | None = None
    alert = ""
    try:
        if question:
            await stream.send(question, wait)
        while not data or (whole_line and b"\n" not in data and len(data) < _LINE_MAX):
            data += await stream.receive(_left(begun + wait))
            first = first or time.monotonic()
    except TimedOut:
        ended = "silence"
    except EndOfStream:
        ended = "closed" if await _left_in_order(stream) else "reset"
    except ssl.SSLError as error:
        ended, alert = "reset", _readable(error)
    except (JackfieldError, OSError):
        ended = "reset"
    elapsed = (first or time.monotonic()) - begun
    return Answer(elapsed, asked, data[:_LINE_MAX], None if data else ended, alert)


async def _left_in_order(stream: Stream) -> bool:
    """A reset that a send has met looks like an orderly end to the receiver after it."""
    try:
        await stream.flush(0.1)
    except TimedOut:
        return True
    except JackfieldError:
        return False
    return True


def http_request(host: str, path: str) -> bytes:
    """A question that every web server answers, and that changes nothing (RFC 9110, section 9.3.2)."""
    fields = f"Host: {host}\r\nUser-Agent: jackfield-check\r\nAccept: */*\r\nConnection: close\r\n"
    return f"HEAD {path} HTTP/1.1\r\n{fields}\r\n".encode("ascii", "backslashreplace")


def _left(end: float) -> float:
    """Seconds until then. Raises ``TimedOut`` behind it: a peer may say a byte again and again."""
    left = end - time.monotonic()
    if left <= 0:
        raise TimedOut("the peer has not come to an end in time")
    return left
