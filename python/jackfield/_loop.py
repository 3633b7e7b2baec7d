"""The event loop: the engine's reactor as selector of the standard library's loop, or beside any other loop.

``run`` and ``new_event_loop`` give a stdlib loop whose selector is the reactor: sockets, timers and tasks of
asyncio work unchanged, and channels are served without a detour. Under any other running loop (plain
``asyncio.run``, uvloop) the reactor's one descriptor is watched by that loop: slower, the same behaviour, no
code change.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import functools
import select
import selectors
import signal
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any, TypeVar

from jackfield import _engine
from jackfield._busy_poll import BusyPollStatistics, read_busy_poll
from jackfield._errors import from_engine
from jackfield._tls import facts_of
from jackfield._transports import as_address

T = TypeVar("T")

# What the engine raises, names and tells of TLS are the library's own errors, addresses and facts.
_engine.install_factories(from_engine, as_address, facts_of)

raise_open_files = _engine.raise_open_files

_REACTORS: dict[asyncio.AbstractEventLoop, _engine.Reactor] = {}


class ReactorSelector(selectors.BaseSelector):
    """The reactor in the shape of ``selectors.BaseSelector``."""

    def __init__(self, *, busy_poll: float | None = None, stepped: bool = False) -> None:
        self.reactor = _engine.Reactor(busy_poll=busy_poll, stepped=stepped)
        self._keys: dict[int, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        fd = _descriptor(fileobj)
        if fd in self._keys:
            raise KeyError(f"{fileobj!r} (descriptor {fd}) is registered already")
        self.reactor.watch(fd, _mask(events))
        key = self._keys[fd] = selectors.SelectorKey(fileobj, fd, events, data)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        key = self._keys.pop(self._known(fileobj))
        # A descriptor that was closed first has left the kernel's list by itself.
        with contextlib.suppress(OSError):
            self.reactor.unwatch(key.fd)
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = self._keys[self._known(fileobj)]
        if events != key.events:
            self.reactor.rewatch(key.fd, _mask(events))
        key = self._keys[key.fd] = key._replace(events=events, data=data)
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        reports = self.reactor.turn(timeout)
        if not reports:
            return []
        ready = []
        for fd, mask in reports:
            key = self._keys.get(fd)
            events = (selectors.EVENT_WRITE if mask & ~select.EPOLLIN else 0) | (
                selectors.EVENT_READ if mask & ~select.EPOLLOUT else 0
            )
            if key is not None and events & key.events:
                ready.append((key, events & key.events))
        return ready

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys[self._known(fileobj)]

    def close(self) -> None:
        self._keys.clear()
        self.reactor.close()

    def _known(self, fileobj: Any) -> int:
        """The descriptor; an object that was closed already is found by identity."""
        try:
            fd = _descriptor(fileobj)
        except ValueError:
            fd = next((key.fd for key in self._keys.values() if key.fileobj is fileobj), -1)
        if fd not in self._keys:
            raise KeyError(f"{fileobj!r} is not registered")
        return fd


class EventLoop(asyncio.SelectorEventLoop):
    """The standard library's selector loop on Jackfield's reactor; see ``new_event_loop``."""

    def __init__(self, *, busy_poll: float | None = None, stepped: bool = False) -> None:
        selector = ReactorSelector(busy_poll=busy_poll, stepped=stepped)
        super().__init__(selector)
        self._busy_poll = busy_poll
        # With a look at asyncio's own lists the reactor need not come back when they are empty. Both are
        # private: if a future version moves them, the reactor comes back after every turn, which is slower
        # and as correct.
        ready, timers = getattr(self, "_ready", None), getattr(self, "_scheduled", None)
        known = isinstance(ready, collections.deque) and isinstance(timers, list)
        self._reactor_selector = selector
        self._reactor = selector.reactor
        self._reactor.attach(self, ready if known else None, timers if known else None)
        _REACTORS[self] = self._reactor
        self._signalled, self._on_signal = socket.socketpair()
        self._signalled.setblocking(False)
        self._on_signal.setblocking(False)
        self.add_reader(self._signalled, self._drain_signals)

    def busy_poll_statistics(self) -> BusyPollStatistics | None:
        """What polling before sleeping did so far; None if ``busy_poll`` is off."""
        found = self._reactor.busy_poll_statistics()
        if found is None or self._busy_poll is None:
            return None
        return BusyPollStatistics(self._busy_poll, *found)

    def stop(self) -> None:
        """As in asyncio: what is ready still runs, then ``run_forever`` returns."""
        super().stop()
        self._reactor.interrupt()

    def run_forever(self) -> None:
        """As in asyncio: run until ``stop``."""
        # A signal that arrives just before the native wait must end that wait, or Ctrl-C would be lost.
        with self._woken_by_signals():
            super().run_forever()

    def remove_signal_handler(self, sig: int) -> bool:
        """As in asyncio."""
        removed = super().remove_signal_handler(sig)
        if self.is_running() and threading.current_thread() is threading.main_thread():
            self._own_wakeup_fd()
        return removed

    def close(self) -> None:
        """As in asyncio; every channel of the loop is gone."""
        if not self.is_running() and not self.is_closed():
            self.remove_reader(self._signalled)
            self._signalled.close()
            self._on_signal.close()
            _REACTORS.pop(self, None)
        super().close()

    def _drain_signals(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._signalled.recv(4096):
                pass

    def _own_wakeup_fd(self) -> None:
        """Become the one whom signals wake, unless somebody else is already."""
        ours = self._on_signal.fileno()
        other = signal.set_wakeup_fd(ours, warn_on_full_buffer=False)
        if other not in (-1, ours):
            signal.set_wakeup_fd(other, warn_on_full_buffer=False)

    @contextlib.contextmanager
    def _woken_by_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._own_wakeup_fd()
        try:
            yield
        finally:
            current = signal.set_wakeup_fd(-1)
            if current not in (-1, self._on_signal.fileno()):
                signal.set_wakeup_fd(current, warn_on_full_buffer=False)


def new_event_loop(*, busy_poll: float | str | None = None) -> EventLoop:
    """A new event loop with Jackfield's reactor inside: ``asyncio.Runner(loop_factory=new_event_loop)``.

    ``busy_poll`` is for how long (seconds, or text such as ``50us``) the loop polls before it lets its core
    sleep, with the GIL released; None is off. It saves the time that waking a core takes and costs
    processor time: see docs/architecture.md. It backs off by itself while it does not pay, which
    ``loop.busy_poll_statistics()`` shows. Raises ``ValueError`` beyond a second, or for other text.
    """
    return EventLoop(busy_poll=read_busy_poll(busy_poll))


def run(
    main: Callable[[], Coroutine[Any, Any, T]] | Coroutine[Any, Any, T],
    *,
    debug: bool | None = None,
    busy_poll: float | str | None = None,
) -> T:
    """Run ``main`` (a coroutine, or a coroutine function without arguments) to its end and give its result.

    As ``asyncio.run``, on Jackfield's event loop: Ctrl-C cancels the main task, and what is left over is
    cancelled and awaited. ``busy_poll`` is that of ``new_event_loop``.
    """
    if asyncio._get_running_loop() is not None:
        raise RuntimeError(
            "jackfield.run cannot be called from a running event loop; await the coroutine instead"
        )
    loop_factory = functools.partial(new_event_loop, busy_poll=busy_poll)
    with asyncio.Runner(debug=debug, loop_factory=loop_factory) as runner:
        if isinstance(main, Coroutine):
            return runner.run(main)
        if callable(main):
            return runner.run(main())
        raise TypeError(f"run takes a coroutine function or a coroutine, not {type(main).__name__}")


def current_reactor() -> _engine.Reactor:
    """The running loop's reactor; a foreign loop gets one that it watches. RuntimeError outside a loop."""
    loop = asyncio.get_running_loop()
    reactor = _REACTORS.get(loop)
    if reactor is None:
        _forget_closed_loops()
        reactor = _REACTORS[loop] = _watched_by(loop)
    return reactor


def _forget_closed_loops() -> None:
    """A foreign loop does not say when it closes: its reactor ends when the next loop begins."""
    for loop in [loop for loop in _REACTORS if loop.is_closed()]:
        _REACTORS.pop(loop).close()


def _watched_by(loop: asyncio.AbstractEventLoop) -> _engine.Reactor:
    reactor = _engine.Reactor()
    call_soon = loop.call_soon

    def turn() -> None:
        if reactor.poll():
            call_soon(turn)

    reactor.attach_foreign(loop, lambda: call_soon(turn))
    loop.add_reader(reactor.fileno(), turn)
    return reactor


def _descriptor(fileobj: Any) -> int:
    fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
    if not isinstance(fd, int) or fd < 0:
        raise ValueError(f"not a descriptor: {fileobj!r}")
    return fd


def _mask(events: int) -> int:
    if not events or events & ~(selectors.EVENT_READ | selectors.EVENT_WRITE):
        raise ValueError(f"not a set of events: {events!r}")
    return (select.EPOLLIN if events & selectors.EVENT_READ else 0) | (
        select.EPOLLOUT if events & selectors.EVENT_WRITE else 0
    )
