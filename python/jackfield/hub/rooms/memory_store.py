"""A store that ends with its process: for tests, and for a hub that keeps no state.

The contract at its plainest: the other stores are tested against this one.
"""

from __future__ import annotations

from collections.abc import Sequence

from .search_words import read_query, snippet, text_of
from .store import (
    MOST_READ,
    MOST_READ_BYTES,
    MOST_WAITING,
    MOST_WAITING_BYTES,
    Appended,
    BadQuery,
    Became,
    Cursor,
    Found,
    Letter,
    Message,
    NoSuchRoom,
    Page,
    Posted,
    Publication,
    Queue,
    Results,
    Retention,
    RoomFacts,
    Sending,
    Store,
    StoreClosed,
    Waiting,
    check_letters,
    check_name,
    check_publications,
)


class _Room:
    def __init__(self, name: str, made: float) -> None:
        self.name = name
        self.topic = ""
        self.made = made
        self.first = 1
        self.messages: list[Message] = []  # those from `first` on
        self.bytes = 0
        self.published: dict[str, int] = {}
        self.cursors: dict[str, int] = {}

    @property
    def last(self) -> int:
        return self.first + len(self.messages) - 1

    def facts(self) -> RoomFacts:
        return RoomFacts(self.name, self.topic, self.made, self.first, self.last, self.bytes)


