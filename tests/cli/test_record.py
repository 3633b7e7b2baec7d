"""`jackfield record`: what is in the file, also when the recorder is killed, stopped, limited or piped."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from programs import JACKFIELD, HubProcess, Process, Spawn, StartHub, wait_for

from jackfield.recording import Client, Closed, Damaged, Data, Left, Lost, Opened, Record, read


def connect(hub: HubProcess, index: int = 0) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", hub.port(index)))
    client.settimeout(10)
    return client


@pytest.fixture
def recording(hub: HubProcess, spawn: Spawn, directory: Path) -> Callable[..., Process]:
    """``recording(words...)``: a recorder that records already."""

    def start(*words: str, to: HubProcess = hub) -> Process:
        before = to.out.count(b" recording target=")
        process: Process = spawn(JACKFIELD, "record", *words, environment=to.environment)
        wait_for(lambda: to.out.count(b" recording target=") > before, "the recorder")
        return process

    return start


def records_in(path: Path) -> list[Record]:
    return list(read(path)) if path.exists() and path.stat().st_size else []


def said(path: Path, direction: str = "in") -> bytes:
    return b"".join(
        each.data for each in records_in(path) if isinstance(each, Data) and each.direction == direction
    )


def test_both_directions_until_ctrl_c(
    hub: HubProcess, recording: Callable[..., Process], directory: Path
) -> None:
    path = directory / "all.jfrec"
    recorder = recording("-o", str(path), "--json")
    with connect(hub) as client:
        client.sendall(b"hello\n")
        wait_for(lambda: said(path) == b"hello\n", "the words in the file")
        hub.do("send", "all", "an answer")
        assert client.recv(100) == b"an answer\n"
        wait_for(lambda: said(path, "out") == b"an answer\n", "the answer in the file")
        port = client.getsockname()[1]
    wait_for(lambda: isinstance(records_in(path)[-1], Left), "the end of the client")
    recorder.popen.send_signal(signal.SIGINT)
    assert recorder.wait() == 0, recorder.err
    records = records_in(path)
    assert [type(record) for record in records] == [Opened, Client, Data, Data, Left, Closed]
    who, told = records[1], records[3]
    assert isinstance(who, Client)
    assert isinstance(told, Data)
    assert (who.name, who.protocol, who.local_address, who.local_port) == (
        "tcp-1",
        "tcp",
        "127.0.0.1",
        hub.port(),
    )
    assert (who.remote_address, who.remote_port) == ("127.0.0.1", port)
    assert told.by.startswith("pid:")
    report = json.loads(bytes(recorder.out))
    assert {**report, "seconds": 0} == {
        "bytes": 16, "clients": 1, "records": 6, "lost": 0, "seconds": 0, "size": path.stat().st_size,
        "file": str(path), "reason": "Ctrl-C", "complete": True,
    }  # fmt: skip
    assert b" recorded target=all records=6 lost=0" in hub.out


def test_wireshark_reads_what_passed_through_the_hub(
    start_hub: StartHub,
    recording: Callable[..., Process],
    directory: Path,
    peer_program: Callable[[str], str],
) -> None:
    """TCP by IPv4 and IPv6, UDP and Unix at once, 64 KiB each way."""
    tshark = peer_program("tshark")
    hub = start_hub("tcp://127.0.0.1:0", "tcp://[::1]:0", "udp://127.0.0.1:0", f"unix://{directory}/u.sock")
    path, own = directory / "all.pcapng", directory / "all.jfrec"
    recorders = [recording("-o", str(each), to=hub) for each in (path, own)]
    data = os.urandom(64 * 1024)
    clients = [
        socket.create_connection(("127.0.0.1", hub.port(0))),
        socket.create_connection(("::1", hub.port(1))),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        socket.socket(socket.AF_UNIX),
    ]
    clients[2].connect(("127.0.0.1", hub.port(2)))
    clients[3].connect(f"{directory}/u.sock")
    pieces = [data, data[::-1], data[:5000], data[:40_000]]
    for client, piece in zip(clients, pieces, strict=True):
        client.settimeout(10)
        client.sendall(piece)
    total = sum(map(len, pieces))
    wait_for(lambda: sum(client["bytes_in"] for client in hub.clients()) == total, "everyone's words")
    (directory / "answer").write_bytes(data[:60_000])
    hub.do("send", "all", "--file", str(directory / "answer"))
    wait_for(lambda: len(said(own)) == total and len(said(own, "out")) == 4 * 60_000, "all of it in the file")
    for recorder in recorders:
        recorder.popen.send_signal(signal.SIGINT)
        assert recorder.wait() == 0, recorder.err
    for client in clients:
        client.close()
    fields = [
        "frame.time_epoch",
        "tcp.payload",
        "udp.payload",
        "frame.packet_flags_direction",
        "tcp.analysis.flags",
    ]
    shown = [word for field in (*fields, "tcp.stream") for word in ("-e", field)]
    command = [tshark, "-n", "-r", str(path), "-T", "fields", "-E", "separator=|", *shown]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    rows = [line.split("|") for line in done.stdout.splitlines()]
    streams: dict[str, tuple[bytearray, bytearray]] = {}
    for row in rows:
        assert row[4] == ""
        out = row[3] == "0x00000002"
        streams.setdefault(row[5] or "udp", (bytearray(), bytearray()))[out].extend(
            bytes.fromhex(row[1] or row[2])
        )
    assert sorted(bytes(heard) for heard, _ in streams.values()) == sorted(pieces)
    assert {bytes(told) for _, told in streams.values()} == {data[:60_000]}
    times = [float(row[0]) for row in rows if row[1] or row[2]]
    assert times == sorted(times)


def test_a_killed_recorder_leaves_what_it_had(
    hub: HubProcess, recording: Callable[..., Process], directory: Path
) -> None:
    path = directory / "killed.jfrec"
    recorder = recording("-o", str(path))
    with connect(hub) as client:
        client.sendall(b"before the end")
        wait_for(lambda: said(path) == b"before the end", "the words in the file")
        recorder.popen.send_signal(signal.SIGKILL)
        recorder.wait()
        records = records_in(path)
        assert not any(isinstance(record, Damaged | Closed) for record in records)
        client.sendall(b"the hub goes on")
        wait_for(lambda: hub.clients()[0]["bytes_in"] == 29, "words after it")
    wait_for(lambda: b" recorded target=all" in hub.out, "the hub's notice")


def test_a_stopped_recorder_costs_records_that_are_counted(
    hub: HubProcess, recording: Callable[..., Process], directory: Path
) -> None:
    path = directory / "slow.jfrec"
    recorder = recording("-o", str(path))
    recorder.popen.send_signal(signal.SIGSTOP)
    piece, count = os.urandom(64 * 1024), 320  # 20 MiB: more than waits for an operator
    with connect(hub) as client:
        for _ in range(count):
            client.sendall(piece)
        wait_for(lambda: hub.clients()[0]["bytes_in"] == count * len(piece), "all of it at the hub")
        recorder.popen.send_signal(signal.SIGCONT)
        wait_for(lambda: any(isinstance(record, Data) for record in records_in(path)), "the beginning")
        sent = 0

        def heard_again() -> bool:
            nonlocal sent
            client.sendall(b"the last words")  # some are lost as well, until half of what waited is written
            sent += 1
            return said(path).endswith(b"the last words")

        wait_for(heard_again, "the end")
    recorder.popen.send_signal(signal.SIGINT)
    assert recorder.wait() == 1
    assert b" missing: writing was too slow" in recorder.err
    records = records_in(path)
    lost = [record for record in records if isinstance(record, Lost)]
    assert lost
    assert len(said(path)) + sum(record.bytes for record in lost) == count * len(piece) + sent * 14
    assert (piece * count).startswith(said(path).partition(b"the last words")[0])


def test_limits_of_time_and_size(
    start_hub: StartHub, recording: Callable[..., Process], directory: Path
) -> None:
    hub = start_hub("tcp://127.0.0.1:0,framing=line")
    timed = recording("-o", str(directory / "timed.jfrec"), "--for", "300ms", "--json", to=hub)
    assert timed.wait() == 0
    assert json.loads(bytes(timed.out))["reason"] == "the time of --for is over"
    small = recording("-o", str(directory / "small.jfrec"), "--size", "64K", "--json", to=hub)
    capture = recording("-o", str(directory / "small.pcapng"), "--size", "64K", "--json", to=hub)
    with connect(hub) as client:
        while small.popen.poll() is None or capture.popen.poll() is None:
            client.sendall(b"x" * 3000 + b"\n")
    for process, name in ((small, "small.jfrec"), (capture, "small.pcapng")):
        assert process.wait() == 0
        report = json.loads(bytes(process.out))
        assert report["reason"] == "the limit of --size is reached"
        path = directory / name
        assert 40_000 < path.stat().st_size == report["size"] <= 64 * 1024
        assert not any(isinstance(record, Damaged) for record in read(path))
    assert isinstance(records_in(directory / "small.jfrec")[-1], Closed)


def test_what_cannot_be_recorded_is_said_in_one_line(hub: HubProcess, directory: Path) -> None:
    there = directory / "there.jfrec"
    there.write_bytes(b"of value")
    for words, code, what in (
        (["-o", str(there)], 1, "is there already; choose another name, or --force"),
        (["-o", str(directory / "no" / "such.jfrec")], 1, "No such file or directory"),
        (["--format", "wav"], 2, "unknown format 'wav'; known are jfrec and pcapng"),
        (["--size", "1K"], 2, "at least 4K is needed"),
        (["--for", "5"], 2, "5s"),
        ([",", "-o", str(directory / "x")], 2, "TARGET"),
    ):
        done = hub.run("record", *words)
        assert (done.returncode, done.stderr.count(b"\n")) == (code, 1), done
        assert what.encode() in done.stderr
    assert there.read_bytes() == b"of value"
    assert not (directory / "x").exists() or (directory / "x").stat().st_size == 0


def test_to_a_pipe_and_over_a_file_by_force(
    hub: HubProcess, recording: Callable[..., Process], directory: Path
) -> None:
    path = directory / "x.jfrec"
    path.write_bytes(b"old")
    piped = recording("-o", "-")
    forced = recording("-o", str(path), "--force")
    with connect(hub) as client:
        client.sendall(b"hello")
        piped.seen(b"hello")
        wait_for(lambda: said(path) == b"hello", "the words in the file")
    for process in (piped, forced):
        process.popen.send_signal(signal.SIGTERM)
        assert process.wait() == 0, process.err
    copy = directory / "copy.jfrec"
    copy.write_bytes(bytes(piped.out))
    assert said(copy) == b"hello"
    assert isinstance(records_in(copy)[-1], Closed)


def test_the_end_of_the_hub_ends_the_recording(
    start_hub: StartHub, recording: Callable[..., Process], directory: Path
) -> None:
    hub = start_hub("tcp://127.0.0.1:0")
    stopped, killed = directory / "stopped.jfrec", directory / "killed.jfrec"
    recorder = recording("-o", str(stopped), to=hub)
    hub.terminate()
    assert recorder.wait() == 0
    end = records_in(stopped)[-1]
    assert isinstance(end, Closed)
    assert end.reason == "the hub ended"
    hub = start_hub("tcp://127.0.0.1:0")
    recorder = recording("-o", str(killed), to=hub)
    wait_for(lambda: records_in(killed), "the beginning")
    hub.popen.kill()
    assert recorder.wait() == 1
    assert b"the recording ended early: the hub ended the connection" in recorder.err
    end = records_in(killed)[-1]
    assert isinstance(end, Closed)
