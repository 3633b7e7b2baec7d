"""Tokens and invitations: what someone shows to be let in.

Owns the documents of kind `token` in the hub's state. A token is `jf_` and 32 random bytes; the state has its
SHA-256 and never the token itself, so that who reads the state's file can let nobody in. An invitation is
used once: it is marked as used, and the token that comes in its place is made, in one step. A used, expired
or revoked one is remembered for `REMEMBERED`, so that the audit log can tell what was tried.

Time is `Clock`'s: it never goes back, so that a machine whose clock is set back makes nothing valid again.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final, Protocol

from .lookalikes import looks
from .roles import MEMBER, ROLES

KIND: Final = "token"  # of the documents
TOKEN: Final = "token"
INVITATION: Final = "invitation"
PREFIX: Final = "jf_"
SECRET_BYTES: Final = 32
_SECRET: Final = re.compile(r"jf_[A-Za-z0-9_-]{43}")
INVITED_FOR: Final = 86_400.0  # seconds that an invitation is good for
REMEMBERED: Final = 30 * 86_400.0  # seconds that one that is good for nothing any more is remembered
MOST: Final = 10_000  # tokens and invitations of one hub

VALID: Final = "valid"
EXPIRED: Final = "expired"
USED: Final = "used"
REVOKED: Final = "revoked"
UNKNOWN: Final = "unknown"


class Documents(Protocol):
    """Where tokens are kept: `hub.state.State` has these."""

    def load(self, kind: str) -> dict[str, dict[str, Any]]: ...
    def save(self, kind: str, name: str, value: Mapping[str, Any]) -> None: ...
    def delete(self, kind: str, name: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Token:
    """One token or invitation as the hub knows it. Times are Unix seconds, None for never.

    `id` is public. `name` is the identity that it gives, empty for none; `listeners` are the addresses at
    which it is good, none for all. `from_invitation` is the id of the invitation that it came of.
    """

    id: str
    hash: str
    kind: str = TOKEN
    role: str = MEMBER
    name: str = ""
    listeners: tuple[str, ...] = ()
    made: float = 0.0
    made_by: str = ""
    expires: float | None = None
    used: float | None = None
    used_from: str = ""
    revoked: float | None = None
    from_invitation: str = ""

    def state(self, now: float) -> str:
        """`VALID`, or why it is not."""
        if self.revoked is not None:
            return REVOKED
        if self.kind == INVITATION and self.used is not None:
            return USED
        return EXPIRED if self.expires is not None and now >= self.expires else VALID

    def view(self, now: float) -> dict[str, Any]:
        """What an operator may know of it: all but the hash."""
        shown = asdict(self)
        del shown["hash"]
        return {**shown, "listeners": list(self.listeners), "state": self.state(now)}


class TokenRefused(ValueError):
    """There can be no such token; the message says why."""


class Clock:
    """Wall-clock time that never goes back: where the wall clock does, it goes on by the monotonic one."""

    def __init__(self) -> None:
        self._latest = 0.0
        self._passed = 0.0

    def tell(self, wall: float, passed: float) -> float:
        """The time, from what both clocks say."""
        on = max(0.0, passed - self._passed) if self._passed else 0.0
        self._passed = passed
        self._latest = max(wall, self._latest + on)
        return self._latest

    def seen(self, when: float) -> None:
        """It has been that late already."""
        self._latest = max(self._latest, when)


def make_secret(random: bytes) -> str:
    """A token's text from `SECRET_BYTES` random bytes."""
    return PREFIX + base64.urlsafe_b64encode(random).rstrip(b"=").decode("ascii")


