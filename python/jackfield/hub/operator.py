"""An operator's end of the control socket: requests out, events and ends back.

Owns the pairing of replies with requests over one channel. Requests may overlap: one task reads
the channel and hands each reply to the request it belongs to. A hub elsewhere gets the token only
behind its word that it is one, at a listener for operators.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import jackfield

from . import protocol
from .control import lost_socket
from .protocol import RequestError

KIND_WITHIN: Final = 5.0  # seconds in which a hub elsewhere has to say that it is one


class NoHub(Exception):
    """No hub answers at the control path, or it went away; `hint` says how to start or find one."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Remote:
    """A hub on another machine: its listener for operators, and the token that is shown there.

    `kept` is called with the token that an invitation became.
    """

    address: jackfield.Address
    token: str
    kept: Callable[[str], None] = field(default=lambda token: None)
    source: str = ""
    """Where the token is from, for who is told that it is not wanted."""


def control_address(path: Path) -> jackfield.Address:
    """The control socket as an address; any character of the path is safe."""
    from urllib.parse import quote

    return jackfield.Address.parse(f"unix://{quote(str(path))}")


class Operator:
    """One connection to a hub. Made by `operate`."""

    def __init__(self, channel: jackfield.Channel) -> None:
        self._channel = channel
        self._next_id = 0
        self._waiting: dict[int, asyncio.Queue[dict[str, Any] | Exception]] = {}
        self._gone: Exception | None = None

    async def request(self, op: str, /, **arguments: Any) -> dict[str, Any]:
        """Do one thing; its `ok`. Raises `RequestError` as the hub says, `NoHub` when it went away.

        Cancelled, the request may or may not have been done.
        """
        result: dict[str, Any] = {}
        async for reply in self.stream(op, **arguments):
            result = reply
        return result

    async def stream(self, op: str, /, **arguments: Any) -> AsyncIterator[dict[str, Any]]:
        """The events of a request as they come, then its `ok` as the last item."""
        request_id, replies = await self.start(op, **arguments)
        try:
            while True:
                reply = await self.reply(replies)
                if "event" in reply:
                    yield reply["event"]
                else:
                    yield reply["ok"]
                    return
        finally:
            self._waiting.pop(request_id, None)

    async def start(
        self, op: str, /, **arguments: Any
    ) -> tuple[int, asyncio.Queue[dict[str, Any] | Exception]]:
        """Send a request; its id, and where its replies will be."""
        if self._gone is not None:
            raise self._gone
        self._next_id += 1
        replies: asyncio.Queue[dict[str, Any] | Exception] = asyncio.Queue()
        self._waiting[self._next_id] = replies
        request_id = self._next_id
        try:
            await self._channel.send(protocol.request(request_id, op, **arguments))
        except (jackfield.JackfieldError, OSError) as problem:
            # The reason why the hub hung up, if it told one, is among what it sent before.
            raise self._gone or _went_away(problem) from problem
        return request_id, replies

    async def reply(self, replies: asyncio.Queue[dict[str, Any] | Exception]) -> dict[str, Any]:
        """The next reply of a request: an object with `event` or `ok`; errors are raised."""
        reply = await replies.get()
        if isinstance(reply, Exception):
            raise reply
        if "error" in reply:
            raise _problem(reply["error"])
        return reply

    async def read(self) -> None:
        """Hand replies to their requests until the hub ends; then every request learns of it."""
        try:
            async for message in self._channel:
                self._take(protocol.parse_reply(message))
            problem: Exception = _went_away(None)
        except (jackfield.JackfieldError, OSError, RequestError) as trouble:
            problem = _went_away(trouble)
            problem.__cause__ = trouble
        self._gone = self._gone or problem
        for replies in self._waiting.values():
            replies.put_nowait(self._gone)

    def _take(self, reply: dict[str, Any]) -> None:
        if reply["id"] is None and "error" in reply:
            self._gone = _problem(reply["error"])  # said to the whole connection, before it is closed
        elif reply["id"] in self._waiting:
            self._waiting[reply["id"]].put_nowait(reply)


