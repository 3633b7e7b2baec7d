"""Address in use: the error names the process that holds it. A dead server's socket file is no obstacle.

    python examples/address_in_use.py

A program of its own takes a TCP port, and we try to listen there too. Then a server leaves
its Unix socket's file behind, and we take its place. At last a server is started again while a connection of
the one before it still has its port (TIME_WAIT): SO_REUSEADDR, which `listen` sets, is for just that.
"""

import asyncio
import contextlib
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator

import jackfield

HOLDER = """
import socket, sys
with socket.create_server(("127.0.0.1", 0)) as server:
    print(server.getsockname()[1], flush=True)
    sys.stdin.read()
"""


@contextlib.asynccontextmanager
async def another_program() -> AsyncIterator[tuple[int, jackfield.Address]]:
    """A program that listens: its process number, and where."""
    pipe = asyncio.subprocess.PIPE
    other = await asyncio.create_subprocess_exec(sys.executable, "-c", HOLDER, stdin=pipe, stdout=pipe)
    assert other.stdin is not None
    assert other.stdout is not None
    try:
        yield other.pid, jackfield.Address("tcp", "127.0.0.1", int(await other.stdout.readline()))
    finally:
        other.stdin.close()
        await other.wait()


@contextlib.contextmanager
def dead_server() -> Iterator[jackfield.Address]:
    """The address of a server that has ended and left its socket's file behind."""
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "server.sock")
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(path)
        yield jackfield.Address("unix", path=path)


async def served_once() -> jackfield.Address:
    """The address of a server that has just ended, and hung up on its client first."""
    async with jackfield.listen("tcp://127.0.0.1:0") as listener:
        async with jackfield.connect(listener.address) as client:
            await (await listener.accept()).close()
            with contextlib.suppress(jackfield.EndOfStream):
                await client.receive(timeout=5.0)
        return listener.address


def bind_without_reuse(address: jackfield.Address) -> OSError | None:
    """What bind(2) says about the address to a socket that nothing was set on."""
    with socket.socket() as plain:
        try:
            plain.bind((address.host, address.port))
        except OSError as error:
            return error
    return None


async def try_to_listen(address: jackfield.Address) -> jackfield.AddressInUse | None:
    """Listen for a moment; the error if somebody has the address."""
    try:
        async with jackfield.listen(address):
            return None
    except jackfield.AddressInUse as error:
        return error


async def main() -> None:
    async with another_program() as (pid, address):
        print(f"process {pid} listens on port {address.port}, and we try to")
        error = await try_to_listen(address)
    if error is not None:
        print(f"{error}\n    held by {[holder.pid for holder in error.holders]}")

    with dead_server() as address:
        print("a server died and left its socket file")
        if await try_to_listen(address) is None:
            print(f"{address} is ours")

    address = await served_once()
    print(f"a server ended, and without SO_REUSEADDR: {bind_without_reuse(address)}")
    if await try_to_listen(address) is None:
        print(f"with it, {address} is ours")


if __name__ == "__main__":
    jackfield.run(main)
