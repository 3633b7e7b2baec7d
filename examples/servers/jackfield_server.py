"""The same server with Jackfield, in each of its ways: one handler, and a choice of who runs it.

    python examples/servers/jackfield_server.py 7001 tasks
    python examples/servers/jackfield_server.py 7001 group
    python examples/servers/jackfield_server.py 7001 threads
    python examples/servers/jackfield_server.py 7001 processes 2
    nc 127.0.0.1 7001

`tasks`: a task for each client on one event loop. `group`: no task either, one stream of events. `threads`: a
blocking handler, a thread for each client. `processes`: so many event loops, each in a process of its own.
"""

import contextlib
import sys

import jackfield
from jackfield import sync


async def echo(channel: jackfield.Channel) -> None:
    async for data in channel:
        await channel.send(data)


def echo_blocking(channel: sync.Channel) -> None:
    for data in channel:
        channel.send(data)


async def main(port: int, way: str, processes: int) -> None:
    async with jackfield.listen(f"tcp://127.0.0.1:{port}") as listener:
        print("listening on", listener.address.port, flush=True)
        if way == "processes":
            await listener.serve(echo, workers=jackfield.Processes(processes))
        elif way == "group":
            async with jackfield.Group() as group:
                listener.into(group)
                async for event in group:
                    if isinstance(event, jackfield.Message):
                        event.member.send_nowait(event.data)
        else:
            await listener.serve(echo)


def main_blocking(port: int) -> None:
    with sync.listen(f"tcp://127.0.0.1:{port}") as listener:
        print("listening on", listener.address.port, flush=True)
        listener.serve(echo_blocking)


if __name__ == "__main__":
    port, way, processes = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 2
    with contextlib.suppress(KeyboardInterrupt):
        if way == "threads":
            main_blocking(port)
        else:
            jackfield.run(main(port, way, processes))
