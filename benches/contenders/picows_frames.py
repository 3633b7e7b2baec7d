"""picows on uvloop, its fastest form: WebSocket binary frames instead of u32 frames."""

import asyncio
from collections.abc import Callable

from common import BATCH, Meter, arguments, connected, listening, run
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect, ws_create_server

words = arguments()
message = b"x" * words.size
BINARY, CLOSE = WSMsgType.BINARY, WSMsgType.CLOSE


class Echo(WSListener):
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        transport.send(BINARY, frame.get_payload_as_bytes())


class Receive(WSListener):
    """Makes each message a `bytes` of its own and counts it; a close frame ends the count."""

    count = 0

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is CLOSE:
            transport.send(BINARY, self.count.to_bytes(8, "big"))
            transport.disconnect()
            return
        frame.get_payload_as_bytes()
        self.count += 1


class Send(WSListener):
    """Sends to whoever connects, in a task that waits while the transport is paused."""

    batch = 1

    def __init__(self) -> None:
        self.writable: asyncio.Future[None] | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.task = asyncio.get_running_loop().create_task(self.send(transport))

    def pause_writing(self) -> None:
        self.writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        if self.writable is not None and not self.writable.done():
            self.writable.set_result(None)
        self.writable = None

    async def send(self, transport: WSTransport) -> None:
        while not transport.is_disconnected:
            for _ in range(self.batch):
                transport.send(BINARY, message)
            if self.writable is not None:
                await self.writable


class SendGathered(Send):
    batch = BATCH


class Ping(WSListener):
    def __init__(self) -> None:
        self.meter = Meter(words.seconds)

    def on_ws_connected(self, transport: WSTransport) -> None:
        transport.send(BINARY, message)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        frame.get_payload_as_bytes()
        if self.meter.tick():
            transport.send(BINARY, message)
        else:
            transport.disconnect()


async def ping() -> None:
    sock = connected(words.address)
    transport, _ = await ws_connect(Ping, "ws://127.0.0.1/", socket_factory=lambda _: sock)
    await transport.wait_disconnected()


async def serve(factory: Callable[[], WSListener]) -> None:
    server = await ws_create_server(lambda _: factory(), sock=listening(words.address), backlog=4096)
    await server.serve_forever()


ROLES: dict[str, Callable[[], WSListener]] = {
    "echo": Echo,
    "receive": Receive,
    "bulk": Receive,
    "send-each": Send,
    "send-gathered": SendGathered,
}

if __name__ == "__main__":
    run(ping() if words.role == "ping" else serve(ROLES[words.role]), uvloop=True)
