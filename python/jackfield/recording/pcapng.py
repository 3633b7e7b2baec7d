"""Records in, the bytes of a pcapng file out: what Wireshark and tshark open.

Pure. Owns the blocks (draft-ietf-opsawg-pcapng) and how a client becomes a conversation. TCP and UDP
clients keep their addresses and ports. Everyone else gets addresses of loopback's 127.64.0.0/10, resolved
to names in the file: streams and packets with order (Unix, seqpacket, serial) become TCP, datagrams UDP, so
that "Follow Stream" shows them. The link type is raw IP.

Comments carry what packets cannot: the first packet of a connection has the client's record as JSON, the
last one why it ended, what was told has who told it, and what is missing is said at the next packet.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Final

from .packets import LONGEST_DATAGRAM, Conversation, Flow, flow, udp_packet
from .records import Client, Closed, Data, Left, Lost, Opened, Record

RAW_IP: Final = 101  # LINKTYPE_RAW
SECTION, INTERFACE, NAMES, STATISTICS, PACKET = 0x0A0D0D0A, 1, 4, 5, 6
COMMENT, HARDWARE, OS, PROGRAM = 1, 2, 3, 4
INTERFACE_NAME, INTERFACE_TEXT, RESOLUTION = 2, 3, 9
PACKET_FLAGS: Final = 2
INBOUND, OUTBOUND = 1, 2
DROPPED: Final = 5  # isb_ifdrop
CLIENT_MARK: Final = "jackfield client "  # what the comment with a client's record begins with
MORE_MARK: Final = "jackfield more"
BY_MARK: Final = "by "
FIRST_MADE_UP: Final = 0x7F400000  # 127.64.0.0; servers count from here, clients from the middle
FIRST_CLIENT: Final = 0x7F500000  # 127.80.0.0
_DATAGRAMS: Final = ("udp", "unix+dgram")


@dataclass(slots=True)
class _Speaker:
    """One client's conversation. `way` is from the client to the server."""

    client: Client
    way: Flow
    stream: Conversation | None
    name: str = ""
    number: int = 0
    announced: bool = False


