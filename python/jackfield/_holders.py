"""Who holds an address: the kernel's socket tables in /proc joined with the descriptors of the processes.

Everything is read without privilege; of another user's process only the user is known then. A process that
ends meanwhile is left out. Only the caller's own network name space is seen.
"""

from __future__ import annotations

import errno
import os
import pwd
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from jackfield import netlink
from jackfield._address import Address

_PROC = Path("/proc")
_DESCRIPTORS_MAX = 200_000
"""Descriptors looked at before giving up: an error message is worth some milliseconds, not minutes."""
_UNIX_TYPES = {"0001": "unix", "0002": "unix+dgram", "0005": "unix+seqpacket"}


@dataclass(frozen=True)
class Holder:
    """One process that holds a socket; ``pid`` and ``command`` are None when we may not see them."""

    local: str
    """What the socket is bound to: ``0.0.0.0:7000``, ``[::1]:7000``, ``/path``, ``@name``."""
    uid: int | None
    user: str | None
    pid: int | None = None
    command: str | None = None

    def __str__(self) -> str:
        owner = f"user {self.user}" if self.user else "an unknown user"
        if self.pid == os.getpid():
            return f"this process (pid {self.pid})"
        if self.pid is None:
            return f"a process of {owner}"
        return f"{self.command or 'a process'} (pid {self.pid}, {owner})"


@dataclass(frozen=True)
class _Socket:
    """One line of a socket table."""

    local: str
    inode: int
    uid: int | None
    listening: bool
    kind: str = ""


def find_holders(address: Address, *, proc: Path = _PROC) -> list[Holder]:
    """The processes whose sockets keep others from binding the address, listeners before connections."""
    sockets = sorted(_conflicts(address, proc), key=lambda found: not found.listening)
    if not sockets:
        return []
    if any(found.listening for found in sockets):
        sockets = [found for found in sockets if found.listening]
    return _owners(sockets, proc)


def holders_of_file(path: str, *, proc: Path = _PROC) -> list[Holder]:
    """The processes that have a file open, such as a device."""
    real = os.path.realpath(path)
    holders: list[Holder] = []
    budget = _DESCRIPTORS_MAX
    for pid in _processes(proc):
        try:
            descriptors = os.listdir(proc / str(pid) / "fd")
        except OSError:
            continue
        budget -= len(descriptors)
        if budget < 0:
            break
        if real in _links(proc / str(pid) / "fd", descriptors):
            holders.append(_holder(_Socket(path, 0, None, listening=False), pid, proc))
    return holders


def bound_elsewhere(address: Address, *, proc: Path = _PROC) -> list[str]:
    """Where on this machine something listens on the same port, whatever the address."""
    tables = _inet_tables(address.scheme)
    return [
        f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        for table in tables
        for host, port, found in _inet_sockets(proc / "net" / table)
        if port == address.port and found.listening
    ]


def unix_kind(path: str, *, proc: Path = _PROC) -> str | None:
    """The scheme of the socket that is bound to a path or abstract name, ``None`` when there is none here."""
    return next((found.kind for found in _unix_sockets(proc) if found.local == path.replace("\0", "@")), None)


def unix_state(path: str) -> str:
    """What is at the path of a Unix socket: ``absent``, ``live``, ``stale`` (a socket file that no process
    holds), ``not a socket`` or ``unknown`` (not permitted to look).

    Asks the kernel with a datagram connect, which a live stream or seqpacket listener never notices; so a
    server in another container is found alive too. Abstract names are looked up in the socket table instead.
    """
    if path.startswith("@"):
        return "live" if unix_kind(path) is not None else "absent"
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return "not a socket"
    except (FileNotFoundError, NotADirectoryError):
        return "absent"
    except OSError:
        return "unknown"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return "stale"
        except FileNotFoundError:
            return "absent"
        except PermissionError as error:
            return "live" if error.errno == errno.EPERM else "unknown"  # EPERM: it talks to another peer
        except OSError:
            return "live"
    return "live"


# The tables ---------------------------------------------------------------------------------------


def _inet_tables(scheme: str) -> tuple[str, ...]:
    return ("udp", "udp6") if scheme == "udp" else ("tcp", "tcp6")


