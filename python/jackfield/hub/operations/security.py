"""Who may come: tokens and invitations."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Any, Final

from jackfield import Address, InvalidAddress

from ..protocol import BAD_REQUEST, REFUSED, Request, RequestError
from ..roster import NameRefused, check_name
from ..security.certificate import pin_of
from ..security.places import At, invited_to, meant
from ..security.roles import MEMBER, ROLES
from ..security.tokens import INVITATION, INVITED_FOR, TOKEN, TokenRefused
from ..text import there_are
from ..web_door import WebDoor

if TYPE_CHECKING:
    from ..session import Session

LONGEST: Final = 100 * 365 * 86_400.0  # seconds that a token may be good for


async def token_create(session: Session, request: Request) -> dict[str, Any]:
    """A lasting token; with `expires` seconds, one that ends by itself."""
    expires = request.seconds("expires", 0.0, most=LONGEST) if "expires" in request.arguments else None
    return await _create(session, request, TOKEN, expires)


async def invite(session: Session, request: Request) -> dict[str, Any]:
    """An invitation, and what one comes with at each listener that it is good for, the best first.

    So many as `equal` says are as good as the first; `operators` says whether that is for operators.
    """
    host, role = _host(request), _role(request)
    listeners = _listeners(session, request, role)
    places, equal = invited_to(
        _all(session), operators=role != MEMBER, named=listeners, host=host, own_host=own_host()
    )
    if not places and role != MEMBER and not listeners:
        raise RequestError(
            REFUSED,
            "no listener of this hub takes operators",
            hint="start it with one such as tls://:7444,protocol=control",
        )
    made = await _create(session, request, INVITATION, request.seconds("expires", INVITED_FOR, most=LONGEST))
    texts = []
    for at, address in places:
        pinned = {"pin": at.pin} if at.pin else {}
        texts.append(str(address.with_options(**pinned, invitation=made["token"])))
    operators = bool(places) and places[0][0].plan.control
    return {**made, "invitations": texts, "equal": equal, "operators": operators}


async def _create(session: Session, request: Request, kind: str, expires: float | None) -> dict[str, Any]:
    security = session.hub.security
    role = _role(request)
    listeners = _listeners(session, request, role)
    try:
        token, secret = security.tokens.create(
            security.now(),
            kind=kind,
            role=role,
            name=_name(request),
            listeners=listeners,
            expires=expires,
            by=session.who,
        )
    except TokenRefused as problem:
        raise RequestError(REFUSED, str(problem)) from problem
    await session.hub.state.flush()
    return {**token.view(security.now()), "token": secret}


def _role(request: Request) -> str:
    role = request.text("role", MEMBER)
    if role not in ROLES:
        raise RequestError(
            BAD_REQUEST, f"there is no role {role[:40]!r}", hint=f"there are {', '.join(ROLES)}"
        )
    return role


def _host(request: Request) -> str:
    host = request.text("host", "")
    if host:
        try:
            Address.parse(f"tls://[{host}]:1" if ":" in host else f"tls://{host}:1")
        except InvalidAddress:
            raise RequestError(BAD_REQUEST, f"{host[:80]!r} is not a host") from None
    return host


def _name(request: Request) -> str:
    name = request.text("name", "")
    if name:
        try:
            check_name(name)
        except NameRefused as problem:
            raise RequestError(BAD_REQUEST, str(problem)) from None
    return name


def _all(session: Session) -> list[At]:
    """The listeners for clients and for operators, and where clients come by WebSocket."""
    security = session.hub.security
    found = []
    for listener, plan in (*session.hub.listeners, *security.listeners):
        own = bool(security.pin) and pin_of(plan) == security.pin  # others are known by who signed them
        found.append(At(listener.address, plan, security.pin if own else ""))
    web = session.hub.part(WebDoor)
    return found if web is None or web.native is None else [*found, web.native]


def _listeners(session: Session, request: Request, role: str) -> tuple[str, ...]:
    """The listeners that are named in a request, as tokens name them. Raises `RequestError`."""
    known, found = _all(session), []
    for text in request.texts("listeners"):
        at = meant(known, text)
        if at is None:
            there = [str(each.bound.without_options()) for each in known]
            raise RequestError(REFUSED, f"no listener {text[:80]!r}", hint=there_are(there), candidates=there)
        if at.plan.control and role == MEMBER:
            raise RequestError(
                REFUSED,
                f"{at.bound.without_options()} is for operators, and a member is none",
                hint="give it --role operator, or another listener",
            )
        found.append(at.name)
    return tuple(dict.fromkeys(found))


def own_host() -> str:
    """The address of this machine that others most likely reach it at; nothing is sent to find it."""
    for family, elsewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as asking:
            asking.connect((elsewhere, 9))
            return str(asking.getsockname()[0])
    return "127.0.0.1"


async def token_list(session: Session, request: Request) -> dict[str, Any]:
    security = session.hub.security
    now = security.now()
    return {"tokens": [token.view(now) for token in security.tokens]}


async def token_revoke(session: Session, request: Request) -> dict[str, Any]:
    security = session.hub.security
    wanted = request.text("token")
    known = [token for token in security.tokens if wanted in (token.id, token.name)]
    if not known:
        raise RequestError(REFUSED, f"no token {wanted[:80]!r}", hint="see 'jackfield token ls'")
    for token in known:
        await security.revoke(token.id)
    return {"revoked": [token.id for token in known]}


OPERATIONS: Final = {
    "token_create": token_create,
    "token_list": token_list,
    "token_revoke": token_revoke,
    "invite": invite,
}
