"""Captures made of recordings, read by the real tshark: the same bytes, times, order and directions."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackfield.recording import Client, Closed, Damaged, Data, Left, Lost, NotARecording, Opened, Record, read
from jackfield.recording.capture import CaptureDecoder
from jackfield.recording.packets import ACKNOWLEDGED_AFTER, Conversation, Flow, checksum, flow
from jackfield.recording.pcapng import capture

NOW = 1_795_000_000_123_456_789
SECOND = 1_000_000_000
OPENED = Opened(NOW, "jackfield 0.1", "server", "all")
TCP4 = Client(NOW, 1, 1, "dev1", "tcp", "127.0.0.1", 7000, "127.0.0.1", 40122)
TCP6 = Client(NOW, 2, 2, "six", "tcp", "::1", 7000, "::1", 40123)
UDP4 = Client(NOW, 3, 3, "udp-3", "udp", "127.0.0.1", 7000, "10.1.2.3", 40124)
UDP6 = Client(NOW, 4, 4, "udp-4", "udp", "fe80::1", 7000, "fe80::2%eth0", 40125)
UNIX = Client(NOW, 5, 5, "local app", "unix", "/run/hub.sock", None, "pid:77", None, pid=77, uid=0)
PACKET = Client(NOW, 6, 6, "packets", "unix+seqpacket", "@hub", None, "unnamed", None)
DGRAM = Client(NOW, 7, 7, "dgrams", "unix+dgram", "/run/d.sock", None, "/run/me.sock", None)
SERIAL = Client(NOW, 8, 8, "plc", "serial", "serial", None, "/dev/ttyUSB0", None, "gap:20ms")
STREAMS = (TCP4, TCP6, UNIX, PACKET, SERIAL)
EVERYONE = (TCP4, TCP6, UDP4, UDP6, UNIX, PACKET, DGRAM, SERIAL)
DIRECTIONS = {"in": "0x00000001", "out": "0x00000002"}
CHECKED = ["-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"]


@pytest.fixture
def tshark(peer_program: Callable[[str], str], tmp_path: Path) -> Callable[..., list[list[str]]]:
    """``tshark(records, fields...)``: what tshark reads of a capture, a list of fields for each packet."""
    program = peer_program("tshark")

    def run(records: list[Record] | Path, *fields: str, options: list[str] | None = None) -> list[list[str]]:
        path = records if isinstance(records, Path) else tmp_path / "made.pcapng"
        if not isinstance(records, Path):
            path.write_bytes(b"".join(capture(iter(records))))
        wanted = [word for field in fields for word in ("-e", field)]
        shown = ["-T", "fields", "-E", "separator=|", "-E", "occurrence=a", *wanted] if fields else []
        done = subprocess.run(
            [program, "-n", "-r", str(path), *CHECKED, *(options or []), *shown],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert "cut short" not in done.stderr
        return [line.split("|") for line in done.stdout.splitlines()]

    return run


def conversation(client: Client) -> list[Record]:
    """Something in both directions, the beginning and the end of one client."""
    return [
        client,
        Data(NOW + 1, client.ref, "in", b"hello from " + client.name.encode()),
        Data(NOW + 1 * SECOND + 2, client.ref, "out", b"\x00\xff answer", "pid:12"),
        Data(NOW + 2 * SECOND + 3, client.ref, "in", bytes(range(256)) * 3),
    ]


@pytest.mark.parametrize("client", EVERYONE, ids=lambda client: client.name)
def test_tshark_reads_the_same_bytes_at_the_same_times(
    client: Client, tshark: Callable[..., list[list[str]]]
) -> None:
    records = [OPENED, *conversation(client), Left(NOW + 3 * SECOND, client.ref, "gone")]
    rows = tshark(
        records, "frame.time_epoch", "tcp.payload", "udp.payload", "frame.packet_flags_direction",
        "tcp.checksum.status", "udp.checksum.status", "ip.checksum.status",
    )  # fmt: skip
    said = [(row[0], row[1] or row[2], row[3]) for row in rows if row[1] or row[2]]
    expected = [
        (f"{each.time // SECOND}.{each.time % SECOND:09}", each.data.hex(), DIRECTIONS[each.direction])
        for each in records
        if isinstance(each, Data)
    ]
    assert said == expected
    assert all(status in ("", "1") for row in rows for status in row[4:])
    stream = "tcp" if client in STREAMS else "udp"
    followed = tshark(records, options=["-q", "-z", f"follow,{stream},raw,0"])
    text = [line[0] for line in followed]
    assert [line.strip() for line in text[6:-1]] == [
        each.data.hex() for each in records if isinstance(each, Data)
    ]
    assert [line.startswith("\t") for line in text[6:-1]] == [False, True, False]


def test_tshark_finds_nothing_wrong_in_any_stream(tshark: Callable[..., list[list[str]]]) -> None:
    everyone = sorted(
        (record for client in EVERYONE for record in conversation(client)), key=lambda r: r.time
    )  # type: ignore[union-attr, return-value]
    ended = [Left(NOW + 3 * SECOND, client.ref, "kicked by pid:1") for client in STREAMS]
    rows = tshark(
        [OPENED, *everyone, *ended, Closed(NOW + 4 * SECOND, "Ctrl-C")],
        "tcp.analysis.flags",
        "tcp.stream",
        "_ws.malformed",
    )
    assert {row[0] for row in rows} == {""} == {row[2] for row in rows}
    assert len({row[1] for row in rows if row[1]}) == len(STREAMS)


def test_long_messages_are_several_packets_and_one_stream(tshark: Callable[..., list[list[str]]]) -> None:
    long = os.urandom(64 * 1024)
    records: list[Record] = [OPENED, TCP4, Data(NOW + 5, 1, "in", long), Data(NOW + 6, 1, "out", long[::-1])]
    rows = tshark(records, "tcp.payload", "frame.time_epoch", "tcp.flags.push")
    said = [row for row in rows if row[0]]
    assert [(len(row[0]) // 2, row[2]) for row in said] == [(32768, "0"), (32768, "1")] * 2
    assert "".join(row[0] for row in said) == (long + long[::-1]).hex()
    assert [row[1][-3:] for row in said] == ["794"] * 2 + ["795"] * 2


def test_a_datagram_longer_than_udp_takes_is_several(
    tshark: Callable[..., list[list[str]]], tmp_path: Path
) -> None:
    long = os.urandom(150_000)
    records: list[Record] = [OPENED, DGRAM, Data(NOW + 5, 7, "in", long), Data(NOW + 6, 7, "in", b"")]
    rows = tshark(records, "udp.payload", "udp.length")
    assert bytes.fromhex("".join(row[0] for row in rows)) == long
    assert rows[-1][1] == "8"
    found = [record for record in read(tmp_path / "made.pcapng") if isinstance(record, Data)]
    assert [record.more for record in found] == [True, True, False, False]


def test_made_up_addresses_have_the_names(tshark: Callable[..., list[list[str]]]) -> None:
    rows = tshark([OPENED, *conversation(UNIX)], "ip.src_host", "ip.dst_host", options=["-N", "n"])
    assert {tuple(row) for row in rows} == {("local_app", "/run/hub.sock"), ("/run/hub.sock", "local_app")}


def test_comments_say_what_packets_cannot(tshark: Callable[..., list[list[str]]]) -> None:
    records: list[Record] = [
        OPENED, TCP4, Lost(NOW + 1, 12, 345, "the reader was slow"),
        Data(NOW + 2, 1, "out", b"x", "pid:9"), Left(NOW + 3, 1, "kicked by pid:9"),
    ]  # fmt: skip
    comments = [row[0] for row in tshark(records, "frame.comment") if row[0]]
    assert comments[0].startswith(
        'jackfield client {"time": 1795000000123456789, "ref": 1, "id": 1, "name": "dev1"'
    )
    assert comments[1:] == [
        "by pid:9,jackfield: 12 records (345 bytes) are missing here: the reader was slow",
        "jackfield left: kicked by pid:9",
    ]


def test_a_long_one_way_stream_is_acknowledged(tshark: Callable[..., list[list[str]]]) -> None:
    piece = bytes(1024 * 1024)
    records: list[Record] = [OPENED, TCP4, *(Data(NOW + n, 1, "in", piece) for n in range(3))]
    rows = tshark(records, "tcp.len", "tcp.analysis.flags")
    assert sum(row[0] == "0" for row in rows) == 3 + 3 * len(piece) // ACKNOWLEDGED_AFTER
    assert {row[1] for row in rows} == {""}


def test_a_capture_of_a_client_has_the_server_at_the_other_end(
    tshark: Callable[..., list[list[str]]],
) -> None:
    """`jackfield connect` recorded: what came in is the server's."""
    server = Client(NOW, 1, 1, "server", "tcp", "127.0.0.1", 40122, "127.0.0.1", 80)
    records: list[Record] = [
        Opened(NOW, "", "client"),
        server,
        Data(NOW, 1, "out", b"GET"),
        Data(NOW, 1, "in", b"200"),
    ]
    rows = tshark(records, "tcp.srcport", "tcp.dstport", "tcp.payload", "tcp.flags.syn")
    assert rows[0] == ["40122", "80", "", "1"]
    assert [row[:3] for row in rows if row[2]] == [
        ["40122", "80", b"GET".hex()],
        ["80", "40122", b"200".hex()],
    ]


