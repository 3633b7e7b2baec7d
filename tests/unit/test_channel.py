"""`Channel` as an object: its facts before and after the end, its errors' words, its signature."""

from __future__ import annotations

import asyncio
import gc
import inspect
import warnings
import weakref

import pytest
from support import Runner, eventually, turns

import jackfield

pytestmark = pytest.mark.timeout(30)


def test_facts_stay_after_the_end(run: Runner) -> None:
    async def main() -> None:
        async with jackfield.listen("tcp://127.0.0.1:0", framing="line") as listener:
            channel = await jackfield.connect(listener.address, framing="line")
            assert channel.peer == listener.address
            await channel.send(b"x")
            await channel.flush(1.0)
            assert channel.statistics().messages_out == 1
            await channel.close(1.0)
            assert channel.closed
            assert channel.peer == listener.address
            assert channel.statistics().messages_out == 1
            assert "closed" in repr(channel)
            (await listener.accept(1.0)).abort()

    run(main)


def test_facts_that_were_never_read_are_an_error_after_the_end(run_here: Runner) -> None:
    async def main() -> None:
        one, two = jackfield.pair()
        one.abort()
        two.abort()
        await turns(5)
        with pytest.raises(jackfield.ChannelClosed):
            _ = one.local
        with pytest.raises(jackfield.ChannelClosed):
            one.statistics()
        assert "closed" in repr(one)

    run_here(main)


def test_ids_are_unique_even_when_places_are_used_again(run_here: Runner) -> None:
    async def main() -> None:
        seen: set[int] = set()
        for _ in range(100):
            one, two = jackfield.pair()
            seen |= {one.id, two.id}
            one.abort()
            two.abort()
            await turns(2)
        assert len(seen) == 200

    run_here(main)


def test_a_stale_handle_does_not_touch_a_new_channel(run_here: Runner) -> None:
    async def main() -> None:
        old, other = jackfield.pair()
        old.abort()
        other.abort()
        await turns(5)
        one, two = jackfield.pair()
        for call in (old.abort, old.close):
            call()
        with pytest.raises(jackfield.ChannelClosed):
            old.send_nowait(b"x")
        await one.send(b"unharmed")
        assert await two.receive(1.0) == b"unharmed"
        one.abort()
        two.abort()

    run_here(main)


def test_errors_name_both_ends(run: Runner) -> None:
    async def main() -> None:
        async with jackfield.listen("tcp://127.0.0.1:0") as listener:
            channel = await jackfield.connect(listener.address)
            with pytest.raises(jackfield.TimedOut) as caught:
                await channel.receive(0.0)
            assert str(listener.address.port) in str(caught.value)
            assert caught.value.local == channel.local
            assert caught.value.peer == channel.peer
            channel.abort()

    run(main)


def test_nothing_keeps_a_closed_channel_alive(run_here: Runner) -> None:
    async def main() -> None:
        one, two = jackfield.pair(framing="u32")
        async with one, two:
            await one.send(b"x")
            async for _ in two:
                break
        references = [weakref.ref(one), weakref.ref(two)]
        del one, two
        gc.collect()
        assert [reference() for reference in references] == [None, None]

    run_here(main)


def test_a_waiting_receive_keeps_its_channel_alive(run: Runner) -> None:
    async def main() -> None:
        one, two = jackfield.pair(framing="u32")
        waiting = asyncio.create_task(two.receive())
        await turns()
        del two
        gc.collect()
        await one.send(b"still here")
        assert await waiting == b"still here"
        one.abort()
        gc.collect()
        await eventually(lambda: True)

    with pytest.warns(ResourceWarning):
        run(main)


def test_every_public_call_is_documented() -> None:
    for owner in (jackfield.Channel, jackfield.Listener, jackfield.Group, jackfield.Member):
        for name, member in inspect.getmembers(owner):
            if not name.startswith("_") and (callable(member) or inspect.isdatadescriptor(member)):
                assert inspect.getdoc(member), f"{owner.__name__}.{name} has no documentation"


@pytest.mark.parametrize("filtered", ["ignore", "always", "error"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_error_that_drops_open_channels_is_raised_all_the_same(filtered: str) -> None:
    """The channels go while the error is under way; their warning must not take its place."""

    async def main() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter(filtered)  # type: ignore[arg-type]
            _ = await jackfield.pair()  # type: ignore[misc]

    with pytest.raises(TypeError, match="can't be used in 'await'"):
        jackfield.run(main)
