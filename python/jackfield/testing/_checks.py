"""The checks of the conformance battery. Each takes two connected ends and the transport's traits.

A function's name is the check's name, the first line of its documentation what it promises. Nothing here
waits for a time to pass but where "nothing comes" is to be shown.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Sequence
from typing import Any

import jackfield
from jackfield.testing.conformance import Check, Function, Traits

SOON = 0.03
"""Seconds after which nothing has come."""
LATE = 15.0
"""Seconds within which everything must have come."""
FLOOD = 64 << 20
"""Bytes; no bounded transport takes so many that nobody receives."""
LOST = (jackfield.ChannelLost, jackfield.EndOfStream)

CHECKS: list[Check] = []


def check(*needs: str) -> Callable[[Function], Function]:
    """Takes a function into the battery; ``needs`` are names of ``Traits``."""

    def register(function: Function) -> Function:
        name = function.__name__
        promise = (function.__doc__ or name).strip().splitlines()[0]
        CHECKS.append(Check(name, promise, needs, function))
        return function

    return register


def numbered(number: int, size: int = 16) -> bytes:
    """A message that tells which it is, whatever part of it is seen."""
    return (b"%08d " % number * (size // 9 + 1))[: max(size, 9)]


def compare(received: Sequence[bytes], sent: Sequence[bytes], traits: Traits) -> None:
    """What arrived is what was sent, in order, once."""
    if not traits.keeps_boundaries:
        assert b"".join(received) == b"".join(sent), "the bytes that arrived are not those that were sent"
        return
    for place, (got, want) in enumerate(zip(received, sent, strict=False)):
        assert got == want, f"message {place} is {got[:40]!r}, and {want[:40]!r} was due"
    assert len(received) == len(sent), f"{len(received)} messages arrived, and {len(sent)} were sent"


def is_all(received: Sequence[bytes], sent: Sequence[bytes], traits: Traits) -> bool:
    """Whether as much has arrived as was sent."""
    if traits.keeps_boundaries:
        return len(received) >= len(sent)
    return sum(map(len, received)) >= sum(map(len, sent))


async def expect(end: Any, sent: Sequence[bytes], traits: Traits) -> None:
    """Receive all of it, and nothing else."""
    received: list[bytes] = []
    while not is_all(received, sent, traits):
        received.append(await end.receive(LATE))
    compare(received, sent, traits)


async def turns(count: int) -> None:
    """Let everything that is ready now run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def cancelled(task: asyncio.Future[Any]) -> bool:
    """Cancel it and wait for its end; whether it ended that way, and not with a result after all.

    Waited for from outside: awaiting it would take a cancellation of the check itself for the task's.
    """
    task.cancel()
    await asyncio.wait([task])
    return task.cancelled()


@contextlib.contextmanager
def raises(kind: type[BaseException] | tuple[type[BaseException], ...], what: str) -> Any:
    """Something must raise one of these."""
    names = " or ".join(each.__name__ for each in (kind if isinstance(kind, tuple) else (kind,)))
    try:
        yield
    except kind:
        return
    except Exception as error:
        raise AssertionError(f"{what} raised {type(error).__name__}, not {names}") from error
    raise AssertionError(f"{what} did not raise {names}")


# Messages -----------------------------------------------------------------------------------------


@check()
async def a_message_arrives_each_way(left: Any, right: Any, traits: Traits) -> None:
    """What one end sends the other receives, both ways."""
    await left.send(b"from the left")
    await expect(right, [b"from the left"], traits)
    await right.send(b"from the right")
    await expect(left, [b"from the right"], traits)


@check()
async def messages_of_all_sizes(left: Any, right: Any, traits: Traits) -> None:
    """Small and large messages arrive whole, one after the other."""
    for size in (1, 2, 127, 128, 255, 256, 4_095, 4_096, 16_384, traits.largest):
        message = numbered(size, min(size, traits.largest))
        await left.send(message)
        await expect(right, [message], traits)


@check("keeps_boundaries")
async def boundaries_and_empty_messages_are_kept(left: Any, right: Any, traits: Traits) -> None:
    """Messages sent at once arrive one by one, and ``b""`` is one of them."""
    sent = [b"one", b"", b"two", b"", b"", b"three"]
    for message in sent:
        await left.send(message)
    received = [await right.receive(LATE) for _ in sent]
    compare(received, sent, traits)


@check("is_reliable")
async def many_in_flight_keep_their_order(left: Any, right: Any, traits: Traits) -> None:
    """A thousand messages in each direction at the same time: all arrive, in order."""
    sent = [numbered(number, number % 97) for number in range(1_000)]

    async def send_all(end: Any) -> None:
        for message in sent:
            await end.send(message)

    await asyncio.gather(
        send_all(left), send_all(right), expect(left, sent, traits), expect(right, sent, traits)
    )


