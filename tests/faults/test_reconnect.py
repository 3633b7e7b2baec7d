"""Channels that reconnect: servers that die, come back, come late, or never; nothing is lost silently."""

from __future__ import annotations

import asyncio
import hashlib
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from namespaces import Network
from support import Runner, eventually, turns

import jackfield
from jackfield._loop import current_reactor

QUICKLY = jackfield.Backoff(first=0.01, maximum=0.05)

SERVER = """
import socket, sys
port, limit, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
listener = socket.create_server(("127.0.0.1", port))
print(listener.getsockname()[1], flush=True)
taken, _ = listener.accept()
exactly = lambda count: taken.recv(count, socket.MSG_WAITALL)
with open(path, "ab", buffering=0) as log:
    for _ in range(limit):
        header = exactly(4)
        if len(header) < 4:
            break
        log.write(exactly(int.from_bytes(header, "big")))
    sys.stdin.read()
"""
"""A plain server that logs so many messages and then reads no more."""


class Server:
    """That program, in a process of its own."""

    def __init__(self, port: int, limit: int, path: Path) -> None:
        command = [sys.executable, "-c", SERVER, str(port), str(limit), str(path)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


def free_port() -> int:
    """One that nothing listens on; nobody else takes it, since the kernel gives others first."""
    with socket.create_server(("127.0.0.1", 0)) as plain:
        return int(plain.getsockname()[1])


def chained(count: int) -> list[bytes]:
    """Messages of which each one holds its number and the digest of all before it."""
    messages, digest = [], b"\0" * 32
    for number in range(count):
        body = number.to_bytes(4, "big") + digest
        messages.append(body + b"." * (1000 - len(body)))
        digest = hashlib.sha256(messages[-1]).digest()
    return messages


def read_log(path: Path) -> list[bytes]:
    data = path.read_bytes()
    assert len(data) % 1000 == 0, "whole messages only"
    return [data[at : at + 1000] for at in range(0, len(data), 1000)]


def unread_by(port: int) -> int:
    """Bytes that the kernel holds for the program that owns the accepted connection at this port."""
    total = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].partition(":")[2], 16) == port and fields[3] == "01":
            total += int(fields[4].partition(":")[2], 16)
    return total


# What is lost, and what is not --------------------------------------------------------------------


def test_kill_9_and_a_restart_lose_nothing_silently(run: Runner, directory: Path) -> None:
    """Received before + acknowledged and unread + unknown + received after is all that was sent, in order."""

    async def main() -> None:
        read, total = 500, 12_000
        messages = chained(total)
        first = Server(0, read, directory / "one")
        states: list[jackfield.State] = []
        channel = await jackfield.connect(
            f"tcp://127.0.0.1:{first.port}",
            framing="u32",
            high_water="256K",
            reconnect=QUICKLY,
            on_state=states.append,
        )
        async with channel:
            sending = asyncio.create_task(send_all(channel, messages))
            # The first server has what it wanted, and every buffer on the way is full.
            await eventually(lambda: last_of(directory / "one") == messages[read - 1], limit=20.0)
            await eventually(lambda: (channel.explain().facts["stalled"] or 0) > 0.3, limit=20.0)
            acknowledged = (read * 1004 + unread_by(first.port)) // 1004
            first.kill()
            await down(channel)
            second = Server(first.port, total, directory / "two")
            await sending
            await channel.flush(20.0, until="peer_kernel")
            lost = next(state for state in states if isinstance(state, jackfield.Reconnecting)).error
            assert isinstance(lost, jackfield.ChannelLost)
            assert lost.unknown is not None
            assert lost.certainly_unsent is not None
            assert lost.certainly_unsent > 0
            await eventually(lambda: last_of(directory / "two") == messages[-1], limit=20.0)
            second.kill()
        before, after = read_log(directory / "one"), read_log(directory / "two")
        assert before == messages[: len(before)]
        begin = total - len(after)
        assert after == messages[begin:], "what was certainly unsent came whole, in order, once"
        assert begin == acknowledged + lost.unknown
        assert states[0] == jackfield.Connecting()
        assert states[-2] == jackfield.Connected(2)
        assert states[-1] == jackfield.Closed()

    run(main)


