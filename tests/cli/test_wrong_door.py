"""A native client that comes where none are taken is told so, and its token goes no further."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from programs import HubProcess, StartHub

TOKEN = "jf_SECRETTOKEN"


def tried(hub: HubProcess, address: str) -> str:
    done = hub.run("join", address, "--token", TOKEN)
    assert done.returncode == 1, done
    assert TOKEN.encode() not in done.stderr
    return done.stderr.decode()


def test_a_place_for_operators_says_that_it_is_one(start_hub: StartHub, directory: Path) -> None:
    hub = start_hub("127.0.0.1:0", "tcp://127.0.0.1:0,protocol=control")
    operators = hub.seen(rb" operators address=(\S+)")[1].decode()
    for address in (operators, f"unix://{hub.control}"):
        said = tried(hub, address)
        assert "this is a place for operators (protocol=control), and not for clients (forbidden)" in said
        assert "join a listener for clients" in said


@pytest.mark.parametrize("framing", ["line", "none", "u32"])
def test_a_plain_listener_lets_it_go_and_tells_nobody(
    start_hub: StartHub, directory: Path, framing: str
) -> None:
    hub = start_hub(f"tcp://127.0.0.1:0?protocol=plain&framing={framing}", "--messages")
    said = tried(hub, f"tcp://127.0.0.1:{hub.port()}")
    assert "has ended the connection before it answered" in said
    assert "protocol=plain" in said
    hub.seen(rb" left id=1 .*it is a native client, and this listener has protocol=plain")
    with socket.create_connection(("127.0.0.1", hub.port())) as plain:
        # Whoever has spoken before may say what it likes, as a tunnel does.
        first, later = b"hello\n", b"\0\0\0\x08\x8fJACK\r\n\x1a\n"
        if framing == "u32":
            first, later = b"\0\0\0\x01x", b"\0\0\0\x08\x8fJACK\r\n\x1a"
        plain.sendall(first)
        hub.seen(rb" message id=2 .*data=\"?(hello|x)")
        plain.sendall(later)
        hub.seen(rb" message id=2 .*JACK")
    assert b"message id=1" not in hub.out


def test_a_room_of_plain_clients_hears_nothing_of_it(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0?protocol=plain&room=lobby")
    with socket.create_connection(("127.0.0.1", hub.port()), timeout=10) as member:
        said = tried(hub, f"tcp://127.0.0.1:{hub.port()}")
        assert "protocol=plain" in said
        hub.seen(rb" left id=2 ")
        member.sendall(b"the end\n")
        heard = b""
        while b"tcp-2 left" not in heard:
            heard += member.recv(4096)
    assert b"SECRET" not in heard
    assert b"SECRET" not in hub.do("rooms", "history", "lobby")