def _conflicts(address: Address, proc: Path) -> Iterator[_Socket]:
    if address.path is not None and address.port is None:
        shown = address.path.replace("\0", "@")
        for found in _unix_sockets(proc):
            # each kind of socket has abstract names of its own, while a file can be bound once
            if found.local == shown and (not address.is_abstract or found.kind == address.scheme):
                yield found
        return
    wanted = _numeric(address.host)
    for table in _inet_tables(address.scheme):
        for host, port, found in _inet_sockets(proc / "net" / table):
            if port == address.port and (wanted is None or _overlap(host, wanted)):
                yield found


def _numeric(host: str | None) -> str | None:
    """The host as the tables print it; None for any address, and for a name, which could be any of ours."""
    host = (host or "").partition("%")[0]
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            return _readable(socket.inet_pton(family, host))
        except (OSError, ValueError):
            continue
    return None


def _overlap(one: str, other: str) -> bool:
    if one == other or "::" in (one, other):
        return True
    return "0.0.0.0" in (one, other) and ":" not in one + other


def _readable(packed: bytes) -> str:
    if len(packed) == 16 and packed.startswith(b"\0" * 10 + b"\xff\xff"):
        packed = packed[12:]
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def _lines(table: Path) -> list[str]:
    try:
        return table.read_text(encoding="utf-8", errors="surrogateescape").split("\n")[1:]
    except OSError:
        return []


def _inet_sockets(table: Path) -> Iterator[tuple[str, int, _Socket]]:
    """Host, port and line of every socket."""
    states = {netlink.LISTEN, netlink.CLOSE} if table.name.startswith("udp") else {netlink.LISTEN}
    for found in netlink.read_table(table):
        local = f"[{found.host}]:{found.port}" if ":" in found.host else f"{found.host}:{found.port}"
        yield found.host, found.port, _Socket(local, found.inode, found.uid, found.state in states)


def _unix_sockets(proc: Path) -> Iterator[_Socket]:
    for line in _lines(proc / "net" / "unix"):
        columns = line.split(None, 7)
        if len(columns) < 8 or not columns[6].isdigit():
            continue
        path = columns[7]
        accepts = columns[3] == "00010000" or columns[4] == "0002"
        try:
            uid: int | None = os.stat(path).st_uid if path.startswith("/") else None
        except OSError:
            uid = None
        yield _Socket(path, int(columns[6]), uid, accepts, _UNIX_TYPES.get(columns[4], ""))


# The processes ------------------------------------------------------------------------------------


def _owners(sockets: list[_Socket], proc: Path) -> list[Holder]:
    wanted = {f"socket:[{found.inode}]": found for found in sockets if found.inode}
    holders: list[Holder] = []
    seen: set[str] = set()
    budget = _DESCRIPTORS_MAX
    for pid in _processes(proc):
        if budget <= 0 or len(seen) == len(wanted):
            break
        try:
            descriptors = os.listdir(proc / str(pid) / "fd")
        except OSError:
            continue
        budget -= len(descriptors)
        for link in _links(proc / str(pid) / "fd", descriptors):
            if link in wanted:
                seen.add(link)
                holders.append(_holder(wanted[link], pid, proc))
                break
    for link, found in wanted.items():
        if link not in seen:
            holders.append(_holder(found, None, proc))
    return holders


def _processes(proc: Path) -> list[int]:
    """Our own process first: it is the likeliest holder, and always readable."""
    try:
        pids = sorted(int(name) for name in os.listdir(proc) if name.isdigit())
    except OSError:
        return []
    own = os.getpid()
    return sorted(pids, key=lambda pid: pid != own)


def _links(directory: Path, descriptors: list[str]) -> Iterator[str]:
    for descriptor in descriptors:
        try:
            yield os.readlink(directory / descriptor)
        except OSError:
            continue


def _holder(found: _Socket, pid: int | None, proc: Path) -> Holder:
    user = _user(found.uid)
    holder = Holder(found.local, found.uid, user)
    if pid is None:
        return holder
    process = proc / str(pid)
    try:
        command = (process / "comm").read_text(encoding="utf-8", errors="replace").strip() or None
        uid = process.stat().st_uid
    except OSError:
        return replace(holder, pid=pid)
    return replace(holder, pid=pid, command=command, uid=uid, user=_user(uid))


def _user(uid: int | None) -> str | None:
    if uid is None:
        return None
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"with uid {uid}"
