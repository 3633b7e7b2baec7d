"""The checks of `store_battery`, from simple to hard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from .store import (
    LONGEST_BODY,
    MOST_READ_BYTES,
    MOST_WAITING,
    Appended,
    BadQuery,
    Became,
    Cursor,
    Letter,
    NoSuchRoom,
    Publication,
    Retention,
    Run,
    RunAppended,
    Store,
    StoreClosed,
)
from .store_battery import Open, StoreCheck

CHECKS: list[StoreCheck] = []

HOSTILE = (
    "'; DROP TABLE messages; --", '"', "'", "%", "*", "NEAR(", "a\0b", "\x1b[2J", "body:x", "{", "^", "-",
    "<script>", "words", "AND", "OR NOT", "(", "é" * 200,
)  # fmt: skip


def check(
    promise: str, *, needs_lasting: bool = False
) -> Callable[[Callable[[Open], Awaitable[None]]], Callable[[Open], Awaitable[None]]]:
    """Put a function into the battery under its own name."""

    def put(function: Callable[[Open], Awaitable[None]]) -> Callable[[Open], Awaitable[None]]:
        CHECKS.append(StoreCheck(function.__name__, promise, needs_lasting, function))
        return function

    return put


@asynccontextmanager
async def store_of(opened: Open, *rooms: str) -> AsyncIterator[Store]:
    """A store with these rooms."""
    store = await opened()
    try:
        for room in rooms:
            await store.open_room(room, at=1.0)
        yield store
    finally:
        await store.close()


def said(
    body: bytes | str, number: int, *, room: str = "lobby", sender: str = "ana/1", at: float = 1.0
) -> Publication:
    """A message."""
    data = body.encode() if isinstance(body, str) else body
    return Publication(room, sender, number, at, sender.partition("/")[0], data)


def letter(
    to: str, number: int, *, expires: float = 100.0, body: bytes = b"hi", sender: str = "ana/1"
) -> Letter:
    """A letter."""
    return Letter(to, sender, number, 1.0, expires, "ana", body)


async def bodies(store: Store, room: str = "lobby", after: int = 0) -> list[bytes]:
    """Everything that a room keeps, page by page; its sequences must follow each other."""
    found: list[bytes] = []
    while True:
        page = await store.read(room, after, limit=7)
        for message in page.messages:
            expected = max(after + 1, page.first)
            assert message.sequence == expected, f"{message.sequence} came where {expected} was next"
            after = message.sequence
            found.append(message.body)
        assert page.behind == (page.last - after if page.messages else 0)
        if not page.behind:
            return found


async def found(store: Store, text: str, room: str | None = "lobby") -> list[bytes]:
    """What a search finds; all that was acknowledged is looked at."""
    results = await store.search(text, room=room)
    assert not results.unindexed
    return [each.message.body for each in results.found]


async def raises(kind: type[Exception], call: Awaitable[Any]) -> None:
    """A call must raise an exception of that class."""
    try:
        value = await call
    except kind:
        return
    raise AssertionError(f"no {kind.__name__}, but {value!r}")


def became(results: Sequence[Appended]) -> list[tuple[int, str]]:
    """Results in short."""
    return [(each.sequence, each.became.name) for each in results]


# --------------------------------------------------------------------------------------------- messages


@check("A room is made once; opened again it is the same, with a new topic if one is given.")
async def rooms_are_made_once(opened: Open) -> None:
    async with store_of(opened) as store:
        first = await store.open_room("lobby", at=5.0, topic="tea")
        assert first == ("lobby", "tea", 5.0, 1, 0, 0), first
        assert await store.open_room("lobby", at=9.0) == first
        assert (await store.open_room("lobby", at=9.0, topic="")).topic == ""
        await store.open_room("annex", at=6.0)
        assert [room.name for room in await store.rooms()] == ["annex", "lobby"]


@check("A room counts its messages from 1, in the order of the calls, without a gap.")
async def sequences_have_no_gap(opened: Open) -> None:
    async with store_of(opened, "lobby") as store:
        calls = [store.append([said(f"{n}", n), said(f"{n}b", n, sender="bo/1")]) for n in range(1, 51)]
        results = await asyncio.gather(*calls)
        assert [each.sequence for result in results for each in result] == list(range(1, 101))
        assert all(each.fresh for result in results for each in result)
        assert await bodies(store) == [f"{n}{b}".encode() for n in range(1, 51) for b in ("", "b")]
        assert await store.last("lobby") == 100


@check("A message that is appended again is acknowledged with its sequence and not stored again.")
async def a_message_is_stored_once(opened: Open) -> None:
    async with store_of(opened, "lobby") as store:
        await store.append([said("a", 1), said("b", 2)])
        again = await store.append([said("a", 1), said("b", 2), said("c", 3), said("c", 3)])
        assert became(again) == [(1, "AGAIN"), (2, "AGAIN"), (3, "STORED"), (3, "AGAIN")], again
        assert await bodies(store) == [b"a", b"b", b"c"]
        assert await store.published("lobby", "ana/1") == 3


@check("What comes behind a missing number is not stored, and can be once the number has come.")
async def a_gap_is_refused(opened: Open) -> None:
    async with store_of(opened, "lobby") as store:
        assert became(await store.append([said("b", 2)])) == [(0, "GAP")]
        results = await store.append([said("a", 1), said("c", 3), said("b", 2), said("c", 3)])
        assert became(results) == [(1, "STORED"), (0, "GAP"), (2, "STORED"), (3, "STORED")], results
        assert await bodies(store) == [b"a", b"b", b"c"]


@check("What one says at once is stored message by message, in whatever part it was stored before.")
async def runs_are_messages(opened: Open) -> None:
    async with store_of(opened, "lobby") as store:
        run = Run("lobby", "ana/1", 1, 1.0, "ana", [b"a", b"b"])
        both = [run, Run("lobby", "bo/1", 1, 1.0, "bo", [b"x"])]
        assert await store.append_runs(both) == [RunAppended(1, None), RunAppended(3, None)]
        longer = run._replace(bodies=[b"a", b"b", b"c"])
        again, behind, nowhere = await store.append_runs(
            [longer, run._replace(number=5), run._replace(room="none")]
        )
        assert became(again.each or ()) == [(1, "AGAIN"), (2, "AGAIN"), (4, "STORED")], again
        assert became(behind.each or ()) == [(0, "GAP"), (0, "GAP")], behind
        assert became(nowhere.each or ()) == [(0, "NO_ROOM"), (0, "NO_ROOM")], nowhere
        await store.retain("lobby", Retention(count=1), now=1.0)
        (again,) = await store.append_runs([longer])
        assert became(again.each or ()) == [(0, "AGAIN"), (0, "AGAIN"), (4, "AGAIN")], again
        assert await bodies(store) == [b"c"]


@check("Senders and rooms count apart, and a room that is not there takes nothing.")
async def senders_and_rooms_are_apart(opened: Open) -> None:
    async with store_of(opened, "lobby", "annex") as store:
        results = await store.append(
            [
                said("a", 1),
                said("b", 1, sender="ana/2"),
                said("c", 1, room="annex"),
                said("d", 1, room="nowhere"),
                said("e", 2),
            ]
        )
        assert became(results) == [(1, "STORED"), (2, "STORED"), (1, "STORED"), (0, "NO_ROOM"), (3, "STORED")]
        assert await bodies(store) == [b"a", b"b", b"e"]
        assert await bodies(store, "annex") == [b"c"]
        assert await store.published("nowhere", "ana/1") == 0
        await raises(NoSuchRoom, store.read("nowhere"))
        await raises(NoSuchRoom, store.last("nowhere"))
        await raises(NoSuchRoom, store.search("a", room="nowhere"))


@check("A message comes back as it was, whatever its bytes are, and its facts with it.")
async def bodies_come_back_as_they_were(opened: Open) -> None:
    async with store_of(opened, "lobby") as store:
        kinds = [
            b"",
            b"\0",
            b"a\0b",
            b"\xff\xfe",
            "Tür 水泵 🚰".encode(),
            b"1",
            b"1.0",
            bytes(range(256)),
            b" x\r\n",
        ]
        kinds.append(bytes(LONGEST_BODY))
        for number, body in enumerate(kinds, 1):
            await store.append([Publication("lobby", "ana/1", number, 2.5, "Ana \N{SNOWMAN}", body)])
        assert await bodies(store) == kinds
        message = (await store.read("lobby")).messages[0]
        assert message == (1, 2.5, "ana/1", "Ana \N{SNOWMAN}", 1, b""), message
        assert (await store.rooms())[0].bytes == sum(map(len, kinds))


@check("A page has at most as many messages as asked, and is bounded in bytes, but never empty for it.")
async def pages_are_bounded(opened: Open) -> None:
    async with store_of(opened, "lobby") as store:
        assert await store.read("lobby") == ([], 1, 0)
        await store.append([said(bytes(MOST_READ_BYTES // 2 + 1), n) for n in range(1, 6)])
        sizes = []
        after = 0
        while (page := await store.read("lobby", after)).messages:
            sizes.append(len(page.messages))
            after = page.messages[-1].sequence
        assert sizes == [1] * 5, sizes
        assert [each.sequence for each in (await store.read("lobby", -5, limit=1)).messages] == [1]
        assert (await store.read("lobby", 0, limit=0)).messages == []
        assert (await store.read("lobby", 10**30)).messages == []


@check("A clock that is set back changes no order and no number.")
async def order_does_not_depend_on_the_clock(opened: Open) -> None:
    async with store_of(opened, "lobby") as store:
        for number, at in enumerate((1000.0, 5.0, 1e12, -7.0), 1):
            await store.append([said(f"{number}", number, at=at)])
        assert [each.at for each in (await store.read("lobby")).messages] == [1000.0, 5.0, 1e12, -7.0]
        assert await bodies(store) == [b"1", b"2", b"3", b"4"]
        assert await found(store, "4") == [b"4"]


@check("What no store takes raises ValueError, and nothing of that call is stored.")
async def nonsense_is_refused(opened: Open) -> None:
    async with store_of(opened, "lobby") as store:
        good = said("a", 1)
        for bad in (
            good._replace(number=0),
            good._replace(number=2**63),
            good._replace(body=bytes(LONGEST_BODY + 1)),
            good._replace(name="\udcff"),
            good._replace(sender="x" * 10_000),
            good._replace(at=float("nan")),
        ):
            await raises(ValueError, store.append([good, bad]))
        await raises(ValueError, store.open_room("\udcff", at=1.0))
        assert await bodies(store) == []
        assert became(await store.append([good])) == [(1, "STORED")]


@check("A call that is cancelled leaves the store whole, and its messages are stored at most once.")
async def cancelled_calls_leave_it_whole(opened: Open) -> None:
    async with store_of(opened, "lobby") as store:
        for number in range(1, 21):
            task = asyncio.ensure_future(store.append([said(f"{number}", number)]))
            for _ in range(number % 4):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            await store.append([said(f"{number}", number)])
        assert await bodies(store) == [f"{n}".encode() for n in range(1, 21)]


# ----------------------------------------------------------------------------------------------- search


@check("Search knows words, phrases, beginnings and what is not wanted, at once; the newest come first.")
async def search_has_a_language(opened: Open) -> None:
    texts = ["the Water pump is broken", "water; pumps work", "pump water", "水泵坏了", "Tür zu", "a_b c-d"]
    async with store_of(opened, "lobby", "annex") as store:
        await store.append([said(text, number) for number, text in enumerate(texts, 1)])
        await store.append(
            [said("water elsewhere", 1, room="annex", at=9.0), said(b"\xffwater", 2, room="annex")]
        )
        for query, places in (
            ("water", [2, 1, 0]),
            ("PUMP water", [2, 0]),
            ('"water pump"', [0]),
            ("pump*", [2, 1, 0]),
            ("water -pump", [1]),
            ('water -"pump water"', [1, 0]),
            ("泵", [3]),
            ("水泵", [3]),
            ("水了", []),
            ("tur", [4]),
            ("a_b", [5]),
            ('"b c d"', [5]),
            ("nothing", []),
        ):
            assert await found(store, query) == [texts[place].encode() for place in places], query
        assert (await found(store, "water", None))[0] == b"water elsewhere"
        results = await store.search("broken", room="lobby")
        assert [each.snippet[a:b] for each in results.found for a, b in each.marks] == ["broken"]
        assert len((await store.search("water", room="lobby", limit=2)).found) == 2


@check("No query does harm: it is searched for, or there is nothing in it to search for.")
async def hostile_queries_are_harmless(opened: Open) -> None:
    async with store_of(opened, "lobby") as store:
        await store.append([said("quiet", 1)])
        for query in (
            *HOSTILE,
            "a" * 100_000,
            '"' * 1000,
            "x " * 5000,
            "-a",
            "\udcff quiet",
            "quiet\x00",
            "a*" * 500,
        ):
            try:
                await store.search(query, room="lobby")
            except BadQuery:
                continue
        assert await found(store, "quiet") == [b"quiet"]


@check("Names are names, whatever is in them.")
async def hostile_names_are_names(opened: Open) -> None:
    async with store_of(opened, *HOSTILE) as store:
        for name in HOSTILE:
            results = await store.append([said(name, 1, room=name, sender=name)])
            assert became(results) == [(1, "STORED")], name
            await store.set_cursors([Cursor(name, name, 1)])
            await store.enqueue([letter(name, 1, sender=name, body=name.encode())])
        for name in HOSTILE:
            message = (await store.read(name)).messages[0]
            assert (message.sender, message.body) == (name, name.encode())
            assert await store.cursor(name, name) == 1
            assert [each.letter.body for each in await store.waiting(name)] == [name.encode()]
        assert {room.name for room in await store.rooms()} == set(HOSTILE)


# -------------------------------------------------------------------------------------------- retention


@check("Retention takes the oldest, by count, bytes and age, and changes no number.")
async def retention_takes_the_oldest(opened: Open) -> None:
    async with store_of(opened, "lobby") as store:
        await store.append([said(f"word{n}", n, at=float(n)) for n in range(1, 11)])
        assert await store.retain("lobby", Retention(), now=100.0) == 0
        assert await store.retain("lobby", Retention(count=8), now=100.0) == 2
        assert await store.retain("lobby", Retention(age=96.0), now=100.0) == 1
        assert await store.retain("lobby", Retention(bytes=6 + 4 * 5), now=100.0) == 2
        page = await store.read("lobby")
        assert [each.sequence for each in page.messages] == [6, 7, 8, 9, 10]
        assert (page.first, page.last) == (6, 10)
        assert (await store.rooms())[0].bytes == 26
        assert await found(store, "word3") == []
        assert await found(store, "word7") == [b"word7"]
        assert became(await store.append([said("word2", 2), said("next", 11)])) == [
            (0, "AGAIN"),
            (11, "STORED"),
        ]
        assert await store.retain("lobby", Retention(count=0), now=0.0) == 6
        assert await store.read("lobby") == ([], 12, 11)
        assert became(await store.append([said("more", 12)])) == [(12, "STORED")]
        await raises(NoSuchRoom, store.retain("nowhere", Retention(), now=0.0))


@check("A message with a time in the future keeps those behind it: nothing goes too early.")
async def retention_survives_a_wrong_clock(opened: Open) -> None:
    async with store_of(opened, "lobby") as store:
        times = (1.0, 2.0, 1e9, 3.0, 100.0)
        await store.append([said("x", n, at=at) for n, at in enumerate(times, 1)])
        assert await store.retain("lobby", Retention(age=50.0), now=100.0) == 2
        assert [each.at for each in (await store.read("lobby")).messages] == [1e9, 3.0, 100.0]


@check("More than one call's worth of messages goes as well.")
async def retention_of_many(opened: Open) -> None:
    async with store_of(opened, "lobby") as store:
        await store.append([said("x", n) for n in range(1, 2601)])
        assert await store.retain("lobby", Retention(count=100), now=0.0) == 2500
        assert len(await bodies(store)) == 100


@check("A room that was removed is forgotten; one of its name begins anew.")
async def a_removed_room_is_forgotten(opened: Open) -> None:
    async with store_of(opened, "lobby", "annex") as store:
        await store.append([said("old", n) for n in range(1, 1501)] + [said("old", 1, room="annex")])
        await store.set_cursors([Cursor("lobby", "ana", 3)])
        await store.remove_room("lobby")
        await raises(NoSuchRoom, store.read("lobby"))
        await raises(NoSuchRoom, store.remove_room("lobby"))
        await store.open_room("lobby", at=2.0)
        assert await store.cursor("lobby", "ana") is None
        assert became(await store.append([said("new", 1)])) == [(1, "STORED")]
        assert await found(store, "old") == []
        assert await bodies(store, "annex") == [b"old"]


# ---------------------------------------------------------------------------------- cursors and letters


@check("A cursor never goes back, nor beyond the room.")
async def cursors_go_on(opened: Open) -> None:
    async with store_of(opened, "lobby") as store:
        await store.append([said("x", n) for n in range(1, 6)])
        assert await store.cursor("lobby", "ana") is None
        assert await store.cursor("nowhere", "ana") is None
        for sequence, expected in ((2, 2), (1, 2), (4, 4), (99, 5), (-3, 5)):
            await store.set_cursors([Cursor("lobby", "ana", sequence), Cursor("nowhere", "ana", 1)])
            assert await store.cursor("lobby", "ana") == expected
        assert await store.cursor("lobby", "bo") is None


@check("A letter waits once, in order, until it is delivered or expires.")
async def letters_wait_once(opened: Open) -> None:
    async with store_of(opened) as store:
        posted = await store.enqueue(
            [letter("bo", 7), letter("bo", 7), letter("bo", 3), letter("cy", 4, expires=9.0)]
        )
        assert [(each.fresh, each.full) for each in posted] == [
            (True, False), (False, False), (True, False), (True, False),
        ]  # fmt: skip
        assert posted[0].id == posted[1].id < posted[2].id
        assert [each.letter.number for each in await store.waiting("bo")] == [7, 3]
        assert [each.letter.number for each in await store.waiting("bo", posted[0].id)] == [3]
        assert [each.letter.number for each in await store.waiting("bo", limit=1)] == [7]
        assert await store.queues() == [("bo", 2, 4, 1.0), ("cy", 1, 2, 1.0)]
        assert [(letters, size) for _, letters, size in await store.senders()] == [(3, 6)]
        assert await store.expire(8.0) == []
        assert [each.letter for each in await store.expire(9.0)] == [letter("cy", 4, expires=9.0)]
        assert await store.expire(9.0) == []
        await store.delivered([posted[0].id, posted[0].id, 999])
        assert [each.letter.number for each in await store.waiting("bo")] == [3]
        assert not (await store.enqueue([letter("bo", 7)]))[0].fresh
        await store.expire(1000.0)
        assert await store.queues() == []
        assert (await store.enqueue([letter("bo", 7)]))[0].fresh


@check("What waits for one recipient is bounded; another one has its own room.")
async def letters_are_bounded(opened: Open) -> None:
    async with store_of(opened) as store:
        posted = await store.enqueue([letter("bo", n) for n in range(1, MOST_WAITING + 3)])
        assert [each.full for each in posted] == [False] * MOST_WAITING + [True] * 2
        assert (await store.enqueue([letter("cy", 5000)]))[0].fresh
        await store.delivered([posted[0].id])
        assert (await store.enqueue([letter("bo", MOST_WAITING + 1)]))[0].fresh
        big = [letter("dan", n, body=bytes(LONGEST_BODY), sender="big") for n in range(1, 6)]
        assert [each.full for each in await store.enqueue(big)] == [False] * 4 + [True]
        assert len(await store.waiting("dan")) == 1


# ----------------------------------------------------------------------------------------------- endings


@check("Closing twice is no error; afterwards every call says that the store is closed.")
async def a_closed_store_says_so(opened: Open) -> None:
    store = await opened()
    await store.open_room("lobby", at=1.0)
    under_way = asyncio.ensure_future(store.append([said("a", 1)]))
    await asyncio.sleep(0)
    await asyncio.gather(store.close(), store.close())
    assert became(await under_way) == [(1, "STORED")]
    await store.close()
    await raises(StoreClosed, store.append([said("b", 2)]))
    await raises(StoreClosed, store.rooms())
    await raises(StoreClosed, store.read("lobby"))
    await raises(StoreClosed, store.queues())


@check("What was acknowledged is there when the store is opened again.", needs_lasting=True)
async def it_lasts(opened: Open) -> None:
    async with store_of(opened, "lobby", "annex") as store:
        assert store.lasting
        await store.open_room("lobby", at=3.0, topic="tea")
        await store.append([said(f"word{n}", n) for n in range(1, 11)])
        await store.retain("lobby", Retention(count=6), now=0.0)
        await store.set_cursors([Cursor("lobby", "ana", 7)])
        posted = await store.enqueue([letter("bo", 1), letter("bo", 2)])
        await store.delivered([posted[0].id])
        before = await store.rooms(), await store.read("lobby"), await store.waiting("bo")
    async with store_of(opened) as store:
        assert (await store.rooms(), await store.read("lobby"), await store.waiting("bo")) == before
        assert await store.cursor("lobby", "ana") == 7
        assert await store.published("lobby", "ana/1") == 10
        assert await found(store, "word*", None) == [f"word{n}".encode() for n in range(10, 4, -1)]
        again = await store.append([said("word10", 10), said("word11", 11)])
        assert became(again) == [(10, "AGAIN"), (11, Became.STORED.name)]
        assert not (await store.enqueue([letter("bo", 1)]))[0].fresh
