"""One DNS question and its answer as bytes (RFC 1035), and which servers this machine asks (resolv.conf(5)).

Pure: no socket, no file. It serves to find out why a name did not resolve, never to resolve one.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass

A, AAAA = 1, 28
_RECURSION_DESIRED, _CUT_OFF, _IS_ANSWER = 0x0100, 0x0200, 0x8000
RCODES = {0: "no error", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}


@dataclass(frozen=True)
class Answer:
    """What a server said to one question."""

    code: str
    """``no error``, ``NXDOMAIN``, ``SERVFAIL``, ``REFUSED`` ...; without any address also ``a part only`` (of
    an answer that does not fit into a packet) and ``nonsense``."""
    addresses: tuple[str, ...] = ()
    """The addresses that it knows."""


@dataclass(frozen=True)
class ResolverConfig:
    """How this machine looks names up."""

    servers: tuple[str, ...]
    """Name servers, in the order of asking."""
    search: tuple[str, ...] = ()
    """Domains that are put behind a name without dots."""
    sources: tuple[str, ...] = ("files", "dns")
    """Where names are looked up: nsswitch.conf(5)."""

    @property
    def asks_dns(self) -> bool:
        """Whether name servers are asked at all."""
        return "dns" in self.sources or "resolve" in self.sources

    @property
    def asks_multicast(self) -> bool:
        """Whether names that end in ``.local`` are asked on the local link."""
        return any(source.startswith("mdns") or source == "resolve" for source in self.sources)


def read_config(resolv_conf: str | None, nsswitch_conf: str | None) -> ResolverConfig:
    """From the texts of the two files; None for one that is not there."""
    servers: list[str] = []
    search: tuple[str, ...] = ()
    for line in (resolv_conf or "").splitlines():
        words = line.split()
        if len(words) < 2 or words[0][0] in "#;":
            continue
        if words[0] == "nameserver" and _is_address(words[1]):
            servers.append(words[1])
        elif words[0] in ("search", "domain"):
            search = tuple(word.rstrip(".") for word in words[1:] if word != ".")
    sources: tuple[str, ...] = ("files", "dns")
    for line in (nsswitch_conf or "").splitlines():
        database, colon, rest = line.partition("#")[0].partition(":")
        if colon and database.strip() == "hosts":
            sources = tuple(word for word in rest.split() if not word.startswith("["))
    # More than three are not asked (MAXNS).
    return ResolverConfig(tuple(dict.fromkeys(servers[:3])), search, sources)


def full_name(name: str, config: ResolverConfig) -> str:
    """The name that is asked for: one without dots stands in the first search domain."""
    if name.endswith("."):
        return name[:-1]
    return f"{name}.{config.search[0]}" if "." not in name and config.search else name


def question(name: str, *, number: int, kind: int) -> bytes:
    """A question for a name's addresses. Raises ValueError for what is no name."""
    labels = name.encode("ascii").split(b".")
    if not all(0 < len(label) < 64 for label in labels) or len(name) > 253:
        raise ValueError(f"not a DNS name: {name!r}")
    header = struct.pack("!HHHHHH", number, _RECURSION_DESIRED, 1, 0, 0, 0)
    text = b"".join(bytes([len(label)]) + label for label in labels)
    return header + text + b"\0" + struct.pack("!HH", kind, 1)


def parse_answer(packet: bytes, asked: bytes) -> Answer | None:
    """The answer to a question; None if the packet is not one."""
    if len(packet) < len(asked) or packet[:2] != asked[:2]:
        return None
    flags, questions, answers = struct.unpack_from("!HHH", packet, 2)
    if not flags & _IS_ANSWER or questions != 1 or packet[12 : len(asked)].lower() != asked[12:].lower():
        return None
    code = flags & 15
    addresses, whole = _addresses(packet, len(asked), answers)
    said = RCODES.get(code, f"error {code}")
    if code == 0 and not addresses and (flags & _CUT_OFF or not whole):
        said = "a part only" if flags & _CUT_OFF else "nonsense"
    return Answer(said, tuple(addresses))


def _addresses(packet: bytes, at: int, count: int) -> tuple[list[str], bool]:
    """The address records, and whether all were read: what is cut off or nonsense ends the list."""
    found: list[str] = []
    for _ in range(min(count, 64)):
        at = _behind_name(packet, at)
        if at + 10 > len(packet):
            return found, False
        kind, _, _, length = struct.unpack_from("!HHIH", packet, at)
        at += 10
        if at + length > len(packet):
            return found, False
        data = packet[at : at + length]
        if (kind, len(data)) in ((A, 4), (AAAA, 16)):
            found.append(str(ipaddress.ip_address(data)))
        at += length
    return found, True


def _behind_name(packet: bytes, at: int) -> int:
    """Where a name ends: at a zero, or at a pointer to an earlier one."""
    while at < len(packet):
        length = packet[at]
        if length >= 0xC0:
            return at + 2
        if length == 0:
            return at + 1
        at += 1 + length
    return at


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True
