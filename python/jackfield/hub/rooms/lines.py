"""How a program without a protocol chats: bytes in, lines and commands out; and what it is shown. Pure.

Owns the cutting of what `nc`, telnet and datagrams send into lines, the commands that begin with `/`, how
fast one of them may talk, and how messages and news look as lines. Rules: what others said reaches a terminal
only as safe text; one message never looks like two members; what is too long for a line is cut, and said so.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from ..display import safe_text, show_bytes
from .room import News, Room, Seat
from .store import Message

LONGEST_LINE: Final = 4096  # bytes of one line; the rest of a longer one is left out
LINES_A_SECOND: Final = 10.0
LINES_AT_ONCE: Final = 50  # that somebody who was quiet may say without a pause
SHOWN_LINES: Final = 20  # of one message
SHOWN_BYTES: Final = 8192  # of one message
NAMED_AT_ONCE: Final = 5  # who came or went at once are named up to so many
WELCOME_HISTORY: Final = 10  # messages that a newcomer is shown
MOST_HISTORY: Final = 200
DATAGRAM: Final = 1200  # bytes that one datagram has at most, a longer line aside

_TELNET: Final = re.compile(rb"\xff(?:[\xfb-\xfe].|\xfa.*?\xff\xf0|[\xf0-\xf9])", re.DOTALL)
_COMMAND: Final = re.compile(r"/([A-Za-z]+)(?:\s+(.*))?", re.DOTALL)

COMMANDS: Final = {
    "nick": "/nick NAME         be called NAME",
    "who": "/who               who is here",
    "me": "/me TEXT           say what you do: '* you wave'",
    "msg": "/msg NAME TEXT     say something to one member alone",
    "topic": "/topic [TEXT]      show what the room is about, or change it",
    "rooms": "/rooms             the rooms that there are",
    "join": "/join ROOM         go to another room; one that is not there is made, until everyone left it",
    "leave": "/leave             leave the room and stay connected",
    "history": "/history [N]       what was said last",
    "search": "/search WORDS      what was said long ago",
    "help": "/help              this",
    "quit": "/quit              go",
}


class Line(NamedTuple):
    """One line that somebody sent, without its end; `cut` is how many bytes of it are left out."""

    data: bytes
    cut: int = 0


class Say(NamedTuple):
    """Something said to the room."""

    body: bytes


class Command(NamedTuple):
    """Something asked of the hub: a key of `COMMANDS`, or what was written in place of one."""

    word: str
    rest: str


class LineReader:
    """Chunks in, lines out. At most `LONGEST_LINE` bytes wait."""

    __slots__ = ("_cut", "_waiting", "crlf")

    def __init__(self) -> None:
        self._waiting = b""
        self._cut = 0  # bytes of the line at hand that are left out already
        self.crlf = False  # whether its lines end in CR LF

    def feed(self, data: bytes, *, whole: bool = False) -> list[Line]:
        """The lines that `data` finished; `whole` where its end ends a line, too (packets)."""
        *ended, rest = (self._waiting + data).split(b"\n")
        self._waiting = b""
        lines = []
        for line in ended:
            if line.endswith(b"\r"):
                self.crlf = True
            lines.append(self._line(line))
        if len(rest) > LONGEST_LINE:
            self._cut += len(rest) - LONGEST_LINE
            rest = rest[:LONGEST_LINE]
        self._waiting = rest
        return lines + self.rest() if whole else lines

    def rest(self) -> list[Line]:
        """What waits for its end, as a line; nothing when nothing waits."""
        waiting, self._waiting = self._waiting, b""
        return [self._line(waiting)] if waiting else []

    def _line(self, data: bytes) -> Line:
        cut, self._cut = self._cut, 0
        data = _TELNET.sub(b"", data).rstrip(b"\r\0")
        return Line(data[:LONGEST_LINE], cut + max(0, len(data) - LONGEST_LINE))


class Pace:
    """How often something may be done: `rate` times a second, `burst` at once, as a clock goes on."""

    __slots__ = ("_at", "_left", "burst", "rate", "refused")

    def __init__(self, *, rate: float = LINES_A_SECOND, burst: int = LINES_AT_ONCE) -> None:
        self.rate, self.burst = rate, burst
        self._left = float(burst)
        self._at = float("-inf")
        self.refused = 0  # in a row

    def allow(self, now: float) -> bool:
        """Whether once more is not too often."""
        if self._at != float("-inf"):
            self._left = min(self.burst, self._left + max(0.0, now - self._at) * self.rate)
        self._at = now
        if self._left < 1.0:
            self.refused += 1
            return False
        self._left -= 1.0
        return True


def parse(line: bytes) -> Say | Command | None:
    """What a line means; None for one without anything in it. `//text` says `/text`."""
    if not line.strip():
        return None
    if not line.startswith(b"/"):
        return Say(line)
    if line.startswith(b"//"):
        return Say(line[1:])
    match = _COMMAND.fullmatch(line.decode("utf-8", "surrogateescape").rstrip())
    if match is None:
        return Command(show_bytes(line[1:40]).split(" ")[0], "")
    word, rest = match[1].lower(), (match[2] or "").strip()
    if word == "me":
        return Say(b"/me " + rest.encode("utf-8", "surrogateescape")) if rest else Command("me", "")
    return Command(word, rest)


# What a talker is shown ---------------------------------------------------------------------------


def said(message: Message) -> str:
    """A message as a line, or as several that each begin with who said it."""
    return "\n".join(_said(message.name, message.body))


def _said(name: str, body: bytes) -> Iterator[str]:
    name = safe_text(name)
    if body.startswith(b"/me "):
        yield f"* {name} {show_bytes(body[4:SHOWN_BYTES], keep=chr(9))}"
        return
    lines = body[:SHOWN_BYTES].split(b"\n")
    if len(lines) > 1 and not lines[-1]:
        lines.pop()
    for line in lines[:SHOWN_LINES]:
        yield f"{name}: {show_bytes(line.removesuffix(bytes((13,))), keep=chr(9))}"
    if len(lines) > SHOWN_LINES or len(body) > SHOWN_BYTES:
        yield f"{name}: ... ({len(body)} bytes in all)"


def private(name: str, body: bytes) -> str:
    """A message to one member alone, as that one sees it."""
    return "\n".join(f"[private] {line}" for line in _said(name, body))


def past(message: Message, now: float) -> str:
    """A message of the past: with its time, and its day where that is not today."""
    when = stamp(message.at, now)
    return "\n".join(f"{when} {line}" for line in _said(message.name, message.body))


def stamp(at: float, now: float) -> str:
    """A moment as people read it, in this machine's time."""
    try:
        then, today = time.localtime(at), time.localtime(now)
    except (OverflowError, ValueError, OSError):
        return "--:--"
    same_day = (then.tm_year, then.tm_yday) == (today.tm_year, today.tm_yday)
    return time.strftime("%H:%M" if same_day else "%Y-%m-%d %H:%M", then)


