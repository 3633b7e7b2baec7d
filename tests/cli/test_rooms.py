"""Rooms from the command line: operators list, make, moderate and chat, by pipes and at a terminal."""

from __future__ import annotations

import json
import platform
import signal
import termios
from collections.abc import Callable, Iterator

import pytest
from programs import JACKFIELD, HubProcess, Process, Spawn, StartHub, wait_for
from terminals import Terminal
from test_rooms_plain import chatter, talker

Open = Callable[..., Terminal]
WRITE = {"x86_64": 1, "aarch64": 64}.get(platform.machine())  # the number of write(2)


@pytest.fixture
def lobby(start_hub: StartHub, directory: object) -> HubProcess:
    return start_hub("tcp://127.0.0.1:0,room=lobby", "--state", f"{directory}/hub.db")


@pytest.fixture
def terminal(lobby: HubProcess) -> Iterator[Open]:
    opened: list[Terminal] = []

    def start(*words: str) -> Terminal:
        opened.append(Terminal(str(JACKFIELD), *words, environment=lobby.environment))
        return opened[-1]

    yield start
    for one in opened:
        one.end()


def follower(spawn: Spawn, hub: HubProcess, *words: str) -> Process:
    """`jackfield chat` with pipes, which says what it is given and prints what others say."""
    return spawn(JACKFIELD, "chat", "lobby", *words, environment=hub.environment)


def rooms(hub: HubProcess) -> dict[str, dict[str, object]]:
    return {each["room"]: each for each in json.loads(hub.do("rooms", "--json"))}


def test_rooms_are_made_listed_changed_and_deleted(lobby: HubProcess, spawn: Spawn) -> None:
    lobby.do("rooms", "create", "ops", "--topic", "night shift")
    lobby.do("rooms", "create", "game", "--ephemeral", "--open")
    found = rooms(lobby)
    assert list(found) == ["game", "lobby", "ops"]
    assert (found["ops"]["topic"], found["ops"]["durable"], found["ops"]["open"]) == (
        "night shift",
        True,
        False,
    )
    assert (found["game"]["durable"], found["game"]["open"]) == (False, True)
    assert b"ops          0         0  durable          night shift\n" in lobby.do("rooms", "ls")
    lobby.do("rooms", "topic", "ops", "day shift")
    assert lobby.do("rooms", "topic", "ops") == b"day shift\n"
    alice = chatter(spawn, lobby, "alice")
    alice.write(b"/join ops\n/rooms\n")
    alice.seen(rb"you cannot join ops")
    alice.seen(rb"\* game, 0 members\n\* lobby, 1 member \(you are here\)")
    lobby.do("rooms", "open", "ops")
    alice.write(b"/join ops\n")
    alice.seen(rb"This is ops")
    assert b"alice" in lobby.do("rooms", "members", "ops")
    lobby.do("rooms", "kick", "ops", "alice")
    alice.seen(rb"\* You are not in ops any more: put out by pid:\d+")
    assert lobby.do("rooms", "members", "ops") == b"nobody is in ops\n"
    assert lobby.do("rooms", "retention", "ops") == b"ops keeps the newest 1000000 messages, at most 1.0G\n"
    lobby.do("rooms", "retention", "ops", "--age", "90d", "--count", "5")
    assert json.loads(lobby.do("rooms", "retention", "ops", "--json"))["age"] == 90 * 86_400
    for name in ("ops", "game"):
        lobby.do("rooms", "rm", name)
    assert list(rooms(lobby)) == ["lobby"]


def test_rooms_that_are_not_there_and_names_that_cannot_be(lobby: HubProcess) -> None:
    for words, said in (
        (("topic", "loby"), b"there is no room 'loby'; did you mean lobby?"),
        (("create", "../x"), b"is not a room's name"),
        (("create", "lobby"), b"there is a room lobby already"),
        (("kick", "lobby", "nobody"), b"nobody in lobby is called 'nobody'"),
        (("rm", "x"), b"there is no room 'x'"),
        (("retention", "lobby", "--size", "7"), b"is not a size"),
        (("search", "--room", "x", "y"), b"there is no room 'x'"),
    ):
        done = lobby.run("rooms", *words)
        assert done.returncode in (1, 2), (words, done)
        assert said in done.stderr, (words, done.stderr)
        assert done.stderr.count(b"\n") == 1
    done = lobby.run("chat", "nowhere", data=b"")
    assert (done.returncode, b"there is no room" in done.stderr) == (1, True)


def test_a_pipe_says_its_lines_and_prints_those_of_others(lobby: HubProcess, spawn: Spawn) -> None:
    alice = chatter(spawn, lobby, "alice")
    desk = follower(spawn, lobby, "--name", "desk", "--follow")
    alice.seen(rb"\* desk came")
    alice.write(b"hello \x1b[2J\n/msg desk psst\n")
    desk.seen(rb"alice: hello \\e\[2J\n")
    desk.seen(rb"\[private\] alice: psst\n")
    desk.write(b"to all\n/msg alice only you\n/me waves\n/who\n")
    alice.seen(rb"desk: to all\n")
    alice.seen(rb"\[private\] desk: only you\n")
    alice.seen(rb"\* desk waves\n")
    desk.seen(rb"\* 2 here: alice, desk")
    assert b"to all" not in desk.out
    done = lobby.do("chat", "lobby", "--name", "script", data=b"backup done\nno end of line")
    assert done == b""
    alice.seen(rb"script: backup done\nscript: no end of line\n")
    shown = lobby.do("chat", "lobby", "--last", "2", data=b"").decode().splitlines()
    assert [line[6:] for line in shown] == ["script: backup done", "script: no end of line"]
    taken = lobby.run("chat", "lobby", "--name", "ALICE", data=b"x")
    assert taken.returncode == 1
    assert b"somebody in lobby is called 'alice' already" in taken.stderr
    lobby.do("rooms", "kick", "lobby", "desk")
    assert desk.wait() == 1
    assert b"not in lobby any more: put out by pid:" in desk.err