def last_of(path: Path) -> bytes:
    return path.read_bytes()[-1000:] if path.exists() else b""


async def send_all(channel: jackfield.Channel, messages: list[bytes]) -> None:
    for message in messages:
        await channel.send(message)


def test_messages_sent_while_the_server_is_away_wait_within_the_mark(run: Runner) -> None:
    async def main() -> None:
        async with reconnecting() as (channel, listener):
            await listener.close()
            (await listener.accepted()).abort()
            await down(channel)
            for number in range(100):
                channel.send_nowait(b"%05d" % number)
            with pytest.raises(jackfield.QueueFull):
                channel.send_nowait(b"x" * 1000)
            with pytest.raises(jackfield.TimedOut):
                await channel.send(b"x" * 1000, 0.05)
            explanation = channel.explain()
            assert explanation.state == "reconnecting"
            assert explanation.facts["queued_messages"] == 100
            assert "attempt" in str(explanation)
            async with await listener.again() as server:
                for number in range(100):
                    assert await server.receive(5.0) == b"%05d" % number
                assert channel.state == jackfield.Connected(2)
                assert channel.explain().is_well

    run(main)


# Receiving ----------------------------------------------------------------------------------------


def test_receivers_go_on_over_resets_and_orderly_ends(run: Runner) -> None:
    async def main() -> None:
        async with reconnecting() as (channel, listener):
            heard: list[bytes] = []

            async def hear() -> None:
                async for message in channel:
                    heard.append(message)

            hearing = asyncio.create_task(hear())
            for round_ in range(4):
                server = await listener.accepted()
                await server.send(b"round %d" % round_)
                if round_ % 2:
                    await server.close()
                else:
                    await server.flush(5.0, until="peer_kernel")
                    server.abort()
            await eventually(lambda: len(heard) == 4)
            assert heard == [b"round %d" % round_ for round_ in range(4)]
            await channel.close()
            await hearing_ends(hearing)

    run(main)


async def hearing_ends(hearing: asyncio.Task[None]) -> None:
    with pytest.raises(jackfield.ChannelClosed):
        await asyncio.wait_for(hearing, 5.0)


def test_who_only_sends_notices_the_loss_too(run: Runner) -> None:
    """What the server had said and nobody has received is kept."""

    async def main() -> None:
        async with reconnecting() as (channel, listener):
            server = await listener.accepted()
            await server.send(b"never received so far")
            await server.close()
            await listener.accepted()
            assert channel.state == jackfield.Connected(2)
            assert await channel.receive(5.0) == b"never received so far"

    run(main)


def test_an_end_of_our_own_ends_it(run: Runner) -> None:
    async def main() -> None:
        async with reconnecting() as (channel, listener):
            channel.send_eof()
            server = await listener.accepted()
            with pytest.raises(jackfield.EndOfStream):
                await server.receive(5.0)
            await server.send(b"good bye")
            await server.close()
            assert await channel.receive(5.0) == b"good bye"
            with pytest.raises(jackfield.EndOfStream):
                await channel.receive(5.0)

    run(main)


