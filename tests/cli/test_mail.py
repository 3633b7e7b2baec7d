"""Messages that wait for absent clients, as operators leave, see and drop them."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from programs import HubProcess, StartHub, wait_for

pytestmark = pytest.mark.timeout(120)

IDENTIFIED = "tcp://127.0.0.1:0,framing=line,identify=id%3D(%5Cw%2B),protocol=plain"


@pytest.fixture
def hub(start_hub: StartHub) -> HubProcess:
    """A hub that knows its clients again."""
    return start_hub(IDENTIFIED)


def here(hub: HubProcess, name: str) -> socket.socket:
    """A client of that name, once the hub knows it."""
    client = socket.create_connection(("127.0.0.1", hub.port()), timeout=10)
    client.sendall(f"id={name}\n".encode())
    wait_for(lambda: [each for each in clients(hub, "--connected") if each["name"] == name])
    return client


def away(hub: HubProcess, name: str) -> None:
    """A client of that name that is known and absent."""
    here(hub, name).close()
    wait_for(lambda: [each for each in clients(hub, "--absent") if each["name"] == name])


def clients(hub: HubProcess, *which: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(hub.do("clients", *which, "--json"))
    return found


def mail(hub: HubProcess, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(hub.do("mail", "ls", *words, "--json"))
    return found


def test_a_message_waits_is_listed_and_delivered_once(hub: HubProcess) -> None:
    away(hub, "dev1")
    for text in ("first", "second"):
        report = json.loads(hub.do("send", "dev1", text, "--queue", "--json"))
        assert report == {"sent": 0, "dropped": 0, "waiting": 1, "refused": 0}
    assert [(each["name"], each["letters"]) for each in mail(hub)] == [("dev1", 2)]
    assert [each["bytes"] for each in mail(hub, "dev1")] == [5, 6]
    assert clients(hub, "--absent")[0]["waiting"] == 2
    assert b"WAITS" in hub.do("clients")
    with here(hub, "dev1") as client:
        assert client.makefile("rb").read(13) == b"first\nsecond\n"
    wait_for(lambda: not mail(hub))
    assert hub.do("mail", "ls") == b"No message waits.\n"


def test_a_pattern_reaches_those_who_are_there_and_waits_for_the_others(hub: HubProcess) -> None:
    away(hub, "dev1")
    with here(hub, "dev2") as client:
        report = json.loads(hub.do("send", "dev*", "--hex", "00 ff", "--queue", "--json"))
        assert (report["sent"], report["waiting"]) == (1, 1)
        assert client.recv(10) == b"\x00\xff\n"
    with here(hub, "dev1") as client:
        assert client.recv(10) == b"\x00\xff\n"


def test_what_waits_can_be_dropped(hub: HubProcess) -> None:
    away(hub, "dev1")
    for text in ("one", "two", "three"):
        hub.do("send", "dev1", text, "--queue", "--expires", "1h")
    numbers = [each["number"] for each in mail(hub, "dev1")]
    assert json.loads(hub.do("mail", "drop", "dev1", "--number", str(numbers[1]), "--json"))["dropped"] == 1
    listing = hub.do("mail", "ls", "dev1").decode()
    assert "one" in listing
    assert "two" not in listing
    assert json.loads(hub.do("mail", "drop", "dev1", "--json"))["dropped"] == 2
    assert not mail(hub)
    hub.do("send", "dev1", "four", "--queue")
    hub.do("forget", "dev1")
    wait_for(lambda: not mail(hub))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("send", "nobody", "x", "--queue"), "no client"),
        (("send", "dev1", "x", "--expires", "1h"), "--queue is not given"),
        (("send", "dev1", "x", "--queue", "--expect", "y"), "--queue does not go with"),
        (("mail", "ls", "nobody"), "no client"),
        (("mail", "drop", "dev1", "--number", "99"), "no message 99 waits"),
    ],
)
def test_what_cannot_be_is_told(hub: HubProcess, words: tuple[str, ...], said: str) -> None:
    away(hub, "dev1")
    done = hub.run(*words)
    assert done.returncode != 0
    assert said in done.stderr.decode()
