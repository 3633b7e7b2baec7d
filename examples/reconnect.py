"""Reconnect: a client that outlives its server, and says what was lost.

    python examples/reconnect.py

The server ends after three messages and comes back later at the same port. The client's channel stays the
same object: it keeps what has not left yet, and connects again by itself. What it had sent to the first
server without an acknowledgement is counted and not sent again: `unknown` messages may have arrived or not,
and only the two programs can settle that, for example with numbers in the messages.
"""

import asyncio

import jackfield


def show(state: jackfield.State) -> None:
    match state:
        case jackfield.Reconnecting(error=jackfield.ChannelLost() as lost):
            print(f"reconnecting: {lost.certainly_unsent} messages wait here, {lost.unknown} are unknown")
        case jackfield.Connected(connection):
            print(f"connection {connection}")
        case jackfield.Closed():
            print("closed")


async def receive_some(listener: jackfield.Listener, count: int) -> None:
    async with await listener.accept(timeout=5.0) as channel:
        for _ in range(count):
            print("the server heard:", (await channel.receive(timeout=5.0)).decode())


async def main() -> None:
    backoff = jackfield.Backoff(first=0.05, factor=2, maximum=5.0)
    async with jackfield.listen("tcp://127.0.0.1:0", framing="u32") as listener:
        address = listener.address
        channel = await jackfield.connect(address, framing="u32", reconnect=backoff, on_state=show)
        for number in (1, 2, 3):
            await channel.send(b"message %d" % number)
        await receive_some(listener, 3)

    async for state in channel.states():  # until the channel has noticed
        if isinstance(state, jackfield.Reconnecting):
            break
    for number in (4, 5):
        await channel.send(b"message %d" % number)
    print("without a connection:", channel.explain().state)

    async with jackfield.listen(address, framing="u32") as listener:
        await receive_some(listener, 2)
        await channel.close()


if __name__ == "__main__":
    asyncio.run(main())
