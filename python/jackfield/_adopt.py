"""Descriptors that somebody else has opened: an inherited socket, one of another library, one from systemd.

``adopt`` finds out what a descriptor is, checks that the options fit it, and only then takes it: until the
last step every failure leaves it with the caller. A socket keeps what it was set to; only options that are
given are set.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, Unpack

from jackfield._activation import descriptor_of, note_taken
from jackfield._address import Address
from jackfield._channel import Channel
from jackfield._errors import AdoptFailed, InvalidOption
from jackfield._kernel_options import refused
from jackfield._listen import Listener
from jackfield._loop import current_reactor
from jackfield._options import OptionFields, Options
from jackfield._socket_options import SOCKET_OPTIONS
from jackfield._transports import RawAddress, Setup, as_address, prepare

_PROTOCOLS = {
    (socket.AF_INET, socket.SOCK_STREAM): "tcp",
    (socket.AF_INET6, socket.SOCK_STREAM): "tcp",
    (socket.AF_INET, socket.SOCK_DGRAM): "udp",
    (socket.AF_INET6, socket.SOCK_DGRAM): "udp",
    (socket.AF_UNIX, socket.SOCK_STREAM): "unix",
    (socket.AF_UNIX, socket.SOCK_DGRAM): "unix+dgram",
    (socket.AF_UNIX, socket.SOCK_SEQPACKET): "unix+seqpacket",
}
_IP_PROTOCOLS = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP}

_ONLY_OPENING = ("bind", "connect_timeout")
_LARGEST = 2**31 - 1
"""A descriptor is an int of C; Python would cut a larger number, and look at another descriptor."""
"""Options of Jackfield's own that a socket which is open already has no use for."""


class HasFileno(Protocol):
    """A socket or file object."""

    def fileno(self) -> int: ...


@dataclass(frozen=True, slots=True)
class _Found:
    """What a descriptor is."""

    family: int
    protocol: str
    listens: bool
    address: Address
    """Of a listener its own, of a channel the peer's."""


def adopt(
    source: int | HasFileno, /, *, opened_as: Address | str | None = None, **options: Unpack[OptionFields]
) -> Channel | Listener:
    """Make a channel or a listener of a socket that is open already: a descriptor, or an object that has one.

    What it is - TCP, UDP or Unix, listening or connected - is asked of the kernel. It belongs to the channel
    from then on and is closed with it: a ``socket.socket`` is emptied (its ``detach()``), any other object is
    closed after its descriptor was duplicated. If anything fails, it stays the caller's, open as it was (an
    option that was set already stays set). It is made close-on-exec. A Unix listener's file is not removed
    when it closes: whoever made it removes it.

    Options are those of ``connect`` and ``listen``; the socket keeps what it was set to, unless they say
    otherwise. ``opened_as`` is for a listener that ``listen`` has opened elsewhere (``Listener.detach``): the
    address that it was given there, whose options hold. Those that only count while a socket is opened are
    left as they were, and a Unix socket's file is removed in the end as if this process had made it.

    Raises ``AdoptFailed`` (an ``OSError``), ``InvalidOption``, ``NotSupported``, ``AccessDenied``.
    """
    if isinstance(source, (Channel, Listener)):
        raise AdoptFailed(f"{source!r} is a channel or listener already", hint="detach() it first")
    if type(source).__name__ == "SSLSocket":
        raise AdoptFailed("a TLS socket's keys are in the object, not in the descriptor", stage="adopt")
    if not isinstance(source, int) and not hasattr(source, "fileno"):
        raise TypeError(f"adopt takes a descriptor or an object with fileno(), not {type(source).__name__}")
    number = source if isinstance(source, int) else source.fileno()
    found = _look(number, f"descriptor {number}")
    if opened_as is not None:
        setup, given = _as_opened(number, found, opened_as, options), set(options) - _only_opening()
    else:
        setup, given = _fitting(found, Options().merge(**options), set(options)), set(options)
    if isinstance(source, (int, socket.socket)):
        made = _take(number, found, setup, given)
        if isinstance(source, socket.socket):
            source.detach()
        if opened_as is not None and isinstance(made, Listener):
            made._own_file()
        return made
    copy = os.dup(number)
    try:
        made = _take(copy, found, setup, given)
    except BaseException:
        os.close(copy)
        raise
    close = getattr(source, "close", None)
    if close is not None:
        close()
    if opened_as is not None and isinstance(made, Listener):
        made._own_file()
    return made


