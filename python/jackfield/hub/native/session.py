"""One native client's session: who it is, what it may have, and the way to it.

A session outlives its connection for a while (`held`) and goes on with the next one (`Native`). It costs this
object and what the engine keeps for it: no task, no buffer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import jackfield
from jackfield.portable import CONTROL, Frame, to_json

from ..identity import PROVEN
from ..origins import origin_of
from ..roster import default_name
from .effort import BURST, PATIENCE, RATE
from .handshake import TOKEN, Hello, Refused, Who
from .turns import Flow

if TYPE_CHECKING:
    from jackfield import Member

    from ..server import Hub
    from .part import Native

CONNECTED: Final = "connected"
HELD: Final = "held"  # its connection is lost, and it may come back
ENDED: Final = "ended"
LONGEST_REASON: Final = 1000  # characters of why a request is refused: it may have words of the client in it

StreamHandler = Callable[["NativeSession", Frame], None]
"""Called with each frame that a client sends on a stream of the hub's own."""


class NativeSession:
    """What the hub knows of a native client. Made by `Native`; its identity is the same for all its life.

    `origin` is to whom that is counted which all clients share: its identity if it is proven, else where it
    comes from, as any number of names can be said.
    """

    __slots__ = (
        "__weakref__", "_asked_at", "_left_to_ask", "_streams", "agent", "client_id",
        "digest", "extra", "flow", "held", "id", "identity", "instance", "is_leaving", "member_id", "native",
        "origin", "over", "pending",
        "protocol", "role", "services", "since", "state", "token_id", "until",
    )  # fmt: skip

    def __init__(
        self,
        native: Native,
        member: Member,
        hello: Hello,
        who: Who,
        *,
        session_id: str,
        digest: bytes,
        now: float,
    ) -> None:
        self.native = native
        self.id = session_id
        self.digest = digest  # of its key
        self.identity = who.identity
        self.role = who.role
        self.token_id = who.token
        self.state = CONNECTED
        self.since = now
        self.until = 0.0  # while it is held: when it ends
        self.held: Any = None  # what the engine keeps while it is held
        self.is_leaving = False  # it said that it will not come back
        self.pending = 0  # requests that are being done
        self.over = 0  # usual messages beyond the rate
        self.extra: dict[str, Any] | None = None  # what other parts keep with a session, under their names
        self.flow: Flow[Any] = Flow()  # of its requests
        self._left_to_ask = 0.0
        self._asked_at = 0.0
        self._streams: dict[int, StreamHandler] | None = None
        self.attach(member, hello)

    def attach(self, member: Member, hello: Hello) -> None:
        """Go on over this connection."""
        self.member_id = member.id
        self.client_id = member.number
        self.protocol = member.protocol
        self.origin = self.identity if self.is_proven else origin_of(member)
        self.instance = hello.instance
        self.agent = hello.agent
        self.services = hello.services
        self.state = CONNECTED

    # ---------------------------------------------------------------- who it is

    @property
    def hub(self) -> Hub:
        return self.native.hub

    @property
    def member(self) -> Member | None:
        """Its connection; None while it has none."""
        return self.hub.group.member(self.member_id)

    @property
    def name(self) -> str:
        """What others know it by: all sessions of one identity have the same name."""
        registry = self.hub.identities.registry
        entry = registry.known_as(self.identity) if self.identity else registry.entry_of(self.client_id)
        own = "" if entry is None else entry.name
        return own or default_name(self.client_id, self.protocol)

    @property
    def is_proven(self) -> bool:
        """Whether a token or a certificate says who it is, and not only its own word."""
        return self.identity.startswith((PROVEN, TOKEN))

    @property
    def sender(self) -> str:
        """Under what its numbered messages are known, for as long as anything of it can come again."""
        return f"{self.identity or f'session:{self.id}'}/{self.instance}"

    @property
    def is_connected(self) -> bool:
        return self.state == CONNECTED

    @property
    def way(self) -> Any:
        """What the switch knows it by: its connection, or what is held of it; None once it has ended."""
        return self.member_id if self.state == CONNECTED else self.held

    # ---------------------------------------------------------------- to the client

    def send(self, stream: int, kind: int, payload: bytes = b"", *, flags: int = 0) -> bool:
        """Queue a frame; whether there was room for it. Without a connection it is kept for the next one."""
        way = self.way
        if way is None:
            return False
        try:
            return self.native.switch.send(way, stream, kind, payload, flags=flags)
        except (jackfield.QueueFull, jackfield.ChannelClosed):
            return False

    def push(self, event: Mapping[str, Any]) -> bool:
        """Queue a CONTROL message; whether there was room. Raises ValueError for one too long."""
        return self.send(0, CONTROL, to_json(dict(event)))

    def tell(self, payload: bytes) -> bool:
        """Queue news as they are encoded for many; whether there was room, and a connection."""
        return self.is_connected and self.send(0, CONTROL, payload)

    def answer(self, number: int, result: Mapping[str, Any]) -> None:
        """Answer a request. A client that does not read its answers is let go."""
        if not self.push({"type": "ok", "n": number, **result}) and self.state == CONNECTED:
            self.native.end(self, "overloaded", "it does not read its answers")

    def refuse(self, number: int, code: str, message: str, hint: str = "") -> None:
        """Answer a request with an error."""
        body = {"code": code, "message": message[:LONGEST_REASON]} | ({"hint": hint} if hint else {})
        if not self.push({"type": "error", "n": number, **body}) and self.state == CONNECTED:
            self.native.end(self, "overloaded", "it does not read its answers")

    # ---------------------------------------------------------------- streams of the hub's own

    def own(self, stream: int, handler: StreamHandler) -> None:
        """Hand each frame that the client sends on that stream to `handler`."""
        if self._streams is None:
            self._streams = {}
        self._streams[stream] = handler
        self.native.switch.own(self.member_id, stream)

    def disown(self, stream: int) -> None:
        """The stream has ended. Does nothing for one that is not the hub's."""
        if self._streams is not None:
            self._streams.pop(stream, None)

    def handler_of(self, stream: int) -> StreamHandler | None:
        return None if self._streams is None else self._streams.get(stream)

    def own_streams(self) -> list[int]:
        return list(self._streams or ())

    # ---------------------------------------------------------------- limits

    def count(self, cost: int) -> bool:
        """Whether a message that costs as much as `cost` usual ones is within the rate.

        Raises `Refused` where there have been too many beyond it.
        """
        now = self.native.now()
        left = min(float(BURST), self._left_to_ask + (now - self._asked_at) * RATE)
        left = float(BURST) if not self._asked_at else left
        self._asked_at = now
        is_within = left >= cost
        self._left_to_ask = left - cost if is_within else left
        if not is_within:
            self.over += cost
            if self.over > PATIENCE:
                raise Refused("rate_limited", f"{self.over} messages beyond {RATE:g} a second")
        return is_within
