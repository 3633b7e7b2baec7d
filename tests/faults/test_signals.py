"""Ctrl-C and SIGTERM under load: the program ends at once and without noise."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.timeout(60)

LOAD = """
    import asyncio, signal, sys
    import jackfield

    async def echo(channel):
        async for message in channel:
            await channel.send(message)

    async def ask(address):
        async with jackfield.connect(address, framing="u32") as channel:
            count = 0
            while True:
                assert await channel.request(b"x" * 100) == b"x" * 100
                count += 1
                if count == 200:
                    print("busy", flush=True)

    async def flood():
        one, two = jackfield.pair(framing="u32")
        async def swallow():
            async for _ in two:
                pass
        async with one, two, asyncio.TaskGroup() as group:
            group.create_task(swallow())
            while True:
                await one.send(b"y" * 64)

    async def main():
        if TERM:
            task = asyncio.current_task()
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        async with jackfield.listen("tcp://127.0.0.1:0", framing="u32") as listener, listener.serving(echo):
            async with asyncio.TaskGroup() as group:
                for _ in range(5):
                    group.create_task(ask(listener.address))
                group.create_task(flood())

    TERM = sys.argv[1] == "term"
    runner = {"selector": jackfield.run, "asyncio": lambda main: asyncio.run(main()),
              "uvloop": lambda main: __import__("uvloop").run(main())}[sys.argv[2]]
    try:
        runner(main)
    except asyncio.CancelledError:
        print("cancelled", flush=True)
        sys.exit(3)
"""

IDLE = """
    import jackfield, sys
    async def main():
        one, two = jackfield.pair()
        print("busy", flush=True)
        await one.receive()
    jackfield.run(main)
"""


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-X", "dev", "-c", textwrap.dedent(code), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "busy\n"
    return process


@pytest.mark.parametrize("loop", ["selector", "asyncio", "uvloop"])
def test_ctrl_c_under_load(loop: str) -> None:
    process = start(LOAD, "int", loop)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=15)
    assert process.returncode == -signal.SIGINT, err
    assert err.rstrip().endswith("KeyboardInterrupt"), err
    for noise in (
        "never retrieved",
        "was destroyed",
        "ResourceWarning",
        "panicked",
        "Exception ignored",
        "unhandled",
    ):
        assert noise not in err, err


@pytest.mark.parametrize("loop", ["selector", "asyncio", "uvloop"])
def test_sigterm_under_load(loop: str) -> None:
    process = start(LOAD, "term", loop)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=15)
    assert process.returncode == 3, err
    assert "cancelled" in out
    assert err == ""


def test_ctrl_c_while_nothing_happens() -> None:
    for _ in range(5):
        process = start(IDLE)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=15)
        assert process.returncode == -signal.SIGINT
        assert err.rstrip().endswith("KeyboardInterrupt")


def test_sigterm_without_a_handler_ends_it() -> None:
    process = start(LOAD, "int", "selector")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=15)
    assert process.returncode == -signal.SIGTERM
    assert err == ""
