"""A process for each client: fork(2) after accept(2). The oldest way, and the one with the highest walls.

    python examples/servers/process_per_client.py 7001
    nc 127.0.0.1 7001

What a client does to its process harms nobody else. Each costs a process: memory, and a third of a
millisecond for the fork.
"""

import contextlib
import os
import signal
import socket
import sys


def serve(client: socket.socket) -> None:
    while data := client.recv(65536):
        client.sendall(data)


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel forgets dead children at once: no zombies
    with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=4096) as listener:
        print("listening on", listener.getsockname()[1], flush=True)
        while True:
            client, _ = listener.accept()
            with client:
                if os.fork() == 0:
                    listener.close()
                    with contextlib.suppress(ConnectionError, KeyboardInterrupt):
                        serve(client)
                    os._exit(0)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
