"""What native clients can ask for: every CONTROL request, gathered from the modules that do them.

A control is given the session that asked and the request. The dict it returns is the `ok`; None means that it
has answered, or answers later, by itself (`NativeSession.answer`). It may raise `RequestError` or `Refused`,
whose code the client is told. Requests of one client begin in the order in which they came; they may end in
any order. A *note* is a message that nobody answers: it has no number.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import jackfield

from ..protocol import BAD_REQUEST, Request, RequestError
from ..rooms import controls as rooms
from ..security.roles import CONTROLS as RIGHTS
from ..security.roles import may
from ..state_file import StateError
from . import messages, presence
from .effort import RATE, dense, read
from .handshake import Refused
from .turns import metered

if TYPE_CHECKING:
    from .session import NativeSession

ControlRequest = Request
"""A request of a native client: `id` is its number ("n"), `op` its type, `arguments` all else."""

Control = Callable[["NativeSession", ControlRequest], Awaitable[dict[str, Any] | None]]
Note = Callable[["NativeSession", dict[str, Any]], None]

CONTROLS: Final[dict[str, Control]] = {**messages.CONTROLS, **presence.CONTROLS, **rooms.CONTROLS}


def _bye(session: NativeSession, _body: dict[str, Any]) -> None:
    """The client leaves in order: its session ends with its connection."""
    session.is_leaving = True
    session.native.left_in_order(session)


NOTES: Final[dict[str, Note]] = {**messages.NOTES, "bye": _bye}

MOST_PENDING: Final = 64  # requests of one client that are being done
_tasks: set[asyncio.Task[None]] = set()  # asyncio itself holds tasks weakly


def receive(session: NativeSession, payload: bytes) -> None:
    """A client's CONTROL message: done when it is its turn. Raises `Refused` for what ends the connection."""
    is_within = session.count(1 + dense(payload))
    if not session.native.turns.add(
        session.flow, session.origin, (session, payload, is_within), len(payload)
    ):
        raise Refused("rate_limited", f"{session.flow.size} bytes of control messages wait already")


def work(session: NativeSession, payload: bytes, *, is_within: bool) -> str:
    """Do, or begin, what a CONTROL message says; of what type it is. Raises `Refused`, `ProtocolError`."""
    body = read(payload)
    kind, number = body.pop("type", None), body.pop("n", None)
    if number is not None and (type(number) is not int or not 0 <= number < 2**53):
        raise Refused("bad_json", "'n' must be a whole number from 0 on")
    if not isinstance(kind, str):
        raise Refused("bad_json", "a control message needs 'type', a text")
    problem = _refusal(session, kind, number, is_within=is_within)
    if problem is not None:
        if number is not None:
            session.push({"type": "error", "n": number, **problem.body()})
    elif number is None:
        NOTES[kind](session, body)
        return kind
    else:
        done = partial(session.native.turns.settle, session.flow, kind)
        task = asyncio.create_task(metered(_do(session, Request(number, kind, body)), done))
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)
        return kind
    return ""


def _refusal(session: NativeSession, kind: str, number: int | None, *, is_within: bool) -> Refused | None:
    """Why it is not done."""
    if not is_within:
        return Refused("rate_limited", f"more than {RATE:g} messages a second", "ask more slowly")
    known: Any = NOTES if number is None else CONTROLS
    if kind in ("hello", "welcome"):
        raise Refused("unknown_type", f"{kind} behind the handshake")
    if kind not in known:
        return Refused("unknown_type", f"no request of the type {kind[:40]!r} is known")
    if number is not None and not may(session.role, kind, table=RIGHTS):
        return Refused("forbidden", f"{kind} is not for the role {session.role}")
    if number is not None and session.pending >= MOST_PENDING:
        return Refused("overloaded", f"{MOST_PENDING} requests are being done already", "wait for answers")
    return None


async def _do(session: NativeSession, request: ControlRequest) -> None:
    session.pending += 1
    try:
        await session.hub.gate.wait()  # a reload under way ends first
        result = await CONTROLS[request.op](session, request)
        if result is not None:
            session.answer(request.id, result)
    except (RequestError, Refused) as problem:
        session.refuse(request.id, problem.code, problem.message, problem.hint)
    except StateError as problem:
        session.refuse(request.id, "failed", str(problem), problem.hint)
    except jackfield.JackfieldError as problem:
        session.refuse(request.id, "failed", str(problem))
    except Exception as problem:  # a fault of ours ends neither the hub nor this client
        fault = f"{type(problem).__name__}: {problem}"
        session.hub.log("fault", id=session.client_id, request=request.op, error=fault)
        session.refuse(request.id, "failed", "a fault of the hub; its log has it")
    finally:
        session.pending -= 1


def bad_request(message: str, hint: str = "") -> RequestError:
    """An argument that cannot be."""
    return RequestError(BAD_REQUEST, message, hint=hint)
