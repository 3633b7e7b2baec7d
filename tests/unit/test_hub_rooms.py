"""Rooms without a network: names, members, sequences, what is remembered; and how plain programs chat."""

from __future__ import annotations

import pytest

from jackfield.hub.rooms import lines
from jackfield.hub.rooms.lines import Command, Line, LineReader, Pace, Say
from jackfield.hub.rooms.room import (
    LONGEST_BODY,
    LONGEST_TOPIC,
    RECENT,
    RECENT_BYTES,
    News,
    Room,
    RoomError,
    Seat,
    check_body,
    check_room_name,
    check_topic,
    pages,
    plain_may_enter,
)
from jackfield.hub.rooms.store import Message

HOSTILE = b"\x1b]0;owned\x07\x1b[2J\xe2\x80\xae'; DROP TABLE messages; --<script>\xff\x00"


def seat(name: str, *, sender: str = "") -> Seat:
    return Seat(0, "plain", 1, name, sender or name, 0.0)


def message(sequence: int, body: bytes = b"hello", *, name: str = "alice", at: float = 0.0) -> Message:
    return Message(sequence, at, name, name, sequence, body)


# -------------------------------------------------------------------- one room


@pytest.mark.parametrize("name", ["lobby", "Ops-2", "a", "räume", "聊天室", "v1.2_x+y", "x" * 64])
def test_names_of_rooms(name: str) -> None:
    assert check_room_name(name) == name


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "-x", "../x", "a/b", "a\nb", "a\x1b[2J", "x" * 65, "a'b", "_x", "a,b", "a\0b"]
)
def test_what_is_no_name_of_a_room(name: str) -> None:
    with pytest.raises(RoomError) as refused:
        check_room_name(name)
    assert refused.value.code == "bad_request"


def test_each_member_has_a_source_of_its_own_that_is_not_given_again() -> None:
    room = Room("lobby")
    first, second = room.enter(seat("alice")), room.enter(seat("bob"))
    assert (first.source, second.source) == (1, 2)
    assert room.leave(first)
    assert not room.leave(first)
    assert room.enter(seat("alice")).source == 3


def test_members_by_name() -> None:
    room = Room("lobby")
    for name in ("alice", "Bob", "zoé"):
        room.enter(seat(name))
    assert room.names() == ["alice", "Bob", "zoé"]
    assert [each.name for each in room.named("bob")] == ["Bob"]
    assert room.named("carol") == []


def test_who_may_be_called_what() -> None:
    room = Room("lobby")
    alice = room.enter(seat("alice"))
    room.check_nick("Alice", of=alice)
    room.check_nick("bob")
    for name in ("ALICE", "hub", "Operator", "all", "17", "tcp-3", "a b", "", "\x1b[2J", "x" * 65):
        with pytest.raises(RoomError):
            room.check_nick(name)


def test_what_is_remembered_is_bounded_by_count_and_by_bytes() -> None:
    room = Room("lobby")
    room.remember(message(number) for number in range(1, RECENT + 51))
    assert [each.sequence for each in room.recent(10**9)] == list(range(51, RECENT + 51))
    assert room.last == RECENT + 50
    room.remember(message(number, bytes(LONGEST_BODY)) for number in range(RECENT + 51, RECENT + 71))
    assert sum(len(each.body) for each in room.recent(10**9)) <= RECENT_BYTES
    assert room.recent(0) == []
    assert [each.sequence for each in room.after(RECENT + 69, 5)] == [RECENT + 70]


def test_topics_and_messages_have_a_longest() -> None:
    assert check_topic(" a \n b ") == "a b"
    assert len(check_topic("x" * LONGEST_TOPIC)) == LONGEST_TOPIC
    assert check_body(bytes(LONGEST_BODY))
    for check, value in ((check_topic, "x" * (LONGEST_TOPIC + 1)), (check_body, bytes(LONGEST_BODY + 1))):
        with pytest.raises(RoomError) as refused:
            check(value)  # type: ignore[operator]
        assert refused.value.code == "too_big"


def test_a_room_is_what_it_was_after_a_restart() -> None:
    room = Room("lobby", topic="x", open_to_plain=True, made_by="ann", created=7.0)
    again = Room.of_document("lobby", room.document())
    assert again.document() == room.document()
    for damaged in ({}, {**room.document(), "topic": "x" * 1000}, {**room.document(), "created": "never"}):
        with pytest.raises((KeyError, ValueError, RoomError)):
            Room.of_document("lobby", damaged)
    with pytest.raises(RoomError):
        Room.of_document("../lobby", room.document())


def test_where_plain_programs_may_go() -> None:
    assert plain_may_enter(Room("lobby"), "lobby")
    assert not plain_may_enter(Room("ops"), "lobby")
    assert plain_may_enter(Room("ops", open_to_plain=True), "lobby")


def test_whoever_came_and_went_meanwhile_is_no_news() -> None:
    news, room = News(), Room("lobby")
    alice, bob = room.enter(seat("alice")), room.enter(seat("bob"))
    news.enter(alice)
    news.change(alice, "tcp-1")
    news.leave(alice, "")
    assert not news
    news.change(bob, "tcp-2")
    news.change(bob, "robert")
    assert lines.news(news) == ["* tcp-2 is now bob"]
    news.leave(bob, "gone")
    assert lines.news(news) == ["* bob left (gone)"]


