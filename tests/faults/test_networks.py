"""Networks that fail or lie under a connection: pulled cables, vanished hosts, forged errors and resets.

Each network is of the test's own. Our side runs in a process inside; the other end is ours too, or a plain
socket that the test holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import struct
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from namespaces import Network, Process, tcp_beginning, udp_beginning
from support import Chain

import jackfield

pytestmark = pytest.mark.timeout(120)

RST = 4
OURS = socket.inet_aton("10.1.0.1")
CODES = {0: "net", 1: "host", 2: "protocol", 3: "port", 5: "source route", 9: "net barred", 13: "filtered"}
ABSURD = [0, 1, 67, 68, 551, 65_535]
"""Sizes of packets that would pass, as no router says them."""


class Signals:
    """The test tells a process inside to go on: a byte for each step."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()

    def go_on(self) -> None:
        os.write(self._writer, b".")

    async def wait(self) -> None:
        await asyncio.to_thread(os.read, self._reader, 1)

    def close(self) -> None:
        os.close(self._reader)
        os.close(self._writer)


@pytest.fixture
def signals() -> Any:
    made = Signals()
    yield made
    made.close()


async def echo(channel: jackfield.Channel) -> None:
    async for message in channel:
        await channel.send(message)


def serve_everywhere(ready: Callable[[Any], None]) -> None:
    """Ours, inside: sends everything back, on every address."""

    async def main() -> None:
        async with jackfield.listen("tcp://0.0.0.0:0", framing="u32") as listener:
            ready(listener.address.port)
            await listener.serve(echo)

    jackfield.run(main)


def framed(message: bytes) -> bytes:
    return len(message).to_bytes(4, "big") + message


def exchange(plain: socket.socket, message: bytes) -> None:
    """Send it over a plain socket and get it back."""
    plain.sendall(framed(message))
    assert receive_frame(plain) == message


def receive_frame(plain: socket.socket) -> bytes:
    length = int.from_bytes(receive_all(plain, 4), "big")
    return receive_all(plain, length)


