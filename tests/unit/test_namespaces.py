"""The tests' own networks: what others build on must do what it says."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
from pathlib import Path

import namespaces
import pytest
from namespaces import Network

import jackfield


def reached(listener: socket.socket) -> bool:
    """Whether somebody has connected."""
    taken, _ = listener.accept()
    with taken:
        return taken.recv(5) == b"hello"


def send_hello(host: str, port: int) -> str:
    with socket.create_connection((host, port), timeout=10) as plain:
        plain.sendall(b"hello")
        return str(plain.getsockname()[0])


@pytest.mark.parametrize("addresses", [("10.1.0.1/24", "10.1.0.2/24"), ("fd01::1/64", "fd01::2/64")])
def test_two_hosts_talk_over_a_link(network: Network, addresses: tuple[str, str]) -> None:
    client, server = network.namespace(), network.namespace()
    client.link(server, *addresses)
    host = addresses[1].partition("/")[0]
    with server.listener(host) as listener:
        port = listener.getsockname()[1]
        assert client.call(lambda: send_hello(host, port)) == addresses[0].partition("/")[0]
        assert reached(listener)


def test_a_router_forwards(network: Network) -> None:
    client, router, server = network.namespace(), network.namespace(), network.namespace()
    client.link(router, "10.1.0.1/24", "10.1.0.254/24")
    router.link(server, "10.2.0.254/24", "10.2.0.1/24")
    client.route("default", "10.1.0.254")
    server.route("default", "10.2.0.254")
    router.forward()
    with server.listener("10.2.0.1") as listener:
        port = listener.getsockname()[1]
        assert client.call(lambda: send_hello("10.2.0.1", port)) == "10.1.0.1"
        assert reached(listener)


def test_rules_and_routes_say_no(network: Network) -> None:
    host = network.namespace()
    host.rule("tcp dport 81 reject with tcp reset")
    host.refuse_route("10.9.0.0/16", "prohibit")

    def errors() -> list[type[Exception]]:
        kinds = []
        for place in (("127.0.0.1", 81), ("10.9.0.1", 80)):
            try:
                socket.create_connection(place, timeout=10)
            except OSError as error:
                kinds.append(type(error))
        return kinds

    assert host.call(errors) == [ConnectionRefusedError, PermissionError]


def test_what_is_raised_inside_is_raised_outside(network: Network) -> None:
    host = network.namespace()

    async def refused() -> None:
        await jackfield.connect("tcp://127.0.0.1:1")

    with pytest.raises(jackfield.ConnectRefused) as caught:
        host.call(lambda: jackfield.run(refused))
    assert str(caught.value.address) == "tcp://127.0.0.1:1"
    with pytest.raises(AssertionError, match="within"):
        host.call(lambda: os.read(os.pipe()[0], 1), limit=0.1)


def test_a_file_is_another_one_inside(network: Network) -> None:
    host = network.namespace()
    before = Path("/etc/resolv.conf").read_text()
    host.name_servers("127.0.0.9")
    assert "nameserver 127.0.0.9\n" in host.run(["cat", "/etc/resolv.conf"]).stdout
    assert host.python("import os; print(os.getcwd())").strip() == os.getcwd()
    assert Path("/etc/resolv.conf").read_text() == before


def test_a_process_says_when_it_is_ready(network: Network) -> None:
    host = network.namespace()

    def serve(ready: object) -> bytes:
        with socket.create_server(("127.0.0.1", 0)) as server:
            ready(server.getsockname()[1])  # type: ignore[operator]
            taken, _ = server.accept()
            with taken:
                return taken.recv(5)

    serving = host.start(serve)
    port = serving.ready()
    host.call(lambda: send_hello("127.0.0.1", port))
    assert serving.result() == b"hello"


def test_a_forged_packet_arrives(network: Network) -> None:
    victim, forger = network.namespace(), network.namespace()
    victim.link(forger, "10.1.0.1/24", "10.1.0.2/24")
    with victim.datagrams("10.1.0.1") as plain:
        plain.connect(("10.1.0.2", 7))
        forger.forge_unreachable(namespaces.udp_beginning(plain.getsockname(), ("10.1.0.2", 7)), 3)
        with pytest.raises(ConnectionRefusedError):
            plain.recv(1)


def test_nothing_is_left_behind(network: Network) -> None:
    """Not even of a process that was killed while its namespaces stood."""
    script = (
        "import os, sys, namespaces\n"
        "network = namespaces.Network()\n"
        "one, two = network.namespace(), network.namespace()\n"
        "one.link(two, '10.1.0.1/24', '10.1.0.2/24')\n"
        "os.rmdir(network.directory)\n"
        "print(one.pid, two.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    network.namespace()  # skips where there are none
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    other = subprocess.Popen(
        [sys.executable, "-c", script],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout is not None
    assert other.stdin is not None
    pids = [int(word) for word in other.stdout.readline().split()]
    assert len(pids) == 2
    watched = [os.pidfd_open(pid) for pid in pids]
    other.kill()
    other.wait()
    other.stdin.close()
    other.stdout.close()
    for descriptor in watched:
        assert select.select([descriptor], [], [], 20)[0], "a holder outlived its test"
        os.close(descriptor)
