"""The web console as a part of the hub: where it is served, from when to when.

With a fixed address it is served while the hub runs; otherwise from the first `web_link` on, on a port of
this machine that the kernel picks. A reload keeps address and sessions. starlette and uvicorn are imported
only when something is to be served.
"""

from __future__ import annotations

import asyncio
import importlib.util
import math
import socket
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from jackfield import Address

from ..hub.client import Client
from ..hub.protocol import FAILED, REFUSED, RequestError
from ..hub.roster import version
from ..hub.security.certificate import fingerprint
from ..hub.security.places import At
from ..hub.security.tokens import TOKEN, VALID
from ..hub.web_door import WebDoor
from .logins import LINK_SECONDS, Login, Logins
from .tls import context_of, files_for, wants_tls

if TYPE_CHECKING:
    import ssl

    from ..hub.security.certificate import Files
    from ..hub.server import Hub
    from .server import Server
    from .site import Site

NEEDED: Final = ("starlette", "uvicorn", "websockets")
HINT: Final = "pip install 'jackfield[web]'"
ANYWHERE: Final = "127.0.0.1:0"


class Web(WebDoor):
    """The console of one hub. `address` is where it is served from the start, None for nowhere yet.

    Where it cannot be served, `open` raises `RequestError`.
    """

    def __init__(self, address: Address | None = None) -> None:
        self._fixed = address
        self._logins = Logins()
        self._opening = asyncio.Lock()
        self._server: Server | None = None
        self._site: Site | None = None
        self._bound = Address("tcp", "127.0.0.1", 0)  # where it is, or was
        self._secure = False
        self._has_own = False  # the hub's own certificate, which clients know by its pin
        self._renewing: tuple[ssl.SSLContext, Files] | None = None

    @property
    def url(self) -> str:
        """Where it is served; empty while it is not."""
        if self._server is None:
            return ""
        host, port = _host(self._bound), self._bound.port
        shown = "127.0.0.1" if host == "0.0.0.0" else "::1" if host == "::" else host
        shown = f"[{shown}]" if ":" in shown else shown
        return f"{'https' if self._secure else 'http'}://{shown}:{port}"

    @property
    def native(self) -> At | None:
        if self._server is None or self._site is None or self._site.native is None:
            return None
        plan, own = self._site.native.plan, self._secure and self._has_own
        return At(plan.address, plan, self._hub.security.pin if own else "")

    def figures(self) -> dict[str, int]:
        """See `WebDoor.figures`."""
        newcomers = None if self._server is None else self._server.newcomers
        under_way, refused = (0, 0) if newcomers is None else (len(newcomers), newcomers.refused)
        return {"under_way": under_way, "refused": refused}

    async def open(self, hub: Hub) -> None:
        self._hub = hub
        hub.security.when_revoked.append(self._revoked)
        if self._fixed is not None:
            await self._serve(self._fixed)

    async def close(self) -> None:
        if self._revoked in self._hub.security.when_revoked:
            self._hub.security.when_revoked.remove(self._revoked)
        server, self._server = self._server, None
        if self._site is not None and self._site.native is not None:
            await self._site.native.close()
        if server is not None:
            await server.stop()

    def hand_over(self) -> dict[str, Any]:
        return {
            "bound": str(self._bound) if self._server is not None else None,
            "sessions": self._logins.hand_over(),
        }

    async def resume(self, now: float, clients: Sequence[Client], handed: Any) -> None:
        if not handed:
            return
        self._logins.take_over(handed["sessions"])
        if handed["bound"] and self._server is None and self._fixed is None:
            await self._serve(_console_address(handed["bound"]))

    def went(self, now: float, client: Client, reason: str) -> None:
        if self._site is not None and self._site.native is not None:
            self._site.native.went(client.member.id)

    async def link(self, *, by: str, address: str | None = None) -> dict[str, Any]:
        """See `WebDoor.link`. Whoever may ask for it is an administrator of the hub."""
        async with self._opening:
            if self._server is None:
                await self._serve(_console_address(address or ANYWHERE))
        if address is not None and not self._is_at(_console_address(address)):
            raise RequestError(REFUSED, f"the web console is at {self.url} already")
        code = self._logins.link(self._hub.clock(), name=by, role="admin")
        self._hub.log("web_link", address=self.url, by=by)
        return {"url": f"{self.url}/login#{code}", "address": self.url, "expires": LINK_SECONDS}

    def renew_certificate(self) -> None:
        if self._renewing is None:
            return
        context, files = self._renewing
        try:
            context.load_cert_chain(files.cert, files.key)
        except OSError as problem:
            self._hub.log("certificates_not_reloaded", listener=self.url, problem=str(problem))
        else:
            self._hub.log("certificates_reloaded", listener=self.url)

    def _is_at(self, address: Address) -> bool:
        """Whether it is served there already."""
        where = (_host(address), address.port or self._bound.port, wants_tls(address))
        return where == (_host(self._bound), self._bound.port, self._secure)

    async def _serve(self, address: Address) -> None:
        missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
        if missing:
            raise RequestError(FAILED, f"the web console needs {', '.join(missing)}", hint=HINT)
        from .app import make_app
        from .asking import HubDoor
        from .native import PATH, NativeDoor
        from .server import Server, listen
        from .site import Site

        hub, host, names = self._hub, _host(address), [socket.gethostname()]
        tls = files = None
        if wants_tls(address):
            files = files_for(address, hub.settings.state)
            tls, more = context_of(files)
            names += more
            if address.option("cert") is None:
                hub.security.pin = fingerprint(files.cert)
        try:
            listening = listen(host, address.port or 0)
        except OSError as problem:
            what = f"the web console cannot be served at {address.without_options()}"
            hint = "choose another address, or port 0"
            raise RequestError(FAILED, f"{what}: {problem.strerror or problem}", hint=hint) from problem
        bound = replace(address, port=listening.getsockname()[1])
        place = Address("ws" if tls is None else "wss", host, bound.port, path=PATH)
        site = Site(
            HubDoor(hub),
            self._logins,
            place.port or 0,
            secure=tls is not None,
            version=version(),
            names=names,
            clock=hub.clock,
            token=self._of_token,
            log=self._log,
            native=NativeDoor(hub, place),
        )
        server = Server(make_app(site), listening, tls=tls)
        await server.start()
        self._server, self._site, self._bound, self._secure = server, site, bound, tls is not None
        self._has_own = address.option("cert") is None
        self._renewing = None if tls is None or files is None else (tls, files)
        hub.log("web", url=self.url)

    def _log(self, kind: str, /, **facts: str) -> None:
        self._hub.log(kind, **facts)
        who = facts.get("operator") or facts["peer"]
        self._hub.audit(who, kind, facts.get("name", ""), facts.get("reason", "done"))

    def _of_token(self, secret: str) -> Login | None:
        """The login of a token of the hub, as the JSON API takes it."""
        security = self._hub.security
        token = security.tokens.look_up(secret)
        if token is None or token.kind != TOKEN or token.state(security.now()) != VALID:
            return None
        return Login(f"token:{token.id}", token.name or token.id, token.role, "", token.expires or math.inf)

    def _revoked(self, token: str) -> None:
        if self._site is not None:
            self._site.cut(f"token:{token}")


def _console_address(text: str) -> Address:
    try:
        address = Address.from_command_line(text)
    except ValueError as problem:
        raise RequestError(REFUSED, f"{text[:80]!r} is no address: {problem}") from problem
    if address.scheme not in ("tcp", "tls"):
        raise RequestError(REFUSED, "the web console is served over TCP", hint="such as 127.0.0.1:8080")
    return address


def _host(address: Address) -> str:
    return address.host or "0.0.0.0"
