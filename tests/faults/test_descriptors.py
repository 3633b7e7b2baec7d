"""Connections against the descriptor limit: a clear refusal, the others unharmed, and recovery."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.timeout(120)

CROWD = """
import socket, sys
port, count = int(sys.argv[1]), int(sys.argv[2])
held, refused = [], 0
for number in range(count):
    plain = socket.socket()
    # Several source addresses, and the port only when connecting: when few ports are left, the kernel
    # searches long.
    plain.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
    plain.bind(("127.0.0.%d" % (2 + number % 16), 0))
    try:
        plain.connect(("127.0.0.1", port))
    except OSError:
        refused += 1
        plain.close()
    else:
        held.append(plain)
print("connected", len(held), flush=True)
sys.stdin.readline()
answered = lost = 0
for plain in held:
    plain.settimeout(20)
    try:
        plain.sendall(b"hello" + bytes([10]))
        got = plain.recv(100)
    except OSError:
        got = b""
    if got == b"hello" + bytes([10]):
        answered += 1
    else:
        lost += 1
        plain.close()
print("answered", answered, "lost", lost, flush=True)
sys.stdin.readline()
"""
"""A process that holds many connections: says how many; when told, asks each for an echo; when told, ends."""

COMMON = """
    import asyncio, contextlib, os, resource, socket, sys
    import jackfield

    async def echo(channel):
        async for message in channel:
            await channel.send(message)

    def connect_all(address, count):
        # In a process of its own: the descriptors of both ends must not come out of one limit.
        return asyncio.create_subprocess_exec(
            sys.executable, "-c", CROWD, str(address.port), str(count), stdin=-1, stdout=-1,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (HARD, HARD)))

    HARD = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
"""

STORM = """
import socket, struct, sys
address, count = ("127.0.0.1", int(sys.argv[1])), int(sys.argv[2])
taken = 0
sys.stdin.readline()
for number in range(count):
    plain = socket.socket()
    plain.settimeout(20)
    plain.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
    plain.bind(("127.0.0.%d" % (32 + number % 16), 0))
    try:
        plain.connect(address)
        taken += 1
        if number % 3 == 0:
            plain.sendall(b"half a li")
        if number % 3 < 2:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass
    plain.close()
print("stormed", taken, flush=True)
"""
"""When told, connects and goes as fast as it can: with a reset, in the middle of a line, or with an end."""

STORMED = """
    async def main():
        async with jackfield.listen("tcp://127.0.0.1:0", framing="line") as listener, listener.serving(echo):
            first = await jackfield.connect(listener.address, framing="line")
            assert await first.request(b"x", timeout=10) == b"x"
            # Before the crowd takes the last descriptor: a program's pipes need some.
            storms = [
                await asyncio.create_subprocess_exec(
                    sys.executable, "-c", STORM, str(listener.address.port), "4000", stdin=-1, stdout=-1)
                for _ in range(2)
            ]
            crowd = await connect_all(listener.address, 300)
            print((await crowd.stdout.readline()).decode().strip())
            for storm in storms:
                storm.stdin.write(b"go\\n")
            ended = asyncio.gather(*(storm.stdout.readline() for storm in storms))
            rounds = 0
            while not ended.done():
                assert await first.request(b"still well", timeout=10) == b"still well"
                assert listener.statistics().clients <= 256
                rounds += 1
            print(*ended.result(), "rounds", rounds)
            assert rounds > 20
            assert listener.statistics().refused > 0
            for storm in storms:
                await storm.wait()
            crowd.stdin.write(b"go\\n")
            words = (await asyncio.wait_for(crowd.stdout.readline(), 60)).decode().split()
            assert int(words[1]) > 100, words
            crowd.stdin.write(b"end\\n")
            await crowd.wait()
            for _ in range(1000):
                if listener.statistics().clients <= 1:
                    break
                await asyncio.sleep(0.01)
            assert listener.statistics().clients == 1, listener.statistics()
            async with jackfield.connect(listener.address, framing="line") as late:
                assert await late.request(b"recovered", timeout=10) == b"recovered"
            first.abort()
        await asyncio.sleep(0)
        left = len(os.listdir("/proc/self/fd"))
        assert left < 40, left
        print("done")

    resource.setrlimit(resource.RLIMIT_NOFILE, (256, HARD))
    jackfield.run(main)
