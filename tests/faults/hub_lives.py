"""A program in which a hub lives many short lives, for `test_room_crash.py`.

`hub_lives.py DIRECTORY` reads lines: at each `live` it forks a child that is a hub, the same each time: on a
Unix socket, with its state in the directory. Says `life PID`, `ready` once the hub is there, and `ended` when
it is gone. Forking from a process that has everything loaded makes starting one cheap.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import jackfield
from jackfield.hub import serve


def say(text: str) -> None:
    """A line, whole, at once."""
    os.write(1, f"{text}\n".encode())


async def hub(directory: Path) -> None:
    """A hub until it is killed."""
    async with serve(f"unix://{directory}/hub?protocol=native", state=directory / "state.db"):
        say("ready")
        await asyncio.Event().wait()


def main() -> None:
    """Lives, one after the other."""
    for _ in sys.stdin:
        child = os.fork()
        if not child:
            os.setsid()
            jackfield.run(lambda: hub(Path(sys.argv[1])))
            os._exit(1)
        say(f"life {child}")
        os.waitpid(child, 0)
        say("ended")


if __name__ == "__main__":
    main()
