"""Native clients of a hub in a process of its own: across its reload, its death, and by the thousand."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from programs import HubProcess, StartHub, wait_for
from support import Runner, eventually

from jackfield import portable
from jackfield.hub import connect

pytestmark = pytest.mark.timeout(120)

MAGIC = b"\x8fJACK\r\n\x1a"


@contextlib.contextmanager
def joined(address: str, name: str) -> Iterator[portable.Client]:
    with portable.connect(address, name=name) as client:
        yield client


def clients(hub: HubProcess, *which: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(hub.do("clients", *which, "--json"))
    return found


def test_native_clients_are_listed_sent_to_and_heard(start_hub: StartHub, directory: Path) -> None:
    address = f"unix://{directory}/native.sock"
    hub = start_hub(address, "--messages")
    with joined(address, "alice") as alice:
        (view,) = clients(hub)
        assert (view["name"], view["native"], view["framing"]) == ("alice", True, "native")
        assert b"AGENT" in hub.do("clients")
        hub.do("send", "alice", "hello")
        letter = alice.receive(timeout=10)
        assert letter.data == b"hello"
        alice.control("message", text="I hear")
        hub.seen(rb" message id=1 name=alice .*I hear")
        hub.do("kick", "alice")
        wait_for(lambda: view["id"] not in [each["id"] for each in clients(hub, "--connected")])


@pytest.mark.parametrize("over", ["unix", "ws"])
def test_a_reload_is_told_and_clients_come_back_by_themselves(
    start_hub: StartHub, directory: Path, over: str
) -> None:
    address = f"unix://{directory}/native.sock"
    hub = start_hub(address, "--state", str(directory / "hub.db"))
    if over == "ws":
        address = json.loads(hub.do("console", "--web", "--json"))["address"].replace("http", "ws", 1)
    with joined(address, "alice") as alice, joined(address, "bob") as bob:
        hub.do("reload")
        wait_for(lambda: sorted(each["name"] for each in clients(hub, "--connected")) == ["alice", "bob"])
        wait_for(lambda: alice.is_connected and bob.is_connected)
        alice.message("bob", "after the reload", timeout=20)
        assert bob.receive(timeout=10).data == b"after the reload"
        going = [event for event in (*alice.events, *bob.events) if event["type"] == "going"]
        assert going[0]["back"] is True


def stop(hub: HubProcess) -> None:
    hub.popen.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, hub.pid, os.WSTOPPED)


def test_clients_that_come_and_go_while_the_hub_is_stopped_keep_their_sessions(
    start_hub: StartHub, run_here: Runner
) -> None:
    """It reads their connections all at once then, the abandoned ones too."""
    hub = start_hub("tcp://127.0.0.1:0")
    address = f"tcp://127.0.0.1:{hub.port()}"

    async def main() -> None:
        async with (
            connect(address, name="alice", reconnect="1ms..5ms") as alice,
            connect(address, name="bob") as bob,
        ):
            opening = asyncio.create_task(alice.open("bob", timeout=20.0))
            theirs = await anext(bob.channels())
            channel = await opening
            session = alice.welcome["session"]["id"]
            stop(hub)
            asked = asyncio.create_task(alice.clients())
            sent = channel.send(b"over one of them")
            for _ in range(6):
                before = alice._session._channel
                assert before is not None
                before.abort()
                await eventually(lambda before=before: alice._session._channel not in (None, before))
            hub.popen.send_signal(signal.SIGCONT)
            async with asyncio.timeout(30):
                await sent
                assert await theirs.receive() == b"over one of them"
                assert {each.name for each in await asked} == {"alice", "bob"}
            assert alice.welcome["session"]["id"] == session
            await theirs.send(b"and back")
            assert await channel.receive(timeout=20.0) == b"and back"

    run_here(main)


def test_messages_that_wait_outlive_a_hub_that_is_killed_and_come_once_in_order(
    start_hub: StartHub, directory: Path
) -> None:
    address = f"unix://{directory}/native.sock"
    arguments = (address, "--state", str(directory / "hub.db"))
    control = directory / "control.sock"
    hub = start_hub(*arguments, control=control)
    with joined(address, "bob"):
        pass
    wait_for(lambda: [each["name"] for each in clients(hub, "--absent")] == ["bob"])
    count, kills = 150, 4
    pauses = random.Random(5)
    with joined(address, "alice") as alice:
        sending = threading.Thread(target=_send_all, args=(alice, count))
        sending.start()
        for _ in range(kills):
            time.sleep(pauses.uniform(0.05, 0.4))
            os.kill(hub.pid, signal.SIGKILL)
            hub.wait()
            hub = start_hub(*arguments, control=control)
        sending.join(90)
        assert not sending.is_alive()
        assert _waiting(hub) == count
        os.kill(hub.pid, signal.SIGKILL)
        hub.wait()
        hub = start_hub(*arguments, control=control)
        with joined(address, "bob") as bob:
            got = [int(bob.receive(timeout=20).data) for _ in range(count)]
            assert got == list(range(1, count + 1))
            wait_for(lambda: not json.loads(hub.do("mail", "ls", "--json")))
            with pytest.raises(TimeoutError):
                bob.receive(timeout=0.5)


def _send_all(alice: portable.Client, count: int) -> None:
    """Each message again with its number until the hub has answered for it."""
    for number in range(1, count + 1):
        while True:
            try:
                answer = alice.control("message", to="bob", text=str(number), sequence=number, timeout=2)
            except (OSError, RuntimeError):  # the hub is gone, or has not answered
                time.sleep(0.05)
                continue
            assert answer["state"] == "waiting"
            break


def _waiting(hub: HubProcess) -> int:
    return sum(each["letters"] for each in json.loads(hub.do("mail", "ls", "--json")))


def test_memory_of_many_native_clients_is_bounded(start_hub: StartHub, directory: Path) -> None:
    """Prints what one costs; `make soak` and the benchmarks have more of them."""
    count = int(os.environ.get("JACKFIELD_NATIVE_CLIENTS", "1000"))
    path = f"{directory}/native.sock"
    hub = start_hub(f"unix://{path}?protocol=native")
    with contextlib.ExitStack() as stack:
        few = [stack.enter_context(_raw(path, number)) for number in range(20)]
        before = _memory(hub.pid)
        several = [stack.enter_context(_raw(path, 100 + number)) for number in range(count)]
        wait_for(lambda: len(clients(hub)) == count + len(few), deadline=60)
        each = (_memory(hub.pid) - before) / count
        print(f"{count} native clients: {each:.0f} bytes each")
        assert each < 8_000
        for client in several[:10]:
            client.sendall(_frame(struct.pack(">IBBH", 0, 7, 0, 0) + b"12345678"))


def _frame(message: bytes) -> bytes:
    return struct.pack(">I", len(message)) + message


def _raw(path: str, number: int) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(30)
    client.connect(path)
    hello = {"type": "hello", "versions": [1], "instance": "i", "name": f"client{number}", "services": []}
    client.sendall(_frame(MAGIC) + _frame(struct.pack(">IBBH", 0, 0, 0, 0) + json.dumps(hello).encode()))
    assert client.recv(12) == _frame(MAGIC)
    return client


def _memory(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
