"""The servers in `examples/servers`: each echoes to several clients at once, and ends on Ctrl-C quietly."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "servers"
WAYS = ["tasks", "group", "threads", "processes"]
SERVERS = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "jackfield_server")

pytestmark = pytest.mark.timeout(60)


def test_every_server_is_run_here() -> None:
    assert len(SERVERS) == 6


@pytest.mark.parametrize(
    "words", [[name] for name in SERVERS] + [["jackfield_server", way] for way in WAYS], ids=" ".join
)
def test_it_echoes_to_several_clients_and_ends_on_ctrl_c(words: list[str]) -> None:
    name, *more = words
    command = [sys.executable, str(FOLDER / f"{name}.py"), "0", *more]
    program = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert program.stdout is not None
    assert program.stderr is not None
    try:
        port = int(program.stdout.readline().removeprefix("listening on "))
        clients = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(4)]
        for turn in range(3):
            for number, client in enumerate(clients):
                client.sendall(b"client %d turn %d\n" % (number, turn))
            for number, client in enumerate(clients):
                assert client.makefile("rb").readline() == b"client %d turn %d\n" % (number, turn)
        large = os.urandom(50_000)
        clients[0].sendall(large)
        got = b""
        while len(got) < len(large):
            got += clients[0].recv(1 << 20)
        assert got == large
        clients[1].close()
        clients[2].sendall(b"still here\n")
        assert clients[2].makefile("rb").readline() == b"still here\n"
        os.killpg(program.pid, signal.SIGINT)
        assert program.wait(30) in (0, -signal.SIGINT)
        assert program.stderr.read() == ""
        for client in clients:
            client.close()
    finally:
        program.kill()
        program.wait()
        program.stdout.close()
        program.stderr.close()
