"""Descriptors travel with their messages, in order, and none is ever lost, doubled or leaked."""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import resource
import socket
from pathlib import Path
from typing import Any

import pytest
from support import (
    TRANSPORTS,
    Runner,
    Transport,
    eventually,
    every,
    payload,
    raw_connect,
    turns,
    two_ends,
)

import jackfield

pytestmark = pytest.mark.timeout(60)

CARRYING = [
    transport for transport in TRANSPORTS if transport.name in ("unix", "abstract", "pair", "seqpacket")
]
STREAMS = [transport for transport in CARRYING if not transport.keeps_boundaries]


def open_files() -> set[str]:
    """The pipes and files that this process has open, by number; sockets and loops come and go."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            what = os.readlink(f"/proc/self/fd/{number}")
            if what.startswith("pipe:") or what.endswith("/sent"):
                found.add(f"{number} {what}")
    return found


class Sent:
    """Files to send, told apart by what they contain."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "sent"
        self.count = 0

    def new(self) -> int:
        """A descriptor of a file that contains its number."""
        self.count += 1
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        os.unlink(self.path)
        os.write(fd, str(self.count).encode())
        return fd


def contents(fds: list[int]) -> list[str]:
    """What the files contain; they are closed."""
    found = []
    for fd in fds:
        assert not os.get_inheritable(fd)
        found.append(os.pread(fd, 100, 0).decode())
        os.close(fd)
    return found


def held(path: Path) -> int:
    """How many descriptors of the (deleted) files this process has."""
    wanted = f"{path} (deleted)"
    count = 0
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            count += os.readlink(f"/proc/self/fd/{number}") == wanted
    return count


@every(CARRYING)
def test_they_come_with_their_messages_in_order(run: Runner, transport: Transport, directory: Path) -> None:
    sent = Sent(directory)

    async def main() -> None:
        async with two_ends(transport, directory) as (client, server):
            await client.send(b"first, without any")
            for number in range(1, 4):
                fds = [sent.new() for _ in range(number)]
                await client.send_fds(b"with %d" % number, fds)
                for fd in fds:
                    os.close(fd)  # what travels is a copy
                await client.send(b"without")
            assert await server.receive_fds(timeout=5.0) == (b"first, without any", [])
            expected = 1
            for number in range(1, 4):
                data, came = await server.receive_fds(timeout=5.0)
                assert data == b"with %d" % number
                assert contents(came) == [str(expected + index) for index in range(number)]
                expected += number
                assert await server.receive_fds(timeout=5.0) == (b"without", [])
            assert held(sent.path) == 0

    run(main)


@every(CARRYING)
def test_with_a_message_of_any_size(run_here: Runner, transport: Transport, directory: Path) -> None:
    sent = Sent(directory)
    sizes = [0, 1, 1000, 40_000, 150_000] + ([] if transport.keeps_boundaries else [1_000_000])

    async def main() -> None:
        async with two_ends(transport, directory, high_water=2**24) as (client, server):

            async def send_all() -> None:
                for size in sizes:
                    fd = sent.new()
                    await client.send(b"before")
                    await client.send_fds(payload(size), [fd])
                    await client.send(b"after")
                    os.close(fd)

            sending = asyncio.create_task(send_all())
            for number, size in enumerate(sizes, 1):
                assert await server.receive_fds(timeout=5.0) == (b"before", [])
                data, came = await server.receive_fds(timeout=5.0)
                assert data == payload(size)
                assert contents(came) == [str(number)]
                assert await server.receive_fds(timeout=5.0) == (b"after", [])
            await sending
        assert held(sent.path) == 0

    run_here(main)


def test_connected_datagrams_carry_them(run_here: Runner, directory: Path) -> None:
    sent = Sent(directory)

    async def main() -> None:
        one, two = (jackfield.adopt(end) for end in socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))
        assert isinstance(one, jackfield.Channel)
        assert isinstance(two, jackfield.Channel)
        async with one, two:
            fd = sent.new()
            await one.send(b"plain")
            await one.send_fds(b"with", [fd, fd])
            await one.send_fds(b"", [fd])
            await one.send(b"plain again")
            os.close(fd)
            assert await two.receive_fds(timeout=5.0) == (b"plain", [])
            data, came = await two.receive_fds(timeout=5.0)
            assert (data, contents(came)) == (b"with", ["1", "1"])
            data, came = await two.receive_fds(timeout=5.0)
            assert (data, contents(came)) == (b"", ["1"])
            assert await two.receive(5.0) == b"plain again"
        assert held(sent.path) == 0

    run_here(main)


