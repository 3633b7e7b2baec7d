"""A thread for each client: the shortest server that serves many at once.

    python examples/servers/thread_per_client.py 7001
    nc 127.0.0.1 7001

Handlers are plain blocking code. Each client costs a thread's stack, and Python code of all threads runs
in turn (the GIL): fine while they wait, no gain while they compute.
"""

import contextlib
import socket
import sys
import threading


def serve(client: socket.socket) -> None:
    with client, contextlib.suppress(ConnectionError):
        while data := client.recv(65536):
            client.sendall(data)


def main() -> None:
    with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=4096) as listener:
        print("listening on", listener.getsockname()[1], flush=True)
        while True:
            client, _ = listener.accept()
            # Daemon threads do not hold up the end of the program.
            threading.Thread(target=serve, args=(client,), daemon=True).start()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
