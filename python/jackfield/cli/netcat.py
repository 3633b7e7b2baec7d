"""Netcat's job with framing: `jackfield connect` and `jackfield listen`.

Owns the two directions between a channel and standard input and output. The end of the input is
passed on as half-close and the peer is read to its own end; neither direction waits for the other.
Without framing bytes go through as they come; with framing each input line is a message and each
message an output line.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jackfield
from jackfield import Address, Channel

from ..hub.display import hexdump
from ..hub.encodings import Encoding, find_encoding
from ..hub.text import line_ending, parse_duration
from .failures import say
from .loop import run
from .streams import CHUNK, Input, Output

if TYPE_CHECKING:
    from .tap import Tap

DATAGRAM = ("udp", "unix+dgram")
DATAGRAM_CHUNK = 16 * 1024  # input bytes in one datagram at most, as nc does it
DATAGRAM_PATIENCE = 1.0  # seconds without an answer after the input's end


@dataclass(frozen=True, slots=True)
class Manner:
    """How input becomes messages, how messages become output, and how long nothing may move."""

    framing: str | None = None
    as_hex: bool = False
    ending: bytes | None = None
    timeout: float | None = None
    verbose: bool = False
    encoding: Encoding | None = None
    record: str | None = None  # a file that both directions are recorded into

    @classmethod
    def from_options(
        cls,
        *,
        framing: str | None,
        as_hex: bool,
        eol: str | None,
        timeout: str | None,
        verbose: bool,
        encoding: str | None = None,
        record: str | None = None,
    ) -> Manner:
        ending = None if eol is None else line_ending(eol)
        patience = None if timeout is None else parse_duration(timeout)
        codec = None if encoding is None else find_encoding(encoding)
        return cls(framing, as_hex, ending, patience, verbose, codec, record)

    def options(self) -> dict[str, Any]:
        """Options for the channel."""
        return {} if self.framing is None else {"framing": self.framing}

    def tapping(self, role: str) -> contextlib.AbstractContextManager[Tap | None]:
        """The recording that was asked for, if any, while the command runs."""
        if self.record is None:
            return contextlib.nullcontext()
        from .tap import tapping

        return tapping(self.record, role)

    def splitter(self, *, framed: bool) -> Splitter:
        """What cuts input into messages."""
        return Splitter(framed=framed, ending=self.ending, encoding=self.encoding)

    def shown(self, *, framed: bool) -> Shown:
        """What makes output of messages."""
        return Shown(framed=framed, as_hex=self.as_hex, encoding=self.encoding)

    def framed(self, address: Address) -> bool:
        """Whether messages are lines on our side."""
        return (self.framing or address.option("framing") or "none") != "none"


class Splitter:
    """Input bytes in, what to send out. Pure. With an encoding the input is lines of UTF-8."""

    def __init__(self, *, framed: bool, ending: bytes | None, encoding: Encoding | None = None) -> None:
        self._encoding = encoding
        if encoding is not None and not framed and ending is None:
            ending = b"\n"
        self._by_line = framed or ending is not None
        self._ending = b"" if framed else ending or b""
        self._waiting = b""

    def feed(self, data: bytes) -> list[bytes]:
        if not self._by_line:
            return [data]
        *lines, self._waiting = (self._waiting + data).split(b"\n")
        return [self._encoded(line + self._ending) for line in lines]

    def end(self) -> list[bytes]:
        """What the input's last line was, when it had no end."""
        rest, self._waiting = self._waiting, b""
        return [self._encoded(rest + self._ending)] if rest else []

    def _encoded(self, line: bytes) -> bytes:
        if self._encoding is None:
            return line
        return self._encoding.encode(line.decode("utf-8", "surrogateescape"))