@every(CARRYING)
def test_nobody_asked_for_them(run: Runner, transport: Transport, directory: Path) -> None:
    """Neither framing nor descriptors suffer: what was not asked for is gone at once."""
    sent = Sent(directory)

    async def main() -> None:
        async with two_ends(transport, directory) as (client, server):
            fd = sent.new()
            for number in range(200):
                await client.send_fds(b"%d" % number, [fd] * (number % 20))
                await client.send(b"between")
            for number in range(200):
                assert await server.receive(5.0) == b"%d" % number
                assert held(sent.path) <= 1 + 20 * client.statistics().queued_messages
                assert await server.receive(5.0) == b"between"
            assert held(sent.path) == 1
            os.close(fd)

    run(main)


@every(CARRYING)
def test_a_plain_receive_closes_what_came(run_here: Runner, transport: Transport, directory: Path) -> None:
    sent = Sent(directory)

    async def main() -> None:
        async with two_ends(transport, directory) as (client, server):
            await client.send(b"start")
            assert await server.receive_fds(timeout=5.0) == (b"start", [])
            fd = sent.new()
            await client.send_fds(b"one", [fd])
            await client.send_fds(b"two", [fd])
            await client.flush()
            assert await server.receive(5.0) == b"one"
            assert held(sent.path) == 1
            data, came = await server.receive_fds(timeout=5.0)
            assert (data, len(came)) == (b"two", 1)
            contents(came)
            await client.send_fds(b"three", [fd])
            await client.send_fds(b"four", [fd])
            await client.flush()
            await eventually(lambda: client.statistics().queued_messages == 0)
        assert held(sent.path) == 1, "what was never received went with the channel"
        os.close(fd)

    run_here(main)


@every(STREAMS)
def test_discarded_before_the_first_call_is_told(
    run_here: Runner, transport: Transport, directory: Path
) -> None:
    sent = Sent(directory)

    async def main() -> None:
        async with two_ends(transport, directory) as (client, server):
            fd = sent.new()
            await client.send(b"plain")
            await client.send_fds(b"with", [fd])
            await client.flush()
            # This read takes the next message along, and nobody has asked for descriptors yet.
            assert await server.receive(5.0) == b"plain"
            with pytest.raises(jackfield.DescriptorsLost, match="others were lost") as caught:
                await server.receive_fds(timeout=5.0)
            assert (caught.value.data, caught.value.fds) == (b"with", ())
            await client.send_fds(b"again", [fd])
            data, came = await server.receive_fds(timeout=5.0)
            assert (data, contents(came)) == (b"again", ["1"])
            os.close(fd)

    run_here(main)


def test_more_than_were_asked_for(run_here: Runner, directory: Path) -> None:
    sent = Sent(directory)

    async def main() -> None:
        one, two = jackfield.pair(framing="u32")
        async with one, two:
            fd = sent.new()
            await one.send_fds(b"three", [fd] * 3)
            with pytest.raises(jackfield.DescriptorsLost) as caught:
                await two.receive_fds(2, timeout=5.0)
            assert caught.value.data == b"three"
            assert contents(list(caught.value.fds)) == ["1", "1"]
            await one.send_fds(b"most", [fd] * 253)
            data, came = await two.receive_fds(timeout=5.0)
            assert (data, len(contents(came))) == (b"most", 253)
            with pytest.raises(ValueError, match="254 descriptors are too many"):
                await one.send_fds(b"too many", [fd] * 254)
            with pytest.raises(ValueError, match="from 0 to 253"):
                await two.receive_fds(254)
            with pytest.raises(OSError, match="Bad file descriptor"):
                await one.send_fds(b"closed", [100_000])
            with pytest.raises(OSError, match="Bad file descriptor"):
                await one.send_fds(b"closed", [fd, -1])
            with pytest.raises(ValueError, match="cannot be a descriptor"):
                one.send_fds(b"too large", [2**31])
            with pytest.raises(TypeError, match="str is neither"):
                one.send_fds(b"a word", ["1"])  # type: ignore[list-item]
            assert held(sent.path) == 1
            os.close(fd)
            assert one.statistics().queued_messages == 0

    run_here(main)


