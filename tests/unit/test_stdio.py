"""``stdio:`` over pipes, files and terminals, in programs of their own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import subprocess
import sys
import termios
from pathlib import Path
from typing import IO, Any

import pytest

pytestmark = pytest.mark.timeout(60)

HEAD = """
import asyncio, fcntl, os, sys
import jackfield

def modes():
    return [bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK) for fd in (0, 1)]

"""
SHOUT = (
    HEAD
    + """
async def main():
    async with jackfield.connect("stdio:", framing="line") as channel:
        assert modes() == [False, False]
        async for line in channel:
            await channel.send(line.upper())
jackfield.run(main)
"""
)


def start(
    program: str, stdin: int | IO[Any] = subprocess.PIPE, stdout: int | IO[Any] = subprocess.PIPE
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program], stdin=stdin, stdout=stdout, stderr=subprocess.PIPE
    )


def end(program: subprocess.Popen[bytes], data: bytes | None = None) -> bytes:
    """Its output, once it has ended well."""
    output, complaints = program.communicate(data, timeout=30)
    assert program.returncode == 0, complaints.decode()
    assert complaints == b""
    return output


def test_pipes() -> None:
    program = start(SHOUT)
    assert program.stdin is not None
    assert program.stdout is not None
    program.stdin.write(b"one\ntwo\n")
    program.stdin.flush()
    assert program.stdout.readline() == b"ONE\n"
    assert program.stdout.readline() == b"TWO\n"
    assert end(program, b"three\nthe end") == b"THREE\nTHE END\n"


def test_much_through_pipes() -> None:
    data = b"".join(b"%07d\n" % number for number in range(200_000))
    assert end(start(SHOUT), data) == data


def test_files(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"from\na\nfile\n" * 1000)
    with (tmp_path / "in").open("rb") as source, (tmp_path / "out").open("wb") as target:
        end(start(SHOUT, source, target))
    assert (tmp_path / "out").read_bytes() == b"FROM\nA\nFILE\n" * 1000


def test_nothing_to_read() -> None:
    assert end(start(SHOUT, subprocess.DEVNULL)) == b""


def test_a_terminal_keeps_its_mode() -> None:
    outside, inside = pty.openpty()
    settings = termios.tcgetattr(inside)
    settings[3] &= ~termios.ECHO
    termios.tcsetattr(inside, termios.TCSANOW, settings)
    program = start(SHOUT, inside, inside)
    os.write(outside, b"hello\n")
    shown = b""
    while not shown.endswith(b"\n"):
        shown += os.read(outside, 100)
    assert shown == b"HELLO\r\n"
    assert not fcntl.fcntl(inside, fcntl.F_GETFL) & os.O_NONBLOCK, "the shell's terminal, too"
    os.write(outside, b"\x04")  # Ctrl-D
    end(program)
    os.close(outside)
    os.close(inside)


def test_half_close_ends_standard_output_alone() -> None:
    program = start(
        HEAD
        + """
async def main():
    async with jackfield.connect("stdio:", framing="line") as channel:
        await channel.send(b"all that there is")
        channel.send_eof()
        print("still here", await channel.receive(), file=sys.stderr)
        print("nobody sees this")
jackfield.run(main)
"""
    )
    assert program.stdout is not None
    assert program.stdout.read() == b"all that there is\n"
    _, complaints = program.communicate(b"answer\n", timeout=30)
    assert complaints == b"still here b'answer'\n"
    assert program.returncode == 0


def test_what_comes_after_the_close_is_for_others() -> None:
    program = start(
        HEAD
        + """
async def main():
    async with jackfield.connect("stdio:", framing="line") as channel:
        await channel.send(b"ready for " + await channel.receive())
    os.write(1, b"closed\\n")
