"""`jackfield chat ROOM`: take part in a room, at a terminal or by pipes.

Owns the conversation: what the hub tells of the room as lines, and typed lines as what is done. Whether an
operator talks (`chat_operator.py`) or a native client (`chat_member.py`) is the `Place`'s affair, and how a
terminal shows it that of `chat_terminal.py`. Everything that others said is shown as safe text.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from ..hub.display import safe_text
from ..hub.operator import Operator
from ..hub.protocol import RequestError
from ..hub.rooms import lines
from ..hub.rooms.rows import message_of
from ..hub.roster import NameRefused, check_name
from .failures import Failure
from .loop import run
from .operate import with_hub
from .streams import Input

ON_TERMINAL = 50  # messages that are shown first on a terminal
STORED_WITHIN = 30.0  # seconds that the end of a pipe waits for the disk
COMMANDS = ("/help", "/history", "/me", "/msg", "/quit", "/search", "/topic", "/who")


class Quit(Exception):
    """`/quit`, or the end of what is typed."""


class Place(Protocol):
    """Somebody's place in a room. What is asked for raises `RequestError` where the hub refuses it."""

    room: str
    name: str

    @property
    def source(self) -> int:
        """The seat, as events name it."""

    async def next(self) -> dict[str, Any]:
        """The next event, as `room_chat` tells it; `ended` with a reason is the last."""

    async def say(self, body: bytes) -> int:
        """Say something; its number, which the event `stored` tells again."""

    async def private(self, to: str, text: str) -> str:
        """Say something to one member alone; who that is."""

    async def topic(self, new: str | None) -> str:
        """The topic, after changing it unless `new` is None."""

    async def who(self) -> tuple[int, list[str]]:
        """How many are in the room, and the names of the first of them."""

    async def last(self, count: int) -> list[list[Any]]:
        """The rows of the last messages."""

    async def search(self, text: str) -> list[list[Any]]:
        """The rows of messages with these words, newest first."""

    async def note_seen(self, sequence: int) -> None:
        """Let the hub know that everything up to there was shown."""


def chat(
    room: str,
    *,
    name: str | None,
    last: int | None,
    follow: bool,
    as_json: bool,
    control: str | None,
    address: str | None,
    token: str | None,
    insecure_token: bool = False,
    create: bool = False,
) -> None:
    interactive = sys.stdin.isatty() and sys.stdout.isatty() and not as_json
    if last is None:
        last = ON_TERMINAL if interactive else 0
    names = [name] if name else _names()

    async def talk(place: Place, first: dict[str, Any]) -> None:
        chatting = Chatting(place, first)
        if interactive:
            from .chat_terminal import on_terminal

            await on_terminal(chatting)
        else:
            await _in_pipe(chatting, follow=follow, as_json=as_json)

    async def as_operator(operator: Operator) -> None:
        from .chat_operator import OperatorPlace

        await talk(*await OperatorPlace.enter(operator, room, names, last=last, create=create))

    async def as_client(address: str) -> None:
        from .chat_member import entered

        entering = entered(
            address, room, names, token=token, last=last, insecure_token=insecure_token, create=create
        )
        async with entering as (place, first):
            await talk(place, first)

    if address is None:
        with_hub(control, as_operator)
    else:
        run(lambda: as_client(address))


