"""Checksums by name, as devices want them behind a message: CRCs, sums and XOR.

Owns their catalogue. A CRC is described by the parameters of Ross Williams' model ("A Painless Guide to CRC
Error Detection Algorithms", 1993), with the check values of the catalogue of parametrised CRC algorithms
(https://reveng.sourceforge.io/crc-catalogue/): `check` is the checksum of the nine bytes "123456789". On the
wire a reflected CRC stands low byte first and any other high byte first, as their protocols have it. Pure.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Final, Literal

from .text import TextError

Kind = Literal["crc", "sum", "xor", "negative sum"]


@dataclass(frozen=True, slots=True)
class Checksum:
    """One way to sum up bytes; `name` is the usual one, `aliases` are others, `about` says who uses it.

    A `kind` other than "crc" needs only `width`: the sum of all bytes, its two's complement, or their XOR.
    """

    name: str
    width: int  # bits
    check: int
    poly: int = 0
    init: int = 0
    reflected: bool = False  # refin and refout: in the catalogue they differ for none of these
    xorout: int = 0
    kind: Kind = "crc"
    aliases: tuple[str, ...] = ()
    about: str = ""
    bytes: int = field(init=False)  # that it takes on the wire

    def __post_init__(self) -> None:
        object.__setattr__(self, "bytes", -(-self.width // 8))

    def of(self, data: Iterable[int]) -> int:
        """The checksum of `data`."""
        return self.finish(self.update(self.start, data))

    @property
    def start(self) -> int:
        """The state before the first byte."""
        return _reversed_bits(self.init, self.width) if self.reflected else self.init

    def update(self, state: int, data: Iterable[int]) -> int:
        """The state after more bytes."""
        mask = (1 << self.width) - 1
        if self.kind == "xor":
            for byte in data:
                state ^= byte
        elif self.kind != "crc":
            state = (state + sum(data)) & mask
        elif self.reflected:
            table = _table(self.poly, self.width, True)
            for byte in data:
                state = table[(state ^ byte) & 0xFF] ^ (state >> 8)
        else:
            table = _table(self.poly, self.width, False)
            shift = self.width - 8
            for byte in data:
                state = table[(state >> shift) ^ byte] ^ (state << 8) & mask
        return state

    def finish(self, state: int) -> int:
        """The checksum of everything that led to a state."""
        return -state & ((1 << self.width) - 1) if self.kind == "negative sum" else state ^ self.xorout

    @property
    def order(self) -> Literal["little", "big"]:
        """Which byte its protocols send first."""
        return "little" if self.reflected else "big"


@cache
def _table(poly: int, width: int, reflected: bool) -> tuple[int, ...]:
    """What each value of a byte does to the state. `width` is at least 8."""
    if reflected:
        poly = _reversed_bits(poly, width)
        table = []
        for byte in range(256):
            for _ in range(8):
                byte = byte >> 1 ^ (poly if byte & 1 else 0)
            table.append(byte)
        return tuple(table)
    top, mask = 1 << (width - 1), (1 << width) - 1
    table = []
    for byte in range(256):
        state = byte << (width - 8)
        for _ in range(8):
            state = (state << 1 ^ (poly if state & top else 0)) & mask
        table.append(state)
    return tuple(table)


def _reversed_bits(value: int, width: int) -> int:
    return int(f"{value:0{width}b}"[::-1], 2)


def _crc(
    name: str,
    check: int,
    poly: int,
    init: int = 0,
    xorout: int = 0,
    *,
    width: int = 16,
    reflected: bool = False,
    also: str = "",
    about: str = "",
) -> Checksum:
    """A CRC with its parameters in the model's order; `also` are further names of it."""
    aliases = tuple(also.split())
    return Checksum(name, width, check, poly, init, reflected, xorout, aliases=aliases, about=about)


