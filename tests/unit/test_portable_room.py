"""A room in portable.py: each message once and in order, whatever happens on the way."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from background import Background
from native_peer import running_hub

from jackfield import portable
from jackfield.hub.rooms.rooms import Rooms
from jackfield.hub.server import Hub
from jackfield.portable import Client, Refused, Room


class Hall:
    """A hub in another thread."""

    def __init__(self, background: Background) -> None:
        self._background = background
        self.hub: Hub = background.hub
        self.address = str(self.hub.listeners[0][0].address.without_options())

    def do(self, function: Any) -> Any:
        return self._background.call(function)

    def cut(self, client: Client, *, for_good: bool = False) -> None:
        """Lose a client's connection, and with ``for_good`` its session."""

        def let_go() -> None:
            member = self.hub.member(int(client._machine.welcomed["id"]))
            if member is not None:
                self.hub.let_go(member, "cut", 0.0, for_good=for_good)

        self.do(let_go)


@pytest.fixture
def hall(directory: Path) -> Iterator[Hall]:
    with Background(lambda: running_hub(directory)) as background:
        yield Hall(background)


@contextlib.contextmanager
def two(hall: Hall, *, durable: bool = True) -> Iterator[tuple[Client, Room, Client, Room]]:
    with (
        portable.connect(hall.address, name="alice") as alice,
        portable.connect(hall.address, name="bob") as bob,
    ):
        hers = alice.join("ops", create=True, durable=durable, timeout=10.0)
        yield alice, hers, bob, bob.join("ops", timeout=10.0)


def heard(room: Room, count: int) -> list[tuple[int, bytes, int]]:
    return [(line.sequence, line.data, line.missed) for line in (room.read(20.0) for _ in range(count))]


def said(first: int, last: int) -> list[tuple[int, bytes, int]]:
    return [(number, b"%d" % number, 0) for number in range(first, last + 1)]


def test_what_is_published_is_stored_and_comes_to_all_in_order(hall: Hall) -> None:
    with two(hall) as (_, hers, bob, his):
        assert (hers.durable, his.durable) == (True, True)
        for number in range(1, 51):
            assert hers.publish(b"%d" % number, 10.0) == number
        assert his.publish(b"\xff\x00", 10.0) == 51
        assert heard(his, 50) == heard(hers, 50) == said(1, 50)
        line = hers.read(10.0)
        assert (line.sender, line.data) == ("bob", b"\xff\x00")
        assert bob.join("ops") is his
        with portable.connect(hall.address, name="carol") as carol:
            room = carol.join("ops", after=49, timeout=10.0)
            assert heard(room, 2) == [*said(50, 50), (51, b"\xff\x00", 0)]
            assert [line.data for line in room.history(3)] == [b"49", b"50", b"\xff\x00"]
            room.leave()
            with pytest.raises(ConnectionAbortedError, match="the room ops was left"):
                room.read(1.0)
        with pytest.raises(TimeoutError, match=r"nobody spoke in ops within 0\.\d* s"):
            hers.read(0.05)
        with pytest.raises(ValueError, match="45001 bytes are too long for a room: 45000 at most"):
            hers.publish(b"x" * 45_001)


@pytest.mark.parametrize("for_good", [False, True])
def test_a_lost_connection_loses_and_doubles_nothing(hall: Hall, for_good: bool) -> None:
    """With the session that goes on, and with another one, which joins again."""
    with two(hall) as (alice, hers, bob, his):

        def publish() -> None:
            for number in range(1, 201):
                hers.publish(b"%d" % number, 30.0)

        publishing = threading.Thread(target=publish)
        publishing.start()
        found = heard(his, 40)
        hall.cut(bob, for_good=for_good)
        found += heard(his, 40)
        hall.cut(alice, for_good=for_good)
        found += heard(his, 120)
        publishing.join(30.0)
        assert not publishing.is_alive()
        assert found == said(1, 200)
        assert [each[1] for each in said(1, 200)] == [line.data for line in history(his)]


def history(room: Room) -> list[portable.Line]:
    answer = room._client.control("read", room=room.name, after=0, limit=1000)
    return [room._line(row) for row in answer["messages"]]


def test_a_slow_program_reads_the_rest_from_the_store(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portable, "MOST_LETTERS", 10)
    with two(hall) as (_, hers, _, his):
        for number in range(1, 251):
            hers.publish(b"%d" % number, 10.0)
        assert len(his._lines) == 10
        assert heard(his, 250) == said(1, 250)
        hers.publish(b"251", 10.0)
        assert heard(his, 1) == said(251, 251)


def test_what_is_lost_where_nothing_is_stored_is_counted(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    with two(hall, durable=False) as (_, hers, _, his):
        assert not his.durable
        for number in range(1, 101):
            assert hers.publish(b"%d" % number, 10.0) == 0
        assert heard(his, 100) == said(1, 100)
        his._next = 99  # as if two had come and not been taken
        his._hear(portable.Data(his._stream.number if his._stream else 0, frame(his, 105), False, True))
        line = his._lines.popleft()
        assert (line.sequence, line.missed) == (105, 6)


def frame(room: Room, sequence: int) -> bytes:
    import struct

    return struct.pack(">IQQ", room._source, sequence, 1) + b"x"


def test_a_message_that_is_longer_than_the_credit_waits_for_it(hall: Hall) -> None:
    """What is published is one frame: it is not parted."""
    with two(hall) as (_, hers, _, his):
        senders = [threading.Thread(target=hers.publish, args=(b"x" * 45_000, 30.0)) for _ in range(60)]
        for sender in senders:
            sender.start()
        assert [len(his.read(20.0).data) for _ in senders] == [45_000] * 60
        for sender in senders:
            sender.join(20.0)
            assert not sender.is_alive()


def test_what_ends_a_membership(hall: Hall) -> None:
    with two(hall) as (_, hers, _, his):
        rooms = hall.hub.part(Rooms)
        assert rooms is not None

        def put_out() -> None:
            room = rooms.rooms["ops"]
            rooms.kick(room, room.named("bob")[0], by="test")

        hall.do(put_out)
        with pytest.raises(ConnectionAbortedError, match="not in the room ops any more: put out by test"):
            his.read(20.0)
        with pytest.raises(ConnectionAbortedError, match="put out by test"):
            his.publish(b"x", 20.0)
        assert hers.publish(b"still here", 10.0) == 1
        with (
            portable.connect(hall.address, name="carol") as carol,
            pytest.raises(Refused, match=r"there is no room 'nowhere'.*\(no_such_room\)"),
        ):
            carol.join("nowhere", timeout=10.0)


def test_who_was_away_from_a_room_that_is_not_durable_hears_it_again(hall: Hall) -> None:
    with two(hall, durable=False) as (_, hers, bob, his):
        hers.publish(b"1", 10.0)
        assert heard(his, 1) == said(1, 1)
        hall.cut(bob)
        for number in range(2, 201):
            hers.publish(b"%d" % number, 10.0)
        assert heard(his, 199) == said(2, 200)
