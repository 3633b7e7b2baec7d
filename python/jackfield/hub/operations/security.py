"""Who may come: tokens and invitations."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
from typing import TYPE_CHECKING, Any, Final

from jackfield import Address, InvalidAddress

from ..protocol import BAD_REQUEST, REFUSED, Request, RequestError
from ..roster import NameRefused, check_name
from ..security.access import SECURE, is_local
from ..security.roles import MEMBER, ROLES
from ..security.tokens import INVITATION, INVITED_FOR, TOKEN, TokenRefused

if TYPE_CHECKING:
    from ..session import Session

LONGEST: Final = 100 * 365 * 86_400.0  # seconds that a token may be good for


async def token_create(session: Session, request: Request) -> dict[str, Any]:
    """A lasting token; with `expires` seconds, one that ends by itself."""
    expires = request.seconds("expires", 0.0, most=LONGEST) if "expires" in request.arguments else None
    return await _create(session, request, TOKEN, expires)


async def invite(session: Session, request: Request) -> dict[str, Any]:
    """An invitation, and what it is joined with at each listener that it is good for."""
    made = await _create(session, request, INVITATION, request.seconds("expires", INVITED_FOR, most=LONGEST))
    return {**made, "invitations": _invitations(session, made, _host(request))}


async def _create(session: Session, request: Request, kind: str, expires: float | None) -> dict[str, Any]:
    security = session.hub.security
    role = request.text("role", MEMBER)
    if role not in ROLES:
        raise RequestError(
            BAD_REQUEST, f"there is no role {role[:40]!r}", hint=f"there are {', '.join(ROLES)}"
        )
    listeners = tuple(dict.fromkeys(_listener(session, text) for text in request.texts("listeners")))
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


def _listener(session: Session, text: str) -> str:
    """The listener that is meant by its address, its port or its place, as tokens name it."""
    known = [str(plan.address.without_options()) for _, plan in session.hub.listeners]
    bound = [str(listener.address.without_options()) for listener, _ in session.hub.listeners]
    for place, names in enumerate(zip(known, bound, strict=True)):
        port = names[1].rpartition(":")[2]
        if text in (*names, port, f":{port}"):
            return known[place]
    raise RequestError(
        REFUSED, f"no listener {text[:80]!r}", hint=f"there are {', '.join(bound)}", candidates=bound
    )


def _invitations(session: Session, made: dict[str, Any], host: str) -> list[str]:
    """What a client is given to come with, for each listener that it is good at."""
    pin = session.hub.security.pin
    found = []
    for listener, plan in session.hub.listeners:
        if plan.native == "off" or (
            made["listeners"] and str(plan.address.without_options()) not in made["listeners"]
        ):
            continue
        at = listener.address.without_options()
        secure = at.scheme in SECURE
        if not secure and not is_local(at):
            continue  # whoever is on the way could read it
        if at.port is not None and at.host in (None, "0.0.0.0", "::"):
            at = dataclasses.replace(at, host=host or own_host())
        pinned = {"pin": pin} if secure and pin else {}
        found.append(str(at.with_options(**pinned, invitation=made["token"])))
    return found


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
