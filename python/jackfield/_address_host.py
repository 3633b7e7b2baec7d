"""Hosts, ports and interfaces in addresses: the middle part of the grammar in ``_address_grammar``."""

from __future__ import annotations

import re
import socket

from jackfield._address_form import DIGITS, decode, fault, read_number
from jackfield._error_classes import InvalidAddress

_INTERFACE = re.compile(r"[A-Za-z0-9._~:+-]{1,15}")
_LABEL = re.compile(r"[a-z0-9_-]{1,63}")


def read_host_port(
    text: str, start: int, end: int, scheme: str, default_port: int | None = None
) -> tuple[str | None, int]:
    if end - start > 1 and text[end - 1] == "/" and text.find("/", start, end) == end - 1:
        end -= 1
    body = text[start:end]
    example = f"{scheme}://host:7000"
    for character, message, hint in (
        ("/", f"{scheme}: takes no path", "remove it"),
        ("@", f"{scheme}: takes no user name", "remove it and the @"),
        ("#", "an address has no fragment", "remove it"),
    ):
        if character in body:
            raise fault(text, start + body.index(character), message, hint)
    if not body:
        raise fault(text, start, "the host and the port are missing", f"write for example {example}")
    if DIGITS.fullmatch(body):
        hint = f"write {scheme}://:{body} for any address, or {scheme}://127.0.0.1:{body}"
        raise fault(text, start, "the host and its colon are missing", hint)
    if body.startswith("["):
        close = body.find("]")
        if close < 0:
            raise fault(text, end, "the ] after the IPv6 address is missing", f"write {scheme}://[::1]:7000")
        colon = close + 1
        if colon < len(body) and body[colon] != ":":
            raise fault(
                text, start + colon, "only a colon and the port can follow ]", f"write {scheme}://[::1]:7000"
            )
        if colon == len(body):
            colon = -1
        host_end = start + close + 1
    else:
        if body.count(":") > 1:
            raise _bare_ipv6(text, start, body, scheme)
        colon = body.find(":")
        host_end = end if colon < 0 else start + colon
    host = read_host(text, start, host_end, scheme, text[host_end:] or ":7000") if host_end > start else None
    if colon < 0:
        if default_port is not None:
            return host, default_port
        raise fault(text, end, "the port is missing", f"write {scheme}://{body}:7000")
    return host, read_number(text, start + colon + 1, end, "port", 65535, example)


def _bare_ipv6(text: str, start: int, body: str, scheme: str) -> InvalidAddress:
    address, _, port = body.rpartition(":")
    if _is_ipv6(address) and DIGITS.fullmatch(port):
        hint = f"write {scheme}://[{address}]:{port}"
    elif _is_ipv6(body):
        hint = f"write {scheme}://[{body}]:7000"
    else:
        second = body.index(":", body.index(":") + 1)
        return fault(
            text, start + second, "a second colon after the host", f"write for example {scheme}://host:7000"
        )
    return fault(text, start, "an IPv6 address must stand in brackets", hint)


def _is_ipv6(text: str) -> bool:
    return _packed_ipv6(text.partition("%")[0]) is not None


def _packed_ipv6(text: str) -> bytes | None:
    if not text.isascii() or "\0" in text:
        return None
    try:
        return socket.inet_pton(socket.AF_INET6, text)
    except OSError:
        return None