def _only_opening() -> set[str]:
    """Options that count only while a socket is opened."""
    return {name for name, row in SOCKET_OPTIONS.items() if row.when != "any time"} | set(_ONLY_OPENING)


def _as_opened(number: int, found: _Found, opened_as: Address | str, options: OptionFields) -> Setup:
    """The setup of a listener that was opened as that address. Raises ``AdoptFailed`` if it was not."""
    address = opened_as if isinstance(opened_as, Address) else Address.parse(opened_as)
    here = found.address
    port = address.port or here.port
    scheme = "tcp" if address.scheme == "tls" else address.scheme  # the kernel knows nothing of TLS
    same = scheme == here.scheme and found.listens and port == here.port and address.path == here.path
    if not same:
        what = "listens on" if found.listens else "is connected to"
        raise AdoptFailed(
            f"cannot adopt descriptor {number} as {address.without_options()}: it {what} {here}",
            hint="name the address that it was opened with",
            address=address,
            errno=errno.EINVAL,
            stage="adopt",
        )
    return prepare(address, Options.from_address(address).merge(**options), listening=True)


def adopt_address(
    address: Address, options: Options, given: set[str], *, listening: bool
) -> Channel | Listener:
    """What ``fd://`` stands for, as a listener or as a channel. Raises as ``adopt`` does."""
    number = descriptor_of(address)
    found = _look(number, str(address.without_options()))
    if found.listens != listening:
        what = "is a listener" if found.listens else f"is connected to {found.address.endpoint or 'a peer'}"
        instead = "listen" if found.listens else "connect"
        raise AdoptFailed(
            f"cannot {'listen on' if listening else 'connect to'} {address}: the socket {what}",
            hint=f"use {instead}({str(address)!r})",
            address=address,
            errno=errno.EINVAL,
            stage="adopt",
        )
    given = given | {name for name, _ in address.options}
    setup = _fitting(found, options, given)
    return _take(number, found, setup, given)


@contextmanager
def _borrowed(number: int) -> Iterator[socket.socket]:
    """A descriptor as a socket object that does not own it. Raises OSError if it is no socket."""
    plain = socket.socket(fileno=number)
    try:
        yield plain
    finally:
        plain.detach()


def _look(number: int, name: str) -> _Found:
    """Ask the kernel what a descriptor is. Raises ``AdoptFailed``."""

    def failed(why: str, hint: str, number: int) -> AdoptFailed:
        return AdoptFailed(f"cannot adopt {name}: {why}", hint=hint, errno=number, stage="adopt")

    if number < 0:
        raise failed("it is closed", "give the number of an open socket", errno.EBADF)
    if number > _LARGEST:
        raise failed("it is not open", f"a descriptor is at most {_LARGEST}", errno.EBADF)
    try:
        with _borrowed(number) as plain:
            return _sorted(plain, failed)
    except AdoptFailed:
        raise
    except OSError as error:
        if error.errno == errno.EBADF:
            raise failed("it is not open", "`ls -l /proc/PID/fd` shows what is", errno.EBADF) from error
        if error.errno == errno.ENOTSOCK:
            kind = _kind_of_file(number)
            hint = "only sockets can be adopted; stdio: serves standard input and output"
            raise failed(f"it is {kind} and no socket", hint, errno.ENOTSOCK) from error
        raise failed(error.strerror or str(error), "", error.errno or 0) from error


