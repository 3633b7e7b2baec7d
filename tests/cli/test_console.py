"""The one window in a real terminal: what an operator sees and types, and the terminal afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import select
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from programs import JACKFIELD, HubProcess, StartHub, wait_for
from terminals import Terminal
from tmux import Tmux

Open = Callable[..., Tmux]


@pytest.fixture
def terminals(directory: Path) -> Iterator[Open]:
    """Open terminals; each ends with the test."""
    opened: list[Tmux] = []

    def start(control: Path, *, width: int = 80, height: int = 24, **environment: str) -> Tmux:
        own = directory / f"terminal{len(opened)}"
        own.mkdir()
        shared = {"JACKFIELD_CONTROL": str(control), "XDG_STATE_HOME": str(directory / "state")}
        opened.append(Tmux(own, {**shared, **environment}, width=width, height=height))
        return opened[-1]

    yield start
    for one in opened:
        one.end()


def connect(port: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port))
    client.settimeout(30)
    return client


def line_of(client: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\n"):
        part = client.recv(1000)
        assert part, data
        data += part
    return data


def serve(terminal: Tmux, *words: str) -> int:
    """Start a hub in a terminal; its port."""
    terminal.run(JACKFIELD, "serve", "tcp://127.0.0.1:0", *words)
    shown = terminal.shows("0 clients", "nc 127.0.0.1 ", "F1 help")
    found = re.search(r"nc 127\.0\.0\.1 (\d+)", shown)
    assert found is not None
    return int(found[1])


def back(terminal: Tmux) -> None:
    """Back to the list; what is typed at once behind Escape would be another key."""
    terminal.press("Escape")
    terminal.shows("Enter opens")


def is_in_order(terminal: Tmux) -> None:
    """The terminal has the mode of before."""
    terminal.line("stty -a | tr ' ' '\\n' | grep -x -- 'echo\\|icanon\\|isig' | wc -l")
    terminal.until(lambda shown: re.search(r"^3$", shown, re.MULTILINE), "the terminal's mode of before")


def test_a_day_at_the_hub(terminals: Open, directory: Path) -> None:
    """`serve` on a terminal: clients come, one is talked to, another one is unread, a command renames it."""
    control = directory / "hub.sock"
    terminal = terminals(control)
    port = serve(terminal)
    with connect(port) as first, connect(port) as second:
        terminal.shows("2 clients", "tcp-1", "tcp-2")
        terminal.press("Down")
        terminal.press("Enter")
        terminal.shows("tcp-1>", "── tcp-1 (1) tcp 127.0.0.1:")
        terminal.line("open the door")
        assert line_of(first) == b"open the door\n"
        terminal.until(lambda s: re.search(r"\d\d:\d\d:\d\d > open the door", s), "what was sent")
        first.sendall(b"door is open\n")
        terminal.until(
            lambda s: re.search(r"\d\d:\d\d:\d\d < door is open", s), "the answer, its time and way"
        )
        second.sendall(b"me too\n")
        terminal.until(lambda s: re.search(r"\*1 +2 +tcp-2 .* me too", s), "an unread mark")
        terminal.press("F5")
        terminal.shows("typing hex")
        terminal.line("de ad 0a")
        assert line_of(first) == b"\xde\xad\n"
        terminal.press("F4")
        terminal.shows("0000  de ad 0a", "64 6f 6f 72")
        terminal.line("/rename 2 window")
        terminal.shows("tcp-2 is now window")
        terminal.until(lambda s: re.search(r"\*1 +2 +window ", s), "the new name in the list")
        terminal.press("M-n")
        terminal.shows("── window (2)")
        terminal.until(lambda s: not re.search(r"\*1 +2 ", s), "nothing unread")
        back(terminal)
        terminal.line("/kick window")
        assert second.recv(100) == b""
        terminal.until(lambda s: "1 client" in s and "disconnected 1 client" in s, "one client less")
        terminal.hides("doing kick")
        terminal.press("C-c")
        terminal.shows("ended:0")
    assert "1 client" not in terminal.screen(), "the screen of before is back"
    assert not control.exists()
    is_in_order(terminal)
    kept = directory / "state/jackfield/console_history"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert kept.read_text().splitlines()[:2] == ["open the door", "de ad 0a"]


def test_several_consoles_see_each_others_sends(hub: HubProcess, terminals: Open) -> None:
    with connect(hub.port()) as client:
        hub.joined(1)
        one, two = terminals(hub.control), terminals(hub.control, width=200, height=50)
        for terminal in (one, two):
            terminal.run(JACKFIELD, "console")
            terminal.shows("1 client", "tcp-1")
            terminal.line("tcp-1")
            terminal.shows("tcp-1>")
        one.line("from the first")
        assert line_of(client) == b"from the first\n"
        one.until(lambda s: re.search(r":\d\d > from the first", s), "what was sent")
        shown = two.until(lambda s: re.search(r"pid:\d+> from the first", s), "what another one sent")
        assert max(map(len, shown.splitlines())) > 120, "200 columns are used"
        assert re.search(r"tcp-1 +tcp +127.*│ ── tcp-1", shown) or "│ ── tcp-1 (1)" in shown
        two.line("/rename tcp-1 lamp")
        one.shows("lamp>", "renamed id=1 name=lamp")
        hub.do("send", "lamp", "by a command")
        for terminal in (one, two):
            terminal.until(lambda s: re.search(r"pid:\d+> by a command", s), "what a command sent")
        one.press("C-c")
        one.shows("Left the console; the hub goes on.", "ended:0")
        assert [view["name"] for view in hub.clients()] == ["lamp"], "the hub and its clients went on"
        hub.terminate()
        two.shows("jackfield: the hub ended the connection", "ended:3")


def test_filter_sort_and_completion(hub: HubProcess, terminals: Open) -> None:
    clients = [connect(hub.port()) for _ in range(12)]
    hub.joined(12)
    hub.do("rename", "7", "door-north")
    hub.do("rename", "9", "door-south")
    terminal = terminals(hub.control)
    terminal.run(JACKFIELD, "console")
    terminal.shows("12 clients", "door-north", "tcp-1 ")
    terminal.press("C-f")
    terminal.shows("filter>")
    terminal.type("door")
    terminal.shows("2 of 12 clients", "door-north", "door-south")
    terminal.hides("tcp-1 ")
    terminal.press("Enter")
    terminal.press("Down", "Down", "Enter")
    terminal.shows("door-south>")
    back(terminal)
    terminal.line("/filter")
    terminal.shows("  tcp-12 ")
    clients[4].sendall(b"x" * 5000)
    terminal.line("/sort in")
    terminal.until(lambda s: re.search(r" {2}5 +tcp-5 .* 4\.9K", s.splitlines()[2]), "who said most first")
    terminal.type("/ren")
    terminal.press("Tab")
    terminal.shows("> /rename")
    terminal.type(" door-n")
    terminal.press("Tab")
    terminal.shows("> /rename door-north")
    terminal.type(" gate")
    terminal.press("Enter")
    terminal.shows("door-north is now gate")
    terminal.press("C-p")
    terminal.shows("> /rename door-north gate")
    terminal.press("C-u")
    terminal.line("/nonsense")
    terminal.shows("there is no command 'nonsense'")
    terminal.line("/serve 7000")
    terminal.shows("serve needs a terminal of its own")
    terminal.line("/logs -f")
    terminal.shows("doing logs (Ctrl-C ends it)")
    terminal.press("C-c")
    terminal.hides("doing logs")
    terminal.press("F1")
    terminal.shows("jackfield help", "Alt-N")
    terminal.press("Escape")
    terminal.shows("12 clients")
    for client in clients:
        client.close()


def test_resizing_stopping_and_coming_back(hub: HubProcess, terminals: Open) -> None:
    with connect(hub.port()) as client:
        hub.joined(1)
        terminal = terminals(hub.control)
        terminal.run(JACKFIELD, "console")
        terminal.shows("tcp-1", "F1 help")
        terminal.line("1")
        terminal.shows("tcp-1>")
        terminal.resize(200, 50)
        terminal.until(lambda s: "│ ── tcp-1 (1)" in s, "both beside each other")
        terminal.resize(80, 24)
        terminal.until(lambda s: "│" not in s and "── tcp-1 (1)" in s, "one below the other")
        terminal.press("C-z")
        terminal.shows("Stopped")
        client.sendall(b"while you were away\n")
        terminal.line("fg")
        terminal.shows("< while you were away", "tcp-1>")
        terminal.line("back")
        assert line_of(client) == b"back\n"
        terminal.press("C-c")
        terminal.shows("Left the console")
        is_in_order(terminal)


def test_stopped_and_continued_by_others(hub: HubProcess, terminals: Open) -> None:
    with connect(hub.port()) as client:
        hub.joined(1)
        terminal = terminals(hub.control)
        terminal.run(JACKFIELD, "console")
        terminal.shows("tcp-1", "F1 help")
        (pid,) = windows_of(hub.control)
        os.kill(pid, signal.SIGSTOP)
        terminal.shows("Stopped")
        terminal.line("stty sane; echo of the shell")
        terminal.shows("of the shell")
        terminal.line("fg")
        terminal.shows("1 client", "F1 help")
        terminal.hides("of the shell")
        terminal.line("1")
        terminal.line("as before")
        assert line_of(client) == b"as before\n"
        terminal.press("C-c")
        terminal.shows("Left the console")


def test_a_console_outlives_a_reload(hub: HubProcess, terminals: Open) -> None:
    with connect(hub.port()) as client:
        hub.joined(1)
        terminal = terminals(hub.control)
        terminal.run(JACKFIELD, "console")
        terminal.shows("tcp-1", "F1 help")
        terminal.line("1")
        client.sendall(b"before\n")
        terminal.shows("< before")
        hub.do("reload", "--json")
        terminal.shows("the hub was reloaded", "tcp-1>", "< before")
        terminal.line("after")
        assert line_of(client) == b"after\n"
        terminal.until(lambda s: re.search(r"\d > after", s), "what was sent")
        terminal.press("C-c")
        terminal.shows("ended:0")


def test_a_client_that_comes_back_is_talked_to_as_before(start_hub: StartHub, terminals: Open) -> None:
    hub = start_hub("tcp://127.0.0.1:0", "--identify", r"id=(\w+)\n")
    terminal = terminals(hub.control)
    with connect(hub.port()) as device:
        device.sendall(b"id=gate\n")
        hub.seen(rb" identified id=1 name=gate ")
        hub.do("tag", "gate", "yard")
        terminal.run(JACKFIELD, "console")
        terminal.shows("gate", "TAGS", "yard")
        terminal.line("gate")
        terminal.shows("gate>")
        terminal.line("one")
        assert line_of(device) == b"one\n"
    terminal.shows("0 clients, 1 absent", "gate left")
    terminal.line("lost")
    terminal.shows("not sent: the client left")
    with connect(hub.port()) as device:
        device.sendall(b"id=gate\n")
        terminal.shows("gate is back", "1 client ", "< id=gate")
        terminal.line("two")
        assert line_of(device) == b"two\n"
        terminal.until(lambda s: re.search(r" > one\n(.*\n)* *\S+ > two", s), "both connections' words")
    terminal.press("C-c")
    terminal.shows("ended:0")


def test_watching_shows_absent_clients_too(start_hub: StartHub, terminals: Open) -> None:
    hub = start_hub("tcp://127.0.0.1:0", "--identify", r"id=(\w+)\n")
    with connect(hub.port()) as device:
        device.sendall(b"id=gate\n")
        hub.seen(rb" identified id=1 name=gate ")
    hub.seen(rb" left id=1 ")
    terminal = terminals(hub.control)
    terminal.run(JACKFIELD, "clients", "--watch")
    terminal.until(lambda s: re.search(r"gate +absent ", s), "the absent client")
    terminal.press("C-c")
    terminal.shows("ended:130")


def test_a_second_ctrl_c_does_not_wait(terminals: Open, directory: Path) -> None:
    """A client that does not read holds up the end for 0.6 seconds; the second time nobody waits."""
    terminal = terminals(directory / "hub.sock")
    port = serve(terminal, "--queue", "64M")
    with connect(port):
        terminal.shows("tcp-1")
        environment = {**os.environ, "JACKFIELD_CONTROL": str(directory / "hub.sock")}
        data = b"x" * 20_000_000
        subprocess.run([JACKFIELD, "send", "1", "-"], input=data, env=environment, timeout=60, check=True)
        terminal.press("C-c", "C-c")
        terminal.shows("ended:0")
    is_in_order(terminal)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_puts_the_terminal_back(hub: HubProcess, terminals: Open, number: int) -> None:
    terminal = terminals(hub.control)
    terminal.run(JACKFIELD, "console")
    terminal.shows("0 clients", "F1 help")
    os.kill(windows_of(hub.control)[0], number)
    terminal.shows("ended:")
    is_in_order(terminal)
    assert hub.clients() == []


def windows_of(control: Path) -> list[int]:
    """The pids of the consoles of a hub, as the system shows them."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            environment = (entry / "environ").read_bytes().split(b"\0")
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if b"console" in words and f"JACKFIELD_CONTROL={control}".encode() in environment:
                found.append(int(entry.name))
    return found


