"""A pool of threads that all accept from one socket: so many clients at a time, and no more.

    python examples/servers/thread_pool.py 7001 8
    nc 127.0.0.1 7001

Nothing is started for a client, and memory has a bound. The ninth client of eight threads waits in the
kernel's queue until one of the others leaves: right for short requests, wrong for clients that stay.
"""

import contextlib
import socket
import sys
import threading


def serve(client: socket.socket) -> None:
    with client, contextlib.suppress(ConnectionError):
        while data := client.recv(65536):
            client.sendall(data)


def work(listener: socket.socket) -> None:
    while True:
        client, _ = listener.accept()
        serve(client)


def main() -> None:
    port, threads = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 8
    with socket.create_server(("127.0.0.1", port), backlog=4096) as listener:
        print("listening on", listener.getsockname()[1], flush=True)
        for _ in range(threads - 1):
            threading.Thread(target=work, args=(listener,), daemon=True).start()
        work(listener)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
