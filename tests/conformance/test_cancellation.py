"""A cancellation at any await loses and doubles nothing; a hash chain over all messages is the witness."""

from __future__ import annotations

import asyncio
import contextlib
import random
from pathlib import Path

import pytest
from support import LISTENING, TRANSPORTS, Chain, Runner, Transport, every, raw_connect, turns, two_ends

import jackfield

pytestmark = pytest.mark.timeout(90)


async def cancelled(task: asyncio.Task[object]) -> bool:
    """Cancel and wait; whether the task ended that way."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return task.cancelled()


@every(TRANSPORTS)
def test_thousands_of_cancelled_receives_lose_nothing(
    run: Runner, transport: Transport, directory: Path
) -> None:
    total = 1_500

    async def main() -> None:
        chance = random.Random(1)
        async with two_ends(transport, directory, high_water=4_096) as (client, server):
            sent, received = Chain(), Chain()

            async def produce() -> None:
                while sent.count < total:
                    if sent.count - received.count > 60:
                        # UDP drops what its receiver's buffer cannot hold.
                        await asyncio.sleep(0)
                        continue
                    await client.send(sent.next(chance.choice([0, 10, 700])))
                    if chance.random() < 0.3:
                        await asyncio.sleep(0)

            producer = asyncio.create_task(produce())
            cancellations = 0
            while received.count < total:
                kind = chance.randrange(5)
                if kind == 0:
                    task = asyncio.create_task(server.receive())
                elif kind == 1:
                    task = asyncio.create_task(server.receive_many(5))
                elif kind == 2:
                    task = asyncio.create_task(server.receive(timeout=chance.choice([0.0, 0.0005, 5.0])))
                elif kind == 3:
                    task = asyncio.ensure_future(anext(server))
                else:
                    task = asyncio.create_task(
                        asyncio.wait_for(server.receive(), chance.choice([0.0002, 5.0]))
                    )
                await turns(chance.randrange(4))
                task.cancel()
                try:
                    result = await task
                except asyncio.CancelledError:
                    cancellations += 1
                    continue
                except TimeoutError:
                    continue
                for message in result if isinstance(result, list) else [result]:
                    received.check(message)
            await producer
            assert cancellations > 100

    run(main)


@every([transport for transport in TRANSPORTS if transport.is_reliable])
def test_cancelled_sends_queue_all_or_nothing(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        chance = random.Random(2)
        async with two_ends(transport, directory, high_water=3_000) as (client, server):
            accepted: list[int] = []
            received: list[int] = []
            done = asyncio.Event()

            async def consume() -> None:
                async for message in server:
                    if message == b"done":
                        done.set()
                        return
                    number = int.from_bytes(message[:4], "big")
                    assert message == number.to_bytes(4, "big") * (len(message) // 4)
                    received.append(number)
                    if chance.random() < 0.2:
                        await asyncio.sleep(0)

            async def sending(message: bytes, timeout: float | None) -> None:
                # The call itself queues when there is room, so it must not be made before the task runs.
                await client.send(message, timeout=timeout)

            consumer = asyncio.create_task(consume())
            cancellations = 0
            for number in range(2_500):
                message = number.to_bytes(4, "big") * chance.choice([1, 100, 600])
                task = asyncio.create_task(sending(message, chance.choice([None, 5.0, 0.0])))
                await turns(chance.randrange(3))
                if chance.random() < 0.5:
                    task.cancel()
                try:
                    await task
                except asyncio.CancelledError:
                    cancellations += 1
                except jackfield.TimedOut:
                    pass
                else:
                    accepted.append(number)
            await client.send(b"done", timeout=10.0)
            await asyncio.wait_for(done.wait(), 10.0)
            await consumer
            assert received == accepted
            assert cancellations > 100

    run(main)


def test_several_waiting_senders_keep_their_order(run: Runner) -> None:
    async def main() -> None:
        one, two = jackfield.pair(framing="u32", high_water=1_000)
        async with one, two:
            await one.send(b"x" * 900_000)
            senders = [asyncio.create_task(one.send(b"%03d" % number * 300)) for number in range(50)]
            await turns()
            gone = set(range(0, 50, 3))
            for number in gone:
                assert await cancelled(senders[number])
            assert len(await two.receive(5.0)) == 900_000
            for number in range(50):
                if number not in gone:
                    assert await two.receive(5.0) == b"%03d" % number * 300
                    await senders[number]

    run(main)


def test_send_many_cancelled_has_sent_a_first_part(run: Runner) -> None:
    async def main() -> None:
        one, two = jackfield.pair(framing="u32", high_water=10_000)
        async with one, two:
            messages = [b"%04d" % number * 100 for number in range(4_000)]
            task = asyncio.create_task(one.send_many(messages))
            await turns(5)
            assert not task.done()
            assert await cancelled(task)
            await one.send(b"last", timeout=10.0) if one.statistics().queued_bytes < 5_000 else None
            one.send_eof()
            received = [message async for message in two]
            received = received[:-1] if received[-1] == b"last" else received
            assert 0 < len(received) < 4_000
            assert received == messages[: len(received)]

    run(main)


@every([transport for transport in LISTENING if transport.has_end and transport.scheme != "tls"])
def test_cancelled_accepts_take_nobody(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        async with jackfield.listen(transport.address(directory)) as listener:
            chance = random.Random(3)
            clients, channels = [], []
            for number in range(200):
                task = asyncio.create_task(listener.accept(chance.choice([None, 0.0, 1.0])))
                await turns(chance.randrange(2))
                if number < 50:
                    clients.append(raw_connect(listener.address))
                await turns(chance.randrange(3))
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, jackfield.TimedOut):
                    channels.append(await task)
            while len(channels) < 50:
                channels.append(await listener.accept(5.0))
            with pytest.raises(jackfield.TimedOut):
                await listener.accept(0.01)
            assert listener.statistics().clients == 50
            for channel in channels:
                channel.abort()
            for client in clients:
                client.close()

    run(main)


@every([transport for transport in LISTENING if transport.has_end])
def test_cancelled_connects_leave_nothing_open(run: Runner, transport: Transport, directory: Path) -> None:
    async def connecting(address: jackfield.Address) -> jackfield.Channel:
        return await jackfield.connect(address)

    async def main() -> None:
        chance = random.Random(4)
        async with jackfield.listen(transport.address(directory)) as listener:
            for _ in range(100):
                task = asyncio.create_task(connecting(listener.address))
                await turns(chance.randrange(5))
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    (await task).abort()

    run(main)


def test_a_connect_into_silence_is_cancelled_and_times_out(run: Runner) -> None:
    # Whether a network in between answers or not, nothing may stay behind: 192.0.2.0/24 is nobody's.
    async def main() -> None:
        async def connecting() -> None:
            (await jackfield.connect("tcp://192.0.2.1:9", connect_timeout=0.1)).abort()

        task = asyncio.create_task(connecting())
        await turns(2)
        with contextlib.suppress(jackfield.ConnectFailed):
            await cancelled(task)
        with contextlib.suppress(jackfield.ConnectFailed):
            await connecting()

    run(main)


def test_cancelled_flush_and_close_lose_nothing(run: Runner) -> None:
    async def main() -> None:
        one, two = jackfield.pair(framing="u32", high_water=2**24)
        sent, received = Chain(), Chain()
        for _ in range(200):
            await one.send(sent.next(10_000))
            task = asyncio.create_task(one.flush())
            await turns(2)
            await cancelled(task)
        closing = asyncio.create_task(one.close())
        await turns()
        assert await cancelled(closing)
        async for message in two:
            received.check(message)
        assert received.count == 200
        await one.close(1.0)
        two.abort()

    run(main)


def test_cancelled_receive_exactly_and_until_take_nothing(run: Runner) -> None:
    async def main() -> None:
        one, two = jackfield.pair()
        async with one, two:
            await one.send(b"part of a line")
            for _ in range(50):
                assert await cancelled_soon(two.receive_until(b"\n"))
                assert await cancelled_soon(two.receive_exactly(50))
            with pytest.raises(jackfield.TimedOut):
                await two.receive_exactly(50, timeout=0.01)
            two.receive_exactly(3).close()
            await one.send(b" and its end\nrest")
            assert await two.receive_until(b"\n", timeout=5.0) == b"part of a line and its end"
            assert await two.receive_exactly(1, timeout=5.0) == b"r"
            assert await two.receive(5.0) == b"est"

    async def cancelled_soon(call: object) -> bool:
        task: asyncio.Task[object] = asyncio.ensure_future(call)  # type: ignore[arg-type]
        await turns(2)
        return await cancelled(task)

    run(main)


def test_cancelled_receive_exactly_of_much_gives_back_what_came(run: Runner) -> None:
    async def main() -> None:
        one, two = jackfield.pair(high_water=2**22)
        async with one, two:
            data = bytes(range(256)) * 2_000
            sending = asyncio.create_task(one.send_many([data]))
            with pytest.raises(jackfield.TimedOut):
                await two.receive_exactly(2**20, timeout=0.05)
            assert await two.receive_exactly(10, timeout=2.0) == data[:10]
            rest = b""
            while len(rest) < len(data) - 10:
                rest += await two.receive(2.0)
            assert rest == data[10:]
            await sending

    run(main)


def test_thousands_of_cancelled_group_receives_lose_nothing(run: Runner) -> None:
    async def main() -> None:
        chance = random.Random(5)
        async with jackfield.Group() as group:
            clients: dict[int, tuple[jackfield.Channel, Chain, Chain]] = {}
            for _ in range(10):
                one, two = jackfield.pair(framing="u32")
                clients[group.add(two).id] = (one, Chain(), Chain())
            joined, received = set(), 0

            async def produce() -> None:
                for _ in range(200):
                    for client, sent, _ in clients.values():
                        await client.send(sent.next())
                    await asyncio.sleep(0)

            producer = asyncio.create_task(produce())
            cancellations = 0
            while received < 2_000:
                call = group.receive() if chance.random() < 0.5 else group.receive_many(7)
                task = asyncio.ensure_future(call)
                await turns(chance.randrange(3))
                task.cancel()
                try:
                    events = await task
                except asyncio.CancelledError:
                    cancellations += 1
                    continue
                for event in events if isinstance(events, list) else [events]:
                    if isinstance(event, jackfield.Joined):
                        assert event.member.id not in joined
                        joined.add(event.member.id)
                    else:
                        assert event.member.id in joined
                        clients[event.member.id][2].check(event.data)
                        received += 1
            await producer
            assert cancellations > 100
            for client, _, _ in clients.values():
                client.abort()

    run(main)


def test_cancellation_in_the_tick_of_arrival(run: Runner) -> None:
    """The message has arrived, the task is about to be resumed, and is cancelled just then."""

    async def main() -> None:
        one, two = jackfield.pair(framing="u32")
        async with one, two:
            sent, received = Chain(), Chain()
            for _ in range(500):
                task = asyncio.create_task(two.receive())
                await turns(1)
                one.send_nowait(sent.next())
                await one.flush()
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    received.check(await task)
            while received.count < sent.count:
                received.check(await two.receive(5.0))

    run(main)
