"""`run` and `new_event_loop`: what they take, and that the selector is a selector."""

from __future__ import annotations

import asyncio
import selectors
import socket
import threading
import time

import pytest

import jackfield
from jackfield._loop import ReactorSelector

pytestmark = pytest.mark.timeout(30)


def test_run_takes_a_function_or_a_coroutine() -> None:
    async def main() -> int:
        return 42

    assert jackfield.run(main) == 42
    assert jackfield.run(main()) == 42
    with pytest.raises(TypeError):
        jackfield.run(42)  # type: ignore[arg-type]


def test_run_inside_a_loop_is_refused() -> None:
    async def inner() -> None:
        pass

    async def main() -> None:
        coroutine = inner()
        with pytest.raises(RuntimeError, match="await"):
            jackfield.run(coroutine)
        coroutine.close()
        loop = asyncio.get_running_loop()
        with pytest.raises(RuntimeError):
            loop.run_forever()

    jackfield.run(main)


def test_run_gives_the_exception_and_cancels_what_is_left() -> None:
    ended: list[str] = []

    async def left_over() -> None:
        one, two = jackfield.pair()
        async with one, two:
            try:
                await one.receive()
            finally:
                ended.append("cancelled")

    async def main() -> None:
        task = asyncio.create_task(left_over())
        await asyncio.sleep(0.01)
        assert not task.done()
        raise LookupError("mine")

    with pytest.raises(LookupError):
        jackfield.run(main)
    assert ended == ["cancelled"]


def test_the_debug_switch() -> None:
    async def main() -> bool:
        return asyncio.get_running_loop().get_debug()

    assert jackfield.run(main, debug=True) is True
    assert jackfield.run(main, debug=False) is False


def test_a_loop_runs_again_and_again_and_in_another_thread() -> None:
    loop = jackfield.new_event_loop()
    assert isinstance(loop, asyncio.AbstractEventLoop)

    async def talk(one: jackfield.Channel, two: jackfield.Channel) -> bytes:
        await one.send(b"x")
        return await two.receive(5.0)

    async def opened() -> tuple[jackfield.Channel, jackfield.Channel]:
        return jackfield.pair(framing="u32")

    ends = loop.run_until_complete(opened())
    results = [loop.run_until_complete(talk(*ends)) for _ in range(3)]
    thread = threading.Thread(target=lambda: results.append(loop.run_until_complete(talk(*ends))))
    thread.start()
    thread.join(10)
    results.append(loop.run_until_complete(talk(*ends)))
    assert results == [b"x"] * 5
    for end in ends:
        end.abort()
    loop.close()
    loop.close()
    assert loop.is_closed()
    late = asyncio.sleep(0)
    with pytest.raises(RuntimeError):
        loop.run_until_complete(late)
    late.close()


def test_stop_returns_from_run_forever() -> None:
    loop = jackfield.new_event_loop()
    loop.call_later(0.01, loop.stop)
    loop.run_forever()
    threading.Timer(0.02, lambda: loop.call_soon_threadsafe(loop.stop)).start()
    loop.run_forever()
    loop.close()


def test_timers_are_punctual() -> None:
    async def main() -> None:
        for delay in (0.0, 0.0001, 0.001, 0.01, 0.05):
            started = time.perf_counter()
            await asyncio.sleep(delay)
            assert delay <= time.perf_counter() - started + 0.0005
            assert time.perf_counter() - started < delay + 10

    jackfield.run(main)


def test_the_selector_is_a_selector() -> None:
    selector = ReactorSelector()
    left, right = socket.socketpair()
    with left, right:
        key = selector.register(left, selectors.EVENT_READ, "data")
        assert key.data == "data"
        assert selector.select(0) == []
        started = time.monotonic()
        assert selector.select(0.02) == []
        assert time.monotonic() - started >= 0.015
        right.send(b"x")
        assert selector.select(5.0) == [(key, selectors.EVENT_READ)]
        assert selector.select(0) == [(key, selectors.EVENT_READ)], (
            "level-triggered, as the standard library's"
        )
        both = selector.modify(left, selectors.EVENT_READ | selectors.EVENT_WRITE, "other")
        assert selector.select(5.0) == [(both, selectors.EVENT_READ | selectors.EVENT_WRITE)]
        assert selector.get_key(left) == both
        assert list(selector.get_map()) == [left.fileno()]
        with pytest.raises(KeyError):
            selector.register(left, selectors.EVENT_READ)
        with pytest.raises(ValueError, match="events"):
            selector.register(right, 0)
        with pytest.raises(ValueError, match="descriptor"):
            selector.register(-1, selectors.EVENT_READ)
        right.close()
        assert selector.select(5.0)[0][1] & selectors.EVENT_READ
        selector.unregister(left)
        with pytest.raises(KeyError):
            selector.unregister(left)
        with pytest.raises(KeyError):
            selector.modify(left, selectors.EVENT_READ)
        assert selector.select(0) == []
    selector.close()


def test_a_closed_descriptor_can_still_be_unregistered() -> None:
    selector = ReactorSelector()
    left, right = socket.socketpair()
    selector.register(left, selectors.EVENT_READ)
    left.close()
    assert selector.unregister(left).fileobj is left
    right.close()
    selector.close()