@check("batches", "is_reliable")
async def batches_are_messages_in_order(left: Any, right: Any, traits: Traits) -> None:
    """``send_many`` sends each message by itself; ``receive_many`` gives what is there, at most so many."""
    sent = [numbered(number) for number in range(300)]
    sending = asyncio.ensure_future(left.send_many(sent))
    received: list[bytes] = []
    while not is_all(received, sent, traits):
        batch = await right.receive_many(7, timeout=LATE)
        assert 1 <= len(batch) <= 7, f"receive_many(7) gave {len(batch)}"
        received += batch
    await sending
    compare(received, sent, traits)


@check()
async def buffers_may_be_changed_once_sent(left: Any, right: Any, traits: Traits) -> None:
    """What is sent is what the message was when ``send`` was called, whatever happens to its buffer."""
    data = bytearray(b"as it was")
    await left.send(data)
    data[:] = b"different"
    await expect(right, [b"as it was"], traits)


# Time-outs and cancellation -----------------------------------------------------------------------


@check()
async def a_receive_times_out_and_takes_nothing(left: Any, right: Any, traits: Traits) -> None:
    """``receive(timeout)`` raises ``TimedOut`` in time; what comes later is received."""
    for timeout in (0.0, SOON):
        with raises(TimeoutError, f"receive({timeout})"):
            await right.receive(timeout)
    await left.send(b"late")
    await expect(right, [b"late"], traits)


@check()
async def calls_can_be_tasks(left: Any, right: Any, traits: Traits) -> None:
    """What ``receive`` and ``send`` give can be made a task, waited for and gathered."""
    receiving = asyncio.ensure_future(right.receive())
    await asyncio.wait_for(asyncio.ensure_future(left.send(b"as a task")), LATE)
    received = await asyncio.wait_for(receiving, LATE)
    if traits.keeps_boundaries:
        assert received == b"as a task"
    else:
        assert b"as a task".startswith(received)


@check("is_reliable")
async def cancelled_receives_lose_nothing(left: Any, right: Any, traits: Traits) -> None:
    """Receives that are cancelled at any moment have taken nothing: every message arrives, in order, once."""
    chance = random.Random(1)
    sent = [numbered(number, chance.choice([9, 100, 900])) for number in range(400)]

    async def send_all() -> None:
        for message in sent:
            await left.send(message)
            if chance.random() < 0.5:
                await turns(1)

    sending = asyncio.create_task(send_all())
    received: list[bytes] = []
    cancellations = 0
    while not is_all(received, sent, traits):
        task = asyncio.ensure_future(right.receive())
        await turns(chance.randrange(4))
        if await cancelled(task):
            cancellations += 1
            await turns(1)
        else:
            received.append(task.result())
    await sending
    compare(received, sent, traits)
    assert cancellations > 0, "no receive was cancelled: is it a coroutine that waits?"


@check("is_reliable")
async def a_cancellation_as_it_arrives_loses_nothing(left: Any, right: Any, traits: Traits) -> None:
    """A receive that is cancelled just when its message arrives gives it, or leaves it to the next one."""
    sent, received = [], []
    for number in range(100):
        task = asyncio.ensure_future(right.receive())
        await turns(1)
        message = numbered(number)
        await left.send(message)
        sent.append(message)
        await turns(number % 4)
        if not await cancelled(task):
            received.append(task.result())
    while not is_all(received, sent, traits):
        received.append(await right.receive(LATE))
    compare(received, sent, traits)


