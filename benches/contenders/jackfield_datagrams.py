"""Jackfield: UDP one way.

The sink is an endpoint, the source a connected channel or, as `endpoint-source`, an endpoint. As
`channel-sink` the sink is a connected channel too, which gives out `bytes` without their peer: a first
datagram tells whom to connect to, and `channel-source` sends such until it is answered.
"""

import contextlib
from collections.abc import Awaitable, Callable

from common import arguments, ready
from udp_common import BUFFER, CREDIT, STALL, TRIES, Ahead

import jackfield

words = arguments()
BATCH = 212


async def sink() -> None:
    async with jackfield.bind(words.address, receive_buffer=BUFFER) as endpoint:
        ready(str(endpoint.local))
        total = told = 0
        while True:
            datagrams = await endpoint.receive_many_from()
            total += len(datagrams)
            asked = 0
            while asked < len(datagrams) and len(datagrams[-1 - asked].data) == 1:
                asked += 1
            total -= asked
            if asked or total - told >= CREDIT:
                told = total
                endpoint.send_to_nowait(total.to_bytes(8, "big"), datagrams[-1].peer)


async def channel_sink() -> None:
    async with jackfield.bind(words.address) as endpoint:
        ready(str(endpoint.local))
        local, peer = endpoint.local, (await endpoint.receive_from()).peer
    bind = str(local).partition("://")[2]
    async with jackfield.connect(peer, bind=bind, receive_buffer=BUFFER) as channel:
        channel.send_nowait(bytes(8))
        total = told = 0
        while True:
            datagrams = await channel.receive_many()
            total += len(datagrams)
            asked = 0
            while asked < len(datagrams) and len(datagrams[-1 - asked]) == 1:
                asked += 1
            total -= asked
            if asked or total - told >= CREDIT:
                told = total
                channel.send_nowait(total.to_bytes(8, "big"))


async def source(
    send: Callable[[list[bytes]], Awaitable[None]],
    flush: Callable[[], Awaitable[None]],
    receive: Callable[[], Awaitable[bytes]],
) -> None:
    datagrams = [b"x" * words.size for _ in range(BATCH)]
    ahead = Ahead(words.seconds)
    while not ahead.is_over:
        if ahead.has_room(BATCH):
            await send(datagrams)
            await flush()
            ahead.sent += BATCH
            continue
        try:
            ahead.told(await receive())
        except jackfield.TimedOut:
            ahead.stalled()
    for _ in range(TRIES):
        if ahead.received >= ahead.sent:
            break
        await send([b"?"])
        with contextlib.suppress(jackfield.TimedOut):
            ahead.told(await receive())
    ahead.report()


async def channel_source() -> None:
    async with jackfield.connect(words.address, send_buffer=BUFFER) as channel:
        if words.role == "channel-source":
            await greet(channel)

        async def receive() -> bytes:
            return (await channel.receive_many(timeout=STALL))[-1]

        await source(channel.send_many, channel.flush, receive)


async def greet(channel: jackfield.Channel) -> None:
    """Until the sink has connected to us, it is away for a moment, and its kernel may refuse."""
    for _ in range(TRIES):
        with contextlib.suppress(jackfield.TimedOut, jackfield.ChannelLost):
            await channel.send(b"?")
            await channel.receive(timeout=STALL)
            return


async def endpoint_source() -> None:
    async with jackfield.bind("udp://127.0.0.1:0", send_buffer=BUFFER) as endpoint:
        to = jackfield.Address.parse(words.address)

        async def receive() -> bytes:
            return (await endpoint.receive_many_from(timeout=STALL))[-1].data

        await source(lambda datagrams: endpoint.send_many(datagrams, to), endpoint.flush, receive)


ROLES = {
    "udp-sink": sink,
    "channel-sink": channel_sink,
    "udp-source": channel_source,
    "channel-source": channel_source,
    "endpoint-source": endpoint_source,
}
jackfield.run(ROLES[words.role]())
