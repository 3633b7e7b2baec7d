"""Native clients over TLS: streams of any size, and sessions that outlive connections cut at any byte."""

from __future__ import annotations

import asyncio
import urllib.parse
from pathlib import Path

import pytest
from native_hub import running_hub
from support import Runner, eventually
from support_tls import certificates

from jackfield import portable
from jackfield.hub import Hub, connect
from jackfield.hub.plan import PlanError
from jackfield.native import StreamChannel
from jackfield.testing import FaultyProxy

LISTENING = "tls://127.0.0.1:0?" + urllib.parse.urlencode(
    {**certificates().listening, "protocol": "native"}, safe="/"
)
PIN = certificates().server.fingerprint
QUICK = "1ms..10ms"


def through(hub: Hub) -> FaultyProxy:
    """A proxy that sees ciphertext alone."""
    return FaultyProxy(f"tcp://127.0.0.1:{hub.listeners[0][0].address.port}")


def over(proxy: FaultyProxy) -> str:
    return f"tls://{proxy.address.endpoint}?pin={PIN}"


async def shout(channel: StreamChannel) -> None:
    async for message in channel:
        await channel.send(message.upper())


def test_large_and_small_messages_in_both_directions(run: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory, LISTENING) as hub:
            where = f"tls://{hub.listeners[0][0].address.endpoint}?pin={PIN}"
            async with (
                connect(where, name="alice") as alice,
                connect(where, name="bob") as bob,
                bob.serving(shout),
                await alice.open("bob") as channel,
            ):
                for size in (0, 1, 16_383, 16_384, 16_385, 65_536, 1_000_000):
                    assert await channel.request(b"x" * size, timeout=20.0) == b"X" * size

    run(main)


def test_a_session_goes_on_over_connections_that_are_cut(run: Runner, directory: Path) -> None:
    async def main() -> None:
        async with (
            running_hub(directory, LISTENING) as hub,
            through(hub) as proxy,
            connect(over(proxy), name="bob", reconnect=QUICK) as bob,
            connect(over(proxy), name="alice", reconnect=QUICK) as alice,
            bob.serving(shout),
        ):
            channel = await alice.open("bob")
            for turn in range(6):
                sent = [b"%d-%d " % (turn, number) * (number * 60) for number in range(40)]
                sending = asyncio.create_task(channel.send_many(sent))
                received = [await channel.receive(timeout=10.0)]
                await eventually(lambda: proxy.connections == 2)
                proxy.reset()
                while len(received) < len(sent):
                    received.append(await channel.receive(timeout=10.0))
                assert received == sent
                await sending
            await channel.close()

    run(main)


def test_the_portable_client_comes_back_with_its_session(run: Runner, directory: Path) -> None:
    async def main() -> None:
        async with (
            running_hub(directory, LISTENING) as hub,
            through(hub) as proxy,
            connect(over(proxy), name="bob", reconnect=QUICK) as bob,
        ):
            where = over(proxy)
            client = await asyncio.to_thread(portable.connect, where, name="alice")
            try:
                taking = asyncio.ensure_future(anext(bob.channels()))
                stream = await asyncio.to_thread(client.open, "bob", "channel", 10.0)
                channel = await taking
                for turn in range(3):
                    await channel.send(b"down %d" % turn * 5_000)
                    proxy.reset()
                    assert await asyncio.to_thread(stream.receive, 10.0) == b"down %d" % turn * 5_000
                    await asyncio.to_thread(stream.send, b"up %d" % turn, 10.0)
                    assert await channel.receive(timeout=10.0) == b"up %d" % turn
            finally:
                await asyncio.to_thread(client.close)

    run(main)


def test_a_hub_in_a_program_has_a_certificate_of_its_own(run: Runner, directory: Path) -> None:
    async def main() -> None:
        state = directory / "hub.db"
        async with running_hub(directory, "tls://127.0.0.1:0", state=state) as hub:
            where = f"tls://{hub.listeners[0][0].address.endpoint}?pin={hub.security.pin}"
            async with connect(where, name="alice") as alice:
                assert alice.name == "alice"
        with pytest.raises(PlanError, match="a hub without state keeps none"):
            async with running_hub(directory, "tls://127.0.0.1:0"):
                pass

    run(main)
