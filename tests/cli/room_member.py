"""A native client in a room, as a program: lines of its input are published, what it has heard is in a file.

Usage: python room_member.py ADDRESS NAME ROOM FILE. Each message is a line `sequence name text` of the file,
written before the next one is asked for; started again, it goes on behind the last of them.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import jackfield
from jackfield.hub import connect
from jackfield.native import Room


def last_of(file: Path) -> int:
    lines = file.read_text().splitlines() if file.exists() else []
    return int(lines[-1].split()[0]) if lines else 0


async def say(room: Room) -> None:
    while line := await asyncio.to_thread(sys.stdin.readline):
        print("stored", await room.publish(line.rstrip("\n")), flush=True)


async def main() -> None:
    address, name, place, path = sys.argv[1:]
    file = Path(path)
    async with (
        connect(address, name=name, instance=f"{name}-program") as client,
        client.room(place, after=last_of(file), create=True) as room,
    ):
        print("joined", flush=True)
        saying = asyncio.create_task(say(room))
        with file.open("a") as out:  # noqa: ASYNC230 - a short line each, before the next one is asked for
            async for message in room:
                out.write(f"{message.sequence} {message.name} {message.text}\n")
                out.flush()
        await saying


jackfield.run(main)
