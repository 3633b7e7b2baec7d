"""Addresses and limits in, what to listen on out.

Owns the hub's defaults and what the hub adds to an address: the line ending that typed text gets (`eol=`),
how clients are recognised (`identify=`, `conflict=`), the room that they chat in (`room=`), and its limits
where the address names none. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from jackfield import Address, JackfieldError, Options

from .identify import NO_RULE, Rule, parse_rule
from .rooms.room import RoomError, check_room_name
from .security.access import OPEN, TOKEN, Access, Unconsented, access_of, is_local
from .security.access import check_bound as check_access
from .security.limits import REMOTE, UNLIMITED, Rates, parse_rate
from .text import LINE_ENDINGS, TextError, line_ending

MAX_CLIENTS: Final = 50_000
MAX_QUEUE: Final = 1024 * 1024
MAX_MESSAGE: Final = 1024 * 1024
MAX_OPERATORS: Final = 64
NATIVE_SCHEMES: Final = ("tcp", "tls", "unix", "unix+seqpacket")
SCHEMES: Final = ("tcp", "tls", "udp", "unix", "unix+dgram", "unix+seqpacket", "fd")
DATAGRAMS: Final = ("udp", "unix+dgram")
_STREAMS_OF_BYTES: Final = ("tcp", "tls", "unix", "serial")
CONTROL: Final = "control"
_OWN: Final = ("access", "allow", "protocol", "message_rate", "byte_rate", "connect_rate")


Native = Literal["off", "auto", "only"]


class PlanError(ValueError):
    """An address cannot be served as it stands; the message says why, `hint` what to write instead."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class AccessUndecided(PlanError):
    """Others can reach an address, and it does not say who may come; `consenting` is what would say so."""

    def __init__(self, address: Address, problem: Unconsented) -> None:
        self.consenting = typed(problem.consenting)
        self.private = typed(problem.private)
        super().__init__(
            str(problem),
            f"to let in whoever comes, write {self.consenting} (and allow=192.168.1.0/24 beside it for one "
            f"network); for this machine alone, {self.private}",
        )
        self.address = address


def typed(address: Address) -> str:
    """An address as people type it, with commas, which shells leave alone."""
    return str(address).replace("?", ",").replace("&", ",")


@dataclass(frozen=True, slots=True)
class Limits:
    """What the hub takes at most: clients in all, bytes queued for one client, bytes of one message.

    Clients are None for `MAX_CLIENTS`, or as many fewer as the descriptor limit allows.
    """

    max_clients: int | None = None
    queue: int = MAX_QUEUE
    max_message: int = MAX_MESSAGE


@dataclass(frozen=True, slots=True)
class ListenerPlan:
    """One listener to be: its address without what is the hub's own to do, and that.

    `framing` and `ending` (of typed lines) are names; `max_clients` is None for no limit but the hub's.
    `identify` is how its clients are recognised, and `newer_wins` who has a name that two of them claim.
    `access` is who may come, and `rates` how much each may do.
    """

    address: Address
    framing: str
    ending: str
    max_clients: int | None = None
    identify: Rule = NO_RULE
    newer_wins: bool = False
    native: Literal["off", "auto", "only"] = (
        "off"  # whether native clients come here: "off", "auto" (beside plain ones), "only"
    )
    room: str = ""  # where clients without a protocol chat line by line
    access: Access = OPEN
    rates: Rates = UNLIMITED
    control: bool = False  # for operators, with a token
    known_as: str = ""  # the identity of the one peer that there is, where this is no listener

    @property
    def ending_bytes(self) -> bytes:
        """What ends a typed line for clients of this listener."""
        return LINE_ENDINGS[self.ending]

    def options(self, limits: Limits) -> dict[str, Any]:
        """Keyword options for `jackfield.listen`; what the address itself says stays as it is."""
        defaults = {"framing": self.framing, "max_message": limits.max_message, "high_water": limits.queue}
        given = {name: value for name, value in defaults.items() if self.address.option(name) is None}
        return given | self.handshakes()

    def handshakes(self) -> dict[str, Any]:
        """The options of its TLS: who comes too often costs no handshake."""
        if self.address.scheme != "tls" or self.address.option("handshake_rate") is not None:
            return {}
        return {"handshake_rate": self.rates.connects}


def comes_in_pieces(framing: str, protocol: str) -> bool:
    """Whether what a client says comes in chunks, cut anywhere: a stream without framing."""
    return framing == "none" and protocol in _STREAMS_OF_BYTES


def plan_listeners(
    addresses: Iterable[Address], *, framing: str = "none", ending: str = "lf", identify: Rule = NO_RULE
) -> list[ListenerPlan]:
    """What to listen on, in order; `framing`, `ending`, `identify` are for the addresses that name none."""
    plans = [_plan(address, framing, ending, identify) for address in addresses]
    seen: set[Address] = set()
    for listener in plans:
        bare = listener.address.without_options()
        if bare in seen and bare.port != 0:
            raise PlanError(f"{bare} is given twice", "leave one of them out")
        seen.add(bare)
    return plans


