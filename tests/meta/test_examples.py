"""Every example runs as its first lines say, and does what they promise.

A server is ready when it prints where it listens; ports are the kernel's choice. Clients are plain sockets,
except where the example is the client.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

import jackfield

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
LIMIT = 20.0


class Program:
    """An example in a process of its own; it is ended with the test."""

    def __init__(self, name: str, *arguments: str) -> None:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", f"examples/{name}.py", *arguments],
            cwd=ROOT,
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        # A program that hangs is killed, and the line that is waited for never comes.
        self.watchdog = threading.Timer(LIMIT, self.process.kill)
        self.watchdog.start()

    @property
    def output(self) -> IO[str]:
        assert self.process.stdout is not None
        return self.process.stdout

    def type(self, line: str) -> None:
        """Give it a line of input."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def expect(self, pattern: str) -> str:
        """Read lines until one matches; that line."""
        seen = []
        for line in self.output:
            seen.append(line)
            if re.search(pattern, line):
                return line.rstrip("\n")
        raise AssertionError(f"{pattern!r} never came: {''.join(seen)!r}")

    def address(self) -> jackfield.Address:
        """Where the server listens, once it says so."""
        return jackfield.Address.parse(self.expect("^listening on ").removeprefix("listening on "))

    def interrupt(self) -> None:
        """Ctrl-C: it must end at once, and quietly."""
        self.process.send_signal(signal.SIGINT)
        rest = self.output.read()
        assert self.process.wait(LIMIT) == 0, rest
        assert "Traceback" not in rest, rest

    def end(self) -> None:
        self.watchdog.cancel()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(LIMIT)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


