"""Members without a protocol: whoever connects to a listener with `room=` chats line by line.

Owns what is known of each talker, what its lines do, and what it is sent. A talker is in one room at a time,
and hears it as it is said: what does not fit into its queue is dropped, and counted with its other drops.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import jackfield
from jackfield import Member

from ..client import Client
from ..display import safe_text
from ..origins import origin_of
from ..plan import DATAGRAMS, ListenerPlan, comes_in_pieces
from ..roster import NameRefused
from . import lines
from .lines import Command, Line, LineReader, Pace, Say, messages_of
from .room import FORBIDDEN, NO_SUCH_ROOM, OVERLOADED, News, Room, RoomError, Seat, plain_may_enter
from .said import Said, each_of
from .store import StoreError

if TYPE_CHECKING:
    from .rooms import Rooms

SILENCE: Final = 0.25  # seconds after which one that could be a native client is a plain one
FOUND: Final = 10  # messages that a search shows
WHO: Final = "rooms"  # as logs and recordings name who sent something


@dataclass(slots=True, eq=False)
class Talker:
    """One client that chats. `room` and `seat` are None while it is in no room."""

    id: int
    member: Member
    plan: ListenerPlan
    reader: LineReader = field(default_factory=LineReader)
    pace: Pace = field(default_factory=Pace)
    room: Room | None = None
    seat: Seat | None = None
    numbers: dict[str, int] = field(default_factory=dict)  # of what it said last, by room
    greeted: bool = False
    spoken: bool = False
    waiting: asyncio.TimerHandle | None = None  # for it to say what it is
    searching: asyncio.Task[None] | None = None

    @property
    def ending(self) -> bytes:
        """What ends a line for it: what its listener says, or what it uses itself."""
        return b"\r\n" if self.reader.crlf and self.plan.ending == "lf" else self.plan.ending_bytes


class Plain:
    """The talkers of one hub: an `Outlet` for them, and what they do."""

    kind = "plain"

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._hub = rooms.hub
        self._talkers: dict[int, Talker] = {}
        self._in: dict[str, dict[int, Talker]] = {}  # room -> source -> talker
        self._tasks: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        """Wait for nobody any more."""
        for talker in self._talkers.values():
            if talker.waiting is not None:
                talker.waiting.cancel()
        for task in self._tasks:
            task.cancel()
        self._talkers.clear()
        self._in.clear()

    # ---------------------------------------------------------------- clients

    def came(self, now: float, client: Client) -> None:
        """A client was let in: it chats if its listener says so."""
        plan = self._hub.plan_of(client.member)
        if not plan.room:
            return
        talker = self._talkers[client.id] = Talker(client.id, client.member, plan)
        if plan.native == "auto" and client.member.protocol not in DATAGRAMS:
            talker.waiting = asyncio.get_running_loop().call_later(SILENCE, self._greet, talker)
        else:
            self._greet(talker)

    def recognised(self, client_id: int) -> None:
        """That client has a protocol after all."""
        talker = self._talkers.pop(client_id, None)
        if talker is not None:
            if talker.waiting is not None:
                talker.waiting.cancel()
            self._leave(talker, "")

    def said(self, now: float, client: Client, data: bytes) -> None:
        """A client said something, which may be half a line, or many."""
        talker = self._talkers.get(client.id)
        if talker is None:
            return
        talker.spoken = True
        self._greet(talker)
        whole = not comes_in_pieces(talker.plan.framing, client.member.protocol)
        for line in talker.reader.feed(data, whole=whole):
            if client.id not in self._talkers:
                return
            self._line(talker, line)

    def went(self, now: float, client: Client, reason: str) -> None:
        """A client left; a last line without an end was said all the same."""
        talker = self._talkers.get(client.id)
        if talker is None:
            return
        for line in talker.reader.rest():
            self._line(talker, line)
        if talker.waiting is not None:
            talker.waiting.cancel()
        self._leave(talker, reason)
        self._talkers.pop(client.id, None)

    def renamed(self, client: Client) -> None:
        """A client may have another name, by its own doing or an operator's."""
        talker = self._talkers.get(client.id)
        if talker is None or talker.room is None or talker.seat is None or talker.seat.name == client.name:
            return
        self._rooms.rename(talker.room, talker.seat, client.name)
        self._tell(talker, f"* You are {client.name} now.")

    def _greet(self, talker: Talker) -> None:
        """Let a newcomer into its listener's room, once."""
        if talker.waiting is not None:
            talker.waiting.cancel()
            talker.waiting = None
        native = self._hub.native
        if talker.greeted or talker.id not in self._talkers:
            return
        if native is not None and native.takes(talker.member.id):
            if native.greeting.is_silent(talker.member.id):
                loop = asyncio.get_running_loop()
                talker.waiting = loop.call_later(SILENCE, self._greet, talker)
            return  # its session is about to begin
        talker.greeted = True
        try:
            self._enter(talker, self._rooms.find(talker.plan.room))
        except RoomError as problem:
            self._tell_problem(talker, problem)

    # ---------------------------------------------------------------- what its lines do

    def _line(self, talker: Talker, line: Line) -> None:
        meant = lines.parse(line.data)
        if meant is None:
            return
        if not talker.pace.allow(time.monotonic()):
            if talker.pace.refused == 1:
                self._tell(talker, "* You talk too fast: lines are left out until you pause.")
            return
        if talker.pace.refused:
            self._tell(talker, f"* {talker.pace.refused} lines of yours were left out.")
            talker.pace.refused = 0
        if line.cut:
            self._tell(
                talker, f"* Your line was cut: {lines.LONGEST_LINE} bytes at most, {line.cut} left out."
            )
        try:
            if isinstance(meant, Say):
                self._say(talker, meant.body)
            else:
                self._do(talker, meant)
        except RoomError as problem:
            self._tell_problem(talker, problem)

    def _say(self, talker: Talker, body: bytes) -> None:
        if talker.room is None or talker.seat is None:
            raise RoomError(
                FORBIDDEN, "you are in no room", "/join ROOM takes you into one, /rooms lists them"
            )
        name = talker.room.name
        number = talker.numbers.get(name, 0) + 1
        self._rooms.publish(talker.room, talker.seat, number, body)
        talker.numbers[name] = number

    def _do(self, talker: Talker, command: Command) -> None:
        word, rest = command
        do: Callable[[Talker, str], None] | None = getattr(self, f"_do_{word}", None)
        if word not in lines.COMMANDS or do is None:
            what = f"there is no command /{word[:20]}"
            raise RoomError(FORBIDDEN, what, "/help lists them; //text says /text")
        do(talker, rest)

    def _do_nick(self, talker: Talker, rest: str) -> None:
        name = rest.strip()
        if not name:
            raise RoomError(FORBIDDEN, "/nick needs a NAME")
        if talker.room is not None:
            talker.room.check_nick(name, of=talker.seat)
        else:
            Room("nowhere").check_nick(name)
        try:
            before, lasting = self._hub.identities.rename(talker.id, name)
        except NameRefused as problem:
            raise RoomError(FORBIDDEN, str(problem)) from None
        self._hub.log("renamed", id=talker.id, name=name, before=before, lasting=lasting, by="itself")
        if talker.room is None or name == before:
            self._tell(talker, f"* You are {name} now.")

    def _do_who(self, talker: Talker, rest: str) -> None:
        self._tell(talker, lines.who(self._here(talker)))

    def _do_me(self, talker: Talker, rest: str) -> None:
        raise RoomError(FORBIDDEN, "/me needs a TEXT")

    def _do_msg(self, talker: Talker, rest: str) -> None:
        to, _, text = rest.partition(" ")
        room = self._here(talker)
        if not text.strip() or talker.seat is None:
            raise RoomError(FORBIDDEN, "/msg needs a NAME and a TEXT")
        seat = self._rooms.private(room, talker.seat, to, text.strip().encode("utf-8", "surrogateescape"))
        self._tell(talker, f"* You said that to {seat.name} alone.")

    def _do_topic(self, talker: Talker, rest: str) -> None:
        room = self._here(talker)
        if rest:
            assert talker.seat is not None
            self._rooms.set_topic(
                room, rest.encode("utf-8", "surrogateescape").decode("utf-8", "replace"), by=talker.seat.name
            )
        else:
            self._tell(talker, f"* Topic: {safe_text(room.topic)}" if room.topic else "* There is no topic.")

    def _do_rooms(self, talker: Talker, rest: str) -> None:
        open_to = [room for room in self._rooms if plain_may_enter(room, talker.plan.room)]
        for room in sorted(open_to, key=lambda room: room.name)[:100]:
            topic = f": {safe_text(room.topic)}" if room.topic else ""
            here = " (you are here)" if room is talker.room else ""
            self._tell(
                talker, f"* {room.name}, {len(room.seats)} member{'s' * (len(room.seats) != 1)}{here}{topic}"
            )
        if not open_to:
            self._tell(talker, "* There is no room.")

    def _do_join(self, talker: Talker, rest: str) -> None:
        room = self._rooms.rooms.get(name := rest.strip())
        if room is not None and not plain_may_enter(room, talker.plan.room):
            raise RoomError(NO_SUCH_ROOM, f"you cannot join {name}", "/rooms lists those that you can")
        if room is talker.room and room is not None:
            raise RoomError(FORBIDDEN, f"you are in {name} already")
        if room is None:
            kind: dict[str, Any] = {"durable": False, "lasting": False, "open_to_plain": True}
            maker = origin_of(talker.member)
            room = self._rooms.create(name, made_by=self._name(talker), maker=maker, **kind)
        self._leave(talker, f"to {name}" if plain_may_enter(room, "") else "")
        self._enter(talker, room)

    def _do_leave(self, talker: Talker, rest: str) -> None:
        name = self._here(talker).name
        self._leave(talker, "")
        self._tell(talker, f"* You left {name}; /join ROOM takes you into a room, /quit ends the connection.")

    def _do_history(self, talker: Talker, rest: str) -> None:
        room = self._here(talker)
        if rest and not (rest.isdecimal() and rest.isascii()):
            raise RoomError(FORBIDDEN, "/history takes a number", "such as /history 20")
        count = min(int(rest[:6] or 20), lines.MOST_HISTORY)
        messages, now = room.recent(count), self._hub.clock()
        self._tell(talker, *(lines.past(each, now) for each in messages))
        if not messages:
            self._tell(talker, "* Nothing was said yet.")

    def _do_search(self, talker: Talker, rest: str) -> None:
        room = self._here(talker)
        if not rest:
            raise RoomError(FORBIDDEN, "/search needs WORDS")
        if talker.searching is not None:
            raise RoomError(FORBIDDEN, "a search of yours is under way")
        talker.searching = self._later(self._search(talker, room, rest))

    async def _search(self, talker: Talker, room: Room, words: str) -> None:
        try:
            found = await self._rooms.search(words, rooms=[room], limit=FOUND, who=origin_of(talker.member))
            now = self._hub.clock()
            self._tell(talker, *(lines.past(message, now) for _, message in reversed(found)))
            if not found:
                self._tell(talker, "* Nothing like that was said here.")
        except RoomError as problem:
            self._tell_problem(talker, problem)
        except StoreError as problem:
            self._tell_problem(talker, RoomError(OVERLOADED, str(problem), problem.hint))
        finally:
            talker.searching = None

    def _do_help(self, talker: Talker, rest: str) -> None:
        self._tell(talker, *lines.help_lines())

    def _do_quit(self, talker: Talker, rest: str) -> None:
        self._tell(talker, "* Good bye.")
        self._hub.kick(talker.id, reset=False, by="itself", why="quit")

    def _here(self, talker: Talker) -> Room:
        if talker.room is None:
            raise RoomError(
                FORBIDDEN, "you are in no room", "/join ROOM takes you into one, /rooms lists them"
            )
        return talker.room

    # ---------------------------------------------------------------- rooms and names

    def _name(self, talker: Talker) -> str:
        client = self._hub.client(talker.id)
        return client.name if client is not None else f"client {talker.id}"

    def _enter(self, talker: Talker, room: Room) -> None:
        now = self._hub.clock()
        seat = self._sit(talker, room, now)
        self._tell(talker, *lines.welcome(room, seat, room.recent(lines.WELCOME_HISTORY), now))

    def _sit(self, talker: Talker, room: Room, now: float, *, telling: bool = True) -> Seat:
        entry = self._hub.identities.registry.entry_of(talker.id)
        identity = entry.identity if entry is not None and entry.identity else "plain"
        sender = f"{identity}/{self._rooms.run}-{talker.id}"
        seat = Seat(0, self.kind, talker.id, self._name(talker), sender, now)
        talker.room, talker.seat = room, seat
        try:
            return self._rooms.enter(room, seat, telling=telling)
        except RoomError:
            talker.room = talker.seat = None
            raise

    def _leave(self, talker: Talker, reason: str) -> None:
        room, seat = talker.room, talker.seat
        talker.room = talker.seat = None
        if talker.searching is not None:
            talker.searching.cancel()
        if room is not None and seat is not None:
            self._rooms.leave(room, seat, reason)

    # ---------------------------------------------------------------- as an outlet

    def entered(self, room: Room, seat: Seat) -> None:
        talker = self._talkers.get(seat.client)
        if talker is not None:
            self._in.setdefault(room.name, {})[seat.source] = talker

    def left(self, room: Room, seat: Seat, reason: str) -> None:
        inside = self._in.get(room.name, {})
        talker = inside.pop(seat.source, None)
        if not inside:
            self._in.pop(room.name, None)
        if talker is not None and talker.seat is seat:  # somebody else's doing
            talker.room = talker.seat = None
            self._tell(talker, f"* You are not in {room.name} any more: {safe_text(reason)}.")

    def heard(self, room: Room, said: Sequence[Said]) -> None:
        inside = self._in.get(room.name)
        if not inside:
            return
        heard = each_of(said)
        by_source = {each.source for each in heard}
        own = [source for source in by_source if source in inside]
        if not own:
            self._send(inside.values(), [lines.said(each.message) for each in heard])
            return
        # Nobody is told what it said itself: its terminal shows that already.
        silent = [talker for source, talker in inside.items() if source not in by_source]
        self._send(silent, [lines.said(each.message) for each in heard])
        for source in own:
            others = [lines.said(each.message) for each in heard if each.source != source]
            if others:
                self._send([inside[source]], others)

    def stored(self, room: Room, seat: Seat, number: int, sequence: int, size: int) -> None:
        """A talker is not told of what goes well."""

    def delayed(self, room: Room, seat: Seat, reason: str) -> None:
        talker = self._in.get(room.name, {}).get(seat.source)
        if talker is not None:
            self._tell(talker, f"* Not stored yet: {safe_text(reason)}; it is tried again.")

    def not_stored(self, room: Room, seat: Seat, number: int, size: int, problem: RoomError) -> None:
        talker = self._in.get(room.name, {}).get(seat.source)
        if talker is not None:
            self._tell_problem(talker, problem)

    def news(self, room: Room, news: News) -> None:
        inside = self._in.get(room.name, {})
        # Whoever just came sees who is there, and whoever has a new name knows it.
        silent = {*news.came, *(news.changed if len(news.changed) == 1 else ())}
        text = lines.news(news)
        if text:
            self._send([talker for source, talker in inside.items() if source not in silent], text)

    def topic(self, room: Room, by: str) -> None:
        text = f"* {safe_text(by)} changed the topic: {safe_text(room.topic) or 'none'}"
        self._send(self._in.get(room.name, {}).values(), [text])

    def private(self, to: Seat, room: Room, at: float, name: str, body: bytes) -> None:
        talker = self._in.get(room.name, {}).get(to.source)
        if talker is not None:
            self._send([talker], [lines.private(name, body)])

    # ---------------------------------------------------------------- sending

    def _tell(self, talker: Talker, *text: str) -> None:
        self._send([talker], text)

    def _tell_problem(self, talker: Talker, problem: RoomError) -> None:
        hint = f"; {problem.hint}" if problem.hint else ""
        self._tell(talker, f"* {safe_text(problem.message)}{safe_text(hint)}")

    def _send(self, talkers: Iterable[Talker], text: Sequence[str]) -> None:
        """Send lines to talkers, one shared buffer for all whose lines end alike."""
        if not text:
            return
        alike: dict[tuple[bytes, bool], list[Talker]] = {}
        for talker in talkers:
            in_packets = not comes_in_pieces(talker.plan.framing, talker.member.protocol)
            alike.setdefault((talker.ending, in_packets), []).append(talker)
        for (ending, in_packets), some in alike.items():
            for data in messages_of(text, ending, in_packets=in_packets):
                self._queue(some, data)

    def _queue(self, talkers: Sequence[Talker], data: bytes) -> None:
        members = [talker.member for talker in talkers if talker.spoken or not self._send_one(talker, data)]
        try:
            if members:
                self._hub.group.broadcast_nowait(data, to=members)
        except jackfield.FramingError as problem:  # the framing of a listener cannot carry it
            self._hub.log("room_not_carried", room=talkers[0].plan.room, reason=str(problem))
            return
        if self._hub.parts.wants("told"):
            for talker in talkers:
                if talker.id in self._talkers:
                    self._hub.told(talker.member, data, WHO)

    @staticmethod
    def _send_one(talker: Talker, data: bytes) -> bool:
        """Send to one talker that has not spoken; False where it has no room, which a broadcast counts.

        Broadcasts leave out who has said nothing on a listener for both kinds.
        """
        try:
            talker.member.send_nowait(data)
        except (jackfield.QueueFull, jackfield.FramingError):
            return False
        except (jackfield.ChannelClosed, jackfield.ChannelLost):
            return True
        return True

    def _later(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # ---------------------------------------------------------------- a reload

    def hand_over(self) -> dict[str, Any]:
        """Where everyone is, for `resume` of a successor."""
        return {
            str(talker.id): [talker.room.name if talker.room is not None else "", talker.reader.crlf]
            for talker in self._talkers.values()
            if talker.greeted
        }

    def resume(self, now: float, clients: Sequence[Client], handed: dict[str, Any]) -> None:
        """Go on where a predecessor was: nobody is greeted twice, and nobody is told as coming."""
        for client in clients:
            known = handed.get(str(client.id))
            if known is None:
                self.came(now, client)
                continue
            plan = self._hub.plan_of(client.member)
            if not plan.room:
                continue
            talker = self._talkers[client.id] = Talker(client.id, client.member, plan, greeted=True)
            talker.reader.crlf = bool(known[1])
            room = self._rooms.rooms.get(str(known[0]))
            if room is not None:
                self._sit(talker, room, now, telling=False)
