"""Whoever wants to know what becomes of native clients' sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .session import NativeSession


class Follower:
    """Base of all followers. A session ends once; paused, it may be resumed."""

    def began(self, session: NativeSession) -> None:
        """A session begins; its client has been told so."""

    def paused(self, session: NativeSession, reason: str) -> None:
        """Its connection is lost."""

    def resumed(self, session: NativeSession) -> None:
        """It has another connection, and another client id."""

    def ended(self, session: NativeSession, reason: str) -> None:
        """It will not come back."""

    def fell_behind(self, member_id: int, stream: int, sequence: int) -> None:
        """The fan of that stream leaves that member out, from that sequence on."""
