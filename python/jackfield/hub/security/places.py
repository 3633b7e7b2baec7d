"""Where a token or an invitation is good: which listeners are meant, and where somebody is sent best. Pure.

Members come to listeners for clients, operators and admins to those with `protocol=control`. Of several the
ones that ask for a token are preferred, then those with TLS; with a host, those that are reached by it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jackfield import Address

from .access import CERTIFICATE, SECURE, TOKEN, is_local

if TYPE_CHECKING:
    from ..plan import ListenerPlan

WILDCARDS = (None, "0.0.0.0", "::")


@dataclass(frozen=True, slots=True)
class At:
    """One listener: where it is bound, what was planned, and the pin of its certificate if it needs one."""

    bound: Address
    plan: ListenerPlan
    pin: str = ""

    @property
    def name(self) -> str:
        """As tokens name it."""
        return str(self.plan.address.without_options())

    @property
    def port(self) -> str:
        """What people name it by."""
        return str(self.bound.without_options() if self.bound.port is None else self.bound.port)


def meant(listeners: Sequence[At], text: str) -> At | None:
    """The listener that is meant by its address, its place or its port."""
    for at in listeners:
        if text in (at.name, str(at.bound.without_options()), at.port, f":{at.port}"):
            return at
    return None


def invited_to(
    listeners: Sequence[At], *, operators: bool, named: Sequence[str], host: str, own_host: str
) -> tuple[list[tuple[At, Address]], int]:
    """Where an invitation is good, the best first, and how many are as good as that.

    Without listeners that are `named`, those that are for whom it is for. `host` is how the hub is reached
    from there, empty for what the addresses say, and `own_host` in place of a listener's on all addresses.
    """
    found = []
    for at in listeners:
        if not at.plan.control and at.plan.native == "off":
            continue
        if at.name not in named if named else at.plan.control is not operators:
            continue
        address = at.bound.without_options()
        if address.port is not None and (host or address.host in WILDCARDS):
            address = dataclasses.replace(address, host=host or own_host)
        if address.scheme in SECURE or is_local(address):  # else whoever is on the way could read it
            found.append((_rank(at, host, operators=operators), at, address))
    found.sort(key=lambda each: each[0])
    equal = sum(rank == found[0][0] for rank, _, _ in found)
    return [(at, address) for _, at, address in found], equal


def _rank(at: At, host: str, *, operators: bool) -> tuple[bool, ...]:
    mode, bound = at.plan.access.mode, at.bound
    return (
        at.plan.control is not operators,
        mode == CERTIFICATE,  # a certificate has to be there besides
        bool(host) and (bound.port is None or bound.host not in (*WILDCARDS, host)),
        mode != TOKEN,
        bound.scheme not in SECURE,
    )
