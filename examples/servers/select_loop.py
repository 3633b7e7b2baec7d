"""One thread for all, told by select(2) who has something to say.

    python examples/servers/select_loop.py 7001
    nc 127.0.0.1 7001

No locks, no threads, and a client costs a socket. But select looks at every client in every round, and at no
descriptor above 1023: beyond some hundred clients use epoll.
"""

import contextlib
import select
import socket
import sys


def main() -> None:
    with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=4096) as listener:
        print("listening on", listener.getsockname()[1], flush=True)
        sockets = [listener]
        while True:
            for ready in select.select(sockets, [], [])[0]:
                if ready is listener:
                    sockets.append(listener.accept()[0])
                    continue
                try:
                    data = ready.recv(65536)
                    # A client that does not read holds up all others here: a real server needs a queue for
                    # each.
                    ready.sendall(data)
                except ConnectionError:
                    data = b""
                if not data:
                    sockets.remove(ready)
                    ready.close()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
