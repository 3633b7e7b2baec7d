"""Connections that may become, or are to become, native clients: from the first byte to the WELCOME.

Owns those without a session. Who has been recognised has `handshake.PATIENCE` seconds for its HELLO. A name
that is merely said belongs to one program at a time (`instance`): whoever says another's waits
`NAME_PATIENCE` seconds for it to leave, and is refused then, unless the listener says `conflict=newer`. On a
listener for plain clients, too, nothing is said to a newcomer for `SILENCE` seconds: a native client speaks
at once, and would take bytes before its WELCOME for a fault. What parts and operators say meanwhile is kept.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import jackfield
from jackfield import Member
from jackfield.portable import CONTROL, Frame

from ..roster import peer_text
from ..security.gate import Certificate
from ..security.gate import Refused as NotAdmitted
from . import handshake
from .handshake import Hello, Refused, Who
from .session import CONNECTED, HELD, NativeSession

if TYPE_CHECKING:
    from .part import Native

NAME_PATIENCE: Final = 1.0  # seconds that a newcomer waits for a name to become free
SILENCE: Final = 0.2  # seconds in which nothing is said to one that may be native
SETTLED_EVERY: Final = 0.02  # seconds between two looks whether newcomers are known to be plain
LOOK_EVERY: Final = 0.25  # seconds between two looks at clocks, while there are any

Said = tuple[bytes, str]  # bytes, and who says them


class Greeting:
    """The newcomers of one hub."""

    def __init__(self, native: Native) -> None:
        self._native = native
        self._due: dict[int, float] = {}  # members without a session, and until when they may be
        self._admitting: dict[int, asyncio.Task[None]] = {}  # by member id: HELLOs that are being judged
        self._wanting: dict[int, tuple[Hello, Who, str, float]] = {}  # who waits for a name, and until when
        self._kept: dict[int, tuple[Member, list[Said]]] = {}  # what is to be said to those in silence
        self._looking: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """Look at no clock any more."""
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    # ---------------------------------------------------------------- newcomers

    def holds(self, member_id: int) -> bool:
        """Whether that connection is a native client's, and has no session yet."""
        return member_id in self._due

    def expect(self, member: Member) -> None:
        """That connection is, or has to be, a native client's: its HELLO is due."""
        self._due[member.id] = self._native.now() + handshake.PATIENCE
        self._look_later()

    def forget(self, member_id: int) -> list[Said]:
        """It has a session now, or is gone; what is to be said to it."""
        self._due.pop(member_id, None)
        self._wanting.pop(member_id, None)
        task = self._admitting.pop(member_id, None)
        if task is not None and task is not asyncio.current_task():
            task.cancel()
        return self._kept.pop(member_id, (None, []))[1]

    # ---------------------------------------------------------------- silence

    def is_silent(self, member_id: int) -> bool:
        """Whether nothing may be said to that newcomer yet."""
        return member_id in self._kept

    def keep_silent(self, member: Member) -> None:
        """Say nothing to a newcomer that may be a native client, for a moment."""
        self._kept[member.id] = member, []
        asyncio.get_running_loop().call_later(SILENCE, self.speak, member.id)

    async def settle(self, member_ids: Iterable[int]) -> None:
        """Wait, `SILENCE` seconds at most, until it is known which of these newcomers are plain."""
        waiting = list(member_ids)
        while waiting := [each for each in waiting if self.is_silent(each) and not self.holds(each)]:  # noqa: ASYNC110
            await asyncio.sleep(SETTLED_EVERY)

    def keep(self, member_id: int, data: bytes, by: str) -> bool:
        """Say that later; whether there was room."""
        said = self._kept[member_id][1]
        if sum(len(each) for each, _ in said) + len(data) > self._native.hub.settings.limits.queue:
            return False
        said.append((data, by))
        return True

    def speak(self, member_id: int) -> None:
        """It is a plain client: it has spoken, or was silent for long enough. Nothing for others."""
        if member_id in self._due or member_id not in self._kept:
            return
        member, said = self._kept.pop(member_id)
        self._native.hub.identities.shown(member)
        with contextlib.suppress(jackfield.JackfieldError):
            for data, _ in said:
                member.send_nowait(data)

    # ---------------------------------------------------------------- the handshake

    def received(self, member: Member, frame: Frame) -> None:
        """The first frame of a client. Raises `Refused`."""
        if frame.kind != CONTROL or member.id in self._wanting or member.id in self._admitting:
            raise Refused("bad_frame", f"a frame of kind {frame.kind} before the welcome")
        hello = handshake.read_hello(frame.payload)
        handshake.choose_version(hello.versions)
        self._admitting[member.id] = asyncio.create_task(self._admit(member, hello))

    async def _admit(self, member: Member, hello: Hello) -> None:
        native, hub = self._native, self._native.hub
        host = member.peer.host if member.peer.port is not None else None
        problem: Refused | None = None
        try:
            await hub.gate.wait()  # a reload under way ends first
            admitted = await hub.security.admit(
                hub.plan_of(member),
                host,
                hello.body,
                where=peer_text(member),
                certificate=Certificate.of(member.tls),
            )
            who, token = Who.of(admitted), admitted.new_token or ""
            session = self._earlier(member, hello, who)
            if session is not None and native.go_on(member, hello, session):
                return
            if self._holder(member, hello, who):
                self._wanting[member.id] = hello, who, token, native.now() + NAME_PATIENCE
                self._look_later()
            else:
                native.begin(member, hello, who, token)
        except NotAdmitted as refused:
            problem = Refused(refused.code, refused.message, refused.hint)
        except Refused as refused:
            problem = refused
        except jackfield.ChannelClosed:
            pass  # it left meanwhile
        except Exception as fault:  # a fault of ours harms no other client
            hub.log("fault", event="hello", error=f"{type(fault).__name__}: {fault}")
            problem = Refused("overloaded", "a fault of the hub; its log has it")
        finally:
            self._admitting.pop(member.id, None)
        if problem is not None:
            native.refuse(member, problem)

    def _earlier(self, member: Member, hello: Hello, who: Who) -> NativeSession | None:
        """The session that the client goes on with; None for a new one. Raises `Refused`.

        A client opens one connection after the other: what it has said over an earlier one and is read only
        now, as when this process was stopped, must not take the session from the one that it has.
        """
        wanted, native = hello.session, self._native
        session = None if wanted is None else native.of_id(wanted.id)
        if wanted is None or session is None:
            return None
        if not handshake.key_matches(wanted.key, session.digest):
            raise Refused("bad_session", "that session has another key")
        if who.identity != session.identity:
            raise Refused("bad_session", "that session is somebody else's")
        if member.number < session.client_id:
            raise Refused("handshake_timeout", "that session has gone on over a later connection")
        if session.state == CONNECTED:
            native.replaced(session)
        return session if session.state == HELD else None

    def _holder(self, member: Member, hello: Hello, who: Who) -> str:
        """Who else is called what this client says it is called; empty for nobody that matters."""
        native = self._native
        if who.proven or not who.identity or native.hub.plan_of(member).newer_wins:
            return ""
        for session in native.of_identity(who.identity):
            if session.instance != hello.instance:
                return f"client {session.client_id}"
        entry = native.hub.identities.registry.known_as(who.identity)
        if entry is not None and entry.client_id:
            holder = native.hub.member(entry.client_id)
            if holder is not None and holder.id not in native.sessions:
                return f"client {entry.client_id}"
        return ""

    # ---------------------------------------------------------------- clocks

    def _look_later(self) -> None:
        if self._looking is None and (self._due or self._wanting):
            self._looking = asyncio.get_running_loop().call_later(LOOK_EVERY, self._look)

    def _look(self) -> None:
        """End handshakes that take too long, and give names that became free."""
        self._looking = None
        native = self._native
        now, group = native.now(), native.hub.group
        for member_id, (hello, who, token, until) in list(self._wanting.items()):
            member = group.member(member_id)
            holder = "" if member is None else self._holder(member, hello, who)
            if member is None:
                continue
            if not holder:
                native.begin(member, hello, who, token)
            elif now > until:
                name = who.identity.removeprefix(handshake.SAID)
                native.refuse(
                    member,
                    Refused(
                        "name_taken", f"{holder} is called {name!r}", "choose another name, or end that one"
                    ),
                )
        for member_id, until in list(self._due.items()):
            if until > now:
                break
            member = group.member(member_id)
            if member is not None and member_id not in self._admitting:
                late = f"no hello within {handshake.PATIENCE:g} s"
                native.refuse(member, Refused("handshake_timeout", late))
            self._due.pop(member_id, None)
        self._look_later()
