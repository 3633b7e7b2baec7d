"""The table of refusals: every request of operators and every control message of native clients, with no
token, a wrong role, an expired, a used, a revoked and a made-up token, against a real hub.

It is made of the registries, so that nothing new can be forgotten; what is
allowed is said by the table of roles.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from programs import HubProcess, StartHub, wait_for

from jackfield.hub.native import control
from jackfield.hub.operations import OPERATIONS
from jackfield.hub.security import roles
from jackfield.hub.security.tokens import make_secret
from jackfield.portable import MAGIC, WebSocket

pytestmark = pytest.mark.timeout(180)

MADE_UP = make_secret(bytes(32))
ENDING = ("stop", "reload")  # of those that are allowed they are tried last, elsewhere
BAD = ("none", "expired", "used", "revoked", "made up", "garbage")
CODES = {"expired": "expired_token", "used": "used_token"}


class Framed:
    """A plain socket with u32 frames."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.reader = self.socket.makefile("rb")

    def send(self, message: bytes) -> None:
        self.socket.sendall(struct.pack(">I", len(message)) + message)

    def receive(self) -> bytes | None:
        """The next message; None at the end."""
        try:
            head = self.reader.read(4)
            return self.reader.read(struct.unpack(">I", head)[0]) if len(head) == 4 else None
        except ConnectionError:
            return None

    def close(self) -> None:
        self.reader.close()
        self.socket.close()


class Operator(Framed):
    """An operator of another machine."""

    def ask(self, op: str, number: int = 1, **arguments: Any) -> dict[str, Any]:
        """The first answer; `ended` where the hub hangs up without one."""
        self.send(json.dumps({"id": number, "op": op, **arguments}).encode())
        while (message := self.receive()) is not None:
            found: dict[str, Any] = json.loads(message)
            if found["id"] in (number, None):
                return found
        return {"ended": True}


class Native(Framed):
    """A native client of the simplest kind."""

    def control(self, **body: Any) -> None:
        self.send(struct.pack(">IBBH", 0, 0, 0, 0) + json.dumps(body).encode())

    def hello(self, token: object) -> dict[str, Any]:
        self.send(MAGIC)
        said = {"type": "hello", "versions": [1], "instance": "here", "agent": "test", "services": []}
        self.control(**said, **({} if token is None else {"token": token}))
        return self.told(lambda body: body["type"] in ("welcome", "error"))

    def ask(self, op: str, number: int) -> dict[str, Any]:
        self.control(type=op, n=number)
        return self.told(lambda body: body.get("n") == number)

    def told(self, wanted: Any) -> dict[str, Any]:
        while (message := self.receive()) is not None:
            if message != MAGIC and message[4] == 0:
                body: dict[str, Any] = json.loads(message[8:])
                if wanted(body):
                    return body
        return {"type": "ended"}


