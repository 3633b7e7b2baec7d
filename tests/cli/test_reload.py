"""`jackfield reload`: no connect is refused, kept connections lose nothing, a failure harms nobody."""

from __future__ import annotations

import hashlib
import json
import os
import re
import selectors
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from programs import JACKFIELD, HubProcess, StartHub, wait_for
from terminals import Terminal

pytestmark = pytest.mark.timeout(180)

RELOADS = 3


def reload(hub: HubProcess) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(hub.do("reload", "--json"))
    return found


def connect(hub: HubProcess, index: int = 0) -> socket.socket:
    return socket.create_connection(("127.0.0.1", hub.port(index)), timeout=15)


def slow_reader(hub: HubProcess, index: int = 0) -> socket.socket:
    """A client whose kernel takes little while it does not read."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    client.settimeout(15)
    client.connect(("127.0.0.1", hub.port(index)))
    return client


def exactly(client: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        part = client.recv(count - len(data))
        assert part, f"the end after {len(data)} of {count} bytes"
        data += part
    return bytes(data)


@contextmanager
def in_thread(work: Any) -> Iterator[None]:
    """Run `work` beside the block; what it raises is raised at the end."""
    problems: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as problem:
            problems.append(problem)

    thread = threading.Thread(target=guarded)
    thread.start()
    try:
        yield
    finally:
        thread.join(60)
    assert not thread.is_alive()
    if problems:
        raise problems[0]


def test_no_connect_is_refused(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0")
    tries = 1000
    reloaded = threading.Event()
    made = 0

    def storm() -> None:
        nonlocal made
        while made < tries or not reloaded.is_set():
            with connect(hub) as client:  # raises for one that is refused
                client.sendall(b"here\n")
            made += 1

    with in_thread(storm):
        try:
            for _ in range(RELOADS):
                assert hub.popen.poll() is None
                reload(hub)
        finally:
            reloaded.set()
    assert made >= tries
    # None of them was lost in a queue either.
    wait_for(lambda: json.loads(hub.do("status", "--json"))["joined"] == made, f"{made} clients")


class Peer:
    """A client that says numbered messages, each with the hash of all before, until it is told to stop."""

    def __init__(self, hub: HubProcess, *, framed: bool) -> None:
        self.framed = framed
        self.socket = connect(hub, 1 if framed else 0)
        self.socket.setblocking(False)
        self.chain = hashlib.sha256()
        self.said = 0
        self.out = b""
        self.heard = bytearray()

    def next(self) -> bytes:
        text = f"m{self.said:05}:{self.chain.hexdigest()[:8]}\n".encode()
        self.chain.update(text)
        self.said += 1
        return struct.pack(">I", len(text)) + text if self.framed else text


def test_kept_connections_lose_nothing(start_hub: StartHub, directory: Path) -> None:
    hub = start_hub(
        "tcp://127.0.0.1:0",
        "tcp://127.0.0.1:0,framing=u32",
        "--messages",
        "--queue",
        "8M",
        "--max-message",
        "8M",
    )
    # Each is told apart by its address; an even one speaks without framing.
    peers = [Peer(hub, framed=bool(number % 2)) for number in range(50)]
    hub.joined(50)
    slow = [slow_reader(hub, number % 2) for number in range(4)]
    hub.joined(54)
    half = connect(hub, 1)
    half.sendall(struct.pack(">I", 11) + b"first")
    hub.joined(55)
    wait_for(lambda: hub.clients("55")[0]["bytes_in"] == 9, "half a frame")
    # More than the kernel takes waits for who does not read.
    large = os.urandom(4_000_000)
    (directory / "large").write_bytes(large)
    hub.do("send", "51,52,53,54", "--file", str(directory / "large"))
    assert all(client["queued"] > 0 for client in hub.clients("51,52,53,54"))
    stop, paused = threading.Event(), threading.Event()

    def talk() -> None:
        with selectors.DefaultSelector() as selector:
            for peer in peers:
                selector.register(peer.socket, selectors.EVENT_READ, peer)
            while not (stop.is_set() and not any(peer.out for peer in peers)):
                for key, _ in selector.select(0.05):
                    key.data.heard += key.data.socket.recv(65536)
                for peer in peers:
                    if not peer.out and not stop.is_set() and not paused.is_set():
                        peer.out = peer.next()
                    # A few bytes at a time: frames are cut wherever a reload finds them.
                    sent = peer.socket.send(peer.out[:5]) if peer.out else 0
                    peer.out = peer.out[sent:]

    told = []
    with in_thread(talk):
        try:
            for number in range(RELOADS):
                kept = reload(hub)
                assert kept["kept"] == 55, kept
                assert kept["not_kept"] == []
                text = f"word {number}"
                hub.do("send", ",".join(str(each + 1) for each in range(50)), text)
                told.append(text)
        finally:
            stop.set()
    half.sendall(b"second")
    half.shutdown(socket.SHUT_WR)
    wait_for(lambda: b"data=firstsecond" in hub.out, "the frame in two halves")
    total = sum(peer.said for peer in peers)
    assert total > 200
    ids = {client["peer"]: client["id"] for client in hub.clients()}
    assert b"lines were dropped" not in hub.out
    for peer in peers:
        number = ids["{}:{}".format(*peer.socket.getsockname())]
        sent = b"".join(_lines(peer))
        wait_for(lambda n=number, s=sent: _logged(hub, n) >= len(s), f"client {number}", deadline=60)
        _compare(hub, number, sent)
        plain = b"".join(_framed(text, peer) for text in told)
        peer.socket.setblocking(True)
        peer.socket.settimeout(15)
        missing = len(plain) - len(peer.heard)
        assert bytes(peer.heard) + exactly(peer.socket, max(0, missing)) == plain
    for number, client in enumerate(slow):
        head = struct.pack(">I", len(large)) if number % 2 else b""
        assert exactly(client, len(head) + len(large)) == head + large
    for each in (*slow, half, *(peer.socket for peer in peers)):
        each.close()


def _framed(text: str, peer: Peer) -> bytes:
    return struct.pack(">I", len(text)) + text.encode() if peer.framed else f"{text}\n".encode()


def _lines(peer: Peer) -> Iterator[bytes]:
    chain = hashlib.sha256()
    for number in range(peer.said):
        text = f"m{number:05}:{chain.hexdigest()[:8]}\n".encode()
        chain.update(text)
        yield text


def _messages(hub: HubProcess, client: int) -> list[tuple[int, bytes]]:
    """What the hub has logged of a client: how long each piece was, and its beginning, which is all of it or
    the first hundred bytes and more."""
    pattern = rb' message id=%d name=\S+ bytes=(\d+) data="?([^"\n]*)"?\n' % client
    found = re.findall(pattern, bytes(hub.out))
    shown = [(int(size), re.sub(rb"\.\.\. \(\d+ bytes\)$", b"", data)) for size, data in found]
    return [(size, data.replace(rb"\\n", b"\n").replace(rb"\n", b"\n")) for size, data in shown]


def _logged(hub: HubProcess, client: int) -> int:
    return sum(size for size, _ in _messages(hub, client))


def _compare(hub: HubProcess, client: int, sent: bytes) -> None:
    """Every byte was received once and in its place."""
    at = 0
    for size, beginning in _messages(hub, client):
        # A preview may end in the middle of an escape.
        told = beginning.rstrip(b"\\")
        assert sent[at : at + size].startswith(told), (client, at, sent[at : at + size], beginning)
        assert len(told) >= min(size, 100)
        at += size
    assert at == len(sent)


def test_names_peers_and_numbers_stay(start_hub: StartHub, directory: Path) -> None:
    hub = start_hub("udp://127.0.0.1:0", f"unix://{directory}/u.sock", f"unix+seqpacket://{directory}/s.sock")
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_UNIX) as unix,
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as packets,
    ):
        for number, (client, address) in enumerate(
            [
                (udp, ("127.0.0.1", hub.port())),
                (unix, f"{directory}/u.sock"),
                (packets, f"{directory}/s.sock"),
            ]
        ):
            client.settimeout(15)
            client.connect(address)
            client.send(b"here")
            hub.joined(number + 1)
        hub.do("rename", "1", "meter")
        hub.do("rename", "3", "plc")
        before = hub.clients()
        gone = subprocess.Popen([JACKFIELD, "logs", "-f"], stdout=subprocess.PIPE, env=hub.environment)
        assert gone.stdout is not None
        assert b"ready" in gone.stdout.readline()
        first = reload(hub)
        assert first["predecessor"] == hub.pid
        # Whoever follows the log goes on with the successor.
        while b"predecessor=" not in (line := gone.stdout.readline()):
            assert line
        gone.terminate()
        gone.communicate(timeout=15)
        after = hub.clients()
        facts = ("id", "name", "peer", "protocol", "since", "bytes_in")
        assert [[each[fact] for fact in facts] for each in after] == [
            [each[fact] for fact in facts] for each in before
        ]
        for client in (udp, unix, packets):
            client.send(b"again")
        wait_for(lambda: all(each["bytes_in"] == 9 for each in hub.clients()), "what they say")
        for target, client in (("meter", udp), ("2", unix), ("plc", packets)):
            hub.do("send", target, "--hex", "6869")
            assert client.recv(64) == b"hi"
        # A number is never given twice.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.sendto(b"new", ("127.0.0.1", hub.port()))
            wait_for(lambda: [each["id"] for each in hub.clients()] == [1, 2, 3, 4], "the newcomer")
    # The first process stays, passes signals on, and ends as the last one does.
    assert hub.terminate() == 0
    assert not (directory / "u.sock").exists()
    assert not hub.control.exists()


_SABOTAGE = """
import os, sys, time
if os.environ.get("JACKFIELD_HANDOVER"):
    how = open(os.environ["SABOTAGE"]).read()
    if how == "hang":
        time.sleep(600)
    elif how == "exit":
        os._exit(3)
    elif how == "late":
        from jackfield.hub import successor
        def boom(self):
            raise RuntimeError("boom at the last moment")
        successor.Succession.serving = boom
    elif how == "killed":
        from jackfield.hub import successor
        successor.Succession.serving = lambda self: os.kill(os.getpid(), 9)
