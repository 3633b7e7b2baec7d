"""Multicast groups: who is heard, by which interface, and how far what is sent goes.

A group is joined with MCAST_JOIN_GROUP, or MCAST_JOIN_SOURCE_GROUP for one sender alone (RFC 3678, ip(7),
ipv6(7)); both take an interface by its index and IPv4 and IPv6 alike. The kernel leaves the groups of a
socket that is closed.
"""

from __future__ import annotations

import array
import errno
import fcntl
import ipaddress
import os
import socket
import struct
from typing import TYPE_CHECKING

from jackfield._address import Address
from jackfield._errors import InvalidOption, ListenFailed, NotSupported

if TYPE_CHECKING:
    from jackfield._options import Options

JOIN, LEAVE, JOIN_SOURCE, LEAVE_SOURCE = 42, 45, 46, 47
"""MCAST_* of linux/in.h, which Python does not name."""
_IP_MULTICAST_IF, _IP_MULTICAST_TTL = 32, 33
_IPV6_MULTICAST_IF, _IPV6_MULTICAST_HOPS = 17, 18
_SIOCGIFCONF = 0x8912

Setting = tuple[int, int, bytes]
"""Level, number and value for setsockopt(2)."""


def is_group(host: str | None) -> bool:
    """Whether the host is the IP address of a multicast group."""
    try:
        return host is not None and ipaddress.ip_address(host.partition("%")[0]).is_multicast
    except ValueError:
        return False


def interface_index(interface: str) -> int:
    """The index of a network interface, by its name or an address that it has. Raises ``InvalidOption``."""
    try:
        wanted = ipaddress.ip_address(interface)
    except ValueError:
        try:
            return socket.if_nametoindex(interface)
        except OSError:
            names = ", ".join(name for _, name in socket.if_nameindex())
            hint = f"this machine has {names}"
            raise InvalidOption("interface", interface, "there is no such network interface", hint) from None
    name = _having(wanted)
    if name is None:
        message, hint = "no network interface has this address", "`ip addr` lists them"
        raise InvalidOption("interface", interface, message, hint)
    return socket.if_nametoindex(name)


def settings(options: Options, protocol: str, family: int) -> list[Setting]:
    """How multicasts are sent: by which interface, how many hops far. Raises ``InvalidOption``."""
    if protocol != "udp":
        return []
    chosen: list[Setting] = []
    if options.interface is not None:
        index = interface_index(options.interface)
        mreqn = struct.pack("=4s4si", bytes(4), bytes(4), index)
        chosen.append((socket.IPPROTO_IP, _IP_MULTICAST_IF, mreqn))
        if family == socket.AF_INET6:
            chosen.append((socket.IPPROTO_IPV6, _IPV6_MULTICAST_IF, struct.pack("i", index)))
    if options.ttl is not None:
        chosen.append((socket.IPPROTO_IP, _IP_MULTICAST_TTL, struct.pack("i", options.ttl)))
        if family == socket.AF_INET6:
            chosen.append((socket.IPPROTO_IPV6, _IPV6_MULTICAST_HOPS, struct.pack("i", options.ttl)))
    return chosen


def check(address: Address, options: Options) -> None:
    """Refuse what has no meaning. Raises ``NotSupported``, ``InvalidOption``."""
    for name in ("interface", "source"):
        value = getattr(options, name)
        if value is not None and address.scheme != "udp":
            hint = "leave it out"
            if name == "interface":
                hint += "; device= keeps a socket on one interface"
            raise NotSupported(
                f"{name}= means nothing to {address}: it is for udp:", hint=hint, address=address
            )
    if options.source is not None and not is_group(address.host):
        message = f"{address} is no multicast group"
        hint = "give a group such as 239.1.2.3, or 232.1.2.3 for source-specific multicast"
        raise InvalidOption("source", options.source, message, hint, address=address)