class InAPage(Native):
    """The same over WebSocket, from a page of another origin: it needs a token, as all do here."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.wire = WebSocket(f"127.0.0.1:{port}", "/native")
        self.messages: list[bytes] = []
        self.socket.sendall(self.wire.take().replace(b"Upgrade: ", b"Origin: http://else\r\nUpgrade: ", 1))
        while not self.wire.is_open:
            self.messages += self.wire.feed(self.socket.recv(65_536))

    def send(self, message: bytes) -> None:
        self.socket.sendall(self.wire.framed(message))

    def receive(self) -> bytes | None:
        try:
            while not self.messages and self.wire.code is None:
                self.messages += self.wire.feed(self.socket.recv(65_536) or b"\x88\0")
        except ConnectionError:
            return None
        return self.messages.pop(0) if self.messages else None


@dataclass
class World:
    """A hub and one token of each kind."""

    hub: HubProcess
    operators: int
    natives: int
    web: int
    tokens: dict[str, Any]

    def native(self, over: type[Native]) -> Native:
        """A connection of a native client."""
        return over(self.web if over is InAPage else self.natives)


@pytest.fixture(scope="module")
def directory_of_all(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("refusals")


@pytest.fixture(scope="module")
def world(directory_of_all: Path) -> Iterator[World]:
    hub = HubProcess(
        "tcp://127.0.0.1:0,access=token", "tcp://127.0.0.1:0,protocol=control", "--web", "127.0.0.1:0",
        "--state", str(directory_of_all / "hub.db"), control=directory_of_all / "hub.sock",
    )  # fmt: skip
    try:
        operators = int(hub.seen(rb" operators address=\S+:(\d+)")[1])
        web = int(hub.seen(rb" web url=\S+:(\d+)")[1])

        def made(*words: str) -> dict[str, Any]:
            found: dict[str, Any] = json.loads(hub.do(*words, "--json"))
            return found

        tokens: dict[str, Any] = {
            role: made("token", "create", "--role", role)["token"] for role in roles.ROLES
        }
        revoked = made("token", "create", "--role", "admin")
        hub.do("token", "revoke", revoked["id"])
        invitation = made("invite", "--role", "admin")["token"]
        operator = Operator(operators)
        assert operator.ask("hello", token=invitation)["ok"]["token"].startswith("jf_")
        operator.close()
        expired = made("token", "create", "--role", "admin", "--expires", "1s")
        wait_for(lambda: state_of(hub, expired["id"]) == "expired", "the end of a token")
        tokens |= {
            "none": None, "expired": expired["token"], "used": invitation, "revoked": revoked["token"],
            "made up": MADE_UP, "garbage": "' OR 1=1; --\x00<script>",
        }  # fmt: skip
        yield World(hub, operators, hub.port(), web, tokens)
        hub.do("status")  # it lives
        assert b" fault " not in bytes(hub.out)
    finally:
        hub.end()


def state_of(hub: HubProcess, token: str) -> str:
    found = json.loads(hub.do("token", "ls", "--json"))
    return next(str(each["state"]) for each in found if each["id"] == token)


@pytest.mark.parametrize("op", sorted(OPERATIONS))
def test_no_request_is_done_for_who_has_not_said_hello(world: World, op: str) -> None:
    for arguments in ({}, {"token": world.tokens["admin"]}):
        operator = Operator(world.operators)
        if op == "hello" and arguments:
            assert operator.ask(op, **arguments)["ok"]["role"] == "admin"
        else:
            answer = operator.ask(op, **arguments)
            assert answer["error"]["code"] in ("forbidden", "bad_token", "rate_limited"), answer
            assert operator.receive() is None
        operator.close()


@pytest.mark.parametrize("kind", BAD)
def test_no_token_that_is_none_lets_an_operator_in(world: World, kind: str) -> None:
    operator = Operator(world.operators)
    arguments = {} if kind == "none" else {"token": world.tokens[kind]}
    answer = operator.ask("hello", **arguments)
    assert answer["error"]["code"] in (CODES.get(kind, "bad_token"), "rate_limited"), answer
    assert operator.receive() is None
    operator.close()


@pytest.mark.parametrize("over", [Native, InAPage])
@pytest.mark.parametrize("kind", BAD)
def test_no_token_that_is_none_lets_a_native_client_in(world: World, kind: str, over: type[Native]) -> None:
    client = world.native(over)
    answer = client.hello(world.tokens[kind])
    assert answer["type"] == "error"
    assert answer["code"] in (CODES.get(kind, "bad_token"), "rate_limited", "bad_json"), answer
    for number, op in enumerate(control.CONTROLS, start=1):
        try:
            client.control(type=op, n=number)
        except OSError:
            break
    assert client.told(lambda body: body.get("type") == "ok" or "n" in body) == {"type": "ended"}
    client.close()


def test_a_member_is_no_operator(world: World) -> None:
    operator = Operator(world.operators)
    assert operator.ask("hello", token=world.tokens["member"])["error"]["code"] == "forbidden"
    assert operator.receive() is None
    operator.close()


@pytest.mark.parametrize("op", sorted(OPERATIONS))
def test_what_is_for_admins_is_refused_to_operators(world: World, op: str) -> None:
    operator = Operator(world.operators)
    assert operator.ask("hello", token=world.tokens["operator"])["ok"]["role"] == "operator"
    if roles.may("operator", op) and op not in ENDING:
        answer = operator.ask(op, 2)
        assert answer.get("error", {}).get("code") != "forbidden", answer
    else:
        answer = operator.ask(op, 2)
        assert answer["error"]["code"] == "forbidden", answer
    operator.close()


@pytest.mark.parametrize("over", [Native, InAPage])
@pytest.mark.parametrize("role", roles.ROLES)
def test_control_messages_are_held_against_the_table(world: World, role: str, over: type[Native]) -> None:
    client = world.native(over)
    assert client.hello(world.tokens[role])["role"] == role
    for number, op in enumerate(sorted(control.CONTROLS), start=1):
        answer = client.ask(op, number)
        allowed = roles.may(role, op, table=roles.CONTROLS)
        assert (answer.get("code") == "forbidden") is not allowed, (op, answer)
    assert client.ask("there_is_no_such_message", 10_000)["code"] == "unknown_type"
    client.close()


def test_a_plain_client_of_a_token_listener_is_nobody(world: World) -> None:
    plain = socket.create_connection(("127.0.0.1", world.natives), timeout=30)
    plain.sendall(b"GET / HTTP/1.0\r\n\r\n")
    try:
        while data := plain.recv(4096):
            assert b"jf_" not in data
    except ConnectionError:
        pass
    plain.close()


def test_the_file_has_no_token_and_the_audit_log_tells_them_apart(world: World) -> None:
    audit = world.hub.do("audit", "-n", "1000", "--json").decode()
    kept = b"".join(path.read_bytes() for path in world.hub.control.parent.iterdir() if path.is_file())
    for kind, secret in world.tokens.items():
        if isinstance(secret, str) and kind != "garbage":
            assert secret not in audit
            assert secret.encode() not in kept
            assert secret.encode() not in bytes(world.hub.out)
    told = {record["outcome"] for record in map(json.loads, audit.splitlines())}
    assert {"done", "not done: forbidden", "refused: no token"} <= told


def test_an_operator_elsewhere_does_everything_by_the_same_commands(
    start_hub: StartHub, directory: Path
) -> None:
    hub = start_hub(
        "tcp://127.0.0.1:0", "tcp://127.0.0.1:0,protocol=control", "--state", str(directory / "s.db")
    )
    where = f"tcp://127.0.0.1:{int(hub.seen(rb' operators address=.*:([0-9]+)')[1])}"
    hub.environment["XDG_DATA_HOME"] = str(directory)
    token = json.loads(hub.do("token", "create", "--role", "operator", "--name", "ann", "--json"))
    refused = hub.run("--hub", where, "clients")
    assert refused.returncode == 1
    assert b"there is no token for" in refused.stderr
    file = directory / "token"
    file.write_text(token["token"] + "\n")
    with socket.create_connection(("127.0.0.1", hub.port())) as plain:
        hub.joined(1)
        elsewhere = ("--token-file", str(file), "--hub", where)
        assert b"tcp-1" in hub.do(*elsewhere, "clients")
        hub.do(*elsewhere, "send", "1", "hello")
        assert plain.recv(100) == b"hello\n"
        forbidden = hub.run(*elsewhere, "stop")
        assert forbidden.returncode == 1
        assert b"stop needs the role admin, and yours is operator" in forbidden.stderr
    audit = [json.loads(line) for line in hub.do("audit", "--json").splitlines()]
    assert [
        each["outcome"]
        for each in audit
        if each["who"].startswith("ann@127.0.0.1:") and each["what"] == "send"
    ]
    hub.do("token", "revoke", "ann")
    assert b"does not know that token" in hub.run(*elsewhere, "clients").stderr
    invited = json.loads(hub.do("invite", "--role", "operator", "--json"))["token"]
    assert b"hub" in hub.do("--hub", f"{where}?invitation={invited}", "status")
    assert b"hub" in hub.do("--hub", where, "status")  # what it became is kept
    assert (directory / "jackfield" / "credentials.json").stat().st_mode & 0o777 == 0o600


def test_an_operator_beyond_the_rates_is_heard_no_faster(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0", "tcp://127.0.0.1:0,protocol=control,message_rate=20/s")
    token = json.loads(hub.do("token", "create", "--role", "operator", "--json"))["token"]
    operator = Operator(int(hub.seen(rb" operators address=\S+:(\d+)")[1]))
    assert "ok" in operator.ask("hello", token=token)
    begun = time.monotonic()
    for number in range(2, 142):  # a hundred may come at once
        operator.send(json.dumps({"id": number, "op": "status"}).encode())
    answered = [json.loads(operator.receive() or b"null") for _ in range(2, 142)]
    assert [each["id"] for each in answered] == list(range(2, 142))
    assert time.monotonic() - begun >= 1.5, "forty of them at 20 a second"
    assert hub.do("logs", "-n", "500").count(b"operator_held_up") == 1
    operator.close()


def test_who_says_nothing_is_let_go(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0", "tcp://127.0.0.1:0,protocol=control")
    port = int(hub.seen(rb" operators address=\S+:(\d+)")[1])
    silent = [Framed(port) for _ in range(40)]
    hub.seen(rb"connections have not said yet who they are")
    slow = silent[0]
    slow.socket.sendall(b"\x00")
    hub.seen(rb" operator_refused .*no hello in time", deadline=30)
    for each in silent:
        each.close()
    token = json.loads(hub.do("token", "create", "--role", "operator", "--json"))["token"]
    operator = Operator(port)
    assert operator.ask("hello", token=token)["ok"]["role"] == "operator"
    operator.close()


def test_a_first_request_that_is_long_is_refused_unread(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0", "tcp://127.0.0.1:0,protocol=control")
    stranger = Operator(int(hub.seen(rb" operators address=\S+:(\d+)")[1]))
    assert stranger.ask("hello", more="x" * 5000)["error"]["code"] == "bad_request"
    stranger.close()
