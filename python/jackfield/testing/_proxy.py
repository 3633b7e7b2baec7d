"""A proxy with faults between two real programs."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from types import TracebackType
from typing import Self

import jackfield
from jackfield.testing._faults import Faults
from jackfield.testing._pump import OwnedSocket, Pump
from jackfield.testing._seed import chosen_seed, how_to_replay

BACKLOG = 128


class FaultyProxy:
    """Listens on a port of this machine and carries each connection to ``target``, with faults.

    For programs that cannot be given a channel: a client connects to ``proxy.address`` instead. ``target``
    is a ``tcp://`` or ``unix://`` address (also of a listener: ``listener.address``). Every connection
    draws its faults from ``seed`` and its number; the seed is in the ``repr``. A target that refuses resets
    the client.

    ``async with FaultyProxy(target, faults) as proxy`` listens, and at the end closes every connection.
    """

    def __init__(
        self,
        target: jackfield.Address | str,
        faults: Faults | None = None,
        *,
        seed: int | None = None,
    ) -> None:
        self.target = jackfield.Address.parse(target) if isinstance(target, str) else target
        if self.target.scheme not in ("tcp", "unix"):
            raise jackfield.NotSupported(
                f"a faulty proxy cannot carry to {self.target}",
                hint="it carries streams: tcp:// and unix:// targets",
            )
        self.faults = faults or Faults()
        self.seed = chosen_seed(seed)
        self._listening: socket.socket | None = None
        self._pumps: list[Pump] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._count = 0

    @property
    def address(self) -> jackfield.Address:
        """Where it listens. Raises ``RuntimeError`` outside of its block."""
        if self._listening is None:
            raise RuntimeError("the proxy does not listen: use it in `async with`")
        host, port = self._listening.getsockname()[:2]
        return jackfield.Address.parse(f"tcp://{host}:{port}")

    @property
    def connections(self) -> int:
        """How many it carries now."""
        self._pumps = [pump for pump in self._pumps if not pump.is_over]
        return len(self._pumps)

    def reset(self) -> None:
        """Reset every connection."""
        for pump in self._pumps:
            pump.reset()

    def stall(self) -> None:
        """Carry nothing on the present connections from now on."""
        for pump in self._pumps:
            pump.stall()

    def resume(self) -> None:
        """Carry on after ``stall``."""
        for pump in self._pumps:
            pump.resume()

    async def __aenter__(self) -> Self:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        self._listening.setblocking(False)
        asyncio.get_running_loop().add_reader(self._listening, self._acceptable)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(f"faulty proxy with {how_to_replay(self.seed)}")
        if self._listening is not None:
            asyncio.get_running_loop().remove_reader(self._listening)
            self._listening.close()
            self._listening = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for pump in self._pumps:
            pump.close()

    def __repr__(self) -> str:
        state = f"seed={self.seed}, {self.connections} connections"
        return f"<FaultyProxy to {self.target} {state}, {self.faults}>"

    def _acceptable(self) -> None:
        assert self._listening is not None
        try:
            accepted, _ = self._listening.accept()
        except OSError:
            return
        client = OwnedSocket(fileno=accepted.detach())
        chance = random.Random(f"{self.seed}/{self._count}")
        self._count += 1
        task = asyncio.get_running_loop().create_task(self._carry(client, chance))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, client: socket.socket, chance: random.Random) -> None:
        try:
            channel = await jackfield.connect(self.target.without_options())
        except BaseException as error:
            # A client whose server is not there is reset, as a port would do.
            with contextlib.suppress(OSError):
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
            if isinstance(error, jackfield.JackfieldError):
                return
            raise
        server = OwnedSocket(fileno=channel.detach())
        for each in (client, server):
            if each.family == socket.AF_INET:
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._pumps = [pump for pump in self._pumps if not pump.is_over]
        self._pumps.append(Pump((client, server), self.faults, chance))
