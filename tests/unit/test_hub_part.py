"""Parts of the hub: what they see, in which order, and that a broken one harms nobody."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import jackfield
from jackfield.hub.client import Client
from jackfield.hub.part import Part, Parts
from jackfield.hub.plan import plan_listeners
from jackfield.hub.sending import begin
from jackfield.hub.server import Hub, Settings


class Seeing(Part):
    """Notes everything that it sees."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []
        self.changed = asyncio.Event()
        self.state = "new"

    async def open(self, hub: Hub) -> None:
        self.state = "open"

    async def close(self) -> None:
        self.state = "closed"

    def _note(self, *what: Any) -> None:
        self.seen.append(what)
        self.changed.set()

    def came(self, now: float, client: Client) -> None:
        self._note("came", client.name)

    def went(self, now: float, client: Client, reason: str) -> None:
        self._note("went", client.name)

    def heard(self, now: float, client: Client, data: bytes) -> None:
        self._note("heard", client.name, data)

    def told(self, now: float, client: Client, data: bytes, by: str) -> None:
        self._note("told", client.name, data, by)

    async def wait_for(self, what: tuple[Any, ...]) -> None:
        while what not in self.seen:
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), 30)


class Broken(Part):
    def heard(self, now: float, client: Client, data: bytes) -> None:
        raise ValueError("a part that fails")


class Unopenable(Part):
    async def open(self, hub: Hub) -> None:
        raise OSError("no room for this part")


def hub_with(tmp_path: Path, *parts: Part) -> Hub:
    plans = plan_listeners([jackfield.Address.parse("tcp://127.0.0.1:0")], framing="line")
    return Hub(Settings(plans, tmp_path / "hub.sock"), parts=parts)


def test_a_part_sees_a_whole_conversation_in_order(tmp_path: Path) -> None:
    async def main() -> None:
        seeing, broken = Seeing(), Broken()
        hub = hub_with(tmp_path, broken, seeing)
        await hub.open()
        assert (hub.part(Seeing), hub.part(Unopenable)) == (seeing, None)
        running = asyncio.create_task(hub.run())
        async with jackfield.connect(hub.listeners[0][0].address, framing="line") as client:
            await client.send(b"hello")
            await seeing.wait_for(("heard", "tcp-1", b"hello"))
            assert hub.tell(1, b"good day", by="test")
            assert await client.receive(30) == b"good day"
            sending = await begin(hub, [1], b"", wait=0.0, by="pid:1")
            await sending.pass_on(b"again")
            assert await client.receive(30) == b"again"
        await seeing.wait_for(("went", "tcp-1"))
        assert not hub.tell(1, b"nobody", by="test")
        assert seeing.seen == [
            ("came", "tcp-1"),
            ("heard", "tcp-1", b"hello"),
            ("told", "tcp-1", b"good day", "test"),
            ("told", "tcp-1", b"again", "pid:1"),
            ("went", "tcp-1"),
        ]
        faults = [event for event in hub.journal.last(100) if event.kind == "fault"]
        assert [dict(event.facts) for event in faults] == [
            {"event": "heard", "error": "ValueError: a part that fails"}
        ]
        hub.stop("test")
        await running
        await hub.close()
        assert seeing.state == "closed"

    jackfield.run(main)


def test_a_part_that_cannot_open_keeps_the_hub_from_opening(tmp_path: Path) -> None:
    async def main() -> None:
        seeing = Seeing()
        hub = hub_with(tmp_path, seeing, Unopenable())
        with pytest.raises(OSError, match="no room"):
            await hub.open()
        assert seeing.state == "closed"
        assert all(listener.closed for listener, _ in hub.listeners)

    jackfield.run(main)


def test_what_nobody_overrides_is_not_wanted() -> None:
    async def main() -> None:
        parts = Parts(lambda what, problem: None)
        broken = Broken()
        await parts.attach(broken, None)  # type: ignore[arg-type]
        assert [parts.wants(what) for what in ("came", "went", "heard", "told")] == [
            False,
            False,
            True,
            False,
        ]
        await parts.detach(broken)
        await parts.detach(broken)
        assert not parts.wants("heard")

    jackfield.run(main)


def test_who_looks_on_sees_the_question_before_the_answer(tmp_path: Path) -> None:
    """Though it came later than the part that answers."""

    class Answering(Part):
        async def open(self, hub: Hub) -> None:
            self.hub = hub

        def heard(self, now: float, client: Client, data: bytes) -> None:
            self.hub.tell(client.id, b"answer", by="test")

    class LookingOn(Seeing):
        looks_on = True

    async def main() -> None:
        seeing = LookingOn()
        hub = hub_with(tmp_path, Answering(), seeing)
        await hub.open()
        running = asyncio.create_task(hub.run())
        async with jackfield.connect(hub.listeners[0][0].address, framing="line") as client:
            assert await client.request(b"question", timeout=30) == b"answer"
        assert seeing.seen[1:3] == [("heard", "tcp-1", b"question"), ("told", "tcp-1", b"answer", "test")]
        hub.stop("test")
        await running
        await hub.close()

    jackfield.run(main)
