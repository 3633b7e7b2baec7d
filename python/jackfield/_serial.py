"""``serial:///dev/ttyUSB0?baud=9600``: the line of a device as a channel.

A line is opened for this process alone unless it says otherwise, set to carry bytes as they are, and put back
to its settings when it closes. There is no connection: that the line is open says nothing of a device behind
it, and only one that is unplugged is told. Sources: open(2), flock(2), ioctl_tty(2) (TIOCEXCL), termios(3).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import grp
import os
import pwd
import stat
import termios
import time

from jackfield._causes import Cause
from jackfield._channel import Channel
from jackfield._error_classes import AccessDenied, AddressInUse, ConnectFailed, JackfieldError
from jackfield._holders import holders_of_file
from jackfield._loop import current_reactor
from jackfield._serial_line import put_back, read_settings, set_line
from jackfield._transports import Setup

_NEW = 3.0
"""Seconds in which a device that was plugged in may still get its group and permissions (udev(7))."""
_DEVICES = ("/dev/serial/by-id/*", "/dev/ttyUSB*", "/dev/ttyACM*", "/dev/rfcomm*")


def open_serial(setup: Setup) -> Channel:
    """The channel. Raises ``ConnectFailed``, ``AccessDenied``, ``AddressInUse``, ``InvalidOption``."""
    reactor = current_reactor()
    fd, before = open_line(setup)
    try:
        link = reactor.adopt_file(fd, setup.config(0), _path(setup), before)
    except BaseException:
        os.close(fd)
        raise
    return Channel(reactor, setup, link)


def open_line(setup: Setup) -> tuple[int, bytes]:
    """The open line, non-blocking, and the settings that it had before. Raises as ``open_serial``."""
    path = _path(setup)
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _failed(setup, error) from error
    try:
        return fd, _prepared(fd, setup)
    except OSError as error:
        os.close(fd)
        if isinstance(error, JackfieldError):
            raise
        raise _failed(setup, error) from error
    except BaseException:
        os.close(fd)
        raise


def _path(setup: Setup) -> bytes:
    return os.fsencode(setup.address.path or "")


def _prepared(fd: int, setup: Setup) -> bytes:
    before = read_settings(fd)
    if setup.options.exclusive:
        # Root opens even what is exclusive, so a lock says the same once more.
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.ioctl(fd, termios.TIOCEXCL)
    try:
        set_line(fd, before, setup.options, setup.address.path or "")
    except BaseException:
        with contextlib.suppress(OSError):
            fcntl.ioctl(fd, termios.TIOCNXCL)
            put_back(fd, before)
        raise
    return before


# Errors -------------------------------------------------------------------------------------------


def _failed(setup: Setup, error: OSError) -> JackfieldError:
    """What happened, with evidence and what to do."""
    number, path = error.errno or 0, setup.address.path or ""
    start = f"cannot connect to {setup.address.without_options()}"
    if number in (errno.ENOENT, errno.ENOTDIR):
        result: JackfieldError = _absent(start, path)
    elif number in (errno.EACCES, errno.EPERM):
        result = _denied(start, path)
    elif number in (errno.EBUSY, errno.EAGAIN):
        result = _busy(start, path)
    elif number in (errno.ENXIO, errno.ENODEV, errno.EIO):
        said = "the file is there, and no device behind it"
        hint = "look at what the driver says with `dmesg`, and at the cable"
        result = ConnectFailed(f"{start}: {said}", hint=hint, cause=Cause.NO_SUCH_DEVICE)
    elif number in (errno.ENOTTY, errno.EISDIR, errno.EINVAL):
        said = "it is no serial device"
        result = ConnectFailed(f"{start}: {said}", hint=_known(), cause=Cause.NO_SUCH_DEVICE)
    else:
        result = ConnectFailed(f"{start}: {error.strerror or error}")
    result.address, result.stage, result.errno = setup.address, "connect", number
    return result


def _absent(start: str, path: str) -> ConnectFailed:
    said = "there is no such device: it is not plugged in, or has another name now"
    if not os.path.isdir(os.path.dirname(path)):
        said = f"there is no directory {os.path.dirname(path)}"
    return ConnectFailed(f"{start}: {said}", hint=_known(), cause=Cause.NO_SUCH_DEVICE)


def _known() -> str:
    """Which devices there are: names that stay the same come first."""
    found = [path for pattern in _DEVICES for path in sorted(glob.glob(pattern))][:6]
    if found:
        return f"there are {', '.join(found)}"
    return "plug it in, and see `ls /dev/serial/by-id /dev/tty*` and `dmesg`"


def _denied(start: str, path: str) -> JackfieldError:
    try:
        status = os.stat(path)
    except OSError:
        said, hint = "not permitted to enter its directory", f"look at `namei -l {path}`"
        return AccessDenied(f"{start}: {said}", hint=hint, cause=Cause.NOT_PERMITTED)
    owner, group = _user(status.st_uid), _group(status.st_gid)
    said = (
        f"not permitted: {path} belongs to user {owner} and group {group} ({stat.filemode(status.st_mode)})"
    )
    if time.time() - status.st_ctime < _NEW:
        # It was plugged in just now: its group may be set a moment later, and attempts to reconnect go on.
        return ConnectFailed(f"{start}: {said}", hint="try again in a moment", cause=Cause.NOT_PERMITTED)
    hint = "ask its owner, or root, for the right to read and write it"
    if status.st_mode & 0o060 == 0o060 and group != "root":
        hint = f"join the group with `sudo usermod -aG {group} $USER`, then log in again"
        hint += f"; `newgrp {group}` does for one shell"
    return AccessDenied(f"{start}: {said}", hint=hint, cause=Cause.NOT_PERMITTED)


def _busy(start: str, path: str) -> AddressInUse:
    holders = tuple(holders_of_file(path))
    if holders:
        said = f"it is in use by {', '.join(map(str, holders[:3]))}"
        pid = holders[0].pid
        hint = "close that channel first" if pid == os.getpid() else f"stop it with `kill {pid}`"
    else:
        said, hint = "another program has it for itself", f"see which with `sudo fuser -v {path}`"
    if any(holder.command == "ModemManager" for holder in holders):
        hint = "it is asked whether it is a modem: wait a moment, or `sudo systemctl stop ModemManager`"
    result = AddressInUse(f"{start}: {said}", hint=hint, cause=Cause.ADDRESS_HELD)
    result.holders = holders
    return result


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
