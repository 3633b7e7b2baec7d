"""A conversation at a terminal: the typed line survives, leaving leaves the client connected."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator

import pytest
from programs import DEADLINE, JACKFIELD, HubProcess, Spawn
from terminals import Terminal

Open = Callable[..., Terminal]


@pytest.fixture
def terminal(hub: HubProcess) -> Iterator[Open]:
    opened: list[Terminal] = []

    def start(*words: str) -> Terminal:
        opened.append(Terminal(str(JACKFIELD), *words, environment=hub.environment))
        return opened[-1]

    yield start
    for one in opened:
        one.end()


@pytest.fixture
def client(hub: HubProcess) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", hub.port())) as connection:
        connection.settimeout(DEADLINE)
        hub.joined(1)
        yield connection


def test_talking(hub: HubProcess, client: socket.socket, terminal: Open) -> None:
    talk = terminal("talk", "1")
    talk.seen(b"Talking to tcp-1 (1, tcp 127.0.0.1:")
    talk.seen(b"tcp-1> ")
    talk.type(b"hello\r")
    assert client.recv(100) == b"hello\n"
    client.sendall(b"welcome\n")
    talk.seen(b"< welcome")
    talk.type(b"\x04")
    talk.seen(b"Left tcp-1; it stays connected. Come back with: jackfield talk 1")
    assert talk.wait() == 0
    assert [c["name"] for c in hub.clients()] == ["tcp-1"]


def test_what_comes_in_leaves_the_typed_line_whole(client: socket.socket, terminal: Open) -> None:
    talk = terminal("talk", "1")
    talk.seen(b"tcp-1> ")
    talk.type(b"half a li")
    talk.seen(b"half a li")
    client.sendall(b"interruption\n")
    talk.seen(b"\r\x1b[K\x1b[36m< interruption\x1b[0m\r\ntcp-1> half a li")
    talk.type(b"ne\r")
    assert client.recv(100) == b"half a line\n"


def test_an_unfinished_line_is_shown_too(client: socket.socket, terminal: Open) -> None:
    talk = terminal("talk", "1")
    talk.seen(b"tcp-1> ")
    client.sendall(b"login: ")
    talk.seen(b"< login: ")


def test_editing_and_history(client: socket.socket, terminal: Open) -> None:
    talk = terminal("talk", "1", "--eol", "crlf")
    talk.seen(b"tcp-1> ")
    talk.type(b"opem\x7fn\r")
    assert client.recv(100) == b"open\r\n"
    talk.type(b"\x1b[A the door\r")
    assert client.recv(100) == b"open the door\r\n"


def test_hex(client: socket.socket, terminal: Open) -> None:
    talk = terminal("talk", "1", "--hex")
    talk.seen(b"tcp-1> ")
    talk.type(b"de ad be ef\r")
    assert client.recv(100) == b"\xde\xad\xbe\xef"
    client.sendall(b"\x00\x1b[2J")
    talk.seen(b"< 00000000  00 1b 5b 32 4a")
    talk.seen(b"|..[2J|")
    talk.type(b"nonsense\r")
    talk.seen(b"not sent: 'n' at position 0 is not a hex digit")


def test_the_client_cannot_steer_the_terminal(client: socket.socket, terminal: Open) -> None:
    talk = terminal("talk", "1")
    talk.seen(b"tcp-1> ")
    client.sendall(b"\x1b]0;owned\x07\xff\xe2\x80\xaetxt\n")
    talk.seen(rb"< \e]0;owned\x07\xff\u202etxt")


def test_what_was_just_said_is_shown_on_attaching(
    hub: HubProcess, client: socket.socket, terminal: Open
) -> None:
    first = terminal("talk", "1")
    first.seen(b"tcp-1> ")
    client.sendall(b"before you came\n")
    first.seen(b"before you came")
    second = terminal("attach", "1")
    second.seen(b"\x1b[2m< before you came")


def test_the_client_leaves(client: socket.socket, terminal: Open) -> None:
    talk = terminal("talk", "1")
    talk.seen(b"tcp-1> ")
    client.sendall(b"bye")
    client.close()
    talk.seen(b"< bye")
    talk.seen(b"tcp-1 left: ")
    assert talk.wait() == 0


def test_ctrl_c_restores_the_terminal(hub: HubProcess, client: socket.socket, terminal: Open) -> None:
    import termios

    talk = terminal("talk", "1")
    before = termios.tcgetattr(talk.fd)
    talk.seen(b"tcp-1> ")
    talk.type(b"\x03")
    assert talk.wait() == 130
    assert b"Traceback" not in talk.shown
    assert termios.tcgetattr(talk.fd)[3] == before[3]
    assert len(hub.clients()) == 1


def test_the_hub_goes(hub: HubProcess, client: socket.socket, terminal: Open) -> None:
    talk = terminal("talk", "1")
    talk.seen(b"tcp-1> ")
    hub.popen.kill()
    talk.seen(b"jackfield: the hub ended the connection")
    assert talk.wait() == 3


def test_colours_are_for_terminals_that_want_them(client: socket.socket, hub: HubProcess) -> None:
    talk = Terminal(str(JACKFIELD), "talk", "1", environment={**hub.environment, "NO_COLOR": "1"})
    try:
        talk.seen(b"tcp-1> ")
        client.sendall(b"plain\n")
        talk.seen(b"\r\x1b[K< plain\r\n")
    finally:
        talk.end()


def test_watching(hub: HubProcess, client: socket.socket, terminal: Open) -> None:
    watch = terminal("clients", "--watch")
    watch.seen(b"1 client")
    watch.seen(b"tcp-1")
    hub.do("rename", "1", "door")
    watch.seen(b"door")
    watch.type(b"\x03")
    assert watch.wait() == 130


def test_answers_as_json(hub: HubProcess, client: socket.socket, spawn: Spawn) -> None:
    talk = spawn(JACKFIELD, "talk", "1", "--json", "--wait", "20s", environment=hub.environment)
    talk.write(b"hello\n")
    assert client.recv(6, socket.MSG_WAITALL) == b"hello\n"
    for said, body in ((b"hi\n", {"text": "hi\n"}), (b"\xff", {"data": "/w=="})):
        client.sendall(said)
        name, value = next(iter(body.items()))
        line = json.loads(talk.seen(rb'(\{.*"%s".*\})\n' % name.encode())[1])
        assert line == {"from": "tcp-1", name: value}
    talk.end_input()
    client.close()
    assert talk.wait() == 0
