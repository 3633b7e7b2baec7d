"""The smallest hub there is, for tests of clients: `portable.Connection` over a listener, with sessions.

Streams to "echo" come back, message by message; those to anybody else are refused. It can break connections
at any moment, forget sessions, and refuse.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import jackfield
from jackfield import portable


class PureHub:
    """One listener, and the sessions of its clients."""

    def __init__(self, listener: jackfield.Listener) -> None:
        self.listener = listener
        self.address = listener.address
        self.sessions: dict[str, portable.Connection] = {}
        self.connections: dict[portable.Connection, jackfield.Channel] = {}
        self.heard: list[dict[str, Any]] = []
        self.refusal: tuple[str, str] | None = None
        self.more: dict[str, Any] = {}  # members of WELCOME besides
        self.hellos: list[dict[str, Any]] = []
        self.echoes: dict[tuple[str, int], deque[Any]] = {}
        self._numbers = itertools.count(1)

    def break_all(self) -> None:
        """Every connection ends at once; sessions stay."""
        for channel in list(self.connections.values()):
            channel.abort()

    def forget(self) -> None:
        """No session can go on."""
        self.sessions.clear()

    def flush(self, connection: portable.Connection) -> None:
        channel = self.connections.get(connection)
        if channel is not None:
            with contextlib.suppress(jackfield.JackfieldError):
                for message in connection.take():
                    channel.send_nowait(message)

    def tell(self, message: dict[str, Any]) -> None:
        """A control message to every session, kept for those without a connection."""
        for connection in self.sessions.values():
            connection.control(message)
            self.flush(connection)

    async def serve(self, channel: jackfield.Channel) -> None:
        connection = portable.Connection(now=asyncio.get_running_loop().time())
        self.connections[connection] = channel
        with contextlib.suppress(jackfield.JackfieldError):
            async for message in channel:
                for event in connection.receive(message, asyncio.get_running_loop().time()):
                    self.react(connection, event)
                connection.tick(asyncio.get_running_loop().time())
                self.flush(connection)
                if connection.has_failed:
                    break
        del self.connections[connection]
        connection.lost()

    def echo(self, connection: portable.Connection, event: Any) -> None:
        """Send back what comes, as far as the credit goes; a frame is granted again once it has been."""
        waiting = self.echoes.setdefault((connection.session_id, event.stream), deque())
        if not isinstance(event, portable.Credited):
            waiting.append(event)
        while waiting:
            first = waiting[0]
            if isinstance(first, portable.Ended):
                connection.end(event.stream)
            elif connection.credit(event.stream) >= len(first.payload) + portable.FRAME_COST:
                connection.send(event.stream, first.payload, more=first.more)
                connection.grant(event.stream, len(first.payload) + portable.FRAME_COST)
            else:
                return
            waiting.popleft()

    def react(self, connection: portable.Connection, event: Any) -> None:
        if isinstance(event, portable.Greeted):
            self.hellos.append(event.hello)
            if self.refusal is not None:
                connection.refuse(*self.refusal)
                return
            earlier = self.sessions.get((event.hello.get("session") or {}).get("id"))
            number = next(self._numbers)
            fresh = {"id": f"s{number}", "key": f"k{number}"}
            members = {
                "id": str(number),
                "name": event.hello.get("name", ""),
                "role": "member",
                **self.more,
                "session": fresh,
            }
            connection.welcome(members, 0.0, resume=earlier)
            self.sessions[connection.session_id] = connection
        elif isinstance(event, portable.Opened):
            if event.header["to"] == "echo":
                connection.accept(event.stream, 100_000)
            else:
                connection.reset(event.stream, portable.NO_SUCH_PEER, "nobody \x1b[31mis here")
        elif isinstance(event, portable.Data | portable.Credited | portable.Ended):
            self.echo(connection, event)
        elif isinstance(event, portable.Control):
            self.heard.append(event.message)
            if event.message["type"] == "echo":
                connection.control({**event.message, "type": "ok"})
            elif event.message["type"] == "no":
                answer = {"type": "error", "n": event.message["n"], "code": "forbidden", "message": "never"}
                connection.control(answer)


@contextlib.asynccontextmanager
async def pure_hub(address: str = "tcp://127.0.0.1:0") -> AsyncIterator[PureHub]:
    framing = {} if "seqpacket" in address else {"framing": "u32"}
    async with jackfield.listen(address, high_water="16M", **framing) as listener:
        hub = PureHub(listener)
        async with listener.serving(hub.serve):
            yield hub
