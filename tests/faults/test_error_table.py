"""Each row of the table of network errors, for real: class, facts and words, none named wrong.

A client, a router and a server, each in a network namespace of its own:

    client 10.1.0.1 -- 10.1.0.254 router 10.2.0.254 -- 10.2.0.1 server        (fd01::1 and so on)
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import namespaces
import pytest
from namespaces import Namespace, Network

import jackfield
from jackfield import Cause

IP_RECVERR = 11
SERVER = {4: "10.2.0.1", 6: "fd02::1"}
ROUTER = {4: "10.1.0.254", 6: "fd01::254"}
CLIENT = {4: "10.1.0.1", 6: "fd01::1"}

families = pytest.mark.parametrize("family", [4, 6], ids=["v4", "v6"])
protocols = pytest.mark.parametrize("protocol", ["tcp", "udp"])


@dataclass
class Hosts:
    """The three namespaces."""

    client: Namespace
    router: Namespace
    server: Namespace
    device: str
    """The client's interface."""


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    with Network() as network:
        client, router, server = network.namespace(), network.namespace(), network.namespace()
        device = client.link(router, "10.1.0.1/24", "10.1.0.254/24", "fd01::1/64", "fd01::254/64")
        router.link(server, "10.2.0.254/24", "10.2.0.1/24", "fd02::254/64", "fd02::1/64")
        router.forward()
        for family in (4, 6):
            client.route("10.0.0.0/9" if family == 4 else "fd00::/9", ROUTER[family])
            server.route("default", {4: "10.2.0.254", 6: "fd02::254"}[family])
        for net in ("10.9.0.0/16", "fd09::/64"):
            router.refuse_route(net, "unreachable")
        for net in ("10.10.0.0/16", "fd0a::/64"):
            router.refuse_route(net, "prohibit")
        for number, kind in enumerate(("unreachable", "prohibit", "blackhole"), start=20):
            client.refuse_route(f"10.{number}.0.0/16", kind)
            client.refuse_route(f"fd{number}::/64", kind)
        server.rule("meta l4proto { tcp, udp } th dport 81 reject with icmpx admin-prohibited")
        server.rule("meta l4proto { tcp, udp } th dport 82 drop")
        server.rule("tcp dport 83 reject with icmpx port-unreachable")
        server.rule("tcp dport 84 reject with tcp reset")
        client.rule("meta l4proto { tcp, udp } th dport 91 drop", hook="output")
        client.rule("tcp dport 92 reject with icmpx admin-prohibited", hook="output")
        client.rule("tcp dport 93 reject with icmpx host-unreachable", hook="output")
        client.rule("tcp dport 94 reject with icmpx admin-prohibited", hook="input")
        yield Hosts(client, router, server, device)


def at(protocol: str, host: str, port: int = 80) -> str:
    return f"{protocol}://[{host}]:{port}" if ":" in host else f"{protocol}://{host}:{port}"


async def outcome(address: str, timeout: float = 10.0) -> jackfield.JackfieldError:
    """How connecting, and for datagrams the first message, fails."""
    try:
        async with jackfield.connect(address, connect_timeout=timeout) as channel:
            while address.startswith("udp"):
                # A router that has answered several times in a second may be silent for a while.
                await channel.send(b"anybody there?")
                with contextlib.suppress(jackfield.TimedOut):
                    await channel.receive(4.0)
    except jackfield.JackfieldError as error:
        return error
    raise AssertionError(f"{address} can be connected")


def failures(inside: Namespace, *addresses: str, timeout: float = 10.0) -> list[jackfield.JackfieldError]:
    """The outcomes of several at once."""

    async def main() -> list[jackfield.JackfieldError]:
        async with asyncio.timeout(25):
            return list(await asyncio.gather(*(outcome(address, timeout) for address in addresses)))

    return inside.call(lambda: jackfield.run(main))


def failure(inside: Namespace, address: str, timeout: float = 10.0) -> jackfield.JackfieldError:
    (only,) = failures(inside, address, timeout=timeout)
    return only


def facts(error: jackfield.JackfieldError) -> tuple[str, Cause | None, int | None, str | None, object]:
    """What a program looks at."""
    return type(error).__name__, error.cause, error.errno, error.offender, error.icmp


def unreachable(protocol: str) -> str:
    """TCP says it of connecting, UDP of a datagram that was sent."""
    return "HostUnreachable" if protocol == "tcp" else "ChannelLost"


