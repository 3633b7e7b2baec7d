"""Who listens to one client: an operator who talks with it, or a question that waits for its answer."""

from __future__ import annotations

from collections.abc import Callable


class Talker:
    """Whoever wants each message of one client, and to know when it left."""

    __slots__ = ("left", "message")

    def __init__(self, message: Callable[[bytes], None], left: Callable[[str], None]) -> None:
        self.message = message
        self.left = left


class Talkers:
    """The talkers of every client that has some. Clients without one cost nothing."""

    def __init__(self) -> None:
        self._of: dict[int, list[Talker]] = {}

    def add(self, client_id: int, talker: Talker) -> Callable[[], None]:
        """Hand each message of a client to `talker`; the result ends that, and may be called twice."""
        talkers = self._of.setdefault(client_id, [])
        talkers.append(talker)

        def end() -> None:
            if talker in talkers:
                talkers.remove(talker)
            if not talkers and self._of.get(client_id) is talkers:
                del self._of[client_id]

        return end

    def heard(self, client_id: int, data: bytes) -> None:
        """A client said `data`."""
        for talker in tuple(self._of.get(client_id, ())):
            talker.message(data)

    def went(self, client_id: int, reason: str) -> None:
        """A client left: its talkers are told, and done."""
        for talker in self._of.pop(client_id, ()):
            talker.left(reason)
