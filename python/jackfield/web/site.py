"""What one served console is made of, and who may do what in it.

Owns the decisions that every request goes through: whose it is, and whether it may. `app` is the routes,
`live` the WebSocket.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import HTTPConnection

from ..hub.operations import OPERATIONS
from ..hub.security.roles import OPERATOR, includes
from ..hub.security.roles import may as may_do
from . import composing
from .asking import Door
from .endpoint import Endpoint
from .guard import Attempts, is_own_host, is_own_origin
from .logins import Login, Logins
from .registry import ENDPOINTS, LIVE, undescribed

if TYPE_CHECKING:
    from .native import NativeDoor

CSRF: Final = "x-csrf-token"
HOW_TO_GET_IN: Final = (
    "make a link with 'jackfield console --web'; a program shows a token: Authorization: Bearer jf_..."
)
OWN: Final = frozenset(endpoint.op for endpoint in composing.ENDPOINTS)


class Refused(Exception):
    """A request is not done; carries what is answered."""

    def __init__(self, status: int, code: str, message: str, *, hint: str = "", retry: float = 0.0) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.hint = hint
        self.retry = retry


@dataclass(slots=True)
class Site:
    """One served console. Times are Unix seconds; `names` are hosts that mean this machine beside addresses.

    `token` gives the login of a bearer token, None for one that is none; `log` writes into the hub's log.
    """

    door: Door
    logins: Logins
    port: int
    secure: bool
    version: str
    names: Sequence[str] = ()
    clock: Callable[[], float] = time.time
    token: Callable[[str], Login | None] = lambda token: None
    log: Callable[..., None] = lambda kind, /, **facts: None
    attempts: Attempts = field(default_factory=Attempts)
    live: dict[str, set[asyncio.Task[Any]]] = field(default_factory=dict)  # by the session's key
    native: NativeDoor | None = None  # the way in for native clients, where there is one

    @property
    def cookie(self) -> str:
        """The session's cookie. Ports share cookies, so that its name has the port."""
        return f"__Host-jackfield_{self.port}" if self.secure else f"jackfield_{self.port}"

    def endpoints(self) -> dict[str, Endpoint]:
        """Everything that the API answers."""
        known = {op: ENDPOINTS.get(op) or undescribed(op) for op in OPERATIONS if op not in LIVE}
        return known | {each.op: each for each in composing.ENDPOINTS}

    def check_host(self, connection: HTTPConnection) -> str:
        """The Host header, if it means this server. Raises `Refused`."""
        host = connection.headers.get("host", "")
        if not is_own_host(host, port=self.port, names=self.names):
            hint = "open the address that 'jackfield console --web' prints"
            raise Refused(403, "forbidden", "this server has no such host name", hint=hint)
        return host

    def check_origin(self, connection: HTTPConnection) -> None:
        """Raise `Refused` unless the request comes from a page of this server."""
        host = self.check_host(connection)
        if not is_own_origin(connection.headers.get("origin"), host=host, secure=self.secure):
            raise Refused(403, "forbidden", "the request does not come from a page of this server")

    def who(self, connection: HTTPConnection, *, changes: bool) -> Login:
        """Who asks: by a bearer token, else by the cookie, and then from a page of ours. Raises `Refused`."""
        self.check_host(connection)
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            login = self._by_token(token.strip(), connection)
            if login is None:
                hint = "make one with 'jackfield token create --role operator'"
                raise Refused(401, "bad_token", "this token is not known, or it has expired", hint=hint)
            return login
        login = self.logins.find(self.clock(), connection.cookies.get(self.cookie, ""))
        if login is None:
            raise Refused(401, "not_logged_in", "nobody is logged in", hint=HOW_TO_GET_IN)
        if changes:
            self.check_origin(connection)
            if not _same(connection.headers.get(CSRF, ""), login.csrf):
                raise Refused(
                    403, "forbidden", "the session's X-CSRF-Token is missing", hint="load the page again"
                )
        return login

    def _by_token(self, token: str, connection: HTTPConnection) -> Login | None:
        peer = place(connection)
        login = self.token(token)
        if login is None:
            self.count_attempt(peer)
        return login

    def count_attempt(self, peer: str) -> None:
        """Raise `Refused` when a login was tried too often from there."""
        wait = self.attempts.wait(self.clock(), peer)
        if wait:
            self.log("login_refused", peer=peer, reason="too many attempts")
            message = f"too many logins were tried; wait {wait:.0f} s"
            raise Refused(429, "rate_limited", message, retry=wait)

    def check_may(self, login: Login, op: str) -> None:
        """Raise `Refused` unless that role may do that."""
        if not may(login.role, op):
            raise Refused(403, "forbidden", f"{op} is not for the role {login.role!r}")

    def end(self, login: Login) -> None:
        """End a session, and what goes on in it."""
        self.logins.end(login.key)
        self.cut(login.key)

    def cut(self, key: str) -> None:
        """End what goes on in a session."""
        for task in tuple(self.live.get(key, ())):
            task.cancel()


def may(role: str, op: str) -> bool:
    """Whether a role may do that; what only the API has is for whoever works with clients."""
    return includes(role, OPERATOR) if op in OWN else may_do(role, op)


def operator_name(login: Login) -> str:
    """How the hub's log names that session."""
    return login.key if login.key.startswith("token:") else f"web:{login.key[:6]}"


def place(connection: HTTPConnection) -> str:
    """Where a request comes from, for counting."""
    return connection.client.host if connection.client is not None else "unknown"


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())
