"""Who may do what: one row for every request of operators and every control message of native clients.

Owns the table. A role has all that the roles below it have: `member` takes part, `operator` works with
clients, `admin` is as good as a shell on the hub's machine, or decides who else may come. What has no row
here is for admins alone, and a test fails until it has one. `audited` are those that change something.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MEMBER: Final = "member"
OPERATOR: Final = "operator"
ADMIN: Final = "admin"
ROLES: Final = (MEMBER, OPERATOR, ADMIN)


@dataclass(frozen=True, slots=True)
class Right:
    """The least role that may do something, and whether the audit log tells of it."""

    role: str
    audited: bool = False


_LOOKING: Final = Right(OPERATOR)
_ACTING: Final = Right(OPERATOR, audited=True)
_RULING: Final = Right(ADMIN, audited=True)
_TAKING_PART: Final = Right(MEMBER)

OPERATIONS: Final[dict[str, Right]] = {
    # the hub
    "hello": _TAKING_PART,
    "status": _LOOKING,
    "stop": _RULING,
    "flush": _RULING,
    "reload": _RULING,
    # clients
    "clients": _LOOKING,
    "logs": _LOOKING,
    "watch": _LOOKING,
    "look": _LOOKING,
    "cancel": _LOOKING,
    "talk": _ACTING,
    "kick": _ACTING,
    "rename": _ACTING,
    "claim": _ACTING,
    "tag": _ACTING,
    "note": _ACTING,
    "forget": _ACTING,
    # what is said
    "send": _ACTING,
    "send_on": _LOOKING,
    "ask": _ACTING,
    "request": _ACTING,
    "mail_queue": _ACTING,
    "mail_list": _LOOKING,
    "mail_drop": _ACTING,
    "snippet_add": _ACTING,
    "snippet_list": _LOOKING,
    "snippet_show": _LOOKING,
    "snippet_remove": _ACTING,
    "autoreply_add": _ACTING,
    "autoreply_list": _LOOKING,
    "autoreply_remove": _ACTING,
    "record": _ACTING,
    "recorded": _LOOKING,
    "record_end": _LOOKING,
    # rooms
    "room_list": _LOOKING,
    "room_members": _LOOKING,
    "room_read": _LOOKING,
    "room_search": _LOOKING,
    "room_chat": _ACTING,
    "room_say": _LOOKING,
    "room_private": _LOOKING,
    "room_seen": _LOOKING,
    "room_create": _ACTING,
    "room_topic": _ACTING,
    "room_retention": _ACTING,
    "room_open": _ACTING,
    "room_kick": _ACTING,
    "room_delete": _ACTING,
    # the hub's machine: its files, devices and networks, and code with its rights
    "script_add": _RULING,
    "script_list": _LOOKING,
    "script_remove": _RULING,
    "dial_add": _RULING,
    "dial_list": _LOOKING,
    "dial_remove": _RULING,
    # who may come, and who did what
    "token_create": _RULING,
    "token_list": Right(ADMIN),
    "token_revoke": _RULING,
    "invite": _RULING,
    "audit": Right(ADMIN),
    "web_link": _RULING,
}
"""What operators ask for (`hub/operations/`), over the control socket and over TLS."""

CONTROLS: Final[dict[str, Right]] = {
    "clients": _TAKING_PART,
    "watch": _TAKING_PART,
    "message": _TAKING_PART,
    "delivered": _TAKING_PART,
    "bye": _TAKING_PART,
    "join": _TAKING_PART,
    "leave": _TAKING_PART,
    "topic": _TAKING_PART,
    "rooms": _TAKING_PART,
    "members": _TAKING_PART,
    "read": _TAKING_PART,
    "search": _TAKING_PART,
    "seen": _TAKING_PART,
    "private": _TAKING_PART,
}
"""What native clients ask for by CONTROL frames (`hub/native/control.py`)."""


def rank(role: str) -> int:
    """How much a role may do; -1 for what is no role."""
    return ROLES.index(role) if role in ROLES else -1


def includes(role: str, least: str) -> bool:
    """Whether a role has all that another one has."""
    return 0 <= rank(least) <= rank(role)


def may(role: str, op: str, *, table: dict[str, Right] = OPERATIONS) -> bool:
    """Whether a role may do that: a request of operators, or with `table=CONTROLS` of native clients."""
    return includes(role, needed(op, table=table))


def needed(op: str, *, table: dict[str, Right] = OPERATIONS) -> str:
    """The least role that may do that."""
    right = table.get(op)
    return ADMIN if right is None else right.role


def audited(op: str, *, table: dict[str, Right] = OPERATIONS) -> bool:
    """Whether the audit log tells of it; of what has no row it does."""
    right = table.get(op)
    return right is None or right.audited
