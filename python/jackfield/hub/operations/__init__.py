"""What operators can ask for: every request of `hub/protocol.py`, one module per family.

An operation is given the session that asked and the request. What it returns is the `ok`; None means that
the request goes on, and its `ok` comes later. It may raise what `Session` knows to tell an operator.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from . import (
    about,
    asks,
    clients,
    dials,
    following,
    mail,
    naming,
    questions,
    recording,
    reloading,
    replies,
    rooms,
    scripts,
    security,
    sends,
    watch,
    web,
)

if TYPE_CHECKING:
    from ..protocol import Request
    from ..session import Session

Operation = Callable[["Session", "Request"], Awaitable[dict[str, Any] | None]]

OPERATIONS: Final[dict[str, Operation]] = {
    **about.OPERATIONS,
    **asks.OPERATIONS,
    **clients.OPERATIONS,
    **dials.OPERATIONS,
    **following.OPERATIONS,
    **mail.OPERATIONS,
    **naming.OPERATIONS,
    **questions.OPERATIONS,
    **recording.OPERATIONS,
    **reloading.OPERATIONS,
    **replies.OPERATIONS,
    **rooms.OPERATIONS,
    **scripts.OPERATIONS,
    **security.OPERATIONS,
    **sends.OPERATIONS,
    **watch.OPERATIONS,
    **web.OPERATIONS,
}
