"""A server that keeps its clients in a list, where you pick one by number and talk to it alone.

    python examples/pick_a_client.py tcp://127.0.0.1:7001        # then, in other terminals: nc 127.0.0.1 7001

Type `list`, `2 hello` for client 2 alone, `all hello` for everyone, `drop 2`, or `quit`. What clients say is
printed with their number. `jackfield serve` is this program grown up; here it is with the library alone.
"""

import asyncio
import contextlib
import os
import sys

import jackfield


def keyboard() -> asyncio.StreamReader:
    """Standard input, a terminal or a pipe, as lines to await."""
    reader, loop = asyncio.StreamReader(), asyncio.get_running_loop()

    def readable() -> None:
        data = os.read(0, 4096)
        if data:
            reader.feed_data(data)
        else:
            loop.remove_reader(0)
            reader.feed_eof()

    try:
        loop.add_reader(0, readable)
    except PermissionError:  # a file, which is always readable, and not to be waited for
        reader.feed_data(sys.stdin.buffer.read())
        reader.feed_eof()
    return reader


async def show(group: jackfield.Group) -> None:
    """Print what happens to the clients."""
    async for event in group:
        match event:
            case jackfield.Joined(member):
                print(f"client {member.number} came from {member.peer.endpoint}", flush=True)
            case jackfield.Message(member, data):
                print(f"client {member.number} says: {data.decode(errors='replace')}", flush=True)
            case jackfield.Left(member, reason):
                print(f"client {member.number} left: {reason}", flush=True)


def obey(group: jackfield.Group, line: str) -> None:
    """Do one line of the operator's."""
    first, _, rest = line.partition(" ")
    text = rest.encode()
    if first == "list":
        for member in group.members():
            counters = group.statistics(member)
            print(f"{member.number}: {member.peer.endpoint}, {counters.messages_in} messages", flush=True)
    elif first == "all":
        print(f"sent to {group.broadcast_nowait(text)} clients", flush=True)
    else:
        wanted = rest if first == "drop" else first
        picked = group.numbered(int(wanted)) if wanted.isdecimal() else None
        if picked is None:
            print(f"there is no client {wanted!r}: try list, 2 hello, all hello, drop 2, quit", flush=True)
        elif first == "drop":
            picked.close()
            print(f"dropped client {wanted}", flush=True)
        else:
            picked.send_nowait(text)


async def main() -> None:
    if len(sys.argv) > 2 or sys.argv[1:2] == ["--help"]:
        raise SystemExit(__doc__)
    address = sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:0"
    async with jackfield.listen(address, framing="line") as listener, jackfield.Group() as group:
        listener.into(group)
        print("listening on", listener.address, flush=True)
        showing = asyncio.create_task(show(group))
        typed = keyboard()
        while line := (await typed.readline()).decode(errors="replace"):
            if line.strip() == "quit":
                break
            if line.strip():
                obey(group, line.strip())
        showing.cancel()


if __name__ == "__main__":
    try:
        with contextlib.suppress(KeyboardInterrupt):
            jackfield.run(main)
    except jackfield.JackfieldError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from None
