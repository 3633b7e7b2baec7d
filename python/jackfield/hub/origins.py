"""To whom that is counted which all clients share: an identity that is proven, or where a client comes from.

A name that a client merely says is no owner: any number of them can be said. Nor is a connection. Hosts of
one IPv6 network (/64) are one origin, and so are all clients of one user at a Unix socket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .security.limits import key_of

if TYPE_CHECKING:
    from jackfield import Member

_ADDRESS: Final = "address:"
_USER: Final = "user:"


def origin_of(member: Member) -> str:
    """Where a client comes from."""
    if member.credentials is not None:
        return f"{_USER}{member.credentials[1]}"
    return f"{_ADDRESS}{key_of(member.peer.host if member.peer.port is not None else None)}"


def is_place(origin: str) -> bool:
    """Whether an origin is a place, and no identity that was proven."""
    return origin.startswith((_ADDRESS, _USER))
