"""An echo server on any address: the same eight lines serve TCP, UDP and Unix sockets.

Run it on an address of your choice, and the client beside it on the address that it prints:

    python examples/echo_server.py tcp://127.0.0.1:7001,framing=line
    python examples/echo_server.py udp://127.0.0.1:7001
    python examples/echo_server.py unix+seqpacket://@echo

Every client is shown by its five facts: protocol, and address and port of both ends. Ctrl-C ends it.
"""

import contextlib
import sys

import jackfield


async def echo(channel: jackfield.Channel) -> None:
    print(f"{channel.protocol}: {channel.peer.endpoint} talks to {channel.local.endpoint}", flush=True)
    async for message in channel:
        await channel.send(message)
    print(f"{channel.peer.endpoint} ended after {channel.statistics().messages_in} messages", flush=True)


async def main() -> None:
    address = jackfield.Address.from_command_line(*sys.argv[1:] or ["tcp://127.0.0.1:0,framing=line"])
    async with jackfield.listen(address) as listener:
        print("listening on", listener.address, flush=True)
        await listener.serve(echo)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        jackfield.run(main)