class MemoryStore(Store):
    """A store in this process, and gone with it."""

    lasting = False

    def __init__(self) -> None:
        self._rooms: dict[str, _Room] = {}
        self._letters: dict[int, Letter] = {}
        self._posted: dict[tuple[str, int], tuple[int, float]] = {}  # what was taken: its id, when it expires
        self._last_letter = 0
        self._closed = False

    def _check(self) -> None:
        if self._closed:
            raise StoreClosed("the store is closed")

    def _room(self, name: str) -> _Room:
        self._check()
        try:
            return self._rooms[name]
        except KeyError:
            raise NoSuchRoom(f"there is no room {name!r}") from None

    async def open_room(self, name: str, *, at: float, topic: str | None = None) -> RoomFacts:
        self._check()
        check_name(name)
        room = self._rooms.setdefault(name, _Room(name, at))
        if topic is not None:
            check_name(topic)
            room.topic = topic
        return room.facts()

    async def rooms(self) -> list[RoomFacts]:
        self._check()
        return [self._rooms[name].facts() for name in sorted(self._rooms, key=str.encode)]

    async def remove_room(self, name: str) -> None:
        self._room(name)
        del self._rooms[name]

    async def append(self, batch: Sequence[Publication]) -> list[Appended]:
        self._check()
        check_publications(batch)
        return [self._append(each) for each in batch]

    def _append(self, new: Publication) -> Appended:
        room = self._rooms.get(new.room)
        if room is None:
            return Appended(0, Became.NO_ROOM)
        before = room.published.get(new.sender, 0)
        if new.number <= before:
            found = (m.sequence for m in room.messages if (m.sender, m.number) == (new.sender, new.number))
            return Appended(next(found, 0), Became.AGAIN)
        if new.number != before + 1:
            return Appended(0, Became.GAP)
        sequence = room.last + 1
        room.messages.append(Message(sequence, new.at, new.sender, new.name, new.number, bytes(new.body)))
        room.bytes += len(new.body)
        room.published[new.sender] = new.number
        return Appended(sequence, Became.STORED)

    async def read(self, room: str, after: int = 0, *, limit: int = 100) -> Page:
        found = self._room(room)
        page: list[Message] = []
        size = 0
        for message in found.messages[max(0, after + 1 - found.first) :][: max(0, min(limit, MOST_READ))]:
            if page and size + len(message.body) > MOST_READ_BYTES:
                break
            page.append(message)
            size += len(message.body)
        return Page(page, found.first, found.last)

    async def search(self, text: str, *, room: str | None = None, limit: int = 50) -> Results:
        query = read_query(text)
        if not query.wanted:
            raise BadQuery("there is no word to search for")
        rooms = list(self._rooms.values()) if room is None else [self._room(room)]
        self._check()
        found = [
            Found(each.name, message, *snippet(body, query))
            for each in rooms
            for message in reversed(each.messages)
            if (body := text_of(message.body)) is not None and query.matches(body)
        ]
        if room is None:
            found.sort(key=lambda each: (-each.message.at, each.room.encode()))
        return Results(found[: max(0, min(limit, MOST_READ))], 0)

    async def last(self, room: str) -> int:
        return self._room(room).last

    async def published(self, room: str, sender: str) -> int:
        self._check()
        found = self._rooms.get(room)
        return found.published.get(sender, 0) if found is not None else 0

    async def retain(self, room: str, policy: Retention, *, now: float) -> int:
        found = self._room(room)
        gone = 0
        while gone < len(found.messages):
            oldest = found.messages[gone]
            if not (
                (policy.age is not None and oldest.at < now - policy.age)
                or (policy.count is not None and len(found.messages) - gone > policy.count)
                or (policy.bytes is not None and found.bytes > policy.bytes)
            ):
                break
            found.bytes -= len(oldest.body)
            gone += 1
        del found.messages[:gone]
        found.first += gone
        return gone

    async def cursor(self, room: str, reader: str) -> int | None:
        self._check()
        found = self._rooms.get(room)
        return found.cursors.get(reader) if found is not None else None

    async def set_cursors(self, batch: Sequence[Cursor]) -> None:
        self._check()
        for each in batch:
            check_name(each.reader)
        for each in batch:
            room = self._rooms.get(each.room)
            if room is not None:
                before = room.cursors.get(each.reader, 0)
                room.cursors[each.reader] = max(before, min(each.sequence, room.last))

    async def enqueue(self, batch: Sequence[Letter]) -> list[Posted]:
        self._check()
        check_letters(batch)
        return [self._enqueue(letter) for letter in batch]

    def _enqueue(self, letter: Letter) -> Posted:
        known = self._posted.get((letter.sender, letter.number))
        if known is not None:
            return Posted(known[0], fresh=False, full=False)
        bodies = [len(each.body) for each in self._letters.values() if each.to == letter.to]
        if len(bodies) >= MOST_WAITING or sum(bodies) + len(letter.body) > MOST_WAITING_BYTES:
            return Posted(0, fresh=False, full=True)
        self._last_letter += 1
        self._posted[letter.sender, letter.number] = (self._last_letter, letter.expires)
        self._letters[self._last_letter] = letter._replace(body=bytes(letter.body))
        return Posted(self._last_letter, fresh=True, full=False)

    async def waiting(self, to: str, after: int = 0, *, limit: int = 100) -> list[Waiting]:
        self._check()
        found: list[Waiting] = []
        size = 0
        for id, letter in self._letters.items():
            if letter.to != to or id <= after:
                continue
            if len(found) >= min(limit, MOST_READ) or (found and size + len(letter.body) > MOST_READ_BYTES):
                break
            found.append(Waiting(id, letter))
            size += len(letter.body)
        return found

    async def delivered(self, ids: Sequence[int]) -> None:
        self._check()
        for id in ids:
            self._letters.pop(id, None)

    async def expire(self, now: float) -> list[Waiting]:
        self._check()
        gone = [Waiting(id, letter) for id, letter in self._letters.items() if letter.expires <= now][
            :MOST_READ
        ]
        for each in gone:
            del self._letters[each.id]
        self._posted = {
            key: known for key, known in self._posted.items() if known[1] > now or known[0] in self._letters
        }
        return gone

    async def queues(self) -> list[Queue]:
        self._check()
        found: dict[str, Queue] = {}
        for letter in self._letters.values():
            queue = found.get(letter.to) or Queue(letter.to, 0, 0, letter.at)
            found[letter.to] = queue._replace(letters=queue.letters + 1, bytes=queue.bytes + len(letter.body))
        return [found[to] for to in sorted(found, key=str.encode)]

    async def senders(self) -> list[Sending]:
        self._check()
        found: dict[str, Sending] = {}
        for each in self._letters.values():
            _, letters, size = found.get(each.sender) or (each.sender, 0, 0)
            found[each.sender] = Sending(each.sender, letters + 1, size + len(each.body))
        return [found[sender] for sender in sorted(found, key=str.encode)]

    async def close(self) -> None:
        self._closed = True