"""


def test_a_successor_that_fails_harms_nobody(
    start_hub: StartHub, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (directory / "site").mkdir()
    (directory / "site" / "sitecustomize.py").write_text(_SABOTAGE)
    monkeypatch.setenv("PYTHONPATH", str(directory / "site"))
    monkeypatch.setenv("SABOTAGE", str(directory / "how"))
    unix = directory / "u.sock"
    hub = start_hub("tcp://127.0.0.1:0", "udp://127.0.0.1:0", f"unix://{unix}", "--queue", "8M")
    with connect(hub) as client, slow_reader(hub) as slow, socket.socket(type=socket.SOCK_DGRAM) as udp:
        hub.joined(2)
        udp.settimeout(15)
        udp.connect(("127.0.0.1", hub.port(1)))
        udp.send(b"here")
        hub.joined(3)
        hub.do("rename", "1", "first")
        large = os.urandom(4_000_000)
        (directory / "large").write_bytes(large)
        hub.do("send", "2", "--file", str(directory / "large"))
        before = hub.clients()
        assert before[1]["queued"] > 0
        heard = 0
        for how, said in (
            ("exit", "ended with exit code 3"),
            ("late", "boom at the last moment"),
            ("killed", "was killed by SIGKILL"),
            ("hang", "not ready within 2 s"),
        ):
            (directory / "how").write_text(how)
            failed = hub.run("reload", "--timeout", "2s" if how == "hang" else "30s")
            assert failed.returncode == 1
            assert said in failed.stderr.decode()
            assert b"goes on as before" in failed.stderr
            client.sendall(b"still there")
            heard += 11
            wait_for(lambda n=heard: hub.clients("first")[0]["bytes_in"] == n, "what it says")
        after = hub.clients()
        for fact in ("id", "name", "peer", "since"):
            assert [each[fact] for each in after] == [each[fact] for each in before]
        hub.do("send", "first,3", "--hex", "6869")
        assert exactly(client, 2) == b"hi"
        assert udp.recv(16) == b"hi"
        assert exactly(slow, len(large)) == large
        with socket.socket(socket.AF_UNIX) as other:
            other.connect(str(unix))
            hub.joined(4)
        # And the next one succeeds.
        (directory / "how").write_text("well")
        assert reload(hub)["kept"] >= 3
        hub.do("send", "first", "--hex", "6869")
        assert exactly(client, 2) == b"hi"


def test_a_hangup_reloads_a_service(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0")
    with connect(hub) as client:
        hub.joined(1)
        hub.popen.send_signal(signal.SIGHUP)
        hub.seen(rb"ready pid=\d+ .* predecessor=\d+ kept=1")
        hub.do("send", "1", "--hex", "6869")
        assert exactly(client, 2) == b"hi"
        # The first process passes it on.
        hub.popen.send_signal(signal.SIGHUP)
        hub.seen(rb"(?s)kept=1.*kept=1")
        hub.do("send", "1", "--hex", "6869")
        assert exactly(client, 2) == b"hi"
    assert hub.terminate() == 0


def test_a_hangup_ends_a_hub_whose_terminal_goes(directory: Path) -> None:
    environment = {**os.environ, "JACKFIELD_CONTROL": str(directory / "hub.sock")}
    terminal = Terminal(str(JACKFIELD), "serve", "--plain", "tcp://127.0.0.1:0", environment=environment)
    try:
        terminal.seen(b" ready pid=")
        os.kill(terminal.pid, signal.SIGHUP)
        terminal.seen(b" stopping reason=SIGHUP")
        assert terminal.wait() == 0
    finally:
        terminal.end()


def test_an_operator_who_talks_is_told(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0")
    with connect(hub):
        hub.joined(1)
        talking = subprocess.Popen(
            [JACKFIELD, "talk", "1", "--wait", "1h"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=hub.environment,
        )
        hub.seen(rb" attached id=1")
        reload(hub)
        _, err = talking.communicate(timeout=20)
        assert talking.returncode == 1
        assert b"the hub was reloaded" in err
