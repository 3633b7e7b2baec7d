"""Thirty devices on one hub, operated by commands alone: names hold, nothing reaches the wrong device.

`thirty_devices.py` is the devices, `operate_thirty_devices.sh` the operator. Fourteen speak TCP, nine UDP,
six are serial lines, and one more claims the name of another.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from programs import JACKFIELD, HubProcess, Process, Spawn, StartHub, wait_for

HERE = Path(__file__).parent
NAMES = [f"dev{number:02}" for number in range(1, 30)]
SERIAL = NAMES[23:]
HALL = ("dev02", "dev16", "dev25")  # have a tag
TWIN = "dev05-twin"
LIMIT = 300.0


class Devices:
    """The devices' program: commands in, a line of JSON out for each."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.answers = 0

    def answer(self) -> dict[str, Any]:
        self.answers += 1
        line = self.process.seen(rb"\A(?:[^\n]*\n){%d}([^\n]*)\n" % (self.answers - 1), deadline=LIMIT)[1]
        answer: dict[str, Any] = json.loads(line)
        return answer

    def do(self, command: str) -> dict[str, Any]:
        self.process.write(command.encode() + b"\n")
        return self.answer()

    def heard(self) -> dict[str, list[str]]:
        """What each was told and was meant to be told."""
        return {name: said["heard"] for name, said in self.do("report").items()}

    def asked(self) -> dict[str, int]:
        """How often each was asked for its version."""
        return {name: said["asked"] for name, said in self.do("report").items()}

    def wrong(self) -> dict[str, list[str]]:
        """What reached somebody that it was not for."""
        return {name: said["wrong"] for name, said in self.do("report").items() if said["wrong"]}


@pytest.fixture
def hub(start_hub: StartHub) -> HubProcess:
    addresses = ("tcp://127.0.0.1:0,framing=line", "udp://127.0.0.1:0,conflict=newer,idle_timeout=1h")
    return start_hub(*addresses, "--identify", r"^id=(\w+)")


@pytest.fixture
def devices(hub: HubProcess, spawn: Spawn, directory: Path) -> Devices:
    program = [sys.executable, HERE / "thirty_devices.py", directory, str(hub.port(0)), str(hub.port(1))]
    return Devices(spawn(*program))


def operate(hub: HubProcess, *step: str, code: int = 0) -> str:
    """One step of the operator's script; what it printed."""
    environment = {**hub.environment, "PATH": f"{JACKFIELD.parent}:{hub.environment['PATH']}"}
    done = subprocess.run(
        [HERE / "operate_thirty_devices.sh", *step],
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.returncode == code, done
    return done.stdout


def standing(hub: HubProcess) -> dict[str, str]:
    """Who is connected, by name, and from where."""
    return {client["name"]: client["peer"] for client in hub.clients() if client["state"] == "connected"}


def wait_until_all_stand(hub: HubProcess, places: dict[str, str]) -> None:
    """Until every device has its name, at the place that it came from last."""

    def they_do() -> bool:
        there = standing(hub)
        return all(name in there and (name in SERIAL or there[name] == places[name]) for name in NAMES)

    wait_for(they_do, "thirty devices under their names", deadline=LIMIT)


def twin_of(hub: HubProcess) -> str:
    """What the hub calls the one that claims a name which another one has."""
    found = wait_for(
        lambda: [one for one in hub.clients() if one.get("conflict") and one["protocol"] == "tcp"]
    )
    assert [one["conflict"] for one in found] == ["dev05"]
    name: str = found[0]["name"]
    assert name not in NAMES
    return name


def told(word: str, step: int) -> dict[str, list[str]]:
    """What `operate_thirty_devices.sh talk WORD STEP` has for each device."""
    alone = NAMES[::step]
    return {
        name: [
            *([f"{word} alone"] if name in alone else []),
            f"{word} by a pattern",
            *([f"{word} by a tag"] if name in HALL else []),
        ]
        for name in NAMES
    }


@pytest.mark.timeout(900)
def test_thirty_devices(hub: HubProcess, devices: Devices, directory: Path) -> None:
    places = devices.answer()
    assert list(places) == NAMES
    operate(hub, "dial", str(directory))
    wait_until_all_stand(hub, places)
    devices.do("twin")
    operate(hub, "talk", "first", "3")
    hub.do("send", twin_of(hub), f"{TWIN}: first alone")
    expected = told("first", 3) | {TWIN: ["first alone"]}
    wait_for(lambda: devices.heard() == expected, "what was said first", deadline=LIMIT)

    table = operate(hub, "ask", code=8)
    assert re.search(r"^ +26  answered  version 1\.4 ", table, re.MULTILINE), table
    assert re.search(r"^ +2  answered  version 1\.3 .* dev11, dev20$", table, re.MULTILINE), table
    assert re.search(r"^ +1  left .* dev14$", table, re.MULTILINE), table
    assert [one["name"] for one in hub.clients() if one["state"] == "absent"] == ["dev14"]

    again = devices.do("again")
    assert sum(again[name] != places[name] for name in NAMES if name not in SERIAL) > 20, (
        "the ports are others"
    )
    wait_until_all_stand(hub, again)
    devices.do("twin")
    operate(hub, "talk", "second", "1")
    hub.do("send", twin_of(hub), f"{TWIN}: second alone")
    for name, words in told("second", 1).items():
        expected[name] += words
    expected[TWIN] += ["second alone"]
    wait_for(lambda: devices.heard() == expected, "what was said second", deadline=LIMIT)

    table = operate(hub, "wave", code=9)
    assert re.search(r"^halted after wave \d of 6, ", table, re.MULTILINE), table
    passed_over = re.search(r"^ +\d+  not sent to +(dev.*)$", table, re.MULTILINE)
    assert passed_over is not None, table
    once = {name for name, asked in devices.asked().items() if asked == 1}
    assert once == set(passed_over[1].split(", ")), (
        "who is named there, and nobody else, was asked only before"
    )
    assert devices.wrong() == {}, "something reached the wrong device"
