"""One question to many clients: a merged table, waves, halting, and a thousand of them."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

from devices import Behaviour, byte_by_byte, devices, hangs_up, hostile, older, silent, version
from programs import JACKFIELD, HubProcess, Spawn, StartHub, wait_for
from support import quick_enough

ASK = ("version?", "--expect", "version", "--timeout")


def test_the_same_answers_stand_together_and_outliers_stand_out(hub: HubProcess) -> None:
    who: list[Behaviour] = [version, byte_by_byte, older, silent, hangs_up, version, hostile, version]
    with devices(hub.port(), who):
        hub.joined(len(who))
        done = hub.run("send", "tcp-*", *ASK, "3s")
        assert done.returncode == 7
        assert done.stderr == b"jackfield: 1 client did not answer in time; 1 client left\n"
        assert done.stdout.startswith(b"6 of 8 clients answered: fastest ")
        assert b"4 agree, 2 other answers" in done.stdout
        assert b"\x1b" not in done.stdout
        assert b" tcp-1, tcp-2, tcp-6 and 1 more\n" in done.stdout
        rows = [line.split() for line in done.stdout.splitlines()[3:]]
        assert [row[:2] for row in rows] == [[b"4", b"answered"]] + [[b"1", b"answered"]] * 2 + [
            [b"1", b"no"], [b"1", b"left"],
        ]  # fmt: skip
        assert {row[-1] for row in rows[1:]} == {b"tcp-3", b"tcp-4", b"tcp-5", b"tcp-7"}


def test_everyone_well_is_success_and_for_programs_each_is_told(hub: HubProcess) -> None:
    with devices(hub.port(), [version, older, version]):
        hub.joined(3)
        found = json.loads(hub.do("broadcast", "version?", "--expect", r"([\d.]+)", "--json"))
        assert {key: found[key] for key in ("clients", "well", "failed", "not_sent")} == {
            "clients": 3, "well": 3, "failed": 0, "not_sent": 0,
        }  # fmt: skip
        assert found["fastest"] <= found["median"] <= found["slowest"]
        assert [(each["id"], each["groups"]) for each in found["results"]] == [
            (1, ["1.4.2"]), (2, ["1.4.1"]), (3, ["1.4.2"]),
        ]  # fmt: skip


def test_waves_wait_for_each_other_and_halt(hub: HubProcess) -> None:
    with devices(hub.port(), [version, silent, version, silent, version, version]):
        hub.joined(6)
        found = hub.run("send", "all", *ASK, "100ms", "--wave", "2", "--halt-on", "2", "--json")
        assert found.returncode == 9
        assert (
            found.stderr
            == b"jackfield: 2 clients did not answer in time; halted, and 2 clients not sent to\n"
        )
        told = json.loads(found.stdout)
        assert [each["outcome"] for each in told["results"]] == [
            "answered", "silent", "answered", "silent", "not_sent", "not_sent",
        ]  # fmt: skip
        assert told["halted"] is True
        assert [client["bytes_out"] for client in hub.clients()] == [9, 9, 9, 9, 0, 0]
        shown = hub.run("send", "all", *ASK, "100ms", "--wave", "3", "--halt-on", "10%", "--pause", "10ms")
        assert b"halted after wave 1 of 2, 1 failed: 3 not sent to" in shown.stdout
        assert b"3  not sent to" in shown.stdout
        assert b" tcp-4, tcp-5, tcp-6\n" in shown.stdout


def test_a_wave_is_over_before_the_next_begins(hub: HubProcess) -> None:
    under_way, most = 0, 0

    async def counts(line: bytes) -> AsyncIterator[bytes]:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.02)
        under_way -= 1
        yield b"version\n"

    with devices(hub.port(), [counts] * 12):
        hub.joined(12)
        hub.do("send", "all", *ASK, "20s", "--wave", "4")
    assert 1 <= most <= 4


def test_a_rehearsal_sends_nothing(hub: HubProcess) -> None:
    with devices(hub.port(), [version] * 3):
        hub.joined(3)
        said = hub.do(
            "send", "all", *ASK, "1s", "--wave", "2", "--halt-on", "50%", "--crc", "sum8", "--dry-run"
        )
        assert b"would send 9 bytes to 3 clients, each with the line ending of its listener: version?" in said
        assert b"no wave would start once 2 clients failed" in said
        assert [line.split()[:3] for line in said.splitlines()[4:7]] == [
            [b"1", b"1", b"tcp-1"], [b"1", b"2", b"tcp-2"], [b"2", b"3", b"tcp-3"],
        ]  # fmt: skip
        found = json.loads(hub.do("send", "2", "--hex", "00ff", "--dry-run", "--json"))
        assert (found["data"], found["ending"], [each["name"] for each in found["clients"]]) == (
            "00ff",
            "none",
            ["tcp-2"],
        )
        assert [client["bytes_out"] for client in hub.clients()] == [0, 0, 0]


def test_a_file_in_waves_reaches_slow_readers_whole(start_hub: StartHub, directory: Path) -> None:
    hub = start_hub("tcp://127.0.0.1:0,send_buffer=64K", "--queue", "128K")
    firmware = directory / "firmware"
    firmware.write_bytes(b"x" * 2_000_000 + b"\n")
    with devices(hub.port(), [version] * 3):
        hub.joined(3)
        words = ["--expect", "version", "--timeout", "20s", "--wave", "2"]
        said = hub.do("send", "all", "--file", str(firmware), *words)
        assert said.startswith(b"3 of 3 clients answered")
        assert [client["bytes_out"] for client in hub.clients()] == [2_000_001] * 3


def test_who_is_absent_is_told(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0", "--identify", r"id=(\w+)\n")
    with (
        socket.create_connection(("127.0.0.1", hub.port())) as here,
        socket.create_connection(("127.0.0.1", hub.port())) as gone,
    ):
        here.sendall(b"id=dev1\n")
        gone.sendall(b"id=dev2\n")
        wait_for(lambda: {client["name"] for client in hub.clients()} == {"dev1", "dev2"}, "their names")
        gone.close()
        hub.seen(rb" left id=\d+ name=dev2 ")
        found = json.loads(hub.do("send", "dev*", "x", "--wave", "5", "--json"))
        assert (found["clients"], found["well"], found["absent"]) == (1, 1, ["dev2"])
        assert hub.do("send", "dev*", "x", "--wave", "5").splitlines()[-1].split() == [
            b"1",
            b"absent",
            b"dev2",
        ]
        done = hub.run("send", "dev2", "x", "--expect", "y")
        assert done.returncode == 4
        assert b"absent: dev2" in done.stderr


def test_a_thousand_clients(hub: HubProcess) -> None:
    who: list[Behaviour] = [version] * 1000
    who[500], who[700] = silent, older
    with devices(hub.port(), who):
        hub.joined(1000)

        def ask() -> float:
            """Seconds that it took beyond those in which one is silent."""
            began = time.monotonic()
            done = hub.run("send", "all", *ASK, "1s")
            assert done.returncode == 7
            assert done.stdout.startswith(b"999 of 1000 clients answered")
            assert b"998 agree, 1 other answer" in done.stdout
            assert b"tcp-501\n" in done.stdout
            assert b"tcp-701\n" in done.stdout
            return time.monotonic() - began - 1.0

        quick_enough(ask, 2.0)
        waves = json.loads(hub.run("send", "all", *ASK, "200ms", "--wave", "100", "--json").stdout)
        assert (waves["well"], waves["failed"]) == (999, 1)


def test_others_are_served_while_a_thousand_are_asked(hub: HubProcess, spawn: Spawn) -> None:
    with devices(hub.port(), [version] * 999 + [silent]):
        hub.joined(1000)
        again = spawn(JACKFIELD, "send", "all", *ASK, "50ms", "--every", "1ms", environment=hub.environment)
        again.seen(rb"tcp-999")

        def status() -> float:
            began = time.monotonic()
            hub.do("status")
            return time.monotonic() - began

        quick_enough(status, 1.5)
        assert again.popen.poll() is None


def test_hostile_crowds_cost_bounded_memory_and_time(hub: HubProcess) -> None:
    with devices(hub.port(), [hostile] * 30 + [version]):
        hub.joined(31)

        def resident() -> int:
            status = Path(f"/proc/{hub.pid}/status").read_text()
            return int(status.split("VmRSS:")[1].split()[0]) * 1024

        before = resident()
        done = hub.run("send", "all", "version?", "--expect", "x{200}never", "--timeout", "2s")
        assert done.returncode == 7
        assert resident() - before < 100_000_000
        wait_for(lambda: hub.run("send", "31", *ASK, "10s").returncode == 0, "the hub")
