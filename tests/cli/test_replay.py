"""`jackfield replay`: to a server, as a server, to a client of the hub; the same bytes, and what differs."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from programs import JACKFIELD, HubProcess, Process, Spawn, StartHub, wait_for

from jackfield.recording import Client, Data, Encoder, Left, Opened, Record, read
from jackfield.recording.pcapng import capture

NOW = 1_795_000_000_000_000_000
MS = 1_000_000


def client(ref: int, name: str, protocol: str = "tcp", framing: str = "none") -> Client:
    return Client(NOW, ref, ref, name, protocol, "127.0.0.1", 7000, "127.0.0.1", 40000 + ref, framing)


def write(path: Path, records: list[Record]) -> Path:
    encoder = Encoder(b"mark")
    if path.suffix == ".pcapng":
        path.write_bytes(b"".join(capture(iter([Opened(NOW), *records]))))
    else:
        path.write_bytes(encoder.header() + b"".join(map(encoder.encode, [Opened(NOW), *records])))
    return path


def run(*words: str | Path, timeout: float = 30) -> subprocess.CompletedProcess[str]:
    command = [str(JACKFIELD), "replay", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout)


def exactly(peer: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (piece := peer.recv(count - len(data))):
        data += piece
    return data


TALK: list[Record] = [
    client(1, "dev1"),
    Data(NOW + 1 * MS, 1, "in", b"hello\n"),
    Data(NOW + 2 * MS, 1, "out", b"HELLO\n", "pid:1"),
    Data(NOW + 3 * MS, 1, "in", b"how are you?\n"),
    Data(NOW + 4 * MS, 1, "out", b"HOW ARE "),
    Data(NOW + 5 * MS, 1, "out", b"YOU?\n"),
    Left(NOW + 6 * MS, 1, "gone"),
]


@pytest.fixture
def shouting(spawn: Spawn) -> str:
    """A server that says everything louder; its address."""
    program = (
        "import asyncio, jackfield\n"
        "async def shout(channel):\n"
        "    async for data in channel: await channel.send(data.upper())\n"
        "async def main():\n"
        "    async with jackfield.listen('tcp://127.0.0.1:0') as listener, listener.serving(shout):\n"
        "        print(listener.address, flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "jackfield.run(main)\n"
    )
    server: Process = spawn(JACKFIELD.with_name("python"), "-c", program)
    address: str = server.seen(rb"(tcp://\S+)\n")[1].decode()
    return address


@pytest.mark.parametrize("form", ["jfrec", "pcapng"])
def test_a_server_that_answers_as_it_did(shouting: str, directory: Path, form: str) -> None:
    path = write(directory / f"talk.{form}", TALK)
    done = run(path, "--connect", shouting, "--check", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["messages"], report["bytes"]) == (2, 19)
    assert report["clients"][0]["answered_bytes"] == 19
    assert report["clients"][0]["difference"] is None
    assert (
        "all answers are as recorded (19 bytes)"
        in run(path, "--connect", shouting, "--check", "--speed", "max").stderr
    )


def test_a_server_that_answers_otherwise(shouting: str, directory: Path) -> None:
    records = [*TALK]
    records[5] = Data(NOW + 5 * MS, 1, "out", b"ME?\n")
    done = run(write(directory / "x.jfrec", records), "--connect", shouting, "--check", "--speed", "max")
    assert done.returncode == 10
    *lines, last = done.stderr.splitlines()
    assert last == "jackfield: the answers to dev1 differ: other than was recorded at byte 14"
    assert any(
        line.startswith("  recorded  00000000  48 45 4c 4c 4f 0a 48 4f  57 20 41 52 45 20 4d 45")
        for line in lines
    )
    assert any(
        line.startswith("  answered  00000000  48 45 4c 4c 4f 0a 48 4f  57 20 41 52 45 20 59 4f")
        for line in lines
    )
    silent = [*TALK[:3], Data(NOW + 3 * MS, 1, "out", b"and more")]
    done = run(
        write(directory / "y.jfrec", silent), "--connect", shouting, "--check", "--timeout", "200ms", "--json"
    )
    assert done.returncode == 10
    found = json.loads(done.stdout)["clients"][0]["difference"]
    assert (found["kind"], found["offset"]) == ("less than was recorded", 6)
    assert bytes.fromhex(found["recorded"]).endswith(b"and more")


def test_several_clients_are_several_connections(start_hub: StartHub, directory: Path) -> None:
    """Over TCP, to a Unix socket with lines, and one of them as datagrams."""
    hub = start_hub(
        "tcp://127.0.0.1:0", f"unix://{directory}/u.sock,framing=line", "udp://127.0.0.1:0", "--messages"
    )
    records: list[Record] = []
    for ref in (1, 2, 3):
        records.append(client(ref, f"dev{ref}"))
        records += [Data(NOW + n * MS, ref, "in", b"%d.%02d" % (ref, n)) for n in range(20)]
    path = write(directory / "three.jfrec", records)
    for index, words in ((0, []), (1, ["--framing", "line"]), (2, ["--client", "dev2"])):
        done = run(path, "--connect", hub.listening[index], "--speed", "max", "--timeout", "100ms", *words)
        assert done.returncode == 0, done.stderr
    wait_for(lambda: hub.out.count(b" joined id=") == 7, "seven clients")
    for ref, protocol, count in [(1, "unix", 20), (2, "unix", 20), (3, "unix", 20), (2, "udp", 20)]:
        said = re.compile(rf" message id=\d+ name={protocol}-\d+ bytes=4 data={ref}\.(\d\d)\n".encode())
        wait_for(lambda said=said, count=count: len(said.findall(bytes(hub.out))) == count, "all messages")  # type: ignore[misc]
        assert said.findall(bytes(hub.out)) == [b"%02d" % n for n in range(20)]
    streams = re.findall(rb" message id=\d+ name=(tcp-\d+) bytes=\d+ data=(\S+)\n", bytes(hub.out))
    together = {name: b"".join(data for who, data in streams if who == name) for name, _ in streams}
    assert sorted(together.values()) == [
        b"".join(b"%d.%02d" % (ref, n) for n in range(20)) for ref in (1, 2, 3)
    ]


def test_what_a_hub_recorded_is_said_again_byte_by_byte(
    start_hub: StartHub, directory: Path, spawn: Spawn
) -> None:
    """Record one hub, replay it against a second one that is recorded as well: both hold the same bytes."""
    first, second = start_hub("tcp://127.0.0.1:0"), start_hub("tcp://127.0.0.1:0")
    one, two = directory / "one.jfrec", directory / "two.pcapng"

    def recording(hub: HubProcess, path: Path) -> Process:
        recorder: Process = spawn(JACKFIELD, "record", "-o", path, environment=hub.environment)
        wait_for(lambda: b" recording target=" in hub.out, "the recorder")
        return recorder

    def said(path: Path) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        for record in read(path) if path.stat().st_size else ():
            if isinstance(record, Data):
                found[record.ref] = found.get(record.ref, b"") + record.data
        return found

    recorders = [recording(first, one)]
    words = [os.urandom(100_000), os.urandom(70_001), b"short"]
    for word in words:
        with socket.create_connection(("127.0.0.1", first.port())) as peer:
            peer.sendall(word)
    wait_for(lambda: sorted(said(one).values()) == sorted(words), "everything in the first recording")
    recorders.append(recording(second, two))
    done = run(one, "--connect", second.listening[0], "--speed", "max", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["bytes"] == sum(map(len, words))
    wait_for(lambda: second.out.count(b" left id=") == 3, "the end of all three")
    for recorder in recorders:
        recorder.popen.send_signal(signal.SIGINT)
        assert recorder.wait() == 0, recorder.err
    assert sorted(said(two).values()) == sorted(words)


def test_as_a_server_it_answers_as_was_recorded(spawn: Spawn, directory: Path) -> None:
    path = write(
        directory / "talk.jfrec", [*TALK, client(2, "dev2"), Data(NOW + 9 * MS, 2, "out", b"for the second")]
    )
    server = spawn(JACKFIELD, "replay", path, "--listen", "tcp://127.0.0.1:0", "--check")
    port = int(server.seen(rb"listening on \S+:(\d+)", err=True)[1])
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.settimeout(10)
        peer.sendall(b"hello\n")
        assert exactly(peer, 6) == b"HELLO\n"
        peer.sendall(b"how are ")
        peer.sendall(b"you?\n")
        assert exactly(peer, 13) == b"HOW ARE YOU?\n"
        assert peer.recv(1) == b""
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.settimeout(10)
        assert exactly(peer, 14) == b"for the second"
    assert server.wait() == 0, server.err
    assert b"said 4 messages (33 bytes) over 2 connections" in server.err


def test_to_a_client_of_the_hub(hub: HubProcess, directory: Path) -> None:
    path = write(directory / "talk.jfrec", TALK)
    with socket.create_connection(("127.0.0.1", hub.port())) as peer:
        peer.settimeout(10)
        hub.joined(1)
        done = hub.run("replay", str(path), "--to", "1", "--speed", "max", "--timeout", "100ms")
        assert done.returncode == 0, done.stderr
        assert exactly(peer, 19) == b"HELLO\nHOW ARE YOU?\n"
        done = hub.run("replay", str(path), "--to", "tcp-1", "--side", "client", "--timeout", "100ms")
        assert exactly(peer, 19) == b"hello\nhow are you?\n"
        assert done.returncode == 0, done.stderr
        done = hub.run("replay", str(path), "--to", "nobody")
        assert done.returncode == 4


def test_datagrams_keep_their_boundaries(directory: Path) -> None:
    records: list[Record] = [client(1, "udp-1", "udp")]
    records += [Data(NOW + n * 5 * MS, 1, "in", bytes(n)) for n in (3, 0, 7)]
    path = write(directory / "udp.jfrec", records)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as server:
        server.bind(("::1", 0))
        server.settimeout(10)
        done = run(path, "--connect", f"udp://[::1]:{server.getsockname()[1]}")
        assert done.returncode == 0, done.stderr
        assert [len(server.recv(100)) for _ in range(3)] == [3, 0, 7]


def test_ctrl_c_ends_it(directory: Path, shouting: str, spawn: Spawn) -> None:
    records = [*TALK[:3], Data(NOW + 3_600_000 * MS, 1, "in", b"an hour later")]
    path = write(directory / "long.jfrec", records)
    replaying = spawn(JACKFIELD, "replay", path, "--connect", shouting)
    wait_for(lambda: connected(replaying), "the connection")
    replaying.popen.send_signal(signal.SIGINT)
    assert replaying.wait() == 130
    assert replaying.err == b""


def connected(process: Process) -> bool:
    """Whether a program has an established TCP connection."""
    try:
        inodes = {os.readlink(f"/proc/{process.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{process.pid}/fd")}
    except OSError:
        return False
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(f"socket:[{row[9]}]" in inodes and row[3] == "01" for row in rows)


def test_what_cannot_be_replayed_is_said_in_one_line(directory: Path, free_port: Callable[[], int]) -> None:
    path = write(directory / "talk.jfrec", TALK)
    two = write(directory / "two.jfrec", [*TALK, client(2, "dev2")])
    text = directory / "text"
    text.write_text("this is no recording")
    nobody = f"tcp://127.0.0.1:{free_port()}"
    for words, code, what in (
        ([path], 2, "give one of --connect ADDRESS, --listen ADDRESS, --to CLIENT"),
        ([path, "--connect", nobody, "--to", "1"], 2, "give one of"),
        ([path, "--connect", nobody, "--side", "both"], 2, "unknown side 'both'"),
        ([path, "--connect", nobody, "--speed", "fast"], 2, "write 1, 10, 0.5 or max"),
        ([path, "--connect", nobody, "--client", "nobody"], 1, "no client 'nobody' is in"),
        ([text, "--connect", nobody], 1, "this is no recording"),
        ([directory / "missing", "--connect", nobody], 1, "No such file"),
    ):
        done = run(*words)
        assert (done.returncode, done.stderr.count("\n")) == (code, 1), done
        assert what in done.stderr
    done = run(path, "--connect", nobody, "--speed", "max")
    assert done.returncode == 1
    assert "refused" in done.stderr.splitlines()[-1]
    done = run(two, "--connect", nobody, "--speed", "max")
    assert "2 of 2 connections failed" in done.stderr.splitlines()[-1]


@pytest.fixture
def free_port() -> Iterator[Callable[[], int]]:
    """A port that refuses: bound, and nobody listens."""
    held: list[socket.socket] = []

    def find() -> int:
        held.append(socket.socket())
        held[-1].bind(("127.0.0.1", 0))
        port: int = held[-1].getsockname()[1]
        return port

    yield find
    for each in held:
        each.close()
