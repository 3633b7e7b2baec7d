"""What a client said, as the IP packets that it might have come in.

Pure. Owns headers and checksums of IPv4 (RFC 791), IPv6 (RFC 8200), TCP (RFC 9293) and UDP (RFC 768), and
the bookkeeping of one TCP conversation: sequence numbers that fit, a handshake, the end. What was recorded
are messages and not packets: where the packets were cut, and their acknowledgements, is made up; bytes,
order, direction and times are not.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, NamedTuple

TCP: Final = 6
UDP: Final = 17
SEGMENT: Final = 32 * 1024  # bytes of a message in one packet of a stream
LONGEST_DATAGRAM: Final = 65_507  # UDP over IPv4; the rest of a longer one goes into further packets
ACKNOWLEDGED_AFTER: Final = 1024 * 1024  # bytes of one direction, if the other one is silent
WINDOW_SCALE: Final = 14  # with a window of 65,535 that is 1 GiB: never full

FIN, SYN, PUSH, ACK = 0x01, 0x02, 0x08, 0x10


class Flow(NamedTuple):
    """One direction: packed addresses (4 or 16 bytes, both the same) and ports."""

    source: bytes
    source_port: int
    destination: bytes
    destination_port: int

    def reversed(self) -> Flow:
        return Flow(self.destination, self.destination_port, self.source, self.source_port)


def packed(address: str) -> bytes | None:
    """The bytes of an IP address, mapped ones as IPv4; None for what is none."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).packed


def flow(client: tuple[str, int], server: tuple[str, int]) -> Flow | None:
    """From the client to the server; None when these are no IP addresses."""
    source, destination = packed(client[0]), packed(server[0])
    if source is None or destination is None:
        return None
    if len(source) != len(destination):
        source, destination = _as_ipv6(source), _as_ipv6(destination)
    return Flow(source, client[1], destination, server[1])


def _as_ipv6(address: bytes) -> bytes:
    return address if len(address) == 16 else bytes(10) + b"\xff\xff" + address


def checksum(*parts: bytes) -> int:
    """The Internet checksum (RFC 1071) over parts of even length, but for the last."""
    # The sum of 16-bit words modulo 65535 is the whole as one number modulo 65535.
    total = 0
    for part in parts:
        total += int.from_bytes(part if len(part) % 2 == 0 else part + b"\0", "big") % 0xFFFF
    total %= 0xFFFF
    return 0xFFFF - total if total else 0


def ip_packet(way: Flow, protocol: int, segment: bytes, number: int) -> bytes:
    """The packet around a TCP or UDP segment; `number` is the identification of IPv4."""
    if len(way.source) == 16:
        head = struct.pack("!IHBB", 6 << 28, len(segment), protocol, 64)
        return head + way.source + way.destination + segment
    length = 20 + len(segment)
    head = struct.pack("!BBHHHBB", 0x45, 0, length, number & 0xFFFF, 0x4000, 64, protocol)
    both = way.source + way.destination
    return head + checksum(head, both).to_bytes(2, "big") + both + segment


def _pseudo_header(way: Flow, protocol: int, length: int) -> bytes:
    if len(way.source) == 16:
        return way.source + way.destination + struct.pack("!II", length, protocol)
    return way.source + way.destination + struct.pack("!HH", protocol, length)


def udp_packet(way: Flow, data: bytes, number: int) -> bytes:
    """A datagram."""
    length = 8 + len(data)
    ports = struct.pack("!HHH", way.source_port, way.destination_port, length)
    check = checksum(_pseudo_header(way, UDP, length), ports, data) or 0xFFFF
    return ip_packet(way, UDP, ports + check.to_bytes(2, "big") + data, number)


def tcp_packet(way: Flow, sequence: int, acknowledged: int, flags: int, data: bytes, number: int) -> bytes:
    """A segment; one with SYN announces the longest segment and the window's scale."""
    options = struct.pack("!BBHBBBx", 2, 4, SEGMENT, 3, 3, WINDOW_SCALE) if flags & SYN else b""
    words = 5 + len(options) // 4
    head = struct.pack(
        "!HHIIBBH",
        way.source_port,
        way.destination_port,
        sequence & 0xFFFFFFFF,
        acknowledged & 0xFFFFFFFF,
        words << 4,
        flags,
        0xFFFF,
    )
    length = words * 4 + len(data)
    check = checksum(_pseudo_header(way, TCP, length), head, options, data)
    return ip_packet(way, TCP, head + check.to_bytes(2, "big") + b"\0\0" + options + data, number)


@dataclass(slots=True)
class Conversation:
    """A TCP connection as it might have been.

    Each call gives the next packets, and whether the client sent them.
    """

    way: Flow  # from the client to the server
    sequence: list[int]  # the next number of the server's end, and of the client's
    number: int = 0
    unacknowledged: int = 0  # bytes of one direction since the other one sent something
    last_from_client: bool = False

    @classmethod
    def begin(cls, way: Flow, first: int) -> Conversation:
        """`first` is the client's initial sequence number."""
        return cls(way, [(first ^ 0x5A5A5A5A) & 0xFFFFFFFF, first & 0xFFFFFFFF])

    def handshake(self) -> Iterator[tuple[bool, bytes]]:
        """SYN, SYN-ACK, ACK."""
        yield True, self._packet(True, SYN, acknowledges=False)
        self.sequence[True] += 1
        yield False, self._packet(False, SYN | ACK)
        self.sequence[False] += 1
        yield True, self._packet(True, ACK)

    def data(self, from_client: bool, data: bytes, *, more: bool) -> Iterator[tuple[bool, bytes]]:
        """A message in segments.

        The last one has PSH unless more of it follows. An empty one has no packet.
        """
        for start in range(0, len(data), SEGMENT):
            piece = data[start : start + SEGMENT]
            last = start + SEGMENT >= len(data) and not more
            yield from_client, self._packet(from_client, ACK | (PUSH if last else 0), piece)
            self.sequence[from_client] += len(piece)
            if from_client != self.last_from_client:
                self.last_from_client, self.unacknowledged = from_client, 0
            self.unacknowledged += len(piece)
            if self.unacknowledged >= ACKNOWLEDGED_AFTER:
                self.unacknowledged = 0
                yield not from_client, self._packet(not from_client, ACK)

    def end(self, *, by_client: bool) -> Iterator[tuple[bool, bytes]]:
        """FIN-ACK both ways, and the last ACK."""
        for side in (by_client, not by_client):
            yield side, self._packet(side, FIN | ACK)
            self.sequence[side] += 1
        yield by_client, self._packet(by_client, ACK)

    def _packet(
        self, from_client: bool, flags: int, data: bytes = b"", *, acknowledges: bool = True
    ) -> bytes:
        way = self.way if from_client else self.way.reversed()
        self.number += 1
        acknowledged = self.sequence[not from_client] if acknowledges else 0
        return tcp_packet(way, self.sequence[from_client], acknowledged, flags, data, self.number)
