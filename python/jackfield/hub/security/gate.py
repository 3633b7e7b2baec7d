"""Who is let in, as whom, and with which rights: the decision at a client's HELLO and an operator's hello.

Owns no socket and no clock: the listener's plan, where somebody comes from, what was said and the time in, an
identity and a role out, or a refusal with one of the protocol's codes. What is told to the peer
is no more than whoever has the token knows anyway: a token that was revoked, or that the hub never made, is
`bad_token`; the audit log tells them apart. An address that showed several wrong tokens has to wait before
another wrong one is looked at (`rate_limited`). A right one is let in all the same: guessing 256 bits is no
danger, and locking out a neighbour would be one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from jackfield import TlsFacts

from ..roster import RESERVED, NameRefused, check_name, means_host
from .access import CERTIFICATE, PLAIN, TOKEN
from .limits import Addresses
from .lookalikes import looks
from .roles import MEMBER, includes
from .tokens import EXPIRED, INVITATION, UNKNOWN, USED, VALID, Token, TokenRefused, Tokens

if TYPE_CHECKING:
    from ..plan import ListenerPlan

HELLO_WITHIN: Final = 10.0  # seconds from a connection to its HELLO

BAD_TOKEN: Final = "bad_token"
EXPIRED_TOKEN: Final = "expired_token"
USED_TOKEN: Final = "used_token"
FORBIDDEN: Final = "forbidden"
RATE_LIMITED: Final = "rate_limited"
OVERLOADED: Final = "overloaded"
BAD_JSON: Final = "bad_json"
NAME_TAKEN: Final = "name_taken"

_RESERVED_LOOKS: Final = frozenset(map(looks, RESERVED))
_ASK: Final = "ask whoever runs the hub for an invitation (jackfield invite)"


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a client's certificate says, once TLS has verified it.

    `names` are those that a client can have: the host names that it is for, and behind them the common name
    of its subject. The first one is who the client is.
    """

    names: tuple[str, ...]
    fingerprint: str = ""

    @classmethod
    def of(cls, tls: TlsFacts | None) -> Certificate | None:
        """What a connection has shown; None without a certificate. A listener has asked for none it does not
        verify (`ca=`, `pin=`)."""
        shown = None if tls is None else tls.peer
        if shown is None:
            return None
        names = [name.lower() for name in shown.names] + [shown.common_name]
        return cls(tuple(name for name in names if _can_be_called(name)), shown.fingerprint)


@dataclass(frozen=True, slots=True)
class Admitted:
    """Someone who is let in.

    `identity` is a name that was proven, empty where nothing was; `name` is the one to go by if it is free.
    `token` is the public id of what was shown. `new_token` is to be told once: what an invitation became.
    It counts only once the state is on disk: see `Security.admit`.
    """

    role: str = MEMBER
    identity: str = ""
    name: str = ""
    token: str = ""
    new_token: str | None = None
    redeemed: tuple[Token, Token] | None = None  # the invitation as it was, and what it became


