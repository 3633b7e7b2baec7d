"""What people type on a command line, rewritten into an address.

Every character of the address remembers where it was typed, so that an error points there.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field

from jackfield._address_form import DIGITS, SCHEMES, WEB_OPTION, quote
from jackfield._error_classes import InvalidAddress

_WEB = {"http": "80", "https": "443"}
_LENGTH_FIELDS = frozenset({"offset", "size", "order", "adjust"})
"""The fields of ``framing=length:...``, whose commas are its own."""
_COMMA = re.compile(r",(?=((?:jf\.)?[A-Za-z][A-Za-z0-9_-]*)(=[^,]*)?(?:,|$))")
"""A comma begins an option when a name follows, alone or with ``=``."""
_DEVICES = ("/dev/tty", "/dev/serial/", "/dev/pts/", "/dev/rfcomm")
"""Beginnings of paths that are serial devices, not sockets."""
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")


@dataclass
class Rewritten:
    """An address text, and for each of its characters (and its end) the position in what was typed."""

    typed: str
    text: str = ""
    positions: list[int] = field(default_factory=list)

    def add(self, text: str, position: int) -> None:
        """Append text that stands for the character typed at the position."""
        self.text += text
        self.positions += [position] * len(text)

    def copy(self, start: int, end: int) -> None:
        """Append a part of what was typed."""
        self.text += self.typed[start:end]
        self.positions += range(start, end)


def rewrite(words: tuple[str, ...]) -> Rewritten:
    """The address that the words stand for. Raises ``InvalidAddress`` unless there are one or two words."""
    result = Rewritten(" ".join(words))
    if len(words) not in (1, 2):
        position = len(words[0]) + len(words[1]) + 2 if words else 0
        raise InvalidAddress(
            result.typed,
            position,
            f"{len(words)} words are no address",
            "write one address, such as tcp://127.0.0.1:7000, or a host and a port",
        )
    last = len(result.typed) - len(words[-1])
    head_end, options = _options(result.typed, last)
    if len(words) == 1:
        _one_word(result, head_end)
    else:
        _host_and_port(result, len(words[0]), head_end)
    for index, (start, end) in enumerate(options):
        result.add("&" if index else "?", start - 1)
        result.copy(start, end)
    result.positions.append(len(result.typed))
    return result


def _options(typed: str, start: int) -> tuple[int, list[tuple[int, int]]]:
    """Where the options begin, and the start and end of each; commas count only where no ``?`` is.

    The query of ``https://`` asks the web server for something and is dropped.
    """
    question = typed.find("?", start)
    scheme = _SCHEME.match(typed, start)
    name = scheme[1].lower() if scheme else ""
    if question >= 0:
        return question, [] if name in _WEB else [(question + 1, len(typed))]
    starts: list[int] = []
    in_length_framing = False
    for comma in _COMMA.finditer(typed, start):
        option, value = comma[1], comma[2] or ""
        if in_length_framing and option in _LENGTH_FIELDS:
            continue
        if name in ("ws", "wss") and not option.startswith(WEB_OPTION):
            continue
        in_length_framing = option.removeprefix(WEB_OPTION) == "framing" and value.startswith("=length:")
        starts.append(comma.start() + 1)
    if not starts:
        return len(typed), []
    ends = [following - 1 for following in starts[1:]] + [len(typed)]
    return starts[0] - 1, list(zip(starts, ends, strict=True))


def _one_word(result: Rewritten, end: int) -> None:
    head = result.typed[:end]
    scheme = _SCHEME.match(head)
    name = scheme[1].lower() if scheme else ""
    if name in _WEB and head.startswith("//", len(name) + 1):
        _web(result, len(name) + 3, end, _WEB[name])
    elif scheme and (name in SCHEMES or head.startswith("//", scheme.end())):
        result.copy(0, end)
    elif DIGITS.fullmatch(head):
        result.add("tcp://:", 0)
        result.copy(0, end)
    elif head.startswith(("/", "@", "./", "../")):
        result.add("serial://" if head.startswith(_DEVICES) else "unix://", 0)
        if head.startswith("."):
            result.add(quote(os.path.abspath(head)), 0)
        else:
            for position in range(end):
                result.add(quote(result.typed[position]), position)
    elif head:
        result.add("tcp://", 0)
        result.copy(0, end)


def _web(result: Rewritten, start: int, end: int, port: str) -> None:
    """``https://host[:port][/path]``: the connection below, for checking it."""
    slash = result.typed.find("/", start, end)
    host_end = end if slash < 0 else slash
    result.add("tcp://", 0)
    result.copy(start, host_end)
    authority = result.typed[start:host_end]
    if authority and ":" not in authority.rpartition("]")[2]:
        result.add(f":{port}", host_end)


def _host_and_port(result: Rewritten, host_end: int, end: int) -> None:
    host = result.typed[:host_end]
    if "://" in host:
        message = "a word after the address"
        raise InvalidAddress(result.typed, host_end + 1, message, f"write {host} alone, or a host and a port")
    bare_ipv6 = host.count(":") > 1 and not host.startswith("[")
    result.add("tcp://" + "[" * bare_ipv6, 0)
    result.copy(0, host_end)
    result.add("]" * bare_ipv6 + ":", host_end)
    result.copy(host_end + 1, end)