# -------------------------------------------------------------------- without tshark


def back(records: list[Record], step: int = 1 << 20) -> list[Record]:
    data = b"".join(capture(iter(records)))
    decoder = CaptureDecoder()
    found = [each for at in range(0, len(data), step) for _, each in decoder.feed(data[at : at + step])]
    return found + [each for _, each in decoder.end()]


@pytest.mark.parametrize("step", [1, 1000, 1 << 20])
def test_a_capture_becomes_the_recording_again(step: int) -> None:
    records = [record for client in EVERYONE for record in conversation(client)]
    records += [Lost(NOW + 3 * SECOND, 1, 2, "slow"), Left(NOW + 3 * SECOND, 1, "gone")]
    found = back([OPENED, *records], step)
    assert found[1:] == records
    renamed = Client(NOW + 9, 1, 1, "door", *(getattr(TCP4, name) for name in Client.__slots__[4:]))
    again: list[Record] = [TCP4, renamed, Data(NOW + 10, 1, "in", b"x")]
    assert back([OPENED, *again])[1:] == [TCP4, *again[1:]]


def test_a_capture_cut_anywhere_is_read_up_to_there() -> None:
    data = b"".join(capture(iter([OPENED, *conversation(TCP4)])))
    whole = back([OPENED, *conversation(TCP4)])
    for length in range(0, len(data), 7):
        decoder = CaptureDecoder()
        found = [record for _, record in decoder.feed(data[:length])]
        assert found == whole[: len(found)]
        rest = [record for _, record in decoder.end()] if found else []
        assert all(isinstance(record, Damaged) and record.truncated for record in rest)


