"""Reading a certificate's own words: subject, issuer, names and dates, from DER (X.690, RFC 5280).

Pure, and trusts nothing: anything that is not as it should be is a ``ValueError``. The standard library gives
these only for certificates that were verified, and a check must show the others, too.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from datetime import UTC, datetime

from .observations import Certificate

_COMMON_NAME, _ORGANISATION = b"\x55\x04\x03", b"\x55\x04\x0a"
_ALTERNATIVE_NAMES = b"\x55\x1d\x11"
_SEQUENCE, _OID, _OCTETS, _UTC_TIME, _TIME = 0x30, 0x06, 0x04, 0x17, 0x18
_VERSION, _EXTENSIONS = 0xA0, 0xA3
_DNS, _IP = 0x82, 0x87
_NAMES_MAX = 100


def read_certificate(der: bytes) -> Certificate:
    """What the certificate says about itself. Raises ``ValueError``."""
    body = _inside(_inside(der, _SEQUENCE), _SEQUENCE)
    fields = list(_elements(body))
    if fields and fields[0][0] == _VERSION:
        fields = fields[1:]
    if len(fields) < 5:
        raise ValueError("the certificate ends early")
    dates = [_date(tag, value) for tag, value in _elements(fields[3][1])]
    if len(dates) != 2:
        raise ValueError("the certificate has no dates")
    names: tuple[str, ...] = ()
    for tag, value in fields[5:]:
        if tag == _EXTENSIONS:
            names = tuple(_alternative_names(_inside(value, _SEQUENCE)))
    return Certificate(_name(fields[4][1]), _name(fields[2][1]), names, dates[0], dates[1])


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and contents of each element."""
    at = 0
    while at < len(data):
        tag, at = data[at], at + 1
        if at >= len(data):
            raise ValueError("an element ends early")
        length, at = data[at], at + 1
        if length >= 0x80:
            count = length & 0x7F
            if not 1 <= count <= 4 or at + count > len(data):
                raise ValueError("an element has no proper length")
            length, at = int.from_bytes(data[at : at + count], "big"), at + count
        if at + length > len(data):
            raise ValueError("an element ends early")
        yield tag, data[at : at + length]
        at += length


def _inside(data: bytes, tag: int) -> bytes:
    first = next(_elements(data), None)
    if first is None or first[0] != tag:
        raise ValueError("this is no certificate")
    return first[1]


def _name(data: bytes) -> str:
    """The common name, or the organisation, or nothing."""
    found: dict[bytes, str] = {}
    for _, group in _elements(data):
        for _, pair in _elements(group):
            parts = list(_elements(pair))
            if len(parts) == 2 and parts[0][0] == _OID:
                found.setdefault(parts[0][1], parts[1][1].decode("utf-8", "replace"))
    return found.get(_COMMON_NAME) or found.get(_ORGANISATION) or ""


def _date(tag: int, value: bytes) -> float:
    """Seconds since 1970; both forms end with Z (RFC 5280, section 4.1.2.5)."""
    text = value.decode("ascii", "replace")
    if tag == _UTC_TIME and len(text) == 13:
        text = ("20" if text[:2] < "50" else "19") + text
    if tag not in (_UTC_TIME, _TIME) or not (text[:-1].isascii() and text[:-1].isdigit()):
        raise ValueError("the certificate has a date of no known form")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _alternative_names(extensions: bytes) -> Iterator[str]:
    for _, extension in _elements(extensions):
        parts = list(_elements(extension))
        if len(parts) < 2 or parts[0] != (_OID, _ALTERNATIVE_NAMES) or parts[-1][0] != _OCTETS:
            continue
        for number, (tag, value) in enumerate(_elements(_inside(parts[-1][1], _SEQUENCE))):
            if number >= _NAMES_MAX:
                return
            if tag == _DNS:
                yield value.decode("ascii", "replace")
            elif tag == _IP and len(value) in (4, 16):
                yield str(ipaddress.ip_address(value))
