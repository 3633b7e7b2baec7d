"""`Group` as an object: making it, matching its events, what is left when it goes."""

from __future__ import annotations

import asyncio
import gc

import pytest
from support import Runner, turns

import jackfield

pytestmark = pytest.mark.timeout(30)


def test_a_group_needs_a_loop_and_a_policy_that_exists(run_here: Runner) -> None:
    with pytest.raises(RuntimeError):
        jackfield.Group()

    async def main() -> None:
        with pytest.raises(ValueError, match="perhaps"):
            jackfield.Group(when_full="perhaps")
        for policy in jackfield.WhenFull:
            jackfield.Group(when_full=policy).abort()

    run_here(main)


def test_events_match_by_position(run: Runner) -> None:
    async def main() -> None:
        async with jackfield.Group() as group:
            one, two = jackfield.pair(framing="line")
            group.add(two)
            await one.send(b"hello")
            await one.close(1.0)
            story: list[object] = []
            async for event in group:
                match event:
                    case jackfield.Joined(member):
                        story.append(member.id)
                    case jackfield.Message(member, data):
                        story += [member.id, data]
                    case jackfield.Left(member, reason, error):
                        story += [member.id, bool(reason), error]
                        break
            assert story == [two.id, two.id, b"hello", two.id, True, None]

    run(main)


def test_a_dropped_group_ends_its_members(run: Runner) -> None:
    async def main() -> None:
        group = jackfield.Group()
        one, two = jackfield.pair()
        group.add(two)
        del group
        gc.collect()
        with pytest.raises((jackfield.EndOfStream, jackfield.ChannelLost)):
            await one.receive(5.0)
        one.abort()

    run(main)


def test_statistics_of_strangers(run_here: Runner) -> None:
    async def main() -> None:
        async with jackfield.Group() as group:
            with pytest.raises(KeyError):
                group.statistics(123_456)
            one, two = jackfield.pair(framing="u8")
            member = group.add(two)
            assert group.statistics(member) == group.statistics(member.id)
            assert isinstance(group.statistics(member), jackfield.Statistics)
            await one.send(b"abc")
            while group.statistics(member).messages_in == 0:
                await group.receive(5.0)
            assert group.statistics(member).bytes_in == 4
            one.abort()

    run_here(main)


def test_a_group_of_another_loop_takes_no_listener(run_here: Runner) -> None:
    async def main() -> tuple[jackfield.Listener, jackfield.Group]:
        listener = await jackfield.listen("tcp://127.0.0.1:0")
        group = jackfield.Group()
        listener.abort()
        group.abort()
        return listener, group

    listener, _ = run_here(main)

    async def again() -> None:
        group = jackfield.Group()
        with pytest.raises(RuntimeError, match="another event loop"):
            listener.into(group)
        group.abort()

    run_here(again)


def test_closing_delivers_and_ends(run: Runner) -> None:
    async def main() -> None:
        group = jackfield.Group()
        clients = []
        for _ in range(3):
            one, two = jackfield.pair(framing="u32")
            group.add(two)
            clients.append(one)
        await group.broadcast(b"last words" * 50_000)
        closing = asyncio.create_task(group.close())
        for client in clients:
            assert await client.receive(5.0) == b"last words" * 50_000
            with pytest.raises(jackfield.EndOfStream):
                await client.receive(5.0)
            client.abort()
        await closing
        await group.close()
        await turns()
        assert len(group) == 0

    run(main)
