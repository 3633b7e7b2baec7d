"""Native clients of one hub: greeted, kept as sessions, switched to each other, and told of each other.

Owns the life of a session. A connection that sent the magic has `handshake.PATIENCE` seconds for its HELLO;
then it has a session, which outlives it by `HELD_FOR` seconds unless it broke the protocol. A name that is
merely said belongs to one program at a time (`instance`): whoever says another's waits `NAME_PATIENCE`
seconds for it to leave, and is refused then, unless the listener says `conflict=newer`. Proven identities
have any number of sessions.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import jackfield
from jackfield import Member
from jackfield.portable import (
    CONTROL,
    MAGIC,
    MAX_PAYLOAD,
    OPEN,
    PEER_GONE,
    Frame,
    ProtocolError,
    decode,
    to_json,
)

from ..client import Client
from ..journal import Throttle
from ..part import Part
from ..roster import peer_text, version
from ..security.gate import Refused as NotAdmitted
from . import control, handshake, streams, talk
from .handshake import Hello, Refused, Who
from .mail import Mail
from .presence import Presence, client_view
from .session import CONNECTED, ENDED, HELD, NativeSession
from .standin import StandIn

if TYPE_CHECKING:
    from ..plan import ListenerPlan
    from ..server import Hub

HELD_FOR: Final = 60.0  # seconds that a session outlives its connection
MOST_HELD: Final = 10_000  # sessions without a connection; the oldest goes first
NAME_PATIENCE: Final = 1.0  # seconds that a newcomer waits for a name to become free
LOOK_EVERY: Final = 0.25  # seconds between two looks at clocks, while there are any
LAST_WORDS: Final = 2.0  # seconds that an error may take to a client that is let go
FIRST_SHARED: Final = 2**31  # numbers of streams that many clients have in common begin here


class Follower:
    """Whoever wants to know what becomes of sessions. A session ends once; paused, it may be resumed."""

    def began(self, session: NativeSession) -> None:
        """A session begins; its client has been told so."""

    def paused(self, session: NativeSession, reason: str) -> None:
        """Its connection is lost."""

    def resumed(self, session: NativeSession) -> None:
        """It has another connection, and another client id."""

    def ended(self, session: NativeSession, reason: str) -> None:
        """It will not come back."""


class Native(Part):
    """The native clients of one hub."""

    def __init__(self, *, held_for: float = HELD_FOR) -> None:
        self.held_for = held_for
        self.sessions: dict[int, NativeSession] = {}  # with a connection, by its member's id
        self.presence = Presence(self)
        self.mail = Mail(self)
        self.services: dict[str, streams.Service] = {talk.SERVICE: talk.opened}  # of the hub, by name
        self.shared: dict[int, Any] = {}  # handlers of streams that many clients have in common
        self._by_key: dict[str, NativeSession] = {}  # by session id, the held ones too
        self._by_identity: dict[str, list[NativeSession]] = {}  # with a connection; the newest last
        self._held: dict[NativeSession, None] = {}  # the one held longest first
        self._greeting: dict[int, float] = {}  # members without a session, and until when they may be
        self._admitting: dict[int, asyncio.Task[None]] = {}  # by member id: HELLOs that are being judged
        self._wanting: dict[int, tuple[Hello, Who, str, float]] = {}  # who waits for a name, and until when
        self._followers: list[Follower] = []
        self._plans: dict[int, tuple[ListenerPlan, ListenerPlan]] = {}  # by identity, with what they become
        self._looking: asyncio.TimerHandle | None = None
        self._throttle = Throttle()
        self._next_shared = FIRST_SHARED
        self.now = time.monotonic

    async def open(self, hub: Hub) -> None:
        self.hub = hub
        self.switch: Any = StandIn(hub.group)
        hub.native = self
        if self._revoked not in hub.security.when_revoked:
            hub.security.when_revoked.append(self._revoked)
        await self.mail.open(hub.store)
        self._look_later()

    async def close(self) -> None:
        self.presence.close()
        await self.mail.close()
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    def follow(self, follower: Follower) -> None:
        """Tell somebody what becomes of sessions."""
        self._followers.append(follower)

    def new_shared_stream(self) -> int:
        """A stream number that can be the same for any number of clients."""
        number, self._next_shared = self._next_shared, self._next_shared + 2
        return number

    # ---------------------------------------------------------------- looking sessions up

    def find(self, to: int | str) -> Member | None:
        """The connection of the client with that id, or of that name: of several sessions, the newest."""
        return streams.find(self, to)

    def newest(self, identity: str) -> NativeSession | None:
        """The newest session of an identity that has a connection."""
        found = self._by_identity.get(identity)
        return found[-1] if found else None

    def of_identity(self, identity: str) -> list[NativeSession]:
        """Every session of an identity that has a connection; the newest last."""
        return self._by_identity.get(identity, []).copy()

    def session_of(self, client_id: int) -> NativeSession | None:
        """The session of a client that is there."""
        member = self.hub.member(client_id)
        return None if member is None else self.sessions.get(member.id)

    def is_greeting(self, member_id: int) -> bool:
        """Whether that connection is a native client's, and has no session yet."""
        return member_id in self._greeting

    def takes(self, member_id: int) -> bool:
        """Whether what that member sends are frames."""
        return member_id in self.sessions or member_id in self._greeting

    # ---------------------------------------------------------------- what the engine tells

    def recognised(self, member: Member) -> None:
        """A member has sent the magic: what it sends from now on are frames."""
        self._greeting[member.id] = self.now() + handshake.PATIENCE
        self._look_later()

    def received(self, member: Member, data: bytes) -> None:
        """A native member's frame."""
        if data == MAGIC and member.id in self._greeting:
            return
        try:
            frame = decode(data)
            if self.switch.passes(member.id, frame):
                return
            session = self.sessions.get(member.id)
            if session is None:
                self._greet(member, frame)
            elif frame.kind == CONTROL:
                control.receive(session, frame.payload)
            elif frame.kind == OPEN:
                streams.opened(self, session, frame.stream, frame.payload)
            else:
                handler = session.handler_of(frame.stream) or self.shared.get(frame.stream)
                if handler is not None:
                    handler(session, frame)
        except ProtocolError as problem:
            self.refuse(member, Refused(problem.code, problem.message))
        except Refused as problem:
            self.refuse(member, problem)

    def left(self, member: Member, reason: str, *, for_good: bool = False) -> None:
        """A member's connection has ended."""
        self._greeting.pop(member.id, None)
        self._wanting.pop(member.id, None)
        if member.id in self._admitting:
            self._admitting.pop(member.id).cancel()
        session = self.sessions.pop(member.id, None)
        if session is None:
            self.switch.left(member.id)
            return
        view = client_view(self.hub, session.client_id) or {
            "id": str(session.client_id),
            "name": session.name,
        }
        self.presence.changed(session.client_id, "went", view)
        self.presence.watch(session, on=False)
        self._unlist(session)
        self.mail.restart(session.identity)
        session.held = self.switch.hold(member.id)
        session.state = HELD
        if for_good or session.held is None:
            self._finish(session, reason)
            return
        session.until = self.now() + self.held_for
        self._held[session] = None
        if len(self._held) > MOST_HELD:
            self._finish(next(iter(self._held)), "too many sessions wait for their clients")
        self._tell("paused", session, reason)
        self._look_later()

    # ---------------------------------------------------------------- the handshake

    def _greet(self, member: Member, frame: Frame) -> None:
        if frame.kind != CONTROL or frame.stream:
            raise Refused("bad_frame", f"kind {frame.kind} before the hello")
        if member.id in self._wanting or member.id in self._admitting:
            raise Refused("bad_frame", "a second frame before the welcome")
        hello = handshake.read_hello(frame.payload)
        handshake.choose_version(hello.versions)
        self._admitting[member.id] = asyncio.create_task(self._admit(member, hello))

    async def _admit(self, member: Member, hello: Hello) -> None:
        hub = self.hub
        host = member.peer.host if member.peer.port is not None else None
        try:
            await hub.gate.wait()  # a reload under way ends first
            admitted = await hub.security.admit(
                hub.plan_of(member), host, hello.body, where=peer_text(member)
            )
            self._admitting.pop(member.id, None)
            who, token = Who.of(admitted), admitted.new_token or ""
            session = self._earlier(hello, who)
            if session is not None and self._resume(member, hello, session):
                return
            if self._holder(member, hello, who):
                self._wanting[member.id] = hello, who, token, self.now() + NAME_PATIENCE
                self._look_later()
            else:
                self._begin(member, hello, who, token)
        except (Refused, NotAdmitted) as problem:
            self._admitting.pop(member.id, None)
            facts = problem.facts if isinstance(problem, Refused) else {}
            self.refuse(member, Refused(problem.code, problem.message, problem.hint, **facts))
        except Exception as problem:  # a fault of ours harms no other client
            self._admitting.pop(member.id, None)
            hub.log("fault", event="hello", error=f"{type(problem).__name__}: {problem}")
            self.refuse(member, Refused("overloaded", "a fault of the hub; its log has it"))

    def _earlier(self, hello: Hello, who: Who) -> NativeSession | None:
        """The session that the client goes on with; None for a new one. Raises `Refused`."""
        wanted = hello.session
        session = None if wanted is None else self._by_key.get(wanted.id)
        if wanted is None or session is None:
            return None
        if not handshake.key_matches(wanted.key, session.digest):
            raise Refused("bad_session", "that session has another key")
        if who.identity != session.identity:
            raise Refused("bad_session", "that session is somebody else's")
        return session if session.state == HELD else None

    def _holder(self, member: Member, hello: Hello, who: Who) -> str:
        """Who else is called what this client says it is called; empty for nobody that matters."""
        if who.proven or not who.identity or self.hub.plan_of(member).newer_wins:
            return ""
        for session in self._by_identity.get(who.identity, ()):
            if session.instance != hello.instance:
                return f"client {session.client_id}"
        entry = self.hub.identities.registry.known_as(who.identity)
        if entry is not None and entry.client_id:
            holder = self.hub.member(entry.client_id)
            if holder is not None and holder.id not in self.sessions:
                return f"client {entry.client_id}"
        return ""

    def _begin(self, member: Member, hello: Hello, who: Who, token: str) -> None:
        key = secrets.token_urlsafe(24)
        session = NativeSession(
            self,
            member,
            hello,
            who,
            session_id=secrets.token_hex(8),
            digest=handshake.key_digest(key),
            now=self.hub.clock(),
        )
        self._by_key[session.id] = session
        self._list(session, who.name)
        more = {"token": token} if token else {}
        self._welcome(session, hello, key, resumed=False, received=0, **more)
        self._tell("began", session)

    def _resume(self, member: Member, hello: Hello, session: NativeSession) -> bool:
        """Go on with a session; False when what its client lacks is not kept any more."""
        assert hello.session is not None
        try:
            received = self.switch.resume(member.id, session.held, hello.session.received)
        except ValueError:
            self._finish(session, "frames that its client lacks were not kept any more")
            return False
        session.held = None
        self._held.pop(session, None)
        session.attach(member, hello)
        self._list(session)
        self._welcome(session, hello, hello.session.key, resumed=True, received=received)
        self._tell("resumed", session)
        return True

    def _list(self, session: NativeSession, name: str = "") -> None:
        """A session has a connection from now on."""
        self._greeting.pop(session.member_id, None)
        self._wanting.pop(session.member_id, None)
        self.sessions[session.member_id] = session
        if session.identity:
            self._by_identity.setdefault(session.identity, []).append(session)
            member = session.member
            if member is not None:
                now, identities = self.hub.clock(), self.hub.identities
                identities.part_with(now, session.client_id)  # its own word counts more than its host
                claimed = identities.recognise(now, session.client_id, member, session.identity, newer=True)
                if name and not claimed.entry.named:
                    identities.suggest(claimed.entry, name)

    def _unlist(self, session: NativeSession) -> None:
        same = self._by_identity.get(session.identity)
        if same is not None and session in same:
            same.remove(session)
            if not same:
                del self._by_identity[session.identity]

    def _welcome(
        self, session: NativeSession, hello: Hello, key: str, *, resumed: bool, received: int, **more: Any
    ) -> None:
        limits = self.hub.settings.limits
        session.push(
            {
                "type": "welcome",
                "version": handshake.choose_version(hello.versions),
                "id": str(session.client_id),
                "name": session.name,
                "role": session.role,
                "session": {"id": session.id, "key": key, "resumed": resumed, "received": received},
                "limits": {
                    "payload": MAX_PAYLOAD,
                    "message": limits.max_message,
                    "requests": control.MOST_PENDING,
                    "rate": control.RATE,
                },
                "hub": {"version": version()},
                **more,
            }
        )
        self.presence.changed(session.client_id, "came")
        self.mail.restart(session.identity)
        self.hub.log_seldom(
            self._throttle,
            "welcomed",
            id=session.client_id,
            name=session.name,
            agent=session.agent,
            resumed=resumed,
        )

    # ---------------------------------------------------------------- what is said

    def said(self, session: NativeSession, data: bytes) -> None:
        """A client said something to the hub: it is heard as what any client says."""
        member = session.member
        if member is not None and session.state == CONNECTED:
            self.hub.heard(self.hub.clock(), member, data)

    def tell(self, member: Member, data: bytes, by: str) -> bool:
        """Say something to a client; whether there was room. Raises `FramingError` for what is too long."""
        session = self.sessions.get(member.id)
        return session is not None and talk.tell(self, session, data, by)

    def plan_of(self, member_id: int, plan: ListenerPlan) -> ListenerPlan:
        """The plan of a member's listener as it is for native clients, whose messages have boundaries."""
        if member_id not in self.sessions:
            return plan
        found = self._plans.get(id(plan))
        if found is None:
            found = self._plans[id(plan)] = plan, replace(plan, framing="native", ending="none")
        return found[1]

    # ---------------------------------------------------------------- ends

    def refuse(self, member: Member, problem: Refused) -> None:
        """Tell a client why, and let it go."""
        self.hub.log_seldom(
            self._throttle, "native_refused", id=member.number, peer=peer_text(member),
            code=problem.code, reason=problem.message,
        )  # fmt: skip
        payload = to_json({"type": "error", **problem.body()})
        with contextlib.suppress(jackfield.JackfieldError, KeyError):
            self.switch.send(member.id, 0, CONTROL, payload)
        self.hub.let_go(member, f"refused: {problem.code}: {problem.message}", LAST_WORDS)

    def end(self, session: NativeSession, code: str, message: str) -> None:
        """End a session and its connection."""
        member = session.member
        if member is not None and session.state == CONNECTED:
            self.refuse(member, Refused(code, message))

    def going(self, *, back: bool) -> None:
        """Tell every client that the hub ends, and whether it comes `back` at once."""
        reason = "the hub was reloaded" if back else "the hub ends"
        payload = to_json({"type": "going", "reason": reason, "back": back})
        for session in list(self.sessions.values()):
            session.send_control(payload)

    def _revoked(self, token: str) -> None:
        """A token counts no more: who came with it goes."""
        for session in [each for each in self._by_key.values() if each.token_id == token]:
            if session.state == HELD:
                self._finish(session, "its token was revoked")
            else:
                self.end(session, "bad_token", "the token was revoked")

    def _finish(self, session: NativeSession, reason: str) -> None:
        session.state = ENDED
        self._held.pop(session, None)
        self._by_key.pop(session.id, None)
        held, session.held = session.held, None
        if held is not None:
            held.drop(PEER_GONE)
        self._tell("ended", session, reason)

    def _tell(self, what: str, *facts: Any) -> None:
        for follower in self._followers:
            try:
                getattr(follower, what)(*facts)
            except Exception as problem:  # a fault of ours harms no client
                self.hub.log("fault", event=what, error=f"{type(problem).__name__}: {problem}")

    # ---------------------------------------------------------------- clocks

    def _look_later(self) -> None:
        if self._looking is None and (self._greeting or self._wanting or self._held):
            self._looking = asyncio.get_running_loop().call_later(LOOK_EVERY, self._look)

    def _look(self) -> None:
        """End handshakes that take too long, give names that became free, end sessions that nobody wants."""
        self._looking = None
        now, group = self.now(), self.hub.group
        for member_id, (hello, who, token, until) in list(self._wanting.items()):
            member = group.member(member_id)
            if member is None:
                continue
            holder = self._holder(member, hello, who)
            if not holder:
                self._begin(member, hello, who, token)
            elif now > until:
                name = who.identity.removeprefix(handshake.SAID)
                problem = Refused(
                    "name_taken", f"{holder} is called {name!r}", "choose another name, or end that one"
                )
                self.refuse(member, problem)
        for member_id, until in list(self._greeting.items()):
            if until > now:
                break
            member = group.member(member_id)
            if member is not None:
                late = f"no hello within {handshake.PATIENCE:g} s"
                self.refuse(member, Refused("handshake_timeout", late))
            self._greeting.pop(member_id, None)
        while self._held and (session := next(iter(self._held))).until <= now:
            self._finish(session, f"its client did not come back within {self.held_for:g} s")
        self._look_later()

    # ---------------------------------------------------------------- what operators see

    def facts(self, client_id: int) -> dict[str, Any]:
        """What the view of a client that is there says beside all else."""
        session = self.session_of(client_id)
        if session is None:
            return {}
        same = self._by_identity.get(session.identity, [session])
        return {
            "native": True,
            "agent": session.agent,
            "services": list(session.services),
            "role": session.role,
            "instance": session.instance,
            "sessions": len(same),
            **self.mail.facts(session.identity),
            # Two sessions of one identity have the same name, and no conflict.
            **({"conflict": ""} if len(same) > 1 else {}),
        }

    def came(self, now: float, client: Client) -> None:
        if not self.is_greeting(client.member.id):
            self.presence.changed(client.id, "came")

    def went(self, now: float, client: Client, reason: str) -> None:
        if client.member.id not in self.sessions:
            self.presence.changed(client.id, "went", {"id": str(client.id), "name": client.name})
