"""Whose request is next, and that nobody's requests keep another's waiting."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from native_peer import CONTROL, Peer, native_of, running_hub
from support import Runner, eventually

from jackfield.hub.native import turns
from jackfield.hub.native.effort import LARGE, read
from jackfield.hub.native.turns import TURN, Flow, Turns, metered

DENSE = b'{"type":"nothing","n":1,"a":[' + b"[]," * 20_000 + b"[]]}"
"""64 KiB that take milliseconds to read."""


class Served:
    """Requests `(who, seconds)`, a clock of processor time that they advance, and turns that are stepped."""

    def __init__(self) -> None:
        self.clock = 0.0
        self.order: list[str] = []
        self.due: list[Callable[[], None]] = []
        self.turns: Turns[tuple[str, float]] = Turns(self._work, self.due.append, cpu=lambda: self.clock)

    def _work(self, item: tuple[str, float]) -> str:
        self.order.append(item[0])
        self.clock += item[1]
        return ""

    def turn(self) -> list[str]:
        """One turn of the loop; who was served."""
        before = len(self.order)
        due, self.due[:] = self.due.copy(), []
        for call in due:
            call()
        return self.order[before:]

    def rest(self) -> list[str]:
        before = len(self.order)
        while self.due:
            self.turn()
        return self.order[before:]


def test_what_is_little_is_done_at_once() -> None:
    served, flow = Served(), Flow[tuple[str, float]]()
    for _ in range(10):
        assert served.turns.add(flow, "here", ("a", TURN / 100), 10)
    assert served.order == ["a"] * 10


def test_who_asks_for_little_waits_for_one_request_of_each_other_at_most() -> None:
    served = Served()
    attackers = {name: Flow[tuple[str, float]]() for name in "abcd"}
    for _ in range(50):
        for name, flow in attackers.items():
            served.turns.add(flow, name, (name, 3 * TURN), 10)
    little = Flow[tuple[str, float]]()
    for _ in range(5):
        served.turns.add(little, "little", ("little", TURN / 100), 10)
    served.rest()
    order = served.order
    places = [place for place, who in enumerate(order) if who == "little"]
    assert places[-1] <= 10, order[:20]
    assert [order.count(name) for name in "abcd"] == [50] * 4


def test_all_together_have_a_share_of_a_turn() -> None:
    served = Served()
    flows = [Flow[tuple[str, float]]() for _ in range(16)]
    for number, flow in enumerate(flows):
        for _ in range(4):
            served.turns.add(flow, f"{number}", ("x", TURN), 10)
    counts = []
    while served.due:
        counts.append(len(served.turn()))
    assert max(counts) <= 1
    assert len(served.order) == 64


def test_what_was_more_than_a_share_is_taken_from_the_next_turns() -> None:
    served = Served()
    flow = Flow[tuple[str, float]]()
    for seconds in (10 * TURN, TURN / 2, TURN / 2):
        served.turns.add(flow, "here", ("x", seconds), 10)
    counts = []
    while served.due:
        counts.append(len(served.turn()))
    assert sum(counts) == 2
    assert counts[:9] == [0] * 9


def test_sessions_of_one_origin_weigh_as_one() -> None:
    served = Served()
    busy = Flow[tuple[str, float]]()
    served.turns.add(busy, "busy", ("x", TURN), 1)
    many = [Flow[tuple[str, float]]() for _ in range(20)]
    alone = Flow[tuple[str, float]]()
    for _ in range(40):
        for flow in many:
            served.turns.add(flow, "crowd", ("crowd", TURN), 1)
    for _ in range(40):
        served.turns.add(alone, "alone", ("alone", TURN), 1)
    order = served.rest()
    until = len(order) - order[::-1].index("alone")
    assert order[:until].count("crowd") <= 40 + 2 * len(many), "as much as one, and one each to begin with"


def test_the_requests_of_a_session_keep_their_order() -> None:
    served = Served()
    flows = [Flow[tuple[str, float]]() for _ in range(3)]
    for number in range(30):
        for who, flow in enumerate(flows):
            served.turns.add(flow, f"{who}", (f"{who}:{number}", TURN * (1 + number % 3)), 1)
    served.rest()
    order = served.order
    for who in range(3):
        mine = [each for each in order if each.startswith(f"{who}:")]
        assert mine == [f"{who}:{number}" for number in range(30)]


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "MOST_OF_ONE", 100)
    monkeypatch.setattr(turns, "MOST_IN_ALL", 200)
    served = Served()
    first = Flow[tuple[str, float]]()
    taken = [served.turns.add(first, "first", ("x", TURN), 30) for _ in range(6)]
    assert taken == [True] * 4 + [False] * 2, "one was done at once"
    others = [Flow[tuple[str, float]]() for _ in range(20)]
    for number, flow in enumerate(others):
        for _ in range(5):
            served.turns.add(flow, f"{number}", ("x", TURN), 30)
    assert served.turns.size <= 2 * 200
    assert served.turns.add(Flow(), "late", ("late", TURN), 5), "who has little still has room"
    for number in range(2_000):
        flow = Flow[tuple[str, float]]()
        while served.turns.add(flow, f"crowd{number}", ("x", TURN), 1):
            pass
    assert served.turns.size == 2 * 200
    served.rest()
    assert served.turns.size == 0
    assert not served.turns._sessions


def test_a_fault_of_one_request_stops_no_other() -> None:
    due: list[Callable[[], None]] = []
    done: list[int] = []

    def work(item: int) -> str:
        if item == 1:
            raise ValueError
        done.append(item)
        return ""

    found: Turns[int] = Turns(work, due.append, cpu=lambda: 0.0)
    found._left = 0.0
    for number in range(4):
        found.add(Flow(), f"{number}", number, 1)
    for _ in range(3):
        for call in [due.pop() for _ in range(len(due))]:
            try:
                call()
            except ValueError:
                continue
    assert done == [0, 2, 3]


def test_all_steps_of_a_request_are_measured(run_here: Runner) -> None:
    clock = 0.0
    told: list[float] = []

    async def request(*, fails: bool = False) -> str:
        nonlocal clock
        for _ in range(3):
            clock += 1
            await asyncio.sleep(0)
        if fails:
            raise ValueError("no")
        return "answer"

    async def waits() -> None:
        nonlocal clock
        try:
            await asyncio.Event().wait()
        finally:
            clock += 5

    async def main() -> None:
        assert await metered(request(), told.append, cpu=lambda: clock) == "answer"
        with pytest.raises(ValueError, match="no"):
            await metered(request(fails=True), told.append, cpu=lambda: clock)
        task = asyncio.create_task(metered(waits(), told.append, cpu=lambda: clock))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert told == [3, 3, 5]

    run_here(main)


def test_of_a_large_message_the_collector_has_no_turn_while_it_is_read() -> None:
    before = gc.get_stats()[0]["collections"]
    assert len(read(DENSE)["a"]) == 20_001
    assert gc.get_stats()[0]["collections"] - before <= 1
    assert gc.isenabled()
    assert len(DENSE) > LARGE


def test_who_asks_for_little_is_served_before_those_that_wait(run_here: Runner, directory: Path) -> None:
    """At a hub: of what four attackers have sent, each had one turn more at most."""

    async def main() -> None:
        async with running_hub(directory) as hub:
            native, order, due = native_of(hub), [], []  # type: ignore[var-annotated]

            def work(said):  # type: ignore[no-untyped-def]
                order.append(said[0].name)
                time.thread_time()
                return native._work(said)

            innocent = await Peer.join(hub, name="innocent")
            attackers = [await Peer.join(hub, name=f"attacker{number}") for number in range(4)]
            native.turns = Turns(work, due.append)
            native.turns._left = 0.0  # nobody is served before all wait
            for peer in attackers:
                for _ in range(10):
                    peer.send(0, CONTROL, DENSE)
            await eventually(lambda: native.turns.size == 40 * len(DENSE))
            asked = asyncio.create_task(innocent.ask("rooms"))
            await eventually(lambda: native.turns.size > 40 * len(DENSE))
            while due:
                due.pop()()
                await asyncio.sleep(0)
            assert (await asked)["type"] == "ok"
            assert order.index("innocent") <= 2 * len(attackers)
            assert len(order) == 41
            for peer in (innocent, *attackers):
                await peer.close()

    run_here(main)


def test_what_was_asked_before_a_connection_broke_is_done(run_here: Runner, directory: Path) -> None:
    """Also a leave in order, which waits behind something large: the session ends all the same."""

    async def main() -> None:
        async with running_hub(directory) as hub:
            native, due = native_of(hub), []  # type: ignore[var-annotated]
            peer, other = await Peer.join(hub, name="ann"), await Peer.join(hub, name="ben")
            native.turns = Turns(native._work, due.append)
            native.turns._left = 0.0
            peer.send(0, CONTROL, DENSE)
            peer.control(type="message", n=1, to="ben", text="before", sequence=1)
            peer.control(type="bye")
            await eventually(
                lambda: native.turns.size > len(DENSE) and len(peer_flow(hub).waiting or ()) == 3
            )
            await peer.close()
            await eventually(lambda: len(native.sessions) == 1)
            assert native.of_id(peer.welcome["session"]["id"]) is not None
            while due:
                due.pop()()
                await asyncio.sleep(0)
            assert (await other.event("message"))["text"] == "before"
            assert native.of_id(peer.welcome["session"]["id"]) is None
            await other.close()

    def peer_flow(hub):  # type: ignore[no-untyped-def]
        return next(each.flow for each in native_of(hub).sessions.values() if each.name == "ann")

    run_here(main)


def test_large_numbers_cost_what_they_take() -> None:
    """What dense values are counted for says nothing of these: their time is measured."""
    payload = json.dumps({"a": 1}).encode()[:-1] + b',"b":[' + (b"9" * 4000 + b",") * 14 + b"1]}"
    found: Turns[bytes] = Turns(lambda data: str(read(data)["a"]), [].append)
    flow, light = Flow[bytes](), Flow[bytes]()
    found.add(flow, "large", payload, len(payload))
    found._left = TURN
    found.add(light, "light", b'{"a": 1}', 8)
    assert flow.finish > light.finish - found._served
