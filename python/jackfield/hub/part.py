"""What lives in the hub beside its clients and sees what happens to them: recorder, replies, names.

Owns how parts come and go and how events reach them. A part overrides what it wants to see; what nobody
overrides costs nothing. Parts are called in the order in which they were attached, those that only look on
before the others, in the hub's own task: they must not wait. One that raises is logged as a `fault` and
harms neither clients nor other parts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from .client import Client

if TYPE_CHECKING:
    from .server import Hub

SEEN: Final = ("came", "went", "heard", "told", "renamed")


class Part:
    """Base of all parts. Times are Unix seconds.

    One that `reopens` is opened again after `close`, where a reload failed; others are gone then. One that
    only looks on (`looks_on`) sees each thing before the parts that may answer it, so that it sees the
    answer behind.
    """

    reopens = True
    looks_on = False

    async def open(self, hub: Hub) -> None:
        """The hub begins to serve, or serves already. Raising keeps the part out."""

    async def close(self) -> None:
        """The hub ends, or the part is detached. Called once."""

    def hand_over(self) -> Any:
        """What this part in a successor needs to go on where this one is (see `reload`), as JSON holds it.

        `close` follows; `open` does when the successor did not take over.
        """
        return None

    async def resume(self, now: float, clients: Sequence[Client], handed: Any) -> None:
        """The hub is a successor, or goes on after all: these clients were there before, and stay.

        Called after `open`; `handed` is what `hand_over` gave, None where there was no such part. Unless a
        part knows better, it sees each of them come.
        """
        for client in clients:
            self.came(now, client)

    def came(self, now: float, client: Client) -> None:
        """A client was let in."""

    def went(self, now: float, client: Client, reason: str) -> None:
        """A client left, or was kicked; its connection sends nothing any more."""

    def heard(self, now: float, client: Client, data: bytes) -> None:
        """A client said `data`: one message, or what came at once where there is no framing."""

    def told(self, now: float, client: Client, data: bytes, by: str) -> None:
        """`data` was queued for a client; `by` is `pid:N` of an operator, or the part that sent it."""

    def renamed(self, now: float, client: Client) -> None:
        """A client may be called otherwise than before; `client.name` is its name now.

        One that is known by its host is told of here before it `came`.
        """


P = TypeVar("P", bound=Part)


class Parts:
    """The parts of one hub; `fault` is told of those that raise."""

    def __init__(self, fault: Callable[[str, Exception], None]) -> None:
        self._fault = fault
        self._parts: list[Part] = []
        self._wanted: dict[str, tuple[Any, ...]] = dict.fromkeys(SEEN, ())

    def find(self, kind: type[P]) -> P | None:
        """The attached part of a class."""
        return next((part for part in self._parts if isinstance(part, kind)), None)

    def attached(self) -> list[Part]:
        """All of them, in the order in which they came."""
        return self._parts.copy()

    def hand_over(self) -> dict[str, list[Any]]:
        """What each part hands to a successor, by its class."""
        handed: dict[str, list[Any]] = {}
        for part in self._parts:
            try:
                handed.setdefault(_kind(part), []).append(part.hand_over())
            except Exception as problem:
                self._fault("hand_over", problem)
        return handed

    async def resume(
        self, part: Part, clients: Sequence[Client], now: float, handed: dict[str, list[Any]]
    ) -> None:
        """Tell a part who was there before it; what it was handed is taken out of `handed`."""
        given = handed.get(_kind(part))
        try:
            await part.resume(now, clients, given.pop(0) if given else None)
        except Exception as problem:
            self._fault("resume", problem)

    async def attach(self, part: Part, hub: Hub) -> None:
        """Open a part and let it see what happens from now on."""
        await part.open(hub)
        self._parts.append(part)
        self._sort()

    async def detach(self, part: Part) -> None:
        """A part sees no more; whether it is closed well is its own affair. Does nothing for a stranger."""
        if part not in self._parts:
            return
        self._parts.remove(part)
        self._sort()
        try:
            await part.close()
        except Exception as problem:
            self._fault("close", problem)

    async def detach_all(self) -> None:
        """The hub ends: the last that came goes first."""
        for part in reversed(self._parts.copy()):
            await self.detach(part)

    def wants(self, what: str) -> bool:
        """Whether any part wants to see that."""
        return bool(self._wanted[what])

    def show(self, what: str, *facts: object) -> None:
        """Call what the parts made of one of `SEEN`."""
        for see in self._wanted[what]:
            try:
                see(*facts)
            except Exception as problem:
                self._fault(what, problem)

    def _sort(self) -> None:
        in_order = sorted(self._parts, key=lambda part: not part.looks_on)
        for what in SEEN:
            ours = getattr(Part, what)
            seeing = [part for part in in_order if getattr(type(part), what) is not ours]
            self._wanted[what] = tuple(getattr(part, what) for part in seeing)


def _kind(part: Part) -> str:
    return f"{type(part).__module__}.{type(part).__qualname__}"