@families
def test_a_reset(hosts: Hosts, family: int) -> None:
    for port in (80, 84):  # closed, and a firewall that sends the reset: nobody could tell them apart
        error = failure(hosts.client, at("tcp", SERVER[family], port))
        assert facts(error) == (
            "ConnectRefused",
            Cause.NOTHING_LISTENS,
            errno.ECONNREFUSED,
            None,
            None,
        )
        assert f"answered with a reset, and nothing listens on port {port} (or a firewall" in str(error)


@families
def test_a_closed_udp_port(hosts: Hosts, family: int) -> None:
    error = failure(hosts.client, at("udp", SERVER[family]))
    icmp = {4: (3, 3), 6: (1, 4)}[family]
    assert facts(error) == (
        "ChannelLost",
        Cause.PORT_CLOSED,
        errno.ECONNREFUSED,
        SERVER[family],
        icmp,
    )
    assert "the host is up and answered that its port 80 is closed" in str(error)


@protocols
@families
def test_a_router_without_a_route(hosts: Hosts, family: int, protocol: str) -> None:
    target = {4: "10.77.0.1", 6: "fd77::1"}[family]
    error = failure(hosts.client, at(protocol, target))
    icmp = {4: (3, 0), 6: (1, 0)}[family]
    kind = unreachable(protocol)
    assert facts(error) == (kind, Cause.ROUTER_REFUSED, errno.ENETUNREACH, ROUTER[family], icmp)
    assert f"the router {ROUTER[family]} has no route to {target}" in str(error)


@protocols
@families
def test_a_router_that_refuses(hosts: Hosts, family: int, protocol: str) -> None:
    """Over IPv6 the kernel of such a router says "no route"."""
    target = {4: "10.9.0.1", 6: "fd09::1"}[family]
    error = failure(hosts.client, at(protocol, target))
    number, icmp = {4: (errno.EHOSTUNREACH, (3, 1)), 6: (errno.ENETUNREACH, (1, 0))}[family]
    assert facts(error) == (unreachable(protocol), Cause.ROUTER_REFUSED, number, ROUTER[family], icmp)
    assert f"the router {ROUTER[family]} " in str(error)


@protocols
@families
def test_a_filter_on_the_way(hosts: Hosts, family: int, protocol: str) -> None:
    error = failure(hosts.client, at(protocol, {4: "10.10.0.1", 6: "fd0a::1"}[family]))
    number, icmp = {4: (errno.EHOSTUNREACH, (3, 13)), 6: (errno.EACCES, (1, 1))}[family]
    assert facts(error) == (unreachable(protocol), Cause.FILTERED, number, ROUTER[family], icmp)
    assert f"a filter at {ROUTER[family]}, on the way to the host, refuses it" in str(error)
    assert "administratively prohibited" in str(error)


@protocols
@families
def test_a_filter_at_the_host(hosts: Hosts, family: int, protocol: str) -> None:
    error = failure(hosts.client, at(protocol, SERVER[family], 81))
    number, icmp = {4: (errno.EHOSTUNREACH, (3, 13)), 6: (errno.EACCES, (1, 1))}[family]
    assert facts(error) == (unreachable(protocol), Cause.FILTERED, number, SERVER[family], icmp)
    assert f"a filter at the host itself ({SERVER[family]}) refuses it" in str(error)


@families
def test_a_tcp_port_refused_by_icmp_is_a_filter(hosts: Hosts, family: int) -> None:
    error = failure(hosts.client, at("tcp", SERVER[family], 83))
    icmp = {4: (3, 3), 6: (1, 4)}[family]
    assert facts(error) == (
        "ConnectRefused",
        Cause.FILTERED,
        errno.ECONNREFUSED,
        SERVER[family],
        icmp,
    )
    assert "a closed TCP port would have answered otherwise" in str(error)


def test_silent_neighbours(hosts: Hosts) -> None:
    """On our own link, and on a link behind the router. The kernel asks for three seconds: all at once."""
    own = {4: "10.1.0.77", 6: "fd01::77"}
    far = {4: "10.2.0.77", 6: "fd02::77"}
    icmp = {4: (3, 1), 6: (1, 3)}
    cases = [(protocol, family) for protocol in ("tcp", "udp") for family in (4, 6)]
    addresses = [at(protocol, own[family]) for protocol, family in cases]
    addresses += [at(protocol, far[family]) for protocol, family in cases]
    errors = failures(hosts.client, *addresses)
    for (protocol, family), error in zip(cases, errors, strict=False):
        assert facts(error) == (
            unreachable(protocol),
            Cause.NO_SUCH_NEIGHBOUR,
            errno.EHOSTUNREACH,
            CLIENT[family],
            icmp[family],
        )
        assert f"nobody answered for {own[family]} on {hosts.device}" in str(error)
    for (protocol, family), error in zip(cases, errors[len(cases) :], strict=True):
        assert facts(error) == (
            unreachable(protocol),
            Cause.ROUTER_REFUSED,
            errno.EHOSTUNREACH,
            ROUTER[family],
            icmp[family],
        )
        assert f"the router {ROUTER[family]} answered that it cannot reach {far[family]}" in str(error)
        if protocol == "tcp":
            assert "it probably found no such host on its link" in str(error)


