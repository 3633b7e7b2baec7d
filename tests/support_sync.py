"""What the tests of the blocking twin share: two ends, threads that work beside the test, framing vectors."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import support

from jackfield import Address, Options, sync
from jackfield._transports import prepare

T = TypeVar("T")

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "vectors" / "framings.json").read_text())

_names = itertools.count(1)


def beside(work: Callable[..., T], *arguments: Any) -> Future[T]:
    """Do the work in a thread of its own; the future has its outcome."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work(*arguments))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def until(condition: Callable[[], object], what: str, limit: float = 10.0) -> None:
    """Wait until the condition is true."""
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, f"not within {limit} s: {what}"
        time.sleep(0.001)


def sleeps(thread: threading.Thread | int) -> bool:
    """Whether a thread of this process waits in the kernel."""
    number = thread if isinstance(thread, int) else thread.native_id
    status = Path(f"/proc/self/task/{number}/stat").read_text()
    return status.rpartition(")")[2].split()[0] == "S"


class Waiting:
    """A call in a thread of its own that is seen to wait before the test goes on."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._started = threading.Event()
        self.thread = 0

        def work() -> Any:
            self.thread = threading.get_native_id()
            self._started.set()
            return call()

        self._future = beside(work)
        assert self._started.wait(10.0)
        # Twice in a row: a thread may wait for the GIL for a moment.
        until(lambda: all(self._looks_asleep() for _ in range(5)), "the call waits")

    def _looks_asleep(self) -> bool:
        time.sleep(0.002)
        return self._future.done() or sleeps(self.thread)

    @property
    def waits(self) -> bool:
        """Whether the call has not come back."""
        return not self._future.done()

    def outcome(self, limit: float = 20.0) -> Any:
        """What the call gave, or raises what it raised."""
        return self._future.result(limit)


def wrap(plain: socket.socket, address: str = "pair:", **options: Any) -> sync.Channel:
    """A blocking channel over a connected socket, which it takes over."""
    setup = prepare(Address.parse(address), Options().merge(**options), listening=False)
    return sync.Channel(plain.detach(), setup, setup.config(0))


@contextmanager
def two_ends(
    transport: support.Transport, directory: Path, **options: Any
) -> Iterator[tuple[sync.Channel, sync.Channel]]:
    """Two blocking channels that are connected to each other."""
    options = support.options_for(transport, options)
    with contextlib.ExitStack() as stack:
        if transport.name == "pair":
            ends = sync.pair(**options)
        elif transport.has_end:
            listener = stack.enter_context(sync.listen(transport.address(directory), **options))
            accepting = beside(listener.accept, 20.0)  # a TLS handshake needs both ends at once
            client = sync.connect(listener.address, **options)
            stack.callback(client.abort)
            ends = client, accepting.result(20.0)
        else:
            ends = _datagram_ends(transport, directory, options)
        for end in ends:
            stack.callback(end.abort)
        yield ends


def _datagram_ends(
    transport: support.Transport, directory: Path, options: dict[str, Any]
) -> tuple[sync.Channel, sync.Channel]:
    family = socket.AF_INET if transport.name == "udp" else socket.AF_UNIX
    one, two = (socket.socket(family, socket.SOCK_DGRAM) for _ in range(2))
    for end in (one, two):
        end.bind(("127.0.0.1", 0) if transport.name == "udp" else str(directory / f"d{next(_names)}"))
    one.connect(two.getsockname())
    two.connect(one.getsockname())
    address = "udp://127.0.0.1:1" if transport.name == "udp" else "unix+dgram:///tmp/x"
    return wrap(one, address, **options), wrap(two, address, **options)


@contextmanager
def raw_end(framing: str | None = None, **options: Any) -> Iterator[tuple[sync.Channel, socket.socket]]:
    """A blocking TCP channel and the plain socket at its other end."""
    with support.raw_listener() as (listening, address):
        channel = sync.connect(address, framing=framing, **options)
        plain, _ = listening.accept()
        plain.settimeout(20)
        try:
            yield channel, plain
        finally:
            channel.abort()
            plain.close()