class Refused(Exception):
    """Somebody is not let in: a code of the protocol, a sentence, what to do, and what the audit log is told.

    `seldom` marks what may come thousands of times a second, and is counted alone.
    """

    def __init__(
        self,
        code: str,
        message: str,
        hint: str = "",
        *,
        reason: str = "",
        token: str = "",
        seldom: bool = False,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.reason = reason or code
        self.token = token
        self.seldom = seldom


class Gate:
    """The gate of one hub. `is_proven` says whether somebody has shown before that a name is its own."""

    def __init__(
        self, tokens: Tokens, addresses: Addresses, *, is_proven: Callable[[str], bool] = lambda name: False
    ) -> None:
        self._tokens = tokens
        self._addresses = addresses
        self._is_proven = is_proven

    def admit(
        self,
        plan: ListenerPlan,
        host: str | None,
        hello: Mapping[str, Any],
        *,
        now: float,
        where: str = "",
        certificate: Certificate | None = None,
        least: str = MEMBER,
    ) -> Admitted:
        """Who that is. `host` is the peer's, None for a Unix socket; `where` is how logs name it.

        `least` is the role that the listener is for. Raises `Refused`.
        """
        if not plan.access.admits(host):
            raise Refused(
                FORBIDDEN, "this listener is not for your network", reason="not in allow=", seldom=True
            )
        name = _name(hello)
        shown = hello.get("token")
        if plan.access.mode == CERTIFICATE and (certificate is None or not certificate.names):
            raise Refused(FORBIDDEN, "this listener asks for a client certificate with a name in it")
        if shown is None:
            admitted = self._without_token(plan, name, now, certificate)
        else:
            admitted = self._with_token(plan, host, shown, name, now, where, certificate)
        if not includes(admitted.role, least):
            raise Refused(
                FORBIDDEN,
                f"this listener is for the role {least}, and yours is {admitted.role}",
                "ask for a token with more rights",
                reason=f"role {admitted.role}",
                token=admitted.token,
            )
        return admitted

    def _without_token(
        self, plan: ListenerPlan, name: str, now: float, certificate: Certificate | None
    ) -> Admitted:
        if certificate is not None and certificate.names and plan.access.mode != TOKEN:
            return Admitted(identity=certificate.names[0], name=certificate.names[0])
        if plan.access.mode == PLAIN:
            _check_free(name)
            if name and self._tokens.named(name, now):
                raise Refused(NAME_TAKEN, f"{name} has a token", "show it, or choose another name")
            self._check_looks(name, now)
            return Admitted(name=name)
        raise Refused(BAD_TOKEN, "this listener asks for a token", _ASK, reason="no token")

    def _with_token(
        self,
        plan: ListenerPlan,
        host: str | None,
        shown: object,
        name: str,
        now: float,
        where: str,
        certificate: Certificate | None,
    ) -> Admitted:
        token = self._tokens.look_up(shown) if isinstance(shown, str) else None
        state = UNKNOWN if token is None else token.state(now)
        if token is not None and state == VALID and token.listeners and _where(plan) not in token.listeners:
            state = "for another listener"
        if token is None or state != VALID:
            self._refuse(host, now, token, state)
            raise AssertionError  # not reached
        identity = certificate.names[0] if certificate is not None and certificate.names else ""
        if identity and token.name and token.name != identity:
            raise Refused(
                FORBIDDEN, "the token and the certificate name two different clients", token=token.id
            )
        if not token.name:
            _check_free(name)
        if token.kind != INVITATION:
            identity = identity or token.name or f"token:{token.id}"
            return Admitted(token.role, identity, token.name or name, token.id)
        taken = self._tokens.named(name, now) or (name != identity and self._is_proven(name))
        if not token.name and name and taken:
            raise Refused(NAME_TAKEN, f"{name} is somebody else", "choose another name", token=token.id)
        if not token.name and name != identity:
            self._check_looks(name, now)
        try:
            made, secret = self._tokens.redeem(token, now, name=name, where=where)
        except TokenRefused as problem:
            raise Refused(OVERLOADED, str(problem), token=token.id) from problem
        identity = identity or made.name or f"token:{made.id}"
        return Admitted(made.role, identity, made.name or name, made.id, secret, (token, made))

    def _check_looks(self, name: str, now: float) -> None:
        """A name that one chooses must not look like one that somebody has a token for, or has proven."""
        look = looks(name)
        if not name or not (self._tokens.resembles(name, now) or (look != name and self._is_proven(look))):
            return
        raise Refused(NAME_TAKEN, f"{name!r} looks like the name of somebody else", "choose another name")

    def _refuse(self, host: str | None, now: float, token: Token | None, state: str) -> None:
        wait = self._addresses.wait(host, now)
        id_ = "" if token is None else token.id
        if wait > 0:
            raise Refused(
                RATE_LIMITED, "too many wrong tokens came from your address", f"try again in {wait:.0f} s",
                reason=state, token=id_, seldom=True,
            )  # fmt: skip
        self._addresses.failed(host, now)
        what = "invitation" if token is not None and token.kind == INVITATION else "token"
        code, message = {
            EXPIRED: (EXPIRED_TOKEN, f"the {what} has expired"),
            USED: (USED_TOKEN, "the invitation was used already"),
        }.get(state, (BAD_TOKEN, "the hub does not know that token"))
        raise Refused(code, message, _ASK, reason=state, token=id_)

    def take_back(self, admitted: Admitted) -> None:
        """Who was admitted could not be kept on disk: an invitation is as good as before."""
        if admitted.redeemed is not None:
            self._tokens.take_back(*admitted.redeemed)


def _can_be_called(name: str) -> bool:
    try:
        check_name(name)
    except NameRefused:
        return False
    return not means_host(name)


def _check_free(name: str) -> None:
    """A name that one chooses for oneself must not pass for the hub's own or an operator's."""
    if name.casefold() in RESERVED or looks(name) in _RESERVED_LOOKS:
        raise Refused(NAME_TAKEN, f"nobody can be called {name!r}", "choose another name")


def _where(plan: ListenerPlan) -> str:
    return str(plan.address.without_options())


def _name(hello: Mapping[str, Any]) -> str:
    """The name that a client asks for; empty for none."""
    name = hello.get("name")
    if name is None:
        return ""
    try:
        if not isinstance(name, str):
            raise NameRefused("a name is a text")
        check_name(name)
    except NameRefused as problem:
        raise Refused(BAD_JSON, str(problem), "choose another name", reason="name") from None
    return name