CATALOGUE: Final = (
    _crc("crc8", 0xF4, 0x07, width=8, also="crc8-smbus", about="SMBus, I2C"),
    _crc("crc8-maxim", 0xA1, 0x31, width=8, reflected=True, also="crc8-dallas", about="1-Wire, DS18B20"),
    _crc("crc8-autosar", 0xDF, 0x2F, 0xFF, 0xFF, width=8, about="AUTOSAR, vehicles"),
    _crc("crc8-j1850", 0x4B, 0x1D, 0xFF, 0xFF, width=8, also="crc8-sae-j1850", about="SAE J1850"),
    _crc("crc8-nrsc5", 0xF7, 0x31, 0xFF, width=8, also="crc8-sensirion", about="SHT and SGP sensors"),
    _crc("crc8-rohc", 0xD0, 0x07, 0xFF, width=8, reflected=True, about="ROHC, GSM 07.10"),
    _crc("crc8-dvb-s2", 0xBC, 0xD5, width=8, about="DVB-S2, Betaflight"),
    _crc("modbus", 0x4B37, 0x8005, 0xFFFF, reflected=True, also="crc16-modbus", about="Modbus RTU"),
    _crc("crc16-arc", 0xBB3D, 0x8005, reflected=True, also="arc crc16 crc16-ibm", about="ARC, LHA"),
    _crc("crc16-usb", 0xB4C8, 0x8005, 0xFFFF, 0xFFFF, reflected=True, about="USB"),
    _crc("crc16-maxim", 0x44C2, 0x8005, 0, 0xFFFF, reflected=True, about="1-Wire memory"),
    _crc("crc16-buypass", 0xFEE8, 0x8005, also="buypass crc16-umts", about="UMTS, Verifone"),
    _crc("ccitt-false", 0x29B1, 0x1021, 0xFFFF, also="ccitt crc16-ccitt crc16-ccitt-false crc16-ibm-3740",
         about="what is usually called CCITT"),
    _crc("xmodem", 0x31C3, 0x1021, also="crc16-xmodem zmodem", about="XMODEM, YMODEM, ZMODEM"),
    _crc("kermit", 0x2189, 0x1021, reflected=True, also="crc16-kermit ccitt-true", about="Kermit"),
    _crc("x25", 0x906E, 0x1021, 0xFFFF, 0xFFFF, reflected=True, also="crc16-x25 hdlc", about="HDLC, PPP"),
    _crc("mcrf4xx", 0x6F91, 0x1021, 0xFFFF, reflected=True, also="crc16-mcrf4xx", about="MAVLink"),
    _crc("genibus", 0xD64E, 0x1021, 0xFFFF, 0xFFFF, also="crc16-genibus", about="GENIbus, EPC Gen2"),
    _crc("aug-ccitt", 0xE5CC, 0x1021, 0x1D0F, also="crc16-aug-ccitt", about="CCITT with another start"),
    _crc("dnp", 0xEA82, 0x3D65, 0, 0xFFFF, reflected=True, also="crc16-dnp", about="DNP3"),
    _crc("en-13757", 0xC2B7, 0x3D65, 0, 0xFFFF, also="crc16-en-13757", about="Wireless M-Bus"),
    _crc("crc24", 0x21CF02, 0x864CFB, 0xB704CE, width=24, also="crc24-openpgp", about="OpenPGP"),
    _crc("crc24q", 0xCDE703, 0x864CFB, width=24, also="crc24-lte-a rtcm3", about="RTCM 3, LTE"),
    _crc("crc24-ble", 0xC25A56, 0x00065B, 0x555555, width=24, reflected=True, about="Bluetooth Low Energy"),
    _crc("crc32", 0xCBF43926, 0x04C11DB7, 0xFFFFFFFF, 0xFFFFFFFF, width=32, reflected=True,
         also="crc32-iso-hdlc ethernet", about="Ethernet, zip, PNG"),
    _crc("crc32c", 0xE3069283, 0x1EDC6F41, 0xFFFFFFFF, 0xFFFFFFFF, width=32, reflected=True,
         also="crc32-iscsi castagnoli", about="iSCSI, SCTP, ext4"),
    _crc("crc32-bzip2", 0xFC891918, 0x04C11DB7, 0xFFFFFFFF, 0xFFFFFFFF, width=32, about="bzip2, AAL5"),
    _crc("crc32-mpeg2", 0x0376E6E7, 0x04C11DB7, 0xFFFFFFFF, width=32, about="MPEG-2"),
    _crc("crc32-posix", 0x765E7680, 0x04C11DB7, 0, 0xFFFFFFFF, width=32, also="crc32-cksum",
         about="cksum, but for the length that it adds"),
    _crc("crc32-jamcrc", 0x340BC6D9, 0x04C11DB7, 0xFFFFFFFF, width=32, reflected=True, also="jamcrc",
         about="crc32 without its last inversion"),
    _crc("crc64", 0x6C40DF5F0B497347, 0x42F0E1EBA9EA3693, width=64, also="crc64-ecma-182", about="ECMA-182"),
    _crc("crc64-xz", 0x995DC9BBDF1939FA, 0x42F0E1EBA9EA3693, 2**64 - 1, 2**64 - 1, width=64, reflected=True,
         about="xz"),
    Checksum("sum8", 8, 0xDD, kind="sum", about="all bytes added up"),
    Checksum("sum16", 16, 0x01DD, kind="sum", about="all bytes added up"),
    Checksum("sum32", 32, 0x01DD, kind="sum", about="all bytes added up"),
    Checksum("sum8-negative", 8, 0x23, kind="negative sum", aliases=("lrc-modbus",),
             about="Modbus ASCII, Intel HEX: makes all bytes add up to 0"),
    Checksum("xor8", 8, 0x31, kind="xor", aliases=("bcc", "lrc-xor"), about="all bytes XORed; NMEA as :hex"),
)  # fmt: skip
"""Every checksum; the names and aliases of all are distinct."""

