"""The switch of a group: frames of native clients go from stream to stream without Python.

A native client speaks the Jackfield protocol (docs/protocol.md). The engine recognises it by its first bytes,
counts and acknowledges its frames, answers its PING, and passes on what is routed; what has to be decided
reaches Python as ``Message`` events whose data is one whole frame.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from jackfield import _engine
from jackfield._engine import FellBehind, Member, Published, Recognised, Session
from jackfield._when_full import WhenFull

__all__ = [
    "Fan",
    "FanStatistics",
    "FellBehind",
    "FrameKind",
    "Published",
    "Recognised",
    "Session",
    "Switch",
    "SwitchCounts",
]

FAN_CREDIT = 256 * 1024
"""What a member of a fan that publishes may send at first: payloads, and 16 bytes for each message."""


LONGEST = 65_516
"""Bytes behind the number that what is published begins with: what a frame carries."""


class FrameKind(IntEnum):
    """What a frame is: the fifth byte of its header."""

    CONTROL = 0
    OPEN = 1
    DATA = 2
    END = 3
    RESET = 4
    CREDIT = 5
    ACK = 6
    PING = 7
    PONG = 8


class SwitchCounts(NamedTuple):
    """What the session of a native client has counted."""

    received: int
    """Counted frames from the client."""
    sent: int
    """Counted frames to the client."""
    kept: int
    """Bytes that are kept for it, since it has not acknowledged them: 4 MiB at most."""


class FanStatistics(NamedTuple):
    """What a fan has done."""

    members: int
    """Members, those that are left out included."""
    behind: int
    """Members that are left out until ``add`` takes them in again."""
    sent: int
    """Messages that were sent to it."""
    delivered: int
    """Messages that were queued for members."""
    dropped: int
    """Messages that members have missed."""
    sequence: int
    """The last sequence."""


class Fan(_engine.Fan):
    """One stream to many members, made by ``Switch.fan``: what is sent is framed once and shared.

    A delivered frame is DATA with the flag SHARED; its payload is the source (u32), the sequence (u64), and
    what was sent. Deliveries are not counted and not sent again. What is sent within one turn of the loop
    leaves as one buffer.
    """

    __slots__ = ()

    credit = FAN_CREDIT

    def statistics(self) -> FanStatistics:
        """Members, and what became of the messages."""
        return FanStatistics(*self._statistics())


class Switch(_engine.Switch):
    """Who among a group's members is connected to whom: ``group.switch``.

    Members are named by ``Member`` or by their id; a held ``Session`` can stand where a member can. The first
    frame of a client is its HELLO, and nothing more of it is read before the first ``send`` to it, a CONTROL
    frame, has answered; these two are not counted.

    Every call raises ``ChannelClosed`` for a member that has left, and ``ValueError`` for one that is not
    native or a stream that does not allow it.
    """

    __slots__ = ()

    def fan(
        self,
        stream: int,
        *,
        publish: bool = False,
        when_full: WhenFull | str = WhenFull.DROP_NEWEST,
        recent: int | None = None,
        longest: int = LONGEST,
        sequence: int = 0,
    ) -> Fan:
        """A new fan, on a stream of an even number that is the same at each member.

        ``next_stream()`` gives a free number. With ``publish`` the engine itself sends what members send on
        the stream to all of them, the sender included, and counts the sequence; else their DATA reaches
        Python.

        A member whose queue is full misses what does not fit: with ``publish`` it goes on behind the gap,
        without it a ``FellBehind`` event tells from which sequence on it is left out, until ``add``. With
        ``when_full="disconnect"`` it leaves instead. Raises ``ValueError`` for other policies and for a
        stream that another fan has.

        With ``publish`` and ``recent`` the engine keeps so many of the last messages, 256 KiB at most, for
        ``Fan.recent``. What a member sends has to be a number (u64, from 1 to 2**63 - 1) and at most
        ``longest`` bytes then, in one frame: anything else reaches Python. A member whose queue is full is
        left out with a ``FellBehind`` event. ``Fan.publish(on=False)`` gives all that members send to Python
        for a while. The first message has the sequence behind ``sequence``.
        """
        policy = WhenFull(when_full)
        if policy not in (WhenFull.DROP_NEWEST, WhenFull.DISCONNECT):
            raise ValueError(f"a fan cannot {policy}: it is drop_newest or disconnect")
        kept = (recent or 0, longest, sequence)
        return Fan(self, stream, publish, policy is WhenFull.DISCONNECT, kept)

    def counts(self, member: Member | Session | int) -> SwitchCounts:
        """What the session of a native client has counted."""
        return SwitchCounts(*self._counts(member))
