"""What people see on a terminal while they record and replay: one line, replaced, and gone at the end."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import JACKFIELD, HubProcess, wait_for

from jackfield.recording import Client, Data, Encoder, Opened


class Terminal:
    """Programs whose standard error is a terminal, and what they have shown there."""

    def __init__(self) -> None:
        self.ours, self.theirs = pty.openpty()
        os.set_blocking(self.ours, False)
        self.shown = b""
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, *words: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        environment = {**environment, "TERM": "xterm"}
        process = subprocess.Popen([JACKFIELD, *words], stderr=self.theirs, env=environment)
        self.started.append(process)
        return process

    def sees(self, pattern: bytes) -> bool:
        with contextlib.suppress(BlockingIOError):
            self.shown += os.read(self.ours, 65536)
        return re.search(pattern, self.shown) is not None

    def close(self) -> None:
        for process in self.started:
            process.kill()
            process.wait()
        os.close(self.ours)
        os.close(self.theirs)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    made = Terminal()
    yield made
    made.close()


def test_a_recorder_says_how_much_it_has(hub: HubProcess, terminal: Terminal, directory: Path) -> None:
    recorder = terminal.start("record", "-o", str(directory / "x.jfrec"), environment=hub.environment)
    wait_for(
        lambda: terminal.sees(rb"00:00:\d\d 1 record \(0 bytes\) of 0 clients; Ctrl-C ends it"), "the line"
    )
    with socket.create_connection(("127.0.0.1", hub.port())) as client:
        client.sendall(b"0123456789")
        wait_for(lambda: terminal.sees(rb"3 records \(10 bytes\) of 1 client; "), "the count")
        recorder.send_signal(signal.SIGINT)
        assert recorder.wait(15) == 0
    wait_for(
        lambda: terminal.sees(rb"\r\x1b\[Kjackfield: recorded 4 records \(10 bytes\) of 1 client in "),
        "the end",
    )


def test_a_replay_says_how_far_it_is(hub: HubProcess, terminal: Terminal, directory: Path) -> None:
    path, encoder = directory / "x.jfrec", Encoder(b"mark")
    records = [
        Opened(0),
        Client(0, 1, 1, "dev1", "tcp", "127.0.0.1", 1, "127.0.0.1", 2),
        Data(0, 1, "in", b"at once"),
        Data(3_600_000_000_000, 1, "in", b"in an hour"),
    ]
    path.write_bytes(encoder.header() + b"".join(map(encoder.encode, records)))
    words = ("replay", str(path), "--connect", hub.listening[0])
    replaying = terminal.start(*words, environment=hub.environment)
    wait_for(lambda: terminal.sees(rb"1 of 2 messages \(7 bytes\), 1 of 1 client; Ctrl-C"), "the line")
    replaying.send_signal(signal.SIGINT)
    assert replaying.wait(15) == 130