def change(fd: int, family: int, command: int, group: str, source: str | None, interface: str | None) -> None:
    """Join or leave ``group``. Raises ``InvalidOption``, ``NotSupported``, ``ListenFailed``."""
    plain, _, zone = group.partition("%")
    index = interface_index(interface or zone) if interface or zone else 0
    ip = ipaddress.ip_address(plain)
    level = socket.IPPROTO_IPV6 if ip.version == 6 else socket.IPPROTO_IP
    value = struct.pack("@I0P", index) + _storage(ip)
    if source is not None:
        command = {JOIN: JOIN_SOURCE, LEAVE: LEAVE_SOURCE}[command]
        value += _storage(_source(source, ip.version))
    verb = "join" if command in (JOIN, JOIN_SOURCE) else "leave"
    borrowed = socket.socket(family, socket.SOCK_DGRAM, fileno=fd)
    try:
        borrowed.setsockopt(level, command, value)
    except OSError as error:
        raise _failure(verb, group, source, interface, error) from error
    finally:
        borrowed.detach()


def group_of(group: Address | str) -> str:
    """The group's IP address, given alone or as an address. Raises ``InvalidOption``."""
    host = group.host if isinstance(group, Address) else group
    if isinstance(group, str) and "://" in group:
        host = Address.parse(group).host
    if not is_group(host):
        message, hint = "it is no multicast group", "give one such as 239.1.2.3, or ff15::1"
        raise InvalidOption("group", str(group), message, hint)
    return host or ""


def _source(source: str, version: int) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        ip = ipaddress.ip_address(source)
    except ValueError:
        ip = None
    if ip is None or ip.version != version:
        hint = "write for example " + ("192.0.2.1" if version == 4 else "2001:db8::1")
        raise InvalidOption("source", source, f"it is no IPv{version} address, as the group is", hint)
    return ip


def _storage(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bytes:
    """A sockaddr_storage without a port."""
    if ip.version == 4:
        return struct.pack("=HH4s120x", socket.AF_INET, 0, ip.packed)
    return struct.pack("=HHI16sI100x", socket.AF_INET6, 0, 0, ip.packed, 0)


def _failure(
    verb: str, group: str, source: str | None, interface: str | None, error: OSError
) -> ListenFailed:
    by = f" on {interface}" if interface else ""
    of = f" from {source}" if source else ""
    said, hint = os.strerror(error.errno or 0).lower(), None
    if error.errno in (errno.ENODEV, errno.ENETUNREACH):
        said, hint = "no interface leads there", "name one with interface= (`ip addr` lists them)"
    elif error.errno == errno.EADDRINUSE:
        said, hint = "this socket has joined it already", "leave it first"
    elif error.errno == errno.EADDRNOTAVAIL:
        said = "the interface cannot, or this socket has joined it already"
        if verb == "leave":
            said, hint = "this socket has not joined it", "give leave() the source and interface of join()"
    elif error.errno == errno.EINVAL:
        said = "what was joined with a source must be left with it, and the other way round"
    elif error.errno == errno.ENOBUFS:
        said = "this socket has joined as many as the kernel allows"
        hint = "raise it with `sudo sysctl net.ipv4.igmp_max_memberships=` (or igmp_max_msf, for sources)"
    return ListenFailed(
        f"cannot {verb} the multicast group {group}{of}{by}: {said}", hint=hint, errno=error.errno, stage=verb
    )


def _having(wanted: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str | None:
    """The interface with this address."""
    if wanted.version == 6:
        with open("/proc/net/if_inet6", encoding="ascii") as table:
            for line in table:
                packed, *_, name = line.split()
                if bytes.fromhex(packed) == wanted.packed:
                    return name
        return None
    size = struct.calcsize("16sP16x" if struct.calcsize("P") == 8 else "16s16x")
    buffer = array.array("B", bytes(size * 1024))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as scratch:
        pointer, length = buffer.buffer_info()
        answer = fcntl.ioctl(scratch, _SIOCGIFCONF, struct.pack("iP", length, pointer))
        used = struct.unpack("iP", answer)[0]
    for start in range(0, used, size):
        name, packed = struct.unpack_from("16s4x4s", buffer, start)
        if packed == wanted.packed:
            return str(name.partition(b"\0")[0].partition(b":")[0].decode())
    return None
