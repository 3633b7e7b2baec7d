"""The hub as a service: what it tells the manager, its units, and what follows a reload."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import re
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, cast

import pytest
from programs import JACKFIELD, HubProcess

from jackfield.cli.serve import _tell_manager
from jackfield.hub.notify import PERIOD, Notifier

pytestmark = pytest.mark.timeout(120)


class Manager:
    """A service manager's end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.messages: queue.Queue[dict[str, str]] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while text := self.socket.recv(4096).decode():
            self.messages.put(dict(line.split("=", 1) for line in text.splitlines()))

    def next(self, wanted: str) -> dict[str, str]:
        """The next message with that field."""
        while True:
            message = self.messages.get(timeout=15)
            if wanted in message:
                return message

    def end(self) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_a_manager_hears_of_the_whole_life(
    directory: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    address = f"@jackfield-notify-{os.getpid()}" if kind == "abstract" else f"{directory}/notify"
    manager = Manager(address)
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setenv("WATCHDOG_USEC", "400000")
    hub = HubProcess("tcp://127.0.0.1:0", control=directory / "hub.sock")
    try:
        assert manager.next("READY")["STATUS"] == "0 clients"
        assert manager.next("WATCHDOG")["WATCHDOG"] == "1"
        with socket.create_connection(("127.0.0.1", hub.port())):
            hub.joined(1)
            before = time.monotonic_ns() // 1000
            hub.do("reload")
            begun = manager.next("RELOADING")
            assert before <= int(begun["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
            done = manager.next("MAINPID")
            successor = int(done["MAINPID"])
            assert done["READY"] == "1"
            assert done["STATUS"] == "1 client"
            # The manager follows the successor: nobody stays for it.
            assert hub.popen.wait(30) == 0
            assert successor != hub.pid
            assert manager.next("WATCHDOG")["STATUS"] == "1 client"
            hub.do("stop")
            assert manager.next("STOPPING")["STOPPING"] == "1"
    finally:
        hub.end()
        manager.end()


def test_who_hands_over_says_nothing_of_its_clients_any_more(directory: Path) -> None:
    class Hub(list[int]):
        gate = asyncio.Event()
        successor = 0

    async def main() -> None:
        hub = Hub([1])
        hub.gate.set()
        telling = asyncio.create_task(_tell_manager(cast(Any, hub), notifier))
        assert (await asyncio.to_thread(manager.next, "WATCHDOG"))["STATUS"] == "1 client"
        hub.gate.clear()
        hub.clear()
        while "STATUS" in (await asyncio.to_thread(manager.next, "WATCHDOG")):
            pass
        hub.successor = 7
        hub.gate.set()
        await asyncio.wait_for(telling, 15)
        assert manager.messages.empty() or "STATUS" not in manager.next("WATCHDOG")

    manager = Manager(f"{directory}/notify")
    notifier = Notifier({"NOTIFY_SOCKET": f"{directory}/notify", "WATCHDOG_USEC": "20000"})
    asyncio.run(main())
    manager.end()


def test_a_watchdog_of_another_process_is_none_of_ours() -> None:
    assert Notifier({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}).period == PERIOD
    assert Notifier({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": str(os.getpid())}).period == 0.5
    assert Notifier({"WATCHDOG_USEC": "1000000"}).period == 0.5
    for nonsense in ("", "x", "-1", "0", "\u0661"):
        assert Notifier({"WATCHDOG_USEC": nonsense}).period == PERIOD
    assert not Notifier({"NOTIFY_SOCKET": "relative"}).is_heard
    Notifier({"NOTIFY_SOCKET": "/nowhere/at/all"}).ready("a manager that is gone harms nobody")


@pytest.mark.parametrize("arguments", [[], ["--listen", "7000", "--listen", "/run/x.sock"], ["--user"]])
def test_the_units_are_right(directory: Path, arguments: list[str]) -> None:
    made = subprocess.run(
        [JACKFIELD, "config", "systemd", "--to", directory, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PATH": f"{JACKFIELD.parent}:{os.environ['PATH']}"},
    )
    assert made.returncode == 0, made
    units = [Path(line) for line in made.stdout.split()]
    assert len(units) == 1 + ("--listen" in arguments)
    text = units[0].read_text()
    assert re.search(r"^ExecReload=\S+jackfield --control %t/jackfield/hub.sock reload$", text, re.MULTILINE)
    if shutil.which("systemd-analyze") is None:
        if os.environ.get("CI"):
            pytest.fail("systemd-analyze is missing on CI")
        pytest.skip("systemd-analyze is not installed: the units were made, and not verified")
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, timeout=60
    )
    ours = [line for line in (verified.stdout + verified.stderr).splitlines() if "jackfield" in line]
    assert verified.returncode == 0, verified
    assert ours == []


def test_sockets_of_the_manager_outlive_a_reload(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        # What systemd does: descriptor 3, LISTEN_FDS, and the process id of the hub.
        begin = f"exec 3<&{listener.fileno()}; "
        shell = begin + 'LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=hub exec "$@"'
        environment = {**os.environ, "JACKFIELD_CONTROL": str(directory / "hub.sock")}
        command = ["bash", "-c", shell, "sh", JACKFIELD, "serve", "fd://hub?framing=line"]
        hub = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, pass_fds=[listener.fileno()])
        try:
            assert hub.stdout is not None
            while b" ready pid=" not in (line := hub.stdout.readline()):
                assert line
            with socket.create_connection(("127.0.0.1", port), timeout=15) as client:
                client.sendall(b"half a ")
                while b" joined id=1" not in (line := hub.stdout.readline()):
                    assert line
                done = subprocess.run([JACKFIELD, "reload"], capture_output=True, timeout=60, env=environment)
                assert b"1 client kept" in done.stdout, done
                client.sendall(b"line\n")
                subprocess.run([JACKFIELD, "send", "1", "yes"], timeout=60, env=environment, check=True)
                assert client.recv(64) == b"yes\n"
            with socket.create_connection(("127.0.0.1", port), timeout=15):
                pass
        finally:
            subprocess.run([JACKFIELD, "stop"], timeout=60, env=environment, capture_output=True, check=False)
            hub.wait(30)
            hub.stdout.close()  # type: ignore[union-attr]


def test_the_log_has_the_form_that_was_asked_for(directory: Path) -> None:
    environment = {**os.environ, "JACKFIELD_CONTROL": str(directory / "hub.sock")}
    command = [JACKFIELD, "serve", "--log-format", "journald", "tcp://127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as hub:
        assert hub.stdout is not None
        assert hub.stdout.readline().startswith(b"<6>ready pid=")
        hub.terminate()
        assert b"<6>stopping reason=SIGTERM\n" in hub.stdout.read()
    wrong = subprocess.run([*command[:3], "yaml", "7000"], capture_output=True, timeout=60, env=environment)
    assert wrong.returncode == 2
    assert b"known are text, json, logfmt, journald" in wrong.stderr


def test_the_units_as_json(directory: Path) -> None:
    command = [JACKFIELD, "config", "systemd", "--listen", "7000", "--json"]
    shown, written = (
        json.loads(subprocess.run([*command, *more], capture_output=True, timeout=30).stdout)
        for more in ([], ["--to", directory])
    )
    assert [each["name"] for each in written] == ["jackfield.service", "jackfield.socket"]
    assert [Path(each["file"]).read_text() for each in written] == [each["text"] for each in shown]