def test_a_link_local_address(hosts: Hosts) -> None:
    """It holds on one link only, and the kernel sends itself no message about it: its own tables know."""
    zone = hosts.device
    error = failure(hosts.client, f"tcp://[fe80::77%25{zone}]:80", timeout=2.0)
    assert facts(error) == ("ConnectTimedOut", Cause.NO_SUCH_NEIGHBOUR, errno.ETIMEDOUT, None, None)
    assert f"nobody answered for fe80::77 on {zone} (neighbour discovery)" in str(error)
    (link_local,) = (
        word.partition("/")[0]
        for word in hosts.router.ip(f"-6 addr show dev {zone} scope link").split()
        if word.startswith("fe80::")
    )
    closed = failure(hosts.client, f"udp://[{link_local}%25{zone}]:80")
    assert facts(closed)[1:4] == (Cause.PORT_CLOSED, errno.ECONNREFUSED, link_local)


def test_a_silent_neighbour_when_there_is_no_time_to_wait_for_the_kernel(hosts: Hosts) -> None:
    addresses = [at("tcp", "10.1.0.78"), at("tcp", "fd01::78")]
    for error in failures(hosts.client, *addresses, timeout=1.5):
        assert facts(error)[:3] == ("ConnectTimedOut", Cause.NO_SUCH_NEIGHBOUR, errno.ETIMEDOUT)


def test_a_silent_gateway(hosts: Hosts) -> None:
    gateways = {4: "10.1.0.99", 6: "fd01::99"}
    hosts.client.route("10.99.0.0/16", gateways[4])
    hosts.client.route("fd99::/64", gateways[6])
    addresses = [at(protocol, host) for protocol in ("tcp", "udp") for host in ("10.99.0.1", "fd99::1")]
    for address, error in zip(addresses, failures(hosts.client, *addresses), strict=True):
        family = 6 if "[" in address else 4
        assert facts(error)[:4] == (
            unreachable(address[:3]),
            Cause.GATEWAY_SILENT,
            errno.EHOSTUNREACH,
            CLIENT[family],
        )
        assert f"the gateway {gateways[family]} does not answer" in str(error)


@protocols
@families
def test_no_route_here(hosts: Hosts, family: int, protocol: str) -> None:
    target = {4: "192.0.2.1", 6: "2001:db8::1"}[family]
    error = failure(hosts.client, at(protocol, target))
    assert facts(error) == ("HostUnreachable", Cause.NO_ROUTE, errno.ENETUNREACH, None, None)
    assert "its own routing table ends there" in str(error)


@pytest.mark.parametrize(
    ("number", "kind", "code", "expected"),
    [
        (20, "unreachable", errno.EHOSTUNREACH, "HostUnreachable"),
        (21, "prohibit", errno.EACCES, "AccessDenied"),
        (22, "blackhole", errno.EINVAL, "HostUnreachable"),
    ],
)
@protocols
@families
def test_a_route_of_our_own_that_refuses(
    hosts: Hosts, family: int, protocol: str, number: int, kind: str, code: int, expected: str
) -> None:
    target = {4: f"10.{number}.0.1", 6: f"fd{number}::1"}[family]
    error = failure(hosts.client, at(protocol, target))
    assert facts(error) == (expected, Cause.OWN_ROUTE_REFUSES, code, None, None)
    assert f"{target} is in a route of type {kind}" in str(error)


@families
def test_our_own_firewall(hosts: Hosts, family: int) -> None:
    host = SERVER[family]
    dropped = failure(hosts.client, at("udp", host, 91))
    assert facts(dropped) == ("ChannelLost", Cause.OWN_FIREWALL, errno.EPERM, None, None)
    for port in (92, 93):
        rejected = failure(hosts.client, at("tcp", host, port))
        assert facts(rejected)[:2] == ("AccessDenied", Cause.OWN_FIREWALL)
        assert rejected.offender == CLIENT[family]
        assert "a firewall rule of this machine refuses it" in str(rejected)
    inside = failure(hosts.client, at("tcp", {4: "127.0.0.1", 6: "::1"}[family], 94))
    assert facts(inside)[:2] == ("AccessDenied", Cause.OWN_FIREWALL)


