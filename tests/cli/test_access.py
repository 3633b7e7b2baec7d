"""Who may come to a listener, tried against a real hub: consent at the start, networks, rates."""

from __future__ import annotations

import contextlib
import json
import shlex
import socket
import ssl
import subprocess
from pathlib import Path

import pytest
from programs import JACKFIELD, HubProcess, StartHub, wait_for


def serve(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [JACKFIELD, "serve", *arguments], capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL
    )


@pytest.mark.parametrize("address", ["7000", "tcp://:7000", "udp://0.0.0.0:7000", "tcp://[::]:7000"])
def test_a_hub_for_others_without_a_word_does_not_start(address: str, directory: Path) -> None:
    done = serve(address, "--framing", "line", "--control", f"{directory}/hub.sock")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("jackfield: ")
    assert done.stderr.count("\n") == 1
    assert "nothing says who may come" in done.stderr
    line = done.stderr.partition("run: jackfield serve ")[2].partition(" (")[0]
    assert shlex.split(line)[0].endswith(",access=plain")
    assert line.endswith(f" --framing line --control {directory}/hub.sock")


def test_the_line_that_is_printed_works(start_hub: StartHub, directory: Path) -> None:
    refused = serve("tcp://:0,framing=line", "udp://:0", "unix://@jackfield-consent", "--plain")
    words = refused.stderr.partition("run: jackfield serve ")[2].partition(" (")[0].split()
    consenting = ["tcp://:0,framing=line,access=plain", "udp://:0,access=plain"]
    assert words == [*consenting, "unix://@jackfield-consent", "--plain"]
    hub = start_hub(*words)
    with socket.create_connection(("127.0.0.1", hub.port())):
        hub.joined(1)
    configuration = directory / "jackfield.toml"
    configuration.write_text('listen = ["tcp://:7000"]\n')
    done = serve("--config", str(configuration))
    assert done.returncode != 0
    assert "write tcp://:7000,access=plain" in done.stderr


def ended(peer: socket.socket) -> bool:
    """Whether the other side ends the connection, by whatever means."""
    try:
        return peer.recv(10) == b""
    except ConnectionResetError:
        return True


def from_host(host: str, hub: HubProcess, index: int = 0) -> socket.socket:
    return socket.create_connection(("127.0.0.1", hub.port(index)), source_address=(host, 0), timeout=10)


def test_who_is_not_in_allow_is_refused_and_counted(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0,allow=127.0.0.2/32", "udp://127.0.0.1:0,allow=127.0.0.2/32")
    with contextlib.suppress(ConnectionResetError), from_host("127.0.0.1", hub) as stranger:
        assert ended(stranger)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as friend,
    ):
        stranger.bind(("127.0.0.1", 0))
        friend.bind(("127.0.0.2", 0))
        for _ in range(50):
            stranger.sendto(b"spoof", ("127.0.0.1", hub.port(1)))
        friend.sendto(b"hello", ("127.0.0.1", hub.port(1)))
        with from_host("127.0.0.2", hub):
            hub.joined(2)
            assert {client["peer"].split(":")[0] for client in hub.clients()} == {"127.0.0.2"}
    assert b'reason="its address is not among those of allow="' in hub.out
    assert b"spoof" not in hub.do("logs", "-n", "1000")
    counted = wait_for(lambda: hub.out.count(b" refused "), "the log")
    assert counted < 40  # a flood is not a flood of lines


def test_a_client_beyond_its_rates_is_disconnected_and_others_are_not(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0,framing=line,message_rate=10/s")
    with from_host("127.0.0.1", hub) as calm, from_host("127.0.0.1", hub) as loud:
        calm.sendall(b"hello\n")
        hub.joined(2)
        loud.sendall(b"flood\n" * 1000)
        hub.seen(rb" left .*disconnected for more than 10 messages a second")
        assert len(hub.clients()) == 1
        calm.sendall(b"still here\n")
        hub.do("send", "all", "good")
        assert calm.recv(10)


def test_connects_of_an_address_are_limited(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0,connect_rate=2/s")
    opened = []
    for _ in range(40):
        with contextlib.suppress(ConnectionResetError):  # refused while connect(2) still waits for its end
            opened.append(from_host("127.0.0.3", hub))
    hub.seen(rb" refused .*connects a second")
    with from_host("127.0.0.4", hub) as other:
        name = f"127.0.0.4:{other.getsockname()[1]}"
        wait_for(lambda: name in [client["peer"] for client in hub.clients()], "the other one")
    for each in opened:
        each.close()


def test_handshakes_of_an_address_are_limited_before_they_begin(start_hub: StartHub) -> None:
    hub = start_hub("tls://127.0.0.1:0,connect_rate=2/s")
    crowd = []
    for _ in range(100):
        with contextlib.suppress(ConnectionResetError):
            crowd.append(from_host("127.0.0.3", hub))
    hub.seen(
        rb"handshake_failed .*peer=127\.0\.0\.3:.* cause=handshake_rate .*more than 2 a second of its address"
    )
    assert json.loads(hub.do("status", "--json"))["handshake_causes"]["handshake_rate"] >= 50
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(from_host("127.0.0.4", hub)) as other:
        name = f"127.0.0.4:{other.getsockname()[1]}"
        wait_for(lambda: name in [client["peer"] for client in hub.clients()], "the other one")
    for each in crowd:
        each.close()
