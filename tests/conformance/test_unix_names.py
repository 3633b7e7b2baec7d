"""Unix sockets' names: files that are made, replaced and removed; abstract names; who is at the other end."""

# ruff: noqa: PT012 - several sends until one fails
# ruff: noqa: SIM117 - the order of ends is the point

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from support import Runner

import jackfield

pytestmark = pytest.mark.timeout(60)

KINDS = {"unix": socket.SOCK_STREAM, "unix+seqpacket": socket.SOCK_SEQPACKET, "unix+dgram": socket.SOCK_DGRAM}


@pytest.mark.parametrize("scheme", KINDS)
def test_the_file_appears_and_goes(run: Runner, directory: Path, scheme: str) -> None:
    async def main() -> None:
        path = directory / "a socket"
        address = f"{scheme}://{directory}/a%20socket"
        async with jackfield.listen(address) as listener:
            assert path.is_socket()
            assert str(listener.address) == address
            async with jackfield.connect(listener.address) as channel:
                await channel.send(b"x")
        assert not path.exists()

    run(main)


@pytest.mark.parametrize("scheme", KINDS)
def test_a_stale_file_is_replaced(run: Runner, directory: Path, scheme: str) -> None:
    async def main() -> None:
        path = directory / "s"
        with socket.socket(socket.AF_UNIX, KINDS[scheme]) as dead:
            dead.bind(str(path))
        assert path.is_socket()
        async with jackfield.listen(f"{scheme}://{path}") as listener:
            async with jackfield.connect(listener.address) as channel:
                await channel.send(b"alive")
                server = await listener.accept(5.0)
                assert await server.receive(5.0) == b"alive"
                server.abort()

    run(main)


@pytest.mark.parametrize("scheme", KINDS)
def test_a_live_one_is_not(run: Runner, directory: Path, scheme: str) -> None:
    async def main() -> None:
        path = directory / "s"
        with socket.socket(socket.AF_UNIX, KINDS[scheme]) as live:
            live.bind(str(path))
            if scheme != "unix+dgram":
                live.listen()
            with pytest.raises(jackfield.AddressInUse) as caught:
                await jackfield.listen(f"{scheme}://{path}")
            assert str(os.getpid()) in str(caught.value)
            assert path.is_socket()
        async with jackfield.listen(f"{scheme}://{path}") as ours:
            with pytest.raises(jackfield.AddressInUse):
                await jackfield.listen(ours.address)

    run(main)


def test_something_else_at_the_path_is_left_alone(run: Runner, directory: Path) -> None:
    async def main() -> None:
        path = directory / "precious"
        path.write_text("data")
        with pytest.raises(jackfield.JackfieldError):
            await jackfield.listen(f"unix://{path}")
        assert path.read_text() == "data"

    run(main)


def test_a_file_that_was_replaced_is_not_removed(run: Runner, directory: Path) -> None:
    async def main() -> None:
        path = directory / "s"
        first = await jackfield.listen(f"unix://{path}")
        path.unlink()
        second = await jackfield.listen(f"unix://{path}")
        await first.close()
        assert path.is_socket()
        await second.close()
        assert not path.exists()

    run(main)


@pytest.mark.parametrize("scheme", KINDS)
def test_abstract_names(run: Runner, scheme: str) -> None:
    async def main() -> None:
        address = f"{scheme}://@jackfield-test-{os.getpid()}"
        async with jackfield.listen(address) as listener:
            assert listener.address.is_abstract
            assert str(listener.address) == address
            async with jackfield.connect(address) as channel:
                await channel.send(b"x")
                server = await listener.accept(5.0)
                assert await server.receive(5.0) == b"x"
                server.abort()
            with pytest.raises(jackfield.AddressInUse, match=str(os.getpid())):
                await jackfield.listen(address)
        with pytest.raises(jackfield.ConnectRefused):
            await jackfield.connect(address)

    run(main)


def test_a_client_may_have_a_name_too(run: Runner, directory: Path) -> None:
    async def main() -> None:
        async with jackfield.listen(f"unix://{directory}/s") as listener:
            async with jackfield.connect(listener.address, bind=f"{directory}/c") as channel:
                server = await listener.accept(5.0)
                assert server.peer.path == f"{directory}/c"
                assert channel.local == server.peer
                server.abort()

    run(main)


def test_connecting_to_nothing(run: Runner, directory: Path) -> None:
    async def main() -> None:
        with pytest.raises(jackfield.ConnectFailed):
            await jackfield.connect(f"unix://{directory}/absent")
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(f"{directory}/dead")
        with pytest.raises(jackfield.ConnectRefused):
            await jackfield.connect(f"unix://{directory}/dead")

    run(main)


def test_connecting_waits_while_the_accept_queue_is_full(run: Runner, directory: Path) -> None:
    async def main() -> None:
        with socket.socket(socket.AF_UNIX) as full:
            full.bind(f"{directory}/full")
            full.listen(0)
            first = await jackfield.connect(f"unix://{directory}/full")
            with pytest.raises(jackfield.ConnectTimedOut):
                for _ in range(3):
                    await jackfield.connect(f"unix://{directory}/full", connect_timeout=0.1)
            first.abort()

    run(main)