class Shown:
    """Messages in, output bytes out. Pure but for counting the offset of hex dumps."""

    def __init__(self, *, framed: bool, as_hex: bool, encoding: Encoding | None = None) -> None:
        self._decoder = None if encoding is None else encoding.incremental()
        self._framed = framed
        self._as_hex = as_hex
        self._offsets = {"<": 0, ">": 0}

    def received(self, messages: list[bytes]) -> bytes:
        if self._as_hex:
            return (
                self.dump("<", b"".join(messages))
                if not self._framed
                else b"".join(self.dump("<", message) for message in messages)
            )
        if self._decoder is not None:
            end = "\n" if self._framed else ""
            text = "".join([self._decoder.decode(message, self._framed) + end for message in messages])
            return text.encode("utf-8", "backslashreplace")
        if self._framed:
            return b"".join([message + b"\n" for message in messages])
        return messages[0] if len(messages) == 1 else b"".join(messages)

    def dump(self, direction: str, data: bytes) -> bytes:
        offset = self._offsets[direction]
        self._offsets[direction] += len(data)
        return "".join(f"{direction} {line}\n" for line in hexdump(data, offset)).encode()


class Pulse:
    """When something last moved. `quiet` returns once nothing has for a time."""

    def __init__(self) -> None:
        self.last = time.monotonic()

    def beat(self) -> None:
        self.last = time.monotonic()

    async def quiet(self, seconds: float) -> None:
        while (rest := self.last + seconds - time.monotonic()) > 0:  # noqa: ASYNC110 - a beat only moves the end
            await asyncio.sleep(rest)


def five_facts(channel: Channel) -> str:
    """Protocol, local address and port, remote address and port."""

    def end(word: str, address: Address) -> str:
        if address.port is not None:
            return f"{word} address {address.host or '*'}, {word} port {address.port}"
        return f"{word} address {address.path or 'none'}"

    return f"protocol {channel.protocol}, {end('local', channel.local)}, {end('remote', channel.peer)}"


def connect(words: list[str], manner: Manner) -> None:
    address = Address.from_command_line(*words)

    async def main() -> None:
        options = manner.options()
        if manner.timeout is not None:
            options["connect_timeout"] = manner.timeout
        with manner.tapping("client") as tap:
            channel = await jackfield.connect(address, **options)
            if manner.verbose:
                say(f"jackfield: connected: {five_facts(channel)}")
            chunk = DATAGRAM_CHUNK if channel.protocol in DATAGRAM else CHUNK
            taken = channel if tap is None else tap.channel(channel)
            await _converse(taken, manner, manner.framed(address), Input(0, chunk=chunk), Output(1))

    run(main)


def listen(words: list[str], manner: Manner, *, keep: bool) -> None:
    address = Address.from_command_line(*words)

    async def main() -> None:
        with manner.tapping("server") as tap:
            listener = await jackfield.listen(address, **manner.options())
            say(f"jackfield: listening on {listener.address.without_options()}")
            await _serve(listener, manner, manner.framed(address), tap, keep=keep)

    run(main)


async def _serve(
    listener: jackfield.Listener, manner: Manner, framed: bool, tap: Tap | None, *, keep: bool
) -> None:
    if keep:
        await _keep(listener, manner, framed, tap)
        return
    channel = await listener.accept()
    if channel.protocol not in DATAGRAM:  # there the listener's socket is the channel's, too
        await listener.close()
    if manner.verbose:
        say(f"jackfield: joined: {five_facts(channel)}")
    chunk = DATAGRAM_CHUNK if channel.protocol in DATAGRAM else CHUNK
    taken = channel if tap is None else tap.channel(channel)
    await _converse(taken, manner, framed, Input(0, chunk=chunk), Output(1))