def test_without_framing_they_need_a_byte(run_here: Runner) -> None:
    async def main() -> None:
        one, two = jackfield.pair()
        async with one, two:
            with pytest.raises(ValueError, match="need a byte to travel with"):
                one.send_fds(b"", [0])
            await one.send_fds(b"x", [0])
            data, came = await two.receive_fds(timeout=5.0)
            assert data == b"x"
            os.close(came[0])

    run_here(main)


def test_other_transports_say_no(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with (
            jackfield.listen("tcp://127.0.0.1:0") as listener,
            jackfield.connect(listener.address) as channel,
        ):
            with pytest.raises(jackfield.NotSupported, match=r"send_fds\(\): descriptors travel over unix"):
                channel.send_fds(b"x", [0])
            with pytest.raises(jackfield.NotSupported, match=r"cannot do receive_fds\(\)"):
                await channel.receive_fds()
        async with (
            jackfield.listen(f"unix+dgram://{directory}/s") as packets,
            jackfield.connect(packets.address) as client,
        ):
            await client.send(b"hello")
            peer = await packets.accept(5.0)
            with pytest.raises(jackfield.NotSupported, match="shares its socket"):
                await peer.receive_fds()

    run_here(main)


@every(STREAMS)
def test_a_cancelled_receive_takes_neither(run: Runner, transport: Transport, directory: Path) -> None:
    sent = Sent(directory)

    async def main() -> None:
        async with two_ends(transport, directory) as (client, server):
            for number in range(1, 200):
                waiting = asyncio.create_task(server.receive_fds())
                await turns(number % 4)
                fd = sent.new()
                await client.send_fds(b"%d" % number, [fd])
                os.close(fd)
                if number % 3 == 0:
                    await client.flush()
                await turns(number % 5)
                if waiting.cancel():
                    with contextlib.suppress(asyncio.CancelledError):
                        await waiting
                if waiting.cancelled():
                    data, came = await server.receive_fds(timeout=5.0)
                else:
                    data, came = waiting.result()
                assert data == b"%d" % number
                assert contents(came) == [str(number)]
            assert held(sent.path) == 0

    run(main)


def test_a_cancelled_send_that_waits_leaves_nothing(run_here: Runner, directory: Path) -> None:
    sent = Sent(directory)

    async def main() -> None:
        one, two = jackfield.pair(framing="u32", high_water=1000, send_buffer="4K")
        async with two:
            fd = sent.new()
            await one.send(bytes(200_000))
            waiting = asyncio.create_task(_sending(one, fd))
            await turns()
            assert not waiting.done()
            assert held(sent.path) == 2
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert held(sent.path) == 1
            with pytest.raises(jackfield.TimedOut):
                await one.send_fds(b"late", [fd], timeout=0.01)
            del waiting
            assert held(sent.path) == 1
            assert len(await two.receive(5.0)) == 200_000
            await one.send_fds(b"in time", [fd])
            data, came = await two.receive_fds(timeout=5.0)
            assert (data, contents(came)) == (b"in time", ["1"])
            await one.send(bytes(200_000))
            one.abort()
            assert held(sent.path) == 1
            os.close(fd)

    run_here(main)


async def _sending(channel: jackfield.Channel, fd: int) -> None:
    await channel.send_fds(b"waits", [fd])


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest", "reject"])
def test_what_a_full_queue_drops_is_closed(run_here: Runner, directory: Path, policy: str) -> None:
    sent = Sent(directory)

    async def main() -> None:
        one, two = jackfield.pair(framing="u32", high_water=1000, send_buffer="4K", when_full=policy)
        fd = sent.new()
        await one.send(bytes(200_000))
        for _ in range(100):
            with contextlib.suppress(jackfield.QueueFull):
                await one.send_fds(bytes(100), [fd])
        waiting = one.statistics().queued_messages
        assert held(sent.path) <= 1 + waiting
        one.abort()
        two.abort()
        assert held(sent.path) == 1
        os.close(fd)

    run_here(main)


def test_a_full_process_loses_some_and_says_so(run_here: Runner, directory: Path) -> None:
    sent = Sent(directory)

    async def main() -> None:
        one, two = jackfield.pair(framing="u32")
        async with one, two:
            fd = sent.new()
            await one.send_fds(b"many", [fd] * 50)
            await one.flush()
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            free = [os.dup(fd) for _ in range(10)]
            for number in free:
                os.close(number)
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(free) + 1, hard))
            try:
                with pytest.raises(jackfield.DescriptorsLost) as caught:
                    await two.receive_fds(timeout=5.0)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            assert caught.value.data == b"many"
            assert 1 <= len(caught.value.fds) < 50
            contents(list(caught.value.fds))
            await one.send_fds(b"fine again", [fd])
            data, came = await two.receive_fds(timeout=5.0)
            assert (data, contents(came)) == (b"fine again", ["1"])
            assert held(sent.path) == 1
            os.close(fd)

    run_here(main)


