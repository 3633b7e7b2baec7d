"""`jackfield chat ROOM --join`: taking part as a native client, without the rights of an operator."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import JACKFIELD, HubProcess, Process, Spawn, StartHub, wait_for
from terminals import Terminal
from test_rooms_plain import chatter


@pytest.fixture
def lobby(start_hub: StartHub, directory: Path) -> HubProcess:
    return start_hub("tcp://127.0.0.1:0,room=lobby", "--state", f"{directory}/hub.db")


@pytest.fixture
def environment(directory: Path) -> dict[str, str]:
    """That of somebody who is no operator."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JACKFIELD")}
    return {**kept, "XDG_DATA_HOME": str(directory), "JACKFIELD_CONTROL": f"{directory}/none.sock"}


def address_of(hub: HubProcess) -> str:
    return f"tcp://127.0.0.1:{hub.port()}"


def member(spawn: Spawn, where: str, environment: dict[str, str], *words: str) -> Process:
    return spawn(JACKFIELD, "chat", "lobby", "--join", where, *words, environment=environment)


def test_a_pipe_says_its_lines_and_prints_those_of_others(
    lobby: HubProcess, spawn: Spawn, environment: dict[str, str]
) -> None:
    alice = chatter(spawn, lobby, "alice")
    ann = member(spawn, address_of(lobby), environment, "--name", "ann", "--follow")
    alice.seen(rb"\* ann came")
    alice.write(b"hello \x1b[2J\n/msg ann psst\n")
    ann.seen(rb"alice: hello \\e\[2J\n")
    ann.seen(rb"\[private\] alice: psst\n")
    ann.write(b"to all\n/msg alice only you\n/topic fish\n/topic\n/msg nobody x\n")
    alice.seen(rb"ann: to all\n")
    alice.seen(rb"\[private\] ann: only you\n")
    alice.seen(rb"ann changed the topic: fish")
    ann.seen(rb"\* Topic: fish\n")
    assert ann.wait() == 1, "as any command of a pipe that cannot be done"
    assert b"nobody in lobby is called 'nobody'" in ann.err
    done = member(spawn, address_of(lobby), environment, "--name", "script")
    done.write(b"backup done\nno end of line")
    done.end_input()
    assert (done.wait(), bytes(done.out), bytes(done.err)) == (0, b"", b"")
    alice.seen(rb"script: backup done\nscript: no end of line\n")
    shown = member(spawn, address_of(lobby), environment, "--name", "late", "--last", "2")
    shown.end_input()
    assert shown.wait() == 0
    assert [line[6:] for line in shown.out.splitlines()] == [
        b"script: backup done",
        b"script: no end of line",
    ]


def test_who_is_put_out_is_told_why(lobby: HubProcess, spawn: Spawn, environment: dict[str, str]) -> None:
    ann = member(spawn, address_of(lobby), environment, "--name", "ann", "--follow")
    ann.write(b"/who\n")
    ann.seen(rb"\* 1 here: ann\n")
    lobby.do("rooms", "kick", "lobby", "ann")
    assert ann.wait() == 1
    assert b"not in lobby any more: put out by pid:" in ann.err
    lost = spawn(
        JACKFIELD, "chat", "nowhere", "--join", address_of(lobby), "--name", "ann", environment=environment
    )
    lost.end_input()
    assert lost.wait() == 1
    assert b"there is no room 'nowhere'" in lost.err
    assert b"Traceback" not in lost.err


def test_an_invitation_is_enough(start_hub: StartHub, spawn: Spawn, environment: dict[str, str]) -> None:
    hub = start_hub("tcp://127.0.0.1:0,access=token")
    hub.do("rooms", "create", "lobby")
    stranger = member(spawn, address_of(hub), environment)
    stranger.end_input()
    assert stranger.wait() == 1
    invitation = hub.do("invite", "--name", "ann").decode().strip()
    for where in (invitation, address_of(hub)):  # what it became is kept
        ann = member(spawn, where, environment)
        ann.write(b"/who\nhello\n")
        ann.end_input()
        assert (ann.wait(), bytes(ann.err)) == (0, b"")
        assert bytes(ann.out) == b"* 1 here: ann\n"
    assert [line[6:] for line in hub.do("rooms", "history", "lobby").splitlines()] == [b"ann: hello"] * 2


@pytest.fixture
def terminal(environment: dict[str, str]) -> Iterator[list[Terminal]]:
    opened: list[Terminal] = []
    yield opened
    for one in opened:
        one.end()


def test_at_a_terminal_what_is_new_is_marked(
    lobby: HubProcess, spawn: Spawn, terminal: list[Terminal], environment: dict[str, str]
) -> None:
    alice = chatter(spawn, lobby, "alice")
    words = ("chat", "lobby", "--join", address_of(lobby), "--name", "ann")

    def start() -> Terminal:
        terminal.append(Terminal(str(JACKFIELD), *words, environment=environment))
        return terminal[-1]

    ann = start()
    ann.seen(b"You are ann; Ctrl-D leaves")
    ann.type(b"hello\r")
    alice.seen(rb"ann: hello\n")
    alice.write(b"/nick bea\nhi ann\n")
    ann.seen(b"alice is now bea")
    ann.seen(b"bea: hi ann")
    ann.type(b"\x04")
    assert ann.wait() == 0
    alice.seen(rb"\* ann left")
    alice.write(b"while you were away\n")
    wait_for(lambda: len(lobby.do("rooms", "history", "lobby").splitlines()) == 3, "what she said")
    ann = start()
    ann.seen(b"new since you were here: 1")
    ann.seen(b"bea: while you were away")
    ann.type(b"\x03")
    assert ann.wait() == 130


def test_create_makes_the_room(lobby: HubProcess, spawn: Spawn, environment: dict[str, str]) -> None:
    def said(*words: str) -> Process:
        process = spawn(JACKFIELD, "chat", *words, environment=environment)
        process.write(b"hello\n")
        process.end_input()
        process.wait()
        return process

    where = address_of(lobby)
    lost = said("ops", "--join", where)
    assert lost.wait() == 1
    assert lost.err.endswith(b"there is no room 'ops' (no_such_room); --create makes one\n")
    for _ in range(2):
        assert said("ops", "--join", where, "--create").wait() == 0
    assert lobby.run("chat", "desk", data=b"").stderr.endswith(b"'jackfield rooms create NAME' makes one\n")
    for _ in range(2):
        lobby.do("chat", "desk", "--create", data=b"hello\n")
    rooms = {each["room"]: each for each in json.loads(lobby.do("rooms", "--json"))}
    assert [(rooms[name]["durable"], rooms[name]["last"]) for name in ("ops", "desk")] == [(True, 2)] * 2
