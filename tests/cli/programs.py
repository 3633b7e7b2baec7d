"""What the command-line tests share: a real hub in a process of its own, and the programs around it.

A hub listens on addresses that the kernel picks, has a control path of its own, and is ready when
it says so; it is ended by its pid. Nothing here sleeps to synchronise: `wait_for` polls a
condition, `Process.seen` waits for output.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

JACKFIELD = Path(sys.executable).with_name("jackfield")
DEADLINE = 15.0

T = TypeVar("T")


def need(*programs: str) -> None:
    """Skip without a peer program; on CI that is a failure."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing and os.environ.get("CI"):
        pytest.fail(f"missing on CI: {', '.join(missing)}")
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def wait_for(condition: Callable[[], T], what: str = "the condition", *, deadline: float = DEADLINE) -> T:
    """What `condition` gives once it is true."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come true within {deadline:.0f} s; last: {value!r}")
        time.sleep(0.01)


class Process:
    """A program, its output collected as it comes."""

    def __init__(self, command: Sequence[str | Path], *, environment: dict[str, str] | None = None) -> None:
        self.popen = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )
        self.command = [str(word) for word in command]
        self.out = bytearray()
        self.err = bytearray()
        self._changed = threading.Condition()
        self._readers = [
            threading.Thread(target=self._read, args=(stream, into), daemon=True)
            for stream, into in ((self.popen.stdout, self.out), (self.popen.stderr, self.err))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: Any, into: bytearray) -> None:
        while data := os.read(stream.fileno(), 65536):
            with self._changed:
                into += data
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    @property
    def pid(self) -> int:
        return self.popen.pid

    def write(self, data: bytes) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.write(data)
        self.popen.stdin.flush()

    def end_input(self) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.close()

    def seen(self, pattern: bytes, *, err: bool = False, deadline: float = DEADLINE) -> re.Match[bytes]:
        """The first match of `pattern` in the output, waiting for it."""
        end = time.monotonic() + deadline
        with self._changed:
            while True:
                match = re.search(pattern, bytes(self.err if err else self.out))
                if match is not None:
                    return match
                rest = end - time.monotonic()
                alive = any(reader.is_alive() for reader in self._readers)
                if rest <= 0 or not alive:
                    raise AssertionError(
                        f"{pattern!r} never came from {self.command}: {bytes(self.out)!r} {bytes(self.err)!r}"
                    )
                self._changed.wait(min(rest, 0.2))

    def wait(self, deadline: float = DEADLINE) -> int:
        """The exit code; the output is complete then."""
        code = self.popen.wait(deadline)
        for reader in self._readers:
            reader.join(deadline)
        return code

    def end(self) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait(DEADLINE)
        for reader in self._readers:
            reader.join(DEADLINE)
        for stream in (self.popen.stdin, self.popen.stdout, self.popen.stderr):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


class HubProcess(Process):
    """`jackfield serve` in a process of its own; `listening` once it is ready."""

    def __init__(self, *arguments: str, control: Path, prefix: Sequence[str] = ()) -> None:
        self.control = control
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("JACKFIELD")},
            "JACKFIELD_CONTROL": str(control),
            "PYTHONUNBUFFERED": "1",
        }
        super().__init__([*prefix, JACKFIELD, "serve", *arguments], environment=self.environment)
        self.listening = self.seen(rb" ready .*listening=\"?([^\s\"]+)")[1].decode().split(",")

    def port(self, index: int = 0) -> int:
        """The port that the listener at `index` got."""
        return int(self.listening[index].rpartition(":")[2])

    def run(self, *arguments: str, data: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        """One command of an operator."""
        return subprocess.run(
            [JACKFIELD, *arguments],
            input=data,
            stdin=subprocess.DEVNULL if data is None else None,
            capture_output=True,
            timeout=30,
            env=self.environment,
        )

    def do(self, *arguments: str, data: bytes | None = None) -> bytes:
        """One command that must succeed; its output."""
        done = self.run(*arguments, data=data)
        assert done.returncode == 0, (arguments, done)
        assert done.stderr == b"", (arguments, done)
        return done.stdout

    def clients(self, target: str = "all") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.do("clients", target, "--json"))
        return found

    def joined(self, count: int) -> None:
        """Wait until so many clients have joined since the start."""
        wait_for(lambda: self.out.count(b" joined id=") >= count, f"{count} clients")

    def end(self) -> None:
        for pid in {int(pid) for pid in re.findall(rb" ready pid=(\d+)", bytes(self.out))} - {self.pid}:
            with contextlib.suppress(OSError):  # a successor outlives who is killed
                if str(self.control).encode() in Path(f"/proc/{pid}/environ").read_bytes():
                    os.kill(pid, signal.SIGKILL)
        super().end()

    def terminate(self) -> int:
        self.popen.send_signal(signal.SIGTERM)
        return self.wait()


Spawn = Callable[..., Process]
StartHub = Callable[..., HubProcess]


@contextlib.contextmanager
def accepting(handle: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that handles one connection after the other with a function; its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def work() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(20)
                    handle(connection)

    threading.Thread(target=work, daemon=True).start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
