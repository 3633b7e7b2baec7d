"""`listen` and `Listener`: binding, accepting, serving, limits, closing."""

# ruff: noqa: SIM117 - the order of ends is the point

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest
from support import Runner, eventually, raw_connect, turns

import jackfield

pytestmark = pytest.mark.timeout(30)


async def echo(channel: jackfield.Channel) -> None:
    async for message in channel:
        await channel.send(message)


def test_the_kernel_picks_a_port_and_the_listener_says_which(run: Runner) -> None:
    async def main() -> None:
        async with jackfield.listen("tcp://127.0.0.1:0") as listener:
            assert listener.address.port
            assert listener.address.host == "127.0.0.1"
            assert listener.protocol == "tcp"
            assert os.fstat(listener.fileno())
            assert str(listener.address) in repr(listener)

    run(main)


def test_any_address_takes_both_families(run: Runner) -> None:
    async def main() -> None:
        async with jackfield.listen("tcp://:0", framing="line") as listener:
            assert listener.address.host is None
            async with listener.serving(echo):
                hosts = ["127.0.0.1"] + (["::1"] if socket.has_dualstack_ipv6() else [])
                for host in hosts:
                    shown = f"[{host}]" if ":" in host else host
                    async with jackfield.connect(
                        f"tcp://{shown}:{listener.address.port}", framing="line"
                    ) as channel:
                        assert await channel.request(b"x", timeout=5.0) == b"x"
                async with jackfield.connect(listener.address, framing="line") as channel:
                    assert await channel.request(b"y", timeout=5.0) == b"y"

    run(main)


def test_ipv4_clients_of_a_dual_stack_listener_are_shown_as_ipv4(run: Runner) -> None:
    async def main() -> None:
        for scheme in ("tcp", "udp"):
            async with jackfield.listen(f"{scheme}://:0") as listener:
                async with jackfield.connect(f"{scheme}://127.0.0.1:{listener.address.port}") as client:
                    await client.send(b"x")
                    channel = await listener.accept(5.0)
                    assert await channel.receive(5.0) == b"x"
                    assert channel.peer.host == "127.0.0.1"
                    await channel.send(b"back")
                    assert await client.receive(5.0) == b"back"
                    channel.abort()

    run(main)


@pytest.mark.parametrize("scheme", ["tcp", "udp"])
def test_an_address_in_use_names_its_holder(run: Runner, scheme: str) -> None:
    async def main() -> None:
        async with jackfield.listen(f"{scheme}://127.0.0.1:0") as listener:
            with pytest.raises(jackfield.AddressInUse) as caught:
                await jackfield.listen(listener.address)
            assert str(os.getpid()) in str(caught.value)
            assert isinstance(caught.value, OSError)
            assert caught.value.address == listener.address

    run(main)


def test_errors_of_binding(run_here: Runner) -> None:
    async def main() -> None:
        with pytest.raises(jackfield.AddressNotAvailable):
            await jackfield.listen("tcp://192.0.2.1:0")
        with pytest.raises(jackfield.NameNotResolved):
            await jackfield.listen("tcp://no-such-name.invalid:0")
        with pytest.raises(jackfield.JackfieldError):
            await jackfield.listen("unix:///no/such/directory/s")
        with pytest.raises(jackfield.NotSupported):
            jackfield.listen("pair:")
        with pytest.raises(jackfield.NotSupported):
            jackfield.listen("ws://127.0.0.1:0/")

    run_here(main)


def test_iterating_ends_with_close(run: Runner) -> None:
    async def main() -> None:
        listener = await jackfield.listen("tcp://127.0.0.1:0")
        accepted: list[jackfield.Channel] = []

        async def take_all() -> None:
            async for channel in listener:
                accepted.append(channel)

        task = asyncio.create_task(take_all())
        plains = [raw_connect(listener.address) for _ in range(3)]
        await eventually(lambda: len(accepted) == 3)
        assert listener.statistics().clients == 3
        await listener.close()
        await asyncio.wait_for(task, 5.0)
        await listener.close()
        listener.abort()
        assert listener.closed
        with pytest.raises(jackfield.ChannelClosed):
            await listener.accept()
        with pytest.raises(jackfield.ChannelClosed):
            listener.fileno()
        for channel, plain in zip(accepted, plains, strict=True):
            await channel.send(b"the accepted ones go on")
            await channel.flush(5.0)
            assert plain.recv(100) == b"the accepted ones go on"
            channel.abort()
            plain.close()

    run(main)


def test_the_clients_limit_resets_newcomers(run: Runner) -> None:
    async def main() -> None:
        async with jackfield.listen("tcp://127.0.0.1:0", max_clients=2, framing="line") as listener:
            async with listener.serving(echo):
                one, two = [await jackfield.connect(listener.address, framing="line") for _ in range(2)]
                for channel in (one, two):
                    assert await channel.request(b"x", timeout=5.0) == b"x"
                # The reset may come before the connect is even told.
                with pytest.raises((jackfield.ChannelLost, jackfield.EndOfStream, jackfield.ConnectFailed)):
                    async with jackfield.connect(listener.address, framing="line") as three:
                        await three.receive(5.0)
                assert listener.statistics()[:2] == (2, 1)
                one.abort()
                await eventually(lambda: listener.statistics().clients == 1)
                four = await jackfield.connect(listener.address, framing="line")
                assert await four.request(b"y", timeout=5.0) == b"y"
                for channel in (two, four):
                    channel.abort()

    run(main)


def test_serving_cancels_its_handlers_at_the_end(run: Runner) -> None:
    async def main() -> None:
        events: list[str] = []

        async def handler(channel: jackfield.Channel) -> None:
            events.append("begin")
            try:
                await channel.receive()
            except asyncio.CancelledError:
                events.append("cancelled")
                raise

        async with jackfield.listen("tcp://127.0.0.1:0") as listener:
            async with listener.serving(handler):
                plain = raw_connect(listener.address)
                await eventually(lambda: events == ["begin"])
            assert events == ["begin", "cancelled"]
            plain.close()

    run(main)


def test_serve_ends_when_the_listener_is_closed(run: Runner) -> None:
    async def main() -> None:
        listener = await jackfield.listen("tcp://127.0.0.1:0")
        serving = asyncio.create_task(listener.serve(echo))
        await turns()
        await listener.close()
        await asyncio.wait_for(serving, 5.0)

    run(main)


def test_a_second_accept_is_refused(run: Runner) -> None:
    async def main() -> None:
        async with jackfield.listen("tcp://127.0.0.1:0") as listener:
            waiting = asyncio.create_task(listener.accept())
            await turns()
            with pytest.raises(jackfield.AlreadyWaiting):
                await listener.accept()
            plain = raw_connect(listener.address)
            (await waiting).abort()
            plain.close()

    run(main)


def test_a_listener_into_two_groups_is_refused(run: Runner, directory: Path) -> None:
    async def main() -> None:
        async with jackfield.Group() as one, jackfield.Group() as two:
            async with jackfield.listen(f"unix://{directory}/s") as listener:
                listener.into(one)
                with pytest.raises(jackfield.AlreadyWaiting):
                    listener.into(two)

    run(main)


def test_reuse_port_shares_an_address(run_here: Runner) -> None:
    async def main() -> None:
        async with jackfield.listen("tcp://127.0.0.1:0", reuse_port=True) as one:
            async with jackfield.listen(one.address, reuse_port=True) as two:
                assert one.address == two.address

    run_here(main)
