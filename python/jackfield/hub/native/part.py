"""Native clients of one hub: greeted, kept as sessions, switched to each other, and told of each other.

Owns the life of a session. It outlives its connection by `HELD_FOR` seconds, unless its client broke the
protocol, and goes on over the next one that shows its key. Who has no session yet is in `Greeting`.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import jackfield
from jackfield import FellBehind, Member, Published, Recognised, portable
from jackfield.portable import CONTROL, DATA, OPEN, PEER_GONE, Frame, ProtocolError, decode, to_json

from ..client import Client
from ..journal import Field, Throttle
from ..part import Part
from ..roster import peer_text, version
from ..wrong_door import opens_as_client
from . import control, effort, handshake, streams, talk
from .follower import Follower
from .greeting import Greeting, Said
from .handshake import Hello, Refused, Who
from .held import Held, surplus
from .mail import Mail
from .presence import Presence, session_view
from .questions import Questions
from .session import CONNECTED, ENDED, HELD, NativeSession
from .turns import Turns

if TYPE_CHECKING:
    from ..plan import ListenerPlan
    from ..server import Hub

HELD_FOR: Final = 60.0  # seconds that a session outlives its connection
MOST_KEPT: Final = 256 * 1024 * 1024  # bytes kept for all of these; beyond it whoever has most loses some
KEPT_OF_ONE: Final = 4 * 1024 * 1024  # bytes at most
LOOK_EVERY: Final = 0.25  # seconds between two looks for sessions whose time has come
LAST_WORDS: Final = 2.0  # seconds that an error may take to a client that is let go
FIRST_SHARED: Final = portable.ROOM_STREAMS  # streams that many clients have in common begin here

Gathered = Callable[[NativeSession, list[bytes]], None]
"""Called with the payloads of DATA frames, which came one after the other on a stream in common."""


class Native(Part):
    """The native clients of one hub."""

    def __init__(self, *, held_for: float = HELD_FOR) -> None:
        self.held_for = held_for
        self.sessions: dict[int, NativeSession] = {}  # with a connection, by its member's id
        self.presence = Presence(self)
        self.mail = Mail(self)
        self.services: dict[str, streams.Service] = {talk.SERVICE: talk.opened}  # of the hub, by name
        self.shared: dict[int, Any] = {}  # handlers of streams that many clients have in common
        self.gathered: dict[int, Gathered] = {}  # of those that take many DATA frames at once
        self._by_key: dict[str, NativeSession] = {}  # by session id, the held ones too
        self._by_identity: dict[str, list[NativeSession]] = {}  # with a connection; the newest last
        self._held = Held()
        self.greeting = Greeting(self)
        self.questions = Questions()
        self._followers: list[Follower] = [self.questions]
        self._plans: dict[int, tuple[ListenerPlan, ListenerPlan]] = {}  # by identity, with what they become
        self._looking: asyncio.TimerHandle | None = None
        self._plain: set[int] = set()  # members that have not spoken yet, where nobody is native
        self._throttle = Throttle()
        self._next_shared = FIRST_SHARED
        self.now = time.monotonic
        self.turns = Turns(self._work, lambda turn: asyncio.get_running_loop().call_soon(turn))

    async def open(self, hub: Hub) -> None:
        self.hub = hub
        self.switch = hub.group.switch
        hub.native = self
        if self._revoked not in hub.security.when_revoked:
            hub.security.when_revoked.append(self._revoked)
        await self.mail.open(hub.store)
        self._look_later()

    async def close(self) -> None:
        self.presence.close()
        self.greeting.close()
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

    def of_id(self, session_id: str) -> NativeSession | None:
        """The session of that id, held or not."""
        return self._by_key.get(session_id)

    def takes(self, member_id: int) -> bool:
        """Whether what is said to that member goes by way of this part: it speaks in frames, or may yet."""
        return (
            member_id in self.sessions or self.greeting.holds(member_id) or self.greeting.is_silent(member_id)
        )

    # ---------------------------------------------------------------- what the engine tells

    def joined(self, member: Member, plan: ListenerPlan) -> None:
        """A client has come."""
        if plan.native == "only":
            self.greeting.expect(member)
        elif plan.native == "auto":
            self.greeting.keep_silent(member)
        else:
            self._plain.add(member.id)

    def received(self, member: Member, data: bytes) -> bool:
        """A member's message; whether it was a native client's frame."""
        session = self.sessions.get(member.id)
        if session is None and not self.greeting.holds(member.id):
            if self.greeting.is_silent(member.id):
                self.greeting.speak(member.id)
            return member.id in self._plain and self._is_lost(member, data)
        try:
            self._frame(member, session, decode(data))
        except ProtocolError as problem:
            self.refuse(member, Refused(problem.code, problem.message))
        except Refused as problem:
            self.refuse(member, problem)
        return True

    def _is_lost(self, member: Member, first: bytes) -> bool:
        """Whether a client is a native one at a listener that takes none; then it is let go."""
        if member.is_connected and not opens_as_client(first):
            self._plain.discard(member.id)
            return False
        if member.is_connected:
            self.hub.let_go(member, "it is a native client, and this listener has protocol=plain", 0.0)
            self._plain.add(member.id)  # what it said besides may be in the batch at hand
            asyncio.get_running_loop().call_soon(self._plain.discard, member.id)
        return True

    def published(self, event: Published) -> None:
        """A client has sent DATA frames one after the other on one stream."""
        member, stream = event.member, event.stream
        session, gathered = self.sessions.get(member.id), self.gathered.get(stream)
        if session is not None and gathered is not None:
            gathered(session, event.payloads)
            return
        for payload in event.payloads:
            session = self.sessions.get(member.id)
            if session is None and not self.greeting.holds(member.id):
                return
            try:
                self._frame(member, session, Frame(stream, DATA, 0, payload))
            except Refused as problem:
                self.refuse(member, problem)

    def _frame(self, member: Member, session: NativeSession | None, frame: Frame) -> None:
        if session is None:
            self.greeting.received(member, frame)
        elif frame.kind == CONTROL:
            control.receive(session, frame.payload)
        elif frame.kind == OPEN:
            streams.opened(self, session, frame.stream, frame.payload)
        else:
            handler = session.handler_of(frame.stream) or self.shared.get(frame.stream)
            if handler is not None:
                handler(session, frame)

    def _work(self, said: tuple[NativeSession, bytes, bool]) -> str:
        """What a client said is due; that its connection is lost meanwhile changes nothing."""
        session, payload, is_within = said
        if session.state == ENDED:
            return ""
        try:
            return control.work(session, payload, is_within=is_within)
        except ProtocolError as problem:
            self.end(session, problem.code, problem.message)
        except Refused as problem:
            self.end(session, problem.code, problem.message)
        except Exception as problem:  # a fault of ours harms no other client
            self.hub.log("fault", event="control", error=f"{type(problem).__name__}: {problem}")
        return ""

    def left_in_order(self, session: NativeSession) -> None:
        """A client said that it leaves: its session ends with its connection, which may be gone already."""
        if session.state == HELD:
            self._finish(session, "the client left")

    def left(self, member: Member, reason: str, *, for_good: bool = False) -> None:
        """A member's connection has ended."""
        self.greeting.forget(member.id)
        self._plain.discard(member.id)
        session = self.sessions.get(member.id)
        if session is not None:
            self._lose(session, reason, for_good=for_good)

    def _lose(self, session: NativeSession, reason: str, *, for_good: bool) -> None:
        """A session has no connection any more."""
        del self.sessions[session.member_id]
        self.presence.changed(session.client_id, "went", session_view(session, "absent"))
        self.presence.paused(session)
        self._unlist(session)
        self.mail.restart(session.identity)
        session.held = None if for_good or session.is_leaving else self.switch.hold(session.member_id)
        session.state = HELD
        if session.held is None:
            self._finish(session, reason)
            return
        session.until = self.now() + self.held_for
        one_too_many = self._held.add(session)
        if one_too_many is not None:
            self._finish(one_too_many, "too many sessions wait for their clients")
        self._tell("paused", session, reason)
        self._look_later()

    # ---------------------------------------------------------------- sessions begin and go on

    def begin(self, member: Member, hello: Hello, who: Who, token: str) -> None:
        """A client has a session from now on; `token` is one that it did not have."""
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
        said = self._list(session, who.name)
        more = {"token": token} if token else {}
        self._welcome(session, hello, key, said, resumed=False, received=0, **more)
        self._tell("began", session)

    def go_on(self, member: Member, hello: Hello, session: NativeSession) -> bool:
        """Go on with a session; False when what its client lacks is not kept any more. Raises `Refused`."""
        assert hello.session is not None
        assert session.held is not None
        if hello.session.received > self.switch.counts(session.held).sent:
            raise Refused("bad_ack", f"{hello.session.received} frames were never sent")
        try:
            received = self.switch.resume(member.id, session.held, hello.session.received)
        except ValueError:
            self._finish(session, "frames that its client lacks were not kept any more")
            return False
        session.held = None
        self._held.discard(session)
        session.attach(member, hello)
        said = self._list(session)
        self._welcome(session, hello, hello.session.key, said, resumed=True, received=received)
        self.presence.resumed(session)
        self._tell("resumed", session)
        return True

    def replaced(self, session: NativeSession) -> None:
        """A session's client is back, and its old connection not known to be gone."""
        member, reason = session.member, "its client has another connection"
        if member is not None:
            self.hub.let_go(member, reason, 0.0, for_good=False)
        if session.state == CONNECTED:  # whoever ended that connection has told nobody
            self._lose(session, reason, for_good=False)

    def _list(self, session: NativeSession, name: str = "") -> list[Said]:
        """A session has a connection from now on; what was to be said to that one."""
        said = self.greeting.forget(session.member_id)
        self.sessions[session.member_id] = session
        member = session.member
        if session.identity and member is not None:
            self._by_identity.setdefault(session.identity, []).append(session)
            now, identities = self.hub.clock(), self.hub.identities
            identities.part_with(now, session.client_id)  # its own word counts more than its host
            claimed = identities.recognise(now, session.client_id, member, session.identity, newer=True)
            if name and not claimed.entry.named:
                identities.suggest(claimed.entry, name)
        return said

    def _unlist(self, session: NativeSession) -> None:
        same = self._by_identity.get(session.identity)
        if same is not None and session in same:
            same.remove(session)
            if not same:
                del self._by_identity[session.identity]

    def _welcome(
        self,
        session: NativeSession,
        hello: Hello,
        key: str,
        said: list[Said],
        *,
        resumed: bool,
        received: int,
        **more: Any,
    ) -> None:
        session.push(
            {
                "type": "welcome",
                "version": handshake.choose_version(hello.versions),
                "id": str(session.client_id),
                "name": session.name,
                "role": session.role,
                "session": {"id": session.id, "key": key, "resumed": resumed, "received": received},
                "limits": {
                    "payload": portable.MAX_PAYLOAD,
                    "message": self.hub.settings.limits.max_message,
                    "requests": control.MOST_PENDING,
                    "rate": effort.RATE,
                },
                "hub": {"version": version()},
                **more,
            }
        )
        self.presence.changed(session.client_id, "came")
        self.mail.restart(session.identity)
        facts: dict[str, Field] = {"id": session.client_id, "name": session.name, "agent": session.agent}
        self.hub.log_seldom(self._throttle, "welcomed", **facts, resumed=resumed)
        for data, by in said:
            with contextlib.suppress(jackfield.FramingError):
                talk.tell(self, session, data, by)

    # ---------------------------------------------------------------- what is said

    def said(self, session: NativeSession, data: bytes) -> None:
        """A client said something to the hub: it is heard as what any client says."""
        member = session.member
        if member is not None and session.state == CONNECTED:
            self.hub.heard(self.hub.clock(), member, data)

    def tell(self, member: Member, data: bytes, by: str) -> bool:
        """Say something to a client; whether there was room. Raises `FramingError` for what is too long."""
        session = self.sessions.get(member.id)
        if session is None:
            return self.greeting.is_silent(member.id) and self.greeting.keep(member.id, data, by)
        return talk.tell(self, session, data, by)

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
        with contextlib.suppress(jackfield.JackfieldError, ValueError):
            self.switch.send(member.id, 0, CONTROL, payload)
        self.hub.let_go(member, f"refused: {problem.code}: {problem.message}", LAST_WORDS)

    def end(self, session: NativeSession, code: str, message: str) -> None:
        """End a session and its connection."""
        member = session.member
        if member is not None and session.state == CONNECTED:
            self.refuse(member, Refused(code, message))

    def going(self, *, back: bool, members: Collection[int] | None = None) -> None:
        """Tell every client, or those of some members, that the hub ends and whether it is `back` at once."""
        reason = "the hub was reloaded" if back else "the hub ends"
        payload = to_json({"type": "going", "reason": reason, "back": back})
        for member_id, session in list(self.sessions.items()):
            if members is None or member_id in members:
                session.tell(payload)

    def happened(self, event: Recognised | FellBehind) -> None:
        """A member was recognised as a native client, or reads more slowly than others speak."""
        if isinstance(event, Recognised):
            self.greeting.expect(event.member)
        else:
            self._tell("fell_behind", event.member.id, event.stream, event.sequence)

    def _revoked(self, token: str) -> None:
        """A token counts no more: who came with it goes."""
        for session in [each for each in self._by_key.values() if each.token_id == token]:
            if session.state == HELD:
                self._finish(session, "its token was revoked")
            else:
                self.end(session, "bad_token", "the token was revoked")

    def _finish(self, session: NativeSession, reason: str) -> None:
        session.state = ENDED
        self.presence.watch(session, on=False)
        self._held.discard(session)
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
        if self._looking is None and self._held:
            self._looking = asyncio.get_running_loop().call_later(LOOK_EVERY, self._look)

    def _look(self) -> None:
        """End sessions whose clients did not come back."""
        self._looking, now = None, self.now()
        while self._held and (session := next(iter(self._held))).until <= now:
            self._finish(session, f"its client did not come back within {self.held_for:g} s")
        if len(self._held) > MOST_KEPT // KEPT_OF_ONE:
            self._make_room()
        self._look_later()

    def _make_room(self) -> None:
        """End sessions of whoever most is kept for, while too much is kept for all."""
        kept = {each: self.switch.counts(each.held).kept for each in self._held if each.held is not None}
        for session in surplus(kept, MOST_KEPT):
            self._finish(session, "too much is kept for sessions that wait for their clients")

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
        if not self.greeting.holds(client.member.id):
            self.presence.changed(client.id, "came")

    def renamed(self, now: float, client: Client) -> None:
        session = self.sessions.get(client.member.id)
        same = [] if session is None else self.of_identity(session.identity)
        if not self.greeting.holds(client.member.id):
            for client_id in {client.id, *(each.client_id for each in same)}:
                self.presence.changed(client_id, "changed")

    def went(self, now: float, client: Client, reason: str) -> None:
        if client.member.id not in self.sessions:
            self.presence.changed(client.id, "went", {"id": str(client.id), "name": client.name})