@check("is_reliable", "is_bounded")
async def cancelled_sends_are_whole_or_not_at_all(left: Any, right: Any, traits: Traits) -> None:
    """A send that returned has sent its message, a cancelled one nothing of it."""
    chance = random.Random(2)
    sent: list[bytes] = []
    last = b"the last one"

    async def send(message: bytes) -> None:
        # The call itself may queue, so it is not made before its task runs.
        await left.send(message)

    async def send_all() -> None:
        for number in range(300):
            message = numbered(number, chance.choice([9, 2_000, traits.largest // 2]))
            task = asyncio.create_task(send(message))
            await turns(chance.randrange(4))
            if chance.random() < 0.5 and await cancelled(task):
                continue
            await task
            sent.append(message)
        await left.send(last)
        sent.append(last)

    received: list[bytes] = []
    sending = asyncio.create_task(send_all())
    # Whatever arrives before the last one was sent is compared with what was sent by then.
    while not (received and b"".join(received[-2:]).endswith(last)):
        received.append(await right.receive(LATE))
        if chance.random() < 0.3:
            await turns(3)
    await sending
    compare(received, sent, traits)


@check("is_bounded", "is_reliable")
async def a_slow_receiver_makes_the_sender_wait(left: Any, right: Any, traits: Traits) -> None:
    """Nobody receives: at some time ``send`` waits; then all that was sent arrives, and sending goes on."""
    sent: list[bytes] = []

    async def fill() -> None:
        for number in range(FLOOD // traits.largest):
            message = numbered(number, traits.largest)
            await left.send(message, timeout=SOON * 10)
            sent.append(message)

    with raises(TimeoutError, "sending 64 MiB that nobody receives"):
        await fill()
    await expect(right, sent, traits)
    await left.send(b"and on")
    await expect(right, [b"and on"], traits)


@check()
async def one_receiver_at_a_time(left: Any, right: Any, traits: Traits) -> None:
    """A second receiver is refused with ``AlreadyWaiting``, and the first one gets its message."""
    first = asyncio.ensure_future(right.receive())
    await turns(2)
    with raises(jackfield.AlreadyWaiting, "a second receive at the same time"):
        await asyncio.wait_for(right.receive(), LATE)
    await left.send(b"for the first")
    received = await asyncio.wait_for(first, LATE)
    assert b"for the first".startswith(received)
    assert received


# Ends ---------------------------------------------------------------------------------------------


@check("has_end", "is_reliable")
async def close_delivers_what_was_sent_and_then_ends(left: Any, right: Any, traits: Traits) -> None:
    """All that was sent before ``close`` arrives, and behind it ``EndOfStream``, again and again."""
    sent = [numbered(number, 500) for number in range(50)]
    for message in sent:
        await left.send(message)
    closing = asyncio.ensure_future(left.close())
    await expect(right, sent, traits)
    for _ in range(3):
        with raises(jackfield.EndOfStream, "receive behind the end"):
            await right.receive(LATE)
    await asyncio.wait_for(closing, LATE)


@check("has_end", "is_reliable")
async def iteration_stops_at_the_end(left: Any, right: Any, traits: Traits) -> None:
    """``async for`` gives every message and stops at the end."""
    sent = [numbered(number) for number in range(20)]
    for message in sent:
        await left.send(message)
    closing = asyncio.ensure_future(left.close())
    compare([message async for message in right], sent, traits)
    await asyncio.wait_for(closing, LATE)


@check("half_close", "has_end", "is_reliable")
async def half_close_ends_one_direction_only(left: Any, right: Any, traits: Traits) -> None:
    """After ``send_eof`` the peer sees the end, and what it sends still arrives."""
    await left.send(b"the question")
    left.send_eof()
    await expect(right, [b"the question"], traits)
    with raises(jackfield.EndOfStream, "receive behind send_eof"):
        await right.receive(LATE)
    await right.send(b"the answer")
    await expect(left, [b"the answer"], traits)


@check()
async def close_can_be_repeated(left: Any, right: Any, traits: Traits) -> None:
    """``close`` after ``close`` and ``abort`` after ``abort`` do nothing more, and raise nothing."""
    for _ in range(2):
        await asyncio.wait_for(asyncio.ensure_future(left.close(1.0)), LATE)
    left.abort()
    left.abort()
    await asyncio.wait_for(asyncio.ensure_future(left.close()), LATE)


@check()
async def a_closed_end_says_so(left: Any, right: Any, traits: Traits) -> None:
    """Calls on an end that was closed from this side raise ``ChannelClosed``."""
    left.abort()
    with raises(jackfield.ChannelClosed, "send after abort"):
        await left.send(b"x")
    with raises(jackfield.ChannelClosed, "receive after abort"):
        await left.receive(LATE)


@check()
async def closing_wakes_who_waits(left: Any, right: Any, traits: Traits) -> None:
    """A receiver that waits is woken with ``ChannelClosed`` when its own end is aborted."""
    waiting = asyncio.ensure_future(left.receive())
    await turns(2)
    left.abort()
    with raises(jackfield.ChannelClosed, "a receive that waited when its end was aborted"):
        await asyncio.wait_for(waiting, LATE)


@check("has_end")
async def an_abort_is_seen_by_the_peer(left: Any, right: Any, traits: Traits) -> None:
    """A receiver that waits hears of the peer's ``abort``: ``ChannelLost`` or ``EndOfStream``."""
    waiting = asyncio.ensure_future(right.receive())
    await turns(2)
    left.abort()
    with raises(LOST, "a receive whose peer aborted"):
        await asyncio.wait_for(waiting, LATE)


@check("has_end", "is_bounded", "is_reliable")
async def a_waiting_sender_hears_of_the_peers_abort(left: Any, right: Any, traits: Traits) -> None:
    """A sender that waits for room is woken when its peer is gone, with ``ChannelLost``."""

    async def send_on() -> None:
        for number in range(FLOOD // traits.largest):
            await left.send(numbered(number, traits.largest))
            await turns(1)

    sending = asyncio.create_task(send_on())
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.shield(sending), SOON)
    right.abort()
    with raises(jackfield.ChannelLost, "a send whose peer aborted"):
        await asyncio.wait_for(sending, LATE)
