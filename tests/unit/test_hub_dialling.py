"""Dialling in the hub: what is planned from an address, and how one connection follows another."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support import eventually

import jackfield
from jackfield import Address
from jackfield.hub.dial_plan import DialPlan, plan_dial
from jackfield.hub.dialling import Dial, Dialling
from jackfield.hub.plan import PlanError, plan_listeners
from jackfield.hub.roster import NameRefused
from jackfield.hub.server import Hub, Settings

SOON = jackfield.Backoff(first=0.01, maximum=0.02)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("tcp://10.0.0.7:4001", "10.0.0.7-4001"),
        ("tcp://[fe80::1%25eth0]:4001", "fe80-1-eth0-4001"),
        ("serial:///dev/ttyUSB0?baud=115200", "ttyUSB0"),
        ("serial:///dev/serial/by-id/usb-FTDI_A1-if00", "usb-FTDI_A1-if00"),
        ("unix://@meter", "meter"),
        ("tcp://h:1?name=press", "press"),
    ],
)
def test_a_name_comes_from_the_address(text: str, name: str) -> None:
    assert plan_dial(Address.parse(text)).name == name


def test_a_plan_is_what_was_asked_for_and_the_same_when_it_is_kept() -> None:
    plan = plan_dial(Address.parse("tcp://h:1?name=press&eol=crlf&nodelay=no"), framing="none")
    assert str(plan.plan.address) == "tcp://h:1?nodelay=no"
    assert (plan.plan.framing, plan.plan.ending_bytes, plan.identity) == ("none", b"\r\n", "dial:press")
    assert DialPlan.of_document("press", plan.document()) == plan
    framed = plan_dial(Address.parse("serial:///dev/ttyS0?framing=cobs"), name="s")
    assert (framed.plan.framing, framed.plan.ending_bytes) == ("cobs", b"")
    assert DialPlan.of_document("s", framed.document()) == framed


def test_what_cannot_be_planned() -> None:
    for text, kind in (
        ("stdio:", PlanError),
        ("tcp://h:1?eol=wide", PlanError),
        ("tcp://h:1?name=all", NameRefused),
        ("tcp://h:1?name=tcp-7", NameRefused),
        ("tcp://h:1?nodelya=no", jackfield.InvalidOption),
        ("tcp://h:1?framing=lnie", jackfield.InvalidFraming),
        ("udp://h:1?framing=line", jackfield.NotSupported),
    ):
        with pytest.raises(kind):
            plan_dial(Address.parse(text))


def test_how_it_stands_in_a_sentence() -> None:
    dial = Dial(plan_dial(Address.parse("tcp://h:1"), name="press"), lasting=True)
    assert dial.explain(0.0) == "connecting"
    dial.state, dial.reason, dial.next_at = "waiting", "no such device", 13.0
    assert dial.explain(10.0) == 'next attempt in 3.0 s because "no such device"'
    dial.state = "connecting"
    assert dial.explain(10.0) == 'connecting again, because "no such device"'
    dial.state, dial.since = "connected", 0.0
    assert dial.explain(10.0) == "connected since 1970-01-01T00:00:00.000Z"


@contextlib.asynccontextmanager
async def hub_with(tmp_path: Path, dialling: Dialling) -> AsyncIterator[Hub]:
    plans = plan_listeners([Address.parse("tcp://127.0.0.1:0")])
    hub = Hub(Settings(plans, tmp_path / "hub.sock"), parts=[dialling])
    await hub.open()
    running = asyncio.create_task(hub.run())
    try:
        yield hub
    finally:
        hub.stop("the test ends")
        await running
        await hub.close()
        left = [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("dial ")]
        assert left == []


def test_a_peer_that_ends_at_once_is_waited_for_longer_each_time(tmp_path: Path) -> None:
    async def main() -> None:
        async with jackfield.listen("tcp://127.0.0.1:0") as listener:
            dialling = Dialling(
                [plan_dial(listener.address, name="press")], backoff=jackfield.Backoff(0.01, jitter=0)
            )
            async with hub_with(tmp_path, dialling):
                (dial,) = dialling
                for _ in range(4):
                    (await listener.accept(30)).abort()
                await eventually(lambda: dial.attempt >= 4)
                assert "reset" in dial.reason or "ended" in dial.reason

    asyncio.run(main())


def test_many_are_dialled_and_all_end_with_the_hub(tmp_path: Path) -> None:
    async def main() -> None:
        async with jackfield.listen("tcp://127.0.0.1:0") as listener:
            plans = [plan_dial(listener.address, name=f"dev{number}") for number in range(30)]
            dialling = Dialling(plans, backoff=SOON)
            async with listener.serving(_echo), hub_with(tmp_path, dialling) as hub:
                await eventually(
                    lambda: len(hub) == 30 and all(dial.state == "connected" for dial in dialling)
                )
                names = {candidate.name for candidate in hub}
                await eventually(lambda: {c.name for c in hub} == {f"dev{number}" for number in range(30)})
                assert len(names) == 30

    asyncio.run(main())


async def _echo(channel: jackfield.Channel) -> None:
    async for data in channel:
        await channel.send(data)


def test_a_name_that_somebody_has_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        dialling = Dialling()
        async with hub_with(tmp_path, dialling) as hub:
            plan = plan_dial(Address.parse("tcp://127.0.0.1:1"), name="press")
            dialling.add(plan)
            with pytest.raises(ValueError, match="dialled already"):
                dialling.add(plan)
            (dial,) = dialling
            assert dialling.find("press") is dial
            assert hub.state.load("dial") == {"press": plan.document()}
            await dialling.remove(dial, by="test")
            assert list(dialling) == []
            assert hub.state.load("dial") == {}
            assert list(hub.identities.absent()) == []

    asyncio.run(main())
