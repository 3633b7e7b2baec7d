"""What the kernel knows of a TCP connection, and connections as file objects."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from pathlib import Path

import pytest
from support import Runner, eventually, raw_peer

import jackfield

pytestmark = pytest.mark.timeout(60)


def test_the_kernel_counts_what_passed(run_here: Runner) -> None:
    async def main() -> None:
        async with raw_peer("line") as (channel, plain):
            plain.sendall(b"x" * 999 + b"\n")
            await channel.receive(5.0)
            await channel.send(b"y" * 4999)
            await channel.flush()
            await eventually(lambda: channel.tcp_info().bytes_acked in (5000, 5001))
            info = channel.tcp_info()
            assert (info.state, info.congestion_state) == ("established", "open")
            assert info.bytes_received == 1000
            assert info.bytes_sent == 5000
            assert (info.unacked_segments, info.not_sent, info.retransmits, info.probes) == (0, 0, 0, 0)
            assert 0 < info.rtt < 5
            assert 0.1 < info.retransmission_timeout < 60
            assert info.congestion_window >= 1
            assert info.send_segment > 500
            assert 0 <= info.since_received < 20
            assert info.send_window is None or info.send_window > 0
            plain.shutdown(socket.SHUT_WR)
            await eventually(lambda: channel.tcp_info().state == "close_wait")
            with pytest.raises(dataclasses.FrozenInstanceError):
                info.rtt = 1.0  # type: ignore[misc]
        with pytest.raises(jackfield.ChannelClosed):
            channel.tcp_info()

    run_here(main)


def test_a_peer_that_does_not_read_closes_its_window(run_here: Runner) -> None:
    async def main() -> None:
        async with raw_peer(high_water=2**25) as (channel, plain):
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await channel.send(bytes(2**24))
            await eventually(lambda: (channel.tcp_info().not_sent or 0) > 0)
            assert channel.tcp_info().bytes_acked != 2**24

    run_here(main)


def test_other_transports_have_none(run_here: Runner) -> None:
    async def main() -> None:
        one, two = jackfield.pair()
        async with one, two:
            with pytest.raises(jackfield.NotSupported, match=r"tcp_info\(\): it is for tcp:"):
                one.tcp_info()

    run_here(main)


def test_a_file_object_goes_on_with_the_connection(run_here: Runner) -> None:
    async def main() -> None:
        async with raw_peer("line") as (channel, plain):
            plain.sendall(b"first\n")
            assert await channel.receive(5.0) == b"first"
            plain.sendall(b"second\nthird\n")
            file = channel.makefile("rw", encoding="utf-8")
            assert channel.closed

            def talk() -> list[str]:
                with file:
                    lines = [file.readline(), file.readline()]
                    file.write("from a file\n")
                return lines

            assert await asyncio.to_thread(talk) == ["second\n", "third\n"]
            assert plain.recv(100) == b"from a file\n"
            assert plain.recv(100) == b"", "the file has closed the connection"

    run_here(main)


def test_a_file_object_refuses_to_lose_bytes(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with raw_peer("line") as (channel, plain):
            plain.sendall(b"one\ntwo\n")
            assert await channel.receive(5.0) == b"one"
            with pytest.raises(jackfield.ChannelBusy, match="receive them first"):
                channel.makefile()
            with pytest.raises(ValueError, match="mode 'x'"):
                channel.makefile("x")
            assert await channel.receive(5.0) == b"two"
            with channel.makefile("wb", buffering=0) as file:
                file.write(b"bytes")
            assert plain.recv(100) == b"bytes"

    run_here(main)
