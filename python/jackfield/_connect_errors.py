"""Why nothing could be connected: what the network said (`_verdicts`), what is at a Unix socket's name."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from jackfield._causes import Cause
from jackfield._error_classes import (
    AccessDenied,
    AddressInUse,
    AddressNotAvailable,
    ConnectFailed,
    ConnectRefused,
    ConnectTimedOut,
    HostUnreachable,
    JackfieldError,
)
from jackfield._holders import bound_elsewhere, unix_kind
from jackfield._routes import is_own
from jackfield._verdicts import Evidence, Verdict, gather, judge

if TYPE_CHECKING:
    from jackfield._failure import Failure

_CLASSES: dict[Cause, type[JackfieldError]] = {
    Cause.NOTHING_LISTENS: ConnectRefused,
    Cause.PORT_CLOSED: ConnectRefused,
    Cause.NO_ANSWER: ConnectTimedOut,
    Cause.OWN_FIREWALL: AccessDenied,
}
"""The class of each cause of the network; ``HostUnreachable`` for those that are not named."""


def over_ip(failure: Failure) -> JackfieldError | None:
    """The error for what the network said; None if it was not the network."""
    evidence = _evidence(failure)
    verdict = judge(evidence) if evidence is not None else None
    if evidence is None or verdict is None:
        return None
    kind = _CLASSES.get(verdict.cause, HostUnreachable)
    if evidence.errno == errno.ETIMEDOUT:
        kind = ConnectTimedOut
    if failure.error.errno == errno.ECONNREFUSED and verdict.cause is Cause.FILTERED:
        kind = ConnectRefused  # what a caller of connect(2) would catch
    if failure.error.errno == errno.EACCES and verdict.cause is Cause.OWN_ROUTE_REFUSES:
        kind = AccessDenied
    said = verdict.said + _elsewhere(failure, verdict)
    result = kind(f"{failure.start}: {said}{failure.tried}", hint=verdict.hint, cause=verdict.cause)
    result.offender, result.icmp = evidence.offender, evidence.icmp
    return result


def _evidence(failure: Failure) -> Evidence | None:
    attempt = failure.attempt
    address = attempt.address if attempt is not None else failure.address
    if failure.is_unix or address.port is None:
        return None
    number = failure.error.errno
    if number is None and isinstance(failure.error, TimeoutError):
        number = errno.ETIMEDOUT
    return gather(
        protocol=address.scheme,
        host=address.host or "127.0.0.1",
        port=address.port,
        errno=number,
        icmp=getattr(failure.error, "icmp", None),
        offender=getattr(failure.error, "offender", None),
        elapsed=attempt.elapsed if attempt is not None else None,
    )


def _elsewhere(failure: Failure, verdict: Verdict) -> str:
    """Where on this machine something does listen on that port."""
    attempt = failure.attempt
    address = attempt.address if attempt is not None else failure.address
    if verdict.cause is not Cause.NOTHING_LISTENS or "on this machine" not in verdict.said:
        return ""
    others = [local for local in bound_elsewhere(address) if local != address.endpoint]
    return f", only on {' and '.join(others[:3])}" if others else ""


def not_permitted(failure: Failure) -> JackfieldError:
    """EACCES and EPERM that no route explains."""
    said = "not permitted: a firewall rule or a security module of this machine forbids it"
    hint = "look at `sudo nft list ruleset`"
    if failure.error.errno == errno.EACCES and failure.address.scheme == "udp":
        said, hint = "not permitted: it is a broadcast address", "say that it is meant with broadcast=yes"
    return AccessDenied(f"{failure.start}: {said}{failure.tried}", hint=hint, cause=Cause.NOT_PERMITTED)


def no_local_port(failure: Failure) -> JackfieldError:
    """EADDRINUSE: the local port of ``bind=``, or every one."""
    said = "no local port is free for it, or the pair of addresses is taken"
    hint = "drop the port in bind=, or wait for old connections to end (`ss -tan state time-wait`)"
    return AddressInUse(f"{failure.start}: {said}{failure.tried}", hint=hint, cause=Cause.NO_FREE_PORT)


def no_local_address(failure: Failure) -> JackfieldError:
    """EADDRNOTAVAIL: no such address for ``bind=``, none of the right family, or no port left."""
    own, low_high = failure.own, "{} to {}".format(*local_ports())
    cause = Cause.NO_SUCH_ADDRESS
    if failure.error.strerror not in (None, os.strerror(errno.EADDRNOTAVAIL)):
        said, hint = (
            str(failure.error.strerror),
            "see what the name has with `getent ahosts`, and check bind=",
        )
    elif own is not None and own.host is not None and not is_own(own.host):
        said = f"this machine has no interface with the address {own.host} of bind="
        hint = "see the addresses with `ip addr`"
    elif _has_route(failure):
        said = f"all local ports ({low_high}) are in use towards that address"
        hint = "close connections, or widen the range with `sudo sysctl net.ipv4.ip_local_port_range=`"
        cause = Cause.NO_FREE_PORT
    else:
        said = f"this machine has no local address for it, or all its local ports ({low_high}) are in use"
        hint = "see the addresses with `ip addr`, and how many connections there are with `ss -s`"
    return AddressNotAvailable(f"{failure.start}: {said}{failure.tried}", hint=hint, cause=cause)


def local_ports() -> tuple[int, int]:
    """The range of which the kernel picks local ports."""
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
            low, high = file.read().split()
        return int(low), int(high)
    except (OSError, ValueError):
        return 32768, 60999


# Unix sockets -------------------------------------------------------------------------------------


def unix_refused(failure: Failure) -> JackfieldError:
    """Nobody listens at the name."""
    path = failure.address.path or ""
    cause = Cause.STALE_SOCKET_FILE
    if failure.address.is_abstract:
        kind = unix_kind(path)
        if kind and kind != failure.address.scheme:
            said = f"the socket of that abstract name is {kind}, not {failure.address.scheme}"
            hint = f"write {kind}{str(failure.address).removeprefix(failure.address.scheme)}"
            cause = Cause.WRONG_KIND
        else:
            said, hint = "no process listens on that abstract name", "start the server, or see `ss -xl`"
            cause = Cause.NO_SUCH_FILE
    elif not is_socket(path):
        said, hint, cause = "the file is not a socket", f"look at it with `ls -l {path}`", Cause.NOT_A_SOCKET
    else:
        said = "the socket file is stale: no process listens on it, its server has ended without removing it"
        hint = "start the server again; a Jackfield listener replaces a stale file by itself"
    return ConnectRefused(f"{failure.start}: {said}", hint=hint, cause=cause)


def unix_absent(failure: Failure) -> JackfieldError:
    """There is no such file."""
    directory = os.path.dirname(failure.address.path or "")
    if not os.path.isdir(directory):
        said, hint = f"there is no directory {directory}", "check the path"
    else:
        said, hint = "there is no such socket file", "start the server, or check the path"
    return ConnectRefused(f"{failure.start}: {said}", hint=hint, cause=Cause.NO_SUCH_FILE)


def unix_wrong_kind(failure: Failure) -> JackfieldError:
    """Stream, datagram, seqpacket: the server's is another one."""
    kind = unix_kind(failure.address.path or "")
    said = "the socket there is of another kind"
    hint = "use one of unix://, unix+dgram:// and unix+seqpacket:// as the server does"
    if kind:
        said = f"the socket there is {kind}, not {failure.address.scheme}"
        hint = f"write {kind}{str(failure.address).removeprefix(failure.address.scheme)}"
    return ConnectFailed(f"{failure.start}: {said}", hint=hint, cause=Cause.WRONG_KIND)