def test_history_and_search_outlive_the_hub(start_hub: StartHub, directory: object, spawn: Spawn) -> None:
    arguments = ("tcp://127.0.0.1:0,room=lobby", "--state", f"{directory}/hub.db")
    hub = start_hub(*arguments)
    said = b"".join(b"line %d %s\n" % (n, b"Fisch" if n % 20 == 0 else b"Fleisch") for n in range(1, 101))
    hub.do("chat", "lobby", "--name", "desk", data=said)
    hub.popen.kill()  # what was answered is on disk
    hub.wait()
    hub = start_hub(*arguments)
    rows = [
        json.loads(line)
        for line in hub.do("rooms", "history", "lobby", "--after", "0", "--json").splitlines()
    ]
    assert [row["sequence"] for row in rows] == list(range(1, 101))
    assert [row["text"] for row in rows] == said.decode().splitlines()
    assert rows[0]["name"] == "desk"

    def found() -> list[int]:
        lines = hub.do("rooms", "search", "fisch", "--json").splitlines()
        return [json.loads(line)["sequence"] for line in lines]

    wait_for(lambda: found() == [20, 40, 60, 80, 100], "the index")
    with talker(hub) as other:
        other.seen(rb"desk: line 100 Fisch")
        other.send(b"/search fisch\n")
        other.seen(rb"desk: line 20 Fisch")
    hub.do("rooms", "retention", "lobby", "--count", "10")
    assert len(hub.do("rooms", "history", "lobby", "--after", "0").splitlines()) == 10


def test_chatting_at_a_terminal(lobby: HubProcess, terminal: Open, spawn: Spawn) -> None:
    alice = chatter(spawn, lobby, "alice")
    desk = terminal("chat", "lobby", "--name", "desk")
    desk.seen(b"You are desk; Ctrl-D leaves")
    desk.seen(b"lobby>")
    alice.write(b"hello\x1b[2J\n")
    desk.seen(b"alice: hello\\e[2J")
    desk.type(b"al\t")
    desk.seen(b"ice:")
    desk.type(b"hi\r")
    alice.seen(rb"\ndesk: alice: hi\n")
    desk.type(b"/who\r")
    desk.seen(b"2 here: alice, desk")
    desk.type(b"\x04")
    assert desk.wait() == 0
    alice.seen(rb"\* desk left")
    alice.write(b"while you were away\n")
    wait_for(lambda: rooms(lobby)["lobby"]["last"] == 3, "what she said")
    desk = terminal("chat", "lobby", "--name", "desk")
    desk.seen(b"desk: alice: hi")
    desk.seen(b"new since you were here: 1")
    desk.seen(b"alice: while you were away")
    desk.type(b"/search hello\r")
    desk.seen(b"alice: hello")
    desk.type(b"\x03")
    assert desk.wait() == 130


def test_a_key_typed_while_messages_are_shown_counts(lobby: HubProcess, terminal: Open, spawn: Spawn) -> None:
    alice = chatter(spawn, lobby, "alice")
    desk = terminal("chat", "lobby", "--name", "desk")
    desk.seen(b"lobby>")
    alice.write(b"".join(b"%d %s\n" % (turn, b"noise" * 500) for turn in range(60)))
    wait_for(lambda: in_write(desk.pid), "a terminal that takes no more")
    desk.type(b"\x04")
    assert desk.wait() == 0


def in_write(pid: int) -> bool:
    with open(f"/proc/{pid}/syscall") as call:
        return call.read().startswith(f"{WRITE} ")


@pytest.mark.parametrize(("key", "code"), [(b"\x04", 0), (b"\x03", 130)], ids=["Ctrl-D", "Ctrl-C"])
def test_a_key_typed_before_the_hub_has_answered_counts(
    lobby: HubProcess, terminal: Open, key: bytes, code: int
) -> None:
    desk = terminal("chat", "lobby", "--name", "desk")
    desk.seen(b"lobby>")
    lobby.popen.send_signal(signal.SIGSTOP)
    desk.type(b"/who\r")
    wait_for(lambda: termios.tcgetattr(desk.fd)[3] & termios.ISIG, "the line that was taken")
    desk.type(key)
    lobby.popen.send_signal(signal.SIGCONT)
    assert desk.wait() == code


def test_chat_needs_a_hub(directory: object, spawn: Spawn) -> None:
    for words in (("rooms",), ("chat", "lobby")):
        done = spawn(JACKFIELD, "--control", f"{directory}/none.sock", *words)
        done.end_input()
        assert done.wait() == 3
        assert b"no hub at" in done.err
