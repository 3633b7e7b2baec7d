"""Workers: handlers that block or compute, in a pool of threads or in processes.

``Threads(n)``: n threads accept from the listener's socket, and each serves one client at a time.
``Processes(n)``: n processes share the listener's socket; what each does is in ``_worker_process``, and
``_supervisor`` keeps them alive.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import logging
import os
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jackfield._errors import ChannelClosed, NotSupported, TooManyOpenFiles
from jackfield._listen import ACCEPT_PAUSE
from jackfield._supervisor import Supervisor
from jackfield._worker_process import Inherited, Task

if TYPE_CHECKING:
    from jackfield import _listen, _sync, _sync_listen

_log = logging.getLogger("jackfield")


def _check_count(count: int) -> None:
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= 10_000:
        raise ValueError(f"a number of workers is from 1 to 10,000, not {count!r}")


@dataclass(frozen=True, slots=True)
class Threads:
    """``serve(handler, workers=Threads(8))``: a pool of threads for handlers that block.

    Each thread accepts a client, calls ``handler(channel)`` with a ``jackfield.sync.Channel``, and takes the
    next client when that returns; so at most ``count`` are served at once, and more wait in the listener's
    queue. Python code runs in one thread at a time (the GIL): threads help handlers that wait, ``Processes``
    those that compute.
    """

    count: int

    def __post_init__(self) -> None:
        _check_count(self.count)


@dataclass(frozen=True, slots=True)
class Processes:
    """``serve(handler, workers=Processes(2))``: processes started beforehand, which accept from one socket.

    A ``handler`` that is a coroutine function runs in a task for each client on the process's own event loop;
    any other gets a ``jackfield.sync.Channel`` in a thread for each client. It must be importable: the
    processes are started anew (the ``spawn`` of ``multiprocessing``), not forked, so a program that calls
    ``serve`` protects its start with ``if __name__ == "__main__"``. A new client goes to a process that has
    few. One that dies is replaced, at once or, if it dies again and again, after a growing pause of five
    seconds at most; clients of the others, and those that nobody has accepted yet, do not notice.
    ``max_clients`` is each process's own. A ``tls`` listener of an event loop cannot be served by processes,
    since handshakes have begun in the loop: ``jackfield.sync.listen`` makes one that can.

    The processes leave Ctrl-C to the program that started them. They end when ``serve`` does: SIGTERM, which
    ends their handlers like the end of ``serve``, and after five seconds SIGKILL. If that program is killed
    they end, too.
    """

    count: int

    def __post_init__(self) -> None:
        _check_count(self.count)


Workers = Threads | Processes


def is_asynchronous(handler: Callable[..., Any]) -> bool:
    """Whether a handler is a coroutine function: itself, as a method, a partial or a callable object."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(type(handler).__call__)


def check_threads(handler: Callable[..., Any]) -> None:
    """Raises ``TypeError`` for a handler that threads can do nothing for."""
    if is_asynchronous(handler):
        raise TypeError(
            f"Threads are for handlers that block, and {handler!r} is a coroutine function: "
            "serve it without workers, in this event loop, or with Processes"
        )


async def serve_with(listener: _listen.Listener, handler: Callable[..., Any], workers: Workers) -> None:
    """What ``Listener.serve`` does with workers, until the listener is closed or the task cancelled."""
    if listener._setup.is_datagram:
        raise NotSupported(
            f"cannot serve {listener.address} with {workers!r}: one socket has the packets of all peers",
            hint="serve it without workers, or start several programs that listen with reuse_port=True",
            address=listener.address,
        )
    if listener._setup.protocol == "tls":
        if not isinstance(workers, Threads):
            raise NotSupported(
                f"cannot serve {listener.address} with {workers!r}: handshakes have begun in this process",
                hint="use jackfield.sync.listen, whose serve() takes coroutine functions as well",
                address=listener.address,
            )
        check_threads(handler)
        await _serve_in_threads(listener, handler, workers.count)
        return
    run: Callable[[], None]
    pool = None
    if isinstance(workers, Threads):
        from jackfield._sync_listen import Listener

        check_threads(handler)
        pool = listener._pool = Listener(listener._setup, os.dup(listener.fileno()), listener.address)
        run, end = functools.partial(pool.serve, handler, workers=workers), pool.close
    else:
        supervisor = supervise(listener, handler, workers)
        run, end = supervisor.run, supervisor.end
    executor = ThreadPoolExecutor(1, thread_name_prefix="jackfield-workers")
    done = asyncio.get_running_loop().run_in_executor(executor, run)
    listener._at_close.append(end)
    try:
        await asyncio.shield(done)
    except asyncio.CancelledError:
        end()
        await done
        raise
    finally:
        end()
        listener._at_close.remove(end)
        if pool is not None:
            listener._refused_by_pools += pool.statistics().refused
            listener._pool = None
        # Who is cancelled twice does not wait for handlers, and neither does the event loop.
        executor.shutdown(wait=False)


async def _serve_in_threads(
    listener: _listen.Listener, handler: Callable[[_sync.Channel], object], count: int
) -> None:
    """Accept in this loop, where the handshakes are, and serve in threads: ``count`` clients at a time."""
    from jackfield._sync_listen import Crew

    loop, free = asyncio.get_running_loop(), asyncio.Semaphore(count)

    def tell(clients: int) -> None:
        if clients < 0:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(free.release)

    crew = Crew(handler, tell)
    listener._at_close.append(free.release)
    executor = ThreadPoolExecutor(1, thread_name_prefix="jackfield-workers")
    try:
        while await free.acquire():
            try:
                crew.take_over(await listener.accept())
            except ChannelClosed:
                break
            except TooManyOpenFiles as failure:
                _log.warning("%s", failure)
                free.release()
                await asyncio.sleep(ACCEPT_PAUSE)
    finally:
        if not listener.closed:
            listener._at_close.remove(free.release)
        try:
            await asyncio.shield(loop.run_in_executor(executor, crew.end))
        finally:
            executor.shutdown(wait=False)


def supervise(
    listener: _listen.Listener | _sync_listen.Listener, handler: Callable[..., Any], workers: Processes
) -> Supervisor:
    """A supervisor for worker processes, not running yet. Raises ``TypeError`` for a wrong handler."""
    try:
        pickle.dumps(handler)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise TypeError(
            f"{handler!r} cannot be used in other processes, because they cannot import it: "
            "make it a function of a module (no lambda, and not inside of another function)"
        ) from error
    fd = listener.fileno()

    def task(number: int) -> Task:
        return Task(
            handler, is_asynchronous(handler), listener._setup, Inherited(fd), listener.address, number
        )

    return Supervisor(str(listener.address), workers.count, task)