def unix_busy(failure: Failure) -> JackfieldError:
    """The accept queue is full."""
    said = "the server's accept queue is full: it listens, and does not accept"
    hint = "see whether the server hangs, or raise its backlog="
    return ConnectTimedOut(f"{failure.start}: {said}", hint=hint, cause=Cause.ACCEPT_QUEUE_FULL)


def unix_denied(failure: Failure) -> JackfieldError:
    """The file's permissions, or a directory's."""
    path = failure.address.path or ""
    try:
        status = os.stat(path)
    except OSError:
        said, hint = "not permitted to enter its directory", f"look at `namei -l {path}`"
    else:
        mode = stat.filemode(status.st_mode)
        said = f"not permitted: the file is {mode} and belongs to uid {status.st_uid}"
        hint = "connecting needs write permission; ask its owner, or use chmod or a common group"
    return AccessDenied(f"{failure.start}: {said}", hint=hint, cause=Cause.NOT_PERMITTED)


def is_socket(path: str) -> bool:
    """Whether there is a socket's file."""
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def _has_route(failure: Failure) -> bool:
    """Whether the kernel knows a way and an own address for the target, so that only ports can be missing."""
    evidence = _evidence(failure)
    return evidence is not None and evidence.route is not None and evidence.route.kind in ("unicast", "local")
