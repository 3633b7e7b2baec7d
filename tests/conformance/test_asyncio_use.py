"""Channels in the hands of asyncio: tasks, contexts, debug mode, other threads; and asyncio on our loop."""

# ruff: noqa: PT012 - several sends until one fails

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from support import Runner, eventually, turns

import jackfield

pytestmark = pytest.mark.timeout(60)

who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")


def test_every_call_is_a_coroutine(run: Runner) -> None:
    async def main() -> None:
        one, two = jackfield.pair(framing="u32")
        async with one, two:
            for calls in range(3):
                task = asyncio.create_task(two.receive(), name=f"receive {calls}")
                await asyncio.create_task(one.send(b"x"))
                assert await task == b"x"
            assert asyncio.iscoroutine(two.receive())
            assert not asyncio.isfuture(two.receive())
            await one.send(b"1")
            assert await asyncio.wait_for(two.receive(), 5.0) == b"1"
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(two.receive(), 0.01)
            await one.send(b"2")
            assert await asyncio.shield(two.receive()) == b"2"
            assert await asyncio.gather(two.receive(), one.send(b"3"), one.flush()) == [b"3", None, None]
            done, pending = await asyncio.wait(
                [asyncio.create_task(two.receive()), asyncio.create_task(one.receive(timeout=0.01))],
                return_when=asyncio.FIRST_COMPLETED,
            )
            assert [type(task.exception()) for task in done] == [jackfield.TimedOut]
            for task in pending:
                task.cancel()
            async with asyncio.timeout(5.0), asyncio.TaskGroup() as group:
                answer = group.create_task(two.receive())
                group.create_task(one.send(b"4"))
            assert answer.result() == b"4"
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await two.receive()
            for result in asyncio.as_completed([two.receive(), one.send(b"5")]):
                assert await result in (b"5", None)

    run(main)


def test_a_call_is_awaited_once(run: Runner) -> None:
    async def main() -> None:
        one, two = jackfield.pair(framing="u32")
        async with one, two:
            await one.send(b"x")
            call = two.receive()
            assert await call == b"x"
            with pytest.raises(RuntimeError, match="already awaited"):
                await call
            again = two.receive()
            tasks = [asyncio.ensure_future(again), asyncio.ensure_future(again)]
            await turns()
            await one.send(b"y")
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert b"y" in results
            assert any(isinstance(result, RuntimeError) for result in results)

    run(main)


def test_a_callback_is_given_the_operation(run: Runner) -> None:
    """Only asyncio's own task is resumed with a future instead, which it cannot tell."""

    async def main() -> None:
        one, two = jackfield.pair(framing="u32")
        async with one, two:
            receiving = two.receive()
            assert receiving.send(None) is receiving
            told: asyncio.Future[object] = asyncio.get_running_loop().create_future()
            receiving.add_done_callback(told.set_result)
            await one.send(b"x")
            assert await told is receiving
            with pytest.raises(StopIteration) as ended:
                receiving.send(None)
            assert ended.value.value == b"x"

    run(main)


def test_tasks_written_in_python(run: Runner) -> None:
    """Debuggers and simulators replace the native task by one of Python."""

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(
            lambda loop, coroutine, **options: asyncio.tasks._PyTask(  # type: ignore[attr-defined]
                coroutine, loop=loop, **options
            )
        )
        one, two = jackfield.pair(framing="u32")
        async with one, two:

            async def echo() -> None:
                async for message in two:
                    await two.send(message)

            echoing = asyncio.create_task(echo())
            for number in range(5):
                assert await asyncio.create_task(one.request(b"%d" % number)) == b"%d" % number
            with pytest.raises(jackfield.TimedOut):
                await asyncio.create_task(one.receive(timeout=0.01))
            echoing.cancel("enough")
            with pytest.raises(asyncio.CancelledError, match="enough"):
                await echoing

    run(main)


def test_a_failing_sibling_cancels_the_receiver(run: Runner) -> None:
    async def main() -> None:
        one, two = jackfield.pair(framing="u32")

        async def fail() -> None:
            await turns()
            raise KeyError("sibling")

        async with one, two:
            with pytest.raises(ExceptionGroup) as caught:
                async with asyncio.TaskGroup() as group:
                    group.create_task(two.receive())
                    group.create_task(fail())
            assert caught.group_contains(KeyError)
            await one.send(b"still whole")
            assert await two.receive(5.0) == b"still whole"

    run(main)