def test_whatever_becomes_of_the_window_the_hub_goes_on(terminals: Open, directory: Path) -> None:
    control = directory / "hub.sock"
    terminal = terminals(control)
    port = serve(terminal)
    with connect(port) as client:
        terminal.shows("tcp-1")
        (window,) = windows_of(control)
        os.kill(window, signal.SIGKILL)
        terminal.shows("window_ended")
        client.sendall(b"still there\n")
        terminal.press("C-c")
        terminal.shows("stopped clients=1", "ended:0")
    is_in_order(terminal)


def test_a_hub_that_is_killed_leaves_the_terminal_in_order(terminals: Open, directory: Path) -> None:
    terminal = terminals(directory / "hub.sock")
    serve(terminal)
    pid = int((directory / "hub.sock.lock").read_text())
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not windows_of(directory / "hub.sock"), "the window's end")
    terminal.press("Enter")
    is_in_order(terminal)


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {}])
def test_without_a_terminal_that_can_it_is_lines(
    terminals: Open, directory: Path, environment: dict[str, str]
) -> None:
    terminal = terminals(directory / "hub.sock")
    words = [] if environment else ["--plain"]
    terminal.run(JACKFIELD, "serve", "tcp://127.0.0.1:0", *words, environment=environment)
    terminal.shows(" ready pid=")
    if environment:
        other = terminals(directory / "hub.sock")
        other.run(JACKFIELD, "console", environment=environment)
        other.shows("the console needs a terminal that can move its cursor", "ended:1")
    terminal.press("C-c")
    terminal.shows("stopped clients=0", "ended:0")