"""

LOW = """
    async def main():
        async with jackfield.listen("tcp://127.0.0.1:0", framing="line") as listener, listener.serving(echo):
            first = await jackfield.connect(listener.address, framing="line")
            assert await first.request(b"x", timeout=5) == b"x"
            crowd = await connect_all(listener.address, 400)
            print((await crowd.stdout.readline()).decode().strip())
            crowd.stdin.write(b"go\\n")
            assert await first.request(b"still well", timeout=10) == b"still well"
            words = (await asyncio.wait_for(crowd.stdout.readline(), 60)).decode().split()
            print(*words)
            answered, lost = int(words[1]), int(words[3])
            assert answered + lost >= 390, words
            assert 150 < answered < 256, words
            assert listener.statistics().refused >= 1, listener.statistics()
            try:
                for _ in range(300):
                    socket.socket().detach()
            except OSError:
                pass
            try:
                await jackfield.connect(listener.address)
            except jackfield.TooManyOpenFiles as error:
                print("refused:", error)
                assert "256" in str(error)
            assert await first.request(b"unharmed", timeout=10) == b"unharmed"
            crowd.stdin.write(b"end\\n")
            await crowd.wait()
            for _ in range(500):
                if listener.statistics().clients <= 1:
                    break
                await asyncio.sleep(0.01)
            assert listener.statistics().clients == 1, listener.statistics()
            async with jackfield.connect(listener.address, framing="line") as late:
                assert await late.request(b"recovered", timeout=10) == b"recovered"
            first.abort()
            print("done")

    resource.setrlimit(resource.RLIMIT_NOFILE, (256, HARD))
    jackfield.run(main)
"""

GROUP = """
    async def main():
        listening = jackfield.listen("tcp://127.0.0.1:0", framing="line")
        async with jackfield.Group() as group, listening as listener:
            listener.into(group)
            crowd = await connect_all(listener.address, COUNT)
            done = asyncio.create_task(crowd.stdout.readline())
            failures = joined = 0
            said = None
            while said is None or len(group) < min(EXPECTED, int(said.split()[1])):
                try:
                    events = await group.receive_many(timeout=0.2)
                except jackfield.TimedOut:
                    events = []
                for event in events:
                    joined += isinstance(event, jackfield.Joined)
                    failures += isinstance(event, jackfield.AcceptFailed)
                if done.done():
                    said = done.result()
            refused = listener.statistics().refused
            print(said.decode().strip(), "joined", joined, "members", len(group), "refused", refused)
            crowd.stdin.write(b"go\\n")
            answer = asyncio.create_task(crowd.stdout.readline())
            while not answer.done():
                try:
                    events = await group.receive_many(timeout=0.1)
                except jackfield.TimedOut:
                    continue
                for event in events:
                    if isinstance(event, jackfield.Message):
                        with contextlib.suppress(jackfield.ChannelClosed, jackfield.ChannelLost):
                            await event.member.send(event.data)
            words = answer.result().decode().split()
            print(*words)
            assert int(words[1]) >= EXPECTED, words
            crowd.stdin.write(b"end\\n")
            await crowd.wait()
            while len(group):
                await group.receive_many(timeout=20)
            async with jackfield.connect(listener.address, framing="line") as late:
                await late.send(b"recovered")
                async for event in group:
                    if isinstance(event, jackfield.Message):
                        assert event.data == b"recovered"
                        break
            print("done")

    COUNT = min(20_000, HARD - 100) if sys.argv[1] == "all" else 400
    if sys.argv[1] == "all":
        before, now = jackfield.raise_open_files()
        assert now == HARD, (before, now)
        EXPECTED = COUNT - 400
    else:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, HARD))
        EXPECTED = 150
    jackfield.run(main)
"""


def script(code: str, *arguments: str, limit: float = 60) -> str:
    """Run it in a process of its own, which may spoil its descriptors; its output."""
    text = f"CROWD = {CROWD!r}\nSTORM = {STORM!r}\n" + textwrap.dedent(COMMON) + textwrap.dedent(code)
    result = subprocess.run(
        [sys.executable, "-c", text, *arguments], capture_output=True, text=True, timeout=limit, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "done" in result.stdout
    assert "panic" not in result.stderr
    return result.stdout


def test_a_server_without_descriptors_refuses_and_recovers() -> None:
    out = script(LOW)
    assert "refused: " in out


def test_an_accept_storm_at_the_limit_harms_nobody() -> None:
    script(STORMED)


def test_a_group_without_descriptors_refuses_and_recovers() -> None:
    script(GROUP, "low")


def test_as_many_connections_as_the_hard_limit_permits() -> None:
    script(GROUP, "all", limit=100)
