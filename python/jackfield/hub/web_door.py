"""The hub's side of the web console: who opens it, without the hub knowing what it is made of.

The console itself stands above the hub, in `python/jackfield/web/`, and is a part like any other; operators
reach it with the request `web_link`.
"""

from __future__ import annotations

from typing import Any

from .part import Part
from .security.places import At


class WebDoor(Part):
    """What `web_link` asks for."""

    @property
    def url(self) -> str:
        """Where the console is served; empty while it is not."""
        raise NotImplementedError

    @property
    def native(self) -> At | None:
        """Where native clients come by WebSocket; None while they cannot."""
        raise NotImplementedError

    def figures(self) -> dict[str, int]:
        """TLS handshakes: how many are `under_way`, and how many newcomers were `refused` so far."""
        raise NotImplementedError

    async def link(self, *, by: str, address: str | None = None) -> dict[str, Any]:
        """Serve the console, unless it is served already, and make a link that logs in once.

        `address` is where, such as `127.0.0.1:8080`; None is where it is, or a port that the kernel picks on
        this machine alone. The answer has `url`, `address` and `expires` (seconds). Raises `RequestError`.
        """
        raise NotImplementedError

    def renew_certificate(self) -> None:
        """Read the console's certificate anew, for connections from now on."""
        raise NotImplementedError
