"""Standard input and output that never block the loop."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from jackfield.cli.streams import Input, Output

BIG = bytes(range(256)) * 4096  # 1 MiB: more than any pipe holds


def drain(fd: int, into: bytearray) -> None:
    while data := os.read(fd, 65536):
        into += data


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_a_slow_reader_holds_up_only_the_writer(kind: str) -> None:
    async def main() -> None:
        if kind == "pipe":
            reader, writer = os.pipe()
        else:
            one, two = socket.socketpair()
            reader, writer = one.detach(), two.detach()
        assert os.get_blocking(writer)
        output = Output(writer)
        writing = asyncio.create_task(output.write(BIG))
        for _ in range(10):
            await asyncio.sleep(0)  # the loop turns while nobody reads
        assert not writing.done()
        got = bytearray()
        reading = asyncio.create_task(asyncio.to_thread(drain, reader, got))
        await writing
        assert os.get_blocking(writer), "whoever shares the descriptor keeps its flags"
        output.close()
        os.close(writer)
        await reading
        os.close(reader)
        assert got == BIG

    asyncio.run(main())


def test_two_writers_take_turns() -> None:
    async def main() -> None:
        reader, writer = os.pipe()
        output = Output(writer)
        writing = asyncio.gather(output.write(b"a" * 500_000), output.write(b"b" * 500_000))
        got = bytearray()
        reading = asyncio.create_task(asyncio.to_thread(drain, reader, got))
        await writing
        output.close()
        os.close(writer)
        await reading
        os.close(reader)
        assert got == b"a" * 500_000 + b"b" * 500_000

    asyncio.run(main())


def test_nobody_reads_any_more() -> None:
    async def main() -> None:
        reader, writer = os.pipe()
        output = Output(writer)
        os.close(reader)
        with pytest.raises(BrokenPipeError):
            await output.write(b"x")
        output.close()
        os.close(writer)

    asyncio.run(main())


def test_input_waits_and_ends() -> None:
    async def main() -> None:
        reader, writer = os.pipe()
        source = Input(reader, chunk=4)
        reading = asyncio.create_task(source.read())
        await asyncio.sleep(0)
        assert not reading.done()
        os.write(writer, b"abcdef")
        assert await reading == b"abcd"
        assert await source.read() == b"ef"
        cancelled = asyncio.create_task(source.read())
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.gather(cancelled, return_exceptions=True)
        os.write(writer, b"gh")
        assert await source.read() == b"gh", "a cancelled read has taken nothing"
        os.close(writer)
        assert await source.read() == b""
        os.close(reader)

    asyncio.run(main())


def test_files_and_devices(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "in").write_bytes(b"abc")
        fd = os.open(tmp_path / "in", os.O_RDONLY)
        source = Input(fd)
        assert [await source.read(), await source.read()] == [b"abc", b""]
        os.close(fd)
        null = os.open(os.devnull, os.O_RDWR)
        assert await Input(null).read() == b""
        await Output(null).write(BIG)
        os.close(null)
        fd = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
        await Output(fd).write(BIG)
        os.close(fd)
        assert (tmp_path / "out").read_bytes() == BIG
        assert await Input(987654).read() == b""

    asyncio.run(main())
