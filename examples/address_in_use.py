"""Address in use: the error names the process that holds it. A dead server's socket file is no obstacle.

    python examples/address_in_use.py

A program of its own takes a TCP port, and we try to listen there too. Then a server leaves
its Unix socket's file behind, and we take its place.
"""

import asyncio
import os
import socket
import sys
import tempfile

import jackfield

HOLDER = """
import socket, sys
with socket.create_server(("127.0.0.1", 0)) as server:
    print(server.getsockname()[1], flush=True)
    sys.stdin.read()
"""


async def try_to_listen(address: jackfield.Address) -> None:
    try:
        async with jackfield.listen(address):
            print(f"{address} is ours")
    except jackfield.AddressInUse as error:
        print(f"{error}\n    held by {[holder.pid for holder in error.holders]}")


async def main() -> None:
    pipe = asyncio.subprocess.PIPE
    other = await asyncio.create_subprocess_exec(sys.executable, "-c", HOLDER, stdin=pipe, stdout=pipe)
    assert other.stdin is not None
    assert other.stdout is not None
    port = int(await other.stdout.readline())
    print(f"process {other.pid} listens on port {port}, and we try to")
    await try_to_listen(jackfield.Address("tcp", "127.0.0.1", port))
    other.stdin.close()
    await other.wait()

    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "server.sock")
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(path)
        print("a server died and left its socket file")
        await try_to_listen(jackfield.Address("unix", path=path))


if __name__ == "__main__":
    jackfield.run(main)
