"""Who is let in: how many clients the hub, each listener, and senders of datagrams may have.

Owns the count of clients by where they came in. Pure: ids in, a reason for refusing out.
"""

from __future__ import annotations

from .plan import MAX_CLIENTS, MAX_OPERATORS

OWN_DESCRIPTORS = (
    32  # listeners, files, the process of the rooms' store, a few operators: in use without a client
)
RESERVED_DESCRIPTORS = 64 + MAX_OPERATORS  # at most, and at most a quarter; clients get the rest
SMALL_LIMIT = 1024  # descriptors; fewer are worth a word at the start


class Admission:
    """The places of one hub. `max_clients` as it was asked for, None for `MAX_CLIENTS`."""

    def __init__(self, max_clients: int | None) -> None:
        self.max_clients = max_clients or MAX_CLIENTS
        self._asked = max_clients
        self._descriptors = 0  # the descriptor limit, where it is what limits the clients
        self._held: dict[int, set[int]] = {}  # ids of the members let in, by their listener's id
        self._most: dict[int, int | None] = {}
        self._datagrams: dict[int, bool] = {}

    def limit_by_descriptors(self, limit: int) -> bool:
        """No more clients than descriptors are for; whether that is worth a word."""
        room = max(1, limit - max(OWN_DESCRIPTORS, min(RESERVED_DESCRIPTORS, limit // 4)))
        self.max_clients = min(self._asked or MAX_CLIENTS, room)
        if self.max_clients == room:
            self._descriptors = limit
        return room < (self._asked or 0) or (self._asked is None and limit < SMALL_LIMIT)

    def add_listener(self, listener: int, *, most: int | None, datagrams: bool) -> None:
        """Clients come through this listener, at most `most`; anyone can make up senders of datagrams."""
        self._held[listener] = set()
        self._most[listener] = most
        self._datagrams[listener] = datagrams

    def refusal(self, listener: int) -> str:
        """Why there is no place for a newcomer, those let in before it counted; empty when there is."""
        if sum(map(len, self._held.values())) >= self.max_clients:
            if self._descriptors:
                return (
                    f"the limit of {self._descriptors} descriptors leaves room for "
                    f"{self.max_clients} clients (ulimit -n)"
                )
            return f"the hub has its {self.max_clients} clients (--max-clients)"
        most = self._most[listener]
        if most is not None and len(self._held[listener]) >= most:
            return f"the listener has its {most} clients (max_clients)"
        return self._refusal_of_datagrams() if self._datagrams[listener] else ""

    def _refusal_of_datagrams(self) -> str:
        """Beside other listeners, senders of datagrams get half of the places."""
        most = max(1, self.max_clients // 2)
        held = sum(len(self._held[listener]) for listener, yes in self._datagrams.items() if yes)
        if all(self._datagrams.values()) or held < most:
            return ""
        return f"senders of datagrams have their {most} places, half of all (--max-clients)"

    def let_in(self, listener: int, member: int) -> None:
        self._held[listener].add(member)

    def let_go(self, listener: int, member: int) -> None:
        self._held[listener].discard(member)

    def holds(self, listener: int, member: int) -> bool:
        """Whether that member was let in and is there still."""
        return member in self._held[listener]
