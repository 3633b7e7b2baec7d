"""Peers that the hub dials: over TCP, UDP, Unix and serial lines, away and back, kicked and undialled."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from lines import device
from programs import HubProcess, Process, Spawn, StartHub, need, wait_for


@contextmanager
def server(port: int = 0, *, host: str = "127.0.0.1") -> Iterator[tuple[socket.socket, int]]:
    """A plain TCP server, which accepts nobody by itself, and its port."""
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen()
        listening.settimeout(30)
        yield listening, listening.getsockname()[1]


def accepted(listening: socket.socket) -> socket.socket:
    peer, _ = listening.accept()
    peer.settimeout(30)
    return peer


def free_port() -> int:
    with server() as (_, port):
        return port


def read_line(peer: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\n"):
        more = peer.recv(1)
        assert more, data
        data += more
    return data


def dialled(hub: HubProcess, name: str) -> dict[str, Any]:
    found: dict[str, dict[str, Any]] = {each["name"]: each for each in json.loads(hub.do("dial", "--json"))}
    return found.get(name, {})


def state_of(hub: HubProcess, name: str) -> str:
    return str(dialled(hub, name).get("state"))


def views(hub: HubProcess, *arguments: str) -> list[dict[str, Any]]:
    """Of those that are connected, unless the arguments say otherwise."""
    if "--absent" not in arguments:
        arguments = (*arguments, "--connected")
    found: list[dict[str, Any]] = json.loads(hub.do("clients", *arguments, "--json"))
    return found


def test_a_peer_is_a_client_and_keeps_its_name_over_reconnections(hub: HubProcess) -> None:
    with server() as (listening, port):
        said = hub.do("dial", f"tcp://127.0.0.1:{port}", "--name", "press")
        assert said == b"press is connected: client 1\n"
        peer = accepted(listening)
        (view,) = views(hub)
        assert (view["id"], view["name"], view["protocol"], view["peer"]) == (
            1,
            "press",
            "tcp",
            f"127.0.0.1:{port}",
        )
        assert view["identity"] == "dial:press"
        hub.do("send", "press", "hello")
        assert read_line(peer) == b"hello\n"
        talk = hub.run("talk", "press", "--wait", "0.1s", data=b"to you\n")
        assert talk.returncode == 0, talk
        assert read_line(peer) == b"to you\n"
        first = dialled(hub, "press")
        assert (first["client"], first["state"], first["address"]) == (
            1,
            "connected",
            f"tcp://127.0.0.1:{port}",
        )

        peer.close()
        peer = accepted(listening)
        wait_for(lambda: dialled(hub, "press").get("client") == 2, "another connection")
        hub.do("send", "press", "again")
        assert read_line(peer) == b"again\n"
        (view,) = views(hub, "press")
        assert (view["id"], view["connections"]) == (2, 2)
        hub.do("rename", "2", "big-press")
        peer.close()
        peer = accepted(listening)
        wait_for(lambda: dialled(hub, "press").get("client") == 3, "a third connection")
        hub.do("send", "big-press", "renamed")
        assert read_line(peer) == b"renamed\n"
        assert b"big-press is dialled no more" not in hub.do("undial", "big-press")
        assert peer.recv(10) == b""


def test_a_peer_that_is_away_is_absent_with_its_reason(hub: HubProcess) -> None:
    port = free_port()
    said = hub.do("dial", f"tcp://127.0.0.1:{port}", "--name", "gps")
    assert said.startswith(b"gps is dialled: ")
    wait_for(lambda: "refused" in dialled(hub, "gps")["reason"], "the reason")
    assert dialled(hub, "gps")["state"] in ("waiting", "connecting")
    (absent,) = views(hub, "--absent")
    assert (absent["name"], absent["state"], absent["identity"]) == ("gps", "absent", "dial:gps")
    assert "refused" in absent["explain"]
    assert views(hub) == []
    shown = hub.do("dial")
    assert b"gps" in shown
    assert b"refused" in shown
    assert hub.run("send", "gps", "x").returncode == 4
    hub.seen(rb' dial_failed dial=gps address=tcp://127.0.0.1:\d+ reason="?.*refused')
    with server(port) as (listening, _):
        peer = accepted(listening)
        wait_for(lambda: state_of(hub, "gps") == "connected", "the connection")
        hub.do("send", "gps", "there you are")
        assert read_line(peer) == b"there you are\n"
        assert views(hub, "--absent") == []


def test_a_kick_is_dialled_again_and_an_undial_is_not(hub: HubProcess) -> None:
    with server() as (listening, port):
        hub.do("dial", f"tcp://127.0.0.1:{port}", "--name", "press")
        peer = accepted(listening)
        hub.do("kick", "press")
        assert peer.recv(10) == b""
        peer = accepted(listening)
        wait_for(lambda: dialled(hub, "press").get("client") == 2, "another connection")
        hub.do("send", "press", "last words")
        assert hub.do("undial", "press") == b"press is dialled no more\n"
        assert read_line(peer) == b"last words\n"
        assert peer.recv(10) == b""
        assert hub.do("dial") == b"nobody is dialled; dial with 'jackfield dial ADDRESS --name NAME'\n"
        assert views(hub, "--absent") == []
        listening.settimeout(0.5)
        with pytest.raises(TimeoutError):
            listening.accept()


def test_dialling_outlives_the_hub(start_hub: StartHub, directory: Path) -> None:
    control = directory / "one.sock"
    with server() as (listening, port):
        hub = start_hub("tcp://127.0.0.1:0", control=control)
        hub.do("dial", f"tcp://127.0.0.1:{port},framing=line", "--name", "press")
        accepted(listening).close()
        assert hub.terminate() == 0
        listening.setblocking(False)
        while True:
            try:
                listening.accept()[0].close()
            except BlockingIOError:
                break
        listening.settimeout(30)
        hub = start_hub("tcp://127.0.0.1:0", control=control)
        peer = accepted(listening)
        wait_for(lambda: state_of(hub, "press") == "connected", "the connection")
        assert dialled(hub, "press")["framing"] == "line"
        peer.sendall(b"hello\n")
        wait_for(lambda: views(hub, "press")[0]["messages_in"] == 1, "its message")
        hub.do("undial", "press")


def test_serve_dials_from_the_start(start_hub: StartHub) -> None:
    with server() as (listening, port):
        hub = start_hub("tcp://127.0.0.1:0", "--dial", f"tcp://127.0.0.1:{port},name=press,eol=crlf")
        peer = accepted(listening)
        wait_for(lambda: state_of(hub, "press") == "connected", "the connection")
        hub.do("send", "press", "hello")
        assert read_line(peer) == b"hello\r\n"
        assert b"the next start of the hub dials it again" in hub.do("undial", "press")


def test_a_serial_device_and_its_return(hub: HubProcess, directory: Path) -> None:
    link = directory / "ttyUSB0"
    with device() as first, device() as second:
        link.symlink_to(first.path)
        hub.do("dial", f"serial://{link}?baud=115200&framing=line", "--name", "sensor")
        wait_for(lambda: state_of(hub, "sensor") == "connected", "the line")
        (view,) = views(hub)
        assert (view["protocol"], view["peer"], view["name"]) == ("serial", str(link), "sensor")
        hub.do("send", "sensor", "read")
        assert first.read(5) == b"read\n"
        first.write(b"21.5\n")
        wait_for(lambda: views(hub)[0]["messages_in"] == 1, "its answer")
        link.unlink()
        first.unplug()
        wait_for(lambda: "no such device" in dialled(hub, "sensor")["reason"], "the reason")
        (absent,) = views(hub, "--absent")
        assert "no such device" in absent["explain"]
        link.symlink_to(second.path)
        wait_for(lambda: state_of(hub, "sensor") == "connected", "the line again")
        hub.do("send", "sensor", "read")
        assert second.read(5) == b"read\n"
        before = second.settings()
        hub.do("undial", "sensor")
        wait_for(lambda: second.settings() != before, "the settings as they were")


def test_udp_and_unix_peers(hub: HubProcess, directory: Path) -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as beacon,
        socket.socket(socket.AF_UNIX) as listening,
    ):
        beacon.bind(("127.0.0.1", 0))
        beacon.settimeout(30)
        path = directory / "meter.sock"
        listening.bind(str(path))
        listening.listen()
        listening.settimeout(30)
        hub.do("dial", f"udp://127.0.0.1:{beacon.getsockname()[1]}", "--name", "beacon")
        hub.do("dial", f"unix://{path}")
        peer = accepted(listening)
        wait_for(lambda: {each["name"] for each in views(hub)} == {"beacon", "meter.sock"}, "both")
        hub.do("broadcast", "to all")
        data, sender = beacon.recvfrom(100)
        assert data == b"to all\n"
        assert read_line(peer) == b"to all\n"
        beacon.sendto(b"fix", sender)
        wait_for(lambda: views(hub, "beacon")[0]["messages_in"] == 1, "its datagram")


def test_a_real_peer_that_is_killed_and_comes_back(hub: HubProcess, spawn: Spawn) -> None:
    need("socat")
    port = free_port()

    def echo() -> Process:
        return spawn("socat", f"TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr", "PIPE")

    first = echo()
    hub.do("dial", f"tcp://127.0.0.1:{port}", "--name", "echo")
    wait_for(lambda: state_of(hub, "echo") == "connected", "the connection")
    said = hub.run("talk", "echo", "--wait", "5s", data=b"one\n")
    assert b"one" in said.stdout, said
    first.end()
    wait_for(lambda: "refused" in dialled(hub, "echo")["reason"], "the reason")
    echo()
    wait_for(lambda: state_of(hub, "echo") == "connected", "the connection again")
    said = hub.run("talk", "echo", "--wait", "5s", data=b"two\n")
    assert b"two" in said.stdout, said


def test_what_cannot_be_dialled(hub: HubProcess) -> None:
    for arguments, code, words in (
        (("dial", "tcp://"), 2, b""),
        (("dial", "stdio:"), 2, b"the hub cannot dial stdio:"),
        (("dial", "tcp://127.0.0.1:1", "--name", "all"), 2, b"already means something as a target"),
        (("dial", "tcp://127.0.0.1:1", "--name", "a b"), 2, b"is not a name"),
        (("dial", "tcp://127.0.0.1:1?baud=115200"), 1, b"baud= means nothing"),
        (("dial", "tcp://127.0.0.1:1?nodelya=no"), 2, b"did you mean nodelay"),
        (("dial", "tcp://127.0.0.1:1", "--framing", "lnie"), 2, b"no framing has this name"),
        (("dial", "tcp://127.0.0.1:1", "--eol", "wide"), 2, b"wide"),
        (("undial", "nobody"), 1, b"'nobody' is not dialled; nobody is dialled"),
        (("undial",), 2, b""),
    ):
        done = hub.run(*arguments)
        assert done.returncode == code, (arguments, done)
        assert words in done.stderr, (arguments, done)
    hub.do("dial", f"tcp://127.0.0.1:{free_port()}", "--name", "twice")
    again = hub.run("dial", "tcp://127.0.0.1:1", "--name", "twice")
    assert b"dialled already" in again.stderr
    with socket.create_connection(("127.0.0.1", hub.port())):
        hub.joined(1)
        hub.do("rename", "1", "here")
        taken = hub.run("dial", "tcp://127.0.0.1:1", "--name", "here")
        assert b"another client is called 'here'" in taken.stderr


def test_a_full_hub_dials_on(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0", "--max-clients", "1")
    with server() as (listening, port), socket.create_connection(("127.0.0.1", hub.port())) as client:
        hub.joined(1)
        hub.do("dial", f"tcp://127.0.0.1:{port}", "--name", "press")
        wait_for(lambda: "--max-clients" in dialled(hub, "press")["reason"], "the reason")
        client.close()
        wait_for(lambda: state_of(hub, "press") == "connected", "its place")
        listening.accept()[0].close()
