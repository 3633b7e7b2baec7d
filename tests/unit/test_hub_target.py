"""Which clients a TARGET means."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

import pytest

from jackfield.hub.target import (
    Absent,
    AmbiguousTarget,
    Candidate,
    Matcher,
    NoSuchClient,
    TargetTooLong,
    host_of,
    select,
    select_in_turns,
    select_one,
)


class Clients:
    """A directory of a fixed list."""

    def __init__(self, *candidates: Candidate, absent: Sequence[Absent] = ()) -> None:
        self._all = candidates
        self._absent = absent

    def absent(self, part: str) -> list[Absent]:
        return [absent for absent in self._absent if fnmatchcase(absent.name, part)]

    def by_id(self, client_id: int) -> Candidate | None:
        return next((c for c in self._all if c.id == client_id), None)

    def by_name(self, name: str) -> Candidate | None:
        return next((c for c in self._all if c.name == name), None)

    def __iter__(self) -> Iterator[Candidate]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)


CLIENTS = Clients(
    Candidate(1, "tcp-1", "127.0.0.1:4001"),
    Candidate(2, "dev1", "127.0.0.1:4002"),
    Candidate(3, "dev2", "[::1]:4003"),
    Candidate(4, "door", "192.168.1.20:4004"),
    Candidate(5, "unix-5", "pid:77"),
    Candidate(12, "dgram-12", "/tmp/a.sock"),
)


@pytest.mark.parametrize(
    ("target", "ids"),
    [
        ("1", [1]),
        ("12", [12]),
        ("dev1", [2]),
        ("127.0.0.1:4002", [2]),
        ("localhost:4002", [2]),
        ("localhost:4003", [3]),
        ("[::1]:4003", [3]),
        ("192.168.1.20", [4]),
        ("127.0.0.1", [1, 2]),
        ("dev*", [2, 3]),
        ("d*", [2, 3, 4, 12]),
        ("dev[12]", [2, 3]),
        ("127.0.0.1:*", [1, 2]),
        ("pid:77", [5]),
        ("/tmp/a.sock", [12]),
        ("3,1", [1, 3]),
        ("dev*, 2 ,door", [2, 3, 4]),
        ("1,1,tcp-1", [1]),
        ("all", [1, 2, 3, 4, 5, 12]),
        ("1,all", [1, 2, 3, 4, 5, 12]),
        ("*", [1, 2, 3, 4, 5, 12]),
    ],
)
def test_select(target: str, ids: list[int]) -> None:
    assert select(target, CLIENTS) == ids
    matcher = Matcher(target)
    assert [client.id for client in CLIENTS if matcher.matches(client)] == ids


def test_clients_by_tag() -> None:
    tagged = Clients(
        Candidate(1, "tcp-1", "127.0.0.1:4001", ("floor1", "spare")),
        Candidate(2, "floor1", "127.0.0.1:4002", ("floor2",)),
        Candidate(3, "tcp-3", "127.0.0.1:4003"),
    )
    for target, ids in {"tag:floor1": [1], "tag:floor*": [1, 2], "tag:spare,tag:floor2": [1, 2]}.items():
        assert select(target, tagged) == ids
        assert [client.id for client in tagged if Matcher(target).matches(client)] == ids
    for nobody in ("tag:floor3", "tag:", "tag:tcp-3"):
        with pytest.raises(NoSuchClient):
            select(nobody, tagged)


def test_a_pattern_of_absent_ones_says_what_takes_their_names() -> None:
    directory = Clients(absent=[Absent("away3", "10.0.0.7:99", "2026-11-20T12:00:00.000Z")])
    with pytest.raises(NoSuchClient) as raised:
        select("away*", directory)
    assert raised.value.hint.endswith("rename, tag, note and forget take the name of one that is absent")


def test_who_is_absent_is_named_with_the_time_and_the_place() -> None:
    absent = [Absent(f"away{n}", "10.0.0.7:99", "2026-11-20T12:00:00.000Z") for n in range(12)]
    directory = Clients(Candidate(1, "tcp-1", "127.0.0.1:4001"), absent=absent)
    for target in ("away3", "1,away3"):
        with pytest.raises(NoSuchClient) as raised:
            select(target, directory)
        assert "forget" not in raised.value.hint
        assert str(raised.value) == "absent: away3 (since 2026-11-20T12:00:00.000Z, last at 10.0.0.7:99)"
        assert "only clients that are connected" in raised.value.hint
    with pytest.raises(NoSuchClient, match=r"away9 \(since .*\) and 2 more$"):
        select("away*", directory)
    assert select("*", directory) == [1]
    assert select("all", directory) == [1]


def test_a_target_for_clients_to_come_names_somebody() -> None:
    assert not Matcher("nobody,x*").matches(next(iter(CLIENTS)))
    for target in ("", " , "):
        with pytest.raises(ValueError, match="at least one part"):
            Matcher(target)
    with pytest.raises(TargetTooLong):
        Matcher("x" * 5000)


@pytest.mark.parametrize(
    "target", ["9", "dev3", "", ",", "1,nobody", "x*", "01x", "²", "99999999999999999999999", "127.0.0.1:1"]
)
def test_what_means_nobody_is_refused(target: str) -> None:
    with pytest.raises(NoSuchClient):
        select(target, CLIENTS)


def test_the_refusal_says_who_is_there_and_the_closest_name() -> None:
    with pytest.raises(NoSuchClient) as caught:
        select("dev3", CLIENTS)
    assert "connected: tcp-1, dev1, dev2, door" in str(caught.value)
    assert caught.value.hint == "did you mean dev1?" or caught.value.hint == "did you mean dev2?"
    with pytest.raises(NoSuchClient) as caught:
        select("doo", CLIENTS)
    assert caught.value.hint == "did you mean door?"


def test_nobody_at_all() -> None:
    assert select("all", Clients()) == []
    with pytest.raises(NoSuchClient, match="no client is connected"):
        select("1", Clients())
    with pytest.raises(NoSuchClient):
        select_one("all", Clients())


def test_a_long_list_is_cut() -> None:
    many = Clients(*(Candidate(n, f"tcp-{n}", f"127.0.0.1:{n}") for n in range(1, 41)))
    with pytest.raises(NoSuchClient, match="tcp-10 and 30 more"):
        select("nobody", many)
    with pytest.raises(AmbiguousTarget, match=r"means 40 clients.* and 30 more"):
        select_one("all", many)


@pytest.mark.parametrize("target", ["q" * 4097, ",".join(map(str, range(257)))])
def test_a_target_too_long_is_refused(target: str) -> None:
    with pytest.raises(TargetTooLong, match="use a pattern"):
        select(target, CLIENTS)


def test_a_long_part_is_cut_in_the_refusal() -> None:
    with pytest.raises(NoSuchClient) as caught:
        select("q" * 4000, CLIENTS)
    assert len(str(caught.value)) < 300


def test_a_long_target_lets_others_run() -> None:
    many = Clients(*(Candidate(n, f"tcp-{n}", f"127.0.0.1:{n}") for n in range(1, 501)))
    target = ",".join(["tcp*", *(f"t*{n}?" for n in range(1, 41))])

    async def turns() -> int:
        selecting = asyncio.create_task(select_in_turns(target, many))
        count = 0
        while not selecting.done():
            await asyncio.sleep(0)
            count += 1
        assert len(selecting.result()) == 500
        return count

    assert asyncio.run(turns()) > 5


def test_one_is_wanted() -> None:
    assert select_one("door", CLIENTS) == 4
    with pytest.raises(AmbiguousTarget) as caught:
        select_one("dev*", CLIENTS)
    assert str(caught.value) == "'dev*' means 2 clients: dev1 (2, 127.0.0.1:4002), dev2 (3, [::1]:4003)"


def test_an_exact_name_wins_over_a_pattern() -> None:
    odd = Clients(Candidate(1, "a*", "x"), Candidate(2, "ab", "y"))
    assert select("a*", odd) == [1]


@pytest.mark.parametrize(
    ("peer", "host"),
    [("127.0.0.1:80", "127.0.0.1"), ("[::1]:80", "[::1]"), ("pid:7", ""), ("/tmp/x", ""), ("@a", "")],
)
def test_host_of(peer: str, host: str) -> None:
    assert host_of(peer) == host
