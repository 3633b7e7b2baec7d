"""Ids and names of clients, and the view of one client that operators are given.

Owns default names and what a name may be; names that were given and names that last are in `identity.py`. A
client costs nothing here: its id is its number in the group, its default
name (`tcp-1`) follows from protocol and id, and its counters live in the engine. Pure.
"""

from __future__ import annotations

import ipaddress
import re
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from jackfield import Address, Explanation, Member, Statistics

RESERVED: Final = frozenset({"hub", "operator", "admin", "everyone", "me"})  # nobody chooses to be called so

_SHORT: Final = {"unix+dgram": "dgram", "unix+seqpacket": "seqpacket"}
_DEFAULT_NAME: Final = re.compile(r"(tcp|tls|ws|wss|udp|unix|dgram|seqpacket|serial)-([1-9]\d*)")
_TAG: Final = re.compile(r"[^\W_][\w.@+-]{0,31}")
_NAME: Final = re.compile(r"[^\W_][\w.@+-]{0,63}")


class NameRefused(ValueError):
    """A client cannot be given that name; the message says why."""


def default_name(client_id: int, protocol: str) -> str:
    """The name of a client that nobody named."""
    return f"{_SHORT.get(protocol, protocol)}-{client_id}"


def parse_default_name(name: str) -> tuple[int, str] | None:
    """The id and the protocol's short name of a default name; None for any other."""
    match = _DEFAULT_NAME.fullmatch(name)
    return None if match is None else (int(match[2]), match[1])


class NotAName(NameRefused):
    """Nothing can be called that."""


def check_name(name: str) -> None:
    """Raise `NotAName` unless `name` can be told from every other kind of TARGET."""
    if name == "all" or name.isdigit() or _DEFAULT_NAME.fullmatch(name):
        raise NotAName(f"{name!r} already means something as a target; choose another name")
    if _NAME.fullmatch(name) is None:
        raise NotAName(
            f"{name[:80]!r} is not a name: up to 64 letters, digits and . _ @ + -, a letter or digit first"
        )


def means_host(name: str) -> bool:
    """Whether a TARGET of this text means everyone at a host (IPv6 has colons, which no name has)."""
    if name == "localhost":
        return True
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True


def check_tag(tag: str) -> None:
    """Raise `NotAName` unless `tag` can be one."""
    if _TAG.fullmatch(tag) is None:
        raise NotAName(
            f"{tag[:80]!r} is not a tag: up to 32 letters, digits and . _ @ + -, a letter or digit first"
        )


def short_protocol(protocol: str) -> str:
    """The protocol as default names spell it."""
    return _SHORT.get(protocol, protocol)


def endpoint_text(address: Address | None, credentials: tuple[int, int, int] | None = None) -> str:
    """`host:port`, a Unix path, `@abstract`; a nameless Unix peer is its process: `pid:N`."""
    if address is not None and address.port is not None:
        host = address.host or "*"
        mapped = host.removeprefix("::ffff:")
        if mapped != host and "." in mapped:
            host = mapped
        return f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"
    if address is not None and address.path:
        return address.path
    if credentials is not None and credentials[0]:
        return f"pid:{credentials[0]}"
    return "unnamed"


def timestamp(seconds: float) -> str:
    """A time as operators and scripts read it: UTC, milliseconds, ISO 8601."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@cache
def version() -> str:
    """The version that is installed."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("jackfield")
    except PackageNotFoundError:
        return "unknown"


def peer_text(member: Member) -> str:
    """The member's end as operators see and name it."""
    return endpoint_text(member.peer, member.credentials)


def client_view(
    member: Member, name: str, statistics: Statistics, framing: str, explanation: Explanation
) -> dict[str, Any]:
    """Everything that `jackfield clients --json` says about one client."""
    credentials = member.credentials
    view: dict[str, Any] = {
        "id": member.number,
        "name": name,
        "protocol": member.protocol,
        "local": endpoint_text(member.local),
        "peer": endpoint_text(member.peer, credentials),
        "since": timestamp(statistics.since),
        "bytes_in": statistics.bytes_in,
        "bytes_out": statistics.bytes_out,
        "messages_in": statistics.messages_in,
        "messages_out": statistics.messages_out,
        "queued": statistics.queued_bytes,
        "dropped": statistics.dropped_messages,
        "framing": framing,
        "explain": str(explanation),
    }
    round_trip = explanation.facts.get("round_trip")
    if round_trip is not None:
        view["round_trip"] = round(round_trip, 6)
    if credentials is not None:
        view["pid"], view["uid"] = credentials[0], credentials[1]
    return view
