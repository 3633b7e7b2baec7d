"""Multicast, broadcast and path MTU between machines: namespaces, since nothing of it may leave this one.

sender 10.1.0.1 -- 10.1.0.2 receiver        (fd01::1, fd01::2), and a third, noise, at 10.2.0.1 -- 10.2.0.2
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from namespaces import Namespace, Network, Process

import jackfield

GROUPS = {4: "239.1.2.3", 6: "ff15::123"}
PORT = 5000
families = pytest.mark.parametrize("family", [4, 6], ids=["v4", "v6"])


@dataclass
class Hosts:
    sender: Namespace
    receiver: Namespace
    other: Namespace
    device: str
    """Between sender and receiver."""
    second: str
    """Between other and receiver."""


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    with Network() as network:
        sender, receiver, other = network.namespace(), network.namespace(), network.namespace()
        device = sender.link(receiver, "10.1.0.1/24", "10.1.0.2/24", "fd01::1/64", "fd01::2/64")
        second = other.link(receiver, "10.2.0.1/24", "10.2.0.2/24", "fd02::1/64", "fd02::2/64")
        for group in GROUPS.values():
            _exchange(sender, receiver, device, group)
        yield Hosts(sender, receiver, other, device, second)


def _exchange(sender: Namespace, receiver: Namespace, device: str, group: str) -> None:
    """Multicasts go through from now on."""
    own = "[fd01::1]" if ":" in group else "10.1.0.1"

    async def hear(ready: Callable[[Any], None]) -> None:
        async with jackfield.bind(at(0, group), interface=device) as endpoint:
            ready(None)
            datagram = await endpoint.receive_from(20.0)
            await endpoint.send_to(b"heard", datagram.peer)

    async def speak() -> None:
        async with jackfield.bind(f"udp://{own}:0", interface=device) as endpoint:
            await asked(endpoint, b"anybody there?", at(0, group))

    with hearing(receiver, hear):
        inside(sender, speak)


def at(family: int, host: str | None = None, options: str = "") -> str:
    host = host or GROUPS[family]
    return f"udp://{f'[{host}]' if ':' in host else host}:{PORT}{options}"


def inside(namespace: Namespace, main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return namespace.call(lambda: jackfield.run(main()))


@contextlib.contextmanager
def hearing(
    namespace: Namespace, main: Callable[[Callable[[Any], None]], Coroutine[Any, Any, Any]]
) -> Iterator[Process]:
    """Runs ``main(ready)`` in the namespace while the block runs."""
    process = namespace.start(lambda ready: jackfield.run(main(ready)))
    try:
        process.ready()
        yield process
    finally:
        process.kill()


async def say(address: str, *texts: bytes, **options: Any) -> None:
    async with jackfield.connect(address, **options) as channel:
        for text in texts:
            await channel.send(text)
        await channel.flush(5.0)


async def asked(endpoint: jackfield.Endpoint, text: bytes, to: str) -> jackfield.Datagram:
    """The answer, asked for until it comes: an interface that is new may drop what is sent at first."""
    async with asyncio.timeout(20):
        while True:
            await endpoint.send_to(text, to)
            with contextlib.suppress(jackfield.TimedOut):
                return await endpoint.receive_from(0.2)


def received(endpoint: jackfield.Endpoint) -> AsyncIterator[jackfield.Datagram]:
    """Datagrams until one says ``end``."""

    async def all_of_them() -> AsyncIterator[jackfield.Datagram]:
        async with asyncio.timeout(20):
            while (datagram := await endpoint.receive_from()).data != b"end":
                yield datagram

    return all_of_them()


@families
@pytest.mark.parametrize("by", ["name", "address"])
def test_a_group_is_joined_and_sent_to(hosts: Hosts, family: int, by: str) -> None:
    own = {4: ("10.1.0.1", "10.1.0.2"), 6: ("fd01::1", "fd01::2")}[family]

    async def hear(ready: Callable[[Any], None]) -> Any:
        interface = hosts.device if by == "name" else own[1]
        async with jackfield.bind(at(family), interface=interface, packet_info=True) as endpoint:
            ready(None)
            datagram = await endpoint.receive_from(20.0)
            # The answer goes to the sender alone.
            await endpoint.send_to(b"heard " + datagram.data, datagram.peer)
            await endpoint.flush(5.0)
            name = socket.if_indextoname(datagram.interface or 0)
            return datagram.data, datagram.peer.host, datagram.local, name

    async def speak() -> bytes:
        interface = hosts.device if by == "name" else own[0]
        here = f"udp://[{own[0]}]:0" if family == 6 else f"udp://{own[0]}:0"
        async with jackfield.bind(here, interface=interface) as endpoint:
            assert endpoint.set_option("loop", False) is False
            return (await asked(endpoint, b"hello", at(family))).data

    with hearing(hosts.receiver, hear) as process:
        assert inside(hosts.sender, speak) == b"heard hello"
        data, peer, local, name = process.result()
    assert (data, peer, name) == (b"hello", own[0], hosts.device)
    assert local == jackfield.Address.parse(at(family))


@families
def test_only_the_source_is_heard(hosts: Hosts, family: int) -> None:
    sources = {4: ("10.1.0.1", "10.1.0.9"), 6: ("fd01::1", "fd01::9")}[family]
    group = {4: "232.1.1.1", 6: "ff35::1:1"}[family]
    with contextlib.suppress(Exception):
        hosts.sender.address(hosts.device, sources[1] + ("/24" if family == 4 else "/64"))

    async def hear(ready: Callable[[Any], None]) -> list[str | None]:
        options = {"interface": hosts.device, "source": sources[0]}
        async with jackfield.bind(at(family, group), **options) as endpoint:
            ready(None)
            return [datagram.peer.host async for datagram in received(endpoint)]

    async def speak() -> None:
        for source, text in ((1, b"not me"), (0, b"me"), (1, b"end"), (0, b"end")):
            await say(at(family, group), text, interface=hosts.device, bind=sources[source])

    with hearing(hosts.receiver, hear) as process:
        inside(hosts.sender, speak)
        assert process.result() == [sources[0]]


@families
def test_joining_and_leaving_while_it_runs(hosts: Hosts, family: int) -> None:
    second = {4: "239.1.2.4", 6: "ff15::124"}[family]

    async def talk() -> list[bytes]:
        own = {"interface": hosts.device}
        async with jackfield.bind(f"udp://:{PORT}", reuse_address=True) as endpoint:
            heard = []
            for change in (None, endpoint.join, endpoint.leave, endpoint.join):
                if change is not None:
                    change(second, interface=hosts.device)
                await say(at(family, second), b"to the group", **own)
                await say(at(family, {4: "127.0.0.1", 6: "::1"}[family]), b"end")
                heard.append([datagram.data async for datagram in received(endpoint)])
            with pytest.raises(jackfield.ListenFailed, match="joined it already"):
                endpoint.join(second, interface=hosts.device)
            endpoint.leave(at(family, second), interface=hosts.device)
            with pytest.raises(jackfield.ListenFailed, match="has not joined"):
                endpoint.leave(second, interface=hosts.device)
            with pytest.raises(jackfield.InvalidOption, match="no such network interface"):
                endpoint.join(second, interface="nowhere0")
            with pytest.raises(jackfield.InvalidOption, match="no multicast group"):
                endpoint.join("10.0.0.1")
            return [len(each) for each in heard]

    assert inside(hosts.sender, talk) == [0, 1, 0, 1]


def test_loop_and_ttl(hosts: Hosts) -> None:
    async def talk() -> list[bytes]:
        async with jackfield.bind(at(4), interface=hosts.device) as endpoint:
            await say(at(4), b"quiet", interface=hosts.device, loop=False)
            await say(at(4), b"loud", interface=hosts.device)
            await say(at(4), b"end", interface=hosts.device, loop=True, ttl=7)
            heard = [datagram.data async for datagram in received(endpoint)]
        async with jackfield.connect(at(4), interface=hosts.device, ttl=7, loop=False) as channel:
            with socket.socket(fileno=channel.fileno()) as plain:
                assert plain.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL) == 7
                assert plain.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP) == 0
                plain.detach()
            assert channel.kernel_options()["loop"] is False
        return heard

    assert inside(hosts.sender, talk) == [b"loud"]


def test_a_listener_hears_a_group(hosts: Hosts) -> None:
    async def talk() -> list[bytes]:
        async with (
            jackfield.listen(at(4), interface="lo") as one,
            jackfield.listen(at(4), interface="lo") as two,
        ):
            await say(at(4), b"to both", interface="lo")
            heard = []
            for listener in (one, two):
                channel = await listener.accept(10.0)
                heard.append(await channel.receive(10.0))
                channel.abort()
            return heard

    assert inside(hosts.sender, talk) == [b"to both"] * 2


def test_a_group_that_nothing_leads_to(hosts: Hosts) -> None:
    async def talk() -> None:
        with pytest.raises(jackfield.ListenFailed, match=r"interface=") as caught:
            await jackfield.bind(at(4))
        assert caught.value.errno == errno.ENODEV
        with pytest.raises(jackfield.InvalidOption, match="no such network interface"):
            await jackfield.bind(at(4, options="?interface=nowhere0"))
        with pytest.raises(jackfield.InvalidOption, match="no multicast group"):
            jackfield.bind("udp://10.2.0.1:0?source=10.2.0.2")
        with pytest.raises(jackfield.NotSupported, match="udp"):
            jackfield.listen("tcp://10.2.0.1:0?interface=lo")

    inside(hosts.other, talk)


def test_broadcast_must_be_meant(hosts: Hosts) -> None:
    async def hear(ready: Callable[[Any], None]) -> list[bytes]:
        async with jackfield.bind(f"udp://0.0.0.0:{PORT}") as endpoint:
            ready(None)
            return [datagram.data async for datagram in received(endpoint)]

    async def speak() -> None:
        for host in ("10.1.0.255", "255.255.255.255"):
            if host.startswith("10"):
                with pytest.raises(jackfield.AccessDenied, match="broadcast=yes"):
                    await jackfield.connect(at(4, host))
            async with jackfield.bind("udp://10.1.0.1:0") as endpoint:
                await endpoint.send_to(b"not meant", at(4, host))
                with pytest.raises(jackfield.AccessDenied, match="broadcast=yes") as caught:
                    await endpoint.receive_from(10.0)
                assert caught.value.peer == jackfield.Address.parse(at(4, host))
        async with jackfield.bind("udp://10.1.0.1:0?broadcast=yes") as endpoint:
            await endpoint.send_to(b"to all", at(4, "10.1.0.255"))
            await endpoint.flush(5.0)
        await say(at(4, "10.1.0.255"), b"end", broadcast=True)

    with hearing(hosts.receiver, hear) as process:
        inside(hosts.sender, speak)
        assert process.result() == [b"to all"]


@families
def test_the_path_mtu_is_named(hosts: Hosts, family: int) -> None:
    host, header = {4: ("10.1.0.2", 28), 6: ("fd01::2", 48)}[family]

    async def hear(ready: Callable[[Any], None]) -> list[int]:
        async with jackfield.bind(f"udp://:{PORT}") as endpoint:
            ready(None)
            return [len(datagram.data) async for datagram in received(endpoint)]

    async def speak() -> None:
        async with jackfield.connect(at(family, host), mtu_discover="do") as channel:
            assert channel.path_mtu() == 1500
            await channel.send(bytes(1500 - header))
            await channel.flush(5.0)
            await channel.send_many([bytes(1501 - header)])
            with pytest.raises(jackfield.MessageTooLarge, match="path MTU is 1500 bytes") as caught:
                await channel.receive(10.0)
            assert (caught.value.errno, caught.value.limit) == (errno.EMSGSIZE, 1500 - header)
        async with jackfield.bind("udp://:0?mtu_discover=do") as endpoint:
            assert endpoint.path_mtu(at(family, host)) == 1500
            await endpoint.send_to(bytes(3000), at(family, host))
            with pytest.raises(jackfield.MessageTooLarge, match="path MTU is 1500"):
                await endpoint.receive_from(10.0)
        # What is longer than the path is divided by IP, and then a run of it cannot be one message.
        async with jackfield.connect(at(family, host)) as channel:
            await channel.send_many([bytes(2000)] * 20 + [bytes(1000)] * 3 + [b"end"])
            await channel.flush(5.0)

    with hearing(hosts.receiver, hear) as process:
        inside(hosts.sender, speak)
        assert process.result() == [1500 - header] + [2000] * 20 + [1000] * 3


def test_the_command_line_speaks_to_groups(hosts: Hosts) -> None:
    jackfield_command = [sys.executable, "-m", "jackfield.cli"]
    address = f"udp://{GROUPS[4]}:{PORT},interface={hosts.device}"
    heard = hosts.receiver.popen(
        [*jackfield_command, "listen", address], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert heard.stderr is not None
        assert heard.stdout is not None
        while "listening" not in (line := heard.stderr.readline()):
            assert line, "it ended"
        hosts.sender.run([*jackfield_command, "connect", address], input="hello, group\n")
        assert heard.stdout.readline() == "hello, group\n"
    finally:
        heard.kill()
        heard.communicate()
