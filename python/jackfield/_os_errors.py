"""What the operating system said when an endpoint was opened, as an error with cause, evidence and next step.

``from_os_error`` picks the class by stage and errno. It looks at the system for evidence (/proc, the socket
file, limits), never at the network, and leaves out what it may not see.
"""

from __future__ import annotations

import errno
import os
import resource
import socket
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jackfield._error_classes import (
    AccessDenied,
    AddressInUse,
    AddressNotAvailable,
    Attempt,
    ConnectFailed,
    ConnectRefused,
    ConnectTimedOut,
    HostUnreachable,
    JackfieldError,
    ListenFailed,
    NameNotResolved,
    TooManyOpenFiles,
)
from jackfield._holders import bound_elsewhere, find_holders, unix_kind, unix_state

if TYPE_CHECKING:
    from jackfield._address import Address

_DOING = {
    "resolve": "cannot resolve the name in",
    "bind": "cannot bind",
    "listen": "cannot listen on",
    "connect": "cannot connect to",
}


@dataclass(frozen=True)
class _Case:
    """One failure, and what the words about it start with."""

    error: OSError
    stage: str
    address: Address
    attempts: tuple[Attempt, ...]

    @property
    def start(self) -> str:
        bare = self.address.without_options()
        return f"{_DOING.get(self.stage, f'cannot {self.stage}')} {bare}"

    @property
    def tried(self) -> str:
        """Every attempt, when there was more than one: a name may have several addresses."""
        if len(self.attempts) < 2:
            return ""
        return f" (tried {'; '.join(map(str, self.attempts))})"

    @property
    def is_unix(self) -> bool:
        return self.address.scheme.startswith("unix")

    @property
    def is_local(self) -> bool:
        host = self.address.host or ""
        return host in ("localhost", "::1") or host.startswith("127.")


def from_os_error(
    error: OSError, *, stage: str, address: Address, attempts: Iterable[Attempt] = ()
) -> JackfieldError:
    """The error for an endpoint that could not be opened; ``error`` becomes its ``__cause__``.

    ``stage`` is "resolve", "bind", "listen" or "connect"; ``address`` is the one that the caller named;
    ``attempts`` are what was tried, in order. May take some milliseconds: it looks for the holder of an
    address in use.
    """
    case = _Case(error, stage, address, tuple(attempts))
    result = _writer(case)(case)
    result.address = address
    result.attempts = case.attempts
    result.stage = stage
    result.errno = error.errno
    result.__cause__ = error
    return result


def _writer(case: _Case) -> Callable[[_Case], JackfieldError]:
    if isinstance(case.error, socket.gaierror):
        return _not_resolved
    number = case.error.errno
    if number is None and isinstance(case.error, TimeoutError):
        number = errno.ETIMEDOUT
    if case.is_unix and number in _UNIX_WRITERS and case.stage == "connect":
        return _UNIX_WRITERS[number]
    return _WRITERS.get(number or 0, _other)


# Names --------------------------------------------------------------------------------------------


def _not_resolved(case: _Case) -> JackfieldError:
    name = case.address.host or ""
    number = case.error.errno
    if number == socket.EAI_AGAIN:
        said = "no name server answered"
        hint = "check the network and the name servers in /etc/resolv.conf, or write a number for the name"
    elif number == socket.EAI_NONAME:
        said = "there is no such name"
        hint = f"check the spelling with `getent hosts {name}`, or write the number instead of the name"
    elif number in (getattr(socket, "EAI_NODATA", -5), getattr(socket, "EAI_ADDRFAMILY", -9)):
        said = "the name exists but has no address of this kind"
        hint = f"see what it has with `getent ahosts {name}`"
    elif number == socket.EAI_FAIL:
        said = "the name server failed"
        hint = f"try again, or ask another server with `getent hosts {name}`"
    else:
        said = case.error.strerror or str(case.error)
        hint = f"look at what `getent hosts {name}` says"
    return NameNotResolved(f"cannot resolve the host name {name!r} of {case.address}: {said}", hint=hint)


# Connecting ---------------------------------------------------------------------------------------


def _refused(case: _Case) -> JackfieldError:
    port = case.address.port
    if case.is_local:
        said = f"connection refused: nothing on this machine listens there{_elsewhere(case)}"
        hint = f"start the server, or see what listens with `ss -ltnp 'sport = :{port}'`"
    else:
        said = f"connection refused: the host answered, and nothing listens on port {port}"
        said += " (or a firewall sent the reset)"
        hint = f"start the server there, or check the port with `ss -ltn 'sport = :{port}'` on that host"
    return ConnectRefused(f"{case.start}: {said}{case.tried}", hint=hint)


def _elsewhere(case: _Case) -> str:
    others = [local for local in bound_elsewhere(case.address) if local != case.address.endpoint]
    return f", only on {' and '.join(others[:3])}" if others else ""


def _silent(case: _Case) -> JackfieldError:
    waited = [attempt.elapsed for attempt in case.attempts if attempt.elapsed is not None]
    within = f" within {max(waited):.3g} s" if waited else ""
    said = f"no answer{within}: the host is down, a firewall drops the packets, "
    said += "or the server's accept queue is full"
    host = case.address.host
    hint = (
        f"try `ping {host}`, check host and port, or raise connect_timeout="
        if host
        else "raise connect_timeout="
    )
    return ConnectTimedOut(f"{case.start}: {said}{case.tried}", hint=hint)


