"""Sessions of native clients: connections break and hubs refuse, and nothing is lost, doubled or hidden."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from native_hub import running_hub
from pure_hub import PureHub, pure_hub
from support import Runner, eventually

import jackfield
from jackfield.hub import connect
from jackfield.native import Client, HubRefused, PeerRefused, RequestRefused, SessionLost, StreamChannel
from jackfield.testing import FaultyProxy

QUICK = "1ms..10ms"


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:0", "unix://{}/hub", "unix+seqpacket://{}/hub"])
def test_broken_connections_lose_and_double_nothing(run: Runner, directory: Path, address: str) -> None:
    async def main() -> None:
        async with (
            pure_hub(address.format(directory)) as hub,
            connect(hub.address, name="alice", reconnect=QUICK) as client,
        ):
            channel = await client.open("echo")
            for turn in range(8):
                sent = [b"%d-%d " % (turn, number) * (number * 50) for number in range(40)]
                sending = asyncio.create_task(channel.send_many(sent))
                received = [await channel.receive(timeout=10.0)]
                await eventually(lambda: hub.connections)
                hub.break_all()
                while len(received) < len(sent):
                    received.append(await channel.receive(timeout=10.0))
                assert received == sent
                await sending
            assert len(hub.hellos) >= 8
            assert {hello["session"]["id"] for hello in hub.hellos[1:]} == {"s1"}
            await channel.close()

    run(main)


def test_questions_are_answered_once_over_broken_connections(run: Runner) -> None:
    async def main() -> None:
        async with pure_hub() as hub, connect(hub.address, reconnect=QUICK) as client:
            for number in range(60):
                asked = asyncio.create_task(client.control("echo", number=number))
                await asyncio.sleep(0)
                if number % 5 == 0:
                    hub.break_all()
                assert (await asked)["number"] == number
            numbers = [each["number"] for each in hub.heard if each["type"] == "echo"]
            assert numbers == list(range(60))

    run(main)


def test_a_session_that_is_gone_is_told_everywhere(run: Runner) -> None:
    async def main() -> None:
        async with pure_hub() as hub, connect(hub.address, reconnect=QUICK) as client:
            channel = await client.open("echo")
            receiving = asyncio.create_task(channel.receive())
            asking = asyncio.create_task(client.control("silence"))
            renewed = asyncio.Event()
            client.on_new_session(renewed.set)
            await eventually(lambda: len(hub.heard) == 1)
            hub.forget()
            hub.break_all()
            await renewed.wait()
            with pytest.raises(jackfield.ChannelLost, match="the session could not be resumed"):
                await receiving
            with pytest.raises(SessionLost, match="the hub has not answered"):
                await asking
            with pytest.raises(jackfield.ChannelLost):
                await channel.send(b"x")
            async with await client.open("echo") as fresh:
                assert await fresh.request(b"again", timeout=10.0) == b"again"

    run(main)


def test_a_refusal_is_raised_with_its_code(run: Runner) -> None:
    async def main() -> None:
        async with pure_hub() as hub:
            hub.refusal = ("expired_token", "it ended \x1b[31m yesterday")
            with pytest.raises(
                HubRefused, match=r"it ended \\x1b\[31m yesterday \(expired_token\)"
            ) as caught:
                await connect(hub.address, token="jf_x")
            assert caught.value.code == "expired_token"
            assert isinstance(caught.value, PermissionError)
            assert hub.hellos[0]["token"] == "jf_x"

    run(main)


def test_a_refusal_for_good_ends_a_client(run: Runner) -> None:
    async def main() -> None:
        async with pure_hub() as hub, connect(hub.address, reconnect=QUICK) as client:
            await client.control("echo")
            hub.refusal = ("forbidden", "not any more")
            hub.break_all()
            states = [state async for state in client.states()]
            assert isinstance(states[-1], jackfield.Closed)
            assert isinstance(states[-1].error, HubRefused)
            with pytest.raises(SessionLost):
                await client.control("echo")
            assert client.closed

    run(main)


def test_a_hub_without_time_is_asked_again(run: Runner) -> None:
    async def main() -> None:
        async with pure_hub() as hub, connect(hub.address, reconnect=QUICK) as client:
            channel = await client.open("echo")
            hub.refusal = ("overloaded", "later")
            hub.break_all()
            await eventually(lambda: len(hub.hellos) > 3)
            assert "no connection to the hub" in str(channel.explain())
            hub.refusal = None
            assert await channel.request(b"still there", timeout=10.0) == b"still there"

    run(main)


def test_what_a_hub_or_peer_refuses(run: Runner) -> None:
    async def main() -> None:
        async with pure_hub() as hub, connect(hub.address) as client:
            with pytest.raises(RequestRefused, match=r"never \(forbidden\)") as caught:
                await client.control("no")
            assert caught.value.code == "forbidden"
            with pytest.raises(PeerRefused, match=r"nobody \\x1b\[31mis here"):
                await client.open("bob")

    run(main)


def test_messages_are_handed_on_once(run: Runner) -> None:
    async def hear(hub: PureHub, client: Client) -> None:
        letter = {
            "type": "message",
            "from": {"id": "9", "name": "dev"},
            "at": 5.0,
            "text": "hello",
            "number": 3,
        }
        hub.tell(letter)
        hub.tell({**letter, "data": "//8=", "text": None, "number": 4})
        letters = client.messages()
        first = await anext(letters)
        assert (first.sender.name, first.data, first.text, first.at) == ("dev", b"hello", "hello", 5.0)
        second = await anext(letters)
        assert (second.data, second.text) == (b"\xff\xff", "\ufffd\ufffd")
        hub.tell(letter)  # again, since its acknowledgement was late
        await eventually(lambda: [each["number"] for each in hub.heard] == [3, 4, 3])
        assert {each["type"] for each in hub.heard} == {"delivered"}
        waiting = asyncio.create_task(anext(letters, None))
        await client.close()
        assert await waiting is None

    async def main() -> None:
        async with pure_hub() as hub, connect(hub.address) as client:
            await hear(hub, client)

    run(main)


def test_a_hub_that_is_not_there(run: Runner) -> None:
    async def main() -> None:
        with pytest.raises(ConnectionRefusedError):
            await connect("tcp://127.0.0.1:9")
        with pytest.raises(jackfield.InvalidAddress, match="no hub can be joined over this transport"):
            connect("udp://127.0.0.1:9")
        async with jackfield.listen("tcp://127.0.0.1:0") as listener:
            connecting = asyncio.ensure_future(connect(listener.address))
            other = await listener.accept()
            await other.send(b"\0\0\0\x0522017 ready\r\n")
            with pytest.raises(SessionLost, match="bad_magic"):
                await connecting
            other.abort()

    run(main)


def test_a_cancelled_connect_leaves_nothing(run: Runner) -> None:
    async def main() -> None:
        async with jackfield.listen("tcp://127.0.0.1:0") as listener:
            connecting = asyncio.ensure_future(connect(listener.address))
            async with await listener.accept() as other:
                await other.receive()
                connecting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await connecting

    run(main)


def test_a_real_hub_keeps_sessions_over_broken_connections(run: Runner, directory: Path) -> None:
    """Two clients, one stream, a proxy that breaks every connection of one of them again and again."""

    async def main() -> None:
        async with (
            running_hub(directory, "tcp://127.0.0.1:0?protocol=native") as hub,
            FaultyProxy(hub.listeners[0][0].address) as proxy,
            connect(hub.listeners[0][0].address, name="bob") as bob,
            connect(proxy.address, name="alice", reconnect=QUICK) as alice,
        ):

            async def echo(channel: StreamChannel) -> None:
                async for message in channel:
                    await channel.send(message)

            async with bob.serving(echo), await alice.open("bob") as channel:
                for turn in range(8):
                    sent = [b"%d-%d " % (turn, number) * (number * 30) for number in range(40)]
                    sending = asyncio.create_task(channel.send_many(sent))
                    received = [await channel.receive(timeout=15.0)]
                    proxy.reset()
                    while len(received) < len(sent):
                        received.append(await channel.receive(timeout=15.0))
                    assert received == sent
                    await sending
                await eventually(lambda: getattr(alice.state, "connection", 0) > 4)

    run(main, limit=50.0)