@families
def test_silence(hosts: Hosts, family: int) -> None:
    error = failure(hosts.client, at("tcp", SERVER[family], 82), timeout=0.5)
    assert facts(error) == ("ConnectTimedOut", Cause.NO_ANSWER, errno.ETIMEDOUT, None, None)
    assert "a firewall drops the packets, or the server's accept queue is full" in str(error)
    assert error.attempts[0].elapsed is not None
    assert 0.3 < error.attempts[0].elapsed < 10


@families
def test_a_full_accept_queue_is_silence(hosts: Hosts, family: int) -> None:
    with hosts.server.listener(SERVER[family], backlog=0) as listener:
        port = listener.getsockname()[1]
        with hosts.client.socket({4: socket.AF_INET, 6: socket.AF_INET6}[family], socket.SOCK_STREAM) as one:
            one.connect((SERVER[family], port))
            error = failure(hosts.client, at("tcp", SERVER[family], port), timeout=0.5)
            assert facts(error)[:2] == ("ConnectTimedOut", Cause.NO_ANSWER)
            here = failure(hosts.server, at("tcp", SERVER[family], port), timeout=0.5)
    assert facts(here)[:2] == ("ConnectTimedOut", Cause.NO_ANSWER)
    assert "from this machine itself: the server's accept queue is full" in str(here)


def test_a_routing_loop(hosts: Hosts) -> None:
    hosts.router.route("10.66.0.0/16", "10.2.0.1")
    hosts.server.forward()
    error = failure(hosts.client, at("tcp", "10.66.0.1"))
    assert facts(error)[:3] == ("HostUnreachable", Cause.ROUTING_LOOP, errno.EHOSTUNREACH)
    assert error.icmp == (11, 0)
    assert f"at {error.offender} their time to live had run out" in str(error)


def test_an_interface_that_is_down(network: Network) -> None:
    host, other = network.namespace(), network.namespace()
    device = host.link(other, "10.5.0.1/24", "10.5.0.2/24")
    host.link_down(device)
    error = failure(host, "tcp://10.5.0.2:80")
    assert facts(error) == ("HostUnreachable", Cause.NO_ROUTE, errno.ENETUNREACH, None, None)


@pytest.mark.parametrize("ours", [True, False], ids=["ours", "a socket that keeps messages"])
def test_a_forged_message_does_not_harm_an_established_connection(hosts: Hosts, ours: bool) -> None:
    """While connecting the socket keeps ICMP messages; from then on one of them could end the connection."""

    async def talk(ready: Callable[[object], None]) -> bytes:
        address = at("tcp", SERVER[4], port)
        async with jackfield.connect(address, framing="line") as channel:
            ready((channel.local.host, channel.local.port))
            return await channel.receive(20) + await channel.receive(20)

    def keep(ready: Callable[[object], None]) -> bytes:
        with socket.socket() as plain:
            plain.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
            plain.connect((SERVER[4], port))
            ready(plain.getsockname())
            return b"".join(plain.recv(100) for _ in range(2))

    with hosts.server.listener(SERVER[4]) as server, hosts.router.sniffer(hosts.device) as sniffer:
        port = server.getsockname()[1]
        talking = hosts.client.start(lambda ready: jackfield.run(talk(ready)) if ours else keep(ready))
        own = talking.ready()
        plain, _ = server.accept()
        with plain:
            plain.sendall(b"one\n")
            # What the server acknowledges is the sequence number that the client expects to be quoted.
            sequence = acknowledgement_of(sniffer, own)
            quoted = namespaces.tcp_beginning(own, server.getsockname(), sequence)
            for code in (1, 3, 13):
                hosts.router.forge_unreachable(quoted, code)
            if ours:
                plain.sendall(b"two\n")
                assert talking.result() == b"onetwo"
            else:
                with pytest.raises(OSError, match=r"No route to host|refused"):
                    talking.result()


def acknowledgement_of(sniffer: socket.socket, client: tuple[str, int]) -> int:
    """The client's next sequence number, from what the server's side acknowledges."""
    while True:
        packet = sniffer.recv(2048)
        header = (packet[0] & 15) * 4
        is_tcp = packet[0] >> 4 == 4 and packet[9] == socket.IPPROTO_TCP
        to = (socket.inet_ntoa(packet[16:20]), int.from_bytes(packet[header + 2 : header + 4], "big"))
        flags = packet[header + 13]
        if is_tcp and to == client and flags & 0x10 and not flags & 0x02:
            return int.from_bytes(packet[header + 8 : header + 12], "big")
