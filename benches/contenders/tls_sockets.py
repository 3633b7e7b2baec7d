"""Python's own blocking TLS (the ssl module), as one writes it: u32 frames, one sendall for each.

The roles are those of `jackfield_sync.py`; certificates stand in the address.
"""

import contextlib
import socket
import ssl
from urllib.parse import parse_qs, urlsplit

from common import HEADER, Meter, arguments, ready

words = arguments()
where = urlsplit(words.address)
options = {name: values[0] for name, values in parse_qs(where.query).items()}


def receive_frame(sock: ssl.SSLSocket, rest: bytes) -> tuple[bytes | None, bytes]:
    """The next payload, and what came behind it; None at the end."""
    while len(rest) < HEADER.size:
        got = sock.recv(65536)
        if not got:
            return None, b""
        rest += got
    end = HEADER.size + HEADER.unpack_from(rest)[0]
    if len(rest) >= end:
        return rest[HEADER.size : end], rest[end:]
    payload = bytearray(end - HEADER.size)
    have = len(rest) - HEADER.size
    payload[:have] = rest[HEADER.size :]
    room = memoryview(payload)[have:]
    while room:
        count = sock.recv_into(room)
        if not count:
            return None, b""
        room = room[count:]
    return bytes(payload), b""


def send_frame(sock: ssl.SSLSocket, payload: bytes) -> None:
    sock.sendall(HEADER.pack(len(payload)) + payload)


def echo(sock: ssl.SSLSocket) -> None:
    payload, rest = receive_frame(sock, b"")
    while payload is not None:
        send_frame(sock, payload)
        payload, rest = receive_frame(sock, rest)


def count(sock: ssl.SSLSocket) -> None:
    number = 0
    payload, rest = receive_frame(sock, b"")
    while payload is not None:
        number += 1
        payload, rest = receive_frame(sock, rest)
    send_frame(sock, number.to_bytes(8, "big"))
    with contextlib.suppress(OSError):
        sock.unwrap()


def send_each(sock: ssl.SSLSocket) -> None:
    message = HEADER.pack(words.size) + b"x" * words.size
    with contextlib.suppress(OSError):
        while True:
            sock.sendall(message)


def serve() -> None:
    handle = {"echo": echo, "bulk": count, "send-each": send_each}[words.role]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options["cert"], options["key"])
    with socket.create_server((where.hostname or "", where.port or 0)) as listener:
        ready("tls://{}:{}".format(*listener.getsockname()))
        while True:
            plain, _ = listener.accept()
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with context.wrap_socket(plain, server_side=True) as sock:
                handle(sock)


def ping() -> None:
    context = ssl.create_default_context(cafile=options["ca"])
    plain = socket.create_connection((where.hostname, where.port))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with context.wrap_socket(plain, server_hostname=where.hostname) as sock:
        message, rest = b"x" * words.size, b""
        meter = Meter(words.seconds)
        while True:
            send_frame(sock, message)
            _, rest = receive_frame(sock, rest)
            if not meter.tick():
                break


if words.role == "ping":
    ping()
else:
    serve()
