"""The socket's options as the kernel has them: checked before opening, set and read on open sockets.

The table is in ``_socket_options``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from pathlib import Path
from typing import Any, cast

from jackfield._address import Address
from jackfield._errors import AccessDenied, InvalidOption, JackfieldError, NotSupported
from jackfield._options import LINE_OPTIONS, Options, check_name, checked
from jackfield._socket_options import SOCKET_OPTIONS, SocketOption, chosen_options

_CAPABILITIES = {
    "mark": "CAP_NET_ADMIN or CAP_NET_RAW",
    "device": "CAP_NET_RAW, to leave an interface again",
    "priority": "CAP_NET_ADMIN, above 6",
    "transparent": "CAP_NET_ADMIN or CAP_NET_RAW",
    "kernel_busy_poll": "CAP_NET_ADMIN, above net.core.busy_read",
    "congestion": "CAP_NET_ADMIN, for one outside of net.ipv4.tcp_allowed_congestion_control",
}

_SAFE = frozenset({"nodelay", "keepalive", "reuse_address", "reuse_port", "send_buffer", "receive_buffer"})
"""The kernel takes these, whatever their value and whoever asks."""


def check_options(options: Options, address: Address, *, listening: bool) -> None:
    """Refuse what the transport has not, and what the kernel will not take.

    A setsockopt(2) that fails while a socket is opened could not say which option it was; so the unusual ones
    are tried on a socket that is thrown away. Raises ``NotSupported``, ``InvalidOption``, ``AccessDenied``.
    """
    protocol = address.scheme
    unusual = False
    for row in SOCKET_OPTIONS.values():
        if row.name in _SAFE:
            continue
        if getattr(options, row.name) in (None, row.kernel_default):
            continue
        if protocol not in row.transports:
            raise NotSupported(
                f"{row.name}= means nothing to {address}: it is for {_listed(row.transports)}",
                hint="leave it out",
                address=address,
            )
        if row.listens and not listening:
            raise NotSupported(
                f"{row.name}= means nothing to {address}: it is for listeners",
                hint="leave it out when connecting",
                address=address,
            )
        unusual = True
    if not unusual:
        return
    family = socket.AF_INET6 if options.v6only is not None or ":" in (address.host or "") else socket.AF_INET
    kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
    try:
        scratch = socket.socket(family, kind)
    except OSError:
        return  # the real one will say why
    with scratch:
        for row, value in chosen_options(options, protocol, listening=listening):
            for level, number, raw in row.settings(value, family):
                try:
                    scratch.setsockopt(level, number, raw)
                except OSError as error:
                    raise refused(row, value, error, address) from error


def refused(row: SocketOption, value: Any, error: OSError, address: Address | None) -> JackfieldError:
    """The error for an option that setsockopt(2) did not take."""
    number = error.errno or 0
    if number in (errno.EPERM, errno.EACCES):
        where = f" of {address}" if address is not None else ""
        needs = _CAPABILITIES.get(row.name, "CAP_NET_ADMIN")
        return AccessDenied(
            f"cannot set {row.name}={value}{where}: {row.constants} needs {needs}",
            hint="run as root, or give the program that capability (setcap(8), AmbientCapabilities=)",
            address=address,
            errno=number,
            stage="option",
        )
    message, hint = f"the kernel refuses it: {os.strerror(number)} ({row.constants})", None
    if number == errno.ENODEV:
        message, hint = "there is no such network interface", "`ip link` lists them"
    elif number == errno.ENOENT and row.name == "congestion":
        message = "this kernel has no such congestion control"
        with contextlib.suppress(OSError):
            available = Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().split()
            hint = f"it has {', '.join(available)}; `modprobe tcp_{value}` may load it"
    elif number in (errno.ENOPROTOOPT, errno.EOPNOTSUPP):
        message, hint = f"this kernel does not know {row.constants} here", "leave it out"
    return InvalidOption(row.name, value, message, hint, address=address)


class KernelOptions:
    """What channels and listeners share: their socket's options, as the kernel has them."""

    __slots__ = ()

    _listens = False

    def kernel_options(self) -> dict[str, Any]:
        """Every option of the socket by name, with the value that the kernel really took.

        It may differ from what was asked for: Linux doubles ``send_buffer`` and ``receive_buffer`` for its
        own needs, and rounds times. None is off. Units are those of ``Options``; docs/options.md has them
        all. Options that this kernel does not know are missing. Raises ``ChannelClosed``.
        """
        if self._protocol() == "serial":
            from jackfield._serial_line import read_line

            return read_line(self._descriptor())
        family = self._family()
        found = {}
        for row in SOCKET_OPTIONS.values():
            if self._protocol() in row.transports and self._listens >= row.listens and row.places_of(family):
                with contextlib.suppress(OSError):
                    found[row.name] = row.read(self._read_option, family)
        return found

    def set_option(self, name: str, value: Any) -> Any:
        """Set an option of the open socket, and return what the kernel took.

        ``value`` is as in code or as in an address (``"64K"``). Raises ``InvalidOption`` for a name or value
        that cannot be, and for what can only be chosen when opening; ``NotSupported`` where the transport has
        no such option; ``AccessDenied``; ``ChannelClosed``.
        """
        check_name(name, value)
        if self._protocol() == "serial" and name in LINE_OPTIONS:
            return self._change_line(name, value)
        row = SOCKET_OPTIONS.get(name)
        if row is None or row.when != "any time":
            raise InvalidOption(
                name, value, "it is chosen when the socket is opened", "give it to connect() or listen()"
            )
        where = self._whose()
        if self._protocol() == "serial":
            raise NotSupported(
                f"cannot set {name}= of {where}: it is for {_listed(row.transports)}", address=where
            )
        family = self._family()
        if self._protocol() not in row.transports or not row.places_of(family):
            raise NotSupported(
                f"cannot set {name}= of {where}: it is for {_listed(row.transports)}",
                address=where,
            )
        if row.listens and not self._listens:
            raise NotSupported(f"cannot set {name}= of {where}: it is for listeners", address=where)
        checked_value = None if value is None else checked(name, value)
        try:
            settings = row.settings(checked_value, family)
        except ValueError as error:
            raise InvalidOption(name, "off", str(error), "give it a value", address=where) from None
        for level, number, raw in settings:
            try:
                self._write_option(level, number, raw)
            except OSError as error:
                raise refused(row, value, error, where) from error
        return row.read(self._read_option, family)

    def _change_line(self, name: str, value: Any) -> Any:
        from jackfield._serial_line import change_line

        if name == "exclusive":
            raise InvalidOption(name, value, "it is chosen when the line is opened", "give it to connect()")
        setup = cast(Any, self)._setup
        return change_line(
            self._descriptor(), name, checked(name, value), setup.options, str(setup.address.path)
        )

    def _descriptor(self) -> int:
        return int(cast(Any, self).fileno())

    def _family(self) -> int:
        return int(struct.unpack("i", self._read_option(socket.SOL_SOCKET, socket.SO_DOMAIN, 4))[0])

    def _protocol(self) -> str:
        raise NotImplementedError

    def _whose(self) -> Address:
        raise NotImplementedError

    def _read_option(self, level: int, number: int, size: int, /) -> bytes:
        raise NotImplementedError

    def _write_option(self, level: int, number: int, value: bytes, /) -> None:
        raise NotImplementedError


def _listed(transports: frozenset[str]) -> str:
    return ", ".join(f"{name}:" for name in sorted(transports))
