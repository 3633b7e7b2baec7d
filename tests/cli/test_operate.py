"""Programs of any kind join a hub, are told apart, spoken to one at a time, and dropped."""

from __future__ import annotations

import json
import socket
import struct
import threading
from pathlib import Path

import pytest
from programs import HubProcess, Spawn, StartHub, need, wait_for

FIELDS = {"id", "name", "protocol", "local", "peer", "since", "bytes_in", "bytes_out", "queued"}


def connect(hub: HubProcess, index: int = 0) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", hub.port(index)))
    client.settimeout(10)
    return client


def test_nc_socat_and_python_over_every_transport(start_hub: StartHub, spawn: Spawn, directory: Path) -> None:
    need("nc", "socat")
    paths = {kind: directory / f"{kind}.sock" for kind in ("stream", "dgram", "seqpacket")}
    hub = start_hub(
        "tcp://127.0.0.1:0",
        "udp://127.0.0.1:0",
        f"unix://{paths['stream']}",
        f"unix+dgram://{paths['dgram']}",
        f"unix+seqpacket://{paths['seqpacket']}",
    )
    peers = [
        spawn("nc", "127.0.0.1", str(hub.port(0))),
        spawn("nc", "-u", "127.0.0.1", str(hub.port(1))),
        spawn("nc", "-U", str(paths["stream"])),
        spawn("socat", "-", f"TCP:127.0.0.1:{hub.port(0)}"),
        spawn("socat", "-", f"UDP:127.0.0.1:{hub.port(1)}"),
        spawn("socat", "-", f"UNIX-CONNECT:{paths['stream']}"),
        spawn("socat", "-", f"UNIX-SENDTO:{paths['dgram']},bind={directory / 'me.sock'}"),
        spawn("socat", "-", f"UNIX-CONNECT:{paths['seqpacket']},type=5"),
    ]
    for number, peer in enumerate(peers):
        peer.write(b"hello from %d\n" % number)
    hub.joined(len(peers))
    wait_for(lambda: all(client["bytes_in"] for client in hub.clients()), "everyone's words")
    clients = hub.clients()
    assert sorted(client["protocol"] for client in clients) == [
        "tcp", "tcp", "udp", "udp", "unix", "unix", "unix+dgram", "unix+seqpacket",
    ]  # fmt: skip
    for client in clients:
        assert client.keys() >= FIELDS
        assert isinstance(client["local"], str)
        assert isinstance(client["peer"], str)
        assert client["bytes_in"] == len("hello from 0\n")
    assert (
        len({client["id"] for client in clients}) == len({client["name"] for client in clients}) == len(peers)
    )

    for client in clients:
        hub.do("send", str(client["id"]), f"to {client['name']} alone")
    for peer in peers:
        peer.seen(rb"to [a-z]+-\d+ alone\n")
    assert sorted(bytes(peer.out) for peer in peers) == sorted(
        f"to {c['name']} alone\n".encode() for c in clients
    )

    assert json.loads(hub.do("broadcast", "everyone", "--json")) == {"sent": len(peers), "dropped": 0}
    for peer in peers:
        peer.seen(rb"\neveryone\n")
    hub.do("kick", "all")
    wait_for(lambda: hub.clients() == [], "an empty hub")
    assert peers[3].wait() == 0  # socat's TCP connection ended in order


def test_a_client_answers_a_pipe(hub: HubProcess) -> None:
    with connect(hub) as client:
        hub.joined(1)

        def answer() -> None:
            assert client.recv(100) == b"question\n"
            client.sendall(b"answer\n\x1b[31m")

        answering = threading.Thread(target=answer)
        answering.start()
        # A pipe gets the bytes as they are; only terminals are protected.
        assert hub.do("talk", "1", "--wait", "1s", data=b"question") == b"answer\n\x1b[31m"
        answering.join()
        assert [c["id"] for c in hub.clients()] == [1], "talking ended, the client stays"


def test_talk_in_a_pipe_says_when_the_client_left_too_early(hub: HubProcess, spawn: Spawn) -> None:
    client = connect(hub)
    hub.joined(1)
    talking = spawn(*_command("talk", "1"), environment=hub.environment)
    hub.seen(rb" attached id=1 ")
    client.close()
    assert talking.wait() == 1
    assert b"jackfield: tcp-1 left before everything was sent" in talking.err


def _command(*words: str) -> list[str]:
    from programs import JACKFIELD

    return [str(JACKFIELD), *words]


