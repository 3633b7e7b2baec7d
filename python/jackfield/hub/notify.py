"""Telling the service manager how the hub is: the protocol of sd_notify(3).

A service manager that wants to know gives the socket's address in ``NOTIFY_SOCKET``, and in ``WATCHDOG_USEC``
how often it wants a sign of life. Each message is one datagram of ``NAME=value`` lines. Nothing here fails or
waits for long: a manager that is gone, or does not read, is no concern of the clients.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping

PATIENCE = 0.5  # seconds that a manager who is behind may take for what it must know
PERIOD = 30.0  # seconds between two signs of life where none were asked for: they carry the status


class Notifier:
    """The service manager's ear, or nobody's."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self.period = PERIOD
        self._watched = False
        asked = environment.get("WATCHDOG_USEC", "")
        mine = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        if asked.isascii() and asked.isdigit() and int(asked) > 0 and mine:
            self._watched = True
            self.period = min(PERIOD, int(asked) / 1e6 / 2)

    @property
    def is_heard(self) -> bool:
        """Whether there is a service manager that listens."""
        return self._address is not None

    def ready(self, status: str) -> None:
        """The hub serves; also at the end of a reload that changed nothing."""
        self.tell(READY="1", STATUS=status)

    def alive(self, status: str) -> None:
        """A sign of life, with how the hub is; empty leaves what was said before."""
        said = {"STATUS": status} if status else {}
        if self._watched:
            said["WATCHDOG"] = "1"
        self._tell(said, patience=0.0)

    def reloading(self) -> None:
        """A reload begins."""
        self.tell(RELOADING="1", MONOTONIC_USEC=str(time.monotonic_ns() // 1000), STATUS="reloading")

    def handed_over(self, pid: int, status: str) -> None:
        """Another process is the service from now on."""
        self.tell(MAINPID=str(pid), READY="1", STATUS=status)

    def stopping(self) -> None:
        """The hub ends."""
        self.tell(STOPPING="1", STATUS="stopping")

    def tell(self, **fields: str) -> None:
        """One message; lost if nobody takes it within `PATIENCE` seconds."""
        self._tell(fields, patience=PATIENCE)

    def _tell(self, fields: Mapping[str, str], *, patience: float) -> None:
        if self._address is None or not fields:
            return
        text = "\n".join(f"{name}={' '.join(value.split())}" for name, value in fields.items())
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as plain:
            plain.settimeout(patience)
            plain.sendto(text.encode("utf-8", "replace"), self._address)


def _address(text: str) -> str | None:
    """The socket's address as the kernel takes it: a path, or an abstract name behind `@`."""
    if text.startswith("@") and len(text) > 1:
        return "\0" + text[1:]
    return text if text.startswith("/") else None
