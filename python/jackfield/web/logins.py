"""Who is logged in: one-time links, and the sessions that they begin.

Owns the secrets, of which only hashes are kept. Everything is bounded, and ends by itself. Pure but for the
secrets, which are random: `now` is Unix seconds and comes in.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import asdict, dataclass
from typing import Any, Final

LINK_SECONDS: Final = 300.0
SESSION_SECONDS: Final = 12 * 3600.0
MAX_LINKS: Final = 100
MAX_SESSIONS: Final = 200


class LoginRefused(Exception):
    """A code begins no session; `code` is for programs."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Login:
    """One who is logged in; `key` names the session and is no secret, `csrf` is one."""

    key: str
    name: str
    role: str
    csrf: str
    ends: float


@dataclass(frozen=True, slots=True)
class _Link:
    name: str
    role: str
    ends: float


class Logins:
    """The links that were made, and the sessions that go on."""

    def __init__(self) -> None:
        self._links: dict[str, _Link] = {}
        self._used: dict[str, float] = {}
        self._sessions: dict[str, Login] = {}

    def link(self, now: float, *, name: str, role: str) -> str:
        """A code that begins one session within `LINK_SECONDS`."""
        self._forget(now)
        while len(self._links) >= MAX_LINKS:
            del self._links[next(iter(self._links))]
        code = "jfl_" + secrets.token_urlsafe(32)
        self._links[_hash(code)] = _Link(name, role, now + LINK_SECONDS)
        return code

    def begin(self, now: float, code: str) -> tuple[str, Login]:
        """The secret of a new session, and the session. Raises `LoginRefused`; a code is good for one."""
        self._forget(now)
        key = _hash(code)
        link = self._links.pop(key, None)
        if link is None:
            if key in self._used:
                raise LoginRefused("used_token", "this link was used already")
            raise LoginRefused("bad_token", "this link is not known, or it has expired")
        self._used[key] = link.ends
        return self.open(now, name=link.name, role=link.role)

    def open(self, now: float, *, name: str, role: str) -> tuple[str, Login]:
        """A session of someone who has shown who it is."""
        while len(self._sessions) >= MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        secret = secrets.token_urlsafe(32)
        key = _hash(secret)
        login = Login(key, name, role, secrets.token_urlsafe(24), now + SESSION_SECONDS)
        self._sessions[key] = login
        return secret, login

    def find(self, now: float, secret: str) -> Login | None:
        """The session of a secret, if there is one and it goes on."""
        login = self._sessions.get(_hash(secret))
        return login if login is not None and login.ends > now else None

    def goes_on(self, key: str) -> bool:
        """Whether the session of that key is there."""
        return key in self._sessions

    def end(self, key: str) -> bool:
        """End a session; whether there was one."""
        return self._sessions.pop(key, None) is not None

    def hand_over(self) -> list[dict[str, Any]]:
        """The sessions, for a successor; no secret of theirs can be made of it."""
        return [asdict(login) for login in self._sessions.values()]

    def take_over(self, handed: list[dict[str, Any]]) -> None:
        """Go on with a predecessor's sessions."""
        for each in handed:
            login = Login(**each)
            self._sessions[login.key] = login

    def _forget(self, now: float) -> None:
        self._links = {key: link for key, link in self._links.items() if link.ends > now}
        self._used = {key: ends for key, ends in self._used.items() if ends > now}
        self._sessions = {key: login for key, login in self._sessions.items() if login.ends > now}


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
