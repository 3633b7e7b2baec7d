"""`jackfield recording`, and `--record` of connect and listen.

What people see of a recording, and what it becomes.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from programs import JACKFIELD, Process, Spawn, wait_for

from jackfield.recording import Client, Closed, Data, Encoder, Happened, Left, Lost, Opened, Record, read

NOW = 1_795_000_000_123_456_789
NIGHT: list[Record] = [
    Opened(NOW, "jackfield 0.1", "server", "all"),
    Client(NOW, 1, 7, "dev1", "tcp", "127.0.0.1", 7000, "127.0.0.1", 40122, "line"),
    Client(NOW, 2, 8, "door", "unix", "/run/hub.sock", None, "pid:7", None, since=NOW - 10**10, pid=7, uid=0),
    Data(NOW + 1_000, 1, "in", b"\x1b[2Jhello\n"),
    Data(NOW + 2_000, 1, "out", b"answer", "pid:12"),
    Data(NOW + 3_000, 2, "in", b"x" * 600),
    Lost(NOW + 4_000, 3, 99, "too slow"),
    Happened(NOW + 5_000, "renamed", {"id": 8, "name": "gate"}),
    Left(NOW + 6_000, 1, "the peer ended"),
    Closed(NOW + 7_000, "Ctrl-C", 9, 3),
]
MARKER = b"mark"


def encoded(records: list[Record]) -> bytes:
    encoder = Encoder(MARKER)
    return encoder.header() + b"".join(map(encoder.encode, records))


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [JACKFIELD, "recording", *map(str, words)], capture_output=True, text=True, timeout=30
    )


@pytest.fixture
def night(directory: Path) -> Path:
    path = directory / "night.jfrec"
    path.write_bytes(encoded(NIGHT))
    return path


def test_show_prints_safe_lines(night: Path) -> None:
    shown = run("show", night)
    assert shown.returncode == 0
    assert shown.stdout.splitlines() == [
        "2026-11-18 11:06:40.123456 -- recorded by jackfield 0.1: all",
        "2026-11-18 11:06:40.123456 dev1 -- tcp 127.0.0.1:40122 at 127.0.0.1:7000, framing line",
        "2026-11-18 11:06:40.123456 door -- unix pid:7 at /run/hub.sock, since 2026-11-18 11:06:30.123456",
        r"2026-11-18 11:06:40.123457 dev1 < \e[2Jhello\n",
        "2026-11-18 11:06:40.123458 dev1 > answer (by pid:12)",
        f"2026-11-18 11:06:40.123459 door < {'x' * 500} ... 100 bytes more: see --full",
        "2026-11-18 11:06:40.123460 -- 3 records (99 bytes) missing here: too slow",
        "2026-11-18 11:06:40.123461 -- renamed id=8 name=gate",
        "2026-11-18 11:06:40.123462 dev1 -- left: the peer ended",
        "2026-11-18 11:06:40.123463 -- the end: Ctrl-C",
    ]
    assert "x" * 600 + "\n" in run("show", night, "--full").stdout


def test_show_of_one_client_in_hex_and_as_json(night: Path) -> None:
    shown = run("show", night, "--client", "dev*", "--hex").stdout
    assert "door" not in shown
    assert "  00000000  1b 5b 32 4a 68 65 6c 6c  6f 0a                    |.[2Jhello.|\n" in shown
    rows = [json.loads(line) for line in run("show", night, "--json").stdout.splitlines()]
    assert [row["record"] for row in rows] == [type(record).__name__.lower() for record in NIGHT]
    told = {"ref": 1, "direction": "out", "data": "YW5zd2Vy", "by": "pid:12", "more": False}
    assert rows[4] == {"record": "data", "time": NOW + 2_000, **told}


def test_show_follows_a_file_that_grows(night: Path, spawn: Spawn) -> None:
    whole = night.read_bytes()
    night.write_bytes(whole[:-150])
    follower = spawn(JACKFIELD, "recording", "show", "-f", night)
    follower.seen(rb"door < xxx")
    with night.open("ab") as file:
        file.write(whole[-150:])
    follower.seen(rb"-- the end: Ctrl-C\n")
    follower.popen.send_signal(signal.SIGINT)
    assert follower.wait() == 130
    assert b"damaged" not in follower.out


def test_info_says_what_is_in_it_and_whether_it_is_whole(night: Path, directory: Path) -> None:
    shown = run("info", night)
    assert shown.returncode == 1
    assert "MISSING: 3 records (99 bytes)" in shown.stdout
    assert "ended: Ctrl-C" in shown.stdout
    facts = json.loads(run("info", night, "--json").stdout)
    assert (facts["records"], facts["lost"], facts["damaged_bytes"], facts["closed"]) == (10, 3, 0, "Ctrl-C")
    assert [(who["name"], who["bytes_in"], who["bytes_out"], who["left"]) for who in facts["clients"]] == [
        ("dev1", 10, 6, "the peer ended"),
        ("door", 600, 0, None),
    ]
    damaged = bytearray(encoded([*NIGHT[:6], *NIGHT[7:]]))
    whole = directory / "whole.jfrec"
    whole.write_bytes(damaged)
    assert run("info", whole).returncode == 0
    damaged[400] ^= 1
    whole.write_bytes(damaged[:-9])
    shown = run("info", whole)
    assert shown.returncode == 1
    assert "DAMAGED: " in shown.stdout
    assert "are no whole record" in shown.stdout


def test_convert_to_a_capture_and_back(
    night: Path, directory: Path, peer_program: Callable[[str], str]
) -> None:
    capture, back = directory / "night.pcapng", directory / "back.jfrec"
    assert run("convert", night, capture).returncode == 0
    assert run("convert", capture, back).returncode == 0
    kept = [record for record in NIGHT if isinstance(record, Client | Data | Left)]
    assert [record for record in read(back) if isinstance(record, Client | Data | Left)] == kept
    command = [peer_program("tshark"), "-n", "-r", str(capture), "-T", "fields", "-e", "tcp.payload"]
    done = subprocess.run([*command, "-Y", "tcp.len > 0"], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == [record.data.hex() for record in NIGHT if isinstance(record, Data)]
    assert run("info", capture).returncode == 1
    assert "answer (by pid:12)" in run("show", capture).stdout


def test_convert_of_one_client(night: Path, directory: Path) -> None:
    out = directory / "door.jfrec"
    done = run("convert", night, out, "--client", "door", "--json")
    assert json.loads(done.stdout) == {
        "file": str(out), "records": len(list(read(out))), "clients": 1, "damaged": 0,
    }  # fmt: skip
    assert {record.name for record in read(out) if isinstance(record, Client)} == {"door"}
    assert [record.data for record in read(out) if isinstance(record, Data)] == [b"x" * 600]


def test_what_cannot_be_done_is_said_in_one_line(night: Path, directory: Path) -> None:
    text = directory / "text"
    text.write_text("this is no recording\n")
    for words, what in (
        (["show", text], "this is no recording"),
        (["info", directory], "is a directory"),
        (["show", directory / "missing"], "No such file"),
        (["convert", night, night], "is the file that is read"),
        (["convert", night, text], "is there already"),
        (["convert", night, directory / "x.jfrec", "--client", "nobody"], "no client 'nobody'"),
        (["convert", text, directory / "y.jfrec"], "this is no recording"),
    ):
        done = run(*words)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done
        assert what in done.stderr
    assert not (directory / "y.jfrec").exists()
    assert night.read_bytes() == encoded(NIGHT)


# -------------------------------------------------------------------- netcat's job, recorded


def test_connect_and_listen_record_both_directions(spawn: Spawn, directory: Path) -> None:
    ours, theirs = directory / "client.jfrec", directory / "server.pcapng"
    server = spawn(JACKFIELD, "listen", "tcp://127.0.0.1:0", "--record", str(theirs))
    address = server.seen(rb"listening on (\S+)", err=True)[1].decode()
    client = spawn(JACKFIELD, "connect", address, "--record", str(ours))
    data = os.urandom(100_000)
    client.write(data)
    wait_for(lambda: bytes(server.out) == data, "the words of the client")
    server.write(b"an answer")
    client.seen(b"an answer")
    client.end_input()
    server.end_input()
    assert (client.wait(), server.wait()) == (0, 0), (client.err, server.err)
    for path, role, sent in ((ours, "client", "out"), (theirs, "server", "in")):
        records = list(read(path))
        assert isinstance(records[0], Opened)
        assert records[0].role == role
        words = {
            way: b"".join(each.data for each in records if isinstance(each, Data) and each.direction == way)
            for way in ("in", "out")
        }
        assert words == {sent: data, "in" if sent == "out" else "out": b"an answer"}
        assert any(isinstance(record, Left) for record in records)
        facts = next(record for record in records if isinstance(record, Client))
        assert (facts.protocol, facts.local_address) == ("tcp", "127.0.0.1")


def test_listen_for_many_records_each(spawn: Spawn, directory: Path) -> None:
    path = directory / "many.jfrec"
    server: Process = spawn(
        JACKFIELD, "listen", "-k", "tcp://127.0.0.1:0,framing=line", "--record", str(path)
    )
    port = int(server.seen(rb"listening on \S+:(\d+)", err=True)[1])
    for word in (b"one\n", b"two\n"):
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(word)
            server.seen(word)
    wait_for(lambda: sum(isinstance(record, Left) for record in read(path)) == 2, "both ends in the file")
    server.popen.send_signal(signal.SIGINT)
    assert server.wait() == 130
    said = [(record.ref, record.data) for record in read(path) if isinstance(record, Data)]
    assert said == [(1, b"one"), (2, b"two")]
    assert isinstance(list(read(path))[-1], Closed)


def test_a_file_that_is_there_is_not_recorded_over(directory: Path) -> None:
    path = directory / "there.jfrec"
    path.write_bytes(b"of value")
    done = subprocess.run(
        [JACKFIELD, "listen", "tcp://127.0.0.1:0", "--record", str(path)], capture_output=True, timeout=30
    )
    assert done.returncode == 1
    assert b"is there already" in done.stderr
    assert path.read_bytes() == b"of value"
