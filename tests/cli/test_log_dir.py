"""`jackfield serve --log-dir`: a real hub keeps what is said, in bounded space, with a full disk as well."""

from __future__ import annotations

import resource
import socket
import ssl
from pathlib import Path

import pytest
from programs import JACKFIELD, HubProcess, Spawn, StartHub, wait_for

from jackfield.recording import Client, Closed, Damaged, Data, Happened, Left, Lost, Opened, Record, read


def files(directory: Path) -> list[Path]:
    return sorted(directory.glob("jackfield-*.jfrec"))


def records(directory: Path) -> list[Record]:
    found: list[Record] = []
    for path in files(directory):
        try:
            found += read(path)
        except FileNotFoundError:
            continue  # it was the oldest
    return found


def said(directory: Path, direction: str = "in") -> list[bytes]:
    return [
        each.data for each in records(directory) if isinstance(each, Data) and each.direction == direction
    ]


def connect(hub: HubProcess) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", hub.port()))
    client.settimeout(10)
    return client


def test_over_tls_what_is_said_is_kept_and_not_what_is_sent(start_hub: StartHub, directory: Path) -> None:
    logs = directory / "logs"
    state = ("--state", str(directory / "hub.db"))
    hub = start_hub("tls://127.0.0.1:0,framing=line", "--log-dir", str(logs), *state)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(connect(hub)) as client:
        client.sendall(b"hello\n")
        wait_for(lambda: said(logs) == [b"hello"], "it in the file")
        hub.do("send", "all", "good day")
        assert client.recv(100) == b"good day\n"
        client.unwrap()
    wait_for(lambda: any(isinstance(record, Left) for record in records(logs)), "the end of the client")
    assert hub.terminate() == 0
    assert said(logs, "out") == [b"good day"]


def test_all_that_is_said_and_all_that_happens(start_hub: StartHub, directory: Path) -> None:
    logs = directory / "new" / "logs"
    hub = start_hub("tcp://127.0.0.1:0,framing=line", "--log-dir", str(logs), "--messages")
    hub.do("autoreply", "add", "^ping$", "pong", "--name", "echo")
    with connect(hub) as client:
        client.sendall(b"ping\n")
        assert client.recv(100) == b"pong\n"
        hub.do("send", "all", "hello")
        wait_for(lambda: said(logs, "out") == [b"pong", b"hello"], "all of it in the file")
    wait_for(lambda: any(isinstance(record, Left) for record in records(logs)), "the end of the client")
    assert hub.terminate() == 0
    found = records(logs)
    kinds = [type(record) for record in found if not isinstance(record, Happened)]
    assert kinds == [Opened, Client, Data, Data, Data, Left, Closed]
    spoken = [(each.direction, each.data, each.by) for each in found if isinstance(each, Data)]
    assert spoken[:2] == [("in", b"ping", ""), ("out", b"pong", "autoreply:echo")]
    happened = [record.event for record in found if isinstance(record, Happened)]
    assert {"ready", "joined", "sent", "left", "stopping"} <= set(happened)
    assert "message" not in happened
    assert [path.stat().st_mode & 0o777 for path in (logs, *files(logs))] == [0o700, 0o600]


def test_its_space_is_bounded_and_the_newest_stays(
    start_hub: StartHub, directory: Path, spawn: Spawn
) -> None:
    (directory / "notes.txt").write_text("of another")
    hub = start_hub("tcp://127.0.0.1:0,framing=line", "--log-dir", str(directory), "--log-keep", "1M")
    with connect(hub) as client:
        for number in range(4000):  # 4 MB
            client.sendall(b"%05d" % number + b"x" * 1000 + b"\n")
        wait_for(lambda: said(directory)[-1:] and said(directory)[-1].startswith(b"03999"), "the last one")
        total = sum(path.stat().st_size for path in files(directory))
        assert 500_000 < total < 1024 * 1024 + 70_000
        assert len(files(directory)) >= 5
        numbers = [int(data[:5]) for data in said(directory)]
        assert numbers == list(range(numbers[0], 4000)), "the newest, without a hole"
    assert hub.terminate() == 0
    for path in files(directory):
        kinds = [type(record) for record in read(path)]
        assert kinds[0] is Opened
        assert kinds[-1] is Closed
        assert kinds.index(Client) < kinds.index(Data)
    assert (directory / "notes.txt").exists()
    shown = spawn(JACKFIELD, "recording", "show", *files(directory))
    assert shown.wait() == 0
    assert shown.out.count(b" tcp-1 < ") == len(numbers)


def test_a_full_disk_is_survived_and_told(start_hub: StartHub, directory: Path) -> None:
    """A limit on the size of the hub's files stands for the disk."""
    hub = start_hub("tcp://127.0.0.1:0,framing=line", "--log-dir", str(directory), "--state", "none")
    unlimited = resource.prlimit(hub.pid, resource.RLIMIT_FSIZE)
    with connect(hub) as client:
        client.sendall(b"before\n")
        wait_for(lambda: said(directory) == [b"before"], "the first words")
        (path,) = files(directory)
        limit = path.stat().st_size + 3000
        resource.prlimit(hub.pid, resource.RLIMIT_FSIZE, (limit, unlimited[1]))
        for number in range(1000):
            client.sendall(b"%d " % number * 10 + b"\n")
        hub.seen(rb" log_dir_failed .*reason=\"the disk is full\"")
        assert path.stat().st_size <= limit
        assert not any(isinstance(record, Damaged) for record in read(path)), "it ends with a whole record"
        resource.prlimit(hub.pid, resource.RLIMIT_FSIZE, unlimited)

        def goes_on() -> bool:
            client.sendall(b"again\n")
            return b" log_dir_goes_on " in hub.out

        wait_for(goes_on, "room")
        wait_for(lambda: b"again" in said(directory), "words behind it")
    assert hub.terminate() == 0
    lost = [record for record in records(directory) if isinstance(record, Lost)]
    assert lost
    heard = [data for data in said(directory) if data != b"again" and data != b"before"]
    assert len(heard) < 1000
    assert hub.out.count(b" log_dir_failed ") == 1


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        (["--log-dir", "/proc/nowhere"], 1, b"/proc/nowhere"),
        (["--log-dir", "/tmp", "--log-keep", "much"], 2, b"write an age, a size or both, such as 7d,1G"),
        (["--log-keep", "7d"], 2, b"without --log-dir"),
    ],
)
def test_what_cannot_be_kept_is_said_in_one_line(
    words: list[str], code: int, what: bytes, directory: Path, spawn: Spawn
) -> None:
    control = ["--control", str(directory / "hub.sock"), "--state", "none"]
    hub = spawn(JACKFIELD, "serve", f"unix://{directory}/u.sock", *control, *words)
    assert hub.wait() == code
    assert what in hub.err
    assert hub.err.count(b"\n") == 1, hub.err