def _unreachable(case: _Case) -> JackfieldError:
    host = case.address.host
    if case.error.errno in (errno.ENETUNREACH, errno.ENETDOWN):
        said = "this machine has no route there"
        if case.error.errno == errno.ENETDOWN:
            said = "the network interface is down"
        hint = f"see `ip route get {host}` and `ip link`"
    else:
        said = "host unreachable: no such host on the local link, or a router or firewall on the way said no"
        hint = f"check the address and that the host is on, with `ping {host}` and `ip neigh show {host}`"
    return HostUnreachable(f"{case.start}: {said}{case.tried}", hint=hint)


def _unix_refused(case: _Case) -> JackfieldError:
    path = case.address.path or ""
    if case.address.is_abstract:
        kind = unix_kind(path)
        if kind and kind != case.address.scheme:
            said = f"the socket of that abstract name is {kind}, not {case.address.scheme}"
            hint = f"write {kind}{str(case.address).removeprefix(case.address.scheme)}"
        else:
            said, hint = "no process listens on that abstract name", "start the server, or see `ss -xl`"
    elif not _is_socket(path):
        said, hint = "the file is not a socket", f"look at it with `ls -l {path}`"
    else:
        said = "the socket file is stale: no process listens on it, its server has ended without removing it"
        hint = "start the server again; a Jackfield listener replaces a stale file by itself"
    return ConnectRefused(f"{case.start}: {said}", hint=hint)


def _unix_absent(case: _Case) -> JackfieldError:
    path = case.address.path or ""
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):
        said, hint = f"there is no directory {directory}", "check the path"
    else:
        said, hint = "there is no such socket file", "start the server, or check the path"
    return ConnectRefused(f"{case.start}: {said}", hint=hint)


def _unix_wrong_kind(case: _Case) -> JackfieldError:
    kind = unix_kind(case.address.path or "")
    said = "the socket there is of another kind"
    hint = "use one of unix://, unix+dgram:// and unix+seqpacket:// as the server does"
    if kind:
        said = f"the socket there is {kind}, not {case.address.scheme}"
        hint = f"write {kind}{str(case.address).removeprefix(case.address.scheme)}"
    return ConnectFailed(f"{case.start}: {said}", hint=hint)


def _unix_busy(case: _Case) -> JackfieldError:
    said = "the server's accept queue is full: it listens, and does not accept"
    return ConnectFailed(f"{case.start}: {said}", hint="see whether the server hangs, or raise its backlog=")


# Binding and listening ----------------------------------------------------------------------------


def _in_use(case: _Case) -> JackfieldError:
    if case.stage == "connect" and not case.address.path:
        said = "no local port is free for it, or the pair of addresses is taken"
        hint = "drop the port in bind=, or wait for old connections to end (`ss -tan state time-wait`)"
        return AddressInUse(f"{case.start}: {said}", hint=hint)
    holders = tuple(find_holders(case.address))
    path = case.address.path
    if holders:
        shown = ", ".join(map(str, holders[:3])) + (
            f" and {len(holders) - 3} more" if len(holders) > 3 else ""
        )
        where = "" if holders[0].local == case.address.endpoint else f", bound to {holders[0].local}"
        said, hint = f"address already in use by {shown}{where}", _free(case, holders[0].pid)
    elif path and not case.address.is_abstract:
        said, hint = _file_in_the_way(path, unix_state(path))
    else:
        said = (
            "address already in use, and no process shows it: connections of an earlier server may be ending"
        )
        said += " (TIME_WAIT, one minute), or a socket is bound to it without listening"
        hint = f"{_look(case)}, or choose another {'name' if path else 'port'}"
    result = AddressInUse(f"{case.start}: {said}", hint=hint)
    result.holders = holders
    return result


def _free(case: _Case, pid: int | None) -> str:
    other = "another path or name" if case.is_unix else "another port (0 lets the kernel pick one)"
    if pid is None:
        return f"see which with {_look(case)}, or choose {other}"
    if pid == os.getpid():
        return f"close that listener first, or choose {other}"
    return f"stop it with `kill {pid}`, or choose {other}"


def _look(case: _Case) -> str:
    if case.is_unix:
        return f"`sudo ss -xlp | grep -F {case.address.path}`"
    letter = "u" if case.address.scheme == "udp" else "t"
    return f"`sudo ss -l{letter}np 'sport = :{case.address.port}'`"


def _file_in_the_way(path: str, state: str) -> tuple[str, str]:
    if state == "stale":
        return "a stale socket file is in the way: no process listens on it", f"remove it with `rm {path}`"
    if state == "live":
        return (
            "a live server holds the socket file, in another container or name space",
            "choose another path",
        )
    if state == "not a socket":
        return (
            "a file that is not a socket is in the way",
            f"look at it with `ls -l {path}`, or choose another path",
        )
    return (
        "a socket file is in the way, and we may not ask whether a server holds it",
        f"look at `ls -l {path}`",
    )


