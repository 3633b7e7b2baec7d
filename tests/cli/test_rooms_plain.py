"""Rooms as plain programs see them: a bare `nc` on TCP, Unix and UDP chats line by line."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import HubProcess, Process, Spawn, StartHub, need, wait_for

pytestmark = pytest.mark.usefixtures("directory")


@pytest.fixture
def lobby(start_hub: StartHub, directory: Path) -> HubProcess:
    """A hub with the room `lobby` on TCP, UDP, Unix streams and Unix datagrams."""
    return start_hub(
        "tcp://127.0.0.1:0,room=lobby",
        "udp://127.0.0.1:0,room=lobby",
        f"unix://{directory}/stream,room=lobby",
        f"unix+dgram://{directory}/packets,room=lobby",
    )


def chatter(spawn: Spawn, hub: HubProcess, name: str) -> Process:
    """A bare `nc` that is in the lobby and has a name."""
    need("nc")
    program = spawn("nc", "127.0.0.1", str(hub.port()))
    program.seen(rb"This is lobby")
    program.write(f"/nick {name}\n".encode())
    program.seen(f"You are {name} now".encode())
    return program


class Talker:
    """A socket that chats; what it was told gathers in `out`."""

    def __init__(self, opened: socket.socket) -> None:
        self.socket = opened
        self.socket.setblocking(False)
        self.out = b""

    def send(self, data: bytes) -> None:
        self.socket.setblocking(True)
        self.socket.sendall(data)
        self.socket.setblocking(False)

    def read(self) -> bytes:
        with contextlib.suppress(BlockingIOError):
            while data := self.socket.recv(65536):
                self.out += data
        return self.out

    def seen(self, pattern: bytes) -> None:
        wait_for(lambda: re.search(pattern, self.read()), f"{pattern!r} in {self.out[-300:]!r}")


@contextlib.contextmanager
def talker(hub: HubProcess, kind: str = "tcp") -> Iterator[Talker]:
    """A socket in the lobby of a hub, by any transport."""
    families = {"tcp": (socket.AF_INET, socket.SOCK_STREAM), "udp": (socket.AF_INET, socket.SOCK_DGRAM)}
    families |= {"unix": (socket.AF_UNIX, socket.SOCK_STREAM), "dgram": (socket.AF_UNIX, socket.SOCK_DGRAM)}
    place = ("tcp", "udp", "unix", "dgram").index(kind)
    with socket.socket(*families[kind]) as opened:
        if kind == "dgram":
            opened.bind(b"")  # the kernel picks an abstract name
        where = hub.listening[place].partition("://")[2]
        opened.connect(("127.0.0.1", hub.port(place)) if kind in ("tcp", "udp") else where)
        yield Talker(opened)


def test_two_chat_and_know_each_other(lobby: HubProcess, spawn: Spawn) -> None:
    alice, bob = chatter(spawn, lobby, "alice"), chatter(spawn, lobby, "bob")
    alice.seen(rb"\* tcp-2 is now bob\n")
    alice.write(b"hello there\n")
    bob.seen(rb"\nalice: hello there\n")
    bob.write(b"/me waves\n/who\n")
    alice.seen(rb"\n\* bob waves\n")
    bob.seen(rb"\* 2 are here: alice, bob\n")
    alice.write(b"/msg bob psst\n")
    bob.seen(rb"\n\[private\] alice: psst\n")
    bob.write(b"/topic fish & chips\n")
    alice.seen(rb"\* bob changed the topic: fish & chips\n")
    bob.write(b"/quit\n")
    alice.seen(rb"\* bob left \(quit by itself\)\n")
    assert alice.out.count(b"hello there") == 0, "nobody is told what it said itself"


def test_one_that_says_nothing_hears_the_others(lobby: HubProcess, spawn: Spawn) -> None:
    need("nc")
    silent = spawn("nc", "127.0.0.1", str(lobby.port()))
    silent.seen(rb"This is lobby")
    alice = chatter(spawn, lobby, "alice")
    alice.write(b"hello\n")
    silent.seen(rb"\nalice: hello\n")


def test_history_and_search(lobby: HubProcess, spawn: Spawn) -> None:
    alice = chatter(spawn, lobby, "alice")
    for number in range(15):
        alice.write(f"line {number} {'fish' if number % 5 == 0 else 'meat'}\n".encode())
    bob = chatter(spawn, lobby, "bob")
    alice.write(b"last\n")
    bob.seen(rb"alice: last\n")
    bob.write(b"/history 3\n")
    bob.seen(rb"\d\d:\d\d alice: line 13 meat\n\d\d:\d\d alice: line 14 meat\n\d\d:\d\d alice: last\n")
    bob.write(b"/search FISH\n")
    bob.seen(rb"alice: line 0 fish\n\d\d:\d\d alice: line 5 fish\n\d\d:\d\d alice: line 10 fish\n")
    bob.write(b"/search nothing like it\n/history many\n")
    bob.seen(rb"\* Nothing like that was said here")
    bob.seen(rb"\* /history takes a number")
    carol = chatter(spawn, lobby, "carol")
    assert len(re.findall(rb"\d\d:\d\d alice: ", carol.out)) == 10


@pytest.mark.parametrize("kind", ["tcp", "udp", "unix", "dgram"])
def test_every_transport(lobby: HubProcess, spawn: Spawn, kind: str) -> None:
    alice = chatter(spawn, lobby, "alice")
    with talker(lobby, kind) as other:
        other.send(b"/nick other\n")
        other.seen(rb"This is lobby\.")
        other.seen(rb"You are other now")
        other.send(b"first\nsecond\n")
        alice.seen(rb"other: first\nother: second\n")
        alice.write(b"hello\n")
        other.seen(rb"alice: hello\n")
        other.send(b"/quit\n")
        alice.seen(rb"\* other left \(quit by itself\)")


def test_udp_members_leave_when_they_are_silent_for_long(start_hub: StartHub, spawn: Spawn) -> None:
    hub = start_hub("tcp://127.0.0.1:0,room=lobby", "udp://127.0.0.1:0,room=lobby,idle_timeout=500ms")
    alice = chatter(spawn, hub, "alice")
    with talker(hub, "udp") as other:
        other.send(b"hello")
        alice.seen(rb"udp-2: hello\n")
        alice.seen(rb"\* udp-2 left")


def test_other_rooms(lobby: HubProcess, spawn: Spawn) -> None:
    alice, bob = chatter(spawn, lobby, "alice"), chatter(spawn, lobby, "bob")
    alice.write(b"/join kitchen\n")
    alice.seen(rb"This is kitchen\.")
    bob.seen(rb"\* alice left \(to kitchen\)")
    bob.write(b"nobody hears this\n/rooms\n/join kitchen\n")
    bob.seen(rb"\* kitchen, 1 member\n\* lobby, 1 member \(you are here\)")
    bob.seen(rb"This is kitchen\.")
    alice.seen(rb"\* bob came")
    bob.write(b"here I am\n")
    alice.seen(rb"bob: here I am")
    assert b"nobody hears this" not in alice.out
    alice.write(b"/leave\nwhat now\n")
    alice.seen(rb"\* You left kitchen")
    alice.seen(rb"you are in no room; /join ROOM takes you into one")
    bob.write(b"/leave\n/join kitchen\n")
    bob.seen(rb"\* Nobody else is here")
    lobby.seen(rb"room_ended room=kitchen")  # a room of theirs ends with its last member


def test_what_cannot_be_done_is_said(lobby: HubProcess, spawn: Spawn) -> None:
    alice, bob = chatter(spawn, lobby, "alice"), chatter(spawn, lobby, "bob")
    for line, answer in (
        (b"/nick ALICE", rb"somebody in lobby is called 'alice' already"),
        (b"/nick operator", rb"nobody can be called 'operator'"),
        (b"/nick tcp-9", rb"already means something"),
        (b"/nick a/../b", rb"is not a name"),
        (b"/nick", rb"/nick needs a NAME"),
        (b"/join ../../etc", rb"is not a room's name"),
        (b"/join lobby", rb"you are in lobby already"),
        (b"/msg carol hi", rb"nobody in lobby is called 'carol'"),
        (b"/msg alice", rb"/msg needs a NAME and a TEXT"),
        (b"/me", rb"/me needs a TEXT"),
        (b"/frobnicate now", rb"there is no command /frobnicate; /help lists them"),
        (b"/help", rb"/search WORDS"),
    ):
        bob.write(line + b"\n")
        bob.seen(answer)
    assert alice.popen.poll() is None


def test_nothing_hostile_reaches_a_terminal(lobby: HubProcess, spawn: Spawn) -> None:
    alice = chatter(spawn, lobby, "alice")
    with talker(lobby) as other:
        other.send(b"\x1b]0;owned\x07\x1b[2J \xff\xfe\x00\x01 '; DROP TABLE messages; --<b>\n")
        other.send(bytes(byte for byte in range(256) if byte != 10) * 300 + b"\n")
        other.send(b"\xff\xfd\x03\xff\xfb\x18a telnet\r\n")
        other.seen(rb"Your line was cut")
        alice.seen(rb"tcp-2: \\e\]0;owned\\x07\\e\[2J .*DROP TABLE messages; --<b>\n")
        alice.seen(rb"tcp-2: a telnet\n")
    assert all(byte in b"\n\t" or byte >= 0x20 for byte in bytes(alice.out))


def test_a_flood_is_held_back_and_harms_nobody(lobby: HubProcess, spawn: Spawn) -> None:
    alice = chatter(spawn, lobby, "alice")
    with talker(lobby) as other:
        other.send(b"spam\n" * 20_000)
        other.seen(rb"You talk too fast")
        alice.write(b"/who\n")
        alice.seen(rb"\* 2 are here")
    assert alice.out.count(b"spam") < 1000


def test_a_crowd_comes_and_goes_as_a_number(lobby: HubProcess, spawn: Spawn) -> None:
    alice = chatter(spawn, lobby, "alice")
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(talker(lobby, "unix")) for _ in range(200)]
        crowd[-1].seen(rb"This is lobby")
        alice.seen(rb"\* \d\d+ came")
    alice.seen(rb"\* \d\d+ left")
    assert alice.out.count(b" came\n") < 50


def test_chatters_stay_where_they_are_over_a_reload(lobby: HubProcess, spawn: Spawn) -> None:
    alice, bob = chatter(spawn, lobby, "alice"), chatter(spawn, lobby, "bob")
    bob.write(b"/join kitchen\n")
    bob.seen(rb"This is kitchen")
    lobby.do("reload")
    with talker(lobby, "unix") as other:
        other.seen(rb"2 are here: alice, unix-3")
        alice.seen(rb"\* unix-3 came")
        alice.write(b"still here\n")
        other.seen(rb"alice: still here")
    bob.write(b"/who\n/topic soup\n")
    bob.seen(rb"\* bob changed the topic: soup")
    assert alice.out.count(b"This is lobby") == 1
