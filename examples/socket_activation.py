"""Socket activation: a service manager opens the socket, the service answers on it.

    python examples/socket_activation.py                         plays both parts once
    systemd-socket-activate -l 7000 python examples/socket_activation.py serve      or for real

The manager can bind a port that the service may not, start it with the first client, and restart it while
clients wait in the queue of a socket that never closed. The service needs one address: `fd://` and the
descriptor's number or name (sd_listen_fds(3)). The same works for the hub: `jackfield serve fd://3`.
"""

import os
import socket
import subprocess
import sys

import jackfield


async def greet(channel: jackfield.Channel) -> None:
    async for line in channel:
        await channel.send(b"hello, " + line)


async def serve() -> None:
    for entry in jackfield.activated():
        print(f"the manager handed over {entry.name} as descriptor {entry.fd}", flush=True)
    async with jackfield.listen("fd://3", framing="line") as listener:
        print(f"serving {listener.address}", flush=True)
        async for channel in listener:
            await greet(channel)
            await channel.close()
            return  # one client is enough to show it


async def ask(address: str) -> None:
    async with jackfield.connect(address, framing="line") as channel:
        print((await channel.request(b"world", timeout=10.0)).decode(), flush=True)


def manage() -> None:
    """What systemd does: open, name, start. The client's connection waits until the service is there."""
    with socket.create_server(("127.0.0.1", 0)) as opened:
        port = opened.getsockname()[1]
        start = (
            f"import fcntl, os; os.dup2(fcntl.fcntl({opened.fileno()}, fcntl.F_DUPFD, 10), 3); "
            "os.environ.update(LISTEN_FDS='1', LISTEN_FDNAMES='greeter', LISTEN_PID=str(os.getpid())); "
            f"os.execv({sys.executable!r}, [{sys.executable!r}, {os.path.abspath(__file__)!r}, 'serve'])"
        )
        service = subprocess.Popen([sys.executable, "-c", start], pass_fds=[opened.fileno()])
    jackfield.run(lambda: ask(f"tcp://127.0.0.1:{port}"))
    service.wait(timeout=10)


if __name__ == "__main__":
    if "serve" in sys.argv[1:]:
        jackfield.run(serve)
    else:
        manage()
