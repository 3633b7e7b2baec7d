"""`check` on each row of the table of network errors, for real; the exception names the same cause.

The network is that of test_error_table: a client, a router and a server in namespaces of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from namespaces import Namespace
from test_error_table import CLIENT, ROUTER, SERVER, Hosts, at, families, hosts, outcome, protocols

import jackfield
from jackfield.diagnosis import Manner, check
from jackfield.diagnosis.causes import FROM_LIBRARY

__all__ = ["hosts"]
PATIENCE = 8.0
"""Seconds that a router may take: one that has answered several times in a second is silent for a while."""
JACKFIELD = Path(sys.executable).with_name("jackfield")


def both(
    inside: Namespace, address: str, timeout: float = PATIENCE, wait: float | None = None
) -> tuple[dict[str, Any], jackfield.JackfieldError]:
    """The report and the exception, of the same moment."""

    async def main() -> tuple[dict[str, Any], jackfield.JackfieldError]:
        manner = Manner(timeout=timeout, wait=wait)
        report, error = await asyncio.gather(check(address, manner=manner), outcome(address, timeout))
        return report.to_json(), error

    report, error = inside.call(lambda: jackfield.run(main))
    return report, error


def agreed(
    inside: Namespace, address: str, cause: str, *, timeout: float = PATIENCE, wait: float | None = None
) -> dict[str, Any]:
    """The report; its cause, and that of the exception, are the one that is given."""
    report, error = both(inside, address, timeout, wait)
    assert report["cause"] == cause, report
    assert FROM_LIBRARY[str(error.cause)] == cause, error
    assert report["sentence"], report
    assert report["evidence"], report
    assert report["next_step"], report
    return report


def connect_step(report: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(step for step in report["steps"] if step["step"] in ("connect", "send"))
    return found


@families
def test_a_reset(hosts: Hosts, family: int) -> None:
    for port in (80, 84):
        report = agreed(hosts.client, at("tcp", SERVER[family], port), "refused")
        assert report["confidence"] == "likely", "a firewall can send the reset"


@families
def test_a_closed_udp_port(hosts: Hosts, family: int) -> None:
    report = agreed(hosts.client, at("udp", SERVER[family]), "refused")
    assert report["confidence"] == "certain"
    assert connect_step(report)["offender"] == SERVER[family]


@protocols
@families
def test_a_router_that_has_no_way(hosts: Hosts, family: int, protocol: str) -> None:
    for target in {4: ("10.77.0.1", "10.9.0.1"), 6: ("fd77::1", "fd09::1")}[family]:
        report = agreed(hosts.client, at(protocol, target), "router-unreachable", wait=PATIENCE)
        assert connect_step(report)["offender"] == ROUTER[family]
        assert ROUTER[family] in report["sentence"]


@protocols
@families
def test_a_filter(hosts: Hosts, family: int, protocol: str) -> None:
    on_the_way = at(protocol, {4: "10.10.0.1", 6: "fd0a::1"}[family])
    for address, offender in ((on_the_way, ROUTER), (at(protocol, SERVER[family], 81), SERVER)):
        report = agreed(hosts.client, address, "filtered", wait=PATIENCE)
        assert connect_step(report)["offender"] == offender[family]
        assert offender[family] in report["sentence"]


@families
def test_a_tcp_port_refused_by_icmp_is_a_filter(hosts: Hosts, family: int) -> None:
    agreed(hosts.client, at("tcp", SERVER[family], 83), "filtered")


@protocols
@families
def test_a_silent_neighbour(hosts: Hosts, family: int, protocol: str) -> None:
    target = {4: "10.1.0.78", 6: "fd01::78"}[family]
    report = agreed(hosts.client, at(protocol, target), "neighbour-silent", wait=PATIENCE)
    assert report["confidence"] == "certain"
    assert connect_step(report)["offender"] == CLIENT[family]


def test_an_impatient_check_sees_the_silent_neighbour_too(hosts: Hosts) -> None:
    """The kernel asks for three seconds before it says so; its table tells earlier."""
    manner = Manner(timeout=0.5, wait=0.5)
    for address in ("tcp://10.1.0.79:80", "udp://10.1.0.80:80"):

        def look(address: str = address) -> dict[str, Any]:
            return jackfield.run(lambda: check(address, manner=manner)).to_json()

        report = hosts.client.call(look)
        assert (report["cause"], report["confidence"]) == ("neighbour-silent", "likely"), report


def test_a_silent_neighbour_of_a_router(hosts: Hosts) -> None:
    report = agreed(hosts.client, at("tcp", "10.2.0.78"), "router-unreachable")
    assert connect_step(report)["offender"] == ROUTER[4]


def test_a_silent_gateway(hosts: Hosts) -> None:
    hosts.client.route("10.98.0.0/16", "10.1.0.98")
    report = agreed(hosts.client, at("tcp", "10.98.0.1"), "gateway-silent")
    assert "10.1.0.98" in report["sentence"]


@protocols
@families
def test_no_route(hosts: Hosts, family: int, protocol: str) -> None:
    report = agreed(hosts.client, at(protocol, {4: "192.0.2.1", 6: "2001:db8::1"}[family]), "no-route")
    assert report["steps"][0]["kind"] == "none"


@pytest.mark.parametrize(("number", "kind"), [(20, "unreachable"), (21, "prohibit"), (22, "blackhole")])
@families
def test_a_route_of_our_own_that_refuses(hosts: Hosts, family: int, number: int, kind: str) -> None:
    target = {4: f"10.{number}.0.1", 6: f"fd{number}::1"}[family]
    report = agreed(hosts.client, at("tcp", target), "no-route")
    assert report["steps"][0]["kind"] == kind


@families
def test_our_own_firewall(hosts: Hosts, family: int) -> None:
    agreed(hosts.client, at("udp", SERVER[family], 91), "own-firewall")
    for port in (92, 93):
        agreed(hosts.client, at("tcp", SERVER[family], port), "own-firewall")
    agreed(hosts.client, at("tcp", {4: "127.0.0.1", 6: "::1"}[family], 94), "own-firewall")


@families
def test_silence(hosts: Hosts, family: int) -> None:
    report = agreed(hosts.client, at("tcp", SERVER[family], 82), "silence", timeout=1.0)
    assert report["confidence"] == "possible"


def test_silence_over_udp_proves_nothing(hosts: Hosts) -> None:
    done = hosts.client.run([str(JACKFIELD), "check", "udp://10.2.0.1:82", "--wait", "500ms"], check=False)
    assert done.returncode == 24
    assert "which proves nothing" in done.stdout
    assert "sure  possible" in done.stdout


def test_silence_on_the_local_link_is_no_absent_host(hosts: Hosts) -> None:
    """The router drops one port: it is there, its neighbour entry says so."""
    hosts.router.rule("tcp dport 85 drop")
    report = agreed(hosts.client, "tcp://10.1.0.254:85", "silence", timeout=1.0)
    assert report["confidence"] == "likely"
    assert "though the host is there on the local link" in report["sentence"]


@families
def test_a_full_accept_queue_from_afar_and_from_the_host(hosts: Hosts, family: int) -> None:
    with hosts.server.listener(SERVER[family], backlog=0) as listener:
        port = listener.getsockname()[1]
        with hosts.client.socket(listener.family, socket.SOCK_STREAM) as one:
            one.connect((SERVER[family], port))
            agreed(hosts.client, at("tcp", SERVER[family], port), "silence", timeout=1.0)
            report, error = both(hosts.server, at("tcp", SERVER[family], port), 1.0)
    assert (report["cause"], report["confidence"]) == ("accept-queue-full", "certain"), report
    assert FROM_LIBRARY[str(error.cause)] in ("silence", "accept-queue-full")


def test_a_drop_of_our_own_is_no_full_queue(hosts: Hosts) -> None:
    hosts.server.rule("tcp dport 86 drop")
    with hosts.server.listener(SERVER[4], 86):
        report, _ = both(hosts.server, at("tcp", SERVER[4], 86), 1.0)
    assert report["cause"] == "own-firewall", report


def test_a_routing_loop(hosts: Hosts) -> None:
    hosts.router.route("10.67.0.0/16", "10.2.0.1")
    hosts.server.forward()
    agreed(hosts.client, "tcp://10.67.0.1:80", "routing-loop")


def test_an_answer_over_the_network(hosts: Hosts) -> None:
    with hosts.server.listener(SERVER[4]) as listener:

        def greet() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"220 hello\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        command = [str(JACKFIELD), "check", f"{SERVER[4]}:{listener.getsockname()[1]}", "--json"]
        report = json.loads(hosts.client.run(command).stdout)
        thread.join()
    assert report["cause"] == "ok"
    assert report["sentence"].endswith("answers: 220 hello")
    route = report["steps"][0]
    assert (route["gateway"], route["source"], route["interface"]) == (ROUTER[4], CLIENT[4], hosts.device)


# Names -----------------------------------------------------------------------------------------------


def test_of_several_addresses_the_one_that_tells_most(hosts: Hosts) -> None:
    """10.2.0.1 drops that port, and a router says that it has no way to the other."""
    hosts.client.replace_file("/etc/hosts", "10.2.0.1 two.example\n10.77.0.1 two.example\n")
    report = agreed(hosts.client, "tcp://two.example:82", "router-unreachable", timeout=2.0)
    tried = [step["address"] for step in report["steps"] if step["step"] == "connect"]
    assert sorted(tried) == ["10.2.0.1:82", "10.77.0.1:82"]


@pytest.fixture
def name_server(hosts: Hosts) -> Iterator[socket.socket]:
    """The socket of a name server on the server; who waits for it decides what it answers."""
    with hosts.server.datagrams(SERVER[4], 53) as bound:
        yield bound


@contextlib.contextmanager
def answering(hosts: Hosts, bound: socket.socket, rcode: int) -> Iterator[None]:
    """Answer every question with that response code (RFC 1035, section 4.1.1)."""

    def answer() -> None:
        while True:
            question, peer = bound.recvfrom(2048)
            if not question:
                return
            head = question[:2] + bytes([0x81, 0x80 | rcode]) + question[4:6] + bytes(6)
            bound.sendto(head + question[12:], peer)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield
    finally:
        with hosts.server.datagrams(SERVER[4]) as end:
            end.sendto(b"", bound.getsockname())
        thread.join()


def test_a_name_that_does_not_exist(hosts: Hosts, name_server: socket.socket) -> None:
    hosts.client.name_servers(SERVER[4])
    with answering(hosts, name_server, 3):
        report = agreed(hosts.client, "tcp://nosuch.example:80", "no-such-host")
    assert SERVER[4] in report["because"]


def test_a_name_server_that_fails(hosts: Hosts, name_server: socket.socket) -> None:
    hosts.client.name_servers(SERVER[4])
    with answering(hosts, name_server, 2):
        report = agreed(hosts.client, "tcp://x.example:80", "name-not-resolved")
    assert any("SERVFAIL" in line and SERVER[4] in line for line in report["evidence"]), report
    with answering(hosts, name_server, 0):
        report = agreed(hosts.client, "tcp://x.example:80", "name-not-resolved")
    assert "has no address" in report["sentence"]


def test_a_silent_name_server(hosts: Hosts, name_server: socket.socket) -> None:
    hosts.client.name_servers(SERVER[4])
    report = agreed(hosts.client, "tcp://nosuch.example:80", "name-server-silent", timeout=4.0)
    assert SERVER[4] in report["sentence"]


def test_a_check_does_not_wait_longer_for_a_name_server_than_it_was_told(
    hosts: Hosts, name_server: socket.socket
) -> None:
    hosts.client.name_servers(SERVER[4], options="timeout:15 attempts:1")
    command = [str(JACKFIELD), "check", "nosuch.example:80", "--timeout", "500ms", "--json"]
    done = hosts.client.run(command, check=False, limit=12)
    assert (done.returncode, json.loads(done.stdout)["cause"]) == (12, "name-server-silent")