Start = Callable[..., Program]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start examples; they end with the test."""
    programs: list[Program] = []

    def run(name: str, *arguments: str) -> Program:
        programs.append(Program(name, *arguments))
        return programs[-1]

    yield run
    for program in programs:
        program.end()


def run_whole(name: str, *arguments: str) -> str:
    """Run an example to its end; what it printed. It must succeed and warn of nothing."""
    command = [sys.executable, "-W", "error", f"examples/{name}.py", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


class Lines:
    """A plain client that speaks lines, as `nc` does."""

    def __init__(self, address: jackfield.Address) -> None:
        if address.path is None:
            self.socket = socket.create_connection((address.host, address.port), timeout=LIMIT)
        else:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(LIMIT)
            self.socket.connect(address.path)
        self.reader = self.socket.makefile("r")

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        self.reader.close()
        self.socket.close()

    def say(self, line: str) -> None:
        self.socket.sendall(line.encode() + b"\n")

    def hear(self) -> str:
        """The next line; empty at the end."""
        return self.reader.readline().rstrip("\n")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_each_says_what_it_shows_and_how_to_run_it(path: Path) -> None:
    text = path.read_text()
    opening = re.match(r'"""(.+?)"""', text, re.DOTALL)
    assert opening is not None
    assert f"\n    python examples/{path.name}" in opening[1]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_each_is_run_by_a_test(path: Path) -> None:
    assert f'"{path.stem}"' in Path(__file__).read_text()


@pytest.mark.parametrize(
    ("listening", "connecting"),
    [
        ("tcp://127.0.0.1:0,framing=line", "?framing=line"),
        ("tcp://[::1]:0,framing=u32", "?framing=u32"),
        ("udp://127.0.0.1:0", ""),
        ("unix://{directory}/echo,framing=netstring", "?framing=netstring"),
        ("unix+seqpacket://{directory}/echo", ""),
        ("unix+dgram://{directory}/echo", ""),
    ],
)
def test_echo(start: Start, directory: Path, listening: str, connecting: str) -> None:
    server = start("echo_server", listening.format(directory=directory))
    address = f"{server.address()}{connecting}"
    assert run_whole("echo_client", address, "hello", "world") == "hello\nworld\n"
    scheme = listening.partition(":")[0]
    server.expect(rf"^{re.escape(scheme)}: .* talks to ")
    if scheme not in ("udp", "unix+dgram"):
        server.expect(r"ended after 2 messages$")
    server.interrupt()


def test_an_echo_client_without_a_server_says_why(start: Start) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        client = start("echo_client", f"tcp://127.0.0.1:{taken.getsockname()[1]},framing=line", "hello")
        client.expect("^ConnectRefused: ")
        assert client.process.wait(LIMIT) == 1


def test_pick_a_client(start: Start) -> None:
    server = start("pick_a_client")
    address = server.address()
    with Lines(address) as first, Lines(address) as second:
        server.expect("^client 1 came from ")
        server.expect("^client 2 came from ")
        first.say("I am the first")
        server.expect("^client 1 says: I am the first$")
        server.type("list")
        server.expect(r"^1: 127\.0\.0\.1:\d+, 1 messages$")
        server.expect(r"^2: 127\.0\.0\.1:\d+, 0 messages$")
        server.type("2 you alone")
        assert second.hear() == "you alone"
        server.type("all everyone")
        server.expect("^sent to 2 clients$")
        assert (first.hear(), second.hear()) == ("everyone", "everyone")
        server.type("drop 1")
        server.expect("^dropped client 1$")
        assert first.hear() == ""
        server.type("1 are you there?")
        server.expect("^there is no client '1'")
        second.socket.close()
        second.reader.close()
        server.expect("^client 2 left: ")
    server.type("quit")
    assert server.process.wait(LIMIT) == 0
    assert "Traceback" not in server.output.read()


def test_chat_room(start: Start, directory: Path) -> None:
    server = start("chat_room", "tcp://127.0.0.1:0", f"unix://{directory}/room")
    with Lines(server.address()) as ada, Lines(server.address()) as bob:
        for client, name in ((ada, "ada"), (bob, "bob")):
            assert client.hear() == "your nickname?"
            client.say(name)
            assert client.hear().startswith(f"welcome, {name}; here: ada")
        assert ada.hear() == "* bob came"
        ada.say("hello\x1b[2J, bob")
        assert bob.hear() == "ada: hello[2J, bob", "what steers a terminal does not get through"
        bob.say("/who")
        assert bob.hear() == "ada, bob"
        bob.say("/quit")
        assert bob.hear() == "goodbye, bob"
        assert bob.hear() == ""
        assert ada.hear() == "* bob left"
    server.interrupt()


def test_hub_in_a_program(start: Start, directory: Path) -> None:
    server = start("hub_in_a_program", "tcp://127.0.0.1:0", f"{directory}/hub.sock")
    with Lines(server.address()) as client:
        client.say("time")
        assert re.fullmatch(r"\d\d:\d\d:\d\d", client.hear())
        client.say("hello")
        server.expect(r"^tcp-1 says b'hello'$")
        operator = [
            sys.executable,
            "-m",
            "jackfield.cli",
            "--control",
            f"{directory}/hub.sock",
            "send",
            "1",
            "x",
        ]
        subprocess.run(operator, check=True, timeout=LIMIT)
        assert client.hear() == "x"
    server.interrupt()


def test_native_clients(start: Start) -> None:
    program = start("native_clients")
    program.expect(r"^b'ada, you asked: how are you\?'$")
    program.expect(r"^b'HELLO'$")
    program.expect(r"^bob connected channel, request$")
    assert program.process.wait(LIMIT) == 0


def test_a_nickname_belongs_to_one(start: Start) -> None:
    server = start("chat_room")
    address = server.address()
    with Lines(address) as ada, Lines(address) as other:
        for client, answer in ((ada, "welcome, ada"), (other, "ada is here already")):
            assert client.hear() == "your nickname?"
            client.say("ada")
            assert client.hear().startswith(answer)
        other.say("two words")
        assert other.hear().startswith("a nickname is one word")


def test_udp_nicknames(start: Start) -> None:
    server = start("udp_nicknames")
    address = server.address()
    with socket.socket(type=socket.SOCK_DGRAM) as ada, socket.socket(type=socket.SOCK_DGRAM) as bob:
        for peer, name in ((ada, b"ada"), (bob, b"bob")):
            peer.settimeout(LIMIT)
            peer.connect((address.host, address.port))
            peer.send(name + b"\n")
            assert peer.recv(1500) == b"* %b is here\n" % name
        assert ada.recv(1500) == b"* bob is here\n"
        ada.send(b"hello\n")
        assert bob.recv(1500) == b"ada: hello\n"
        bob.send(b"hello yourself\n")
        assert ada.recv(1500) == b"bob: hello yourself\n"
    server.interrupt()


def test_udp_sensors() -> None:
    output = run_whole("udp_sensors")
    came = [
        int(count) for count in re.findall(r"^sensor-\d: (\d+) of 1000 readings came$", output, re.MULTILINE)
    ]
    dropped = re.search(r"^the kernel dropped (\d+)$", output, re.MULTILINE)
    assert dropped is not None, output
    assert len(came) == 5
    assert sum(came) + int(dropped[1]) >= 5_000


def test_sticky_packets() -> None:
    output = run_whole("sticky_packets")
    assert "none: 3 messages sent, 1 received: [b'onetwothree']\n" in output
    split = re.search(r"none: 1 message of 400000 bytes sent, (\d+) received\n", output)
    assert split is not None
    assert int(split[1]) > 1
    for framing in ("line", "u32", "netstring", "delimiter:END", "cobs", "slip"):
        assert f"{framing}: 3 messages sent, 3 received: [b'one', b'two', b'three']\n" in output
    assert "u32: 1 message of 400000 bytes sent, 1 received\n" in output


def test_pass_a_client() -> None:
    lines = run_whole("pass_a_client").splitlines()
    worker = lines[0].removeprefix("the worker is process ")
    assert lines[1:] == [f"hello {name}, process {worker} speaking" for name in ("ada", "bob")]


def test_socket_activation() -> None:
    lines = run_whole("socket_activation").splitlines()
    assert lines[0] == "the manager handed over greeter as descriptor 3"
    assert re.fullmatch(r"serving tcp://127\.0\.0\.1:\d+", lines[1])
    assert lines[2:] == ["hello, world"]


def test_third_party_transport() -> None:
    lines = run_whole("third_party_transport").splitlines()
    assert len(lines) >= 20
    assert all(line.startswith("passed") for line in lines)


def test_half_close() -> None:
    lines = run_whole("half_close").splitlines()
    assert lines[:3] == ["sent everything, and said so", "the sum is 5050", "sending is over: we ended it"]
    assert lines[3].startswith("receiving is over: the peer 127.0.0.1:")


def test_full_queue() -> None:
    output = run_whole("full_queue")
    said = {
        "wait": r"message (\d+) raised PeerStalled; 6\d queued, 0 dropped",
        "reject": r"message (\d+) raised QueueFull; 6\d queued, 0 dropped",
        "drop_oldest": r"every send returned; 6\d queued, (\d+) dropped",
        "drop_newest": r"every send returned; 6\d queued, (\d+) dropped",
        "disconnect": r"message (\d+) raised ChannelLost; 0 queued, (?:[1-9]\d*) dropped",
    }
    arrived = {}
    for policy, what in said.items():
        match = re.search(
            rf"^{policy}: {what}\n    then (\d+) arrived, the last is (\d+)$", output, re.MULTILINE
        )
        assert match is not None, (policy, output)
        arrived[policy] = tuple(map(int, match.groups()))
    for policy in ("wait", "reject"):
        refused, came, last = arrived[policy]
        assert came == refused, "what was accepted arrived"
        assert last == refused - 1
    for policy in ("drop_oldest", "drop_newest"):
        dropped, came, last = arrived[policy]
        assert dropped + came == 1000, "what did not arrive is counted"
        assert (last == 999) == (policy == "drop_oldest")
    assert "wait, with a reader: 1000 of 1000 arrived; the queue stayed below its mark: True\n" in output


def test_peer_credentials() -> None:
    output = run_whole("peer_credentials")
    who = rf"client (\d+) hears: hello, process \1 of \S+ \({os.getuid()}:{os.getgid()}\)\n"
    assert re.match(who, output), output
    assert output.endswith("the socket's file is gone: True\n")


def test_address_in_use() -> None:
    output = run_whole("address_in_use")
    holder = re.match(r"process (\d+) listens on port (\d+), and we try to\n", output)
    assert holder is not None, output
    pid, port = holder.groups()
    assert re.search(rf"cannot bind tcp://127\.0\.0\.1:{port}: .* \(pid {pid}, user ", output), output
    assert f"held by [{pid}]\n" in output
    assert re.search(r"^unix:///\S+ is ours$", output, re.MULTILINE), output
    assert "without SO_REUSEADDR: [Errno 98] Address already in use\nwith it, tcp://127.0.0.1:" in output


def test_connect_failures() -> None:
    said = {
        "ConnectRefused": "nothing on this machine listens there",
        "ConnectTimedOut": "accept queue is full",
        "HostUnreachable": "has no route to 127.255.255.255",
    }
    for line, (kind, why) in zip(run_whole("connect_failures").splitlines(), said.items(), strict=True):
        assert re.match(rf"{kind} after \d+\.\d s: ", line), line
        assert why in line


def test_reconnect() -> None:
    assert run_whole("reconnect").splitlines() == [
        "connection 1",
        *[f"the server heard: message {number}" for number in (1, 2, 3)],
        "reconnecting: 0 messages wait here, 0 are unknown",
        "without a connection: reconnecting",
        "connection 2",
        *[f"the server heard: message {number}" for number in (4, 5)],
        "closed",
    ]


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("hub_in_a_program", ["--help"], "A hub within a program"),
        ("hub_in_a_program", ["tcp://127.0.0.1:TAKEN", "DIRECTORY/hub.sock"], "AddressInUse: "),
        ("hub_in_a_program", ["nonsense", "DIRECTORY/hub.sock"], "InvalidAddress: "),
        ("hub_in_a_program", ["tcp://127.0.0.1:0", "DIRECTORY/file/x"], "ControlError: "),
        ("native_clients", ["--help"], "Native clients of a hub"),
        ("native_clients", ["unix://DIRECTORY/none"], "ConnectRefused: "),
        ("pick_a_client", ["--help"], "A server that keeps its clients"),
        ("pick_a_client", ["tcp://127.0.0.1:TAKEN"], "AddressInUse: "),
        ("pick_a_client", ["nonsense"], "InvalidAddress: "),
    ],
)
def test_what_an_example_cannot_do_is_said_without_a_traceback(
    directory: Path, name: str, arguments: list[str], said: str
) -> None:
    (directory / "file").write_text("")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        words = [each.replace("DIRECTORY", str(directory)).replace("TAKEN", port) for each in arguments]
        command = [sys.executable, "-W", "error", f"examples/{name}.py", *words]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith(said)


def test_pick_a_client_takes_what_is_typed_from_a_file(directory: Path) -> None:
    typed = directory / "typed"
    typed.write_text("list\n1 hello\n")
    with typed.open() as file:
        done = subprocess.run(
            [sys.executable, "-W", "error", "examples/pick_a_client.py"],
            cwd=ROOT, stdin=file, capture_output=True, text=True, timeout=LIMIT,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("there is no client '1': try list, 2 hello, all hello, drop 2, quit\n")
