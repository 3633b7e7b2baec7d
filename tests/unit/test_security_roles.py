"""The table of roles: every request and control message has a row, and what has none is for admins."""

from __future__ import annotations

from typing import Any

import pytest
from typer.main import get_command

from jackfield.cli.app import app
from jackfield.hub.native import control
from jackfield.hub.operations import OPERATIONS as REQUESTS
from jackfield.hub.security import roles
from jackfield.hub.security.roles import ADMIN, CONTROLS, MEMBER, OPERATIONS, OPERATOR, ROLES, may
from jackfield.hub.security.typed import typed


def test_every_request_has_a_row() -> None:
    assert set(REQUESTS) - set(OPERATIONS) == set(), "give the new requests a row in hub/security/roles.py"


def test_every_control_message_has_a_row() -> None:
    messages = {*control.CONTROLS, *control.NOTES}
    assert messages - set(CONTROLS) == set(), "give the new messages a row in hub/security/roles.py"


@pytest.mark.parametrize("table", [OPERATIONS, CONTROLS])
def test_what_has_no_row_is_for_admins_and_audited(table: dict[str, roles.Right]) -> None:
    assert [role for role in ROLES if may(role, "format_disk", table=table)] == [ADMIN]
    assert roles.audited("format_disk", table=table)
    assert not may("", "hello", table=table)
    assert not may("root", "hello", table=table)
    assert all(right.role in ROLES for right in table.values())


def test_a_role_has_what_the_roles_below_it_have() -> None:
    for op in OPERATIONS:
        allowed = [may(role, op) for role in ROLES]
        assert allowed == sorted(allowed)
        assert may(ADMIN, op)


def test_what_is_as_good_as_a_shell_is_for_admins() -> None:
    for op in ("script_add", "reload", "flush", "stop", "dial_add", "token_create", "invite", "audit"):
        assert not may(OPERATOR, op)
    for op in ("send", "kick", "rename", "clients"):
        assert may(OPERATOR, op)
        assert not may(MEMBER, op)
    assert may(MEMBER, "message", table=CONTROLS)


def test_who_may_not_is_told_by_a_command_that_there_is() -> None:
    commands = get_command(app)
    for op in set(OPERATIONS) - {"hello", "cancel"}:
        found: Any = commands
        words = [word for word in typed(op).split() if not word.startswith("--")]
        for word in words:
            found = found.commands.get(word) if hasattr(found, "commands") else None
        assert found is not None, (op, typed(op))