@pytest.mark.parametrize(
    ("words", "data", "arrives"),
    [
        (["hello"], None, b"hello\n"),
        (["hello", "world"], None, b"hello world\n"),
        (["--eol", "crlf", "hello"], None, b"hello\r\n"),
        (["--eol", "none", "hello"], None, b"hello"),
        (["--eol", "nul", "hello"], None, b"hello\0"),
        (["-e", r"AT\r\n\x00"], None, b"AT\r\n\0"),
        (["--hex", "de ad", "beef"], None, b"\xde\xad\xbe\xef"),
        (["--hex", "--eol", "lf", "00"], None, b"\0\n"),
        (["-"], b"\0raw\xff", b"\0raw\xff"),
        (["--hex", "-"], b"00 ff\n", b"\0\xff"),
        (["--", "-x"], None, b"-x\n"),
        (["grüße"], None, "grüße\n".encode()),
    ],
)
def test_what_is_sent(hub: HubProcess, words: list[str], data: bytes | None, arrives: bytes) -> None:
    with connect(hub) as client:
        hub.joined(1)
        hub.do("send", "1", *words, data=data)
        assert client.recv(len(arrives) + 1) == arrives


def test_the_listeners_line_ending_and_framing_count(start_hub: StartHub) -> None:
    hub = start_hub(
        "tcp://127.0.0.1:0,eol=crlf", "tcp://127.0.0.1:0,framing=line", "tcp://127.0.0.1:0?framing=u32"
    )
    with connect(hub, 0) as crlf, connect(hub, 1) as line, connect(hub, 2) as framed:
        hub.joined(3)
        hub.do("broadcast", "hi")
        assert crlf.recv(100) == b"hi\r\n"
        assert line.recv(100) == b"hi\n"
        assert framed.recv(100) == b"\0\0\0\x02hi"


def test_a_large_file_arrives_whole_at_a_slow_reader(hub: HubProcess, directory: Path, spawn: Spawn) -> None:
    data = bytes(range(256)) * 20_000  # 5 MB: more than the client's queue
    (directory / "file").write_bytes(data)
    with connect(hub) as client:
        hub.joined(1)
        sending = spawn(
            *_command("send", "1", "--file", str(directory / "file")), environment=hub.environment
        )
        received = bytearray()
        while len(received) < len(data):
            received += client.recv(65536)
        assert received == data
        assert sending.wait() == 0, sending.err