class PcapngWriter:
    """Makes a capture of records.

    `feed` each, in order; `finish` gives the last block. Memory is per connection.
    """

    def __init__(self) -> None:
        self._speakers: dict[int, _Speaker] = {}
        self._servers: dict[str, bytes] = {}  # made-up addresses of the ends that have no IP address
        self._server_is_client = False  # `jackfield connect` recorded: the other end is the server
        self._missing: list[str] = []  # comments for the next packet
        self._lost = 0
        self._time = 0
        self._begun = False

    def feed(self, record: Record) -> bytes:
        """The blocks that a record becomes; a few kinds become none."""
        blocks = b"" if self._begun else self._begin(record)
        match record:
            case Client():
                self._time = record.time
                blocks += self._meet(record)
            case Data():
                self._time = record.time
                blocks += self._say(record)
            case Left():
                self._time = record.time
                blocks += self._leave(record)
            case Lost():
                self._lost += record.records
                missing = f"{record.records} records ({record.bytes} bytes) are missing here"
                self._missing.append(f"jackfield: {missing}: {record.reason}")
            case Closed(time=time):
                self._time = time
            case _:
                pass
        return blocks

    def finish(self) -> bytes:
        """How many records are missing, for the statistics that Wireshark shows."""
        if not self._begun:
            return self._begin(Opened(0))
        options = _option(DROPPED, struct.pack("<Q", self._lost)) + _option(0, b"")
        return _block(STATISTICS, struct.pack("<III", 0, *_split(self._time)) + options)

    def _begin(self, record: Record) -> bytes:
        self._begun = True
        opened = record if isinstance(record, Opened) else Opened(0)
        self._server_is_client = opened.role == "client"
        self._time = opened.time
        comment = (
            f"jackfield recording of {opened.target}; role {opened.role}. The messages are as they were "
            "recorded, the packets around them are made up."
        )
        options = _text(COMMENT, comment) + _text(PROGRAM, opened.program or "jackfield") + _option(0, b"")
        section = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + options
        interface = struct.pack("<HHI", RAW_IP, 0, 0)
        about = _text(INTERFACE_NAME, "jackfield") + _option(RESOLUTION, b"\x09") + _option(0, b"")
        return _block(SECTION, section) + _block(INTERFACE, interface + about)

    # ---------------------------------------------------------------- connections

    def _meet(self, client: Client) -> bytes:
        known = self._speakers.get(client.ref)
        if known is not None:
            known.client, known.announced = client, False  # a new name: at the next packet
            return self._resolve(known)
        way = self._way(client)
        stream = None
        if client.protocol not in _DATAGRAMS:
            stream = Conversation.begin(way, (client.ref * 0x9E3779B1) & 0xFFFFFFFF)
        speaker = self._speakers[client.ref] = _Speaker(client, way, stream)
        blocks = self._resolve(speaker)
        if stream is not None:
            for from_client, packet in stream.handshake():
                blocks += self._packet(client.time, speaker, from_client, packet)
        return blocks

    def _way(self, client: Client) -> Flow:
        remote = (client.remote_address, client.remote_port)
        local = (client.local_address, client.local_port)
        if remote[1] is not None and local[1] is not None:
            ends = ((remote[0], remote[1]), (local[0] or "0.0.0.0", local[1]))
            found = flow(*(reversed(ends) if self._server_is_client else ends))
            if found is not None:
                return found
        ours = client.local or client.protocol
        if ours not in self._servers:
            self._servers[ours] = (FIRST_MADE_UP + 1 + len(self._servers) % 0xFFFFF).to_bytes(4, "big")
        theirs = (FIRST_CLIENT + client.ref % 0xFFFFF).to_bytes(4, "big")
        way = Flow(theirs, 1024 + client.ref % 64000, self._servers[ours], 1)
        return way.reversed() if self._server_is_client else way

    def _resolve(self, speaker: _Speaker) -> bytes:
        """A block that gives made-up addresses their names."""
        ends = speaker.way.reversed() if self._server_is_client else speaker.way
        if (
            ends.source[0] != 127
            or not FIRST_CLIENT <= int.from_bytes(ends.source, "big") < FIRST_CLIENT + 0x100000
        ):
            return b""
        names = _name(ends.source, speaker.client.name) + _name(ends.destination, speaker.client.local)
        return _block(NAMES, names + struct.pack("<HH", 0, 0))

    # ---------------------------------------------------------------- packets

    def _say(self, record: Data) -> bytes:
        speaker = self._speakers.get(record.ref)
        if speaker is None:
            return b""  # its beginning is missing, and so are its addresses
        from_client = (record.direction == "in") != self._server_is_client
        by = f"{BY_MARK}{record.by}" if record.by else ""
        if speaker.stream is not None:
            packets = speaker.stream.data(from_client, record.data, more=record.more)
            return b"".join(
                self._packet(record.time, speaker, side, packet, by if side == from_client else "")
                for side, packet in packets
            )
        blocks = b""
        way = speaker.way if from_client else speaker.way.reversed()
        for start in range(0, max(1, len(record.data)), LONGEST_DATAGRAM):
            piece = record.data[start : start + LONGEST_DATAGRAM]
            more = record.more or start + LONGEST_DATAGRAM < len(record.data)
            speaker.number += 1
            packet = udp_packet(way, piece, speaker.number)
            blocks += self._packet(record.time, speaker, from_client, packet, by, MORE_MARK if more else "")
        return blocks

    def _leave(self, record: Left) -> bytes:
        speaker = self._speakers.pop(record.ref, None)
        if speaker is None or speaker.stream is None:
            return b""
        by_client = not record.reason.startswith("kicked")
        comments = [f"jackfield left: {record.reason}"]
        blocks = b""
        for from_client, packet in speaker.stream.end(by_client=by_client):
            blocks += self._packet(record.time, speaker, from_client, packet, *comments)
            comments = []
        return blocks

    def _packet(
        self, time: int, speaker: _Speaker, from_client: bool, packet: bytes, *comments: str
    ) -> bytes:
        said = [comment for comment in comments if comment]
        if not speaker.announced:
            speaker.announced = True
            facts = {name: value for name, value in asdict(speaker.client).items() if value is not None}
            said.insert(0, CLIENT_MARK + json.dumps(facts, ensure_ascii=True))
        if self._missing:
            said += self._missing
            self._missing = []
        inbound = from_client != self._server_is_client
        options = b"".join(_text(COMMENT, comment) for comment in said)
        options += _option(PACKET_FLAGS, struct.pack("<I", INBOUND if inbound else OUTBOUND)) + _option(
            0, b""
        )
        head = struct.pack("<IIIII", 0, *_split(time), len(packet), len(packet))
        return _block(PACKET, head + packet + bytes(-len(packet) % 4) + options)


def capture(records: Iterator[Record]) -> Iterator[bytes]:
    """A whole capture, block by block."""
    writer = PcapngWriter()
    for record in records:
        blocks = writer.feed(record)
        if blocks:
            yield blocks
    yield writer.finish()


def _split(time: int) -> tuple[int, int]:
    time = max(0, time)
    return time >> 32 & 0xFFFFFFFF, time & 0xFFFFFFFF


def _block(kind: int, body: bytes) -> bytes:
    length = struct.pack("<I", 12 + len(body))
    return struct.pack("<I", kind) + length + body + length


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)


def _text(code: int, text: str) -> bytes:
    return _option(code, text.encode("utf-8", "backslashreplace")[:60_000])


def _name(address: bytes, name: str) -> bytes:
    """A record of a name resolution block: an IPv4 address and one name, which has no spaces to be one."""
    value = address + "_".join(name.split()).encode("utf-8", "backslashreplace")[:250] + b"\0"
    return struct.pack("<HH", 1, len(value)) + value + bytes(-len(value) % 4)
