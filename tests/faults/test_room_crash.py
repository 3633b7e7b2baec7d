"""A hub that is killed while three native clients chat in a durable room, 200 times."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import pytest
from room_member import ROOM, Member

from jackfield.hub.rooms.sqlite_store import SqliteStore, beside
from jackfield.hub.rooms.store import Message

KILLS = int(os.environ.get("JACKFIELD_TEST_KILLS", "200"))
LONGEST_LIFE = 0.06  # seconds from the first acknowledgement, or from a hub's first word, to its end
NAMES = ("ana", "bo", "cy")


class Hubs:
    """The program `hub_lives.py`."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._pid = 0  # of the hub that lives

    @classmethod
    async def start(cls, directory: Path) -> Hubs:
        program = Path(__file__).with_name("hub_lives.py")
        words = sys.executable, str(program), str(directory)
        return cls(await asyncio.create_subprocess_exec(*words, stdin=PIPE, stdout=PIPE))

    async def begin(self) -> int:
        """A new hub; its pid, once it is forked."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"live\n")
        word, pid = (await self.word()).split()
        assert word == "life"
        self._pid = int(pid)
        return self._pid

    async def word(self) -> str:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        assert line, "hub_lives.py has ended"
        return line.decode().strip()

    async def end(self, pid: int, *, with_writer: bool) -> None:
        """Kill a hub, and wait until it is gone."""
        with contextlib.suppress(ProcessLookupError):
            if with_writer:
                os.killpg(pid, signal.SIGKILL)
            else:
                os.kill(pid, signal.SIGKILL)
        while (word := await self.word()) != "ended":
            assert word == "ready"
        self._pid = 0

    async def close(self) -> None:
        assert self._process.stdin is not None
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._pid, signal.SIGKILL)
        self._process.stdin.close()
        await self._process.wait()


async def progress(members: list[Member], running: list[asyncio.Task[None]]) -> None:
    """Wait until something new is acknowledged or heard; a member that ended has something to say."""
    known = [(member.published, member.cursor) for member in members]
    async with asyncio.timeout(30):
        while known == [(member.published, member.cursor) for member in members]:
            for task in running:
                assert not task.done(), task.exception()
            await asyncio.sleep(0.002)


async def chat(directory: Path) -> list[Member]:
    """Three members, and a hub that is killed again and again; what they know once all is quiet."""
    draw = random.Random(9)
    members = [Member(name, f"{directory}/hub") for name in NAMES]
    is_over = False
    hubs = await Hubs.start(directory)
    running = [asyncio.create_task(member.run(lambda: is_over)) for member in members]
    try:
        for _ in range(KILLS):
            pid = await hubs.begin()
            how = draw.random()  # below 0.1: at any moment of its start
            if how >= 0.1:
                word = await hubs.word()
                assert word == "ready", word
            if how >= 0.25:
                await progress(members, running)
            await asyncio.sleep(draw.uniform(0, LONGEST_LIFE))
            await hubs.end(pid, with_writer=draw.random() < 0.5)
        pid = await hubs.begin()
        for member in members:
            member.is_quiet = True
        async with asyncio.timeout(30):
            while not is_over:  # until everything is acknowledged, and everyone has heard everything
                await progress(members, running)
                total = sum(member.said for member in members)
                is_over = all(
                    member.published == member.said and 0 < member.cursor == total for member in members
                )
        await asyncio.gather(*running)
        await hubs.end(pid, with_writer=True)
    finally:
        for task in running:
            task.cancel()
        await hubs.close()
    return members


async def stored(directory: Path) -> list[Message]:
    """What the store has, opened as by a hub."""
    store = await SqliteStore.open(beside(directory / "state.db"))
    found: list[Message] = []
    while (page := await store.read(ROOM, found[-1].sequence if found else 0, limit=1000)).messages:
        found += page.messages
    await store.close()
    return found


@pytest.mark.timeout(400)
def test_everything_acknowledged_is_there_once_and_heard_once(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    members = asyncio.run(chat(directory))
    found = asyncio.run(stored(directory))
    assert [each.sequence for each in found] == list(range(1, len(found) + 1))
    places: dict[tuple[str, int], list[int]] = {}
    for each in found:
        places.setdefault((each.name, each.number), []).append(each.sequence)
        assert each.body == b"%s says %d" % (each.name.encode(), each.number)
    lost = duplicated = acknowledged = 0
    for member in members:
        numbers = [number for name, number in places if name == member.name]
        assert sorted(numbers) == list(range(1, member.said + 1))
        acknowledged += member.published
        for number in range(1, member.published + 1):
            at = places.get((member.name, number), [])
            lost += not at
            duplicated += len(at) > 1
            assert at == [member.acknowledged.get(number, at[0])]
        # Its cursor went over every message of the room once, in their order.
        assert [each[0] for each in member.heard] == list(range(1, len(found) + 1))
        assert [each[1:] for each in member.heard] == [(each.number, each.body) for each in found]
    with capsys.disabled():
        print(f"\n{KILLS} kills, {acknowledged} acknowledged, lost {lost}, duplicated {duplicated}; ", end="")
        print(f"{sum(member.lives for member in members)} times a member came back")
    assert (lost, duplicated) == (0, 0)
    assert acknowledged > KILLS
