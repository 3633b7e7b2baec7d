"""Why a name did not resolve, in words: from getaddrinfo's number and what the name servers said. Pure."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from jackfield._causes import Cause
from jackfield._dns import ResolverConfig
from jackfield._error_classes import ConnectFailed, ConnectTimedOut, NameNotResolved, NameServerAnswer

if TYPE_CHECKING:
    from jackfield._address import Address

_NO_ADDRESS = (getattr(socket, "EAI_NODATA", -5), getattr(socket, "EAI_ADDRFAMILY", -9))


@dataclass(frozen=True)
class NameFailure:
    """All that is known."""

    address: Address
    """The one that the caller named."""
    error: socket.gaierror | None
    """What getaddrinfo said; None if it had said nothing at the limit."""
    config: ResolverConfig | None = None
    """How this machine looks names up, where that was looked at."""
    answers: tuple[NameServerAnswer, ...] = ()
    """What the name servers said when asked once more."""
    limit: float | None = None
    """Seconds after which the wait was ended."""

    @property
    def name(self) -> str:
        """The name."""
        return self.address.host or ""


class _Words(NamedTuple):
    cause: Cause
    said: str
    hint: str


def not_resolved(failure: NameFailure) -> ConnectFailed:
    """The error: ``NameNotResolved``, or ``ConnectTimedOut`` for a look-up that did not end in time."""
    words = _words(failure)
    start = f"cannot resolve the host name {failure.name!r} of {failure.address}: "
    kind: type[ConnectFailed] = NameNotResolved if failure.error is not None else ConnectTimedOut
    result = kind(start + words.said, hint=words.hint, cause=words.cause)
    result.address, result.stage = failure.address, "resolve"
    result.errno = failure.error.errno if failure.error is not None else errno.ETIMEDOUT
    result.servers = failure.answers
    told = [answer.server for answer in failure.answers if answer.said in _SAID]
    result.offender = told[0] if told else None
    return result


_SAID = ("NXDOMAIN", "SERVFAIL", "REFUSED", "no error")


def _words(failure: NameFailure) -> _Words:
    config, answers = failure.config, failure.answers
    if config is not None and not config.asks_dns:
        said = "there is no such name in /etc/hosts, and this machine asks no name server "
        said += f"(`hosts: {' '.join(config.sources)}` in /etc/nsswitch.conf)"
        return _Words(Cause.NO_SUCH_NAME, said, "add the name to /etc/hosts, or dns to that line")
    if config is not None and not config.servers:
        said = "there is no such name in /etc/hosts, and no name server is configured"
        return _Words(Cause.NO_NAME_SERVER, said, "name one in /etc/resolv.conf: nameserver ADDRESS")
    if answers and all(answer.said is None for answer in answers):
        return _silent(failure)
    if failure.error is None:
        return _late(failure)
    if answers:
        told = _answered(failure)
        if told is not None:
            return told
    return _by_number(failure, failure.error)


def _silent(failure: NameFailure) -> _Words:
    servers = " and ".join(answer.server for answer in failure.answers)
    waited = max(answer.elapsed for answer in failure.answers)
    within = f" within {failure.limit:g} s" if failure.error is None and failure.limit is not None else ""
    said = f"no name server answered{within}: {servers} {_is(failure)} silent for {waited:.2g} s"
    first = failure.answers[0].server
    hint = f"check the network with `ping {first}`, name another server in /etc/resolv.conf, "
    return _Words(Cause.NAME_SERVER_SILENT, said, hint + "or write a number for the name")


def _is(failure: NameFailure) -> str:
    return "was" if len(failure.answers) == 1 else "were"


def _late(failure: NameFailure) -> _Words:
    """The limit was reached before the system's resolver was done, though some server did answer."""
    said = (
        f"it was not resolved within {failure.limit:g} s" if failure.limit is not None else "it took too long"
    )
    silent = [answer.server for answer in failure.answers if answer.said is None]
    cause = Cause.NAME_SERVER_SILENT if silent else Cause.NAME_SERVER_FAILED
    if failure.answers:
        said += f" ({'; '.join(map(str, failure.answers))})"
    return _Words(cause, said, "check the servers in /etc/resolv.conf, or raise connect_timeout=")


