"""A hub that is killed while three native clients chat in a durable room, 200 times.

They speak the protocol by themselves; those of the library have a shorter battery of the same kind.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from pathlib import Path

import pytest
from room_member import ROOM, Member

from jackfield.hub import connect
from jackfield.hub.rooms.sqlite_store import SqliteStore, beside
from jackfield.hub.rooms.store import Message
from jackfield.native import Room

KILLS = int(os.environ.get("JACKFIELD_TEST_KILLS", "200"))
LIBRARY_KILLS = KILLS // 5
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
                with contextlib.suppress(ProcessLookupError):  # it has no group yet
                    os.killpg(pid, signal.SIGKILL)
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
    deadline = asyncio.get_running_loop().time() + 30
    while known == [(member.published, member.cursor) for member in members]:
        for task in running:
            assert not task.done(), task.exception()
        assert asyncio.get_running_loop().time() < deadline, [str(member) for member in members]
        await asyncio.sleep(0.002)


def has_all(members: list[Member]) -> bool:
    """Whether all that was said is acknowledged, and everyone has heard it."""
    total = sum(member.said for member in members)
    return all(member.published == member.said and 0 < member.cursor == total for member in members)


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
        while not has_all(members):  # which can be so since the last life
            await progress(members, running)
        is_over = True
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


class Chatter:
    """One of the library's clients: it says one thing after the other, and keeps what it hears."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.acknowledged: list[int] = []  # the sequence of each thing that it said
        self.heard: list[tuple[int, bytes]] = []
        self.is_quiet = self.is_done = False

    async def run(self, address: str) -> None:
        """Until it is ended."""
        async with (
            connect(address, name=self.name, instance="1", reconnect="5ms..20ms") as client,
            client.room(ROOM, after=0, create=True) as room,
            asyncio.TaskGroup() as both,
        ):
            both.create_task(self._say(room))
            both.create_task(self._hear(room))

    async def _say(self, room: Room) -> None:
        while not self.is_quiet:
            text = b"%s says %d" % (self.name.encode(), len(self.acknowledged) + 1)
            self.acknowledged.append(await room.publish(text))
        self.is_done = True

    async def _hear(self, room: Room) -> None:
        async for message in room:
            self.heard.append((message.sequence, message.data))


async def chat_by_the_library(directory: Path) -> list[Chatter]:
    """Three of them, and a hub that is killed again and again; what they know once all is quiet."""
    draw = random.Random(11)
    hubs = await Hubs.start(directory)
    chatters = [Chatter(name) for name in NAMES]
    running: list[asyncio.Task[None]] = []

    def said() -> int:
        return sum(len(each.acknowledged) for each in chatters)

    async def until(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                for task in running:
                    assert not task.done(), task.exception()
                await asyncio.sleep(0.002)

    try:
        for life in range(LIBRARY_KILLS + 1):
            pid = await hubs.begin()
            assert await hubs.word() == "ready"
            if not running:
                running = [asyncio.create_task(each.run(f"unix://{directory}/hub")) for each in chatters]
            count = said()
            await until(lambda count=count: said() > count)  # type: ignore[misc]
            if life < LIBRARY_KILLS:
                await asyncio.sleep(draw.uniform(0, LONGEST_LIFE))
                await hubs.end(pid, with_writer=draw.random() < 0.5)
        for each in chatters:
            each.is_quiet = True
        await until(lambda: all(each.is_done for each in chatters))
        await until(lambda: all(len(each.heard) == said() for each in chatters))
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await hubs.close()
    return chatters


@pytest.mark.timeout(300)
def test_clients_of_the_library_say_and_hear_everything_once(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chatters = asyncio.run(chat_by_the_library(directory))
    found = asyncio.run(stored(directory))
    said = {each.body: each.sequence for each in found}
    assert len(said) == len(found)
    for each in chatters:
        assert each.heard == [(one.sequence, one.body) for one in found]
        for number, sequence in enumerate(each.acknowledged, 1):
            assert said[b"%s says %d" % (each.name.encode(), number)] == sequence
    with capsys.disabled():
        count = sum(len(each.acknowledged) for each in chatters)
        print(f"\n{LIBRARY_KILLS} kills, {count} acknowledged, lost 0, duplicated 0 by the library's clients")
