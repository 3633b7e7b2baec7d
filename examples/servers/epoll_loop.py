"""One thread for all, told by epoll(7) who has something to say; with a queue for clients that read slowly.

    python examples/servers/epoll_loop.py 7001
    nc 127.0.0.1 7001

A round costs what happened in it, however many are connected: this is what event loops are made of. Handlers
become steps between which all state must be kept by hand, as `queues` here, and one that computes holds up
everybody.
"""

import contextlib
import select
import socket
import sys


class Server:
    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.clients: dict[int, socket.socket] = {}
        self.queues: dict[int, bytes] = {}
        self.epoll = select.epoll()
        self.epoll.register(listener, select.EPOLLIN)

    def run(self) -> None:
        while True:
            for number, events in self.epoll.poll():
                if number == self.listener.fileno():
                    self.accept()
                elif events & select.EPOLLOUT:
                    self.send(number)
                else:
                    self.receive(number)

    def accept(self) -> None:
        client, _ = self.listener.accept()
        client.setblocking(False)
        self.clients[client.fileno()] = client
        self.epoll.register(client, select.EPOLLIN)

    def receive(self, number: int) -> None:
        try:
            data = self.clients[number].recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            self.epoll.unregister(number)
            self.clients.pop(number).close()
            return
        self.queues[number] = data
        self.send(number)

    def send(self, number: int) -> None:
        """What the kernel does not take waits; nothing more is read from this client until it has left."""
        waiting = self.queues.pop(number)
        with contextlib.suppress(BlockingIOError, ConnectionError):
            waiting = waiting[self.clients[number].send(waiting) :]
        if waiting:
            self.queues[number] = waiting
        self.epoll.modify(number, select.EPOLLOUT if waiting else select.EPOLLIN)


def main() -> None:
    with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=4096) as listener:
        print("listening on", listener.getsockname()[1], flush=True)
        listener.setblocking(False)
        Server(listener).run()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