def welcome(room: Room, seat: Seat, history: Sequence[Message], now: float) -> list[str]:
    """What a newcomer is told: where it is, who is there, what was said last."""
    lines = [
        f"* This is {room.name}. You are {safe_text(seat.name)}; /nick NAME changes that, /help says more."
    ]
    if room.topic:
        lines.append(f"* Topic: {safe_text(room.topic)}")
    lines.append(who(room))
    return lines + [past(message, now) for message in history]


def who(room: Room, *, most: int = 50) -> str:
    """Who is in the room, on one line."""
    names = room.names()
    if len(names) == 1:
        return "* Nobody else is here."
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"* {len(names)} are here: {', '.join(map(safe_text, names[:most]))}{more}"


def news(came_and_went: News) -> list[str]:
    """Who came, went and changed its name; a crowd is counted."""
    lines = [
        f"* {safe_text(before)} is now {safe_text(seat.name)}"
        for seat, before in list(came_and_went.changed.values())[:NAMED_AT_ONCE]
        if before != seat.name
    ]
    came = [safe_text(seat.name) for seat in came_and_went.came.values()]
    went = [
        f"{safe_text(seat.name)} left" + (f" ({safe_text(reason)})" if reason else "")
        for seat, reason in came_and_went.went.values()
    ]
    for told, did in (([f"{name} came" for name in came], "came"), (went, "left")):
        if len(told) > NAMED_AT_ONCE:
            lines.append(f"* {len(told)} {did}")
        else:
            lines += [f"* {each}" for each in told]
    return lines


def help_lines() -> list[str]:
    """The commands, as `/help` lists them."""
    return ["* A line is said to the room. Commands:", *(f"*   {line}" for line in COMMANDS.values())]


def messages_of(text: Sequence[str], ending: bytes, *, in_packets: bool) -> list[bytes]:
    """Lines as they go out: in one piece, or in packets that are not much longer than `DATAGRAM`."""
    encoded = [line.encode() + ending for several in text for line in several.split("\n")]
    if not in_packets:
        return [b"".join(encoded)]
    if not ending:  # a framing ends each line
        return encoded
    packets = [b""]
    for line in encoded:
        if packets[-1] and len(packets[-1]) + len(line) > DATAGRAM:
            packets.append(b"")
        packets[-1] += line
    return packets