def _sorted(plain: socket.socket, failed: Any) -> _Found:
    protocol = _PROTOCOLS.get((plain.family, plain.type))
    real = plain.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL)
    if protocol is None or _IP_PROTOCOLS.get(protocol, 0) != real:
        known = ", ".join(dict.fromkeys(_PROTOCOLS.values()))
        raise failed(
            f"no transport has sockets of family {plain.family!s}, type {plain.type!s}, protocol {real}",
            f"the transports are {known}",
            errno.EPROTONOSUPPORT,
        )
    listens = bool(plain.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    local = _raw(plain.getsockname())
    try:
        peer: RawAddress = None if listens else _raw(plain.getpeername())
    except OSError as error:
        if error.errno != errno.ENOTCONN:
            raise
        unbound = not local if not isinstance(local, tuple) else local[1] == 0
        if plain.type != socket.SOCK_DGRAM or unbound:
            why = "it neither listens nor is connected"
            raise failed(why, "connect it, or bind it and let it listen, before", errno.ENOTCONN) from error
        listens = True
    return _Found(plain.family, protocol, listens, as_address(protocol, local if listens else peer))


def _raw(name: Any) -> RawAddress:
    """Python's form of a socket's name as the engine's."""
    if isinstance(name, tuple):
        return (str(name[0]).partition("%")[0], int(name[1]), int(name[3]) if len(name) == 4 else 0)
    raw = os.fsencode(name) if isinstance(name, str) else bytes(name)
    return raw or None


def _kind_of_file(number: int) -> str:
    try:
        target = os.readlink(f"/proc/self/fd/{number}")
    except OSError:
        return "something else"
    if target.startswith("/"):
        return f"the file {target}"
    kind, _, name = target.partition(":")
    return f"the kernel's {name.strip('[]')}" if kind == "anon_inode" else f"a {kind}"


def _fitting(found: _Found, options: Options, given: set[str]) -> Setup:
    """The setup for what was found. Raises for options that do not fit."""
    address = found.address
    for name in given:
        row = SOCKET_OPTIONS.get(name)
        if name in _ONLY_OPENING or (row is not None and row.when != "any time"):
            raise InvalidOption(
                name,
                getattr(options, name),
                "the socket is open already",
                "set it where the socket is made, or leave it out",
                address=address,
            )
    return prepare(address, options, listening=found.listens)


def _take(number: int, found: _Found, setup: Setup, given: set[str]) -> Channel | Listener:
    """Set the options that were given, then hand the descriptor to the engine."""
    reactor = current_reactor()
    with _borrowed(number) as plain:
        for name in sorted(given & SOCKET_OPTIONS.keys()):
            row, value = SOCKET_OPTIONS[name], getattr(setup.options, name)
            if found.protocol not in row.transports:
                continue
            try:
                for level, option, raw in row.settings(value, found.family):
                    plain.setsockopt(level, option, raw)
            except OSError as error:
                raise refused(row, value, error, found.address) from error
            except ValueError as error:
                raise InvalidOption(name, "off", str(error), "give it a value") from None
        if found.listens and "backlog" in given and plain.type != socket.SOCK_DGRAM:
            plain.listen(setup.options.backlog)
    try:
        link = reactor.adopt(number, setup.config(found.family), found.family, found.listens)
    except OSError as error:
        known = error.errno == errno.EEXIST
        why = "it belongs to a channel or listener of this loop already" if known else str(error.strerror)
        raise AdoptFailed(
            f"cannot adopt descriptor {number}: {why}", errno=error.errno, stage="adopt"
        ) from error
    os.set_inheritable(number, False)
    note_taken(number)
    if not found.listens:
        return Channel(reactor, setup, link)
    listener = Listener(reactor, link, setup)
    listener._file = None  # not ours to remove
    return listener
