"""Workers: pools of threads, and processes that share a listener; who serves whom, who dies, how all ends."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import eventually, raw_connect
from support_sync import beside, until

import jackfield
from jackfield import Processes, Threads, sync

pytestmark = pytest.mark.timeout(120)

HANDLERS = ["asynchronous", "blocking"]


async def asynchronous(channel: jackfield.Channel) -> None:
    async for message in channel:
        await channel.send(b"%d %b" % (os.getpid(), message))


def blocking(channel: sync.Channel) -> None:
    for message in channel:
        channel.send(b"%d %b" % (os.getpid(), message))


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


async def ask(channel: jackfield.Channel, message: bytes = b"who") -> int:
    """The process that serves this channel."""
    answer = await channel.request(message, timeout=20.0)
    pid, _, echo = answer.partition(b" ")
    assert echo == message
    return int(pid)


async def clients(address: jackfield.Address, count: int) -> dict[jackfield.Channel, int]:
    """So many clients one after the other, with the process of each."""
    found = {}
    for _ in range(count):
        channel = await jackfield.connect(address, framing="line")
        found[channel] = await ask(channel)
    return found


def fewest(served: dict[jackfield.Channel, int], of: int) -> int:
    """How many clients that one has which has fewest, of so many processes."""
    counts = Counter(served.values())
    return min(counts.values()) if len(counts) >= of else 0


def end(channels: Any) -> None:
    for channel in channels:
        channel.abort()


# Threads ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:0", "unix"])
def test_a_listener_counts_the_clients_of_its_threads(address: str, directory: Path) -> None:
    where = f"unix://{directory}/s" if address == "unix" else address
    with sync.listen(where, framing="line", max_clients=2) as listener:
        with listener.serving(blocking, workers=Threads(3)):
            check_counts(listener.address, lambda: listener.statistics()[:2])
        assert (listener.closed, listener.statistics().refused) == (True, 1)

    async def main() -> None:
        async with jackfield.listen(where, framing="line", max_clients=2) as listener:
            serving = asyncio.create_task(listener.serve(blocking, workers=Threads(3)))
            loop = asyncio.get_running_loop()

            async def counts() -> tuple[int, int]:
                return listener.statistics()[:2]

            def ask() -> tuple[int, int]:
                return asyncio.run_coroutine_threadsafe(counts(), loop).result(10.0)

            await asyncio.to_thread(check_counts, listener.address, ask)
            serving.cancel()
            await asyncio.wait((serving,))
            assert listener.statistics()[:2] == (0, 1)

    jackfield.run(main)


def check_counts(address: jackfield.Address, counts: Callable[[], tuple[int, int]]) -> None:
    """That clients and refusals are counted, of a listener for two clients."""
    clients = [sync.connect(address, framing="line") for _ in range(2)]
    for each in clients:
        each.request(b"x", timeout=10.0)
    assert counts() == (2, 0)
    with pytest.raises(jackfield.JackfieldError), sync.connect(address, framing="line") as third:
        third.receive(timeout=10.0)
    assert counts() == (2, 1)
    for each in clients:
        each.close()
    until(lambda: counts() == (0, 1), "they have left")


@pytest.mark.parametrize("twin", ["asynchronous", "blocking"])
def test_a_pool_serves_so_many_at_once_and_the_next_when_one_is_done(twin: str) -> None:
    at_work, most, lock = 0, 0, threading.Lock()

    def handler(channel: sync.Channel) -> None:
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        for message in channel:
            channel.send(message)
        with lock:
            at_work -= 1

    def use(address: jackfield.Address) -> None:
        served = [sync.connect(address, framing="line") for _ in range(3)]
        for channel in served:
            assert channel.request(b"x", 20.0) == b"x"
        waiting = sync.connect(address, framing="line")
        waiting.send(b"patience")
        with pytest.raises(jackfield.TimedOut):
            waiting.receive(0.1)
        served[0].close()
        assert waiting.receive(20.0) == b"patience"
        end([waiting, *served])

    async def main() -> None:
        async with jackfield.listen("tcp://127.0.0.1:0", framing="line") as listener:
            async with listener.serving(handler, workers=Threads(3)):
                await asyncio.to_thread(use, listener.address)
            assert not listener.closed

    if twin == "asynchronous":
        jackfield.run(main)
    else:
        with (
            sync.listen("tcp://127.0.0.1:0", framing="line") as listener,
            listener.serving(handler, workers=Threads(3)),
        ):
            use(listener.address)
    assert most == 3
    until(
        lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("worker ")],
        "threads end",
    )


def test_threads_refuse_coroutines_and_datagrams() -> None:
    async def main() -> None:
        async with jackfield.listen("tcp://127.0.0.1:0") as listener:
            for handler in (asynchronous, functools.partial(asynchronous)):
                with pytest.raises(TypeError, match="handlers that block"):
                    await listener.serve(handler, workers=Threads(2))
        async with jackfield.listen("udp://127.0.0.1:0") as listener:
            for workers in (Threads(2), Processes(2)):
                with pytest.raises(jackfield.NotSupported, match="packets of all peers"):
                    await listener.serve(blocking, workers=workers)

    jackfield.run(main)
    for kind in (Threads, Processes):
        for count in (0, -1, 2.0, True, 10_001):
            with pytest.raises(ValueError, match="from 1 to"):
                kind(count)  # type: ignore[arg-type]


def test_a_second_cancellation_does_not_wait_for_a_handler_that_hangs() -> None:
    inside, release = threading.Event(), threading.Event()

    def handler(channel: sync.Channel) -> None:
        inside.set()
        release.wait(60)

    async def main() -> None:
        async with jackfield.listen("tcp://127.0.0.1:0") as listener:
            serving = asyncio.create_task(listener.serve(handler, workers=Threads(1)))
            async with jackfield.connect(listener.address):
                await eventually(inside.is_set, limit=20.0)
                serving.cancel()
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                serving.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await serving
                # The pool is still waiting for its handler; had the loop waited too, it would be over.
                assert any(thread.name.startswith("jackfield-workers") for thread in threading.enumerate())
                release.set()

    jackfield.run(main())


def test_closing_the_listener_ends_the_pool() -> None:
    async def main() -> None:
        async with jackfield.listen("tcp://127.0.0.1:0", framing="line") as listener:
            serving = asyncio.create_task(listener.serve(blocking, workers=Threads(2)))
            channel = await jackfield.connect(listener.address, framing="line")
            assert await ask(channel) == os.getpid()
            await listener.close()
            await serving
            with pytest.raises((jackfield.ChannelLost, jackfield.EndOfStream)):
                await channel.receive(20.0)
            channel.abort()

    jackfield.run(main)


# Processes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("handler", HANDLERS)
@pytest.mark.parametrize("scheme", ["tcp", "unix"])
def test_processes_share_the_clients_and_end_with_serve(handler: str, scheme: str, directory: Path) -> None:
    address = "tcp://127.0.0.1:0" if scheme == "tcp" else f"unix://{directory}/s"

    async def main() -> set[int]:
        async with jackfield.listen(address, framing="line") as listener:
            async with listener.serving(globals()[handler], workers=Processes(2)):
                served = await clients(listener.address, 8)
                while len(served) < 40 and fewest(served, of=2) < 2:
                    served |= await clients(listener.address, 1)
                assert fewest(served, of=2) >= 2, "a new client goes to the one that has fewer"
                counts = Counter(served.values())
                assert len(counts) == 2
                assert os.getpid() not in counts
            for channel in served:
                with pytest.raises((jackfield.ChannelLost, jackfield.EndOfStream)):
                    await channel.receive(20.0)
            assert all(gone(pid) for pid in counts)
            end(served)
            assert not listener.closed
            if scheme == "unix":
                assert (directory / "s").exists()
            # The listener goes on without them.
            async with listener.serving(asynchronous):
                again = await clients(listener.address, 1)
                assert set(again.values()) == {os.getpid()}
                end(again)
        return set(counts)

    jackfield.run(main)
    if scheme == "unix":
        assert not (directory / "s").exists()


@pytest.mark.parametrize("handler", HANDLERS)
def test_a_dead_worker_is_replaced_and_the_others_clients_stay(
    handler: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with (
            jackfield.listen("tcp://127.0.0.1:0", framing="line") as listener,
            listener.serving(globals()[handler], workers=Processes(2)),
        ):
            served = await clients(listener.address, 6)
            victim, other = list(Counter(served.values()))
            os.kill(victim, signal.SIGKILL)
            for channel, pid in served.items():
                if pid == other:
                    assert await ask(channel, b"still there") == other
                else:
                    with pytest.raises((jackfield.ChannelLost, jackfield.EndOfStream)):
                        await channel.receive(20.0)
            await eventually(lambda: "was ended by SIGKILL" in caplog.text, "the death is logged", limit=20)
            pids: set[int] = set()
            limit = time.monotonic() + 30
            while len(pids) < 2:
                assert time.monotonic() < limit, "no other worker serves"
                more = await clients(listener.address, 2)
                pids |= set(more.values())
                end(more)
            assert victim not in pids
            end(served)

    jackfield.run(main)


def test_clients_that_nobody_has_accepted_survive_the_death_of_every_worker() -> None:
    async def main() -> None:
        async with (
            jackfield.listen("tcp://127.0.0.1:0", framing="line") as listener,
            listener.serving(blocking, workers=Processes(1)),
        ):
            first = await clients(listener.address, 1)
            [pid] = first.values()
            os.kill(pid, signal.SIGSTOP)
            waiting = [await jackfield.connect(listener.address, framing="line") for _ in range(5)]
            for channel in waiting:
                await channel.send(b"anybody?")
            os.kill(pid, signal.SIGKILL)
            for channel in waiting:
                answer = await channel.receive(30.0)
                assert answer.endswith(b" anybody?")
                assert int(answer.split()[0]) != pid
            end([*first, *waiting])

    jackfield.run(main)


def test_the_blocking_twin_serves_with_processes() -> None:
    with sync.listen("tcp://127.0.0.1:0", framing="line") as listener:
        serving = beside(functools.partial(listener.serve, blocking, workers=Processes(2)))
        channels = [sync.connect(listener.address, framing="line") for _ in range(6)]
        pids = {int(channel.request(b"who", 30.0).split()[0]) for channel in channels}
        end_of_patience = time.monotonic() + 30.0
        while len(pids) < 2:  # one of them may have been quicker each time, or the other not there yet
            assert time.monotonic() < end_of_patience
            with sync.connect(listener.address, framing="line") as channel:
                pids.add(int(channel.request(b"who", 30.0).split()[0]))
        listener.close()
        serving.result(30.0)
        assert all(gone(pid) for pid in pids)
        end(channels)


def test_handlers_that_cannot_be_imported_are_refused() -> None:
    async def main() -> None:
        def inside(channel: sync.Channel) -> None: ...

        async with jackfield.listen("tcp://127.0.0.1:0") as listener:
            for handler in (inside, lambda channel: None):
                with pytest.raises(TypeError, match="cannot import it"):
                    await listener.serve(handler, workers=Processes(1))

    jackfield.run(main)


def explode() -> None:
    sys.exit(7)


class Exploding:
    """A handler that ends the process that unpacks it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return explode, ()

    def __call__(self, channel: sync.Channel) -> None: ...