def test_a_peer_cannot_fill_the_process(run_here: Runner, directory: Path) -> None:
    """One byte of an unfinished message at a time, each with many descriptors."""
    sent = Sent(directory)

    async def main() -> None:
        async with jackfield.listen(f"unix://{directory}/s", framing="u32") as listener:
            plain = raw_connect(listener.address)
            async with await listener.accept(5.0) as server:
                waiting: asyncio.Task[Any] = asyncio.create_task(server.receive_fds())
                await turns()
                fd = sent.new()
                ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd] * 250))]
                for byte in b"\0\0\0\x20" + bytes(31):
                    plain.sendmsg([bytes([byte])], ancillary)
                    received = server.statistics().bytes_in
                    await eventually(lambda before=received: server.statistics().bytes_in > before)
                    assert held(sent.path) <= 1 + 2 * 253
                plain.sendall(b"!")
                with pytest.raises(jackfield.DescriptorsLost) as caught:
                    await asyncio.wait_for(waiting, 5.0)
                assert caught.value.data == bytes(31) + b"!"
                assert len(caught.value.fds) == 253
                contents(list(caught.value.fds))
                assert held(sent.path) == 1
                os.close(fd)
            plain.close()

    run_here(main)


def test_a_plain_peer_understands(run: Runner, directory: Path) -> None:
    sent = Sent(directory)

    async def main() -> None:
        async with jackfield.listen(f"unix://{directory}/s", framing="line") as listener:
            plain = raw_connect(listener.address)
            async with await listener.accept(5.0) as server:
                fd = sent.new()
                await server.send_fds(b"take these", [fd, fd])
                await server.flush()
                data, fds, flags, _ = socket.recv_fds(plain, 100, 4)
                assert (data, flags) == (b"take these\n", 0)
                for received in fds:
                    os.set_inheritable(received, False)
                assert contents(list(fds)) == ["1", "1"]
                socket.send_fds(plain, [b"one\ntwo\nthr"], [fd])
                plain.sendall(b"ee\n")
                assert await server.receive_fds(timeout=5.0) == (b"one", [])
                assert await server.receive_fds(timeout=5.0) == (b"two", [])
                data, came = await server.receive_fds(timeout=5.0)
                assert (data, contents(came)) == (b"three", ["1"]), "with the last byte of the write"
                os.close(fd)
            plain.close()

    run(main)


def test_a_connection_is_handed_to_another_channel(run_here: Runner) -> None:
    """The accepted client of one program goes on in another."""

    async def main() -> None:
        one, two = jackfield.pair(framing="u32")
        async with (
            one,
            two,
            jackfield.listen("tcp://127.0.0.1:0", framing="line") as listener,
            jackfield.connect(listener.address, framing="line") as client,
        ):
            accepted = await listener.accept(5.0)
            fd = accepted.detach()
            await one.send_fds(b"a client", [fd])
            os.close(fd)
            _, fds = await two.receive_fds(timeout=5.0)
            adopted = jackfield.adopt(fds[0], framing="line")
            assert isinstance(adopted, jackfield.Channel)
            async with adopted:
                await client.send(b"hello")
                assert await adopted.receive(5.0) == b"hello"
                await adopted.send(b"from the other program")
                assert await client.receive(5.0) == b"from the other program"

    run_here(main)
