"""The hub where the machine ends: no descriptor left, a storm of newcomers, a full disk under its log."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import struct
import subprocess
import threading
from pathlib import Path

import pytest
from programs import JACKFIELD, HubProcess, StartHub, wait_for

pytestmark = pytest.mark.timeout(120)

LIMIT = 128
FEW = ("bash", "-c", f'ulimit -n {LIMIT}; exec "$@"', "few")
"""Before a command: gives it few descriptors."""


def descriptors(hub: HubProcess) -> int:
    return len(os.listdir(f"/proc/{hub.pid}/fd"))


def joined(hub: HubProcess) -> socket.socket:
    """A client that has said something and is listed."""
    plain = socket.create_connection(("127.0.0.1", hub.port()), timeout=20)
    plain.sendall(b"here\n")
    return plain


def test_operators_get_through_a_storm_of_newcomers(start_hub: StartHub) -> None:
    """Descriptors are kept for them; clients that are there stay, and the hub stays within its limit."""
    hub = start_hub("tcp://127.0.0.1:0,framing=line", prefix=FEW)
    first = joined(hub)
    wait_for(lambda: hub.clients())
    stop = threading.Event()

    def storm() -> None:
        held: list[socket.socket] = []
        while not stop.is_set():
            with contextlib.suppress(OSError):
                plain = socket.create_connection(("127.0.0.1", hub.port()), timeout=20)
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                held.append(plain)
            if len(held) > 200:
                held.pop(0).close()
        for plain in held:
            plain.close()

    storms = [threading.Thread(target=storm) for _ in range(2)]
    for each in storms:
        each.start()
    try:
        hub.seen(rb" refused ")
        for number in range(5):
            assert len(hub.clients()) <= LIMIT
            hub.do("send", "1", f"number {number}")
            assert first.recv(100) == b"number %d\n" % number
            assert descriptors(hub) <= LIMIT
    finally:
        stop.set()
        for each in storms:
            each.join()
    wait_for(lambda: len(hub.clients()) == 1, "the storm has passed")
    late = joined(hub)
    wait_for(lambda: len(hub.clients()) == 2)
    for plain in (first, late):
        plain.close()
    assert hub.terminate() == 0


def test_no_descriptor_for_an_operator(start_hub: StartHub) -> None:
    """The operator is told at once, clients do not notice, and it works again as soon as one is free."""
    hub = start_hub("tcp://127.0.0.1:0,framing=line")
    first = joined(hub)
    wait_for(lambda: hub.clients())
    before = resource.prlimit(hub.pid, resource.RLIMIT_NOFILE)
    # New descriptors take the lowest free number, so none is free below this.
    resource.prlimit(hub.pid, resource.RLIMIT_NOFILE, (lowest_free(hub), before[1]))
    refused = hub.run("clients", "--json")
    assert refused.returncode != 0
    assert refused.stderr.startswith(b"jackfield: "), refused
    assert b"Traceback" not in refused.stderr
    first.sendall(b"still here\n")
    resource.prlimit(hub.pid, resource.RLIMIT_NOFILE, before)

    def counted() -> bool:
        answer = hub.run("clients", "--json")
        return answer.returncode == 0 and b'"messages_in": 2' in answer.stdout

    wait_for(counted, "operators are heard again, and the client was")
    first.close()
    assert hub.terminate() == 0


def lowest_free(hub: HubProcess) -> int:
    used = {int(name) for name in os.listdir(f"/proc/{hub.pid}/fd")}
    return next(number for number in range(len(used) + 1) if number not in used)


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["lines", "json"])
def test_a_full_disk_under_the_log(directory: Path, form: list[str]) -> None:
    """/dev/full says ENOSPC to every write: the hub goes on without a log, and ends in order."""
    control = directory / "hub.sock"
    address = f"unix://{directory}/clients"
    environment = {**os.environ, "JACKFIELD_CONTROL": str(control)}

    def operate(*words: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([JACKFIELD, *words], capture_output=True, timeout=30, env=environment)

    with open("/dev/full", "wb") as full:
        command = [JACKFIELD, "serve", address, "--framing", "line", *form]
        hub = subprocess.Popen(command, stdout=full, stderr=subprocess.PIPE, env=environment)
    try:
        wait_for(lambda: operate("status").returncode == 0)
        plains = []
        for _ in range(20):
            plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            plain.settimeout(20)
            plain.connect(f"{directory}/clients")
            plains.append(plain)
        wait_for(lambda: operate("clients", "--json").stdout.count(b'"peer"') == 20)
        assert operate("broadcast", "hello").returncode == 0
        for plain in plains:
            assert plain.recv(100) == b"hello\n"
            plain.close()
        # What was not written to the disk is still remembered.
        assert b" joined id=20 " in operate("logs", "--lines", "50").stdout
        hub.send_signal(signal.SIGTERM)
        _, said = hub.communicate(timeout=30)
        assert hub.returncode == 0, said
        assert b"Traceback" not in said
    finally:
        hub.kill()
        hub.wait()


def test_the_log_goes_on_once_there_is_room_again(directory: Path) -> None:
    """And says how many lines are missing. A limit on the file's size stands for the disk."""
    control, log = directory / "hub.sock", directory / "log"
    environment = {**os.environ, "JACKFIELD_CONTROL": str(control)}
    with open(log, "wb") as file:
        command = [JACKFIELD, "serve", f"unix://{directory}/clients"]
        hub = subprocess.Popen(command, stdout=file, env=environment)
    try:
        wait_for(lambda: b" ready " in log.read_bytes())
        unlimited = resource.prlimit(hub.pid, resource.RLIMIT_FSIZE)
        # A few bytes of the next line still fit.
        resource.prlimit(hub.pid, resource.RLIMIT_FSIZE, (log.stat().st_size + 10, unlimited[1]))

        def come_and_go(count: int) -> None:
            for _ in range(count):
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as plain:
                    plain.settimeout(20)
                    plain.connect(f"{directory}/clients")
                    plain.sendall(b"here")

        come_and_go(3)
        asked = [JACKFIELD, "logs", "--lines", "50"]

        def told() -> bool:
            said = subprocess.run(asked, capture_output=True, timeout=30, env=environment).stdout
            return said.count(b" left ") == 3

        wait_for(told)
        assert log.read_bytes().count(b" left ") == 0
        resource.prlimit(hub.pid, resource.RLIMIT_FSIZE, unlimited)
        come_and_go(1)
        wait_for(lambda: b" left id=4 " in log.read_bytes())
        lines = log.read_text().splitlines()
        note = next(number for number, line in enumerate(lines) if "the disk was full" in line)
        assert "6 lines missing here" in lines[note]
        assert len(lines[note - 1]) == 10, "the line that was cut"
        assert " joined id=4 " in lines[note + 1]
        hub.send_signal(signal.SIGTERM)
        assert hub.wait(30) == 0
    finally:
        hub.kill()
        hub.wait()
