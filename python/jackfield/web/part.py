"""The web console as a part of the hub: where it is served, from when to when.

With a fixed address it is served while the hub runs; otherwise from the first `web_link` on, on a port of
this machine that the kernel picks. A reload keeps address and sessions. starlette and uvicorn are imported
only when something is to be served.
"""

from __future__ import annotations

import importlib.util
import math
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from jackfield import Address

from ..hub.client import Client
from ..hub.protocol import FAILED, REFUSED, RequestError
from ..hub.roster import version
from ..hub.security.tokens import TOKEN, VALID
from ..hub.web_door import WebDoor
from .guard import is_loopback
from .logins import LINK_SECONDS, Login, Logins

if TYPE_CHECKING:
    import ssl

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
        self._server: Server | None = None
        self._site: Site | None = None
        self._bound = ("", 0)
        self._secure = False

    @property
    def url(self) -> str:
        """Where it is served; empty while it is not."""
        if self._server is None:
            return ""
        host, port = self._bound
        shown = "127.0.0.1" if host == "0.0.0.0" else "::1" if host == "::" else host
        shown = f"[{shown}]" if ":" in shown else shown
        return f"{'https' if self._secure else 'http'}://{shown}:{port}"

    async def open(self, hub: Hub) -> None:
        self._hub = hub
        hub.security.when_revoked.append(self._revoked)
        if self._fixed is not None:
            await self._serve(self._fixed.host or "0.0.0.0", self._fixed.port or 0)

    async def close(self) -> None:
        if self._revoked in self._hub.security.when_revoked:
            self._hub.security.when_revoked.remove(self._revoked)
        server, self._server = self._server, None
        if server is not None:
            await server.stop()

    def hand_over(self) -> dict[str, Any]:
        return {
            "bound": list(self._bound) if self._server is not None else None,
            "sessions": self._logins.hand_over(),
        }

    async def resume(self, now: float, clients: Sequence[Client], handed: Any) -> None:
        if not handed:
            return
        self._logins.take_over(handed["sessions"])
        if handed["bound"] and self._server is None and self._fixed is None:
            await self._serve(*handed["bound"])

    def went(self, now: float, client: Client, reason: str) -> None:
        if self._site is not None and self._site.native is not None:
            self._site.native.went(client.member.id)

    async def link(self, *, by: str, address: str | None = None) -> dict[str, Any]:
        """See `WebDoor.link`. Whoever may ask for it is an administrator of the hub."""
        if self._server is None:
            host, port = _host_port(address or ANYWHERE)
            await self._serve(host, port)
        elif address is not None and _host_port(address) != self._bound:
            raise RequestError(REFUSED, f"the web console is at {self.url} already")
        code = self._logins.link(self._hub.clock(), name=by, role="admin")
        self._hub.log("web_link", address=self.url, by=by)
        return {"url": f"{self.url}/login#{code}", "address": self.url, "expires": LINK_SECONDS}

    async def _serve(self, host: str, port: int) -> None:
        missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
        if missing:
            raise RequestError(FAILED, f"the web console needs {', '.join(missing)}", hint=HINT)
        from .app import make_app
        from .asking import HubDoor
        from .native import PATH, NativeDoor
        from .server import Server, listen
        from .site import Site

        tls = None if is_loopback(host) else self._certificate(host)
        try:
            listening = listen(host, port)
        except OSError as problem:
            what = f"the web console cannot be served at {host}:{port}: {problem.strerror or problem}"
            raise RequestError(FAILED, what, hint="choose another address, or port 0") from problem
        bound = (host, listening.getsockname()[1])
        place = Address("wss" if tls else "ws", host=host, port=bound[1], path=PATH)
        site = Site(
            HubDoor(self._hub),
            self._logins,
            bound[1],
            secure=tls is not None,
            version=version(),
            names=(socket.gethostname(),),
            clock=self._hub.clock,
            token=self._of_token,
            log=self._log,
            native=NativeDoor(self._hub, place),
        )
        server = Server(make_app(site), listening, tls=tls)
        await server.start()
        self._server, self._site, self._bound, self._secure = server, site, bound, tls is not None
        self._hub.log("web", url=self.url)

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

    def _certificate(self, host: str) -> ssl.SSLContext:
        raise RequestError(
            REFUSED,
            f"{host} is reachable from other machines, and this hub has no certificate",
            hint="serve the web console on 127.0.0.1",
        )


def _host_port(text: str) -> tuple[str, int]:
    try:
        address = Address.from_command_line(text)
    except ValueError as problem:
        raise RequestError(REFUSED, f"{text[:80]!r} is no address: {problem}") from problem
    if address.scheme not in ("tcp", "tls"):
        raise RequestError(REFUSED, "the web console is served over TCP", hint="such as 127.0.0.1:8080")
    return address.host or "0.0.0.0", address.port or 0