def test_a_vanished_server_comes_back(network: Network) -> None:
    ours, theirs = network.namespace(), network.namespace()
    device = ours.link(theirs, "10.1.0.1/24", "10.1.0.2/24")

    def client(ready: Callable[[Any], None]) -> list[str]:
        async def main() -> list[str]:
            options: dict[str, Any] = {
                "framing": "u32",
                "keepalive": jackfield.Keepalive(1, 1, 2),
                "connect_timeout": 1.0,
            }
            address = f"tcp://10.1.0.2:{port}"
            async with jackfield.connect(address, reconnect=QUICKLY, **options) as channel:
                seen = []
                async for state in channel.states():
                    ready(type(state).__name__)
                    if isinstance(state, jackfield.Reconnecting):
                        seen.append(type(state.error).__name__)
                    elif isinstance(state, jackfield.Connected):
                        await channel.send(b"connection %d" % state.connection)
                        if state.connection == 2:
                            break
                await channel.flush(20.0, until="peer_kernel")
                return seen

        return jackfield.run(main())  # type: ignore[no-any-return]

    with theirs.listener("10.1.0.2") as listener:
        port = listener.getsockname()[1]
        process = ours.start(client)
        with listener.accept()[0] as first:
            assert first.recv(100) == b"\0\0\0\x0cconnection 1"
            assert process.ready() == "Connected"
            theirs.link_down(device)
            first.close()
            assert process.ready(60.0) == "Reconnecting"
            theirs.link_up(device)
            with listener.accept()[0] as second:
                assert second.recv(100) == b"\0\0\0\x0cconnection 2"
                seen = process.result(60.0)
    assert seen[0] == "PeerVanished"
    assert set(seen[1:]) <= {"ConnectTimedOut", "HostUnreachable"}


# The first attempts, and the last -----------------------------------------------------------------


def test_a_server_that_comes_late_is_waited_for(run: Runner, directory: Path) -> None:
    async def main() -> None:
        address = f"unix://{directory}/late"
        states: list[jackfield.State] = []
        connecting = asyncio.create_task(
            opened(jackfield.connect(address, framing="u32", reconnect=QUICKLY, on_state=states.append))
        )
        await eventually(lambda: len(states) > 3)
        async with (
            jackfield.listen(address, framing="u32") as listener,
            await connecting as channel,
            await listener.accept(5.0) as server,
        ):
            await channel.send(b"at last")
            assert await server.receive(5.0) == b"at last"
        assert states[0] == jackfield.Connecting()
        for attempt, state in enumerate(states[1:-2], 2):
            assert isinstance(state, jackfield.Connecting)
            assert state.attempt == attempt
            assert isinstance(state.error, jackfield.ConnectRefused)
            assert 0 < state.delay <= 0.05
        assert states[-2:] == [jackfield.Connected(), jackfield.Closed()]

    run(main)


async def opened(opening: Any) -> Any:
    return await opening


def test_attempts_can_be_used_up(run: Runner) -> None:
    async def main() -> None:
        backoff = jackfield.Backoff(first=0.001, maximum=0.002, attempts=3)
        states: list[jackfield.State] = []
        with pytest.raises(jackfield.ConnectRefused):
            await jackfield.connect(
                f"tcp://127.0.0.1:{free_port()}", reconnect=backoff, on_state=states.append
            )
        assert len(states) == 3
        async with reconnecting(backoff) as (channel, listener):
            await listener.close()
            receiving = asyncio.create_task(channel.receive())
            (await listener.accepted()).abort()
            await eventually(lambda: isinstance(channel.state, jackfield.Closed))
            assert isinstance(channel.state, jackfield.Closed)
            assert isinstance(channel.state.error, jackfield.ConnectRefused)
            with pytest.raises(jackfield.ChannelLost):
                await receiving
            with pytest.raises(jackfield.ChannelLost):
                await channel.send(b"x")
            channel.abort()

    run(main)


def test_a_cancelled_first_connect_leaves_nothing(run: Runner) -> None:
    async def main() -> None:
        states: list[jackfield.State] = []
        address = f"tcp://127.0.0.1:{free_port()}"
        opening = jackfield.connect(address, reconnect=QUICKLY, on_state=states.append)
        connecting = asyncio.create_task(opened(opening))
        await eventually(lambda: len(states) > 2)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        await eventually(lambda: len(current_reactor()) == 0)
        known = len(states)
        await asyncio.sleep(0.1)
        assert len(states) == known

    run(main)


