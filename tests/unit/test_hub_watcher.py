"""What an operator who watches is told: everything once, in bounded memory, with the losses counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jackfield.hub import watcher as limits
from jackfield.hub.protocol import decode_data
from jackfield.hub.watcher import Watcher


class People:
    """A roster of views."""

    def __init__(self, *ids: int) -> None:
        self.views = {each: {"id": each, "name": f"tcp-{each}"} for each in ids}
        self.away: list[dict[str, Any]] = []

    def ids(self) -> Sequence[int]:
        return list(self.views)

    def view(self, client_id: int, /) -> dict[str, Any] | None:
        found = self.views.get(client_id)
        return None if found is None else dict(found)

    def absent(self) -> list[dict[str, Any]]:
        return self.away


def told(watcher: Watcher, people: People) -> dict[str, list[Any]]:
    """What a telling says, the pages of each kind put together."""
    found: dict[str, list[Any]] = {}
    for body in watcher.take(people):
        for name, value in body.items():
            found.setdefault(name, []).extend(value if isinstance(value, list) else [value])
    return found


def test_who_comes_changes_and_goes_is_told_once() -> None:
    wakes: list[int] = []
    watcher, people = Watcher(lambda: wakes.append(1)), People(1, 2)
    watcher.changed(2)
    watcher.changed(2)
    watcher.changed(7)
    assert wakes == [1], "woken once until the news are taken"
    assert told(watcher, people) == {"clients": [{"id": 2, "name": "tcp-2"}], "gone": [7]}
    assert told(watcher, people) == {}
    watcher.logged({"event": "renamed", "id": 1})
    assert len(wakes) == 2
    assert told(watcher, people)["clients"] == [{"id": 1, "name": "tcp-1"}], "what the log says of a client"
    watcher.logged({"event": "message", "id": 1})
    assert list(told(watcher, people)) == ["log"], "a message in the log changes nobody"


def test_clients_on_the_screen_are_told_when_their_view_changed() -> None:
    watcher, people = Watcher(), People(1, 2)
    watcher.look([1, 2, 3], [])
    assert [view["id"] for view in told(watcher, people)["clients"]] == [1, 2]
    assert told(watcher, people) == {}
    people.views[2]["queued"] = 10
    assert told(watcher, people) == {"clients": [{"id": 2, "name": "tcp-2", "queued": 10}]}
    watcher.look([1], [])
    people.views[2]["queued"] = 20
    assert told(watcher, people) == {}


def test_what_is_said_is_counted_and_shown_where_it_is_looked_at() -> None:
    watcher, people = Watcher(), People(1, 2)
    watcher.look([1], [1])
    told(watcher, people)
    watcher.heard(5.0, 1, b"ab\x1b[2J")
    watcher.heard(6.0, 2, b"unseen")
    watcher.told(7.0, 1, b"yes", "pid:9")
    assert told(watcher, people) == {
        "said": [
            {"id": 1, "at": 5.0, "heard": "YWIbWzJK"},
            {"id": 1, "at": 7.0, "told": "eWVz", "by": "pid:9"},
        ],
        "activity": [[1, 1, 6, 1, 3, 5.0], [2, 1, 6, 0, 0, 6.0]],
        "previews": [[1, 5.0, r"ab\e[2J"]],
    }


def test_an_operator_that_reads_nothing_costs_bounded_memory_and_learns_what_it_missed() -> None:
    watcher, people = Watcher(), People(1)
    watcher.look([1], [1])
    for number in range(limits.MAX_SAID + 5):
        watcher.heard(float(number), 1, b"%07d" % number)
    for number in range(limits.MAX_LOG + 3):
        watcher.logged({"event": "status", "number": number})
    found = told(watcher, people)
    assert len(found["said"]) == limits.MAX_SAID
    assert decode_data(found["said"][0]["heard"]) == b"0000005", "the oldest are lost"
    assert [event["number"] for event in found["log"]][:1] == [3]
    assert found["missed"] == [{"messages": 5, "bytes": 35, "log": 3}]
    assert found["activity"][0][1] == limits.MAX_SAID + 5, "counted they all are"
    for _ in range(200):
        watcher.heard(1.0, 1, b"x" * 100_000)
    found = told(watcher, people)
    kept = limits.MAX_SAID_BYTES // limits.LONGEST_SAID
    assert len(found["said"]) == kept
    assert {said["bytes"] for said in found["said"]} == {100_000}, "a cut message says how long it was"
    assert found["missed"] == [{"messages": 200 - kept, "bytes": (200 - kept) * limits.LONGEST_SAID}]


def test_more_changes_than_clients_are_told_as_everyone_anew() -> None:
    watcher, people = Watcher(), People(1, 2)
    for client_id in range(limits.MAX_CHANGES + 10):
        watcher.changed(client_id)
        watcher.heard(1.0, client_id, b"")
    found = told(watcher, people)
    assert found["reset"] == [True]
    assert [view["id"] for view in found["clients"]] == [1, 2]
    assert found["missed"] == [{"activity": limits.MAX_CHANGES}]


def test_thousands_are_told_in_pages() -> None:
    watcher, people = Watcher(), People(*range(1000))
    for client_id in range(1000):
        watcher.changed(client_id)
        watcher.heard(1.0, client_id, b"")
    sizes = [len(next(iter(body.values()))) for body in watcher.take(people)]
    assert sizes == [limits.PAGE] * 8


def test_who_is_absent_is_told_when_that_changes() -> None:
    watcher, people = Watcher(), People()
    gate, lamp = {"id": None, "identity": "gate", "note": ""}, {"id": None, "identity": "lamp", "note": ""}
    people.away = [gate]
    assert told(watcher, people) == {"absent": [gate]}
    watcher.changed(5)
    people.away = [gate, lamp]
    assert told(watcher, people) == {"absent": [lamp], "gone": [5]}
    people.away = [{**gate, "note": "by the road"}]
    watcher.logged({"event": "noted", "target": "gate"})
    found = told(watcher, people)
    assert (found["absent"], found["returned"]) == (people.away, ["lamp"])
    people.away = []
    watcher.heard(1.0, 1, b"what clients say makes nobody absent")
    assert "returned" not in told(watcher, people)


def test_what_is_opened_newly() -> None:
    watcher = Watcher()
    assert watcher.look([], [1, 2]) == {1, 2}
    assert watcher.look([], [2, 3]) == {3}
    watcher.look(range(10_000), range(100))
    assert len(watcher.open) == limits.MAX_OPEN
