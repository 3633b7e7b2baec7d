"""What the API answers about who may come, and about who did what."""

from __future__ import annotations

from typing import Final

from .endpoint import Endpoint
from .schemas import listing, nullable, number, record, text, told, whole

_SPAN: Final = {**number("Seconds."), "minimum": 0}
_TAKES: Final = {
    "role": text(choices=("member", "operator", "admin")),
    "name": text("The identity that it gives.", most=200),
    "expires": _SPAN,
    "listeners": listing(text(), "Where it is good; everywhere without."),
}
_TOKEN: Final = {"id": told("Public."), "kind": told(), "role": told(), "name": told(), "state": told()}
_MADE: Final = {**_TOKEN, "token": told("The secret, told once.")}

ENDPOINTS: Final = (
    Endpoint("token_create", "Make a token.", record({}, _TAKES), record(_MADE, more=True)),
    Endpoint(
        "invite",
        "Make an invitation, which is good once.",
        record({}, {**_TAKES, "host": text("The name or address of this machine for whoever is invited.")}),
        record(
            {
                **_MADE,
                "invitations": listing(told("What `jackfield join` or `--hub` is given.")),
            },
            more=True,
        ),
    ),
    Endpoint(
        "token_list",
        "Tokens and invitations.",
        record(),
        record({"tokens": listing(record(_TOKEN, {"expires": nullable(number())}, more=True))}),
        reads=True,
    ),
    Endpoint(
        "token_revoke",
        "Let nobody in with a token any more.",
        record({"token": text("Its id or its name.", most=200)}),
        record({"revoked": listing(told())}),
    ),
    Endpoint(
        "audit",
        "Who did what lately.",
        record({}, {"last": whole(most=100_000)}),
        record(
            {
                "audit": listing(
                    record(
                        {"time": told()},
                        {"who": told(), "what": told(), "target": told(), "outcome": told()},
                        more=True,
                    )
                )
            }
        ),
        reads=True,
        gathers=(("audit", "audit"),),
    ),
)