jackfield.run(main)
os.write(1, b"then " + os.read(0, 100))
"""
    )
    assert program.stdin is not None
    assert program.stdout is not None
    program.stdin.write(b"one\n")
    program.stdin.flush()
    assert program.stdout.readline() == b"ready for one\n"
    assert program.stdout.readline() == b"closed\n"
    assert end(program, b"two\n") == b"then two\n"


def test_close_waits_until_all_is_written() -> None:
    program = start(
        HEAD
        + """
async def main():
    channel = await jackfield.connect("stdio:", framing="line", high_water="8M")
    await channel.send(b"x" * 2_000_000)
    try:
        await channel.close(0.05)
    except jackfield.TimedOut as error:
        print("late:", error, file=sys.stderr)
    else:
        print("not late", file=sys.stderr)
jackfield.run(main)
"""
    )
    assert program.stderr is not None
    assert program.stderr.readline().startswith(b"late: ")
    program.kill()
    with contextlib.suppress(BrokenPipeError):
        program.communicate(timeout=30)

    whole = start(
        HEAD
        + """
async def main():
    async with jackfield.connect("stdio:", framing="line", high_water="8M") as channel:
        await channel.send(b"x" * 2_000_000)
jackfield.run(main)
"""
    )
    assert end(whole) == b"x" * 2_000_000 + b"\n"


def test_a_reader_that_has_gone_is_told() -> None:
    read, write = os.pipe()
    program = start(
        HEAD
        + """
async def main():
    async with jackfield.connect("stdio:", framing="line") as channel:
        await channel.receive()
        try:
            while True:
                await channel.send(b"is anybody there?" * 100)
                await channel.flush()
                await asyncio.sleep(0)
        except jackfield.ChannelLost as error:
            print("told", file=sys.stderr)
jackfield.run(main)
""",
        stdout=write,
    )
    os.close(write)
    os.close(read)
    _, complaints = program.communicate(b"go\n", timeout=30)
    assert complaints == b"told\n"


def test_facts_and_what_it_cannot_do() -> None:
    program = start(
        HEAD
        + """
async def main():
    async with jackfield.connect("stdio:?framing=u32") as channel:
        assert (channel.protocol, str(channel.peer), str(channel.local)) == ("stdio", "stdio:", "stdio:")
        assert channel.credentials is None
        assert channel.kernel_options() == {}
        for call in ("detach", "makefile", "tcp_info", "send_fds"):
            try:
                getattr(channel, call)(*([b"", [0]] if call == "send_fds" else []))
            except jackfield.NotSupported:
                continue
            raise SystemExit(f"{call} works")
        try:
            await jackfield.connect("stdio:")
        except jackfield.ChannelBusy:
            pass
        await channel.send(b"first")
    async with jackfield.connect("stdio:?framing=line") as channel:
        await channel.send(b"second")
    try:
        jackfield.listen("stdio:")
    except jackfield.NotSupported as error:
        assert "cannot listen on stdio:" in str(error)
jackfield.run(main)
"""
    )
    assert end(program) == b"\0\0\0\x05firstsecond\n"


ECHO_ONE = """
import jackfield
async def main():
    async with jackfield.connect("stdio:", framing="line") as channel:
        await channel.send(b"for nobody")
jackfield.run(main)
"""


@pytest.mark.parametrize(("closing", "name"), [("<&-", "input"), (">&-", "output")])
def test_a_closed_descriptor_is_refused(closing: str, name: str) -> None:
    """Its number is then a descriptor of the event loop: to read or write there would hang or do harm."""
    script = f'exec "$0" -c "$1" {closing}'
    done = subprocess.run(
        ["sh", "-c", script, sys.executable, ECHO_ONE],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert f"NotSupported: stdio: standard {name} was closed".encode() in done.stderr.replace(
        b"jackfield._error_classes.", b""
    )


def test_output_that_is_full_is_told() -> None:
    with open("/dev/full", "wb") as full:
        program = start(ECHO_ONE, subprocess.DEVNULL, full)
        _, complaints = program.communicate(timeout=60)
    assert program.returncode == 1
    assert b"ChannelLost: standard output did not take everything: No space left on device" in complaints
