"""TLS handshakes of the console that are under way: so many of one address and in all, and so many a second.

Owns the decision about each newcomer, and the listening socket that asks for it before anything is spent on
one. Whoever is refused is reset, and counted. A handshake that has ended, however it did, has closed its
socket or said so (`done`).
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any, Final

from ..hub.security.limits import Addresses, key_of

MOST: Final = 64  # handshakes under way in all
MOST_OF_ONE: Final = 16  # of one address
A_SECOND: Final = 20  # handshakes of one address; five seconds' worth may come at once
REFUSED_AT_ONCE: Final = 64  # in one turn of the loop

Peer = tuple[str, int]


class Newcomers:
    """Who is shaking hands."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._addresses = Addresses()
        self._under_way: dict[Peer, tuple[str, Callable[[], bool]]] = {}
        self.refused = 0  # newcomers

    def __len__(self) -> int:
        self._forget_ended()
        return len(self._under_way)

    def admit(self, peer: Peer, is_open: Callable[[], bool]) -> bool:
        """Whether a newcomer may begin; `is_open` says whether its connection is there still."""
        key = key_of(peer[0])
        if len(self._under_way) >= MOST or self._of(key) >= MOST_OF_ONE:
            self._forget_ended()
        is_full = len(self._under_way) >= MOST or self._of(key) >= MOST_OF_ONE
        if is_full or not self._addresses.connect(peer[0], A_SECOND, self._now()):
            self.refused += 1
            return False
        self._under_way[peer] = key, is_open
        return True

    def done(self, peer: Any) -> None:
        """A handshake is done. Does nothing for one that is not known."""
        self._under_way.pop(tuple(peer or ())[:2], None)

    def _of(self, key: str) -> int:
        return sum(key == of for of, _ in self._under_way.values())

    def _forget_ended(self) -> None:
        self._under_way = {peer: each for peer, each in self._under_way.items() if each[1]()}


class Guarded(socket.socket):
    """A listening socket that takes only those whom `newcomers` admits."""

    newcomers: Newcomers

    @classmethod
    def of(cls, listening: socket.socket, newcomers: Newcomers) -> Guarded:
        """The same socket, guarded; the one that is given is spent."""
        timeout = listening.gettimeout()
        made = cls(listening.family, listening.type, listening.proto, fileno=listening.detach())
        made.settimeout(timeout)
        made.newcomers = newcomers
        return made

    def accept(self) -> tuple[socket.socket, Any]:
        """The next newcomer that is admitted. Raises BlockingIOError for none."""
        for _ in range(REFUSED_AT_ONCE):
            taken, peer = super().accept()
            if self.newcomers.admit(peer[:2], _is_open(taken)):
                return taken, peer
            with taken:
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        raise BlockingIOError  # the rest in the next turn


_RESET: Final = b"\x01\0\0\0\0\0\0\0"  # struct linger, on, 0 s: socket(7)


def _is_open(taken: socket.socket) -> Callable[[], bool]:
    return lambda: taken.fileno() >= 0
