"""What a program or a script does when clients come, speak and go: the hooks, and the client they are handed.

Owns the meaning of a hook. `on_message(client, message)` may return what to answer: bytes go out as they are,
text with the line ending of the client's listener, None is no answer. `on_join(client)` and
`on_leave(client, reason)` return nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

NAMES: Final = ("on_message", "on_join", "on_leave")


class Hands(Protocol):
    """What a hook can do to a client; how it gets there is the affair of who runs it."""

    def send(self, client_id: int, data: bytes | str) -> bool: ...
    def kick(self, client_id: int, *, reset: bool) -> None: ...


@dataclass(frozen=True, slots=True)
class HookClient:
    """A client as a hook is handed it: what it was when the hook was called."""

    id: int
    name: str
    protocol: str
    peer: str
    """``host:port``, a Unix path, or ``pid:N``."""
    _hands: Hands = field(repr=False, compare=False)

    def send(self, data: bytes | str) -> bool:
        """Send to this client; whether it is there and its queue had room.

        Bytes go out as they are, text with the line ending of the client's listener. Raises TypeError for
        anything else, ``jackfield.FramingError`` for what its framing cannot carry.
        """
        return self._hands.send(self.id, checked(data))

    def kick(self, *, reset: bool = False) -> None:
        """End its connection, after what is queued for it, or with ``reset`` at once."""
        self._hands.kick(self.id, reset=reset)


@dataclass(frozen=True, slots=True)
class Hooks:
    """Up to three functions; None does nothing."""

    on_message: Callable[[HookClient, bytes], bytes | str | None] | None = None
    on_join: Callable[[HookClient], None] | None = None
    on_leave: Callable[[HookClient, str], None] | None = None

    @classmethod
    def of(cls, namespace: Mapping[str, Any]) -> Hooks:
        """The hooks that a module's names are. ValueError where there is none, or one is no function."""
        found = {name: namespace[name] for name in NAMES if namespace.get(name) is not None}
        for name, hook in found.items():
            if not callable(hook):
                raise ValueError(f"{name} is no function but {hook!r:.80}")
        if not found:
            raise ValueError(f"it has none of the functions {', '.join(NAMES)}")
        return cls(**found)

    @property
    def names(self) -> list[str]:
        """Which there are."""
        return [name for name in NAMES if getattr(self, name) is not None]


def checked(data: object) -> bytes | str:
    """`data`, if it can be sent. Raises TypeError."""
    if isinstance(data, (bytes, str)):
        return data
    if isinstance(data, (bytearray, memoryview)):
        return bytes(data)
    raise TypeError(f"bytes or text can be sent to a client, not {type(data).__name__}")
