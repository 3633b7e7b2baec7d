"""The hub's recorder: whom it records, in which order, what a slow sink costs, and where files begin."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import jackfield
from jackfield.hub.journal import Event
from jackfield.hub.part import Part
from jackfield.hub.plan import plan_listeners
from jackfield.hub.recorder import WINDOW, Recorder
from jackfield.hub.server import Hub, Settings
from jackfield.recording import Client, Closed, Data, Decoder, Happened, Left, Lost, Opened, Record
from jackfield.recording.tape import Chunk, Tape


class Sink:
    """Takes chunks, and acknowledges them at once unless it `holds`."""

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []
        self.holds = False
        self.recorder: Recorder | None = None
        self.changed = asyncio.Event()

    def __call__(self, chunk: Chunk) -> None:
        self.chunks.append(chunk)
        self.changed.set()
        if not self.holds:
            asyncio.get_running_loop().call_soon(self.acknowledge)

    def acknowledge(self) -> None:
        assert self.recorder is not None
        self.recorder.acknowledge()

    def files(self) -> list[list[Record]]:
        found: list[list[Record]] = []
        for chunk in self.chunks:
            if chunk.begins:
                decoder = Decoder()
                found.append([])
            found[-1] += [record for _, record in decoder.feed(chunk.data)]
        return found

    def records(self) -> list[Record]:
        return [record for file in self.files() for record in file]

    async def wait_until(self, condition: Callable[[list[Record]], Any]) -> None:
        async with asyncio.timeout(30):
            while not condition(self.records()):
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def hub_with(*parts: Part, address: str = "tcp://127.0.0.1:0,framing=line") -> AsyncIterator[Hub]:
    address, _, framing = address.partition(",framing=")
    plans = plan_listeners([jackfield.Address.parse(address)], framing=framing or "none")
    hub = Hub(Settings(plans, Path("/nowhere/hub.sock")), parts=parts)
    await hub.open()
    running = asyncio.create_task(hub.run())
    try:
        yield hub
    finally:
        hub.stop("test")
        await running
        await hub.close()


async def all_came(hub: Hub, count: int) -> None:
    async with asyncio.timeout(30):
        while hub.joined < count:  # noqa: ASYNC110 - the hub tells its parts, and has none yet
            await asyncio.sleep(0)


def recorder(sink: Sink, **options: Any) -> Recorder:
    options.setdefault("clock", itertools.count(1000).__next__)
    made = sink.recorder = Recorder(sink, **options)
    return made


def said(records: list[Record]) -> list[tuple[int, str, bytes, str]]:
    return [(each.ref, each.direction, each.data, each.by) for each in records if isinstance(each, Data)]


def test_a_conversation_is_recorded_from_the_first_fact_to_the_last() -> None:
    async def main() -> None:
        sink = Sink()
        async with hub_with(recorder(sink, clock=itertools.count(1000).__next__)) as hub:
            async with jackfield.connect(hub.listeners[0][0].address, framing="line") as client:
                port = client.local.port
                await client.send(b"hello")
                await sink.wait_until(said)
                assert hub.tell(1, b"good day", by="test")
                await client.receive(30)
            await sink.wait_until(lambda records: isinstance(records[-1], Left))
        records = sink.records()
        listening = hub.listeners[0][0].address.port
        assert [type(record) for record in records] == [Opened, Client, Data, Data, Left, Closed]
        assert records[1] == Client(
            1001, 1, 1, "tcp-1", "tcp", "127.0.0.1", listening, "127.0.0.1", port, "line"
        )
        assert said(records) == [(1, "in", b"hello", ""), (1, "out", b"good day", "test")]
        assert [record.time for record in records] == sorted(record.time for record in records)  # type: ignore[union-attr]
        assert records[-1].reason == "the hub ended"  # type: ignore[union-attr]

    jackfield.run(main)


def test_who_is_there_who_comes_who_is_renamed_and_who_is_not_meant() -> None:
    async def main() -> None:
        sink = Sink()
        async with hub_with() as hub:
            address = hub.listeners[0][0].address
            async with (
                jackfield.connect(address, framing="line") as one,
                jackfield.connect(address, framing="line") as two,
            ):
                await all_came(hub, 2)
                hub.identities.rename(1, "dev1")
                taken = recorder(sink, target="dev*,nobody")
                await hub.attach(taken)
                await one.send(b"from dev1")
                await two.send(b"not meant")
                await sink.wait_until(said)
                hub.identities.rename(2, "dev2")
                hub.identities.rename(1, "door")
                await two.send(b"from dev2")
                await sink.wait_until(lambda records: len(said(records)) == 2)
                await one.send(b"from door")
                await sink.wait_until(lambda records: len(said(records)) == 3)
                taken.end("enough")
                await taken.wait_finished()
                await one.send(b"after the end")
                await hub.detach(taken)
        records = sink.records()
        names = [(record.ref, record.name) for record in records if isinstance(record, Client)]
        assert names == [(1, "dev1"), (2, "dev2"), (1, "door")]
        assert [data for _, _, data, _ in said(records)] == [b"from dev1", b"from dev2", b"from door"]
        first = next(record for record in records if isinstance(record, Client))
        assert first.since is not None
        assert records[-1] == Closed(records[-1].time, "enough", len(records) - 1, 0)  # type: ignore[union-attr]
        assert (taken.clients, taken.lost) == (2, 0)

    jackfield.run(main)


def test_a_slow_sink_costs_records_that_are_counted_and_no_memory() -> None:
    async def main() -> None:
        sink = Sink()
        sink.holds = True
        taken = recorder(sink, limit=100_000)
        async with (
            hub_with(taken, address="tcp://127.0.0.1:0") as hub,
            jackfield.connect(hub.listeners[0][0].address) as client,
        ):
            await sink.wait_until(lambda records: len(records) == 2)
            member = hub.client(1)
            assert member is not None
            for number in range(1000):
                taken.heard(0.0, member, number.to_bytes(4, "big") + bytes(996))
            assert taken._tape.waiting <= 100_000
            assert taken.lost > 0
            lost = taken.lost
            sink.holds = False
            for _ in range(WINDOW):
                sink.acknowledge()
            await client.send(b"the last word")
            await sink.wait_until(lambda records: said(records)[-1:] == [(1, "in", b"the last word", "")])
        records = sink.records()
        told = [record for record in records if isinstance(record, Lost)]
        assert [record.records for record in told] == [lost]
        assert [record.bytes for record in told] == [1000 * lost]
        numbers = [int.from_bytes(data[:4], "big") for _, _, data, _ in said(records)[:-1]]
        assert numbers == list(range(1000 - lost)), "what is there is the beginning, whole"
        place = records.index(told[0])
        assert len(said(records[:place])) == 1000 - lost, "the loss is told where it was"

    jackfield.run(main)


def test_a_client_whose_introduction_had_no_room_is_introduced_later() -> None:
    tape = Tape(b"abcd", limit=1000)
    tape.begin(Opened(1))
    while tape.data(2, 1, False, bytes(100)):
        pass
    spare = 0
    while tape.add(Happened(3, "x", {"text": "y" * 4000}), 3):
        spare += 1
    assert 200 < spare < 300, "events have some room beyond that of data"
    assert tape.lost == 2
    while tape.take() is not None:
        pass
    assert tape.waiting == 0
    assert tape.data(4, 1, False, b"again")
    chunk = tape.take()
    assert chunk is not None
    assert (chunk.records, chunk.bytes, chunk.begins, chunk.ends) == (2, 5, False, False)


def test_files_roll_and_each_one_stands_alone() -> None:
    async def main() -> None:
        sink = Sink()
        taken = recorder(sink, roll=lambda written, now: written > 2000)
        async with hub_with(taken) as hub:
            async with jackfield.connect(hub.listeners[0][0].address, framing="line") as client:
                for number in range(20):
                    await client.send(b"%04d" % number + b"x" * 300)
                taken.happened(Event(5.0, "noted", (("id", 1),)))
                await sink.wait_until(lambda records: len(said(records)) == 20)
            await sink.wait_until(lambda records: isinstance(records[-1], Left))
        files = sink.files()
        assert len(files) >= 3
        for file in files:
            assert isinstance(file[0], Opened)
            assert isinstance(file[-1], Closed)
            refs = {record.ref for record in file if isinstance(record, Data)}
            introduced = {record.ref for record in file if isinstance(record, Client)}
            assert refs <= introduced
        everything = [data[:4] for file in files for _, _, data, _ in said(file)]
        assert everything == [b"%04d" % number for number in range(20)]
        assert Happened(5_000_000_000, "noted", {"id": 1}) in sink.records()

    jackfield.run(main)


def test_long_messages_and_datagrams() -> None:
    async def main() -> None:
        sink = Sink()
        async with (
            hub_with(recorder(sink), address="udp://[::1]:0") as hub,
            jackfield.connect(hub.listeners[0][0].address) as client,
        ):
            await client.send(b"odd")
            await client.send(b"")
            await client.send(bytes(60_000))
            await sink.wait_until(lambda records: len(said(records)) == 3)
        records = sink.records()
        assert [len(data) for _, _, data, _ in said(records)] == [3, 0, 60_000]
        who = next(record for record in records if isinstance(record, Client))
        assert (who.protocol, who.local_address, who.remote_address) == ("udp", "::1", "::1")

        long = Sink()
        taken = recorder(long)
        async with hub_with(taken) as hub, jackfield.connect(hub.listeners[0][0].address, framing="line"):
            await long.wait_until(lambda records: len(records) == 2)
            client = hub.client(1)
            assert client is not None
            taken.told(0.0, client, bytes(2_500_000), "test")
            await long.wait_until(lambda records: len(said(records)) == 3)
        assert [record.more for record in long.records() if isinstance(record, Data)] == [True, True, False]

    jackfield.run(main)


def test_nothing_is_attached_and_nothing_costs_when_nobody_records() -> None:
    async def main() -> None:
        sink = Sink()
        async with hub_with() as hub:
            assert not hub.parts.wants("heard")
            taken = recorder(sink)
            await hub.attach(taken)
            assert hub.parts.wants("heard")
            taken.end("enough")
            await hub.detach(taken)
            assert not hub.parts.wants("heard")
            assert hub.part(Recorder) is None

    jackfield.run(main)


def test_a_target_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="TARGET"):
        Recorder(lambda chunk: None, target=",")
