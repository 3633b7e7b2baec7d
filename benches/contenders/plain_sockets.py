"""Python's own blocking sockets, as one writes them: u32 frames, one sendall and mostly one recv each."""

import socket

from common import HEADER, Meter, arguments, connected, listening


def receive_frame(sock: socket.socket, rest: bytes) -> tuple[bytes, bytes]:
    """The next payload, and what came behind it; empty at the end."""
    while len(rest) < HEADER.size:
        got = sock.recv(65536)
        if not got:
            return b"", b""
        rest += got
    end = HEADER.size + HEADER.unpack_from(rest)[0]
    while len(rest) < end:
        got = sock.recv(65536)
        if not got:
            return b"", b""
        rest += got
    return rest[HEADER.size : end], rest[end:]


def send_frame(sock: socket.socket, payload: bytes) -> None:
    sock.sendall(HEADER.pack(len(payload)) + payload)


def prepared(sock: socket.socket) -> socket.socket:
    sock.setblocking(True)
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def echo(address: str) -> None:
    listener = listening(address)
    while True:
        sock = prepared(listener.accept()[0])
        rest = b""
        while True:
            payload, rest = receive_frame(sock, rest)
            if not payload:
                break
            send_frame(sock, payload)


def ping(address: str, size: int, seconds: float) -> None:
    sock = prepared(connected(address))
    message, rest = b"x" * size, b""
    meter = Meter(seconds)
    while True:
        send_frame(sock, message)
        _, rest = receive_frame(sock, rest)
        if not meter.tick():
            break


words = arguments()
if words.role == "echo":
    echo(words.address)
else:
    ping(words.address, words.size, words.seconds)
