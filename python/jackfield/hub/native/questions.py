"""Questions of operators to native clients: the hub asks for them, as any client asks (docs/protocol.md).

Each question has a stream of its own, which is reset behind its answer. A client that takes no questions
refuses the stream; one whose session ends leaves its questions without answers.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING, Final

import jackfield
from jackfield import portable
from jackfield.portable import CANCELLED, CREDIT, DATA, END, FRAME_COST, MORE, OPEN, RESET, Frame, to_json

from ..protocol import FAILED, NO_ANSWER, REFUSED, RequestError
from . import streams
from .follower import Follower

if TYPE_CHECKING:
    from .session import NativeSession

SERVICE: Final = "request"
GRANTED: Final = 256 * 1024  # credit that a client has for its answer, kept up as it is used
PIECE: Final = 32 * 1024  # bytes of one frame
LONGEST: Final = 16 * 1024 * 1024  # bytes of an answer
LONGEST_REASON: Final = 500  # characters of why there is none
NUMBER: Final = (1).to_bytes(4, "big")  # of the one question on a stream
FAILURE: Final = (1 + 2**31).to_bytes(
    4, "big"
)  # in its place: it could not be answered, and the body says why


class Questions(Follower):
    """The questions that wait for answers."""

    def __init__(self) -> None:
        self._waiting: dict[NativeSession, set[_Question]] = {}

    async def ask(self, session: NativeSession, data: bytes, by: str, timeout: float) -> bytes:
        """A client's answer within `timeout` seconds. Raises `RequestError`. Cancelled, it may be asked."""
        if SERVICE not in session.services:
            raise RequestError(
                REFUSED, f"{session.name} answers no questions", hint="say something to it: 'jackfield talk'"
            )
        question = _Question(session, data, by)
        same = self._waiting.setdefault(session, set())
        same.add(question)
        try:
            async with asyncio.timeout(timeout):
                return await question.answer
        except TimeoutError:
            raise RequestError(
                NO_ANSWER, f"{session.name} has not answered within {timeout:g} s", hint="see --timeout"
            ) from None
        finally:
            question.end()
            same.discard(question)
            if not same and self._waiting.get(session) is same:
                del self._waiting[session]

    def ended(self, session: NativeSession, reason: str) -> None:
        for question in self._waiting.pop(session, ()):
            question.fail(REFUSED, f"{session.name} left before it answered: {reason}")


class _Question:
    """One question, its stream, and what has come of the answer."""

    def __init__(self, session: NativeSession, data: bytes, by: str) -> None:
        """Opens the stream; the question goes out when the client takes it."""
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._session = session
        whole = NUMBER + data
        self._unsent = deque(whole[start : start + PIECE] for start in range(0, len(whole), PIECE))
        self._credit = 0  # what may be sent to the client
        self._used = 0  # of what was granted to it
        self._said = bytearray()  # of a message that is not whole
        self._longest = min(session.hub.settings.limits.max_message, LONGEST)
        self._is_over = True
        opening = to_json({"from": {"id": "", "name": by}, "service": SERVICE, "credit": GRANTED})
        try:
            self._stream = session.native.switch.next_stream(session.member_id)
            is_sent = session.send(self._stream, OPEN, opening)
        except (jackfield.ChannelClosed, ValueError) as problem:  # it has as many streams as it may
            self.fail(REFUSED, f"{session.name} cannot be asked: {problem}")
            return
        if not is_sent:
            self.fail(REFUSED, f"the queue of {session.name} is full, or it is leaving")
            return
        self._is_over = False
        with contextlib.suppress(jackfield.ChannelClosed, ValueError):  # it was refused already
            session.own(self._stream, self._frame)

    def fail(self, code: str, why: str) -> None:
        """There will be no answer."""
        if not self.answer.done():
            self.answer.set_exception(RequestError(code, why))

    def end(self) -> None:
        """Nobody waits for an answer any more. The stream is reset: the client may keep its side open."""
        if not self._is_over:
            self._is_over = True
            streams.reset(self._session, self._stream, CANCELLED, "nobody waits for an answer any more")

    def _frame(self, session: NativeSession, frame: Frame) -> None:
        if self._is_over:
            return
        if frame.kind == CREDIT:
            self._credit += int.from_bytes(frame.payload[:4], "big")
            self._send()
        elif frame.kind == DATA:
            self._data(frame)
        elif frame.kind == RESET:
            self._over()
            code = portable.RESETS.get(int.from_bytes(frame.payload[:4], "big"), "an unknown code")
            why = frame.payload[4:].decode("utf-8", "replace")[:LONGEST_REASON] or code.replace("_", " ")
            self.fail(REFUSED, f"{session.name} takes no question: {why} ({code})")
        elif frame.kind == END:
            self._over()
            session.send(frame.stream, END)
            self.fail(REFUSED, f"{session.name} ended the stream without an answer")

    def _send(self) -> None:
        while self._unsent and self._credit >= len(self._unsent[0]) + FRAME_COST:
            piece = self._unsent.popleft()
            self._credit -= len(piece) + FRAME_COST
            flags = MORE if self._unsent else 0
            if not self._session.send(self._stream, DATA, piece, flags=flags):
                self.fail(REFUSED, f"the queue of {self._session.name} is full")
                return

    def _data(self, frame: Frame) -> None:
        self._said += frame.payload
        self._used += len(frame.payload) + FRAME_COST
        if len(self._said) > self._longest + len(NUMBER):
            self.fail(FAILED, f"the answer of {self._session.name} is longer than {self._longest} bytes")
            return
        if self._used >= GRANTED // 2:
            self._session.send(self._stream, CREDIT, self._used.to_bytes(4, "big"))
            self._used = 0
        if frame.flags & MORE:
            return
        said, self._said = bytes(self._said), bytearray()
        number, body = said[: len(NUMBER)], said[len(NUMBER) :]
        if number not in (NUMBER, FAILURE) or self.answer.done():
            return
        if number == NUMBER:
            self.answer.set_result(body)
        else:
            why = body.decode("utf-8", "replace")[:LONGEST_REASON]
            self.fail(FAILED, f"{self._session.name} could not answer: {why}")

    def _over(self) -> None:
        self._is_over = True
        self._session.disown(self._stream)