def test_pages_by_bytes() -> None:
    messages = [message(1, b"12345"), message(2, b"12345"), message(3, b"1" * 50), message(4, b"")]
    assert [[each.sequence for each in page] for page in pages(messages, 10)] == [[1, 2], [3], [4]]
    assert list(pages([], 10)) == []


# -------------------------------------------------------------------- lines


@pytest.mark.parametrize("step", [1, 2, 3, 1000])
def test_lines_come_whole_however_they_were_cut(step: int) -> None:
    data = b"one\ntwo\r\n\nthree"
    reader = LineReader()
    found: list[Line] = []
    for start in range(0, len(data), step):
        found += reader.feed(data[start : start + step])
    assert [line.data for line in found] == [b"one", b"two", b""]
    assert reader.crlf
    assert [line.data for line in reader.rest()] == [b"three"]
    assert reader.rest() == []


def test_a_packet_ends_its_line() -> None:
    reader = LineReader()
    assert [line.data for line in reader.feed(b"one\ntwo", whole=True)] == [b"one", b"two"]
    assert [line.data for line in reader.feed(b"three\n", whole=True)] == [b"three"]


@pytest.mark.parametrize("step", [1, 500, 4095, 4096, 4097, 100_000])
def test_a_long_line_is_cut_and_the_next_one_is_whole(step: int) -> None:
    data = b"x" * 10_000 + b"\nnext\n"
    reader = LineReader()
    found: list[Line] = []
    for start in range(0, len(data), step):
        found += reader.feed(data[start : start + step])
        assert len(reader._waiting) <= lines.LONGEST_LINE
    assert found == [Line(b"x" * 4096, 5904), Line(b"next")]


def test_what_telnet_negotiates_is_no_text() -> None:
    reader = LineReader()
    found = reader.feed(b"\xff\xfd\x03\xff\xfb\x18\xff\xfa\x18\x00xterm\xff\xf0hi there\r\0\n\xff\xf1")
    assert [line.data for line in found] == [b"hi there"]


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        (b"hello", Say(b"hello")),
        (b"  hello ", Say(b"  hello ")),
        (b"   ", None),
        (b"", None),
        (b"//etc", Say(b"/etc")),
        (b"/nick bob", Command("nick", "bob")),
        (b"/NICK  bob  ", Command("nick", "bob")),
        (b"/who", Command("who", "")),
        (b"/me waves", Say(b"/me waves")),
        (b"/me", Command("me", "")),
        (b"/msg bob a b", Command("msg", "bob a b")),
        (b"/etc/passwd is", Command("etc/passwd", "")),
        (b"/", Command("", "")),
        (b"/\xff\xfe", Command("\\xff\\xfe", "")),
        (HOSTILE, Say(HOSTILE)),
    ],
)
def test_what_a_line_means(line: bytes, meant: object) -> None:
    assert lines.parse(line) == meant


def test_nothing_that_is_said_steers_a_terminal() -> None:
    hostile = Message(1, 0.0, "x", "al\x1b[2Jice", 1, HOSTILE + b"\n* bob left\r\n\tfine")
    for shown in (lines.said(hostile), lines.past(hostile, 0.0), lines.private(hostile.name, hostile.body)):
        assert all(character in "\n\t" or character.isprintable() for character in shown)
    assert lines.said(hostile).split("\n")[1:] == ["al\\e[2Jice: * bob left", "al\\e[2Jice: \tfine"]


def test_what_somebody_does_and_what_is_too_long() -> None:
    assert lines.said(message(1, b"/me waves")) == "* alice waves"
    assert lines.said(message(1, b"")) == "alice: "
    many = lines.said(message(1, b"x\n" * 100)).split("\n")
    assert len(many) == lines.SHOWN_LINES + 1
    assert many[-1] == "alice: ... (200 bytes in all)"
    assert lines.said(message(1, b"y" * 60_000)).endswith("alice: ... (60000 bytes in all)")


def test_a_moment_of_today_and_of_another_day() -> None:
    assert len(lines.stamp(0.0, 0.0)) == 5
    assert lines.stamp(0.0, 7 * 86_400.0).endswith(lines.stamp(0.0, 0.0))
    assert lines.stamp(1e300, 0.0) == "--:--"


def test_a_newcomer_is_welcomed() -> None:
    room = Room("lobby", topic="tests")
    alice = room.enter(seat("alice"))
    assert lines.welcome(room, alice, [], 0.0)[1:] == ["* Topic: tests", "* Nobody else is here."]
    room.enter(seat("bob"))
    shown = lines.welcome(room, alice, [message(1)], 0.0)
    assert shown[0].startswith("* This is lobby. You are alice;")
    assert shown[2] == "* 2 are here: alice, bob"
    assert shown[3].endswith(" alice: hello")


def test_a_crowd_is_counted() -> None:
    room, news = Room("lobby"), News()
    for number in range(100):
        news.enter(room.enter(seat(f"n{number}")))
    assert lines.news(news) == ["* 100 came"]
    assert lines.who(room).endswith("and 50 more")


def test_whoever_talks_too_fast_is_held_back_and_may_go_on_after_a_pause() -> None:
    pace = Pace(rate=10.0, burst=5)
    assert [pace.allow(1.0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert pace.refused == 2
    assert not pace.allow(1.05)
    assert pace.allow(1.2)
    assert [pace.allow(100.0) for _ in range(6)] == [True] * 5 + [False]
    assert not pace.allow(50.0)  # a clock that was set back
