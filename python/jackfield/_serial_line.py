"""Serial lines: what their settings are to the kernel (termios(3), ioctl_tty(2)), set and read back.

``line_settings`` decides, and everything else is a thin shell around ioctl(2). Any rate can be asked for: one
that has no name of its own goes as a number (BOTHER of termios2, linux/termbits.h).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import termios
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from jackfield._errors import ChannelLost, InvalidOption, NotSupported

if TYPE_CHECKING:
    from jackfield._options import Options

_TERMIOS2 = struct.Struct("@4IB19s2I")
_TCGETS2, _TCSETS2 = 0x802C542A, 0x402C542B
_RATE_BITS, _RATE_IN_BITS, _RATE_AS_NUMBER = 0o010017, 0o010017 << 16, 0o010000
_MARK_OR_SPACE = 0o10000000000
_BITS = {5: termios.CS5, 6: termios.CS6, 7: termios.CS7, 8: termios.CS8}
_PARITY = {
    "none": 0,
    "even": termios.PARENB,
    "odd": termios.PARENB | termios.PARODD,
    "mark": termios.PARENB | termios.PARODD | _MARK_OR_SPACE,
    "space": termios.PARENB | _MARK_OR_SPACE,
}
_SOFTWARE = termios.IXON | termios.IXOFF
_START, _STOP = b"\x11", b"\x13"
_LINES = {"dtr": termios.TIOCM_DTR, "rts": termios.TIOCM_RTS}
_NEAR = 0.03
"""How far the device's rate may be from the one asked for: from about 4 % on a byte is read wrong."""


@dataclass(frozen=True, slots=True)
class _Settings:
    """``struct termios2``."""

    iflag: int
    oflag: int
    cflag: int
    lflag: int
    line: int
    characters: bytes
    rate_in: int
    rate_out: int

    @classmethod
    def unpack(cls, raw: bytes) -> _Settings:
        return cls(*_TERMIOS2.unpack(raw))

    def pack(self) -> bytes:
        rates = (self.rate_in, self.rate_out)
        flags = (self.iflag, self.oflag, self.cflag, self.lflag)
        return _TERMIOS2.pack(*flags, self.line, self.characters, *rates)


def line_settings(before: bytes, options: Options) -> bytes:
    """The settings of a line that carries bytes as they are, from those that it has."""
    was = _Settings.unpack(before)
    named: int | None = getattr(termios, f"B{options.baud}", None)
    cflag = was.cflag & termios.HUPCL
    cflag |= termios.CREAD | termios.CLOCAL | _BITS[options.bits] | _PARITY[options.parity]
    cflag |= _RATE_AS_NUMBER if named is None else named
    cflag |= termios.CSTOPB if options.stop == 2 else 0
    cflag |= termios.CRTSCTS if options.flow == "rtscts" else 0
    characters = bytearray(was.characters)
    characters[termios.VMIN], characters[termios.VTIME] = 1, 0
    characters[termios.VSTART : termios.VSTART + 1] = _START
    characters[termios.VSTOP : termios.VSTOP + 1] = _STOP
    return replace(
        was,
        iflag=_SOFTWARE if options.flow == "xonxoff" else 0,
        oflag=0,
        lflag=0,
        cflag=cflag,
        characters=bytes(characters),
        rate_in=options.baud,
        rate_out=options.baud,
    ).pack()


def described(raw: bytes) -> dict[str, Any]:
    """Settings by the names of ``Options``."""
    settings = _Settings.unpack(raw)
    cflag = settings.cflag
    parity = cflag & _PARITY["mark"]
    named = {
        getattr(termios, name): int(name[1:])
        for name in dir(termios)
        if name[0] == "B" and name[1:].isdigit()
    }
    rate = cflag & _RATE_BITS
    return {
        "baud": settings.rate_out if rate == _RATE_AS_NUMBER else named.get(rate, settings.rate_out),
        "bits": next(bits for bits, flag in _BITS.items() if cflag & termios.CSIZE == flag),
        "parity": next((name for name, flags in _PARITY.items() if flags == parity), "none"),
        "stop": 2 if cflag & termios.CSTOPB else 1,
        "flow": "rtscts" if cflag & termios.CRTSCTS else "xonxoff" if settings.iflag & _SOFTWARE else "none",
    }


def read_settings(fd: int) -> bytes:
    """The line's settings as the kernel has them. Raises ``OSError``: ENOTTY is no terminal line."""
    return bytes(fcntl.ioctl(fd, _TCGETS2, bytes(_TERMIOS2.size)))


def put_back(fd: int, before: bytes) -> None:
    """The settings as they were. Raises ``OSError``."""
    fcntl.ioctl(fd, _TCSETS2, before)


def read_line(fd: int) -> dict[str, Any]:
    """What is set on an open line, by the names of ``Options``; ``dtr`` and ``rts`` where there are such."""
    found = described(read_settings(fd))
    with contextlib.suppress(OSError):
        lines = struct.unpack("I", fcntl.ioctl(fd, termios.TIOCMGET, bytes(4)))[0]
        found |= {name: bool(lines & bit) for name, bit in _LINES.items()}
    return found


def set_line(fd: int, before: bytes, options: Options, whose: str) -> None:
    """Set everything, and read back that the device has taken it.

    Raises ``InvalidOption`` for what it does not take, ``NotSupported`` for wires that it does not have,
    ``OSError``.
    """
    try:
        fcntl.ioctl(fd, _TCSETS2, line_settings(before, options))
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise InvalidOption("baud", options.baud, f"{whose} refuses these settings") from error
    taken = described(read_settings(fd))
    for name in ("bits", "parity", "stop", "flow"):
        if taken[name] != getattr(options, name):
            why = f"{whose} does not take it, and stays with {name}={taken[name]}"
            raise InvalidOption(name, getattr(options, name), why)
    if abs(taken["baud"] - options.baud) > _NEAR * options.baud:
        why = f"{whose} does not go at that rate; the nearest is {taken['baud']}"
        raise InvalidOption("baud", options.baud, why)
    for name, bit in _LINES.items():
        wanted: bool | None = getattr(options, name)
        if wanted is not None:
            _switch(fd, name, bit, whose, on=wanted)


def _switch(fd: int, name: str, bit: int, whose: str, *, on: bool) -> None:
    try:
        fcntl.ioctl(fd, termios.TIOCMBIS if on else termios.TIOCMBIC, struct.pack("I", bit))
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTTY, errno.EOPNOTSUPP):
            raise
        raise NotSupported(f"{whose} has no line {name.upper()}", hint=f"leave {name}= out") from error


def change_line(fd: int, name: str, value: Any, options: Options, whose: str) -> Any:
    """Change one option of an open line; gives what was taken. Raises as ``set_line``, ``ChannelLost``."""
    try:
        if name in _LINES:
            if value is not None:
                _switch(fd, name, _LINES[name], whose, on=value)
            return read_line(fd).get(name)
        current = {key: found for key, found in read_line(fd).items() if key not in _LINES}
        set_line(
            fd, read_settings(fd), replace(options, dtr=None, rts=None, **(current | {name: value})), whose
        )
        return read_line(fd)[name]
    except OSError as error:
        message = f"cannot set {name}= of {whose}: {os.strerror(error.errno or 0)}"
        raise ChannelLost(message, errno=error.errno, stage="option") from error
