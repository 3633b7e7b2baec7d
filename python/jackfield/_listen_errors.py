"""Why an address could not be bound: who holds it, what is in the way, what is not permitted."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from jackfield._causes import Cause
from jackfield._connect_errors import local_ports
from jackfield._error_classes import AccessDenied, AddressInUse, AddressNotAvailable, JackfieldError
from jackfield._holders import find_holders, unix_state

if TYPE_CHECKING:
    from jackfield._address import Address
    from jackfield._failure import Failure


def in_use(failure: Failure) -> JackfieldError:
    """EADDRINUSE: names the holder, as far as we may see it."""
    if failure.address.port == 0:
        return _no_free_port(failure)
    holders = tuple(find_holders(failure.address))
    path = failure.address.path
    cause = Cause.ADDRESS_HELD
    if holders:
        shown = ", ".join(map(str, holders[:3])) + (
            f" and {len(holders) - 3} more" if len(holders) > 3 else ""
        )
        where = "" if holders[0].local == failure.address.endpoint else f", bound to {holders[0].local}"
        said, hint = f"address already in use by {shown}{where}", _free(failure, holders[0].pid)
    elif path and not failure.address.is_abstract:
        said, hint, cause = _file_in_the_way(path, unix_state(path))
    else:
        said = "address already in use, and no process shows it: "
        said += "connections of an earlier server may be ending"
        said += " (TIME_WAIT, one minute), or a socket is bound to it without listening"
        hint = f"{_look(failure)}, or choose another {'name' if path else 'port'}"
        cause = Cause.ADDRESS_LINGERS
    result = AddressInUse(f"{failure.start}: {said}", hint=hint, cause=cause)
    result.holders = holders
    return result


def _no_free_port(failure: Failure) -> JackfieldError:
    low, high = local_ports()
    said = f"the kernel has no free port to pick: every one from {low} to {high} is in use"
    hint = "close sockets (`ss -s`), name a port outside that range, "
    hint += "or widen it with `sudo sysctl net.ipv4.ip_local_port_range=`"
    return AddressNotAvailable(f"{failure.start}: {said}", hint=hint, cause=Cause.NO_FREE_PORT)


def _free(failure: Failure, pid: int | None) -> str:
    other = "another path or name" if failure.is_unix else "another port (0 lets the kernel pick one)"
    if pid is None:
        return f"see which with {_look(failure)}, or choose {other}"
    if pid == os.getpid():
        return f"close that listener first, or choose {other}"
    return f"stop it with `kill {pid}`, or choose {other}"


def _look(failure: Failure) -> str:
    if failure.is_unix:
        return f"`sudo ss -xlp | grep -F {failure.address.path}`"
    letter = "u" if failure.address.scheme == "udp" else "t"
    return f"`sudo ss -l{letter}np 'sport = :{failure.address.port}'`"


def _file_in_the_way(path: str, state: str) -> tuple[str, str, Cause]:
    if state == "stale":
        said = "a stale socket file is in the way: no process listens on it"
        return said, f"remove it with `rm {path}`", Cause.STALE_SOCKET_FILE
    if state == "live":
        said = "a live server holds the socket file, in another container or name space"
        return said, "choose another path", Cause.ADDRESS_HELD
    if state == "not a socket":
        hint = f"look at it with `ls -l {path}`, or choose another path"
        return "a file that is not a socket is in the way", hint, Cause.FILE_IN_THE_WAY
    said = "a socket file is in the way, and we may not ask whether a server holds it"
    return said, f"look at `ls -l {path}`", Cause.FILE_IN_THE_WAY


def not_available(failure: Failure) -> JackfieldError:
    """EADDRNOTAVAIL: the address is not ours."""
    said = f"this machine has no interface with the address {failure.address.host}"
    hint = f"see the addresses with `ip addr`, or leave the host empty: {_any(failure.address)}"
    cause = Cause.NO_SUCH_ADDRESS
    return AddressNotAvailable(f"{failure.start}: {said}{failure.tried}", hint=hint, cause=cause)


def _any(address: Address) -> str:
    return f"{address.scheme}://:{address.port}"


def denied(failure: Failure) -> JackfieldError:
    """EACCES and EPERM: a reserved port, a directory, a privileged option."""
    path, port = failure.address.path, failure.address.port
    if path is not None and not failure.address.is_abstract:
        directory = os.path.dirname(path)
        said = f"not permitted to make files in {directory}"
        hint = f"look at `ls -ld {directory}`, or choose another path"
    elif port is not None and 0 < port < _first_free_port():
        said = f"not permitted: ports below {_first_free_port()} are reserved"
        hint = (
            "choose a higher port, grant CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities=), "
            f"or lower the limit with `sudo sysctl net.ipv4.ip_unprivileged_port_start={port}`"
        )
    else:
        said = "not permitted"
        hint = "device= needs CAP_NET_RAW and mark= CAP_NET_ADMIN; a security module may forbid it too"
    return AccessDenied(f"{failure.start}: {said}", hint=hint, cause=Cause.NOT_PERMITTED)


def _first_free_port() -> int:
    try:
        with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 1024
