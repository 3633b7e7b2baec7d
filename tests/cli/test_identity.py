"""Names that outlive connections and hubs: real hubs that are killed, and clients that come back."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sqlite3
import struct
from pathlib import Path
from typing import Any

import pytest
from programs import HubProcess, StartHub, wait_for

ID = r"id=(\w+)"


class Device:
    """A client that says who it is."""

    def __init__(self, hub: HubProcess, said: bytes = b"", *, udp: bool = False, index: int = 0) -> None:
        kind = socket.SOCK_DGRAM if udp else socket.SOCK_STREAM
        self.socket = socket.socket(socket.AF_INET, kind)
        self.socket.settimeout(15)
        self.socket.connect(("127.0.0.1", hub.port(index)))
        self.peer = "{}:{}".format(*self.socket.getsockname())
        if said:
            self.socket.sendall(said)

    def hears(self, data: bytes) -> bool:
        """Whether exactly this arrives."""
        return self.socket.recv(4096) == data

    def leave(self) -> None:
        self.socket.close()


def known(hub: HubProcess) -> list[dict[str, Any]]:
    """Everyone who is there or known, asked for without starting a program each time."""
    found: list[dict[str, Any]] = []
    with socket.socket(socket.AF_UNIX) as operator:
        operator.settimeout(15)
        operator.connect(str(hub.control))
        request = json.dumps({"id": 1, "op": "clients", "state": "all"}).encode()
        operator.sendall(struct.pack(">I", len(request)) + request)
        with operator.makefile("rb") as replies:
            while True:
                (length,) = struct.unpack(">I", replies.read(4))
                reply = json.loads(replies.read(length))
                if "event" not in reply:
                    return found
                found += reply["event"]["clients"]


def view(hub: HubProcess, name: str, **facts: Any) -> dict[str, Any]:
    """The client of that name once it has these facts."""

    def found() -> dict[str, Any] | None:
        for client in known(hub):
            if client["name"] == name and all(client.get(key) == value for key, value in facts.items()):
                return client
        return None

    return wait_for(found, f"{name} with {facts}")


def came(hub: HubProcess, name: str) -> int:
    """Wait until the log tells of that name; the id."""
    return int(hub.seen(rb" identified id=(\d+) name=%b " % name.encode())[1])


def test_a_client_that_reconnects_is_itself(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0", "udp://127.0.0.1:0", "--identify", ID)
    first = Device(hub, b"id=dev1\n")
    other = Device(hub, b"id=dev2\n", udp=True, index=1)
    assert view(hub, "dev1", peer=first.peer)["state"] == "connected"
    view(hub, "dev2", peer=other.peer, protocol="udp")
    hub.do("tag", "dev1,dev2", "floor1", "spare")
    hub.do("tag", "dev1", "-r", "spare")
    hub.do("note", "dev1", "in the cellar")
    assert json.loads(hub.do("rename", "dev1", "door", "--json"))["lasting"] is True
    first.leave()
    absent = view(hub, "door", state="absent", peer=first.peer)
    assert (absent["id"], absent["tags"], absent["note"]) == (None, ["floor1"], "in the cellar")

    again = Device(hub, b"id=dev1\n")
    assert again.peer != first.peer
    found = view(hub, "door", state="connected", peer=again.peer)
    assert (found["tags"], found["note"]) == (["floor1"], "in the cellar")
    assert (found["connections"], found["identity"]) == (2, "said:dev1")
    assert found["first_seen"] == absent["first_seen"]
    hub.do("send", "door", "to you")
    assert again.hears(b"to you\n")
    hub.do("send", "tag:floor1", "both")
    assert again.hears(b"both\n")
    assert other.hears(b"both\n")
    assert [client["name"] for client in hub.clients("tag:spare")] == ["dev2"]


def test_who_says_a_host_does_not_get_what_is_meant_for_it(start_hub: StartHub) -> None:
    """Names win over hosts as a TARGET: such a name would turn messages for a host to one client alone."""
    hub = start_hub("tcp://127.0.0.1:0,framing=line,identify=^id=(.*)")
    honest = Device(hub, b"id=honest\n")
    view(hub, "honest", peer=honest.peer)
    liars = [Device(hub, b"id=" + said + b"\n") for said in (b"127.0.0.1", b"localhost")]
    for said, liar in zip(("127.0.0.1", "localhost"), liars, strict=True):
        found = wait_for(lambda said=said: [c for c in known(hub) if c.get("identity") == f"said:{said}"])
        assert found[0]["name"] == f"tcp-{found[0]['id']}"
        hub.do("send", said, "all of you")
        for each in (honest, *liars):
            assert each.hears(b"all of you\n"), (said, liar)
    hub.do("rename", "tcp-2", "10.0.0.5")  # an operator may


def test_by_host(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0,identify=host,conflict=newer")
    device = Device(hub)
    view(hub, "127.0.0.1", peer=device.peer)
    newer = Device(hub)
    view(hub, "127.0.0.1", peer=newer.peer)
    assert view(hub, "tcp-1")["conflict"] == "127.0.0.1"
    hub.do("send", "127.0.0.1", "to the newer")
    assert newer.hears(b"to the newer\n")


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_names_tags_and_notes_outlive_the_hub(start_hub: StartHub, directory: Path, end: str) -> None:
    control = directory / "c" / "hub.sock"
    hub = start_hub("tcp://127.0.0.1:0", "--identify", ID, control=control)
    status = json.loads(hub.do("status", "--json"))
    assert (status["state"], status["state_problem"]) == (str(control.with_suffix(".db")), "")
    here, away = Device(hub, b"id=dev1\n"), Device(hub, b"id=dev2\n")
    view(hub, "dev1")
    view(hub, "dev2")
    away.leave()
    view(hub, "dev2", state="absent")
    hub.do("tag", "dev1", "floor1")
    hub.do("note", "dev2", "by hand")
    hub.do("rename", "dev1", "door")  # answered: it is on disk
    if end == "kill":
        os.kill(hub.pid, signal.SIGKILL)
        hub.wait()
    else:
        assert hub.terminate() == 0

    hub = start_hub("tcp://127.0.0.1:0", "--identify", ID, control=control)
    everyone = {client["name"]: client for client in known(hub)}
    assert everyone.keys() == {"door", "dev2"}
    assert {client["state"] for client in everyone.values()} == {"absent"}
    assert (everyone["door"]["tags"], everyone["door"]["peer"]) == (["floor1"], here.peer)
    assert everyone["dev2"]["note"] == "by hand"
    assert everyone["door"]["last_seen"] >= everyone["door"]["first_seen"]
    back = Device(hub, b"id=dev1\n")
    assert view(hub, "door", state="connected", peer=back.peer)["tags"] == ["floor1"]


def test_without_state_names_end_with_the_hub(start_hub: StartHub, directory: Path) -> None:
    control = directory / "c" / "hub.sock"
    arguments = ("tcp://127.0.0.1:0", "--identify", ID, "--state", "none")
    hub = start_hub(*arguments, control=control)
    assert json.loads(hub.do("status", "--json"))["state"] is None
    Device(hub, b"id=dev1\n").leave()
    view(hub, "dev1", state="absent")
    assert hub.terminate() == 0
    assert not list(directory.rglob("*.db*"))
    assert start_hub(*arguments, control=control).clients() == []


def test_absent_ones_are_listed_renamed_and_forgotten_but_never_sent_to(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0", "--identify", ID)
    here, gone = Device(hub, b"id=dev1\n"), Device(hub, b"id=dev2\n")
    came(hub, "dev1")
    came(hub, "dev2")
    refused = hub.run("forget", "dev2")
    assert (refused.returncode, b"dev2 is connected, as client " in refused.stderr) == (1, True)
    gone.leave()
    view(hub, "dev2", state="absent")

    assert [client["name"] for client in json.loads(hub.do("clients", "--absent", "--json"))] == ["dev2"]
    assert [client["name"] for client in json.loads(hub.do("clients", "--connected", "--json"))] == ["dev1"]
    assert [client["name"] for client in hub.clients("dev*")] == ["dev1", "dev2"]
    assert [client["state"] for client in hub.clients("dev2")] == ["absent"]
    table = hub.do("clients").decode().splitlines()
    assert " absent " in table[2]
    assert " connected " in table[1]

    for command in (["send", "dev2", "x"], ["kick", "dev1,dev2"], ["talk", "dev2"], ["send", "dev2*", "x"]):
        failed = hub.run(*command)
        assert failed.returncode == 4, failed
        assert b"jackfield: absent: dev2 (since 20" in failed.stderr
        assert b"last at %b)" % gone.peer.encode() in failed.stderr
    hub.do("send", "all", "to those who are there")
    hub.do("send", "dev*", "and by pattern")
    received = b""
    while b"pattern\n" not in received:
        received += here.socket.recv(4096)
    assert received == b"to those who are there\nand by pattern\n"

    hub.do("rename", "dev2", "gate")
    assert hub.run("rename", "dev1", "gate").returncode == 1
    assert json.loads(hub.do("forget", "gate", "--json")) == {"name": "gate", "identity": "said:dev2"}
    assert hub.run("forget", "gate").returncode == 4
    hub.do("rename", "dev1", "gate")
    back = Device(hub, b"id=dev2\n")
    assert view(hub, "dev2", peer=back.peer)["connections"] == 1  # nothing is known of it


def test_of_two_that_claim_one_name_the_older_keeps_it(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0", "--identify", ID)
    older = Device(hub, b"id=dev1\n")
    view(hub, "dev1", peer=older.peer)
    newer = Device(hub, b"id=dev1\n")
    hub.seen(rb' conflict id=2 name=tcp-2 identity=said:dev1 conflict=dev1 reason="client 1 has it')
    assert view(hub, "tcp-2", peer=newer.peer)["conflict"] == "dev1"
    assert b" claims dev1 " in hub.do("clients")
    hub.do("send", "dev1", "to the older")
    assert older.hears(b"to the older\n")

    done = json.loads(hub.do("claim", "tcp-2", "--json"))
    assert done == {"id": 2, "name": "dev1", "before": "tcp-2", "from": 1, "lasting": True}
    hub.do("send", "dev1", "to the newer")
    assert newer.hears(b"to the newer\n")
    assert view(hub, "tcp-1")["conflict"] == "dev1"
    newer.leave()  # the name goes to the one that still claims it
    assert view(hub, "dev1", state="connected")["peer"] == older.peer
    assert hub.run("claim", "dev1").returncode == 1


@pytest.mark.parametrize(
    "said",
    [
        b"id=" + b"a" * 5000 + b"\n",
        b"\xff\xfe\x00" * 100,
        b"id=\xff\xff\xff;",
        b"id=all\n",
        b"id=7\n",
        b"id=tcp-1;\n",
        b"id=\x1b]0;owned\x07;\n",
        b"x" * 20_000,
        b"\n" * 40,
    ],
)
def test_a_hostile_first_message_names_nobody_and_harms_nobody(start_hub: StartHub, said: bytes) -> None:
    hub = start_hub("tcp://127.0.0.1:0", "--identify", r"id=([^;\n]+)")
    hostile = Device(hub, said)
    wait_for(lambda: any(client["bytes_in"] == len(said) for client in known(hub)), "all of it")
    honest = Device(hub, b"id=dev1\n")
    view(hub, "dev1", peer=honest.peer)
    assert {client["name"] for client in known(hub)} == {"tcp-1", "dev1"}
    assert b"\x1b" not in hub.do("clients")
    hub.do("send", "tcp-1", "x")
    assert hostile.hears(b"x\n")


def test_a_name_without_an_end_is_taken_once_nothing_more_comes(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0", "--identify", ID)
    device = Device(hub, b"id=dev1")
    view(hub, "dev1", peer=device.peer)


def test_a_kicked_client_is_not_recognised_by_its_last_words(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0", "--identify", ID)
    device = Device(hub)
    hub.joined(1)
    hub.do("kick", "1")
    device.socket.sendall(b"id=dev1\n")
    device.leave()
    hub.seen(rb" left id=1 ")
    second = Device(hub, b"id=dev2\n")
    view(hub, "dev2", peer=second.peer)
    assert [client["name"] for client in known(hub)] == ["dev2"]


def test_the_list_can_be_searched(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0", "udp://127.0.0.1:0", "--identify", ID)
    devices = [Device(hub, b"id=dev1\n"), Device(hub, b"id=dev2\n", udp=True, index=1)]
    view(hub, "dev1")
    view(hub, "dev2")
    hub.do("tag", "dev1", "floor1")
    hub.do("note", "dev2", "In The Cellar")

    def names(*options: str) -> set[str]:
        return {client["name"] for client in json.loads(hub.do("clients", *options, "--json"))}

    assert names("--tag", "floor*") == {"dev1"}
    assert hub.do("clients", "--tag", "cellar") == b"No client is like that; 'jackfield clients' shows all.\n"
    assert names("--protocol", "udp", "--text", "dev2") == {"dev2"}
    assert names("--text", "cellar") == {"dev2"}
    assert names("--text", "nowhere") == set()
    assert hub.run("clients", "--absent", "--connected").returncode == 2
    assert len(devices) == 2


def test_what_cannot_be_is_refused_and_changes_nothing(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0", "--identify", ID)
    device = Device(hub, b"id=dev1\n")
    view(hub, "dev1", peer=device.peer)
    for command, code in {
        ("tag", "dev1", "good", "not good"): 2,
        ("tag", "dev1"): 2,
        ("tag", "dev9", "a"): 4,
        ("note", "dev1", "x" * 2000): 1,
        ("rename", "dev1", "all"): 2,
        ("forget", "dev9"): 4,
        ("forget", ""): 4,
        ("clients", ""): 4,
        ("clients", "x" * 5000): 1,
        ("send", ",", "x"): 4,
        ("note", "all,dev9", "x"): 4,
    }.items():
        done = hub.run(*command)
        assert (done.returncode, done.stderr.count(b"\n")) == (code, 1), (command, done)
    found = view(hub, "dev1")
    assert (found["tags"], found["note"]) == ([], "")


@pytest.mark.parametrize("rule", ["(a", r"(?<=x)y", "a{1000}{1000}"])
def test_a_rule_that_cannot_be_used_is_one_line(start_hub: StartHub, hub: HubProcess, rule: str) -> None:
    done = hub.run("serve", "tcp://127.0.0.1:0", "--identify", rule, "--control", f"{hub.control}2")
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1), done
    assert b"cannot be used" in done.stderr


def test_a_disk_without_room_is_told_and_what_waited_is_written(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0", "--identify", ID)
    device = Device(hub, b"id=dev1\n")
    view(hub, "dev1", peer=device.peer)
    hub.do("note", "dev1", "before")
    database = json.loads(hub.do("status", "--json"))["state"]
    size = os.stat(f"{database}-wal").st_size
    unlimited = resource.prlimit(hub.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(
        hub.pid, resource.RLIMIT_FSIZE, (size, unlimited[1])
    )  # as a full disk: no write goes through
    refused = hub.run("note", "dev1", "while it was full")
    assert refused.returncode == 1
    assert b"not on disk yet" in refused.stderr
    hub.seen(rb" not_saved state=")
    assert b"not saved" in hub.do("status")
    hub.do("send", "dev1", "the hub goes on")
    assert device.hears(b"the hub goes on\n")
    resource.prlimit(hub.pid, resource.RLIMIT_FSIZE, unlimited)
    hub.seen(rb" saved state=")
    os.kill(hub.pid, signal.SIGKILL)
    hub.wait()
    connection = sqlite3.connect(database)
    (document,) = connection.execute("SELECT value FROM documents WHERE kind = 'client'").fetchone()
    connection.close()
    assert json.loads(document)["note"] == "while it was full"


def test_a_damaged_state_keeps_the_hub_from_starting_and_stays(start_hub: StartHub, hub: HubProcess) -> None:
    database = hub.control.with_name("damaged.db")
    database.write_bytes(b"not a database, but a long letter " * 100)
    done = hub.run("serve", "tcp://127.0.0.1:0", "--control", f"{hub.control}2", "--state", str(database))
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1), done
    assert b"is damaged" in done.stderr
    assert database.read_bytes().startswith(b"not a database")


def test_a_place_for_the_state_that_nobody_asked_for_may_be_missing(
    start_hub: StartHub, directory: Path
) -> None:
    (directory / "c").mkdir(mode=0o700)
    (directory / "c" / "hub.db").mkdir()
    hub = start_hub("tcp://127.0.0.1:0", control=directory / "c" / "hub.sock")
    hub.seen(rb" no_state reason=")
    assert json.loads(hub.do("status", "--json"))["state"] is None


@pytest.mark.parametrize("kept", [True, False])
def test_a_reload_changes_nobody(start_hub: StartHub, kept: bool) -> None:
    """Who is there stays who it is without saying it again, in conflict or not; who is absent stays so."""
    options = [] if kept else ["--state", "none"]
    hub = start_hub("tcp://127.0.0.1:0", "--identify", ID, *options)
    one, two = Device(hub, b"id=dev1\n"), Device(hub, b"id=dev2\n")
    view(hub, "dev1", peer=one.peer)
    view(hub, "dev2", peer=two.peer)
    claims, silent = Device(hub, b"id=dev1\n"), Device(hub)
    hub.joined(4)
    wait_for(lambda: any(client.get("conflict") for client in known(hub)), "the conflict")
    hub.do("tag", "all", "here")
    hub.do("rename", silent.peer, "silent")
    two.leave()
    view(hub, "dev2", state="absent")

    def facts() -> list[tuple[Any, ...]]:
        names = ("id", "name", "state", "tags", "conflict", "identity", "connections", "peer")
        return sorted(tuple(map(str, map(client.get, names))) for client in known(hub))

    before = facts()
    for _ in range(2):
        hub.do("reload")
        assert facts() == before
    hub.do("send", "dev1", "to you")
    assert one.hears(b"to you\n")
    one.leave()  # the heir is known, too
    view(hub, "dev1", state="connected", peer=claims.peer)
