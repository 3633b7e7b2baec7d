"""Keeps worker processes alive: starts them, replaces those that die, ends them all.

Blocking, for a thread of its own. A worker tells that it is ready; one that dies soon after its start, again
and again, is started after a growing pause. If none has ever become ready, that is given up and said.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing import connection
from multiprocessing.context import SpawnProcess
from typing import Any

from jackfield._errors import JackfieldError
from jackfield._worker_process import NOT_READY, Shares, Task, work

_log = logging.getLogger("jackfield")

_STEADY = 1.0
"""A worker that was ready for so many seconds has not failed to start."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_ATTEMPTS = 4
"""So often the first workers may fail before the whole is given up."""
_PATIENCE = 5.0
"""Seconds from SIGTERM to SIGKILL."""


class _Slot:
    """One worker's place."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: SpawnProcess | None = None
        self.news: connection.Connection | None = None
        self.ready_at: float | None = None
        self.failures = 0
        self.due: float | None = 0.0
        """When it is to be started; None while it runs."""


class Supervisor:
    """See the module."""

    def __init__(self, name: str, count: int, task: Callable[[int], Task]) -> None:
        self._name = name
        self._task = task
        self._context = multiprocessing.get_context("spawn")
        self._shares: Shares = self._context.Array("i", [NOT_READY] * count, lock=False)
        self._slots = [_Slot(number) for number in range(count)]
        self._ever_ready = False
        self._ending = threading.Event()
        self._woken, self._wake = self._context.Pipe(duplex=False)

    @property
    def pids(self) -> list[int]:
        """Of the workers that run now."""
        processes = [slot.process for slot in self._slots]
        return [process.pid for process in processes if process is not None and process.pid is not None]

    def end(self) -> None:
        """``run`` ends all workers and returns; from any thread, any number of times."""
        if not self._ending.is_set():
            self._ending.set()
            with contextlib.suppress(OSError):
                self._wake.send_bytes(b"")

    def run(self) -> None:
        """Keep the workers alive until ``end``. Raises ``JackfieldError`` if none ever becomes ready."""
        try:
            while not self._ending.is_set():
                now = time.monotonic()
                for slot in self._slots:
                    if slot.due is not None and slot.due <= now:
                        self._start(slot)
                due = [slot.due for slot in self._slots if slot.due is not None]
                connection.wait(self._waited_for(), max(0.0, min(due) - now) if due else None)
                for slot in self._slots:
                    self._look(slot)
        finally:
            self._stop()
            self._woken.close()
            self._wake.close()

    def _waited_for(self) -> list[Any]:
        found: list[Any] = [self._woken]
        for slot in self._slots:
            if slot.process is not None:
                found.append(slot.process.sentinel)
            if slot.news is not None:
                found.append(slot.news)
        return found

    def _start(self, slot: _Slot) -> None:
        slot.due, slot.ready_at = None, None
        self._shares[slot.number] = NOT_READY
        slot.news, tell = self._context.Pipe(duplex=False)
        slot.process = self._context.Process(
            target=work,
            args=(self._task(slot.number), self._shares, tell),
            name=f"worker {slot.number}",
            daemon=True,
        )
        # Ctrl-C reaches the whole group of processes: it must not hit a worker before that ignores it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            slot.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            tell.close()

    def _look(self, slot: _Slot) -> None:
        if slot.news is not None and slot.news.poll():
            with contextlib.suppress(EOFError):
                slot.news.recv_bytes()
                slot.ready_at = time.monotonic()
                self._ever_ready = True
            slot.news.close()
            slot.news = None
        if slot.process is not None and slot.process.exitcode is not None:
            self._died(slot, slot.process)

    def _died(self, slot: _Slot, process: SpawnProcess) -> None:
        pid, how = process.pid, _ended(process.exitcode or 0)
        process.close()
        slot.process = None
        if slot.news is not None:
            slot.news.close()
            slot.news = None
        self._shares[slot.number] = NOT_READY
        if self._ending.is_set():
            return
        now = time.monotonic()
        if slot.ready_at is not None and now - slot.ready_at >= _STEADY:
            slot.failures, slot.due = 0, now
            _log.warning(
                "worker %d of %s (pid %d) %s; another one is started", slot.number, self._name, pid, how
            )
            return
        slot.failures += 1
        if not self._ever_ready and slot.failures >= _ATTEMPTS:
            raise JackfieldError(
                f"no worker of {self._name} becomes ready: the last one {how}",
                hint="its own words are above; a program that starts processes needs "
                'if __name__ == "__main__" around its start',
            )
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (slot.failures - 1))
        slot.due = now + pause
        _log.warning(
            "worker %d of %s (pid %d) %s soon after its start; another one is started in %g s",
            slot.number,
            self._name,
            pid,
            how,
            pause,
        )

    def _stop(self) -> None:
        running = [slot.process for slot in self._slots if slot.process is not None]
        for process in running:
            process.terminate()
        end = time.monotonic() + _PATIENCE
        for process in running:
            process.join(max(0.0, end - time.monotonic()))
            if process.exitcode is None:
                _log.warning("worker pid %d of %s has not ended and is killed", process.pid, self._name)
                process.kill()
                process.join()
            process.close()
        for slot in self._slots:
            slot.process = None
            if slot.news is not None:
                slot.news.close()
                slot.news = None


def _ended(code: int) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
