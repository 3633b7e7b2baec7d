"""pyzmq with blocking sockets, its fastest form: one application thread, one I/O thread."""

import contextlib
import time

import zmq
from common import Meter, arguments, ready

words = arguments()
context = zmq.Context()
message = b"x" * words.size
END = 1  # bytes; the C source's last message is this short, the others never are


def bound(kind: int, address: str) -> tuple[zmq.Socket[bytes], str]:
    """A bound socket and its address in the suite's notation."""
    bound_socket = context.socket(kind)
    bound_socket.linger = 0
    bound_socket.backlog = 4096
    if address.startswith("unix://"):
        bound_socket.bind(address.replace("unix://", "ipc://"))
        return bound_socket, address
    bound_socket.bind(address)
    return bound_socket, bound_socket.getsockopt_string(zmq.LAST_ENDPOINT)


def echo() -> None:
    router, address = bound(zmq.ROUTER, words.address)
    ready(address)
    receive, send = router.recv, router.send
    while True:
        client = receive()
        request = receive()
        send(client, zmq.SNDMORE)
        send(request)


def ping() -> None:
    dealer = context.socket(zmq.DEALER)
    dealer.linger = 0
    dealer.connect(words.address.replace("unix://", "ipc://"))
    meter = Meter(words.seconds)
    while True:
        dealer.send(message)
        dealer.recv()
        if not meter.tick():
            return


def receive() -> None:
    dealer, address = bound(zmq.DEALER, words.address)  # receives as PULL does, and can answer
    ready(address)
    take = dealer.recv
    while True:
        count = 0
        while len(take()) != END:
            count += 1
        dealer.send(count.to_bytes(8, "big"))


def bulk() -> None:
    dealer, address = bound(zmq.DEALER, words.address)
    ready(address)
    while True:
        count = 0
        while len(dealer.recv(copy=False)) != END:
            count += 1
        dealer.send(count.to_bytes(8, "big"))


def send_each() -> None:
    push, address = bound(zmq.PUSH, words.address)
    ready(address)
    send = push.send
    while True:
        send(message)


def sink() -> None:
    pull = context.socket(zmq.PULL)
    pull.connect(words.address.replace("unix://", "ipc://"))
    meter = Meter(words.seconds)
    while pull.recv() and meter.tick():
        pass


def accept() -> None:
    router, address = bound(zmq.ROUTER, words.address)
    ready(address)
    with router:
        time.sleep(3600)  # the I/O thread accepts


def room() -> None:
    pub, address = bound(zmq.PUB, words.address)
    beside = ".publish" if words.address.startswith("unix:") else ""
    pull, publish_address = bound(zmq.PULL, words.address + beside)
    ready(address, publish_address)
    take, publish = pull.recv, pub.send
    while True:
        publish(take())


ROLES = {
    "echo": echo,
    "ping": ping,
    "receive": receive,
    "bulk": bulk,
    "send-each": send_each,
    "sink": sink,
    "accept": accept,
    "room": room,
}

if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        ROLES[words.role]()
    context.destroy(linger=0)