def test_context_and_current_task_in_resumed_steps(run: Runner) -> None:
    async def main() -> None:
        one, two = jackfield.pair(framing="u32")
        three, four = jackfield.pair(framing="u32")
        seen: list[tuple[str, str]] = []

        async def relay(name: str, source: jackfield.Channel, to: jackfield.Channel | None) -> None:
            who.set(name)
            async for message in source:
                task = asyncio.current_task()
                assert task is not None
                seen.append((who.get(), task.get_name()))
                assert asyncio.get_running_loop() is loop
                assert asyncio.current_task(loop) is task
                if to is not None:
                    await to.send(message)

        loop = asyncio.get_running_loop()
        async with one, two, three, four:
            tasks = [
                asyncio.create_task(relay("first", two, three), name="first"),
                asyncio.create_task(relay("second", four, None), name="second"),
            ]
            for _ in range(50):
                await one.send(b"x")
                await asyncio.sleep(0)
            await eventually(lambda: len(seen) == 100)
            assert all(name == context for context, name in seen)
            assert {name for _, name in seen} == {"first", "second"}
            assert who.get() == "nobody"
            one.send_eof()
            three.send_eof()
            await asyncio.gather(*tasks)

    run(main)


def test_debug_mode(run: Runner, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        asyncio.get_running_loop().slow_callback_duration = 0.02
        one, two = jackfield.pair(framing="u32")
        async with one, two:
            for number in range(200):
                await one.send(b"%d" % number)
                assert await two.receive(5.0) == b"%d" % number
            waiting = asyncio.create_task(two.receive())
            await asyncio.sleep(0.01)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting

    with caplog.at_level(logging.ERROR, logger="asyncio"):
        run(main, debug=True)
    assert not caplog.records


def test_the_loop_serves_its_own_things_meanwhile(run: Runner) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        one, two = jackfield.pair(framing="u32")

        async def echo() -> None:
            async for message in two:
                await two.send(message)

        async with one:
            echoing = asyncio.create_task(echo())
            order: list[str] = []
            loop.call_soon(order.append, "soon")
            loop.call_later(0.01, order.append, "later")
            loop.call_at(loop.time() + 0.02, order.append, "at")
            cancelled = loop.call_later(0.01, order.append, "never")
            cancelled.cancel()
            threading.Timer(0.03, lambda: loop.call_soon_threadsafe(order.append, "thread")).start()
            while len(order) < 4:
                assert await one.request(b"x", timeout=5.0) == b"x"
            # After a pause of the process several are due at once; which kind is first is the loop's affair.
            assert sorted(order) == ["at", "later", "soon", "thread"]
            assert order.index("later") < order.index("at")
            assert await loop.run_in_executor(None, lambda: 6 * 7) == 42
            assert await asyncio.to_thread(threading.get_ident) != threading.get_ident()
            signalled = asyncio.Event()
            loop.add_signal_handler(signal.SIGUSR1, signalled.set)
            signal.raise_signal(signal.SIGUSR1)
            await asyncio.wait_for(signalled.wait(), 5.0)
            loop.remove_signal_handler(signal.SIGUSR1)
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", "print(input()[::-1])", stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            out, _ = await asyncio.wait_for(process.communicate(b"abc\n"), 15.0)
            assert out == b"cba\n"
            left, right = socket.socketpair()
            left.setblocking(False)
            with left, right:
                readable = asyncio.Event()
                loop.add_reader(left, readable.set)
                right.send(b"x")
                await asyncio.wait_for(readable.wait(), 5.0)
                loop.remove_reader(left)
                assert await loop.sock_recv(left, 10) == b"x"
            one.send_eof()
            await echoing
            two.abort()

    run(main)


def test_asyncio_streams_beside_channels(run: Runner) -> None:
    async def main() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while line := await reader.readline():
                writer.write(line.upper())
                await writer.drain()
            writer.close()
            answered.set()

        answered = asyncio.Event()
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with jackfield.connect(f"tcp://127.0.0.1:{port}", framing="line") as channel:
            for word in (b"one", b"two", b"x" * 10_000):
                assert await channel.request(word, timeout=5.0) == word.upper()
        await asyncio.wait_for(answered.wait(), 5.0)
        await turns()
        server.close()
        await server.wait_closed()

    run(main)


def test_a_ticker_is_not_starved_by_a_flood(run: Runner) -> None:
    async def main() -> None:
        one, two = jackfield.pair(framing="u32")
        late: list[float] = []
        stop = False

        async def flood() -> None:
            while not stop:
                await one.send(b"x" * 64)

        async def swallow() -> int:
            count = 0
            async for _ in two:
                count += 1
            return count

        async def tick() -> None:
            for _ in range(300):
                due = time.perf_counter() + 0.001
                await asyncio.sleep(0.001)
                late.append(time.perf_counter() - due)

        flooding, swallowing = asyncio.create_task(flood()), asyncio.create_task(swallow())
        await tick()
        stop = True
        await flooding
        await one.close(5.0)
        assert await swallowing > 1_000
        two.abort()
        # Far above the engine's own bound (some milliseconds), and not the worst: others use the cores, too.
        assert sorted(late)[150] < 0.1

    run(main)


def test_a_sender_that_never_waits_lets_others_run(run: Runner) -> None:
    async def main() -> None:
        one, two = jackfield.pair(framing="u32", when_full="drop_newest")
        stop = False

        async def sending() -> None:
            while not stop:
                await one.send(b"x")

        task = asyncio.create_task(sending())
        await asyncio.sleep(0.01)
        stop = True
        await task
        one.abort()
        two.abort()

    run(main)


def test_another_thread_gets_a_clear_error(run: Runner) -> None:
    async def main() -> None:
        one, two = jackfield.pair(framing="u32")
        loop = asyncio.get_running_loop()
        said: list[str] = []

        def meddle() -> None:
            calls = [
                lambda: one.send_nowait(b"x"),
                lambda: one.send(b"x").send(None),
                lambda: one.receive().send(None),
                one.abort,
                one.close,
                one.send_eof,
                one.statistics,
                one.fileno,
            ]
            for call in calls:
                try:
                    call()
                except RuntimeError as error:
                    said.append(str(error))
                else:
                    said.append("no error")

        await asyncio.to_thread(meddle)
        assert len(said) == 8
        assert all("another thread" in text and "call_soon_threadsafe" in text for text in said), said
        await asyncio.to_thread(loop.call_soon_threadsafe, one.send_nowait, b"properly")
        assert await two.receive(5.0) == b"properly"
        one.abort()
        two.abort()

    run(main)


def test_a_channel_collected_by_another_thread_ends(run: Runner) -> None:
    async def main() -> None:
        ends = list(jackfield.pair())
        other = ends.pop()
        await asyncio.to_thread(ends.clear)
        with pytest.raises(jackfield.EndOfStream):
            await other.receive(5.0)
        other.abort()

    run(main)


def test_a_thread_of_its_own_may_run_its_own_loop() -> None:
    results: list[bytes] = []

    def work(number: int) -> None:
        async def main() -> None:
            one, two = jackfield.pair(framing="u32")
            async with one, two:
                await one.send(b"%d" % number)
                results.append(await two.receive(5.0))

        jackfield.run(main)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(results) == [b"%d" % number for number in range(5)]


def test_an_exception_in_a_resumed_task_stays_there(run: Runner) -> None:
    async def main() -> None:
        one, two = jackfield.pair(framing="u32")
        three, four = jackfield.pair(framing="u32")

        async def fails() -> None:
            await two.receive()
            raise KeyError("mine")

        async with one, two, three, four:
            failing, waiting = asyncio.create_task(fails()), asyncio.create_task(four.receive())
            await turns()
            one.send_nowait(b"x")
            three.send_nowait(b"y")
            assert await waiting == b"y"
            with pytest.raises(KeyError):
                await failing

    run(main)


def test_loops_that_were_closed_leave_no_descriptors(run: Runner) -> None:
    def descriptors() -> int:
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    async def main() -> None:
        one, two = jackfield.pair()
        await one.send(b"x")
        await two.receive()
        one.abort()
        two.abort()

    run(main)
    before = descriptors()
    for _ in range(20):
        with asyncio.Runner(loop_factory=run.factory) as runner:
            runner.run(main())
    assert descriptors() <= before + 5


def test_pending_tasks_at_the_end_of_a_loop_are_no_panic(run: Runner) -> None:
    loop = run.factory()

    async def main() -> None:
        for _ in range(5):
            one, two = jackfield.pair()
            task = loop.create_task(waits(one, two))
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            kept.append((one, two))
        await turns()

    async def waits(one: jackfield.Channel, two: jackfield.Channel) -> None:
        try:
            await one.receive()
        finally:
            with contextlib.suppress(RuntimeError, jackfield.JackfieldError):
                await two.send(b"x")

    kept: list[tuple[jackfield.Channel, jackfield.Channel]] = []
    loop.run_until_complete(main())
    loop.close()
    for one, two in kept:
        for channel in (one, two):
            with contextlib.suppress(RuntimeError, jackfield.ChannelClosed):
                channel.send_nowait(b"x")
            channel.abort()
    kept.clear()
    gc.collect()