def test_a_client_that_does_not_read_loses_the_newest_and_is_counted(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0?send_buffer=16K", "--queue", "64K")
    with socket.socket() as slow, connect(hub) as quick:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", hub.port()))
        hub.joined(2)
        for _ in range(100):
            done = hub.run("broadcast", "--hex", "41" * 50_000, "--json")
            quick_got = 0
            while quick_got < 50_000:
                quick_got += len(quick.recv(65536))
            if done.returncode:
                break
        assert done.returncode == 6
        assert json.loads(done.stdout) == {"sent": 1, "dropped": 1}
        assert b"queue is full" in done.stderr
        views = {view["peer"]: view for view in hub.clients()}
        view = views[f"127.0.0.1:{slow.getsockname()[1]}"]
        assert view["dropped"] == 1
        assert 0 < view["queued"] <= 64 * 1024 + 50_000
        assert "the peer has not read for" in view["explain"]
        assert views[f"127.0.0.1:{quick.getsockname()[1]}"]["dropped"] == 0
        assert slow.recv(1) == b"A"


def test_renaming_and_targets(hub: HubProcess) -> None:
    clients = []
    for number in range(1, 4):
        clients.append(connect(hub))
        hub.joined(number)
    renamed = {"id": 1, "name": "dev1", "before": "tcp-1", "lasting": False}
    assert json.loads(hub.do("rename", "1", "dev1", "--json")) == renamed
    hub.do("rename", "tcp-2", "dev2")
    port = clients[2].getsockname()[1]
    hub.do("rename", f"127.0.0.1:{port}", "door")
    assert [client["name"] for client in hub.clients()] == ["dev1", "dev2", "door"]
    assert [client["id"] for client in hub.clients("dev*")] == [1, 2]
    assert [client["id"] for client in hub.clients("door,1")] == [1, 3]

    unknown = hub.run("send", "dor", "x")
    assert unknown.returncode == 4
    assert unknown.stderr == b"jackfield: no client 'dor'; connected: dev1, dev2, door; did you mean door?\n"
    ambiguous = hub.run("talk", "dev*")
    assert ambiguous.returncode == 5
    assert b"'dev*' means 2 clients: dev1 (1, 127.0.0.1:" in ambiguous.stderr
    refused = hub.run("rename", "1", "door")
    assert refused.returncode == 1
    assert refused.stderr == b"jackfield: client 3 is already called 'door'; rename that one first\n"
    assert hub.run("rename", "1", "7").returncode == 2
    hub.do("kick", "door")
    wait_for(lambda: len(hub.clients()) == 2, "the door gone")
    hub.do("rename", "1", "door")
    for client in clients:
        client.close()


def test_kick_delivers_first_and_reset_does_not_wait(hub: HubProcess) -> None:
    with connect(hub) as first, connect(hub) as second:
        hub.joined(2)
        hub.do("broadcast", "last words")
        hub.do("kick", "1,2")
        for client in (first, second):
            assert client.recv(100) == b"last words\n"
            assert client.recv(100) == b""
    with connect(hub) as third:
        hub.joined(3)
        hub.do("kick", "3", "--reset")
        with pytest.raises(ConnectionResetError):
            third.recv(100)
    hub.seen(
        rb' left id=3 name=tcp-3 protocol=tcp peer=127.0.0.1:\d+ reason="kicked by pid:\d+ with a reset"'
    )


def test_a_reset_by_the_client_is_a_reason(hub: HubProcess) -> None:
    client = connect(hub)
    hub.joined(1)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    hub.seen(rb' left id=1 name=tcp-1 protocol=tcp peer=127.0.0.1:\d+ reason="[^"]*reset[^"]*"')


def test_a_client_that_comes_speaks_and_leaves_at_once(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0", "--messages")
    for _ in range(50):
        with connect(hub) as client:
            client.sendall(b"bye")
    wait_for(lambda: hub.out.count(b" left id=") == 50, "the last to leave")
    for number in range(1, 51):
        for what in (b"joined", b"message", b"left"):
            assert hub.out.count(b" %s id=%d name=tcp-%d " % (what, number, number)) == 1


def test_udp_peers_leave_after_idle_time(start_hub: StartHub) -> None:
    hub = start_hub("udp://127.0.0.1:0?idle_timeout=300ms")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"here", ("127.0.0.1", hub.port()))
        hub.joined(1)
        hub.seen(rb" left id=1 name=udp-1 ")
        assert hub.clients() == []
        client.sendto(b"again", ("127.0.0.1", hub.port()))
        hub.joined(2)


def test_the_log(hub: HubProcess) -> None:
    connect(hub).close()
    hub.seen(rb" left id=1 ")
    hub.run("send", "all", "x")
    lines = hub.do("logs").decode().splitlines()
    assert [line.split()[1] for line in lines if " limited " not in line] == [
        "ready",
        "joined",
        "left",
        "sent",
    ]
    assert len(hub.do("logs", "-n", "2").splitlines()) == 2
    assert json.loads(hub.do("logs", "-n", "1", "--json"))["event"] == "sent"


def test_following_the_log(hub: HubProcess, spawn: Spawn) -> None:
    following = spawn(*_command("logs", "-f", "-n", "1"), environment=hub.environment)
    following.seen(rb" ready ")
    with connect(hub):
        following.seen(rb" joined id=1 name=tcp-1 ")
    following.seen(rb" left id=1 ")
    following.popen.send_signal(2)
    assert following.wait() == 130
    assert following.err == b""


def test_a_terminal_that_knows_only_ascii(start_hub: StartHub, directory: Path) -> None:
    hub = start_hub(f"unix://{directory}/caf\u00e9.sock")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"{directory}/caf\u00e9.sock")
        hub.joined(1)
        hub.environment |= {"PYTHONIOENCODING": "ascii"}
        assert rb"caf\xe9.sock" in hub.do("clients")


def test_status_and_stop(hub: HubProcess) -> None:
    status = json.loads(hub.do("status", "--json"))
    assert status["pid"] == hub.pid
    assert status["clients"] == 0
    assert status["listeners"][0]["address"] == hub.listening[0]
    assert b"listening on:" in hub.do("status")
    assert json.loads(hub.do("stop", "--json")) == {"pid": hub.pid}
    assert hub.wait() == 0
    assert hub.run("clients").returncode == 3
    assert not hub.control.exists()


def test_a_client_cannot_steer_the_operators_terminal(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0", "--messages")
    with connect(hub) as client:
        client.sendall(b"\x1b]0;owned\x07\x9b2J\xe2\x80\xae")
        hub.seen(rb" message id=1 ")
        assert b"\x1b" not in hub.out
        assert b"\x1b" not in hub.do("logs")
        assert b"\xe2\x80\xae" not in hub.do("logs")


def test_a_packet_too_long_is_refused_and_harms_nobody(start_hub: StartHub, directory: Path) -> None:
    hub = start_hub("udp://127.0.0.1:0", f"unix+seqpacket://{directory}/s.sock")
    (directory / "big").write_bytes(b"x" * 300_000)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram,
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as packet,
    ):
        datagram.sendto(b"here", ("127.0.0.1", hub.port(0)))
        hub.joined(1)
        packet.connect(f"{directory}/s.sock")
        hub.joined(2)
        for target, name, limit in (("1", "udp-1", 65507), ("2", "seqpacket-2", 200_000)):
            done = hub.run("send", target, "--file", str(directory / "big"))
            assert done.returncode == 1
            assert f"do not fit into one packet to {name} ({target}, ".encode() in done.stderr
            assert f"carries at most {limit}".encode() in done.stderr
        hub.do("send", "all", "fits")
        assert datagram.recv(100) == packet.recv(100) == b"fits\n"


