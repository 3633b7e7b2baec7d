"""The security of one hub: its tokens, its gate, what addresses and clients may do in a time.

Owns the order of things where somebody is let in: decide, have it on disk, tell. Everything else decides by
itself (`gate`, `access`, `limits`, `roles`), given the time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from ..identity import PROVEN
from ..journal import Field, Throttle
from ..part import Part
from ..roster import peer_text, timestamp
from ..state_file import StateError
from .access import CERTIFICATE, DATAGRAMS
from .audit import AuditLog, journal_of
from .expiring import Expiring
from .gate import OVERLOADED, Admitted, Certificate, Gate, Refused
from .limits import Addresses, Meter
from .roles import MEMBER
from .tokens import Clock, Token, Tokens

if TYPE_CHECKING:
    from jackfield import Listener, Member

    from ..plan import ListenerPlan
    from ..server import Hub

NAMELESS: Final = "its certificate has no name that a client can have"
OF_THE_NETWORK: Final = "its address is not among those of allow="


class Security(Part):
    """What one hub knows of who may come. `hub.security` is there as long as the hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._clock = Clock()
        self.tokens = Tokens(hub.state, os.urandom)
        self.addresses = Addresses()
        self.gate = self._make_gate()
        self.when_revoked: list[Callable[[str], None]] = []
        """Called with the id of a token that was revoked: whoever came with it is to go."""
        self.listeners: list[tuple[Listener, ListenerPlan]] = []
        """Those that operators come to."""
        self.pin = hub.settings.pin
        """What clients are to know the hub's certificate by; empty while it has none of its own."""
        self.counts: dict[str, int] = {}
        """What was refused, by reason, since the hub began."""
        self._told = Throttle()
        self._tried = Throttle(burst=20)
        self.audit_log = AuditLog(None, None, self._trouble)
        self.expiring = Expiring(hub)
        self._meters: dict[int, Meter] = {}  # by member id, of listeners with rates

    async def open(self, hub: Hub) -> None:
        loop = asyncio.get_running_loop()

        def trouble(problem: str) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._trouble, problem)

        self.audit_log = AuditLog(hub.settings.audit, journal_of(os.environ), trouble)
        self.tokens = Tokens(hub.state, os.urandom)
        self.gate = self._make_gate()
        self._clock.seen(self.tokens.load())

    def _make_gate(self) -> Gate:
        return Gate(
            self.tokens,
            self.addresses,
            is_proven=lambda name: self._hub.identities.registry.knows(f"{PROVEN}{name}"),
        )

    async def close(self) -> None:
        self.expiring.close()
        await asyncio.to_thread(self.audit_log.close)

    def _trouble(self, problem: str) -> None:
        """The audit log cannot be written, or can be again."""
        path = str(self.audit_log.path)
        if problem:
            self._hub.log("not_audited", audit=path, reason=problem, hint="it is tried again")
        else:
            self._hub.log("audited", audit=path)

    def now(self) -> float:
        """Unix seconds that never go back (`tokens.Clock`)."""
        return self._clock.tell(self._hub.clock(), time.monotonic())

    # ---------------------------------------------------------------- who comes

    def refusal(self, now: float, member: Member, plan: ListenerPlan) -> str:
        """Why a newcomer is not let in where it came from; empty when it may."""
        host = member.peer.host if member.peer.port is not None else None
        if reason := self.refusal_at(now, host, plan):
            return reason
        if plan.access.mode == CERTIFICATE and not self.name_shown(member):
            return self._refused(NAMELESS)
        if plan.rates.messages or plan.rates.bytes:
            self._meters[member.id] = Meter(plan.rates, now)
        return ""

    def name_shown(self, member: Member) -> str:
        """Who a client is by its certificate, which TLS has verified; empty without one."""
        shown = Certificate.of(member.tls)
        return shown.names[0] if shown is not None and shown.names else ""

    def refusal_at(self, now: float, host: str | None, plan: ListenerPlan) -> str:
        """Why somebody at that host may not come to that listener at all; empty when it may."""
        if not plan.access.admits(host):
            return self._refused(OF_THE_NETWORK)
        if plan.rates.connects and not self.addresses.connect(host, plan.rates.connects, now):
            return self._refused(f"more than {plan.rates.connects} connects a second (connect_rate)")
        return ""

    def _refused(self, reason: str) -> str:
        self.counts[reason] = self.counts.get(reason, 0) + 1
        return reason

    def audit(self, who: str, what: str, target: str, outcome: str, **facts: Field) -> None:
        """Write down who did what to whom, and what came of it. No secret may be in it. Never waits."""
        told = {"who": who, "what": what, "target": target, "outcome": outcome, **facts}
        self.audit_log.write({"time": timestamp(self._hub.clock()), **told})

    def hears(self, now: float, member: Member, data: bytes) -> bool:
        """Whether a message is its client's to say: it was let in, and is within the rates of its listener.

        Who goes beyond them is disconnected. A datagram too many is not heard: its sender need not be who it
        says.
        """
        if not self._hub.admission.holds(member.listener_id, member.id):
            return False  # it was refused, or kicked, with this on its way
        meter = self._meters.get(member.id)
        reason = "" if meter is None else meter.over(len(data), now)
        if not reason:
            return True
        self._refused(reason)
        hub = self._hub
        hub.log_seldom(self._told, "limited", id=member.number, peer=peer_text(member), reason=reason)
        if member.protocol not in DATAGRAMS:
            hub.kick(member.number, reset=True, by="the hub", why=f"disconnected for {reason}")
        return False

    def hears_all(self, now: float, member: Member, messages: Sequence[bytes]) -> bool:
        """The same for messages that came together: all are heard, or none."""
        if member.id not in self._meters:
            return self._hub.admission.holds(member.listener_id, member.id)
        return all(self.hears(now, member, data) for data in messages)

    def came(self, now: float, client: Any) -> None:
        if self._hub.plan_of(client.member).access.mode == CERTIFICATE:
            self.expiring.came(client.member)

    def went(self, now: float, client: Any, reason: str) -> None:
        self._meters.pop(client.member.id, None)

    async def admit(
        self,
        plan: ListenerPlan,
        host: str | None,
        hello: Mapping[str, Any],
        *,
        where: str,
        certificate: Certificate | None = None,
        least: str = MEMBER,
    ) -> Admitted:
        """Who that is, by what was said first; an invitation is on disk as used before this returns.

        `host` is the peer's address, None for a Unix socket's; `where` is how logs name it. Raises `Refused`.
        Cancelled, an invitation is as good as before.
        """
        try:
            admitted = self.gate.admit(
                plan, host, hello, now=self.now(), where=where, certificate=certificate, least=least
            )
        except Refused as problem:
            self._refused(problem.code)
            write, left_out = (False, 0) if problem.seldom else self._tried.allow(time.monotonic())
            if write:
                more: dict[str, Field] = {"more_before": left_out} if left_out else {}
                outcome = f"refused: {problem.reason}"
                self.audit(where, "admit", problem.token, outcome, at=str(plan.address), **more)
            raise
        if admitted.redeemed is not None:
            await self._keep(admitted)
            became: dict[str, Field] = {"token": admitted.token, "role": admitted.role}
            self.audit(where, "redeem", admitted.redeemed[0].id, "done", **became)
        return admitted

    async def _keep(self, admitted: Admitted) -> None:
        try:
            await self._hub.state.flush()
        except BaseException as problem:
            self.gate.take_back(admitted)  # nobody was told what it became
            if not isinstance(problem, StateError):
                raise
            message = "the hub cannot keep on disk that the invitation was used"
            raise Refused(OVERLOADED, message, "try again later") from problem

    # ---------------------------------------------------------------- tokens

    async def revoke(self, id_: str) -> Token | None:
        """A token lets nobody in any more, and who came with it goes; None if there is none.

        Raises `StateError` when that is not on disk yet.
        """
        token = self.tokens.revoke(id_, self.now())
        if token is not None:
            for follower in tuple(self.when_revoked):
                follower(token.id)
            await self._hub.state.flush()
        return token

    def figures(self) -> dict[str, Any]:
        """What `status` shows."""
        return {
            "tokens": len(self.tokens),
            "fingerprint": self.pin,
            "refused": dict(self.counts),
            "audit": None if self.audit_log.path is None else str(self.audit_log.path),
            "audit_problem": self.audit_log.problem,
            "addresses_waiting": self.addresses.waiting(time.monotonic()),
        }
