"""Processes forked beforehand, which all accept from one socket: a pool with a core for each.

    python examples/servers/preforked.py 7001 4
    nc 127.0.0.1 7001

As a pool of threads, but each process has a GIL of its own, so they compute at the same time, and a crash
takes one client with it. This one does not replace the dead; see `jackfield.Processes` for one that does.
"""

import contextlib
import os
import signal
import socket
import sys


def work(listener: socket.socket) -> None:
    while True:
        client, _ = listener.accept()
        with client, contextlib.suppress(ConnectionError):
            while data := client.recv(65536):
                client.sendall(data)


def main() -> None:
    port, processes = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 4
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the children are to be ended
    with socket.create_server(("127.0.0.1", port), backlog=4096) as listener:
        children = []
        try:
            for _ in range(processes):
                child = os.fork()
                if child == 0:
                    signal.signal(signal.SIGTERM, signal.SIG_DFL)
                    signal.signal(signal.SIGINT, signal.SIG_DFL)
                    work(listener)
                children.append(child)
            print("listening on", listener.getsockname()[1], flush=True)
            for child in children:
                os.waitpid(child, 0)
        finally:
            for child in children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGTERM)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