def test_workers_that_never_start_are_given_up(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with jackfield.listen("tcp://127.0.0.1:0") as listener:
            with pytest.raises(jackfield.JackfieldError, match="exit code 7") as raised:
                await listener.serve(Exploding(), workers=Processes(1))
            assert "__main__" in (raised.value.hint or "")

    jackfield.run(main)
    assert "soon after its start" in caplog.text


PROGRAM = """
import os, sys
import jackfield

async def echo(channel):
    async for message in channel:
        await channel.send(b"%d" % os.getpid())

async def main():
    async with jackfield.listen(sys.argv[1], framing="line") as listener:
        async with listener.serving(echo, workers=jackfield.Processes(2)):
            async with jackfield.connect(listener.address, framing="line") as channel:
                await channel.request(b"up?")
            print("ready", flush=True)
            import asyncio
            await asyncio.Event().wait()

if __name__ == "__main__":
    try:
        jackfield.run(main)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


@pytest.mark.parametrize("how", ["ctrl-c", "kill -9"])
def test_the_end_of_the_program_ends_its_workers(how: str, directory: Path) -> None:
    source = directory / "program.py"
    source.write_text(textwrap.dedent(PROGRAM))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = subprocess.Popen(
        [sys.executable, str(source), f"tcp://127.0.0.1:{port}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert program.stdout is not None
    assert program.stderr is not None
    assert program.stdout.readline() == "ready\n"
    address = jackfield.Address.parse(f"tcp://127.0.0.1:{port}")
    pids: set[int] = set()
    held = []
    while len(pids) < 2:
        plain = raw_connect(address)
        plain.sendall(b"who\n")
        pids.add(int(plain.recv(100)))
        held.append(plain)
    if how == "ctrl-c":
        os.killpg(program.pid, signal.SIGINT)  # as a terminal does: to all of them
        assert program.stdout.read() == "interrupted\n"
        assert program.stderr.read() == ""
    else:
        program.kill()
    program.wait(30)
    until(lambda: all(gone(pid) for pid in pids), "the workers have ended", limit=30)
    with contextlib.closing(program.stdout), contextlib.closing(program.stderr):
        pass
    for plain in held:
        plain.close()


def test_a_worker_that_does_not_end_is_killed() -> None:
    async def main() -> None:
        async with jackfield.listen("tcp://127.0.0.1:0", framing="line") as listener:
            started = time.monotonic()
            async with listener.serving(asynchronous, workers=Processes(1)):
                served = await clients(listener.address, 1)
                [pid] = served.values()
                os.kill(pid, signal.SIGSTOP)
                started = time.monotonic()
            assert gone(pid)
            assert time.monotonic() - started >= 4
            end(served)

    jackfield.run(main)
