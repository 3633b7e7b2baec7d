"""Socket activation: descriptors that a service manager opened and handed to this process.

The protocol is systemd's (sd_listen_fds(3)): ``LISTEN_FDS`` descriptors from 3 on, meant for the process
``LISTEN_PID``, named by ``LISTEN_FDNAMES``. Jackfield reads it and leaves the environment as it is: children
have another process id.
"""

from __future__ import annotations

import errno
import os
from typing import NamedTuple

from jackfield._address import Address
from jackfield._errors import AdoptFailed

_FIRST = 3
_UNNAMED = "unknown"
"""What systemd calls a descriptor without a name."""


class Activated(NamedTuple):
    """One descriptor from the service manager."""

    fd: int
    """Its number; ``adopt`` takes it."""
    name: str
    """``FileDescriptorName=`` of the socket unit, else the unit's name; ``unknown`` without any."""


_taken: set[int] = set()
"""Numbers that were adopted: once closed, they may come to mean something else."""


def activated() -> tuple[Activated, ...]:
    """The descriptors that the service manager handed to this process, in their order; often none.

    Each can be given to ``adopt``, or by number or name to ``listen("fd://name")``; it is not listed any more
    then. They are made close-on-exec. Raises ``AdoptFailed`` if the environment speaks of descriptors that
    are not open.
    """
    count = _number("LISTEN_FDS")
    if count is None or _number("LISTEN_PID") != os.getpid():
        return ()
    given = os.environ.get("LISTEN_FDNAMES", "")
    names = given.split(":") if given else []
    found = []
    last = _FIRST + count - 1
    for index, fd in enumerate(range(_FIRST, last + 1)):
        if fd in _taken:
            continue
        try:
            os.set_inheritable(fd, False)
        except OSError as error:
            raise AdoptFailed(
                f"LISTEN_FDS={count} speaks of descriptors {_FIRST} to {last}, and {fd} is not open",
                hint="something has closed it before; see sd_listen_fds(3)",
                errno=errno.EBADF,
                stage="adopt",
            ) from error
        found.append(Activated(fd, names[index] if index < len(names) and names[index] else _UNNAMED))
    return tuple(found)


def note_taken(fd: int) -> None:
    """The descriptor has an owner now."""
    count = _number("LISTEN_FDS")
    if count is not None and _FIRST <= fd < _FIRST + count:
        _taken.add(fd)


def descriptor_of(address: Address) -> int:
    """The number that an ``fd://`` address stands for. Raises ``AdoptFailed``."""
    name = address.path or ""
    if name.isdigit():
        return int(name)
    there = activated()
    fitting = [entry.fd for entry in there if entry.name == name]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        why = f"{len(fitting)} descriptors have the name {name}"
        hint = f"use {' or '.join(f'fd://{fd}' for fd in fitting)}"
    elif there:
        why = f"the service manager handed over no descriptor of the name {name}"
        hint = f"it handed over {', '.join(f'{entry.name} (fd://{entry.fd})' for entry in there)}"
    else:
        why = "no service manager handed any descriptor to this process"
        hint = (
            "start it by socket activation: LISTEN_FDS and LISTEN_PID are missing or are for another process"
        )
    raise AdoptFailed(f"{address}: {why}", hint=hint, address=address, errno=errno.EBADF, stage="adopt")


def _number(variable: str) -> int | None:
    text = os.environ.get(variable, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
