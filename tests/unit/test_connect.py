"""`connect` and `pair`: what they refuse at once, what they say when awaited, which address they try."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest
from support import Runner, raw_listener

import jackfield

pytestmark = pytest.mark.timeout(30)


def test_what_is_wrong_in_the_call_is_said_at_once() -> None:
    with pytest.raises(jackfield.InvalidAddress):
        jackfield.connect("tcp://*:5555")
    with pytest.raises(jackfield.InvalidAddress):
        jackfield.connect("ipc://x")
    with pytest.raises(jackfield.InvalidOption):
        jackfield.connect("tcp://127.0.0.1:1", nodalay=True)  # type: ignore[call-arg]
    with pytest.raises(jackfield.InvalidFraming):
        jackfield.connect("tcp://127.0.0.1:1", framing="u33")
    with pytest.raises(jackfield.NotSupported, match="mq"):
        jackfield.connect("mq:///name")
    with pytest.raises(jackfield.NotSupported, match="boundaries"):
        jackfield.connect("udp://127.0.0.1:1", framing="line")


def test_refused(run: Runner) -> None:
    async def main() -> None:
        with raw_listener() as (_, address):
            pass
        for _ in range(3):
            with pytest.raises(jackfield.ConnectRefused) as caught:
                await jackfield.connect(address)
            error = caught.value
            assert isinstance(error, ConnectionRefusedError)
            assert isinstance(error, jackfield.ConnectFailed)
            assert str(error.address) == address
            assert [str(attempt.address) for attempt in error.attempts] == [address]
            assert "listens there" in str(error)

    run(main)


def test_failures_leave_no_descriptors(run: Runner) -> None:
    async def main() -> None:
        with raw_listener() as (_, address):
            pass
        with pytest.raises(jackfield.ConnectRefused):
            await jackfield.connect(address)
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            with pytest.raises(jackfield.ConnectRefused):
                await jackfield.connect(address)
            with pytest.raises(jackfield.JackfieldError):
                await jackfield.connect("unix:///nowhere/at/all")
        assert len(os.listdir("/proc/self/fd")) <= before

    run(main)


def test_a_name_with_two_families_is_tried_in_both(run: Runner) -> None:
    async def main() -> None:
        places = {info[0] for info in socket.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)}
        with raw_listener() as (listening, address):
            port = address.rpartition(":")[2]
            async with jackfield.connect(f"tcp://localhost:{port}") as channel:
                plain, _ = listening.accept()
                assert channel.peer.host == "127.0.0.1"
                plain.close()
        with pytest.raises(jackfield.ConnectRefused) as caught:
            await jackfield.connect(f"tcp://localhost:{port}")
        assert len(caught.value.attempts) == len(places)

    run(main)


def test_a_name_that_nobody_knows(run: Runner) -> None:
    async def main() -> None:
        with pytest.raises((jackfield.NameNotResolved, jackfield.ConnectTimedOut)):
            await jackfield.connect("tcp://no-such-name.invalid:80", connect_timeout=5.0)

    run(main)


def test_options_of_the_address_and_of_the_call(run_here: Runner) -> None:
    async def main() -> None:
        with raw_listener() as (listening, address):
            async with jackfield.connect(
                f"{address}?framing=line&nodelay=no&high_water=64K", framing="u8"
            ) as channel:
                plain, _ = listening.accept()
                assert str(channel.framing) == "u8"
                assert channel.options.high_water == 65_536
                assert channel.options.nodelay is False
                duplicate = socket.socket(fileno=os.dup(channel.fileno()))
                assert duplicate.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0
                assert duplicate.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
                assert duplicate.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
                duplicate.close()
                plain.close()
            async with jackfield.connect(
                address, keepalive="10s/2s/5", bind="127.0.0.2", dscp="EF"
            ) as channel:
                plain, came_from = listening.accept()
                assert came_from[0] == "127.0.0.2" == channel.local.host
                duplicate = socket.socket(fileno=os.dup(channel.fileno()))
                assert duplicate.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
                assert duplicate.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 10
                assert duplicate.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 5
                assert duplicate.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == 46 << 2
                duplicate.close()
                plain.close()

    run_here(main)


def test_await_and_async_with_are_the_same(run_here: Runner) -> None:
    async def main() -> None:
        with raw_listener() as (listening, address):
            channel = await jackfield.connect(jackfield.Address.parse(address))
            async with jackfield.connect(address) as other:
                assert type(channel) is type(other) is jackfield.Channel
            assert other.closed
            assert not channel.closed
            await channel.close()
            for _ in range(2):
                listening.accept()[0].close()

    run_here(main)


def test_pair_has_two_ends_and_connect_has_one(run_here: Runner) -> None:
    async def main() -> None:
        with pytest.raises(jackfield.JackfieldError, match="pair"):
            await jackfield.connect("pair:")
        one, two = jackfield.pair(framing="netstring", max_message=10)
        async with one, two:
            assert str(one.framing) == str(two.framing) == "netstring"
            assert one.protocol == "pair"

    run_here(main)
    with pytest.raises(RuntimeError):
        jackfield.pair()


def test_connecting_outside_a_loop_is_an_error() -> None:
    opening = jackfield.connect("tcp://127.0.0.1:1")
    with pytest.raises(RuntimeError):
        opening.__await__().send(None)


def test_the_timeout_covers_an_accept_queue_that_stays_full(run: Runner, directory: Path) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX) as full:
            full.bind(f"{directory}/s")
            full.listen(0)
            held = await jackfield.connect(f"unix://{directory}/s")
            started = loop.time()
            with pytest.raises(jackfield.ConnectTimedOut) as caught:
                await jackfield.connect(f"unix://{directory}/s", connect_timeout=0.2)
            assert 0.1 < loop.time() - started < 10.0
            assert isinstance(caught.value, TimeoutError)
            held.abort()

    run(main)