def _plan(address: Address, framing: str, ending: str, identify: Rule) -> ListenerPlan:
    if address.scheme not in SCHEMES:
        raise PlanError(
            f"the hub cannot listen on {address.scheme}: yet",
            f"it can on {', '.join(SCHEMES[:-1])} and {SCHEMES[-1]}",
        )
    framing = address.option("framing") or framing
    own_ending = address.option("eol")
    if own_ending is not None:
        try:
            line_ending(own_ending)
        except TextError as problem:
            raise PlanError(f"{address}: {problem}") from None
    newer_wins = _newer_wins(address)
    if (rule := address.option("identify")) is not None:
        try:
            identify = parse_rule(rule)
        except TextError as problem:
            raise PlanError(f"{address}: {problem}") from None
    control = address.option("protocol") == CONTROL
    access, rates = _access(address, control=control), _rates(address)
    native: Native = "off" if control else _native(address, access)
    if native == "only":
        framing, ending = "none" if address.scheme == "unix+seqpacket" else "u32", "none"
    room = _room(address)
    if room and (control or native == "only"):
        raise PlanError(
            f"{address}: room= is for plain clients, and this listener leaves them out",
            "leave room= out: native clients join rooms by themselves",
        )
    address = without(address, "identify", "conflict", "room", *_OWN)
    most = Options.from_address(without(address, "eol")).max_clients
    # A framing ends messages itself; unframed text needs its line ending.
    own_ending = own_ending or (ending if framing == "none" else "none")
    bare = without(address, "eol", "max_clients")
    own_ending = own_ending.lower()
    return ListenerPlan(
        bare, framing, own_ending, most, identify, newer_wins, native, room, access, rates, control
    )


def _native(address: Address, access: Access) -> Native:
    """What `protocol=` says of native clients, in the engine's words. Only they can show a token.

    Without it a listener of streams takes both kinds, and one that asks for a token native ones alone. A
    certificate is shown to TLS, which plain clients have as well.
    """
    both = "auto" if address.scheme in NATIVE_SCHEMES else "plain"
    chosen = address.option("protocol") or ("native" if access.mode == TOKEN else both)
    words: dict[str, Native] = {"plain": "off", "auto": "auto", "native": "only"}
    if chosen not in words:
        raise PlanError(
            f"{address}: protocol={chosen} means nothing",
            "write protocol=auto, protocol=plain, protocol=native or protocol=control",
        )
    if chosen != "native" and access.mode == TOKEN:
        raise PlanError(f"{address}: plain clients cannot show what access={access.mode} asks for")
    if words[chosen] != "off" and address.scheme not in NATIVE_SCHEMES:
        raise PlanError(
            f"{address}: native clients do not come over {address.scheme}:",
            f"they come over {', '.join(NATIVE_SCHEMES)}",
        )
    return words[chosen]


def _access(address: Address, *, control: bool) -> Access:
    try:
        return access_of(address, control=control)
    except Unconsented as problem:
        raise AccessUndecided(address, problem) from None
    except JackfieldError:
        raise
    except ValueError as problem:
        raise PlanError(f"{address}: {problem}") from None


def check_bound(plan: ListenerPlan, bound: Address) -> None:
    """Raise `AccessUndecided` for a socket opened elsewhere that others reach, if nothing says who may."""
    if plan.address.scheme != "fd":
        return
    try:
        check_access(bound, plan.address, plan.access)
    except Unconsented as problem:
        raise AccessUndecided(plan.address, problem) from None


def _rates(address: Address) -> Rates:
    """How much clients of a listener may do: what the address says, else by who can reach it."""
    default = UNLIMITED if is_local(address) else REMOTE
    given = {}
    for name in ("message", "byte", "connect"):
        text = address.option(f"{name}_rate")
        if text is not None:
            try:
                given[f"{name}s"] = parse_rate(text, sized=name == "byte")
            except ValueError as problem:
                raise PlanError(f"{address}: {name}_rate: {problem}") from None
    return replace(default, **given)


def _newer_wins(address: Address) -> bool:
    chosen = address.option("conflict") or "older"
    if chosen not in ("older", "newer"):
        raise PlanError(
            f"{address}: conflict={chosen} means nothing", "write conflict=older or conflict=newer"
        )
    return chosen == "newer"


def _room(address: Address) -> str:
    """The room that clients of the listener chat in; empty for none. Raises `PlanError`."""
    room = address.option("room")
    if room is None:
        return ""
    try:
        return check_room_name(room)
    except RoomError as problem:
        raise PlanError(f"{address}: {problem}", "write room=lobby") from None


def without(address: Address, *names: str) -> Address:
    """The address without some of its options."""
    return replace(address, options=tuple(pair for pair in address.options if pair[0] not in names))