def _answered(failure: NameFailure) -> _Words | None:
    answers = failure.answers
    told = [answer for answer in answers if answer.said in _SAID]
    evidence = "; ".join(map(str, answers))
    addresses = [ip for answer in told if answer.said == "no error" for ip in answer.addresses]
    hint = f"see what the system makes of it with `getent ahosts {failure.name}`"
    if addresses and all(":" in ip for ip in addresses):
        said = f"the name has only IPv6 addresses, and this machine has none of its own ({evidence})"
        return _Words(Cause.NAME_WITHOUT_ADDRESS, said, hint)
    if addresses:
        said = f"the system's resolver failed, although a name server knows the name now ({evidence})"
        return _Words(Cause.NAME_SERVER_FAILED, said, f"try again, and {hint}")
    for code, writer in _CODES.items():
        if any(answer.said == code for answer in told):
            return writer(failure, evidence)
    hint = "check the servers in /etc/resolv.conf, or write a number for the name"
    spoke = [answer.said for answer in answers if answer.said is not None]
    if any(not said.startswith("unreachable") for said in spoke):
        said = f"no usable answer came from a name server ({evidence})"
        return _Words(Cause.NAME_SERVER_FAILED, said, hint)
    if spoke:
        return _Words(Cause.NAME_SERVER_SILENT, f"no name server answered ({evidence})", hint)
    return None


def _no_such_name(failure: NameFailure, evidence: str) -> _Words:
    said = f"there is no such name ({evidence})"
    return _Words(Cause.NO_SUCH_NAME, said, _spelling(failure))


def _no_address(failure: NameFailure, evidence: str) -> _Words:
    said = f"the name exists, but has no address ({evidence})"
    hint = f"see what it has with `getent ahosts {failure.name}`, and check the spelling"
    return _Words(Cause.NAME_WITHOUT_ADDRESS, said, hint)


def _failed(failure: NameFailure, evidence: str) -> _Words:
    said = f"the name server could not find out ({evidence})"
    hint = "try again, or ask who runs that server: the zone's own servers may be out of its reach"
    return _Words(Cause.NAME_SERVER_FAILED, said, hint)


def _refused(failure: NameFailure, evidence: str) -> _Words:
    said = f"the name server refuses to answer this machine ({evidence})"
    return _Words(Cause.NAME_SERVER_FAILED, said, "name another server in /etc/resolv.conf")


_CODES = {"NXDOMAIN": _no_such_name, "no error": _no_address, "SERVFAIL": _failed, "REFUSED": _refused}


def _spelling(failure: NameFailure) -> str:
    name, config = failure.name, failure.config
    if name.endswith(".local") and config is not None and not config.asks_multicast:
        return "names in .local are asked by multicast DNS: install nss-mdns (avahi), or write the number"
    if "." not in name:
        domains = f" (the search domain {config.search[0]} was tried)" if config and config.search else ""
        return f"write the full name, such as {name}.example.org{domains}, or add it to /etc/hosts"
    return f"check the spelling with `getent hosts {name}`, or write the number instead of the name"


def _by_number(failure: NameFailure, error: socket.gaierror) -> _Words:
    """Nobody was asked: what getaddrinfo itself makes of it."""
    name = failure.name
    if error.errno == socket.EAI_AGAIN:
        hint = "check the network and the name servers in /etc/resolv.conf, or write a number for the name"
        return _Words(Cause.NAME_SERVER_SILENT, "no name server answered", hint)
    if error.errno == socket.EAI_NONAME:
        return _Words(Cause.NO_SUCH_NAME, "there is no such name", _spelling(failure))
    if error.errno in _NO_ADDRESS:
        hint = f"see what it has with `getent ahosts {name}`"
        said = "the name exists but has no address of this kind"
        return _Words(Cause.NAME_WITHOUT_ADDRESS, said, hint)
    if error.errno == socket.EAI_FAIL:
        hint = f"try again, or ask another server with `getent hosts {name}`"
        return _Words(Cause.NAME_SERVER_FAILED, "the name server failed", hint)
    said = error.strerror or str(error)
    return _Words(Cause.NAME_SERVER_FAILED, said, f"look at what `getent hosts {name}` says")
