"""Half-close: the client says that it has finished, and still hears the answer.

    python examples/half_close.py

The server adds up numbers, one a line, and can only answer when no more will come. `send_eof` tells it so: it
ends one direction of the connection and leaves the other open (shutdown(2) with SHUT_WR). Programs that read
all of their input before they answer, such as `sort` or `wc`, need just that.
"""

import contextlib
from collections.abc import AsyncIterator

import jackfield


async def add_up(channel: jackfield.Channel) -> None:
    total = 0
    async for line in channel:  # ends when the client has ended its side
        total += int(line)
    await channel.send(b"the sum is %d" % total)


@contextlib.asynccontextmanager
async def a_client() -> AsyncIterator[jackfield.Channel]:
    """A connection to the server, which has been told the numbers from 1 to 100."""
    async with (
        jackfield.listen("tcp://127.0.0.1:0", framing="line") as listener,
        listener.serving(add_up),
        jackfield.connect(listener.address, framing="line") as channel,
    ):
        await channel.send_many(b"%d" % number for number in range(1, 101))
        yield channel


async def main() -> None:
    async with a_client() as channel:
        channel.send_eof()
        print("sent everything, and said so")
        print((await channel.receive(timeout=2.0)).decode())
        try:
            await channel.send(b"one more")
        except jackfield.ChannelClosed:
            print("sending is over: we ended it")
        try:
            await channel.receive(timeout=2.0)
        except jackfield.EndOfStream as error:
            print(f"receiving is over: {error}")


if __name__ == "__main__":
    jackfield.run(main)
