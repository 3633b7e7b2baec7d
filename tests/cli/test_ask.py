"""`send --expect`: the hub listens, sends, and tells what one client answers; and sends again and again."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from devices import byte_by_byte, devices, hangs_up, hostile, silent, version
from programs import JACKFIELD, HubProcess, Spawn, StartHub, wait_for


def connect(hub: HubProcess, index: int = 0) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", hub.port(index)))
    client.settimeout(10)
    return client


@contextmanager
def answering(client: socket.socket, *answers: bytes) -> Iterator[list[bytes]]:
    """Answers whatever comes, one answer for each receive; gives what came."""
    came: list[bytes] = []

    def work() -> None:
        for answer in answers:
            came.append(client.recv(65536))
            client.sendall(answer)

    thread = threading.Thread(target=work)
    thread.start()
    yield came
    thread.join(20)
    assert not thread.is_alive()


@pytest.mark.parametrize("behaviour", [version, byte_by_byte])
def test_an_answer_is_printed_however_it_comes(hub: HubProcess, behaviour: object) -> None:
    with devices(hub.port(), [behaviour]):  # type: ignore[list-item]
        hub.joined(1)
        assert hub.do("send", "1", "version?", "--expect", "version") == b"version 1.4.2\n"
        assert hub.do("send", "1", "version?", "--expect", r"version (\S+)\.(\d)") == b"1.4\t2\n"
        found = json.loads(hub.do("send", "1", "version?", "--expect", r"(\d+)", "--json"))
        assert found["results"][0].items() >= {"id": 1, "outcome": "answered", "groups": ["1"]}.items()
        assert found["results"][0]["answer"] == "version 1.4.2\r\n"
        assert 0 <= found["fastest"] < 10


def test_what_was_said_before_does_not_count(hub: HubProcess) -> None:
    with connect(hub) as client:
        client.sendall(b"OK too early\n")
        wait_for(lambda: [c["bytes_in"] for c in hub.clients()] == [13], "the early words")
        done = hub.run("send", "1", "AT", "--expect", "OK", "--timeout", "200ms")
        assert (done.returncode, done.stdout) == (7, b"")
        assert b"tcp-1 did not answer within 200ms; give it longer with --timeout" in done.stderr
        assert client.recv(100) == b"AT\n"
        with answering(client, b"ERROR\n"):
            done = hub.run("send", "1", "AT", "--expect", "OK", "--timeout", "300ms")
        assert done.returncode == 7
        assert b"tcp-1 said something else within 300ms: ERROR\n" in done.stderr


def test_one_that_leaves_and_one_that_is_not_there(hub: HubProcess) -> None:
    with devices(hub.port(), [hangs_up]):
        hub.joined(1)
        done = hub.run("send", "1", "version?", "--expect", ".", "--timeout", "20s")
        assert done.returncode == 8
        assert b"tcp-1 left before it answered" in done.stderr
        assert hub.run("send", "1", "version?", "--expect", ".").returncode == 4


def test_a_full_queue_is_told_at_once(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0,send_buffer=64K", "--queue", "64K")
    with connect(hub):
        hub.joined(1)
        filling = hub.run("send", "1", "-", "--wait", "100ms", data=bytes(16 * 1024 * 1024))
        assert filling.returncode == 6
        done = hub.run("send", "1", "x" * 65536, "--expect", ".", "--timeout", "20s")
        assert done.returncode == 6
        assert b"its queue is full" in done.stderr


def test_bytes_with_checksum(hub: HubProcess) -> None:
    question = bytes.fromhex("01 03 00 00 00 01 84 0a")
    answer = bytes.fromhex("01 03 02 00 2a 39 9b")
    with connect(hub) as client:
        hub.joined(1)
        with answering(client, answer) as came:
            said = hub.do(
                "send", "1", "--hex", "01 03 00 00 00 01", "--crc", "modbus", "--expect", "01 03 02 .. .."
            )
        assert came == [question]
        assert said == b"01 03 02 00 2a 39 9b\n"


def test_another_encoding_both_ways(hub: HubProcess) -> None:
    with connect(hub) as client:
        hub.joined(1)
        with answering(client, "温度=21\n".encode("gbk")) as came:
            said = hub.do("send", "1", "--encoding", "gbk", "温度?", "--expect", "温度=")
        assert came == ["温度?\n".encode("gbk")]
        assert said.decode() == "温度=21\n"


def test_packets_and_frames_answer_with_one_message(start_hub: StartHub) -> None:
    hub = start_hub("udp://127.0.0.1:0", "tcp://127.0.0.1:0,framing=u16", "tcp://127.0.0.1:0,framing=line")
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.connect(("127.0.0.1", hub.port()))
    udp.settimeout(10)
    with udp, connect(hub, 1) as framed, connect(hub, 2) as lines:
        udp.send(b"hello")
        hub.joined(3)
        ids = {client["framing"]: str(client["id"]) for client in hub.clients("tcp-*")}
        with answering(udp, b"multi\nline OK"):
            assert hub.do("send", "udp-*", "AT", "--expect", "OK$") == b"multi\nline OK\n"
        with answering(framed, struct.pack(">H4sH2s", 4, b"wait", 2, b"OK")) as came:
            assert hub.do("send", ids["u16"], "AT", "--expect", "OK") == b"OK\n"
        assert came == [b"\0\2AT"]
        with answering(lines, b"not yet\nit is OK\nlater\n"):
            assert hub.do("send", ids["line"], "AT", "--expect", "OK") == b"it is OK\n"


def test_hostile_answers_are_bounded_and_shown_safely(hub: HubProcess) -> None:
    with devices(hub.port(), [hostile]):
        hub.joined(1)
        said = hub.do("send", "1", "version?", "--expect", "evil", "--timeout", "20s")
        assert b"\x1b" not in said
        assert said.rstrip().endswith(rb"\e[2J\e]0;title\x07version evil\e[31m")
        assert len(said) < 100_000


def test_a_pattern_that_takes_long_does_not_hold_up_the_hub(hub: HubProcess) -> None:
    with devices(hub.port(), [hostile, version]):
        hub.joined(2)
        slow = threading.Thread(
            target=lambda: hub.run("send", "1", "x", "--expect", ".{500}nothing", "--timeout", "2s")
        )
        slow.start()
        hub.seen(rb"joined id=2")
        for _ in range(3):
            assert (
                hub.do("send", "2", "version?", "--expect", "version", "--timeout", "10s")
                == b"version 1.4.2\n"
            )
        slow.join(30)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["x", "--timeout", "1s"],
            "--timeout is how long an answer is waited for, and --expect is not given",
        ),
        (["x", "--expect", "(", "--timeout", "1s"], "the pattern '(' cannot be used: missing )"),
        (["--hex", "00", "--expect", "0g"], "is no byte of a pattern"),
        (["x", "--halt-on", "2"], "--wave is not given; add --wave"),
        (["x", "--wave", "2", "--halt-on", "0"], "is no number of failures"),
        (["x", "--pause", "1s"], "--wave is not given"),
        (["x", "--repeat", "2"], "--every is not given"),
        (["x", "--jitter", "1s"], "--every is not given"),
        (["x", "--every", "1s", "--jitter", "1s"], "not shorter than --every"),
        (["x", "--every", "1s", "--wave", "2"], "do not go together"),
        (["x", "--every", "0s"], "is too often"),
        (["x", "--every", "5"], "is not a time"),
        (["x", "--wave", "0"], "greater than or equal to 1"),
    ],
)
def test_what_makes_no_sense_is_refused(hub: HubProcess, words: list[str], says: str) -> None:
    for command in (["send", "all"], ["broadcast"]):
        done = hub.run(*command, *words)
        assert done.returncode == 2, done
        assert says in done.stderr.decode()
        assert done.stderr.count(b"\n") == 1


# -------------------------------------------------------------------- again and again


def test_a_repeated_send_counts_and_includes_newcomers(hub: HubProcess, spawn: Spawn) -> None:
    first = connect(hub)
    hub.joined(1)
    again = spawn(JACKFIELD, "send", "all", "tick", "--every", "20ms", environment=hub.environment)
    lines = first.makefile("rb")
    assert [lines.readline() for _ in range(3)] == [b"tick\n"] * 3
    with connect(hub) as second:
        assert second.makefile("rb").readline() == b"tick\n"
        again.seen(rb"new: tcp-2\n", err=True)
        lines.close()
        first.close()
        again.seen(rb"gone: tcp-1\n", err=True)
        again.popen.send_signal(signal.SIGINT)
        assert again.wait() in (0, 8)  # 8: the first left while it was sent to
    assert again.err.splitlines()[-1 if again.popen.returncode == 0 else -2].startswith(b"sent ")


def test_a_repeated_question(hub: HubProcess) -> None:
    with devices(hub.port(), [version, silent]):
        hub.joined(2)
        done = hub.run("send", "1", "version?", "--expect", r"(\d\S+)", "--every", "10ms", "--repeat", "3")
        assert (done.returncode, done.stdout) == (0, b"1.4.2\n" * 3)
        assert b"3 answered, 0 failed" in done.stderr
        words = ["--every", "20ms", "--repeat", "2", "--timeout", "100ms", "--json"]
        done = hub.run("send", "1,2", "version?", "--expect", "version", *words)
        assert done.returncode == 7
        *rounds, summary = map(json.loads, done.stdout.splitlines())
        assert [(each["round"], each["well"], each["failed"]) for each in rounds] == [(1, 1, 1), (2, 1, 1)]
        assert summary["summary"].items() >= {"rounds": 2, "well": 2, "failed": 2}.items()
        assert summary["summary"]["missed"] >= 3, "each round takes 100 ms"


def test_everyone_may_leave_and_come_back(hub: HubProcess, spawn: Spawn) -> None:
    assert hub.run("send", "tcp-*", "x", "--every", "10ms", "--repeat", "1").returncode == 4
    first = connect(hub)
    hub.joined(1)
    again = spawn(JACKFIELD, "send", "tcp-*", "tick", "--every", "20ms", environment=hub.environment)
    assert first.recv(5) == b"tick\n"
    first.close()
    again.seen(rb"gone: tcp-1", err=True)
    with connect(hub) as second:
        assert second.recv(5) == b"tick\n"
        again.seen(rb"new: tcp-2", err=True)


def test_ctrl_c_tells_what_was_done(hub: HubProcess, spawn: Spawn) -> None:
    with devices(hub.port(), [version, silent, version]):
        hub.joined(3)
        words = ["version?", "--expect", "version", "--timeout", "60s", "--wave", "2"]
        asking = spawn(JACKFIELD, "send", "all", *words, environment=hub.environment)
        wait_for(lambda: hub.clients("1")[0]["bytes_in"] > 0, "the first answer")
        wait_for(lambda: hub.clients("2")[0]["bytes_out"] > 0, "the second to be asked")
        hub.clients()  # by then the hub has told of the answer, and
        wait_for(lambda: asleep(asking.pid), "the command to have read it")
        asking.popen.send_signal(signal.SIGINT)
        assert asking.wait() == 130
        assert rows_of(asking.out) == [
            "interrupted in wave 1 of 2: 1 not sent to",
            "1 answered version 1.4.2",
            "1 no answer yet tcp-2",
            "1 not sent to tcp-3",
        ]
        wait_for(lambda: b" asked " in hub.out, "the log")
        assert hub.do("send", "3", "version?", "--expect", "version") == b"version 1.4.2\n"


def asleep(pid: int) -> bool:
    """Whether a process waits, and so has read what there was."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def rows_of(out: bytes | bytearray) -> list[str]:
    """The lines of a table below its first, words one blank apart, without times and the names of answers."""
    lines = [" ".join(line.split()) for line in out.decode().splitlines()[1:]]
    lines = [line for line in lines if line and not line.startswith("CLIENTS")]
    return [line.rsplit(" ", 2)[0] if "answered" in line else line for line in lines]


def test_progress_is_shown_on_a_terminal(hub: HubProcess) -> None:
    with devices(hub.port(), [version, silent]):
        hub.joined(2)
        words = ["send", "all", "x", "--expect", "version", "--timeout", "2s"]
        master, slave = pty.openpty()
        with subprocess.Popen(
            [JACKFIELD, *words], stdin=slave, stdout=slave, stderr=slave, env=hub.environment
        ):
            os.close(slave)
            seen = b""
            while select.select([master], [], [], 20)[0]:
                try:
                    seen += os.read(master, 65536)
                except OSError:  # the other end is closed
                    break
        os.close(master)
    assert b"1 of 2 clients done" in seen
    assert b"\r\x1b[K1 of 2 clients answered" in seen, "the table takes its place"
    assert b"done" not in hub.run(*words).stderr
