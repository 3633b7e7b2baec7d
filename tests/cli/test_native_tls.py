"""Native clients over TLS against a hub of its own: every kind of client, by pin and by invitation."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from programs import JACKFIELD, HubProcess, Process, Spawn, StartHub, need, wait_for

import jackfield
from jackfield import portable
from jackfield.hub import connect
from jackfield.hub.security.certificate import fingerprint

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples/clients/jackfield.mjs"
PORTABLE = ROOT / "python/jackfield/portable.py"
NOBODYS = f"pin=sha256:{'0' * 64}"


@pytest.fixture
def hub(start_hub: StartHub, directory: Path) -> HubProcess:
    """A hub with its own certificate: whoever comes, those with a token, operators."""
    return start_hub(
        "tls://127.0.0.1:0",
        "tls://127.0.0.1:0,access=token",
        "tls://127.0.0.1:0,room=lobby",
        "tls://127.0.0.1:0,protocol=control",
        "--state",
        str(directory / "hub.db"),
    )


def pinned(hub: HubProcess, directory: Path, index: int = 0) -> str:
    return f"tls://127.0.0.1:{hub.port(index)}?pin={fingerprint(directory / 'hub.cert.pem')}"


def invitation(hub: HubProcess, index: int, name: str) -> str:
    (text,) = [
        each
        for each in json.loads(hub.do("invite", "--name", name, "--json"))["invitations"]
        if f":{hub.port(index)}?" in each
    ]
    return str(text)


def joined(spawn: Spawn, directory: Path, *words: str) -> Process:
    environment = {**os.environ, "XDG_DATA_HOME": str(directory)}
    process = spawn(JACKFIELD, "join", *words, environment=environment)
    process.seen(rb"joined ", err=True)
    return process


def test_clients_of_every_kind_come_by_the_pin(hub: HubProcess, spawn: Spawn, directory: Path) -> None:
    need("node")
    where = pinned(hub, directory)
    alice = joined(spawn, directory, where, "--name", "alice", "--answer", "tr a-z A-Z")
    copied = directory / "alone.py"
    copied.write_bytes(PORTABLE.read_bytes())
    for command in (
        ["python3", str(copied), "request", where, "alice", "status"],
        ["node", str(SCRIPT), where, "alice", "status"],
    ):
        done = subprocess.run(command, capture_output=True, timeout=30)
        assert done.stdout.strip() == b"STATUS", done

    async def ask() -> None:
        async with connect(where, name="bob") as bob:
            assert await bob.request("alice", b"hello", timeout=10.0) == b"HELLO"
            alice.write(b"@bob over tls\n")
            assert (await anext(bob.messages())).data == b"over tls"

    jackfield.run(ask)
    # Each of them has ended as TLS wants it: nobody is told that something may be missing.
    wait_for(lambda: hub.out.count(b" left id=") == 3, "three have left")
    assert hub.out.count(b'reason="the peer closed the connection"') == 3, bytes(hub.out)


def test_another_pin_is_refused_by_every_client(hub: HubProcess, directory: Path) -> None:
    need("node")
    wrong = f"tls://127.0.0.1:{hub.port()}?{NOBODYS}"
    known = fingerprint(directory / "hub.cert.pem").encode()
    for command, says in (
        ([str(JACKFIELD), "join", wrong], known),
        (["python3", str(PORTABLE), "clients", wrong], known),
        (["node", str(SCRIPT), wrong], b"not the pin"),
    ):
        done = subprocess.run(command, capture_output=True, timeout=30, stdin=subprocess.DEVNULL)
        assert done.returncode == 1
        assert says in done.stderr, done
    with pytest.raises(OSError, match="and not the pinned one"):
        portable.connect(wrong)
    assert b" welcomed " not in hub.out


def test_an_invitation_is_all_that_one_needs(hub: HubProcess, spawn: Spawn, directory: Path) -> None:
    joined(spawn, directory, invitation(hub, 1, "dev7"), "--answer", "cat")
    with portable.connect(invitation(hub, 1, "ann")) as ann:
        assert ann.name == "ann"
        assert ann.request("dev7", b"who is there?", 10.0) == b"who is there?"
    refused = subprocess.run(
        [JACKFIELD, "join", f"{pinned(hub, directory, 1)}"],
        capture_output=True,
        timeout=30,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "XDG_DATA_HOME": str(directory / "empty")},
    )
    assert refused.returncode == 1
    assert b"asks for a token" in refused.stderr


def test_an_operator_chats_over_tls_with_who_is_there(hub: HubProcess, spawn: Spawn, directory: Path) -> None:
    need("openssl")
    token = json.loads(hub.do("token", "create", "--role", "operator", "--json"))["token"]
    port = int(hub.seen(rb" operators address=\S+:(\d+)")[1])
    where = f"tls://127.0.0.1:{port}?pin={fingerprint(directory / 'hub.cert.pem')}"
    environment = {**hub.environment, "JACKFIELD_TOKEN": token}
    words = (JACKFIELD, "--hub", where, "chat", "lobby", "--name", "boss", "--follow")
    chat = spawn(*words, environment=environment)
    wait_for(lambda: b"boss" in hub.do("rooms", "members", "lobby"), "the operator is in the room")
    plain = spawn("openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{hub.port(2)}")
    plain.seen(rb"This is lobby")
    plain.write(b"good day\n")
    chat.seen(rb"good day\n")
    chat.write(b"and to you\n")
    plain.seen(rb"boss: and to you\n")
    with portable.connect(pinned(hub, directory), name="cat") as cat:
        room = cat.join("lobby")
        room.publish(b"three ways in", 10.0)
    plain.seen(rb"cat: three ways in\n")
    chat.seen(rb"cat: three ways in\n")


def test_a_reload_keeps_the_listener_and_clients_come_back(
    hub: HubProcess, spawn: Spawn, directory: Path
) -> None:
    """Their keys stay in the old process: native clients connect again, plain ones are told of as lost."""
    need("openssl")
    plain = spawn("openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{hub.port(2)}")
    plain.seen(rb"This is lobby")
    alice = joined(spawn, directory, pinned(hub, directory), "--name", "alice")
    with portable.connect(pinned(hub, directory), name="bob") as bob:
        told = hub.do("reload")
        assert b"a TLS connection cannot go on elsewhere" in told
        plain.wait()
        alice.seen(rb"connected again", err=True)
        wait_for(lambda: bob.is_connected and len(hub.clients()) >= 2, "bob is back")
        bob.message("alice", "after the reload", 20.0)
        alice.seen(rb"bob: after the reload")
    with portable.connect(invitation(hub, 1, "ann")) as ann:
        assert ann.name == "ann"
