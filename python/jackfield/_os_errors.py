"""What the operating system said when an endpoint was opened, as an error with cause, evidence and next step.

``from_os_error`` picks the writer by stage and errno: `_connect_errors`, `_listen_errors`, and here what is
common to both. They look at the system for evidence (/proc, the socket file, routes, limits), never at the
network, and leave out what they may not see.
"""

from __future__ import annotations

import errno
import os
import resource
import socket
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from jackfield import _connect_errors as connecting
from jackfield import _listen_errors as listening
from jackfield._causes import Cause
from jackfield._error_classes import (
    Attempt,
    ConnectFailed,
    JackfieldError,
    ListenFailed,
    TooManyOpenFiles,
)
from jackfield._failure import Failure
from jackfield._name_errors import NameFailure, not_resolved
from jackfield._tls_errors import handshake_failed

if TYPE_CHECKING:
    from jackfield._address import Address


def from_os_error(
    error: OSError,
    *,
    stage: str,
    address: Address,
    attempts: Iterable[Attempt] = (),
    own: Address | None = None,
) -> JackfieldError:
    """The error for an endpoint that could not be opened; ``error`` becomes its ``__cause__``.

    ``stage`` is "resolve", "bind", "listen", "connect" or "accept"; ``address`` is the one that the caller
    named, ``own`` our end as ``bind=`` has it; ``attempts`` are what was tried, in order. May take some
    milliseconds: it looks for the holder of an address in use.
    """
    failure = Failure(error, stage, address, tuple(attempts), own)
    result = _write(failure)
    result.address = address
    result.attempts = failure.attempts
    result.stage = stage
    result.errno = error.errno
    result.__cause__ = error
    return result


def _write(failure: Failure) -> JackfieldError:
    if isinstance(failure.error, socket.gaierror):
        return not_resolved(NameFailure(failure.address, failure.error))
    if getattr(failure.error, "tls", None) is not None:
        return handshake_failed(failure)
    number = failure.error.errno
    if number is None and isinstance(failure.error, TimeoutError):
        number = errno.ETIMEDOUT
    if number in (errno.EMFILE, errno.ENFILE):
        return _too_many(failure)
    if failure.stage == "connect":
        told = connecting.over_ip(failure)
        if told is not None:
            return told
        writers = _UNIX_WRITERS if failure.is_unix else _CONNECT_WRITERS
    else:
        writers = _BIND_WRITERS
    return writers.get(number or 0, _other)(failure)


# Anything -----------------------------------------------------------------------------------------


def _too_many(failure: Failure) -> JackfieldError:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    said = f"this process may have {soft} open files and has them all (soft limit; the hard one is {hard})"
    hint = f"raise it with `ulimit -n {hard}` before the start, " if soft < hard else "raise it "
    hint += "with LimitNOFILE= in systemd, or --ulimit nofile= in Docker"
    limit: int | None = soft
    if failure.error.errno == errno.ENFILE:
        limit = _system_limit()
        said = f"the whole machine has its {limit or ''} open files".replace("  ", " ")
        hint = "raise it with `sudo sysctl fs.file-max=...`"
    result = TooManyOpenFiles(f"{failure.start}: {said}", hint=hint, cause=Cause.TOO_MANY_OPEN_FILES)
    result.limit = limit
    return result


def _system_limit() -> int | None:
    try:
        with open("/proc/sys/fs/file-max", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def _other(failure: Failure) -> JackfieldError:
    number = failure.error.errno
    host = failure.address.host or ""
    said = failure.error.strerror or str(failure.error) or type(failure.error).__name__
    name = f" ({errno.errorcode[number]})" if number is not None and number in errno.errorcode else ""
    hint = None
    if number == errno.EINVAL and host.lower().startswith("fe80:") and "%" not in host:
        said, hint = "a link-local address needs its interface", f"write for example [{host}%25eth0]"
    elif number == errno.ENODEV:
        hint = "check the interface with `ip link`"
    elif number in (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT):
        hint = "the kernel of this machine lacks that protocol, such as IPv6"
    elif number in (errno.ENOENT, errno.ENOTDIR) and failure.is_unix:
        hint = f"make the directory {os.path.dirname(failure.address.path or '')} first"
    elif number in (errno.ENOBUFS, errno.ENOMEM):
        hint = "the kernel is short of memory for sockets: see `cat /proc/net/sockstat`"
    kind = ListenFailed if failure.stage in ("bind", "listen") else ConnectFailed
    return kind(f"{failure.start}: {said}{name}{failure.tried}", hint=hint)


Writers = dict[int, Callable[[Failure], JackfieldError]]

_CONNECT_WRITERS: Writers = {
    errno.EADDRINUSE: connecting.no_local_port,
    errno.EADDRNOTAVAIL: connecting.no_local_address,
    errno.EACCES: connecting.not_permitted,
    errno.EPERM: connecting.not_permitted,
}
_UNIX_WRITERS: Writers = {
    errno.ECONNREFUSED: connecting.unix_refused,
    errno.ENOENT: connecting.unix_absent,
    errno.ENOTDIR: connecting.unix_absent,
    errno.EPROTOTYPE: connecting.unix_wrong_kind,
    errno.EAGAIN: connecting.unix_busy,
    errno.ETIMEDOUT: connecting.unix_busy,
    errno.EADDRINUSE: listening.in_use,
    errno.EACCES: connecting.unix_denied,
    errno.EPERM: connecting.unix_denied,
}
_BIND_WRITERS: Writers = {
    errno.EADDRINUSE: listening.in_use,
    errno.EADDRNOTAVAIL: listening.not_available,
    errno.EACCES: listening.denied,
    errno.EPERM: listening.denied,
}