def test_what_another_attempt_cannot_mend_is_raised_at_once(run: Runner, directory: Path) -> None:
    async def main() -> None:
        with pytest.raises(jackfield.NotSupported, match="udp"):
            await jackfield.connect("udp://127.0.0.1:9", reconnect=QUICKLY)
        with pytest.raises(jackfield.InvalidAddress):
            jackfield.connect("tcp://127.0.0.1", reconnect=QUICKLY)
        with pytest.raises(jackfield.InvalidOption, match="reconnect"):
            jackfield.connect("tcp://127.0.0.1:9", reconnect="often")

    run(main)


# Closing ------------------------------------------------------------------------------------------


def test_a_close_without_a_connection_waits_for_the_next_one_if_something_is_queued(run: Runner) -> None:
    async def main() -> None:
        async with reconnecting() as (channel, listener):
            await listener.close()
            (await listener.accepted()).abort()
            await down(channel)
            await channel.send(b"delivered in the end")
            closing = asyncio.create_task(channel.close())
            await turns()
            assert not closing.done()
            async with await listener.again() as server:
                assert await server.receive(5.0) == b"delivered in the end"
                await closing
            assert channel.state == jackfield.Closed()

    run(main)


def test_a_close_without_a_connection_has_its_deadline(run: Runner) -> None:
    async def main() -> None:
        async with reconnecting() as (channel, listener):
            await listener.close()
            (await listener.accepted()).abort()
            await down(channel)
            await channel.send(b"dropped")
            with pytest.raises(jackfield.TimedOut):
                await channel.close(0.1)
            assert channel.closed
            assert channel.state == jackfield.Closed()
        async with reconnecting() as (channel, listener):
            await listener.close()
            (await listener.accepted()).abort()
            await down(channel)
            await asyncio.wait_for(channel.close(), 10.0)

    run(main)


def test_a_channel_that_is_dropped_stops_reconnecting(run: Runner) -> None:
    async def main() -> None:
        async with jackfield.listen("tcp://127.0.0.1:0") as listener:
            backoff = jackfield.Backoff(first=0.2, maximum=0.2)
            channel = await jackfield.connect(listener.address, reconnect=backoff)
            (await listener.accept(5.0)).abort()
            await down(channel)
            with pytest.warns(ResourceWarning, match="dropped"):
                del channel
            with pytest.raises(jackfield.TimedOut):
                await listener.accept(0.4)

    run(main)


# Helpers ------------------------------------------------------------------------------------------


async def down(channel: jackfield.Channel) -> None:
    """Wait until the channel knows that its connection is lost."""
    await eventually(lambda: isinstance(channel.state, jackfield.Reconnecting))


class Listening:
    """A listener at a port of its own, which can go and come back."""

    def __init__(self, listener: jackfield.Listener) -> None:
        self._listener = listener
        self._address = listener.address
        self._taken: list[jackfield.Channel] = []

    async def accepted(self) -> jackfield.Channel:
        """The next connection, also one that was made before the listener was closed."""
        if self._taken:
            return self._taken.pop()
        return await self._listener.accept(5.0)

    async def close(self) -> None:
        self._taken.append(await self._listener.accept(5.0))
        await self._listener.close()

    async def again(self) -> jackfield.Channel:
        """Listen at the same address, and give the connection that comes."""
        self._listener = await jackfield.listen(self._address, framing="u32")
        return await self._listener.accept(5.0)


@asynccontextmanager
async def reconnecting(
    backoff: jackfield.Backoff = QUICKLY,
) -> AsyncIterator[tuple[jackfield.LastingChannel, Listening]]:
    """A lasting channel and the listener that it is connected to."""
    listener = await jackfield.listen("tcp://127.0.0.1:0", framing="u32")
    here = Listening(listener)
    channel = await jackfield.connect(listener.address, framing="u32", high_water=1000, reconnect=backoff)
    try:
        yield channel, here
    finally:
        channel.abort()
        await here._listener.close()
