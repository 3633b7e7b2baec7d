"""Native clients of a hub: a request to another client, and a stream to it, which is a channel.

    python examples/native_clients.py [ADDRESS]

Without an address it serves a hub of its own. Streams and requests go from client to client through the hub,
and outlive a lost connection for a minute.
"""

import asyncio
import contextlib
import sys

import jackfield
from jackfield.hub import connect, serve
from jackfield.native import Peer, StreamChannel


async def answer(peer: Peer, question: bytes) -> bytes:
    return b"%s, you asked: %s" % (peer.name.encode(), question)


async def shout(channel: StreamChannel) -> None:
    async for message in channel:
        await channel.send(message.upper())


async def talk(address: str | jackfield.Address) -> None:
    async with connect(address, name="ada") as ada, connect(address, name="bob") as bob:
        async with bob.answering(answer), bob.serving(shout):
            print(await ada.request("bob", b"how are you?", timeout=5.0))
            async with await ada.open("bob") as channel:
                print(await channel.request(b"hello", timeout=5.0))
        for each in await ada.clients():
            print(each.name, each.state, ", ".join(each.services))


async def main() -> None:
    if len(sys.argv) > 2 or sys.argv[1:2] == ["--help"]:
        raise SystemExit(__doc__)
    async with contextlib.AsyncExitStack() as stack:
        address: str | jackfield.Address
        if sys.argv[1:]:
            address = sys.argv[1]
        else:
            served = await stack.enter_async_context(serve("tcp://127.0.0.1:0?protocol=native"))
            address = served.listeners[0][0].address
        await asyncio.wait_for(talk(address), 20.0)


if __name__ == "__main__":
    try:
        jackfield.run(main)
    except jackfield.JackfieldError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from None