class Chatting:
    """The conversation at one place; `first` is the event that it began with."""

    def __init__(self, place: Place, first: dict[str, Any]) -> None:
        self.place = place
        self.room, self.name = place.room, place.name
        self.durable: bool = first["room"]["durable"]
        self.history: list[list[Any]] = first["history"]
        self.members: dict[int, str] = {each["source"]: each["name"] for each in first["members"]}
        self.seen: int = first.get("seen", 0)  # the sequence that was shown when this one was here last
        self.newest: int = first["room"]["last"]
        self.said = 0  # the number of the last message that was said
        self.stored = 0
        self.left: str | None = None
        self.changed = asyncio.Event()

    async def receive(self) -> dict[str, Any] | None:
        """The next event; None once this one is not in the room any more."""
        event = await self.place.next()
        if "ended" in event:
            self.left = str(event["ended"])
            self.changed.set()
            return None
        self._note(event)
        return event

    def _note(self, event: dict[str, Any]) -> None:
        for each in (*event.get("came", ()), *event.get("changed", ())):
            self.members[each["source"]] = each["name"]
        for each in event.get("left", ()) if isinstance(event.get("left"), list) else ():
            self.members.pop(each["source"], None)
        if "said" in event:
            self.newest = event["said"][-1][0]
        if "stored" in event:
            self.stored = event["stored"]
        self.changed.set()

    # ---------------------------------------------------------------- what is typed

    async def typed(self, line: str) -> list[str]:
        """Do what a line means; what to show for it. Raises `RequestError` and, for `/quit`, `Quit`."""
        meant = lines.parse(line.encode("utf-8", "surrogateescape"))
        if meant is None:
            return []
        if isinstance(meant, lines.Say):
            await self.say(meant.body)
            return []
        word, rest = meant
        match word:
            case "quit" | "leave":
                raise Quit
            case "msg" if " " in rest:
                to, _, text = rest.partition(" ")
                told = await self.place.private(to, text.strip())
                return [f"* You said that to {safe_text(told)} alone."]
            case "topic":
                topic = await self.place.topic(rest or None)
                return [] if rest else [f"* Topic: {safe_text(topic) or 'none'}"]
            case "who":
                many, found = await self.place.who()
                names = sorted({*found}, key=str.casefold)
                return [f"* {many} here: {', '.join(map(safe_text, names))}"]
            case "history":
                count = min(max(1, int(rest) if rest.isdecimal() and len(rest) < 5 else 20), 1000)
                return self.past(await self.place.last(count))
            case "search" if rest:
                shown = self.past((await self.place.search(rest))[::-1])
                return shown or ["* Nothing like that was said here."]
            case "help":
                known = [command.removeprefix("/") for command in COMMANDS]
                return [f"*   {lines.COMMANDS[command]}" for command in known]
            case _:
                if f"/{word}" in COMMANDS:
                    return [f"* /{word} says more: {lines.COMMANDS[f'/{word}']}"]
                return [f"* there is no command /{safe_text(word)}; /help lists them; //text says /text"]

    async def say(self, body: bytes) -> None:
        """Say something to the room. Raises `RequestError`."""
        self.said = await self.place.say(body)

    async def note_seen(self) -> None:
        """Let the hub know that everything up to now was shown; where it cannot be told, the next time."""
        with contextlib.suppress(RequestError):
            await self.place.note_seen(self.newest)

    # ---------------------------------------------------------------- what is shown

    @staticmethod
    def past(rows: list[list[Any]]) -> list[str]:
        """Messages of the past as lines."""
        now = time.time()
        return [line for row in rows for line in lines.past(message_of(row), now).split("\n")]

    def shown(self, event: dict[str, Any], *, stamps: bool) -> Iterator[str]:
        """An event as lines; of messages, those of others."""
        now = time.time()
        for *row, source in event.get("said", ()):
            if source != self.place.source:
                message = message_of(row)
                yield from (lines.past(message, now) if stamps else lines.said(message)).split("\n")
        if "private" in event:
            told = event["private"]
            text = told["text"] if "text" in told else f"({len(told['data']) * 3 // 4} bytes)"
            yield from lines.private(told["from"], text.encode("utf-8", "replace")).split("\n")
        if "problem" in event:
            yield f"* {safe_text(event['problem'])}"

    def news(self, event: dict[str, Any]) -> Iterator[str]:
        """Who came, went, and what the topic is now."""
        for each in event.get("changed", ()):
            if each["before"] != each["name"]:
                yield f"* {safe_text(each['before'])} is now {safe_text(each['name'])}"
        for what, did in (("came", "came"), ("left", "left")):
            found = event.get(what)
            others = [each for each in found or () if each["source"] != self.place.source]
            if len(others) > lines.NAMED_AT_ONCE:
                yield f"* {len(others)} {did}"
            else:
                for each in others:
                    why = f" ({safe_text(each['reason'])})" if each.get("reason") else ""
                    yield f"* {safe_text(each['name'])} {did}{why}"
        if "topic" in event:
            yield f"* {safe_text(event['by'])} changed the topic: {safe_text(event['topic']) or 'none'}"


def _names() -> list[str]:
    """The user's name, and others like it where that is taken."""
    try:
        user = getpass.getuser()
        check_name(user)
    except (NameRefused, OSError, KeyError):
        user = "desk"
    return [user, *(f"{user}-{number}" for number in range(2, 10))]


# -------------------------------------------------------------------- with pipes


async def _in_pipe(chatting: Chatting, *, follow: bool, as_json: bool) -> None:
    def write(text: str) -> None:
        print(text, flush=True)

    for row in chatting.history:
        write(json.dumps({"said": [row]}) if as_json else lines.past(message_of(row), time.time()))
    telling = asyncio.create_task(_tell(chatting, write, as_json=as_json))
    saying = asyncio.create_task(_say_all(chatting, write))
    try:
        await asyncio.wait({telling, saying}, return_when=asyncio.FIRST_COMPLETED)
        if saying.done():
            saying.result()
            if follow:
                await telling
            elif chatting.durable:
                await _until_stored(chatting, telling)
        if telling.done():
            telling.result()
            raise Failure(f"not in {chatting.room} any more: {safe_text(chatting.left or '')}")
    except Quit:
        await _until_stored(chatting, telling)
    finally:
        for task in (telling, saying):
            task.cancel()
        await asyncio.gather(telling, saying, return_exceptions=True)


async def _until_stored(chatting: Chatting, telling: asyncio.Task[None]) -> None:
    try:
        async with asyncio.timeout(STORED_WITHIN):
            while chatting.durable and chatting.stored < chatting.said and not telling.done():
                chatting.changed.clear()
                await chatting.changed.wait()
    except TimeoutError:
        missing = chatting.said - chatting.stored
        raise Failure(
            f"{missing} of {chatting.said} messages are not on the hub's disk after {STORED_WITHIN:.0f} s",
            "see 'jackfield logs'",
        ) from None


async def _tell(chatting: Chatting, write: Callable[[str], None], *, as_json: bool) -> None:
    while (event := await chatting.receive()) is not None:
        if as_json:
            write(json.dumps(event))
        else:
            for line in chatting.shown(event, stamps=False):
                write(line)


async def _say_all(chatting: Chatting, write: Callable[[str], None]) -> None:
    source = Input(sys.stdin.fileno())
    waiting = b""
    while data := await source.read():
        *whole, waiting = (waiting + data).split(b"\n")
        for line in whole:
            await _say(chatting, line, write)
    if waiting:
        await _say(chatting, waiting, write)


async def _say(chatting: Chatting, line: bytes, write: Callable[[str], None]) -> None:
    for shown in await chatting.typed(line.removesuffix(b"\r").decode("utf-8", "surrogateescape")):
        write(shown)
