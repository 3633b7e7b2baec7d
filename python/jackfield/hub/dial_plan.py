"""Addresses in, whom to dial out: with the hub's own two words in them, `name=` and `eol=`. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import jackfield
from jackfield import Address

from .plan import Limits, ListenerPlan, PlanError, without
from .roster import check_name
from .text import TextError, line_ending

SCHEMES: Final = ("tcp", "tls", "udp", "unix", "unix+dgram", "unix+seqpacket", "serial")


@dataclass(frozen=True, slots=True)
class DialPlan:
    """A peer to be dialled: what the hub calls it, and what it is connected with, as if it had come in."""

    name: str
    plan: ListenerPlan

    @property
    def identity(self) -> str:
        """What is known of it lastingly stands under this."""
        return self.plan.known_as

    @property
    def where(self) -> str:
        """Its address for people."""
        return str(self.plan.address.without_options())

    def options(self, limits: Limits) -> dict[str, Any]:
        """Keyword options for `jackfield.connect`."""
        return self.plan.options(limits)

    def document(self) -> dict[str, Any]:
        """As the hub's state keeps it, under its name."""
        return {"address": str(self.plan.address), "framing": self.plan.framing, "ending": self.plan.ending}

    @classmethod
    def of_document(cls, name: str, document: Mapping[str, Any]) -> DialPlan:
        """Raises ValueError, TypeError or KeyError for what is no such document."""
        address = Address.parse(document["address"])
        return plan_dial(address, name=name, framing=document["framing"], ending=document["ending"])


# Of a dialled client that has left, for whoever still speaks of it.
GONE: Final = ListenerPlan(Address.unchecked("tcp"), "none", "none")


def plan_dial(
    address: Address, *, name: str | None = None, framing: str = "none", ending: str = "lf"
) -> DialPlan:
    """Whom to dial; `name`, `framing` and `ending` are for an address that says none.

    Raises `PlanError`, `NameRefused`, and what `jackfield.connect` raises for options that cannot be.
    """
    if address.scheme not in SCHEMES:
        raise PlanError(f"the hub cannot dial {address.scheme}:", f"it can dial {', '.join(SCHEMES)}")
    named = name or address.option("name") or _name_of(address)
    check_name(named)
    try:
        line_ending(address.option("eol") or ending)
    except TextError as problem:
        raise PlanError(f"{address}: {problem}") from None
    bare = without(address, "name", "eol")
    framing = bare.option("framing") or framing
    ending = address.option("eol") or (ending if framing == "none" else "none")
    plan = ListenerPlan(bare, framing, ending.lower(), newer_wins=True, known_as=f"dial:{named}")
    jackfield.connect(bare, **plan.options(Limits()))  # checks it; nothing is opened before it is awaited
    return DialPlan(named, plan)


def _name_of(address: Address) -> str:
    """A name for one that got none: of a path its last part, else host and port."""
    text = (address.path or "").rpartition("/")[2] or f"{address.host or 'localhost'}-{address.port}"
    return re.sub(r"[^\w.@+-]+", "-", text).strip("-._@+")[:64]