@asynccontextmanager
async def operate(where: Path | Remote) -> AsyncIterator[Operator]:
    """Connect to the hub at a control path, or to one elsewhere.

    Raises `NoHub`, and `RequestError` where a hub elsewhere does not want the token.
    """
    channel = await (_connect_remote(where) if isinstance(where, Remote) else _connect(where))
    operator = Operator(channel)
    reading = asyncio.create_task(operator.read())
    try:
        if isinstance(where, Remote):
            await _ask_kind(operator, where)
            said = await _show_token(operator, where)
            if "token" in said:
                where.kept(str(said["token"]))  # noqa: ASYNC240 - one small file, once
        yield operator
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        channel.abort()


async def _show_token(operator: Operator, where: Remote) -> dict[str, Any]:
    try:
        return await operator.request("hello", token=where.token)
    except RequestError as problem:
        if not where.source:
            raise
        hint = "a new invitation in --hub, JACKFIELD_TOKEN and --token-file count before it"
        raise RequestError(problem.code, f"{problem.message}: {where.source}", hint=hint) from problem


async def _ask_kind(operator: Operator, where: Remote) -> None:
    """Have the other end say that it is a listener for operators; nothing secret is sent before.

    Raises `NoHub` when it does not, `RequestError` where it lets nobody in.
    """
    try:
        async with asyncio.timeout(KIND_WITHIN):
            said = await operator.request("hello", versions=[protocol.PROTOCOL_VERSION])
    except TimeoutError:
        why = f"it has not said within {KIND_WITHIN:g} s what it is"
    except NoHub as gone:
        ended = gone.__cause__ is None or isinstance(gone.__cause__, ConnectionError)
        why = "it ended the connection" if ended else "what it says is no answer to an operator"
    else:
        if said.get("kind") == protocol.KIND:
            return
        why = "what it says is no answer to an operator"
    at = f"{where.address.scheme}://{where.address.endpoint}"
    raise NoHub(
        f"{at} is a listener for clients (or no hub at all): {why}",
        "a hub takes operators on a listener with protocol=control; the token was not sent",
    )


async def _connect_remote(where: Remote) -> jackfield.Channel:
    address = where.address.with_options(framing=None, max_message=None)
    try:
        return await jackfield.connect(
            address, framing=protocol.FRAMING, max_message=protocol.MAX_MESSAGE, connect_timeout=10.0
        )
    except (jackfield.JackfieldError, OSError) as problem:
        hint = getattr(problem, "hint", "") or "its listener for operators has protocol=control"
        raise NoHub(
            f"no hub for operators at {where.address.without_options()}: {problem}", hint
        ) from problem


async def _connect(path: Path) -> jackfield.Channel:
    try:
        return await jackfield.connect(
            control_address(path),
            framing=protocol.FRAMING,
            max_message=protocol.MAX_MESSAGE,
            connect_timeout=5.0,
        )
    except PermissionError as problem:
        raise NoHub(
            f"the hub at {path} belongs to another user", "run the command as that user or as root"
        ) from problem
    except (jackfield.JackfieldError, OSError) as problem:
        if lost := lost_socket(path):
            raise NoHub(*lost) from problem
        if path.exists() and not path.is_socket():  # noqa: ASYNC240 - it has failed already
            raise NoHub(
                f"{path} is no socket", "name the control socket of a hub with --control"
            ) from problem
        raise NoHub(
            f"no hub at {path}",
            "start one with 'jackfield serve tcp://127.0.0.1:7000', or name it with --control PATH",
        ) from problem


def _went_away(problem: Exception | None) -> NoHub:
    detail = f" ({problem})" if problem is not None and str(problem) else ""
    return NoHub(
        f"the hub ended the connection{detail}", "see its log, or start it again with 'jackfield serve'"
    )


def _problem(error: Any) -> RequestError:
    if not isinstance(error, dict):
        return RequestError(protocol.FAILED, "the hub reported an error without saying which")
    return RequestError(
        str(error.get("code", protocol.FAILED)),
        str(error.get("message", "the hub could not do that")),
        hint=str(error.get("hint", "")),
        candidates=[str(candidate) for candidate in error.get("candidates", [])],
    )
