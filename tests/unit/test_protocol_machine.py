"""Both ends of the protocol against each other, and against anything at all."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from jackfield import portable
from jackfield.portable import Connection

HELLO = {"instance": "i1", "agent": "test", "services": ["channel"]}
SESSION = {"id": "s1", "key": "k1"}


def welcomed(**options: Any) -> tuple[Connection, Connection]:
    """A client and a hub behind their handshake."""
    client, hub = Connection(hello=HELLO, **options), Connection(**options)
    client.start(0.0)
    for message in client.take():
        hub.receive(message, 0.0)
    hub.welcome({"id": "7", "session": SESSION}, 0.0)
    for message in hub.take():
        client.receive(message, 0.0)
    assert client.is_open
    assert hub.is_open
    return client, hub


frames = st.builds(
    portable.encode,
    st.sampled_from([0, 1, 2, 3, 4, 5, 2**31 - 1, 2**31, 2**32 - 1]),
    st.integers(0, 9),
    st.one_of(
        st.binary(max_size=12),
        st.sampled_from([b"{}", b'{"type":"ok","n":1}', b'{"to":"a","service":"b","credit":50}', bytes(8)]),
        st.sampled_from([b'{"from":{"id":"1"},"service":"b","credit":50}', b'{"type":"error"}', b"[]"]),
    ),
    st.integers(0, 3),
)
messages = st.lists(st.one_of(frames, st.binary(max_size=40), st.just(portable.MAGIC)), max_size=30)


@given(messages, st.booleans(), st.booleans())
def test_any_messages_are_survived(sent: list[bytes], to_client: bool, behind_handshake: bool) -> None:
    if behind_handshake:
        end = welcomed()[0 if to_client else 1]
    else:
        end = Connection(hello=HELLO) if to_client else Connection()
        if to_client:
            end.start(0.0)
    for number, message in enumerate(sent):
        for event in end.receive(message, float(number)):
            if isinstance(event, portable.Opened):
                end.accept(event.stream, 100)
        end.tick(float(number))
    assert len(end.streams) <= len(sent)
    for message in end.take():
        assert len(message) <= portable.MAX_MESSAGE


class Pair:
    """A client and a hub over connections that break, and lose what is on its way."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.client, self.hub = welcomed()
        self.ways: tuple[list[bytes], list[bytes]] = ([], [])
        self.heard: tuple[list[Any], list[Any]] = ([], [])
        self.now = 0.0
        self.breaks = 0

    def carry(self) -> None:
        """Take what both have to send, and deliver some of it."""
        self.now += 0.3
        for index, end in enumerate((self.client, self.hub)):
            end.tick(self.now)
            self.ways[index].extend(end.take())
        for index, end in enumerate((self.hub, self.client)):
            for _ in range(self.chance.randrange(6)):
                if self.ways[index]:
                    self.hear(index, end.receive(self.ways[index].pop(0), self.now))

    def hear(self, index: int, events: list[Any]) -> None:
        for event in events:
            assert not isinstance(event, portable.Failed), event
            if isinstance(event, portable.Control):
                self.heard[index].append(event.message["number"])

    def break_off(self) -> None:
        self.breaks += 1
        self.ways[0].clear()
        self.ways[1].clear()
        self.client.lost()
        fresh = Connection()
        self.client.start(self.now)
        for message in self.client.take():
            fresh.receive(message, self.now)
        events = fresh.welcome({"id": "7", "session": {"id": "s2", "key": "k2"}}, self.now, resume=self.hub)
        assert events[-1].resumed
        self.hub = fresh


def test_sessions_lose_and_double_nothing() -> None:
    breaks = 0
    for seed in range(60):
        pair = Pair(seed)
        sent = [0, 0]
        for _ in range(150):
            for index, end in enumerate((pair.client, pair.hub)):
                for _ in range(pair.chance.randrange(3)):
                    sent[index] += 1
                    end.control({"type": "x", "number": sent[index]})
            pair.carry()
            if pair.chance.random() < 0.1:
                pair.break_off()
        while len(pair.heard[0]) < sent[0] or len(pair.heard[1]) < sent[1]:
            pair.carry()
        for index in (0, 1):
            assert pair.heard[index] == list(range(1, sent[index] + 1)), seed
        for _ in range(20):
            pair.carry()
        assert pair.client.unacknowledged == 0
        breaks += pair.breaks
    assert breaks > 500


def test_a_hub_keeps_no_more_than_it_may() -> None:
    _, hub = welcomed(retained=10_000)
    for number in range(5_000):
        hub.control({"type": "x", "number": number})
        hub.take()
    assert hub.unacknowledged <= 10_000