def digest(secret: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def looks_like_token(text: object) -> bool:
    """Whether something has the form of a token. What has not is not worth looking up."""
    return isinstance(text, str) and _SECRET.fullmatch(text) is not None


class Tokens:
    """The tokens of one hub. `random` gives as many random bytes as it is asked for."""

    def __init__(self, documents: Documents, random: Callable[[int], bytes]) -> None:
        self._documents = documents
        self._random = random
        self._by_id: dict[str, Token] = {}
        self._by_hash: dict[str, Token] = {}

    def load(self) -> float:
        """Take in what the state has; the latest time that any of it speaks of. Raises `StateError`."""
        latest = 0.0
        for name, document in self._documents.load(KIND).items():
            token = _read(name, document)
            if token is not None:
                self._put(token)
                latest = max(latest, token.made, token.used or 0.0, token.revoked or 0.0)
        return latest

    def __iter__(self) -> Iterator[Token]:
        return iter(sorted(self._by_id.values(), key=lambda token: token.made))

    def __len__(self) -> int:
        return len(self._by_id)

    def find(self, id_: str) -> Token | None:
        """The token with that id."""
        return self._by_id.get(id_)

    def look_up(self, secret: str) -> Token | None:
        """The token that somebody shows, whatever its state."""
        return self._by_hash.get(digest(secret)) if looks_like_token(secret) else None

    def named(self, name: str, now: float) -> bool:
        """Whether that name is somebody's who has a token, or is invited by it."""
        return any(token.name == name and token.state(now) == VALID for token in self._by_id.values())

    def resembles(self, name: str, now: float) -> bool:
        """Whether that looks like the name of somebody who has a token, and is not the same."""
        look = looks(name)
        return any(
            token.name and token.name != name and looks(token.name) == look and token.state(now) == VALID
            for token in self._by_id.values()
        )

    def create(
        self,
        now: float,
        *,
        kind: str = TOKEN,
        role: str = MEMBER,
        name: str = "",
        listeners: tuple[str, ...] = (),
        expires: float | None = None,
        by: str = "",
        from_invitation: str = "",
    ) -> tuple[Token, str]:
        """Make one; what the hub keeps, and its text, which nobody can have again.

        `expires` is in seconds from now, None for never. Raises `TokenRefused`.
        """
        if role not in ROLES:
            raise TokenRefused(f"there is no role {role[:40]!r}; there are {', '.join(ROLES)}")
        if expires is not None and not 0 < expires <= 100 * 365 * 86_400.0:
            raise TokenRefused(
                f"it cannot expire in {expires:g} s: take more than nothing and less than 100 years"
            )
        self._forget_old(now)
        if len(self._by_id) >= MOST:
            raise TokenRefused(f"the hub has its {MOST} tokens; revoke some (`jackfield token ls`)")
        secret = make_secret(self._random(SECRET_BYTES))
        id_ = self._free_id()
        until = None if expires is None else now + expires
        token = Token(
            id_, digest(secret), kind, role, name, listeners, now, by, until, from_invitation=from_invitation
        )
        self._keep(token)
        return token, secret

    def redeem(self, invitation: Token, now: float, *, name: str, where: str) -> tuple[Token, str]:
        """Mark an invitation as used by someone at `where`, and make the token that takes its place.

        Raises `TokenRefused`, and then nothing has changed.
        """
        if invitation.kind != INVITATION or invitation.state(now) != VALID:
            raise TokenRefused("it is no invitation that could be redeemed")
        made = self.create(
            now,
            role=invitation.role,
            name=invitation.name or name,
            listeners=invitation.listeners,
            by=f"invitation {invitation.id}",
            from_invitation=invitation.id,
        )
        self._keep(replace(invitation, used=now, used_from=where))
        return made

    def take_back(self, invitation: Token, made: Token) -> None:
        """An invitation was not redeemed after all: nobody has the token that it became."""
        self._drop(made)
        self._keep(invitation)

    def revoke(self, id_: str, now: float) -> Token | None:
        """From now on it lets nobody in, for good; None if there is none with that id."""
        token = self._by_id.get(id_)
        if token is None:
            return None
        if token.revoked is None:
            token = replace(token, revoked=now)
            self._keep(token)
        return token

    def _forget_old(self, now: float) -> None:
        for token in [*self._by_id.values()]:
            over = [when for when in (token.revoked, token.expires, _if_spent(token)) if when is not None]
            if over and min(over) + REMEMBERED < now:
                self._drop(token)

    def _free_id(self) -> str:
        while (id_ := self._random(4).hex()) in self._by_id:
            pass
        return id_

    def _keep(self, token: Token) -> None:
        self._put(token)
        self._documents.save(KIND, token.id, {**asdict(token), "listeners": list(token.listeners)})

    def _put(self, token: Token) -> None:
        self._by_id[token.id] = token
        self._by_hash[token.hash] = token

    def _drop(self, token: Token) -> None:
        self._by_id.pop(token.id, None)
        self._by_hash.pop(token.hash, None)
        self._documents.delete(KIND, token.id)


def _if_spent(token: Token) -> float | None:
    return token.used if token.kind == INVITATION else None


def _read(name: str, document: Mapping[str, Any]) -> Token | None:
    """A token from its document; None for what another version wrote."""
    known = {field.name for field in fields(Token)}
    try:
        token = Token(**{key: value for key, value in document.items() if key in known})
    except TypeError:
        return None
    if token.id != name or token.role not in ROLES:
        return None
    return replace(token, listeners=tuple(token.listeners))
