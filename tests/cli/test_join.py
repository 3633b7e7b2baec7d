"""`jackfield join`: messages, streams, requests, the connection that comes back, and tokens that are kept."""

from __future__ import annotations

import json
import os
import signal
import stat
from pathlib import Path

import pytest
from background import Background
from programs import JACKFIELD, HubProcess, Process, Spawn, StartHub, wait_for
from pure_hub import pure_hub
from terminals import Terminal

from jackfield import portable

NATIVE = "tcp://127.0.0.1:0?protocol=native"


def joined(spawn: Spawn, address: str, *arguments: str, data_home: Path) -> Process:
    environment = {**os.environ, "XDG_DATA_HOME": str(data_home)}
    process = spawn(JACKFIELD, "join", address, *arguments, environment=environment)
    process.seen(rb"joined ", err=True)
    return process


def address_of(hub: HubProcess) -> str:
    return f"tcp://127.0.0.1:{hub.port()}"


def test_two_at_a_terminal_write_to_each_other(start_hub: StartHub, spawn: Spawn, directory: Path) -> None:
    where = address_of(start_hub(NATIVE))
    alice = joined(spawn, where, "--name", "alice", data_home=directory)
    bob = joined(spawn, where, "--name", "bob", "--json", data_home=directory)
    alice.write(b"hello?\n@bob\n@bob \x1b[31mhello\n@nobody there\n")
    line = json.loads(bob.seen(rb"(\{.*\})\n")[1])
    assert (line["event"], line["from"], line["text"]) == ("message", "alice", "\x1b[31mhello")
    alice.seen(rb"nobody has opened a stream", err=True)
    alice.seen(rb"nothing was sent", err=True)
    alice.seen(rb"jackfield: the hub refuses message: .*nobody", err=True)
    bob.write(b"@alice \x1b[31mback\n")
    assert alice.seen(rb"bob: (.*)\n")[1] == rb"\e[31mback"
    for each in (alice, bob):
        each.end_input()
        each.popen.send_signal(signal.SIGINT)
        assert each.wait() == 130
        assert b"Traceback" not in each.err


def test_a_command_answers_and_a_stream_is_a_conversation(
    start_hub: StartHub, spawn: Spawn, directory: Path
) -> None:
    where = address_of(start_hub(NATIVE))
    script = 'read question; [ "$question" != fail ] && echo "$JACKFIELD_PEER: $question"'
    device = joined(spawn, where, "--name", "dev7", "--answer", f"sh -c '{script}'", data_home=directory)
    with portable.connect(where, name="mia") as client:
        assert client.request("dev7", b"status", 10.0) == b"mia: status\n"
        with pytest.raises(portable.Refused, match="exit code 1"):
            client.request("dev7", b"fail", 10.0)
        stream = client.open("dev7", timeout=10.0)
        stream.send(b"are you \x1b[1mthere?", 10.0)
        assert device.seen(rb"mia> (.*)\n")[1] == rb"are you \e[1mthere?"
        device.write(b"yes\n")
        assert stream.receive(10.0) == b"yes\n"


def test_it_comes_back_when_the_hub_does(start_hub: StartHub, spawn: Spawn, directory: Path) -> None:
    first = start_hub(NATIVE)
    port = first.port()
    alice = joined(spawn, f"tcp://127.0.0.1:{port}", "--name", "alice", data_home=directory)
    first.terminate()
    alice.seen(rb"the connection was lost", err=True)
    again = start_hub(f"tcp://127.0.0.1:{port}?protocol=native")
    alice.seen(rb"connected again", err=True)
    wait_for(lambda: [each["name"] for each in again.clients()] == ["alice"], "alice is back")


def test_what_an_invitation_gave_is_kept(spawn: Spawn, directory: Path) -> None:
    with Background(pure_hub) as background:
        hub = background.hub
        hub.more = {"token": "jf_lasting"}
        where = str(hub.address).partition("?")[0]
        first = joined(spawn, f"{where},invitation=jf_once", "--name", "alice", data_home=directory)
        kept = directory / "jackfield" / "credentials.json"
        wait_for(kept.exists, "the token is kept")
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        first.end()
        hub.more = {}
        joined(spawn, where, data_home=directory)
        joined(spawn, f"{where},invitation=jf_once", data_home=directory)
        assert [hello["token"] for hello in hub.hellos] == ["jf_once", "jf_lasting", "jf_lasting"]


