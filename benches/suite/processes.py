"""Starting, pinning, awaiting and ending the programs of one run.

Every program is pinned to the core or cores that it is given, dies with the suite (PR_SET_PDEATHSIG), is
ended by its own pid, and every wait on it has a deadline. Whatever goes wrong becomes a ContenderFailed with
the program's last words.
"""

import ctypes
import json
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

READY_SECONDS = 15.0
PR_SET_PDEATHSIG = 1
GLANCE_SECONDS = 0.25  # how often a waiting client's server is looked at
LAST_WORDS = 400  # characters of stderr kept in an error

_prctl = ctypes.CDLL(None).prctl
_clock_of = ctypes.CDLL(None).clock_getcpuclockid


class ContenderFailed(Exception):
    """A contender did not start, died, stalled or gave a wrong answer; the others go on."""


class Program:
    """One running program with its output."""

    def __init__(self, argv: Sequence[str], *cores: int) -> None:
        self.name = Path(argv[1] if "python" in Path(argv[0]).name else argv[0]).name
        self.errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the program

        def prepare() -> None:
            _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            os.sched_setaffinity(0, cores)

        try:
            self.process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.errors,
                preexec_fn=prepare,
            )
        except OSError as error:
            self.errors.close()
            raise ContenderFailed(f"{argv[0]} does not start: {error}") from error
        self.pid = self.process.pid
        self._pending = b""

    def read_line(self, timeout: float = READY_SECONDS, *, against: Self | None = None) -> str:
        """The next line of output; waiting ends early when the server `against` which we run has died."""
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        deadline = time.monotonic() + timeout
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while b"\n" not in self._pending:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise self.failure(f"said nothing within {timeout:.1f} s")
                if not selector.select(min(left, GLANCE_SECONDS)):
                    if against is not None and against.process.poll() is not None:
                        raise against.failure("died under load")
                    continue
                more = os.read(descriptor, 65536)
                if not more:
                    raise self.failure("ended early")
                self._pending += more
        line, self._pending = self._pending.split(b"\n", 1)
        return line.decode()

    def addresses(self) -> list[str]:
        """Where a server listens, once it does."""
        word, *addresses = self.read_line().split()
        if word != "ready" or not addresses:
            raise self.failure(f"did not say ready but {word!r}")
        return addresses

    def result(self, timeout: float, *, against: Self) -> dict[str, Any]:
        """The JSON line with which a measuring client ends."""
        try:
            result = json.loads(self.read_line(timeout, against=against))
        except json.JSONDecodeError as error:
            raise self.failure("printed no JSON") from error
        if not isinstance(result, dict):
            raise self.failure("printed no result")
        return result

    def failure(self, what: str) -> ContenderFailed:
        status = self.process.poll()
        if status is None:
            try:
                status = self.process.wait(0.2)
            except subprocess.TimeoutExpired:
                status = None
        ending = "" if status is None else f", status {status}"
        return ContenderFailed(f"{self.name} {what}{ending}{self.last_words()}")

    def last_words(self) -> str:
        self.errors.seek(0)
        words = self.errors.read().decode(errors="replace").strip()
        return f": {words[-LAST_WORDS:]}" if words else ""

    def cpu_seconds(self) -> float:
        """Processor time that it has taken so far, in user code and in the kernel."""
        clock = ctypes.c_int()
        if _clock_of(self.pid, ctypes.byref(clock)):
            raise self.failure("has no processor clock")
        return time.clock_gettime(clock.value)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            if stream is not None:
                stream.close()


class Run:
    """The programs of one run; all of them are gone when the block is left."""

    def __init__(self) -> None:
        self._programs: list[Program] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for program in reversed(self._programs):
            program.end()

    def start(self, argv: Sequence[str], *cores: int) -> Program:
        program = Program(argv, *cores)
        self._programs.append(program)
        return program

    def measure(self, server: Program, argv: Sequence[str], core: int, timeout: float) -> dict[str, Any]:
        """Runs a client against `server`; an error names both when the server had something to say."""
        client = self.start(argv, core)
        try:
            return client.result(timeout, against=server)
        except ContenderFailed as error:
            words = server.last_words()
            raise ContenderFailed(f"{error}; {server.name}{words}" if words else str(error)) from None
