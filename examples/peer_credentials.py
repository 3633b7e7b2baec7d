"""Unix peer credentials: who is at the other end, as the kernel says, which no client can forge.

    python examples/peer_credentials.py

The server asks for no password: it serves its own user and nobody else, and greets the client by its process.
The client is a program of a few lines with a plain socket.
"""

import asyncio
import os
import pwd
import sys
import tempfile
from pathlib import Path

import jackfield

CLIENT = """
import os, socket, sys
with socket.socket(socket.AF_UNIX) as client:
    client.connect(sys.argv[1])
    print(f"client {os.getpid()} hears: {client.makefile().readline().strip()}")
"""


async def greet(channel: jackfield.Channel) -> None:
    who = channel.credentials
    if who is None or who.uid != os.getuid():
        return
    user = pwd.getpwuid(who.uid).pw_name
    await channel.send(f"hello, process {who.pid} of {user} ({who.uid}:{who.gid})".encode())


async def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "door.sock"
        async with jackfield.listen(f"unix://{path}", framing="line") as listener, listener.serving(greet):
            client = await asyncio.create_subprocess_exec(sys.executable, "-c", CLIENT, str(path))
            await client.wait()
        print("the socket's file is gone:", not path.exists())


if __name__ == "__main__":
    jackfield.run(main)