def test_what_fails_is_one_line(spawn: Spawn, directory: Path) -> None:
    with Background(pure_hub) as background:
        background.hub.refusal = ("bad_token", "no such \x1b[31mtoken")
        where = str(background.hub.address).partition("?")[0]
        for arguments, code, words in [
            ([where], 1, rb"no such \\x1b\[31mtoken \(bad_token\)"),
            (["tcp://127.0.0.1:9"], 1, rb"connection refused"),
            (["udp://127.0.0.1:9"], 2, rb"no hub can be joined over this transport"),
            ([where, "--answer", "'"], 2, rb"--answer"),
            ([where, "--answer", "/nowhere/command x"], 2, rb"there is no command '/nowhere/command'"),
        ]:
            process = spawn(JACKFIELD, "join", *arguments)
            assert process.wait() == code, process.err
            process.seen(words, err=True)
            assert process.err.count(b"\n") == 1


def test_over_websocket_a_client_is_listed_as_such(
    start_hub: StartHub, spawn: Spawn, directory: Path
) -> None:
    hub = start_hub("tcp://127.0.0.1:0", "--web", "127.0.0.1:0")
    where = f"ws://127.0.0.1:{int(hub.seen(rb' web url=.*:([0-9]+)')[1])}"
    device = joined(spawn, where, "--name", "dev7", "--answer", "cat", data_home=directory)
    (view,) = json.loads(hub.do("clients", "--json"))
    assert (view["name"], view["protocol"], view["native"]) == ("dev7", "ws", True)
    assert view["local"] == where.removeprefix("ws://")
    with portable.connect(address_of(hub), name="mia") as client:
        assert client.request("dev7", b"once", 10.0) == b"once"
    device.end_input()
    device.popen.send_signal(signal.SIGINT)
    assert device.wait() == 130
    hub.seen(rb" left id=1 name=dev7 protocol=ws .*the peer closed the connection")


def test_ctrl_d_at_a_terminal_leaves(start_hub: StartHub, directory: Path) -> None:
    where = address_of(start_hub(NATIVE))
    environment = {**os.environ, "XDG_DATA_HOME": str(directory)}
    terminal = Terminal(str(JACKFIELD), "join", where, "--name", "alice", environment=environment)
    try:
        terminal.seen(b"joined ")
        terminal.seen(b"\n")
        terminal.type(b"\x04")
        assert terminal.wait() == 0
        assert b"Traceback" not in terminal.shown
    finally:
        terminal.end()


def test_what_is_kept_and_decides_is_said_and_can_be_dropped(
    start_hub: StartHub, spawn: Spawn, directory: Path
) -> None:
    hub = start_hub(NATIVE)
    where = address_of(hub)
    kept = str(directory / "jackfield" / "credentials.json").encode()
    invitation = hub.do("invite", "--name", "op5").decode().strip()
    joined(spawn, invitation, data_home=directory).end()
    named = joined(spawn, where, "--name", "tt", data_home=directory)
    named.seen(rb"the token kept in " + kept + rb" decides the name: op5, and not tt; ", err=True)
    named.end()
    hub.do("token", "revoke", "op5")
    environment = {**os.environ, "XDG_DATA_HOME": str(directory)}
    for command in (["join"], ["chat", "lobby", "--join"], ["request", "dev7", "x", "--join"]):
        refused = spawn(JACKFIELD, *command, where, environment=environment)
        refused.end_input()
        assert refused.wait() == 1
        refused.seen(rb"\(bad_token\): it is the one kept in " + kept, err=True)
        refused.seen(rb"drop it with 'jackfield join " + where.encode() + rb" --forget'", err=True)
        assert refused.err.count(b"\n") == 1
    joined(spawn, where, "--name", "tt", "--forget", data_home=directory).seen(rb" as tt;", err=True)


def test_what_is_no_hub_for_native_clients_is_said_once(
    start_hub: StartHub, spawn: Spawn, directory: Path
) -> None:
    hub = start_hub("tcp://127.0.0.1:0,protocol=plain,room=lobby", "tls://127.0.0.1:0")
    for index, words in (
        (0, b"it may have protocol=plain"),
        (1, b"write tls:// here, or switch TLS off there"),
    ):
        process = spawn(JACKFIELD, "join", f"tcp://127.0.0.1:{hub.port(index)}")
        process.end_input()
        assert process.wait() == 1
        assert process.err.count(words) == 1, process.err