def test_without_colours(hub: HubProcess, terminals: Open) -> None:
    terminal = terminals(hub.control, NO_COLOR="1")
    terminal.run(JACKFIELD, "console")
    terminal.shows("0 clients")
    shown = terminal._do("capture-pane", "-p", "-e")
    assert not re.search(r"\x1b\[(?:\d+;)*(?:[34][0-8]|9\d)", shown), "no colour is set"
    assert "\x1b[7m" in shown, "what is marked is reversed"


MANY = 2_000
BUSY = """
import resource, socket, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
clients = [socket.create_connection(("127.0.0.1", int(sys.argv[1]))) for _ in range(int(sys.argv[2]))]
print("there", flush=True)
number = 0
while True:
    number += 1
    for client in clients:
        client.send(b"reading %d\\n" % number)
    time.sleep(0.5)
"""


def test_thousands_of_busy_clients_leave_the_console_quick(start_hub: StartHub, terminals: Open) -> None:
    """JACKFIELD_CONSOLE_CLIENTS=10000 for all that one hub is meant for."""
    many = int(os.environ.get("JACKFIELD_CONSOLE_CLIENTS", MANY))
    many = min(many, resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 300)
    hub = start_hub("tcp://127.0.0.1:0")
    busy = subprocess.Popen([sys.executable, "-c", BUSY, str(hub.port()), str(many)], stdout=subprocess.PIPE)
    try:
        with connect(hub.port()) as client:
            terminal = terminals(hub.control)
            terminal.run(JACKFIELD, "console")
            terminal.shows(f"{many + 1} clients", f"{many} unread")
            mine = hub.clients(f"127.0.0.1:{client.getsockname()[1]}")[0]["id"]
            terminal.line(f"tcp-{mine}")
            terminal.shows(f"tcp-{mine}>")
            terminal.line("are you there?")
            assert line_of(client) == b"are you there?\n"
            client.sendall(b"yes\n")
            terminal.until(lambda s: re.search(r"\d < yes", s), "the answer")
            back(terminal)
            terminal.line("/sort last")
            terminal.shows("by last")
            status = json.loads(hub.do("status", "--json"))
            assert status["clients"] == many + 1
            terminal.press("C-c")
            terminal.shows("ended:0")
            assert b"operator_dropped" not in hub.out
    finally:
        busy.kill()
        busy.communicate()