_BY_NAME: Final = {name: each for each in CATALOGUE for name in (each.name, *each.aliases)}
_BOTH_LRC: Final = (
    "lrc means two things: say xor8 (all bytes XORed) or lrc-modbus (two's complement of their sum)"
)


@dataclass(frozen=True, slots=True)
class Trailer:
    """A checksum as it stands behind a message: its byte order, and whether as bytes or as hex digits."""

    checksum: Checksum
    order: Literal["little", "big"]
    as_hex: bool = False

    def encode(self, value: int) -> bytes:
        """The bytes that are appended for a checksum's value."""
        raw = value.to_bytes(self.checksum.bytes, self.order)
        return raw.hex().upper().encode() if self.as_hex else raw

    def of(self, data: bytes) -> bytes:
        """The bytes that are appended to `data`."""
        return self.encode(self.checksum.of(data))


def find_checksum(name: str) -> Checksum:
    """The checksum of that name: case, `_` and a `/` or blank in it do not matter. Raises `TextError`."""
    plain = "-".join(name.lower().replace("_", "-").replace("/", "-").split())
    found = _BY_NAME.get(plain) or _BY_NAME.get(plain.replace("crc-", "crc", 1))
    if found is not None:
        return found
    if plain == "lrc":
        raise TextError(_BOTH_LRC)
    close = difflib.get_close_matches(plain, _BY_NAME, 3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    raise TextError(f"unknown checksum {name[:40]!r}; {hint}'jackfield crc' lists all")


def parse_trailer(text: str) -> Trailer:
    """The trailer of `NAME[:le|:be][:hex]`. Raises `TextError`."""
    name, *wishes = text.split(":")
    checksum = find_checksum(name)
    order, as_hex = checksum.order, False
    for wish in wishes:
        if wish in ("le", "be"):
            order = "little" if wish == "le" else "big"
        elif wish == "hex":
            order, as_hex = "big" if "le" not in wishes else order, True
        else:
            raise TextError(
                f"unknown way {wish[:20]!r} to append {name[:40]}; known are :le (low byte first), :be, "
                ":hex (as hex digits)"
            )
    return Trailer(checksum, order, as_hex)
