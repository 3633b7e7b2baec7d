"""`--record FILE` of `jackfield connect` and `jackfield listen`: what passes through their channels, into a
file.

A recorded channel is used as any other; each message is in the file before the call that moved it returns.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any, cast

import jackfield
from jackfield import Address, Channel

from ..hub.roster import endpoint_text, version
from ..recording import Client, Data, Encoder, Left, Opened, Record
from .failures import say
from .recording_file import RecordingFile, format_of
from .views import counted


class Tap:
    """A recording of the channels of one command.

    `role` is `client` where it connects, `server` where it listens.
    """

    def __init__(self, path: str, role: str) -> None:
        self._file = RecordingFile.create(path, form=format_of(path, None), replace=False)
        self._encoder = Encoder(os.urandom(4))
        self._refs = 0
        self._append(Opened(time.time_ns(), f"jackfield {version()}", role, "all"), self._encoder.header())

    def channel(self, channel: Channel) -> Channel:
        """The channel, recorded from now on."""
        self._refs += 1
        local, peer = channel.local, channel.peer
        credentials = channel.credentials
        client = Client(
            time.time_ns(),
            self._refs,
            self._refs,
            f"{channel.protocol}-{self._refs}",
            channel.protocol,
            *_place(local),
            *_place(peer),
            "none" if channel.framing is None else str(channel.framing),
            None,
            None if credentials is None else credentials.pid,
            None if credentials is None else credentials.uid,
        )
        self._append(client)
        return cast(Channel, _Recorded(channel, self, self._refs))

    def told(self, ref: int, data: bytes) -> None:
        self._append(Data(time.time_ns(), ref, "out", data))

    def heard(self, ref: int, messages: Sequence[bytes]) -> None:
        now = time.time_ns()
        for data in messages:
            self._append(Data(now, ref, "in", data))

    def left(self, ref: int, reason: str) -> None:
        self._append(Left(time.time_ns(), ref, reason))

    def _append(self, record: Record, header: bytes = b"") -> None:
        size = len(record.data) if isinstance(record, Data) else 0
        self._file.write(header + self._encoder.encode(record), records=1, data=size)

    def close(self, reason: str) -> None:
        """End the recording, and say what is missing."""
        self._file.close(reason)
        if self._file.missing:
            lost = counted(self._file.missing, "record")
            say(f"jackfield: {lost} missing in {self._file.name}: the disk was full")


@contextlib.contextmanager
def tapping(path: str, role: str) -> Iterator[Tap]:
    """A tap into a new file at `path`."""
    tap = Tap(path, role)
    try:
        yield tap
    finally:
        tap.close("the command ended")


class _Recorded:
    """A channel whose messages are recorded; everything else is the channel's own."""

    def __init__(self, channel: Channel, tap: Tap, ref: int) -> None:
        self._channel = channel
        self._tap = tap
        self._ref = ref
        self._reason = ""
        self._left = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    async def send(self, message: bytes) -> None:
        await self._channel.send(message)
        self._tap.told(self._ref, message)

    async def send_many(self, messages: Sequence[bytes]) -> None:
        for message in messages:
            await self.send(message)

    async def receive_many(self) -> list[bytes]:
        try:
            messages = await self._channel.receive_many()
        except jackfield.EndOfStream:
            self._reason = "the peer ended"
            raise
        except jackfield.JackfieldError as problem:
            self._reason = str(problem)
            raise
        self._tap.heard(self._ref, messages)
        return messages

    async def close(self, timeout: float | None = 5.0) -> None:
        self._end("closed")
        await self._channel.close(timeout)

    def abort(self) -> None:
        self._end("aborted")
        self._channel.abort()

    def _end(self, reason: str) -> None:
        if not self._left:
            self._left = True
            self._tap.left(self._ref, self._reason or reason)


def _place(address: Address) -> tuple[str, int | None]:
    if address.port is not None:
        return address.host or "*", address.port
    return endpoint_text(address), None
