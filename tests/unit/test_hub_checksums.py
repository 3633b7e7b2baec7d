"""Checksums by name: the catalogue's check values, and how one stands behind a message."""

from __future__ import annotations

import binascii
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.hub.checksums import CATALOGUE, Checksum, find_checksum, parse_trailer
from jackfield.hub.text import TextError


@pytest.mark.parametrize("checksum", CATALOGUE, ids=lambda checksum: checksum.name)
def test_the_catalogues_check_value(checksum: Checksum) -> None:
    assert checksum.of(b"123456789") == checksum.check


@pytest.mark.parametrize("checksum", CATALOGUE, ids=lambda checksum: checksum.name)
def test_in_pieces_as_in_one(checksum: Checksum) -> None:
    data = bytes(range(256)) + b"\0\0"
    state = checksum.start
    for start in range(0, len(data), 7):
        state = checksum.update(state, data[start : start + 7])
    assert checksum.finish(state) == checksum.of(data)
    assert checksum.of(b"") == checksum.finish(checksum.start)


@given(st.binary(max_size=300))
def test_the_same_as_the_standard_library(data: bytes) -> None:
    assert find_checksum("crc32").of(data) == zlib.crc32(data)
    assert find_checksum("xmodem").of(data) == binascii.crc_hqx(data, 0)
    assert find_checksum("ccitt-false").of(data) == binascii.crc_hqx(data, 0xFFFF)
    assert sum(data + parse_trailer("lrc-modbus").of(data)) % 256 == 0


def test_no_name_means_two_checksums() -> None:
    names = [name for checksum in CATALOGUE for name in (checksum.name, *checksum.aliases)]
    assert len(names) == len(set(names))
    assert all(find_checksum(name).about for name in names)


@pytest.mark.parametrize(
    ("text", "data", "trailer"),
    [
        ("modbus", "01 03 00 00 00 01", "84 0a"),  # the usual example of a request: low byte first
        ("modbus:be", "01 03 00 00 00 01", "0a 84"),
        ("CRC-16/MODBUS", "01 03 00 00 00 01", "84 0a"),
        ("crc16_modbus", "01 03 00 00 00 01", "84 0a"),
        ("xmodem", "31 32 33 34 35 36 37 38 39", "31 c3"),
        ("xmodem:le", "31 32 33 34 35 36 37 38 39", "c3 31"),
        ("crc24-ble", "31 32 33 34 35 36 37 38 39", "56 5a c2"),
        ("crc32", "31 32 33 34 35 36 37 38 39", "26 39 f4 cb"),
        ("crc32:hex", "31 32 33 34 35 36 37 38 39", b"CBF43926".hex()),
        ("crc32:hex:le", "31 32 33 34 35 36 37 38 39", b"2639F4CB".hex()),
        ("xor8", "", "00"),
    ],
)
def test_a_trailer(text: str, data: str, trailer: str) -> None:
    assert parse_trailer(text).of(bytes.fromhex(data)) == bytes.fromhex(trailer)


def test_a_sentence_of_a_gps_receiver() -> None:
    assert parse_trailer("xor8:hex").of(b"GPGLL,5057.970,N,00146.110,E,142451,A") == b"27"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("modbuss", "did you mean modbus"),
        ("zzz", "'jackfield crc' lists all"),
        ("lrc", "say xor8"),
        ("modbus:middle", "known are :le"),
        ("", "unknown checksum ''"),
    ],
)
def test_what_cannot_be_meant(text: str, says: str) -> None:
    with pytest.raises(TextError, match=says):
        parse_trailer(text)
