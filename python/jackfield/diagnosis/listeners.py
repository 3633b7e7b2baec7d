"""This machine's side of a target on this machine: who listens, how full its queue is, what it is doing.

Asks sock_diag, and where the kernel has none the tables in /proc, which do not tell an accept queue's limit.
"""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

from jackfield import Address, netlink

from .observations import Listener, LocalView, Process, UnixFile
from .processes import holders_of, user_name

_UNIX_KINDS: dict[int, str] = {
    socket.SOCK_STREAM: "unix",
    socket.SOCK_DGRAM: "unix+dgram",
    socket.SOCK_SEQPACKET: "unix+seqpacket",
}
_PROC_NET = Path("/proc/net")


def listen_overflows(*, table: Path = _PROC_NET / "netstat") -> int | None:
    """How often a full accept queue has turned a connection away in this network name space."""
    try:
        lines = [line.split() for line in table.read_text().splitlines() if line.startswith("TcpExt:")]
        return int(dict(zip(lines[0], lines[1], strict=True))["ListenOverflows"])
    except (OSError, ValueError, KeyError, IndexError):
        return None


def look_at_port(
    address: Address, hosts: tuple[str, ...], *, ends: tuple[tuple[str, int], tuple[str, int]] | None = None
) -> LocalView:
    """The listeners on the port; ``hosts`` are the local addresses that are checked. ``ends`` are our own end
    and the peer's of an open TCP connection, of which is told whether it was accepted."""
    sockets = [one for one in _inet_sockets(address.scheme) if one.port == address.port]
    theirs = _other_side(ends) if ends is not None else None
    wanted = {one.inode for one in sockets} | ({theirs.inode} if theirs else set())
    holders = holders_of(wanted)
    return LocalView(
        tuple(_listener(address.scheme, one, hosts, holders) for one in sockets),
        None if theirs is None else theirs.inode != 0,
        holders.get(theirs.inode, ()) if theirs else (),
    )


def look_at_name(path: str) -> LocalView:
    """The Unix sockets that are bound to a path or abstract name."""
    try:
        found = [one for one in netlink.unix_sockets() if _is_named(one, path)]
    except OSError:
        return LocalView()
    bound = [one for one in found if one.state == netlink.LISTEN or one.kind == socket.SOCK_DGRAM]
    holders = holders_of({one.inode for one in bound})
    return LocalView(
        tuple(
            Listener(
                path,
                _UNIX_KINDS.get(one.kind, "unix"),
                waiting=one.received,
                limit=one.sent if one.state == netlink.LISTEN else None,
                holders=holders.get(one.inode, ()),
                user="" if one.uid is None else user_name(one.uid),
            )
            for one in bound
        )
    )


def look_at_file(path: str) -> UnixFile | None:
    """What is at a path; ``None`` for an abstract name."""
    if path.startswith("@"):
        return None
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        there = os.path.isdir(os.path.dirname(path) or ".")
        return UnixFile(path, "absent" if there else "no-directory")
    except OSError:
        return UnixFile(path, "hidden")
    is_socket = stat.S_ISSOCK(status.st_mode)
    return UnixFile(
        path, "socket" if is_socket else "other", stat.filemode(status.st_mode), user_name(status.st_uid)
    )


# TCP and UDP --------------------------------------------------------------------------------------


def _inet_sockets(scheme: str) -> list[netlink.InetSocket]:
    protocol, state = socket.IPPROTO_TCP, netlink.LISTEN
    if scheme == "udp":
        protocol, state = socket.IPPROTO_UDP, netlink.CLOSE
    try:
        return list(netlink.inet_sockets(protocol, (state,)))
    except OSError:
        tables = (_PROC_NET / scheme, _PROC_NET / f"{scheme}6")
        return [one for table in tables for one in netlink.read_table(table) if one.state == state]


def _listener(
    scheme: str, one: netlink.InetSocket, hosts: tuple[str, ...], holders: dict[int, tuple[Process, ...]]
) -> Listener:
    bound = f"[{one.host}]:{one.port}" if ":" in one.host else f"{one.host}:{one.port}"
    interface = None
    if one.interface:
        try:
            interface = socket.if_indextoname(one.interface)
        except OSError:
            interface = str(one.interface)
    return Listener(
        bound,
        scheme,
        any(would_get(one, host) for host in hosts),
        one.received,
        one.sent if scheme != "udp" and one.sent >= 0 else None,
        holders.get(one.inode, ()),
        user_name(one.uid),
        interface,
    )


def would_get(one: netlink.InetSocket, host: str) -> bool:
    """Whether a socket gets what is sent to a local address."""
    host = host.partition("%")[0]
    if one.host == host:
        return True
    if one.host == "::":
        return ":" in host or not one.v6only
    return one.host == "0.0.0.0" and ":" not in host


def _other_side(ends: tuple[tuple[str, int], tuple[str, int]]) -> netlink.InetSocket | None:
    own, peer = ends
    try:
        return netlink.tcp_socket(peer, own)
    except OSError:
        return None


# Unix ---------------------------------------------------------------------------------------------


def _is_named(one: netlink.UnixSocket, path: str) -> bool:
    if path.startswith("@"):
        return one.name == b"\0" + os.fsencode(path[1:])
    if one.name == os.fsencode(path):
        return True
    if one.file is None or one.name[:1] == b"\0":
        return False
    try:
        status = os.stat(path)
    except OSError:
        return False
    # The kernel's form of a device number: 12 bits of major above 20 of minor.
    device = os.major(status.st_dev) << 20 | os.minor(status.st_dev)
    return one.file == (status.st_ino & 0xFFFFFFFF, device)