def read_host(text: str, start: int, end: int, scheme: str, rest: str = "") -> str:
    """Read a host that is not empty, bracketed when it is IPv6."""
    raw = text[start:end]
    if raw == "*":
        raise fault(
            text, start, "* is not a host", f"leave the host empty for any address: {scheme}://{rest}"
        )
    if raw.startswith("["):
        if raw.find("]") != len(raw) - 1:
            raise fault(text, end, "the ] after the IPv6 address is missing", f"write {scheme}://[::1]{rest}")
        return _read_ipv6(text, start, end)
    if raw.count(":") > 1 and _is_ipv6(raw):
        raise fault(text, start, "an IPv6 address must stand in brackets", f"write {scheme}://[{raw}]")
    name = decode(text, start, end)
    if not name.isascii():
        name = _idna(text, start, name)
    name = name.lower()
    labels = name.removesuffix(".").split(".")
    if DIGITS.fullmatch(labels[-1]):
        return _check_ipv4(text, start, name)
    for label in labels:
        if _LABEL.fullmatch(label):
            continue
        bad = next((c for c in label if not _LABEL.fullmatch(c)), None)
        if bad is not None:
            at = max(raw.lower().find(bad), raw.lower().find(f"%{ord(bad):02x}"))
            if bad == ":":
                raise fault(text, start + at, f"{scheme}: takes no port", f"write {scheme}://{raw[:at]}")
            raise fault(text, start + max(at, 0), f"{bad!r} cannot stand in a host name", _HOST_HINT)
        if label:
            at = raw.lower().find(label)
            raise fault(text, start + max(at, 0), "a part of the host name is over 63 characters", _HOST_HINT)
        at = 0 if raw.startswith(".") else raw.find("..") + 1
        raise fault(text, start + at, "a part of the host name is empty", "remove the extra dot")
    if len(name) > 253:
        raise fault(text, start, f"the host name is {len(name)} characters long", _HOST_HINT)
    return name


_HOST_HINT = (
    "a host name has letters, digits, hyphens and dots, at most 63 characters between two dots and 253 in all"
)


def _idna(text: str, start: int, name: str) -> str:
    try:
        if len(name) <= 253:
            return name.encode("idna").decode("ascii")
    except UnicodeError:
        pass
    raise fault(text, start, f"{name!a} is not a host name", _HOST_HINT)


def _check_ipv4(text: str, start: int, name: str) -> str:
    parts = name.split(".")
    if len(parts) != 4 or not all(map(DIGITS.fullmatch, parts)):
        raise fault(
            text, start, f"{name!r} is not an IPv4 address", "write four numbers, such as 192.168.1.5"
        )
    for part in parts:
        if len(part) > 1 and part.startswith("0"):
            raise fault(
                text, start, f"{part!r} in {name!r} begins with 0", "write the numbers without leading zeros"
            )
        if len(part) > 3 or int(part) > 255:
            raise fault(text, start, f"{part} in {name!r} is over 255", "the four numbers go from 0 to 255")
    return name


def _read_ipv6(text: str, start: int, end: int) -> str:
    inner = text[start + 1 : end - 1]
    literal, percent, zone = inner.partition("%")
    packed = _packed_ipv6(literal)
    if packed is None:
        plain = re.fullmatch(r"[0-9.]+|[A-Za-z0-9.-]*[g-zG-Z][A-Za-z0-9.-]*", literal)
        hint = f"write {literal} without brackets" if plain else "write for example [::1] or [fe80::1%25eth0]"
        raise fault(text, start + 1, f"{inner!r} is not an IPv6 address", hint)
    host = socket.inet_ntop(socket.AF_INET6, packed)
    if not percent:
        return host
    zone_start = start + 1 + len(literal) + 1
    if zone.startswith("25") and len(zone) > 2:
        zone_start += 2
    zone = decode(text, zone_start, end - 1)
    if not _INTERFACE.fullmatch(zone):
        raise fault(
            text, zone_start, f"{zone!r} is not a network interface", "write for example [fe80::1%25eth0]"
        )
    return f"{host}%{zone}"


_CIDS = {"local": "1", "host": "2"}


def read_vsock(text: str, start: int, end: int) -> tuple[str | None, int]:
    colon = text.find(":", start, end)
    if colon < 0:
        raise fault(text, end, "the port is missing", "write vsock://2:5000 for port 5000 of the host")
    port = read_number(text, colon + 1, end, "port", 2**32 - 1, "vsock://2:5000")
    if colon == start:
        return None, port
    named = _CIDS.get(text[start:colon].lower())
    if named is not None:
        return named, port
    return str(read_number(text, start, colon, "cid", 2**32 - 1, "vsock://2:5000")), port


def read_interface(text: str, start: int, end: int) -> str:
    name = decode(text, start, end)
    if not _INTERFACE.fullmatch(name):
        hint = "an interface has at most 15 letters, digits, dots and hyphens, such as eth0"
        raise fault(text, start, f"{name!r} is not a network interface", hint)
    return name
