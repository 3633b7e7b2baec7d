"""Tokens: what is kept of them, when they are good, and a clock that is set back."""

from __future__ import annotations

import random
from typing import Any

import pytest

from jackfield.hub.security.tokens import (
    EXPIRED,
    INVITATION,
    INVITED_FOR,
    MOST,
    REMEMBERED,
    REVOKED,
    USED,
    VALID,
    Clock,
    TokenRefused,
    Tokens,
    looks_like_token,
)
from jackfield.hub.state import State


def tokens(state: State | None = None, seed: int = 1) -> Tokens:
    made = Tokens(state or State.nowhere(), random.Random(seed).randbytes)
    made.load()
    return made


def test_only_a_hash_is_kept() -> None:
    state = State.nowhere()
    token, secret = tokens(state).create(100.0, role="operator", name="ann", by="pid:1")
    assert looks_like_token(secret)
    assert len(secret) == 46
    kept = state.load("token")
    assert secret not in str(kept)
    assert secret[3:20] not in str(kept)
    assert "hash" not in token.view(100.0)
    again = tokens(state, seed=2)
    found = again.look_up(secret)
    assert found == token
    assert (found.role, found.name, found.made_by) == ("operator", "ann", "pid:1")


@pytest.mark.parametrize(
    "shown",
    [
        *("", "jf_", "jf_" + "A" * 42, "jf_" + "A" * 44, "jf_" + "A" * 43, "jf_" + "'" * 43, "' OR 1=1 --"),
        *("jf_" + "A" * 42 + "\n", "jf_" + "A" * 42 + "\0", "<script>", "../../token"),
        *("\ud800" * 46, "jf_é" * 12),
    ],
)
def test_garbage_is_no_token(shown: str) -> None:
    made = tokens()
    made.create(1.0)
    assert made.look_up(shown) is None


def test_expiry_and_revocation() -> None:
    made = tokens()
    token, secret = made.create(100.0, expires=50.0)
    assert [token.state(now) for now in (100.0, 149.9, 150.0, 1e9)] == [VALID, VALID, EXPIRED, EXPIRED]
    lasting, _ = made.create(100.0)
    assert lasting.state(1e12) == VALID
    gone = made.revoke(token.id, 120.0)
    assert gone is not None
    assert gone.state(120.0) == REVOKED
    again = made.revoke(token.id, 130.0)
    assert again is not None
    assert again.revoked == 120.0
    assert made.look_up(secret) == again
    assert made.revoke("nobody", 1.0) is None


def test_an_invitation_is_used_once_whatever_the_clock_says() -> None:
    state = State.nowhere()
    made = tokens(state)
    invitation, _ = made.create(100.0, kind=INVITATION, role="operator", expires=INVITED_FOR)
    token, secret = made.redeem(invitation, 110.0, name="ann", where="10.0.0.1:5")
    assert (token.role, token.name, token.from_invitation) == ("operator", "ann", invitation.id)
    used = made.find(invitation.id)
    assert used is not None
    for now in (110.0, 50.0, 0.0, 1e9):
        assert used.state(now) == USED
        with pytest.raises(TokenRefused):
            made.redeem(used, now, name="", where="")
    assert tokens(state, seed=3).look_up(secret) == token
    reloaded = tokens(state, seed=3).find(invitation.id)
    assert reloaded is not None
    assert reloaded.state(0.0) == USED


def test_a_redemption_that_is_not_on_disk_is_taken_back() -> None:
    state = State.nowhere()
    made = tokens(state)
    invitation, text = made.create(100.0, kind=INVITATION, expires=10.0)
    token, secret = made.redeem(invitation, 101.0, name="", where="x")
    made.take_back(invitation, token)
    assert made.look_up(secret) is None
    found = made.look_up(text)
    assert found is not None
    assert found.state(101.0) == VALID
    assert set(state.load("token")) == {invitation.id}


def test_old_ones_are_forgotten_and_their_number_is_bounded() -> None:
    made = tokens()
    made.create(0.0, expires=1.0)
    revoked, _ = made.create(0.0)
    made.revoke(revoked.id, 5.0)
    made.create(REMEMBERED, expires=1.0)
    assert len(made) == 3
    made.create(REMEMBERED + 6.0)
    assert len(made) == 2
    for _ in range(MOST - 2):
        made.create(REMEMBERED + 6.0)
    with pytest.raises(TokenRefused, match="10000 tokens"):
        made.create(REMEMBERED + 6.0)


@pytest.mark.parametrize("more", [{"role": "root"}, {"expires": 0.0}, {"expires": -5.0}, {"expires": 1e300}])
def test_what_cannot_be_made(more: dict[str, Any]) -> None:
    with pytest.raises(TokenRefused):
        tokens().create(1.0, **more)


def test_what_another_version_wrote_is_read_as_far_as_possible() -> None:
    state = State.nowhere()
    made = tokens(state)
    token, secret = made.create(1.0)
    document = state.load("token")[token.id]
    state.save("token", token.id, {**document, "colour": "red"})
    state.save("token", "other", {"id": "other"})
    state.save("token", "liar", {**document, "id": "someone", "hash": "x"})
    state.save("token", "king", {**document, "id": "king", "role": "king"})
    again = tokens(state)
    assert [each.id for each in again] == [token.id]
    assert again.look_up(secret) is not None


def test_the_clock_never_goes_back() -> None:
    clock = Clock()
    assert clock.tell(1000.0, 5.0) == 1000.0
    assert clock.tell(1001.0, 6.0) == 1001.0
    assert clock.tell(10.0, 8.0) == 1003.0
    assert clock.tell(11.0, 9.0) == 1004.0
    assert clock.tell(2000.0, 10.0) == 2000.0
    fresh = Clock()
    fresh.seen(5000.0)
    assert fresh.tell(1000.0, 1.0) == 5000.0
    assert fresh.tell(1001.0, 3.0) == 5002.0
