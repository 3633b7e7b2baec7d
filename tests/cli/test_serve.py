"""The hub's life: what it prints, its limits, and its end."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from programs import JACKFIELD, HubProcess, Spawn, StartHub, need, wait_for
from support import quick_enough


def connect(hub: HubProcess, index: int = 0) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", hub.port(index)))
    client.settimeout(10)
    return client


def ended(client: socket.socket) -> bool:
    """Whether the other side ended the connection, in order or with a reset."""
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


# -------------------------------------------------------------------- start


def test_the_start_says_how_to_join_and_how_to_pick(start_hub: StartHub, directory: Path) -> None:
    hub = start_hub(
        "tcp://127.0.0.1:0",
        "udp://127.0.0.1:0",
        f"unix://{directory}/a.sock",
        f"unix+seqpacket://{directory}/s.sock",
        "tcp://127.0.0.1:0,framing=u32",
    )
    shown = hub.out.decode()
    for command in (
        f"nc 127.0.0.1 {hub.port(0)}\n",
        f"nc -u 127.0.0.1 {hub.port(1)}\n",
        f"nc -U {directory}/a.sock\n",
        f"socat - UNIX-CONNECT:{directory}/s.sock,type=5\n",
        f"jackfield connect 'tcp://127.0.0.1:{hub.port(4)}?framing=u32'\n",
        f"jackfield clients --control {hub.control}\n",
        f"jackfield talk 1 --control {hub.control}\n",
    ):
        assert command in shown


def test_where_jackfield_is_not_on_the_path_it_is_printed_as_started(directory: Path) -> None:
    process = subprocess.Popen(
        [JACKFIELD, "serve", "tcp://127.0.0.1:0,framing=u32", "--control", directory / "c.sock"],
        stdout=subprocess.PIPE,
        env={**os.environ, "PATH": "/usr/bin:/bin"},
    )
    assert process.stdout is not None
    lines = [process.stdout.readline().decode() for _ in range(5)]
    process.terminate()
    process.communicate(timeout=10)
    assert f" {JACKFIELD} connect tcp://" in lines[1].replace("'", "")
    assert lines[3] == f"  {JACKFIELD} clients --control {directory}/c.sock\n"


def test_the_printed_commands_work_as_printed(start_hub: StartHub, spawn: Spawn, directory: Path) -> None:
    need("nc", "socat")
    hub = start_hub(
        "tcp://127.0.0.1:0",
        "udp://127.0.0.1:0",
        f"unix://{directory}/a.sock",
        f"unix+dgram://{directory}/d.sock",
        f"unix+seqpacket://{directory}/s.sock",
        f"unix://@jackfield-test-{os.getpid()}",
        f"unix+dgram://@jackfield-test-dgram-{os.getpid()}",
        f"unix+seqpacket://@jackfield-test-seqpacket-{os.getpid()}",
        "tcp://127.0.0.1:0,framing=netstring",
    )
    listing = hub.out.decode().split("See who is there")[0].splitlines()[1:]
    listing = [line for line in listing if line.startswith("  ")]
    assert len(listing) == 9
    environment = {**os.environ, "PATH": f"{JACKFIELD.parent}:{os.environ['PATH']}"}
    joined = []
    for line in listing:
        command = line.split(None, 1)[1].strip()
        process = spawn("sh", "-c", f"exec {command}", environment=environment)
        process.write(b"hello\n")
        joined.append(process)
        hub.joined(len(joined))
    hub.do("broadcast", "welcome")
    for process in joined:
        process.seen(b"welcome")


def test_json_lines(start_hub: StartHub) -> None:
    with pytest.raises(AssertionError):
        start_hub("--json", "not an address")
    process = subprocess.Popen(
        [JACKFIELD, "serve", "tcp://127.0.0.1:0", "--json", "--control", "/tmp/x" * 60],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert out == b""
    assert err.startswith(b"jackfield: the control path ")
    assert err.count(b"\n") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["tcp://127.0.0.1"], 2, b""),
        (["tcp://*:7000"], 2, b"tcp://:7000"),
        (["tcp://127.0.0.1:0?framming=line"], 2, b"framing"),
        (["tcp://127.0.0.1:0?framing=lines"], 2, b""),
        (["tcp://127.0.0.1:0,eol=dos"], 2, b"known are lf, crlf"),
        (["tcp://127.0.0.1:0", "--queue", "5"], 2, b"64K"),
        (["tcp://127.0.0.1:0", "--queue", "0B"], 2, b"--queue 0B: at least one byte"),
        (["tcp://127.0.0.1:0", "--eol", "dos"], 2, b"known are"),
        (["pair:"], 2, b"it can on tcp, tls"),
        (["tcp://127.0.0.1:7", "tcp://127.0.0.1:7"], 2, b"given twice"),
        (["tcp://203.0.113.7:0,access=plain"], 1, b"203.0.113.7"),
        (["unix:///nowhere/at/all.sock"], 1, b"/nowhere/at/all.sock"),
    ],
)
def test_bad_addresses_are_one_line(arguments: list[str], code: int, says: bytes, directory: Path) -> None:
    done = subprocess.run(
        [JACKFIELD, "serve", *arguments, "--control", directory / "c.sock"], capture_output=True, timeout=20
    )
    assert done.returncode == code, done
    assert done.stderr.startswith(b"jackfield: "), done.stderr
    assert done.stderr.count(b"\n") == 1, done.stderr
    assert says in done.stderr
    assert list(directory.iterdir()) == [], "nothing is left behind"


def test_an_address_in_use_names_itself_and_ends_the_others(hub: HubProcess, directory: Path) -> None:
    done = subprocess.run(
        [
            JACKFIELD,
            "serve",
            f"unix://{directory}/u.sock",
            hub.listening[0],
            "--control",
            directory / "c.sock",
        ],
        capture_output=True,
        timeout=20,
    )
    assert done.returncode == 1
    assert str(hub.port()).encode() in done.stderr
    assert str(hub.pid).encode() in done.stderr, "who holds it is named"
    assert not (directory / "u.sock").exists()


# -------------------------------------------------------------------- limits


def test_a_client_too_many_is_refused_and_logged(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0", "--max-clients", "2")
    with connect(hub) as first, connect(hub):
        hub.joined(2)
        with connect(hub) as third:
            reason = rb'"the hub has its 2 clients \(--max-clients\)"'
            hub.seen(rb" refused protocol=tcp peer=127.0.0.1:\d+ reason=" + reason)
            assert ended(third)
        assert len(hub.clients()) == 2
        first.close()
        hub.seen(rb" left id=")
        with connect(hub):
            hub.joined(3)
            assert len(hub.clients()) == 2


def test_of_a_burst_the_earliest_stay(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0", "--max-clients", "5")
    hub.popen.send_signal(signal.SIGSTOP)
    clients = [connect(hub) for _ in range(10)]
    hub.popen.send_signal(signal.SIGCONT)
    assert all(ended(client) for client in clients[5:])
    hub.do("broadcast", "stay")
    for client in clients[:5]:
        assert client.recv(100) == b"stay\n"
    for client in clients:
        client.close()


def test_senders_of_datagrams_get_half_of_the_places(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0", "udp://127.0.0.1:0", "--max-clients", "4")
    senders = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(4)]
    for sender in senders:
        sender.sendto(b"x", ("127.0.0.1", hub.port(1)))
    hub.seen(rb' refused protocol=udp .*"senders of datagrams have their 2 places, half of all')
    with connect(hub, 0), connect(hub, 0):
        hub.joined(4)
    for sender in senders:
        sender.close()


def test_a_flood_of_clients_leaves_the_operators_actions(hub: HubProcess) -> None:
    with connect(hub):
        hub.joined(1)
        hub.do("rename", "1", "sensor")
        for _ in range(400):
            connect(hub).close()
        hub.seen(rb" left id=401 ")
        assert b" renamed id=1 name=sensor " in hub.do("logs", "-n", "1000")


def terminated(hub: HubProcess, number: int = signal.SIGTERM) -> float:
    """Seconds that the hub took to end in order."""
    started = time.monotonic()
    hub.popen.send_signal(number)
    assert hub.wait() == 0
    return time.monotonic() - started


def test_few_descriptors_are_told_and_named_as_the_reason(start_hub: StartHub) -> None:
    need("prlimit")
    hub = start_hub("tcp://127.0.0.1:0", prefix=["prlimit", "--nofile=64:64"])
    hub.seen(rb" limited max_clients=32 descriptors=64 ")
    clients = [connect(hub) for _ in range(40)]
    hub.joined(32)
    assert json.loads(hub.do("status", "--json"))["max_clients"] == 32
    assert hub.do("rooms")  # the store has a process of its own, and finds its descriptors
    for client in clients:
        client.close()


def test_a_listener_can_have_a_limit_of_its_own(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0,max_clients=1", "tcp://127.0.0.1:0")
    with connect(hub, 0), connect(hub, 1), connect(hub, 1):
        hub.joined(3)
        with connect(hub, 0) as second:
            hub.seen(
                rb' refused protocol=tcp peer=\S+ reason="the listener has its 1 clients \(max_clients\)"'
            )
            assert ended(second)
    assert json.loads(hub.do("status", "--json"))["refused"] == 1


def test_more_connections_than_descriptors(start_hub: StartHub) -> None:
    need("prlimit")
    hub = start_hub("tcp://127.0.0.1:0", "--max-clients", "1000000", prefix=["prlimit", "--nofile=300:300"])
    told = hub.seen(rb" limited max_clients=(\d+) descriptors=300 ")
    clients = [connect(hub) for _ in range(500)]
    most = int(told[1])
    assert most < 300

    def everyone_counted() -> bool:
        status = json.loads(hub.do("status", "--json"))
        return bool(status["clients"] == most and status["refused"] == 500 - most)

    wait_for(everyone_counted, "every connection taken or refused")
    hub.seen(rb" refused ")
    for client in clients:
        client.close()
    wait_for(lambda: hub.out.count(b" left id=") == most, "everyone gone")
    with connect(hub) as newcomer:
        hub.joined(most + 1)
        hub.do("broadcast", "room again")
        assert newcomer.recv(100) == b"room again\n"


def test_a_message_too_long_ends_its_client_alone(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0,framing=u32", "--max-message", "1K")
    with connect(hub) as good, connect(hub) as bad:
        hub.joined(2)
        bad.sendall(b"\0\1\0\0")
        hub.seen(rb" left id=2 name=tcp-2 protocol=tcp peer=\S+ reason=")
        good.sendall(b"\0\0\0\2hi")
        wait_for(lambda: hub.clients("1")[0]["bytes_in"], "the other's words")


def test_a_thousand_clients_are_listed(hub: HubProcess) -> None:
    # Fewer where neither this process nor the hub may have so many descriptors.
    many = min(1000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 300)
    clients = [connect(hub) for _ in range(many)]
    hub.joined(many)
    found = hub.clients()
    assert [client["id"] for client in found] == list(range(found[0]["id"], found[0]["id"] + many))
    assert json.loads(hub.do("broadcast", "x", "--json")) == {"sent": many, "dropped": 0}
    for client in clients:
        assert client.recv(10) == b"x\n"
        client.close()


# -------------------------------------------------------------------- the end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_hub_within_a_second(start_hub: StartHub, number: int) -> None:
    def end() -> float:
        hub = start_hub("tcp://127.0.0.1:0")
        with connect(hub) as client:
            hub.joined(1)
            hub.do("send", "1", "last words")
            took = terminated(hub, number)
            assert client.recv(100) == b"last words\n"
            assert client.recv(100) == b""
        assert hub.err == b""
        assert not hub.control.exists()
        assert b" stopping reason=SIG" in hub.out
        return took

    quick_enough(end, 1.0)


def test_nohup(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0", prefix=["nohup"])
    hub.popen.send_signal(signal.SIGHUP)
    assert hub.clients() == []
    assert hub.terminate() == 0


def test_what_is_queued_is_delivered_before_the_end(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0", "--queue", "16M")
    with connect(hub) as client:
        hub.joined(1)
        data = os.urandom(200_000) * 40
        hub.do("send", "1", "-", data=data)
        hub.popen.send_signal(signal.SIGTERM)
        received = bytearray()
        while part := client.recv(1 << 20):
            received += part
        assert received == data
        assert hub.wait() == 0


def test_a_client_that_does_not_read_does_not_hold_up_the_end(start_hub: StartHub) -> None:
    def end() -> float:
        hub = start_hub("tcp://127.0.0.1:0", "--queue", "16M")
        with connect(hub):
            hub.joined(1)
            hub.do("send", "1", "-", data=b"x" * 10_000_000)
            took = terminated(hub)
            assert b"undelivered=1" in hub.out
        return took

    quick_enough(end, 1.5)


def test_under_load_a_signal_is_obeyed(start_hub: StartHub, spawn: Spawn) -> None:
    need("nc")

    def end() -> float:
        hub = start_hub("tcp://127.0.0.1:0")
        flood = spawn("sh", "-c", f"exec nc 127.0.0.1 {hub.port()} < /dev/zero")
        hub.joined(1)
        wait_for(lambda: hub.clients()[0]["bytes_in"] > 10_000_000, "a flood")
        took = terminated(hub)
        flood.end()
        return took

    quick_enough(end, 1.5)


def test_nobody_reads_the_log(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0")
    assert hub.popen.stdout is not None
    with connect(hub):
        hub.joined(1)
    # The reader of the log goes away; the hub does not.
    process = subprocess.Popen(
        f"{JACKFIELD} serve tcp://127.0.0.1:0 --control {hub.control}2 | head -n 1; exit ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        env=hub.environment,
    )
    hub.environment["JACKFIELD_CONTROL"] = f"{hub.control}2"
    wait_for(lambda: hub.run("status").returncode == 0, "the hub without a reader")
    for _ in range(3):
        assert hub.run("kick", "all").returncode == 0
    hub.do("stop")
    assert process.wait(10) == 0