def written(terminal: Terminal, seconds: float) -> int:
    """Bytes that a program writes to its terminal in that time."""
    end, count = time.monotonic() + seconds, 0
    while (left := end - time.monotonic()) > 0:
        if select.select([terminal.fd], [], [], left)[0]:
            count += len(os.read(terminal.fd, 65536))
    return count


def test_an_idle_screen_writes_nothing_and_a_busy_one_little(start_hub: StartHub) -> None:
    """What crosses a slow line: counters once a second, and only the characters that changed."""
    hub = start_hub("tcp://127.0.0.1:0")
    busy = subprocess.Popen([sys.executable, "-c", BUSY, str(hub.port()), "200"], stdout=subprocess.PIPE)
    terminal = Terminal(str(JACKFIELD), "console", environment=hub.environment)
    try:
        terminal.seen(b"F1 help")  # later drawings have only what changed, in pieces
        wait_for(lambda: len(hub.clients()) == 200 and written(terminal, 2.0) > 0, "a busy screen")
        assert written(terminal, 3.0) < 3.0 * 4000
        busy.kill()
        wait_for(lambda: hub.clients() == [] and written(terminal, 2.0) == 0, "a screen that rests")
        assert written(terminal, 3.0) == 0
    finally:
        terminal.end()
        busy.kill()
        busy.communicate()