def receive_all(plain: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size:
        more = plain.recv(size - len(got))
        assert more, "it ended"
        got += more
    return got


# Cables -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["ours", "theirs"])
def test_a_cable_pulled_and_put_in_again(network: Network, signals: Signals, end: str) -> None:
    """What was sent meanwhile arrives afterwards, in order; connections over another cable do not notice."""
    client, server = network.namespace(), network.namespace()
    pulled = client.link(server, "10.1.0.1/24", "10.1.0.2/24")
    client.link(server, "10.2.0.1/24", "10.2.0.2/24")
    port = server.start(serve_everywhere).ready()

    def talk(ready: Callable[[Any], None]) -> int:
        async def main() -> int:
            async with (
                jackfield.connect(f"tcp://10.1.0.2:{port}", framing="u32") as over_pulled,
                jackfield.connect(f"tcp://10.2.0.2:{port}", framing="u32") as other,
            ):
                sent, got = Chain(), Chain()
                for _ in range(20):
                    got.check(await over_pulled.request(sent.next(1_000), timeout=10.0))
                ready("talking")
                await signals.wait()
                for _ in range(200):
                    await over_pulled.send(sent.next(1_000), timeout=10.0)
                for _ in range(100):
                    assert await other.request(b"unharmed", timeout=10.0) == b"unharmed"
                with pytest.raises(jackfield.TimedOut):
                    await over_pulled.receive(0.5)
                ready("went on")
                await signals.wait()
                while got.count < sent.count:
                    got.check(await over_pulled.receive(30.0))
                for _ in range(20):
                    got.check(await over_pulled.request(sent.next(1_000), timeout=10.0))
                return got.count

        return jackfield.run(main)

    talking = client.start(talk)
    talking.ready()
    where = client if end == "ours" else server
    where.link_down(pulled)
    signals.go_on()
    talking.ready()
    where.link_up(pulled)
    signals.go_on()
    assert talking.result(60.0) == 240


def test_a_half_open_connection_ends_when_it_is_used(network: Network, signals: Signals) -> None:
    """The peer is gone and could not say so. Its kernel says so as soon as something is sent."""
    ours, theirs = network.namespace(), network.namespace()
    cable = ours.link(theirs, "10.1.0.1/24", "10.1.0.2/24")
    listener = theirs.listener("10.1.0.2")
    port = listener.getsockname()[1]

    def talk(ready: Callable[[Any], None]) -> list[str]:
        async def main() -> list[str]:
            told = []
            async with jackfield.connect(f"tcp://10.1.0.2:{port}", framing="line") as channel:
                await channel.send(b"hello")
                await channel.flush()
                ready("connected")
                await signals.wait()
                with pytest.raises(jackfield.TimedOut):
                    await channel.receive(0.3)
                await channel.send(b"is anybody there?")
                for _ in range(2):
                    try:
                        await channel.receive(30.0)
                    except jackfield.ChannelLost as error:
                        told.append(str(error))
            return told

        return jackfield.run(main)

    talking = ours.start(talk)
    accepted, _ = listener.accept()
    assert receive_all(accepted, 6) == b"hello\n"
    talking.ready()
    theirs.link_down(cable)
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    accepted.close()
    theirs.link_up(cable)
    signals.go_on()
    told = talking.result(60.0)
    assert len(told) == 2
    assert "10.1.0.2" in told[0]
    listener.close()


def test_the_hub_outlives_a_pulled_cable(network: Network, directory: Path) -> None:
    """Its clients over other cables are spoken to meanwhile; the one behind it gets everything afterwards."""
    clients, hub = network.namespace(), network.namespace()
    cable = clients.link(hub, "10.1.0.1/24", "10.1.0.2/24")
    clients.link(hub, "10.2.0.1/24", "10.2.0.2/24")
    program = [str(Path(sys.executable).parent / "jackfield")]
    control = ["--control", f"{directory}/hub"]
    serving = hub.popen(
        [*program, "serve", "tcp://0.0.0.0:7000,access=plain", "--framing", "line", *control], stdout=-1
    )
    assert serving.stdout is not None
    while b" ready " not in serving.stdout.readline():
        pass
    behind, other = (clients.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(2))
    behind.connect(("10.1.0.2", 7000))
    other.connect(("10.2.0.2", 7000))

    def operate(*words: str) -> str:
        return hub.run([*program, *words, *control], limit=60.0).stdout

    for plain in (behind, other):
        plain.sendall(b"here\n")
    wait_for(lambda: operate("clients", "--json").count("10.") >= 4)
    operate("broadcast", "before")
    assert [receive_all(plain, 7) for plain in (behind, other)] == [b"before\n"] * 2
    hub.link_down(cable)
    for number in range(4):
        operate("broadcast", f"number {number:02}")
        assert receive_all(other, 10) == b"number %02d\n" % number
    hub.link_up(cable)
    assert receive_all(behind, 40) == b"".join(b"number %02d\n" % number for number in range(4))
    for plain in (behind, other):
        plain.close()


def wait_for(condition: Callable[[], object], limit: float = 30.0) -> None:
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


# Forgeries ----------------------------------------------------------------------------------------


class Established:
    """A connection between ours and a plain socket, in two namespaces, with a view on its segments."""

    def __init__(self, network: Network, *, accepted: bool) -> None:
        self.ours, self.theirs = network.namespace(), network.namespace()
        device = self.ours.link(self.theirs, "10.1.0.1/24", "10.1.0.2/24")
        self._sniffer = self.theirs.sniffer(device)
        self.process: Process
        if accepted:
            self.process = self.ours.start(serve_everywhere)
            self.plain = self.theirs.socket(socket.AF_INET, socket.SOCK_STREAM)
            self.plain.connect(("10.1.0.1", self.process.ready()))
        else:
            listener = self.theirs.listener("10.1.0.2")
            port = listener.getsockname()[1]
            self.process = self.ours.start(lambda ready: connect_and_echo(port, ready))
            self.plain, _ = listener.accept()
            self.plain.settimeout(30.0)
            listener.close()
        self.their_end, self.our_end = self.plain.getsockname(), self.plain.getpeername()

    def last_segment(self) -> tuple[int, int]:
        """The number behind our last byte, and the number that we expect next: exchange something first."""
        exchange(self.plain, b"a message of 27 bytes, say:")
        while True:
            packet = self._sniffer.recv(65_536)
            head = (packet[0] & 15) * 4
            if packet[9] != socket.IPPROTO_TCP or packet[12:16] != socket.inet_aton(self.our_end[0]):
                continue
            source, _, sequence, acknowledged, length = struct.unpack("!HHIIB", packet[head : head + 13])
            data = packet[head + (length >> 4) * 4 :]
            if source == self.our_end[1] and data.endswith(b"27 bytes, say:"):
                return (sequence + len(data)) % 2**32, acknowledged

    def counted(self, name: str) -> int:
        """One of our kernel's counters."""
        return self.ours.call(lambda: kernel_counter(name))  # type: ignore[no-any-return]

    def close(self) -> None:
        self._sniffer.close()
        self.plain.close()


def connect_and_echo(port: int, ready: Callable[[Any], None]) -> None:
    async def main() -> None:
        async with jackfield.connect(f"tcp://10.1.0.2:{port}", framing="u32") as channel:
            ready("connected")
            await echo(channel)

    jackfield.run(main)


def kernel_counter(name: str) -> int:
    """From /proc/net/snmp or /proc/net/netstat: `Tcp.EstabResets`."""
    group, _, counter = name.partition(".")
    for path in ("/proc/net/snmp", "/proc/net/netstat"):
        lines = [line.split() for line in Path(path).read_text().splitlines()]
        for names, values in zip(lines[::2], lines[1::2], strict=True):
            if names[0] == f"{group}:":
                return int(values[names.index(counter)])
    raise LookupError(name)


@pytest.mark.parametrize("accepted", [True, False], ids=["accepted", "connected"])
def test_forged_icmp_does_not_end_an_established_connection(network: Network, accepted: bool) -> None:
    """Errors that quote the connection rightly, as from its peer and from a router: none of them ends it."""
    there = Established(network, accepted=accepted)
    before = there.counted("Icmp.InDestUnreachs"), there.counted("TcpExt.OutOfWindowIcmps")
    forged = 0
    for source in (None, "10.1.0.77"):
        for code in CODES:
            number, _ = there.last_segment()
            there.theirs.forge_unreachable(
                tcp_beginning(there.our_end, there.their_end, number), code, source=source
            )
            forged += 1
    wait_for(lambda: there.counted("Icmp.InDestUnreachs") - before[0] >= forged)
    assert there.counted("TcpExt.OutOfWindowIcmps") == before[1], "quoted wrongly: it would prove nothing"
    for size in (1, 1_000, 300_000):
        exchange(there.plain, os.urandom(size))
    there.close()


@pytest.mark.parametrize("accepted", [True, False], ids=["accepted", "connected"])
def test_absurd_path_sizes_cost_no_byte(network: Network, accepted: bool) -> None:
    """`Fragmentation needed` with sizes that cannot be: the segments get smaller, and all bytes arrive."""
    there = Established(network, accepted=accepted)
    before = there.counted("Icmp.InDestUnreachs")
    for forged, mtu in enumerate(ABSURD, 1):
        number, _ = there.last_segment()
        there.theirs.forge_unreachable(tcp_beginning(there.our_end, there.their_end, number), 4, mtu=mtu)
        wait_for(lambda forged=forged: there.counted("Icmp.InDestUnreachs") - before >= forged)
        exchange(there.plain, os.urandom(20_000))
    there.close()


def test_forged_icmp_costs_a_udp_channel_one_error_each(network: Network) -> None:
    """There an error is an error, told once; the channel goes on, and another one notices nothing."""
    ours, theirs = network.namespace(), network.namespace()
    ours.link(theirs, "10.1.0.1/24", "10.1.0.2/24")
    plain = theirs.datagrams("10.1.0.2")
    port = plain.getsockname()[1]

    def talk(ready: Callable[[Any], None]) -> int:
        async def main() -> int:
            errors = 0
            async with (
                jackfield.connect(f"udp://10.1.0.2:{port}") as channel,
                jackfield.connect(f"udp://10.1.0.2:{port}") as other,
            ):
                ready((channel.local.port, other.local.port))
                for number in range(20):
                    await channel.send(b"%d" % number)
                    answer = None
                    while answer is None:
                        try:
                            answer = await channel.receive(30.0)
                        except jackfield.ChannelLost:
                            errors += 1
                    assert answer == b"%d" % number
                    assert await other.request(b"well", timeout=30.0) == b"well"
            return errors

        return jackfield.run(main)

    talking = ours.start(talk)
    target, _ = talking.ready()
    for _ in range(40):
        data, peer = plain.recvfrom(100)
        if peer[1] == target:
            theirs.forge_unreachable(udp_beginning(peer, plain.getsockname()), 3)
        plain.sendto(data, peer)
    assert 1 <= talking.result(60.0) <= 20
    plain.close()


@pytest.mark.parametrize("accepted", [True, False], ids=["accepted", "connected"])
def test_resets_that_are_forged_badly_are_ignored(network: Network, accepted: bool) -> None:
    """Anywhere but at the exact number that is due the kernel asks the peer (RFC 5961): nothing happens."""
    there = Established(network, accepted=accepted)
    for offset in (1, 100, 10_000, -1, -1_000, 2**31):
        _, due = there.last_segment()
        there.theirs.forge_segment(there.their_end, there.our_end, sequence=(due + offset) % 2**32, flags=RST)
        exchange(there.plain, os.urandom(5_000))
    there.close()


def test_a_forged_reset_in_the_middle_of_a_frame(network: Network) -> None:
    """At the exact number it ends the connection, as it must: `ChannelLost` there, and nothing elsewhere."""
    ours, theirs = network.namespace(), network.namespace()
    device = ours.link(theirs, "10.1.0.1/24", "10.1.0.2/24")
    sniffer = theirs.sniffer(device)

    def serve(ready: Callable[[Any], None]) -> list[str]:
        ends: list[str] = []
        ended = asyncio.Event()

        async def note(channel: jackfield.Channel) -> None:
            try:
                await echo(channel)
            except jackfield.JackfieldError as error:
                ends.append(f"{type(error).__name__} {channel.peer.port}")
                ready("noted")
            else:
                ends.append(f"end {channel.peer.port}")
                ended.set()

        async def main() -> None:
            async with jackfield.listen("tcp://10.1.0.1:0", framing="u32") as listener:
                ready(listener.address.port)
                serving = asyncio.create_task(listener.serve(note))
                await ended.wait()
                serving.cancel()
                await asyncio.wait([serving])

        jackfield.run(main)
        return ends

    serving = ours.start(serve)
    port = serving.ready()
    victim, other = (theirs.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(2))
    for plain in (victim, other):
        plain.connect(("10.1.0.1", port))
        exchange(plain, b"hello")
    cut = framed(os.urandom(100_000))[:60_000]
    victim.sendall(cut)
    their_end = victim.getsockname()
    # What our kernel expects next stands in its last acknowledgement.
    wait_for(lambda: unacknowledged(victim) == 0)
    due = 0
    sniffer.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            packet = sniffer.recv(65_536)
            head = (packet[0] & 15) * 4
            _, to, _, acknowledged = struct.unpack("!HHII", packet[head : head + 12])
            if packet[9] == socket.IPPROTO_TCP and packet[12:16] == OURS and to == their_end[1]:
                due = acknowledged
    theirs.forge_segment(their_end, ("10.1.0.1", port), sequence=due, flags=RST)
    assert serving.ready() == "noted"
    exchange(other, os.urandom(5_000))
    other.close()
    ends = serving.result()
    assert ends == [f"ChannelLost {their_end[1]}", f"end {ends[1].split()[1]}"]
    victim.close()
    sniffer.close()


def unacknowledged(plain: socket.socket) -> int:
    """SIOCOUTQ: bytes that the other kernel has not acknowledged."""
    waiting = fcntl.ioctl(plain, termios.TIOCOUTQ, bytes(4))
    return int.from_bytes(waiting, sys.byteorder)


# Name servers -------------------------------------------------------------------------------------


def test_a_name_server_that_never_answers_holds_up_nobody_else(network: Network) -> None:
    """A connect that waits for it ends in time; the loop, channels and connects without a name go on."""
    ours, server = network.namespace(), network.namespace()
    ours.link(server, "10.1.0.1/24", "10.1.0.2/24")
    silent = server.datagrams("10.1.0.2", 53)
    ours.name_servers("10.1.0.2", options="timeout:3 attempts:1")
    port = server.start(serve_everywhere).ready()

    def talk() -> tuple[list[str], float]:
        async def main() -> tuple[list[str], float]:
            loop = asyncio.get_running_loop()
            told: list[str] = []
            late = 0.0

            async def tick() -> None:
                nonlocal late
                while True:
                    due = loop.time() + 0.001
                    await asyncio.sleep(0.001)
                    late = max(late, loop.time() - due)

            async def ask(number: int) -> None:
                began = loop.time()
                with pytest.raises(jackfield.ConnectFailed) as caught:
                    await jackfield.connect(f"tcp://host{number}.example:80", connect_timeout=1.0)
                assert loop.time() - began < 10.0
                told.append(str(caught.value))

            async with jackfield.connect(f"tcp://10.1.0.2:{port}", framing="u32") as channel:
                ticking = asyncio.create_task(tick())
                asking = [asyncio.create_task(ask(number)) for number in range(30)]
                rounds = 0
                while not all(task.done() for task in asking):
                    assert await channel.request(b"well", timeout=10.0) == b"well"
                    rounds += 1
                    if rounds % 100 == 0:
                        async with jackfield.connect(f"tcp://10.1.0.2:{port}", framing="u32") as more:
                            assert await more.request(b"well", timeout=10.0) == b"well"
                await asyncio.gather(*asking)
                ticking.cancel()
                assert rounds > 100
            return told, late

        return jackfield.run(main)

    told, late = ours.call(talk, limit=60.0)
    assert len(told) == 30
    assert late < 1.0, "the loop waited for a name"
    for text in told:
        assert "host" in text
        assert "name" in text
    silent.close()
