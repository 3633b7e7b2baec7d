"""A connect fails in three ways: refused, without an answer, unreachable. Each is an error of its own.

    python examples/connect_failures.py

All three happen on this machine. Nobody listens on the first address. At the second a server listens that
never accepts, and its queue is full. The third is the broadcast address of the loopback network, to which the
kernel routes no connection: it says ENETUNREACH, as it does for every network that it has no route to.
"""

import contextlib
import socket
from collections.abc import Iterator

import jackfield

UNREACHABLE = jackfield.Address("tcp", "127.255.255.255", 7000)


def address_of(server: socket.socket) -> jackfield.Address:
    return jackfield.Address("tcp", *server.getsockname())


@contextlib.contextmanager
def nobody_listens() -> Iterator[jackfield.Address]:
    """A port that is taken, so that no other program gets it, and on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield address_of(taken)


@contextlib.contextmanager
def full_queue() -> Iterator[jackfield.Address]:
    """A server that does not accept. Its queue has room for one connection, and that one is there."""
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as server,
        socket.create_connection(server.getsockname()),
    ):
        yield address_of(server)


async def failure(address: jackfield.Address) -> jackfield.ConnectFailed:
    """How the connect fails, given a second."""
    try:
        async with jackfield.connect(address, connect_timeout=1.0):
            raise AssertionError(f"{address} was connected")
    except jackfield.ConnectFailed as error:
        return error


async def main() -> None:
    with nobody_listens() as closed, full_queue() as busy:
        for address in (closed, busy, UNREACHABLE):
            error = await failure(address)
            print(f"{type(error).__name__} after {error.attempts[-1].elapsed:.1f} s: {error}")


if __name__ == "__main__":
    jackfield.run(main)
