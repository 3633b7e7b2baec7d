"""The recording format: what was written is read, from whole, cut and damaged files."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackfield.recording import (
    Client,
    Closed,
    Damaged,
    Data,
    Decoder,
    Encoder,
    Happened,
    Left,
    Lost,
    NotARecording,
    Opened,
    Record,
    read,
)
from jackfield.recording.encoding import FILE_HEADER, HEADER, PIECE
from jackfield.recording.records import spoken_by

MARKER = b"\xa1\xb2\xc3\xd4"
NOW = 1_795_000_000_123_456_789
CLIENT = Client(NOW, 1, 7, "dev1", "tcp", "127.0.0.1", 7000, "127.0.0.1", 40122, since=NOW - 5)
WHOLE: list[Record] = [
    Opened(NOW, "jackfield 0.1", "server", "dev*"),
    CLIENT,
    Data(NOW + 1, 1, "in", b"hello\n"),
    Data(NOW + 2, 1, "out", b"\x00\xff" * 40, "pid:12"),
    Lost(NOW + 3, 2, 12, "too slow"),
    Client(NOW + 3, 2, 8, "unix-8", "unix", "/tmp/\udcff.sock", None, "", None, "line", pid=9, uid=0),
    Data(NOW + 4, 2, "in", b""),
    Happened(NOW + 5, "renamed", {"id": 7, "name": "door"}),
    Left(NOW + 6, 1, "the peer ended"),
    Closed(NOW + 7, "Ctrl-C", 9, 2),
]


def encoded(records: list[Record]) -> bytes:
    encoder = Encoder(MARKER)
    return encoder.header() + b"".join(map(encoder.encode, records))


def decoded(data: bytes, step: int = 1 << 30) -> list[Record]:
    decoder = Decoder()
    found = [record for at in range(0, len(data), step) for _, record in decoder.feed(data[at : at + step])]
    assert decoder.waiting <= len(data)
    return found + [record for _, record in decoder.end()]


def ends(records: list[Record]) -> list[int]:
    """Where each record ends in the file."""
    encoder = Encoder(MARKER)
    at, found = FILE_HEADER.size, []
    for record in records:
        at += len(encoder.encode(record))
        found.append(at)
    return found


@pytest.mark.parametrize("step", [1, 7, 16, 1 << 20])
def test_what_was_written_is_read_in_pieces_of_any_size(step: int) -> None:
    assert decoded(encoded(WHOLE), step) == WHOLE


def test_the_format_is_what_the_document_says() -> None:
    data = Encoder(MARKER).encode(Data(NOW, 5, "out", b"ab", "x"))
    head = "a1b2c3d4" "03" "01" "0000" "10000000" + data[12:16].hex()  # fmt: skip
    assert data.hex() == head + NOW.to_bytes(8, "little").hex() + "05000000" "01" "78" "6162"  # fmt: skip
    assert Encoder(MARKER).header().hex() == "894a46520d0a1a0a" "0100" "0000" "a1b2c3d4"  # fmt: skip


def test_cut_at_every_byte_everything_before_is_read() -> None:
    whole, places = encoded(WHOLE), ends(WHOLE)
    for length in range(1, len(whole)):
        found = decoded(whole[:length], 64)
        count = sum(place <= length for place in places)
        assert found[:count] == WHOLE[:count]
        at = max([place for place in places if place <= length], default=FILE_HEADER.size)
        if length < FILE_HEADER.size:
            at = 0
        rest = [] if length == at else [Damaged(at, length - at, truncated=True)]
        assert found[count:] == rest, length


def test_a_flipped_byte_costs_the_record_it_is_in_and_no_other() -> None:
    whole, places = encoded(WHOLE), ends(WHOLE)
    for at in range(FILE_HEADER.size, len(whole)):
        flipped = bytearray(whole)
        flipped[at] ^= 0x41
        hit = sum(place <= at for place in places)
        start = places[hit - 1] if hit else FILE_HEADER.size
        for step in (50, 1 << 20):
            found = decoded(bytes(flipped), step)
            last = hit == len(WHOLE) - 1
            lost = Damaged(start, places[hit] - start, truncated=last)
            assert found == [*WHOLE[:hit], lost, *WHOLE[hit + 1 :]], at


def test_a_flipped_header_is_no_recording() -> None:
    whole = encoded(WHOLE)
    for at in range(10):
        flipped = bytearray(whole)
        flipped[at] ^= 0x41
        with pytest.raises(NotARecording):
            decoded(bytes(flipped))


def test_a_client_cannot_put_records_into_a_damaged_file() -> None:
    """Its words hold whole records, with a marker that it guessed."""
    forged = Encoder(b"\x00\x00\x00\x00").encode(Data(NOW, 1, "out", b"never said", "pid:1"))
    whole = bytearray(encoded([CLIENT, Data(NOW, 1, "in", forged * 3), Left(NOW, 1, "gone")]))
    whole[ends([CLIENT])[0] + HEADER.size + 9] ^= 1
    assert [type(record) for record in decoded(bytes(whole))] == [Client, Damaged, Left]


def test_long_messages_stand_in_several_records() -> None:
    data = os.urandom(2 * PIECE + 5)
    found = decoded(encoded([Data(NOW, 1, "in", data)]))
    pieces = [record for record in found if isinstance(record, Data)]
    assert [piece.more for piece in pieces] == [True, True, False]
    assert b"".join(piece.data for piece in pieces) == data


def test_kinds_of_a_later_version_are_passed_over_and_strange_bodies_too() -> None:
    encoder = Encoder(MARKER)
    strange = [
        encoder._record(200, 0, bytes(8) + b"{}"),
        encoder._record(2, 0, bytes(8) + b"{}"),
        encoder._record(2, 0, bytes(8) + b'{"ref":"x"}'),
        encoder._record(4, 0, bytes(8) + b'{"ref":1,"reason":[]}'),
        encoder._record(4, 0, bytes(8) + b"[" * 900_000),
        encoder._record(6, 0, bytes(8) + b"\xff\xfe"),
        encoder._record(3, 0, bytes(8)),
        encoder._record(4, 0, bytes(8) + b'{"ref":1,"reason":"gone","later":"field"}'),
    ]
    assert decoded(encoder.header() + b"".join(strange)) == [Left(0, 1, "gone")]


def test_other_files_are_refused(tmp_path: Path) -> None:
    for data in (b"hello, world, this is text", b"\x0a\x0d\x0d\x0a" * 8, b"\x89PNG\r\n\x1a\n" + bytes(8)):
        with pytest.raises(NotARecording, match="no recording"):
            decoded(data)
    with pytest.raises(NotARecording, match="version 9"):
        decoded(FILE_HEADER.pack(b"\x89JFR\r\n\x1a\n", 9, 0, MARKER))
    empty = tmp_path / "empty"
    empty.touch()
    assert list(read(empty)) == []


def test_a_file_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "some.jfrec"
    path.write_bytes(encoded(WHOLE))
    assert list(read(path)) == WHOLE
    with pytest.raises(TypeError):
        Encoder(MARKER).encode(Damaged(0, 1, truncated=True))
    with pytest.raises(ValueError, match="4 bytes"):
        Encoder(b"abc")


def test_whose_words_they_are() -> None:
    assert [spoken_by(side, role) for side in ("client", "server") for role in ("server", "client")] == [
        "in", "out", "out", "in",
    ]  # fmt: skip


times = st.integers(0, 2**63 - 1)
refs = st.integers(0, 2**32 - 1)
texts = st.text(max_size=40)
directions = st.sampled_from(["in", "out"])
ports = st.none() | st.integers(0, 65535)
short_names = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
records = st.one_of(
    st.builds(Opened, times, texts, st.sampled_from(["server", "client"]), texts),
    st.builds(Client, times, refs, refs, texts, texts, texts, ports, texts, ports, texts, times, refs, refs),
    st.builds(Data, times, refs, directions, st.binary(max_size=300), short_names, st.booleans()),
    st.builds(Left, times, refs, texts),
    st.builds(Lost, times, refs, refs, texts),
    st.builds(
        Happened, times, texts, st.dictionaries(texts, texts | st.integers() | st.booleans(), max_size=3)
    ),
    st.builds(Closed, times, texts, refs, refs),
)


@settings(max_examples=150)
@given(st.lists(records, max_size=6), st.integers(1, 200))
def test_anything_that_is_written_is_read(written: list[Record], step: int) -> None:
    assert decoded(encoded(written), step) == written


@settings(max_examples=150)
@given(st.lists(records, max_size=5), st.data())
def test_any_damage_is_told_and_never_raises(written: list[Record], data: st.DataObject) -> None:
    whole = bytearray(encoded(written))
    for _ in range(data.draw(st.integers(1, 5))):
        at = (
            data.draw(st.integers(FILE_HEADER.size, len(whole) - 1))
            if len(whole) > FILE_HEADER.size
            else None
        )
        if at is not None:
            whole[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(FILE_HEADER.size, len(whole)))
    found = decoded(bytes(whole[:cut]), data.draw(st.integers(1, 400)))
    kept = [record for record in found if not isinstance(record, Damaged)]
    rest = iter(written)
    assert all(record in rest for record in kept), "what is read was written, in this order"


@settings(max_examples=200)
@given(st.binary(max_size=400))
def test_garbage_behind_a_header_is_damage(garbage: bytes) -> None:
    found = decoded(Encoder(MARKER).header() + garbage)
    assert all(isinstance(record, Damaged) for record in found)
    assert sum(record.length for record in found if isinstance(record, Damaged)) == len(garbage)


def test_every_kind_is_tried_here() -> None:
    assert {type(record) for record in WHOLE} == {Opened, Client, Data, Left, Lost, Happened, Closed}
    assert [each.name for each in fields(Client)][3:9] == [
        "name", "protocol", "local_address", "local_port", "remote_address", "remote_port",
    ]  # fmt: skip