@settings(max_examples=150)
@given(st.data())
def test_damaged_captures_never_raise_anything_else(data: st.DataObject) -> None:
    whole = bytearray(b"".join(capture(iter([OPENED, *conversation(TCP4), *conversation(UDP6)]))))
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    decoder = CaptureDecoder()
    try:
        decoder.feed(bytes(whole))
        decoder.end()
    except NotARecording:
        pass


def test_captures_of_others_are_refused() -> None:
    section = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
    decoder = CaptureDecoder()
    assert decoder.feed(section) == []
    with pytest.raises(NotARecording, match="not made by jackfield"):
        decoder.end()
    with pytest.raises(NotARecording, match="damaged at byte 28"):
        CaptureDecoder().feed(section + bytes(12))


def test_the_checksum_is_that_of_rfc_1071() -> None:
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF - 0xDDF2
    header = bytes.fromhex("45000073000040004011" "0000" "c0a80001c0a800c7")  # fmt: skip
    assert checksum(header) == 0xB861
    assert checksum(header, bytes.fromhex("b861")) == 0


def test_mixed_families_become_ipv6_and_zones_are_left_out() -> None:
    assert flow(("::ffff:10.0.0.1", 1), ("10.0.0.2", 2)) == Flow(b"\x0a\0\0\x01", 1, b"\x0a\0\0\x02", 2)
    mixed = flow(("fe80::1%eth0", 1), ("10.0.0.2", 2))
    assert mixed is not None
    assert [len(mixed.source), len(mixed.destination)] == [16, 16]
    assert flow(("example.org", 1), ("10.0.0.2", 2)) is None


def test_sequence_numbers_go_round() -> None:
    stream = Conversation.begin(Flow(b"\x7f\0\0\x01", 1, b"\x7f\0\0\x01", 2), 0xFFFFFFFE)
    packets = [*stream.handshake(), *stream.data(True, b"abcdef", more=False), *stream.end(by_client=True)]
    numbers = [struct.unpack_from("!I", packet, 24)[0] for from_client, packet in packets if from_client]
    assert numbers == [0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFF, 5, 6]