def _not_available(case: _Case) -> JackfieldError:
    if case.stage == "connect":
        said = "no local address or port for it"
        hint = "check bind=, and whether every local port is taken (`ss -s`)"
    else:
        said = f"this machine has no interface with the address {case.address.host}"
        hint = f"see the addresses with `ip addr`, or leave the host empty: {_any(case.address)}"
    return AddressNotAvailable(f"{case.start}: {said}{case.tried}", hint=hint)


def _any(address: Address) -> str:
    return f"{address.scheme}://:{address.port}"


def _denied(case: _Case) -> JackfieldError:
    path, port = case.address.path, case.address.port
    if path is not None and not case.address.is_abstract:
        said, hint = _denied_file(path, case.stage)
    elif case.stage == "connect":
        said = "not permitted: a firewall rule of this machine forbids it, or it is a broadcast address"
        hint = "look at `sudo nft list ruleset`"
    elif port is not None and 0 < port < _first_free_port():
        said = f"not permitted: ports below {_first_free_port()} are reserved"
        hint = (
            "choose a higher port, grant CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities=), "
            f"or lower the limit with `sudo sysctl net.ipv4.ip_unprivileged_port_start={port}`"
        )
    else:
        said = "not permitted"
        hint = "device= needs CAP_NET_RAW and mark= CAP_NET_ADMIN; a security module may forbid it too"
    return AccessDenied(f"{case.start}: {said}", hint=hint)


def _denied_file(path: str, stage: str) -> tuple[str, str]:
    if stage != "connect":
        directory = os.path.dirname(path)
        return (
            f"not permitted to make files in {directory}",
            f"look at `ls -ld {directory}`, or choose another path",
        )
    try:
        status = os.stat(path)
    except OSError:
        return "not permitted to enter its directory", f"look at `namei -l {path}`"
    said = f"not permitted: the file is {stat.filemode(status.st_mode)} and belongs to uid {status.st_uid}"
    return said, "connecting needs write permission; ask its owner, or use chmod or a common group"


def _first_free_port() -> int:
    try:
        with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 1024


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


# Anything -----------------------------------------------------------------------------------------


def _too_many(case: _Case) -> JackfieldError:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    said = f"this process may have {soft} open files and has them all (soft limit; the hard one is {hard})"
    hint = f"raise it with `ulimit -n {hard}` before the start, " if soft < hard else "raise it "
    hint += "with LimitNOFILE= in systemd, or --ulimit nofile= in Docker"
    limit: int | None = soft
    if case.error.errno == errno.ENFILE:
        limit = _system_limit()
        said = f"the whole machine has its {limit or ''} open files".replace("  ", " ")
        hint = "raise it with `sudo sysctl fs.file-max=...`"
    result = TooManyOpenFiles(f"{case.start}: {said}", hint=hint)
    result.limit = limit
    return result


def _system_limit() -> int | None:
    try:
        with open("/proc/sys/fs/file-max", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def _other(case: _Case) -> JackfieldError:
    number = case.error.errno
    host = case.address.host or ""
    said = case.error.strerror or str(case.error) or type(case.error).__name__
    name = f" ({errno.errorcode[number]})" if number is not None and number in errno.errorcode else ""
    hint = None
    if number == errno.EINVAL and host.lower().startswith("fe80:") and "%" not in host:
        said, hint = "a link-local address needs its interface", f"write for example [{host}%25eth0]"
    elif number == errno.ENODEV:
        hint = "check the interface with `ip link`"
    elif number in (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT):
        hint = "the kernel of this machine lacks that protocol, such as IPv6"
    elif number in (errno.ENOENT, errno.ENOTDIR) and case.is_unix:
        hint = f"make the directory {os.path.dirname(case.address.path or '')} first"
    elif number in (errno.ENOBUFS, errno.ENOMEM):
        hint = "the kernel is short of memory for sockets: see `cat /proc/net/sockstat`"
    kind = ListenFailed if case.stage in ("bind", "listen") else ConnectFailed
    return kind(f"{case.start}: {said}{name}{case.tried}", hint=hint)


_WRITERS: dict[int, Callable[[_Case], JackfieldError]] = {
    errno.ECONNREFUSED: _refused,
    errno.ETIMEDOUT: _silent,
    errno.EHOSTUNREACH: _unreachable,
    errno.ENETUNREACH: _unreachable,
    errno.EHOSTDOWN: _unreachable,
    errno.ENETDOWN: _unreachable,
    errno.EADDRINUSE: _in_use,
    errno.EADDRNOTAVAIL: _not_available,
    errno.EACCES: _denied,
    errno.EPERM: _denied,
    errno.EMFILE: _too_many,
    errno.ENFILE: _too_many,
}
_UNIX_WRITERS: dict[int, Callable[[_Case], JackfieldError]] = {
    errno.ECONNREFUSED: _unix_refused,
    errno.ENOENT: _unix_absent,
    errno.ENOTDIR: _unix_absent,
    errno.EPROTOTYPE: _unix_wrong_kind,
    errno.EAGAIN: _unix_busy,
}
