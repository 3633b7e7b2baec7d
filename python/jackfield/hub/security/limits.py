"""How much one client and one address may do in a time: messages, bytes, connects, wrong tokens.

Pure: the time comes with each call. Memory is bounded: of addresses only those are known that did something
lately, at most `MOST_ADDRESSES`. Hosts of one IPv6 network (/64) count as one: one machine has them all.
"""

from __future__ import annotations

import ipaddress
import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from .access import host_of

MOST_ADDRESSES: Final = 10_000
BURST: Final = 5.0  # seconds of a rate that may come at once

FREE_FAILURES: Final = 5  # wrong tokens of one address before it has to wait
FIRST_WAIT: Final = 1.0  # seconds after the next one; each one more doubles it
LONGEST_WAIT: Final = 300.0
FORGIVEN_AFTER: Final = 600.0  # seconds without a wrong token

_RATE: Final = re.compile(r"(\d{1,15})([KMG]?)(?:/s)?")
_UNITS: Final = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}


@dataclass(frozen=True, slots=True)
class Rates:
    """What is allowed per second; None is no limit.

    `messages` and `bytes` are of one client, `connects` of one address. A client that goes beyond is
    disconnected, and counted; of datagrams what is beyond is dropped, and counted.
    """

    messages: int | None = None
    bytes: int | None = None
    connects: int | None = None


UNLIMITED: Final = Rates()
REMOTE: Final = Rates(messages=20_000, bytes=256 * 1024**2, connects=200)
"""Of listeners that other machines can reach, unless they say otherwise; this machine's are not limited."""


def parse_rate(text: str, *, sized: bool = False) -> int | None:
    """`100/s`, `20000`, with `sized` also `64M/s`; None for `none`. Raises ValueError."""
    if text in ("none", "off"):
        return None
    match = _RATE.fullmatch(text)
    if match is None or (match[2] and not sized) or int(match[1]) == 0:
        example = "64M/s" if sized else "100/s"
        raise ValueError(f"{text[:40]!r} is not a rate: write such as {example}, or none")
    return int(match[1]) * _UNITS[match[2]]


class Bucket:
    """A rate with room for `BURST` seconds of it at once."""

    __slots__ = ("_left", "_rate", "_since")

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._left = rate * BURST
        self._since = now

    def take(self, amount: float, now: float) -> bool:
        """Whether so much is within the rate; it is taken if it is."""
        if now > self._since:
            self._left = min(self._rate * BURST, self._left + (now - self._since) * self._rate)
        self._since = now
        # An amount beyond any burst passes a full bucket, which is then in debt.
        if self._left < min(amount, self._rate * BURST):
            return False
        self._left -= amount
        return True


class Meter:
    """What one client says, held against the rates of its listener."""

    __slots__ = ("_bytes", "_messages", "_rates")

    def __init__(self, rates: Rates, now: float) -> None:
        self._rates = rates
        self._messages = Bucket(rates.messages, now) if rates.messages else None
        self._bytes = Bucket(rates.bytes, now) if rates.bytes else None

    def over(self, size: int, now: float) -> str:
        """Take in a message of so many bytes; what it went beyond, empty when it is within the rates."""
        if self._messages is not None and not self._messages.take(1, now):
            return f"more than {self._rates.messages} messages a second (message_rate)"
        if self._bytes is not None and not self._bytes.take(size, now):
            return f"more than {self._rates.bytes} bytes a second (byte_rate)"
        return ""


@dataclass(slots=True)
class _Failures:
    count: int
    last: float
    until: float


class Addresses:
    """What addresses do before anyone is let in: connects, and wrong tokens."""

    def __init__(self) -> None:
        self._connects: OrderedDict[str, Bucket] = OrderedDict()
        self._failures: OrderedDict[str, _Failures] = OrderedDict()

    def connect(self, host: str | None, rate: int | None, now: float) -> bool:
        """Whether one more connect of that host is within the rate."""
        if rate is None or host is None:
            return True
        key = key_of(host)
        bucket = self._connects.pop(key, None) or Bucket(rate, now)
        self._connects[key] = bucket
        _shrink(self._connects)
        return bucket.take(1, now)

    def wait(self, host: str | None, now: float) -> float:
        """Seconds that a host has to wait before another wrong token of it is looked at; 0 for none."""
        found = self._failures.get(key_of(host))
        return 0.0 if found is None else max(0.0, found.until - now)

    def failed(self, host: str | None, now: float) -> int:
        """Someone at that host showed a wrong token; how many it were, since it was forgiven last."""
        key = key_of(host)
        found = self._failures.pop(key, None)
        if found is None or now - found.last > FORGIVEN_AFTER:
            found = _Failures(0, now, now)
        found.count += 1
        found.last = now
        over = found.count - FREE_FAILURES
        if over > 0:
            found.until = now + min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(over - 1, 30))
        self._failures[key] = found
        _shrink(self._failures)
        return found.count

    def waiting(self, now: float) -> int:
        """How many addresses have to wait."""
        return sum(found.until > now for found in self._failures.values())


def key_of(host: str | None) -> str:
    """What counts as one address."""
    if host is None:
        return "local"
    at = host_of(host)
    if isinstance(at, ipaddress.IPv6Address) and not at.is_loopback:
        return str(ipaddress.IPv6Network((int(at) >> 64 << 64, 64)))
    return host if at is None else str(at)


def _shrink(known: OrderedDict[str, Bucket] | OrderedDict[str, _Failures]) -> None:
    while len(known) > MOST_ADDRESSES:
        known.popitem(last=False)