def test_what_the_framing_cannot_carry_is_refused(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0,framing=fixed:4", "tcp://127.0.0.1:0,framing=line")
    with connect(hub, 0) as fixed, connect(hub, 1) as line:
        hub.joined(2)
        ids = {client["framing"]: str(client["id"]) for client in hub.clients()}
        for target, words in ((ids["fixed:4"], ["abc"]), (ids["line"], ["-e", r"a\nb"])):
            done = hub.run("send", target, *words)
            assert done.returncode == 1
            assert done.stderr.startswith(b"jackfield: ")
            assert done.stderr.count(b"\n") == 1
        hub.do("broadcast", "four")
        assert fixed.recv(100) == b"four"
        assert line.recv(100) == b"four\n"


def test_one_that_does_not_read_cuts_nobody_elses_file(hub: HubProcess, directory: Path) -> None:
    data = bytes(range(256)) * 80_000  # 20 MB: more than one piece of a file
    (directory / "file").write_bytes(data)
    with connect(hub) as good, connect(hub) as lazy:
        hub.joined(2)
        received = bytearray()

        def read() -> None:
            while len(received) < len(data):
                received.extend(good.recv(65536))

        reading = threading.Thread(target=read)
        reading.start()
        done = hub.run("send", "all", "--file", str(directory / "file"), "--wait", "500ms", "--json")
        reading.join(20)
        assert received == data
        report = json.loads(done.stdout)
        assert (report["sent"], report["dropped"], report["partly"]) == (1, 1, 1)
        assert done.returncode == 6
        (partly,) = report["partly_sent"]
        assert partly["name"] == f"tcp-2 (2, 127.0.0.1:{lazy.getsockname()[1]})"
        assert (
            f"1 client did not get it: their queue is full; a part of it went to {partly['name']}".encode()
            in (done.stderr)
        )
        hub.do("kick", "2")
        got = 0
        while part := lazy.recv(1 << 20):
            assert part == data[got : got + len(part)]
            got += len(part)
        assert got == partly["bytes"], "what is reported is what arrives"


def test_a_queue_is_bounded_by_sends_that_wait_too(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0", "--queue", "256K")
    with connect(hub):
        hub.joined(1)
        for _ in range(3):
            done = hub.run("send", "1", "-", "--wait", "50ms", data=bytes(8_000_000))
            assert done.returncode == 6
            assert hub.clients()[0]["queued"] <= 256 * 1024


def test_standard_input_goes_out_as_it_comes(hub: HubProcess, spawn: Spawn) -> None:
    with connect(hub) as client:
        hub.joined(1)
        sending = spawn(*_command("send", "1", "-"), environment=hub.environment)
        for word in (b"tick\n", b"tock\n"):
            sending.write(word)
            assert client.recv(100) == word
        sending.end_input()
        assert sending.wait() == 0, sending.err
        assert b" bytes=10 clients=1 dropped=0\n" in hub.do("logs", "-n", "1")


def test_standard_input_is_one_message_to_a_framed_client(start_hub: StartHub, spawn: Spawn) -> None:
    hub = start_hub("tcp://127.0.0.1:0,framing=u32", "tcp://127.0.0.1:0")
    with connect(hub, 0) as framed, connect(hub, 1) as stream:
        hub.joined(2)
        sending = spawn(*_command("send", "all", "-"), environment=hub.environment)
        for word in (b"tick", b"tock"):
            sending.write(word)
            assert stream.recv(100) == word
        sending.end_input()
        assert framed.recv(100) == b"\0\0\0\x08ticktock"
        assert sending.wait() == 0, sending.err


def test_who_cannot_carry_a_packet_is_skipped_and_named(start_hub: StartHub, directory: Path) -> None:
    hub = start_hub("tcp://127.0.0.1:0", "udp://127.0.0.1:0")
    (directory / "big").write_bytes(b"x" * 300_000)
    with connect(hub, 0) as client, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
        hub.joined(1)
        datagram.sendto(b"here", ("127.0.0.1", hub.port(1)))
        hub.joined(2)
        done = hub.run("broadcast", "--file", str(directory / "big"))
        assert done.returncode == 1
        assert b"1 client skipped: 300000 bytes do not fit into one packet to udp-2 (2, " in done.stderr
        assert b"such as 'tcp-*'" in done.stderr
        got = 0
        while got < 300_000:
            got += len(client.recv(65536))
