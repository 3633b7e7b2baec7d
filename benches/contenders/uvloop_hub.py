"""A hub by hand on uvloop: u32 length, u32 whom, payload; the other one is sent u32 from whom instead.

Each frame is one `transport.write`, as one writes it at first; with `--gather` the frames to one connection
within one turn of the loop leave as one write, the best that a Protocol can do.
"""

import asyncio
import contextlib
from struct import Struct

from common import arguments, listening, run

words = arguments()
gather = words.gather
HEAD = Struct(">II")
head_from, head_into = HEAD.unpack_from, HEAD.pack


class Client(asyncio.Protocol):
    __slots__ = ("number", "out", "rest", "transport")
    clients: list["Client"] = []  # noqa: RUF012
    waiting: list["Client"] = []  # noqa: RUF012

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.number = len(self.clients)
        self.clients.append(self)
        self.out: list[bytes] = []
        self.rest = b""
        transport.write(head_into(4, self.number))

    def data_received(self, data: bytes) -> None:
        if self.rest:
            data = self.rest + data
        at, end, clients, waiting = 0, len(data), self.clients, self.waiting
        while end - at >= 8:
            size, whom = head_from(data, at)
            stop = at + 4 + size
            if stop > end:
                break
            other = clients[whom]
            if not gather:
                other.transport.write(head_into(size, self.number) + data[at + 8 : stop])
                at = stop
                continue
            if not other.out:
                if not waiting:
                    asyncio.get_running_loop().call_soon(self.flush)
                waiting.append(other)
            other.out.append(head_into(size, self.number))
            other.out.append(data[at + 8 : stop])
            at = stop
        self.rest = data[at:] if at < end else b""

    def flush(self) -> None:
        for client in self.waiting:
            client.transport.write(b"".join(client.out))
            client.out.clear()
        self.waiting.clear()


async def serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Client, sock=listening(words.address), backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(ConnectionError):
        run(serve(), uvloop=words.uvloop)