async def _converse(channel: Channel, manner: Manner, framed: bool, source: Input, output: Output) -> None:
    """Both directions until both have ended; or the output's reader is gone, or nothing moves."""
    shown = manner.shown(framed=framed)
    pulse = Pulse()
    datagram = channel.protocol in DATAGRAM
    silence: asyncio.Task[None] | None = None
    sending = asyncio.create_task(_send(channel, manner, framed, source, output, shown, pulse))
    receiving = asyncio.create_task(_receive(channel, output, shown, pulse))
    tasks: set[asyncio.Task[None]] = {sending, receiving}
    if manner.timeout is not None:
        silence = asyncio.create_task(pulse.quiet(manner.timeout))
        tasks.add(silence)
    ended = False
    try:
        while True:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            tasks -= done
            if silence in done:
                break
            if receiving.done() and (sending.done() or sys.stdin.isatty()):
                break
            if sending.done() and datagram and silence is None:
                pulse.beat()
                silence = asyncio.create_task(pulse.quiet(DATAGRAM_PATIENCE))
                tasks.add(silence)
        await channel.flush(timeout=manner.timeout or 10.0)
        ended = True
    finally:
        started = [task for task in (sending, receiving, silence) if task is not None]
        for task in started:
            task.cancel()
        await asyncio.gather(*started, return_exceptions=True)
        if manner.verbose:
            figures = channel.statistics()
            say(f"jackfield: ended: sent {figures.bytes_out} bytes, received {figures.bytes_in}")
        if ended:
            with contextlib.suppress(jackfield.JackfieldError):
                await channel.close(timeout=1.0)
        else:
            channel.abort()


async def _send(
    channel: Channel, manner: Manner, framed: bool, source: Input, output: Output, shown: Shown, pulse: Pulse
) -> None:
    splitter = manner.splitter(framed=framed)
    while True:
        data = await source.read()
        for message in splitter.feed(data) if data else splitter.end():
            await channel.send(message)
            if manner.as_hex:
                await output.write(shown.dump(">", message))
        pulse.beat()
        if not data:
            break
    with contextlib.suppress(jackfield.NotSupported):  # datagrams have no end
        channel.send_eof()


async def _receive(channel: Channel, output: Output, shown: Shown, pulse: Pulse) -> None:
    with contextlib.suppress(jackfield.EndOfStream):
        while True:
            messages = await channel.receive_many()
            pulse.beat()
            await output.write(shown.received(messages))


# -------------------------------------------------------------------- many at once


async def _keep(listener: jackfield.Listener, manner: Manner, framed: bool, tap: Tap | None) -> None:
    """Accept for ever: everyone's words to the output, the input to everyone who is there."""
    output = Output(1)
    there: set[Channel] = set()
    broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def one(channel: Channel) -> None:
        if manner.verbose:
            say(f"jackfield: joined: {five_facts(channel)}")
        channel = channel if tap is None else tap.channel(channel)
        there.add(channel)
        reason = "ended"
        try:
            await _quiet_or(
                _receive(channel, output, manner.shown(framed=framed), pulse := Pulse()),
                pulse,
                manner,
            )
            await channel.close(timeout=5.0)
        except BrokenPipeError as problem:
            if not broken.done():
                broken.set_exception(problem)
        except (jackfield.JackfieldError, OSError) as problem:
            reason = str(problem)
            channel.abort()
        finally:
            there.discard(channel)
            if manner.verbose:
                say(f"jackfield: left: {channel.peer}: {reason}")

    async def to_one(channel: Channel, messages: list[bytes]) -> None:
        with contextlib.suppress(jackfield.JackfieldError):  # its own task tells of its end
            await channel.send_many(messages)

    async def to_everyone(messages: list[bytes]) -> None:
        await asyncio.gather(*(to_one(channel, messages) for channel in tuple(there)))

    async def spread() -> None:
        source, splitter = Input(0), manner.splitter(framed=framed)
        while data := await source.read():
            await to_everyone(splitter.feed(data))
        await to_everyone(splitter.end())

    spreading = asyncio.create_task(spread())
    try:
        async with listener.serving(one):
            await broken
    finally:
        spreading.cancel()
        await asyncio.gather(spreading, return_exceptions=True)


async def _quiet_or(work: Any, pulse: Pulse, manner: Manner) -> None:
    working = asyncio.ensure_future(work)
    waits: set[asyncio.Future[Any]] = {working}
    if manner.timeout is not None:
        waits.add(asyncio.ensure_future(pulse.quiet(manner.timeout)))
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
