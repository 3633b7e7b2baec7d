"""Names that do not resolve: which server was asked and what it said, with name servers of the test's own."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from namespaces import Namespace, Network
from support import eventually

import jackfield
import jackfield._names
from jackfield import Cause
from jackfield._loop import current_reactor

SERVER = "10.1.0.2"
NAME = "db.example"


@pytest.fixture
def ends(network: Network) -> tuple[Namespace, Namespace]:
    """A client, and the host of its name server."""
    client, server = network.namespace(), network.namespace()
    client.link(server, "10.1.0.1/24", "10.1.0.2/24")
    client.name_servers(SERVER)
    return client, server


@contextmanager
def name_server(inside: Namespace, code: int, *, address: bytes = b"") -> Iterator[list[str]]:
    """A server that gives every question the same answer; gives the names that were asked."""
    asked: list[str] = []
    plain = inside.datagrams(SERVER, 53)
    stop = inside.datagrams(SERVER)

    def serve() -> None:
        while True:
            packet, sender = plain.recvfrom(1000)
            if packet == b"stop":
                return
            labels, at = [], 12
            while packet[at]:
                labels.append(packet[at + 1 : at + 1 + packet[at]].decode())
                at += 1 + packet[at]
            end = at + 5
            kind = int.from_bytes(packet[at + 1 : at + 3], "big")
            asked.append(".".join(labels))
            records = b""
            if address and {1: 4, 28: 16}.get(kind) == len(address):
                records = b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(address)) + address
            head = struct.pack("!HHHHH", 0x8180 | code, 1, bool(records), 0, 0)
            plain.sendto(packet[:2] + head + packet[12:end] + records, sender)

    thread = threading.Thread(target=serve)
    with plain, stop:
        plain.settimeout(None)
        thread.start()
        try:
            yield asked
        finally:
            stop.sendto(b"stop", (SERVER, 53))
            thread.join()


def failing(
    inside: Namespace, address: str, timeout: float = 20.0
) -> tuple[jackfield.ConnectFailed, float, float]:
    """The error, the seconds until it came, and those until the whole program had ended."""

    async def main() -> tuple[jackfield.ConnectFailed, float]:
        started = time.monotonic()
        with pytest.raises(jackfield.ConnectFailed) as caught:
            await jackfield.connect(address, connect_timeout=timeout)
        took = time.monotonic() - started
        await eventually(lambda: len(current_reactor()) == 0, "no question is left open")
        return caught.value, took

    def whole() -> tuple[jackfield.ConnectFailed, float, float]:
        started = time.monotonic()
        error, took = jackfield.run(main)
        return error, took, time.monotonic() - started

    return inside.call(whole)


@pytest.mark.parametrize(
    ("code", "cause", "says"),
    [
        (3, Cause.NO_SUCH_NAME, f"no such name (the name server {SERVER} answered NXDOMAIN for {NAME})"),
        (2, Cause.NAME_SERVER_FAILED, f"could not find out (the name server {SERVER} answered SERVFAIL"),
        (5, Cause.NAME_SERVER_FAILED, f"refuses to answer this machine (the name server {SERVER}"),
        (0, Cause.NAME_WITHOUT_ADDRESS, "the name exists, but has no address"),
    ],
    ids=["NXDOMAIN", "SERVFAIL", "REFUSED", "no address"],
)
def test_an_answer_without_an_address(
    ends: tuple[Namespace, Namespace], code: int, cause: Cause, says: str
) -> None:
    client, server = ends
    with name_server(server, code):
        error, _, _ = failing(client, f"tcp://{NAME}:80")
    assert type(error) is jackfield.NameNotResolved
    assert (error.cause, error.stage, error.offender) == (cause, "resolve", SERVER)
    assert says in str(error)
    assert [answer.server for answer in error.servers] == [SERVER]


def test_a_name_with_an_address_of_the_other_family(ends: tuple[Namespace, Namespace]) -> None:
    client, server = ends
    client.ip("-6 addr flush dev jf0")
    with name_server(server, 0, address=socket.inet_pton(socket.AF_INET6, "2001:db8::1")):
        error, _, _ = failing(client, f"tcp://{NAME}:80")
    assert error.cause is Cause.NAME_WITHOUT_ADDRESS
    assert f"only IPv6 addresses, and this machine has none of its own (the name server {SERVER}" in str(
        error
    )


def test_a_silent_name_server_ends_within_the_limit(ends: tuple[Namespace, Namespace]) -> None:
    """The resolver itself would wait for ten seconds, and so must not even the end of the program."""
    client, server = ends
    client.name_servers(SERVER, options="timeout:5 attempts:2")
    with server.datagrams(SERVER, 53):
        error, took, whole = failing(client, f"tcp://{NAME}:80", timeout=1.5)
    assert type(error) is jackfield.ConnectTimedOut
    assert (error.cause, error.stage) == (Cause.NAME_SERVER_SILENT, "resolve")
    assert f"no name server answered within 1.5 s: {SERVER} was silent for" in str(error)
    assert 1.5 <= took <= whole < 9


def test_a_name_server_that_stays_silent_until_the_resolver_gives_up(
    ends: tuple[Namespace, Namespace],
) -> None:
    client, server = ends
    with server.datagrams(SERVER, 53):
        error, _, _ = failing(client, f"tcp://{NAME}:80")
    assert type(error) is jackfield.NameNotResolved
    assert error.cause is Cause.NAME_SERVER_SILENT
    assert f"no name server answered: {SERVER} was silent for" in str(error)


def test_a_name_server_whose_port_is_closed(ends: tuple[Namespace, Namespace]) -> None:
    client, _ = ends
    error, _, _ = failing(client, f"tcp://{NAME}:80")
    assert error.cause is Cause.NAME_SERVER_SILENT
    assert f"{SERVER} is unreachable: the host is up and answered that its port 53 is closed" in str(error)


def test_no_route_to_the_name_server(network: Network) -> None:
    host = network.namespace()
    host.name_servers(SERVER)
    error, _, _ = failing(host, f"tcp://{NAME}:80")
    assert f"{SERVER} is unreachable: this machine has no route to {SERVER}" in str(error)


def test_a_machine_that_asks_nobody(network: Network) -> None:
    host = network.namespace()
    host.replace_file("/etc/resolv.conf", "nameserver 10.1.0.2\n")
    host.replace_file("/etc/nsswitch.conf", "hosts: files\n")
    error, _, _ = failing(host, f"tcp://{NAME}:80")
    assert error.cause is Cause.NO_SUCH_NAME
    assert "this machine asks no name server (`hosts: files` in /etc/nsswitch.conf)" in str(error)
    other = network.namespace()
    other.replace_file("/etc/resolv.conf", "# nothing\n")
    other.replace_file("/etc/nsswitch.conf", "hosts: files dns\n")
    error, _, _ = failing(other, f"tcp://{NAME}:80")
    assert error.cause is Cause.NO_NAME_SERVER
    assert "no name server is configured" in str(error)


def test_listening_on_such_a_name(ends: tuple[Namespace, Namespace]) -> None:
    client, server = ends

    async def main() -> jackfield.NameNotResolved:
        with pytest.raises(jackfield.NameNotResolved) as caught:
            await jackfield.listen(f"tcp://{NAME}:0")
        return caught.value

    with name_server(server, 3) as asked:
        error = client.call(lambda: jackfield.run(main))
    assert (error.cause, error.offender) == (Cause.NO_SUCH_NAME, SERVER)
    assert set(asked) == {NAME}


def test_an_endpoint_and_such_a_name(ends: tuple[Namespace, Namespace]) -> None:
    client, server = ends

    async def main() -> list[jackfield.NameNotResolved]:
        errors = []
        with pytest.raises(jackfield.NameNotResolved) as caught:
            await jackfield.bind(f"udp://{NAME}:0")
        errors.append(caught.value)
        async with jackfield.bind("udp://:0") as endpoint:
            with pytest.raises(jackfield.NameNotResolved) as caught:
                await endpoint.resolve(f"udp://{NAME}:7")
        return [*errors, caught.value]

    with name_server(server, 3):
        for error in client.call(lambda: jackfield.run(main)):
            assert (error.cause, error.offender) == (Cause.NO_SUCH_NAME, SERVER)


def test_a_name_that_resolves_asks_nothing_more(ends: tuple[Namespace, Namespace]) -> None:
    """Neither do numbers; and a silent address is no affair of the name server's."""
    client, server = ends

    def connecting(address: str) -> Callable[[], str]:
        async def main() -> str:
            jackfield._names.PATIENCE = 20.0  # a slow machine is not to look like a slow resolver
            async with jackfield.connect(address) as channel:
                return str(channel.peer)

        return lambda: jackfield.run(main)

    with (
        name_server(server, 0, address=socket.inet_aton(SERVER)) as asked,
        server.listener(SERVER, 80),
    ):
        assert client.call(connecting(f"tcp://{NAME}:80")) == f"tcp://{SERVER}:80"
        # The resolver's own two questions: A, and AAAA where the client has an IPv6 address.
        assert len(asked) <= 2
        before = len(asked)
        assert client.call(connecting(f"tcp://{SERVER}:80")) == f"tcp://{SERVER}:80"
        assert len(asked) == before
