"""Operators from elsewhere: what they reach is known before a token leaves, and invitations lead there."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from programs import JACKFIELD, HubProcess, Spawn, StartHub, wait_for

import jackfield

SECRET = "jf_this-is-never-to-be-seen"


def ask(port: int, *requests: dict[str, Any]) -> list[dict[str, Any]]:
    """What a listener for operators answers, until it hangs up or all is answered."""
    answers = []
    with socket.create_connection(("127.0.0.1", port), timeout=30) as plain, plain.makefile("rb") as reader:
        for number, request in enumerate(requests, 1):
            message = json.dumps({"id": number, "op": "hello", **request}).encode()
            plain.sendall(struct.pack(">I", len(message)) + message)
            head = reader.read(4)
            answers.append(json.loads(reader.read(struct.unpack(">I", head)[0])) if head else {})
    return answers


def operators_port(hub: HubProcess) -> int:
    return int(hub.seen(rb" operators address=\S+:(\d+)")[1])


@contextlib.contextmanager
def answering(answer: bytes) -> Iterator[tuple[str, bytearray]]:
    """Somebody who is no hub, and answers the first message: its address, and all that it has heard."""
    heard = bytearray()

    def hear(listener: socket.socket) -> None:
        with listener.accept()[0] as peer, contextlib.suppress(ConnectionError):
            heard.extend(peer.recv(65_536))
            peer.sendall(answer)
            while data := peer.recv(65_536):
                heard.extend(data)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        hearing = threading.Thread(target=hear, args=(listener,), daemon=True)
        hearing.start()
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}", heard
        hearing.join(30)


def test_a_listener_for_operators_says_what_it_is_before_it_sees_a_token(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0", "tcp://127.0.0.1:0,protocol=control")
    port = operators_port(hub)
    token = json.loads(hub.do("token", "create", "--role", "operator", "--json"))["token"]
    kind, there = ask(port, {"versions": [1, 2]}, {"token": token})
    assert kind["ok"] == {"kind": "jackfield-control", "protocol": 1}  # and nothing of the hub besides
    assert there["ok"]["role"] == "operator"
    assert ask(port, {"versions": [2]})[0]["error"]["code"] == "unsupported_version"
    assert ask(port, {"versions": "1"})[0]["error"]["code"] == "bad_request"
    kind, again = ask(port, {"versions": [1]}, {"versions": [1]})
    assert "ok" in kind
    assert again["error"]["code"] == "bad_token"


def test_no_client_in_a_room_sees_an_operators_token(start_hub: StartHub, directory: Path) -> None:
    hub = start_hub("tcp://127.0.0.1:0,room=lobby", "--state", str(directory / "hub.db"))
    hub.environment["JACKFIELD_TOKEN"] = SECRET
    heard = bytearray()
    with socket.create_connection(("127.0.0.1", hub.port()), timeout=30) as chatter:
        wait_for(hub.clients, "the chatter")
        failed = hub.run("--hub", f"tcp://127.0.0.1:{hub.port()}", "status")
        invited = hub.run("--hub", f"tcp://127.0.0.1:{hub.port()},invitation={SECRET}", "status")
        hub.do("kick", "all")
        while data := chatter.recv(65_536):
            heard += data
    for done in (failed, invited):
        assert done.returncode == 3, done
        said = f"tcp://127.0.0.1:{hub.port()} is a listener for clients (or no hub at all)"
        assert said.encode() in done.stderr
        assert b"protocol=control" in done.stderr
    assert b"versions" in heard  # the question was heard there, and no more
    assert SECRET.encode() not in bytes(heard) + bytes(hub.out)
    assert all(SECRET.encode() not in path.read_bytes() for path in directory.iterdir() if path.is_file())


def test_who_says_nothing_is_no_hub_and_gets_no_token(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0", "tcp://127.0.0.1:0,protocol=native")
    hub.environment["JACKFIELD_TOKEN"] = SECRET
    with answering(b"") as (address, heard):
        silent = hub.run("--hub", address, "clients")
    assert silent.returncode == 3
    assert b"has not said within 5 s what it is" in silent.stderr
    assert b'"versions":[1]' in heard
    assert SECRET.encode() not in heard
    for index in (0, 1):  # one that waits for what a client says, and one that wants native clients
        reached = hub.run("--hub", f"tcp://127.0.0.1:{hub.port(index)}", "clients")
        assert reached.returncode == 3
        assert b"is a listener for clients (or no hub at all)" in reached.stderr
    assert SECRET.encode() not in bytes(hub.out)


@pytest.mark.parametrize(
    "answer",
    [
        {"id": 1, "ok": {"version": "1", "pid": 1, "protocol": 1}},
        {"id": 1, "ok": {"kind": "something else"}},
        {"id": 1, "event": {"kind": "jackfield-control"}},
        {"id": 1, "op": "hello", "versions": [1]},
    ],
)
def test_an_answer_of_another_kind_gets_no_token(start_hub: StartHub, answer: dict[str, Any]) -> None:
    hub = start_hub("tcp://127.0.0.1:0")
    hub.environment["JACKFIELD_TOKEN"] = SECRET
    message = json.dumps(answer).encode()
    with answering(struct.pack(">I", len(message)) + message) as (address, heard):
        done = hub.run("--hub", address, "clients")
    assert done.returncode == 3
    assert SECRET.encode() not in heard


def test_an_operator_is_invited_to_a_listener_for_operators(start_hub: StartHub, directory: Path) -> None:
    hub = start_hub(
        "tcp://127.0.0.1:0", "tls://127.0.0.1:0,protocol=control", "--state", str(directory / "hub.db")
    )
    hub.environment["XDG_DATA_HOME"] = str(directory)
    port = operators_port(hub)
    text = hub.do("invite", "--role", "operator").decode().strip()
    assert text.startswith(f"tls://127.0.0.1:{port}?pin=sha256:")
    assert hub.do("--hub", text, "clients") == b"No client is connected.\n"
    named = hub.do("invite", "--role", "admin", "--listener", str(port), "--host", "localhost").decode()
    assert named.startswith(f"tls://localhost:{port}?pin=")
    as_client = hub.do("invite", "--role", "operator", "--listener", str(hub.port())).decode()
    assert as_client.startswith(f"tcp://127.0.0.1:{hub.port()}?invitation=")
    member = hub.run("invite", "--listener", str(port))
    assert member.returncode == 1
    assert b"is for operators" in member.stderr
    unknown = hub.run("invite", "--role", "operator", "--listener", "1")
    assert f"127.0.0.1:{port}".encode() in unknown.stderr


def test_nobody_is_invited_where_no_operator_can_come(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0")
    done = hub.run("invite", "--role", "operator")
    assert done.returncode == 1
    assert b"no listener of this hub takes operators" in done.stderr
    assert json.loads(hub.do("token", "ls", "--json")) == []


def test_a_member_is_invited_where_a_token_is_asked_for(start_hub: StartHub, directory: Path) -> None:
    asking = ["tls://127.0.0.1:0,access=token"] * 2
    hub = start_hub("tcp://127.0.0.1:0", "tls://127.0.0.1:0", *asking, "--state", str(directory / "hub.db"))
    done = hub.run("invite", "--name", "camera7")
    assert done.returncode == 0
    assert done.stdout.startswith(f"tls://127.0.0.1:{hub.port(2)}?pin=sha256:".encode())
    assert done.stderr.decode() == (
        f"jackfield: it is as good at tls://127.0.0.1:{hub.port(3)}; --listener chooses\n"
    )
    plain = hub.do("invite", "--listener", str(hub.port())).decode()
    assert plain.startswith(f"tcp://127.0.0.1:{hub.port()}?invitation=jf_")
    made = json.loads(hub.do("invite", "--json"))
    assert [int(each.partition("?")[0].rpartition(":")[2]) for each in made["invitations"]] == [
        hub.port(2), hub.port(3), hub.port(1), hub.port(0)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "words", [("--hub", "", "clients"), ("clients", "--control", ""), ("kick", "all", "--hub", " ")]
)
def test_a_hub_that_is_named_by_nothing_is_wrong_usage(start_hub: StartHub, words: tuple[str, ...]) -> None:
    done = start_hub("tcp://127.0.0.1:0").run(*words)
    assert done.returncode == 2
    assert b"it is empty, and so names no hub" in done.stderr


def test_the_lines_at_the_start_of_a_hub_work(start_hub: StartHub, spawn: Spawn, directory: Path) -> None:
    hub = start_hub(
        "tls://127.0.0.1:0,access=token",
        "tls://127.0.0.1:0,protocol=control",
        "--state",
        str(directory / "hub.db"),
    )
    hub.environment["XDG_DATA_HOME"] = str(directory)
    begun = bytes(hub.out).decode()
    join = next(line for line in begun.splitlines() if f":{hub.port()} " in line and "$(" in line)
    words = join.split(maxsplit=1)[1]
    assert f"invite --listener {hub.port()}" in words
    spawn("sh", "-c", f"exec {words}", environment=hub.environment).seen(rb"joined tls://127.0.0.1", err=True)
    operate = next(line for line in begun.splitlines() if "--role operator" in line).split(maxsplit=1)[1]
    done = subprocess.run(["sh", "-c", operate], env=hub.environment, capture_output=True, timeout=30)
    assert done.returncode == 0, done


@pytest.mark.parametrize("address", ["tcp://192.0.2.9:7444", "ws://192.0.2.9:80/native"])
def test_no_token_goes_where_everyone_on_the_way_reads_it(address: str, directory: Path) -> None:
    environment = {**os.environ, "XDG_DATA_HOME": str(directory)}
    portable = [sys.executable, str(Path(jackfield.__file__).parent / "portable.py")]
    for command, code in (
        ([JACKFIELD, "join", address, "--token", SECRET], 2),
        ([JACKFIELD, "chat", "lobby", "--join", address, "--token", SECRET], 2),
        ([*portable, "clients", address, "--token", SECRET], 1),
    ):
        done = subprocess.run(
            command, env=environment, capture_output=True, timeout=30, stdin=subprocess.DEVNULL
        )
        assert done.returncode == code, done
        assert b"has no TLS, and everyone on the way could read the token" in done.stderr, done
        assert SECRET.encode() not in done.stderr


def test_a_hub_says_where_operators_come_to_and_where_its_console_is(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0", "tcp://127.0.0.1:0,protocol=control", "--web", "127.0.0.1:0")
    found = json.loads(hub.do("status", "--json"))
    where = f"tcp://127.0.0.1:{operators_port(hub)}"
    assert [each["address"] for each in found["operators"]] == [where]
    assert found["web"] == hub.seen(rb" web url=(\S+)")[1].decode()
    lines = hub.do("status").decode().splitlines()
    assert lines[-3:] == ["operators come to:", f"  {where}  access token", f"web console: {found['web']}"]


def test_a_hub_for_operators_alone_says_that_it_listens_for_nobody_else(
    spawn: Spawn, directory: Path
) -> None:
    control = str(directory / "hub.sock")
    hub = spawn(JACKFIELD, "serve", "tcp://127.0.0.1:0,protocol=control", "--control", control)
    hub.seen(rb" ready .* operators=tcp://127\.0\.0\.1:\d+\n")
    assert b"listening" not in hub.out.lower()
    status = spawn(JACKFIELD, "status", "--control", control)
    assert status.wait() == 0
    assert b"listening" not in status.out


def test_an_operator_who_may_not_is_told_by_what_was_typed(start_hub: StartHub, directory: Path) -> None:
    hub = start_hub("tcp://127.0.0.1:0", "tcp://127.0.0.1:0,protocol=control")
    hub.environment["XDG_DATA_HOME"] = str(directory)
    where = f"tcp://127.0.0.1:{operators_port(hub)}"
    missing = hub.run("--hub", where, "clients")
    assert b"'jackfield --token-file PATH ...' or JACKFIELD_TOKEN_FILE" in missing.stderr
    behind = hub.run("clients", "--token-file", "F", "--hub", where)
    assert (behind.returncode, b"it stands before the command" in behind.stderr) == (2, True)
    invitation = hub.do("invite", "--role", "operator", "--name", "opx").decode().strip()
    for name, *more in (["token ls"], ["dial", "tcp://127.0.0.1:1"], ["undial", "door"], ["script rm", "x"]):
        refused = hub.run("--hub", invitation, *name.split(), *more)
        assert refused.returncode == 1
        assert refused.stderr.startswith(f"jackfield: {name} needs the role admin, and yours is".encode())
    hub.do("token", "revoke", "opx")
    kept = str(directory / "jackfield" / "credentials.json").encode()
    assert b"it is the one kept in " + kept in hub.run("--hub", where, "clients").stderr
