"""A pcapng file that `pcapng.py` wrote in, records out. Wireshark may have filtered or saved it in between.

Pure, and hardened as `decoding` is: what is no packet of a recording is passed over, what is cut off is
told. Only the connections that a comment introduces are read: a capture of other programs is refused.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from . import packets, pcapng
from .decoding import NotARecording, sound
from .records import Client, Damaged, Data, Direction, Left, Lost, Opened, Record

LONGEST_BLOCK: Final = 1024 * 1024
_MISSING: Final = re.compile(
    r"jackfield: (\d{1,15}) records \((\d{1,18}) bytes\) are missing here: (.*)", re.DOTALL
)
_LEFT: Final = "jackfield left: "
_ROLE: Final = re.compile(r"jackfield recording of (.*); role (server|client)\.", re.DOTALL)
_SECTION_MAGIC: Final = b"\x0a\x0d\x0d\x0a"


class _Packet(NamedTuple):
    way: packets.Flow
    protocol: int
    flags: int  # of TCP
    data: bytes


class CaptureDecoder:
    """Reads one capture that comes in pieces: `feed` each, then `end`, as `Decoder` does."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._offset = 0
        self._order = ""  # of numbers, as struct spells it
        self._clients: dict[tuple[packets.Flow, int], Client] = {}
        self._ours = False

    def feed(self, data: bytes) -> list[tuple[int, Record]]:
        """The records of the blocks that are whole now, with the offsets of their blocks."""
        self._buffer += data
        found: list[tuple[int, Record]] = []
        at = 0
        while len(self._buffer) - at >= 12:
            if self._buffer[at : at + 4] == _SECTION_MAGIC:
                self._order = "<" if self._buffer[at + 8 : at + 12] == b"\x4d\x3c\x2b\x1a" else ">"
            elif not self._order:
                raise NotARecording(
                    "this is neither a recording nor a capture (pcapng) of one: it begins otherwise"
                )
            kind, length = struct.unpack_from(self._order + "II", self._buffer, at)
            if length < 12 or length % 4 or length > LONGEST_BLOCK:
                raise NotARecording(f"the capture is damaged at byte {self._offset + at}")
            if len(self._buffer) - at < length:
                break
            body = bytes(self._buffer[at + 8 : at + length - 4])
            found += [(self._offset + at, record) for record in self._block(kind, body)]
            at += length
        del self._buffer[:at]
        self._offset += at
        return found

    def end(self) -> list[tuple[int, Record]]:
        """The file ends here.

        Raises `NotARecording` for a capture in which no client of a recording was found.
        """
        if not self._ours:
            raise NotARecording("this capture was not made by jackfield")
        rest = len(self._buffer)
        return [(self._offset, Damaged(self._offset, rest, truncated=True))] if rest else []

    def _block(self, kind: int, body: bytes) -> Iterator[Record]:
        if kind == pcapng.SECTION and len(body) >= 16:
            for text in self._comments(body[16:]):
                match = _ROLE.match(text)
                if match is not None:
                    self._ours = True
                    yield Opened(0, "a capture", match[2], match[1])
        elif kind == pcapng.PACKET and len(body) >= 20:
            _, high, low, length, _ = struct.unpack_from(self._order + "IIIII", body)
            options = body[20 + (length + 3) // 4 * 4 :]
            yield from self._packet(high << 32 | low, body[20 : 20 + length], options)

    def _packet(self, time: int, raw: bytes, options: bytes) -> Iterator[Record]:
        packet = _parse(raw)
        if packet is None:
            return
        key = (packet.way, packet.protocol)
        more = False
        by = reason = ""
        for text in self._comments(options):
            if text.startswith(pcapng.CLIENT_MARK):
                client = _client(text[len(pcapng.CLIENT_MARK) :])
                if client is not None:
                    self._ours = True
                    self._clients[key] = self._clients[packet.way.reversed(), packet.protocol] = client
                    yield client
            elif text.startswith(_LEFT):
                reason = text[len(_LEFT) :]
            elif text.startswith(pcapng.BY_MARK):
                by = text[len(pcapng.BY_MARK) :]
            elif text == pcapng.MORE_MARK:
                more = True
            elif (match := _MISSING.fullmatch(text)) is not None:
                yield Lost(time, int(match[1]), int(match[2]), match[3])
        known = self._clients.get(key)
        if known is None:
            return
        if packet.protocol == packets.UDP or packet.data:
            if packet.protocol == packets.TCP:
                more = not packet.flags & packets.PUSH
            yield Data(time, known.ref, self._direction(options), packet.data, by, more)
        if reason:
            self._clients.pop(key, None)
            self._clients.pop((packet.way.reversed(), packet.protocol), None)
            yield Left(time, known.ref, reason)

    def _direction(self, options: bytes) -> Direction:
        for code, value in self._options(options):
            if code == pcapng.PACKET_FLAGS and len(value) == 4:
                flags = int(struct.unpack(self._order + "I", value)[0])
                return "out" if flags & 3 == pcapng.OUTBOUND else "in"
        return "in"

    def _comments(self, options: bytes) -> Iterator[str]:
        for code, value in self._options(options):
            if code == pcapng.COMMENT:
                yield value.decode("utf-8", "replace")

    def _options(self, options: bytes) -> Iterator[tuple[int, bytes]]:
        at = 0
        while at + 4 <= len(options):
            code, length = struct.unpack_from(self._order + "HH", options, at)
            if code == 0:
                return
            yield code, options[at + 4 : at + 4 + length]
            at += 4 + (length + 3) // 4 * 4


def _client(text: str) -> Client | None:
    try:
        facts: dict[str, Any] = json.loads(text)
        client = Client(**{"local_port": None, "remote_port": None, **facts})
    except (ValueError, TypeError, RecursionError):
        return None
    return client if sound(client) else None


def _parse(raw: bytes) -> _Packet | None:
    """A packet of ours; None for any other."""
    if len(raw) >= 28 and raw[0] == 0x45:
        source, destination, protocol, segment = raw[12:16], raw[16:20], raw[9], raw[20:]
    elif len(raw) >= 48 and raw[0] >> 4 == 6:
        source, destination, protocol, segment = raw[8:24], raw[24:40], raw[6], raw[40:]
    else:
        return None
    ports = struct.unpack_from("!HH", segment)
    way = packets.Flow(source, ports[0], destination, ports[1])
    if protocol == packets.UDP:
        return _Packet(way, protocol, 0, segment[8:])
    if protocol == packets.TCP and len(segment) >= 20:
        return _Packet(way, protocol, segment[13], segment[(segment[12] >> 4) * 4 :])
    return None
