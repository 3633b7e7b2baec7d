"""`connect`, and the `Client` that it gives: one program's session with a hub."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Self

import jackfield
from jackfield import Address, Backoff, JackfieldError, State, portable

from .channel import StreamChannel
from .errors import SessionLost, request_refused
from .invitation import check_secrecy, read_place
from .people import Change, Letter, People, Person
from .requests import Answer, Requests
from .room import After, Room
from .session import Session
from .streams import Handler, Streams

SERVICES = ("channel", "request")

Then = Callable[[dict[str, Any]], None]


class Connecting:
    """What ``connect`` gives: ``await`` it for the client, or use it in ``async with``."""

    __slots__ = ("_client", "_open")

    def __init__(self, open_: Callable[[], Any]) -> None:
        self._open = open_
        self._client: Client | None = None

    def __await__(self) -> Generator[Any, None, Client]:
        return self._open().__await__()  # type: ignore[no-any-return]

    async def __aenter__(self) -> Client:
        self._client = await self
        return self._client

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._client is not None:
            await self._client.close()


def connect(
    address: Address | str,
    *,
    name: str | None = None,
    token: str | None = None,
    services: Sequence[str] = SERVICES,
    reconnect: Backoff | str | None = "100ms..30s",
    instance: str | None = None,
    agent: str | None = None,
    on_state: Callable[[State], object] | None = None,
    insecure_token: bool = False,
) -> Connecting:
    """Join a hub, by its address or an invitation: ``async with connect(...) as client``.

    ``name`` is what others know this client by; ``services`` are the streams that they may open to it.
    ``instance`` tells apart programs of one identity, and is drawn if it is None. The first connection is
    tried once; later ones by ``reconnect`` (None: never), and the session goes on with the next one if that
    comes within a minute: nothing is lost or doubled. ``on_state`` hears every ``State``.

    Raises ``TypeError`` at once for another ``reconnect``, and ``InvalidAddress``, also for a token or an
    invitation where everyone on the way could read it (TCP without TLS, beyond this machine) unless
    ``insecure_token`` says that they may; when awaited what ``jackfield.connect`` raises, and ``HubRefused``.
    Cancelled, it leaves nothing open.
    """
    place = read_place(address)
    if (token or place.token) and not insecure_token:
        check_secrecy(place)
    backoff = Backoff.of(reconnect)
    hello: dict[str, Any] = {
        "instance": instance or secrets.token_hex(8),
        "agent": agent or f"jackfield {jackfield.__version__}",
        "services": list(services),
    }
    hello |= {key: value for key, value in (("name", name), ("token", token or place.token)) if value}

    async def open_() -> Client:
        session = Session(place, hello, backoff=backoff, on_state=on_state)
        client = Client(session, tuple(services), hello["instance"])
        await session.start()
        return client

    return Connecting(open_)


class Client:
    """One session with a hub. Made by ``connect``; an async context manager that closes at the end."""

    def __init__(self, session: Session, services: tuple[str, ...], instance: str) -> None:
        self.instance = instance
        """What tells this program apart from others of the same identity."""
        self._session = session
        self._streams = Streams(session, services)
        self._requests = Requests(self._streams)
        self._people = People(self)
        self._number = 0
        self._asked: dict[int, tuple[str, asyncio.Future[dict[str, Any]], Then | None]] = {}
        self._listeners: dict[str, list[Callable[[dict[str, Any]], None]]] = {}
        self._renewals: list[Callable[[], None]] = []
        session.heard, session.over = self._heard, self._over

    # ---------------------------------------------------------------- who this is

    @property
    def id(self) -> str:
        """What the hub calls this connection; another one after each reconnection."""
        return str(self.welcome.get("id", ""))

    @property
    def name(self) -> str:
        """What others know this client by."""
        return str(self.welcome.get("name", ""))

    @property
    def role(self) -> str:
        """``member``, ``operator`` or ``admin``."""
        return str(self.welcome.get("role", "member"))

    @property
    def welcome(self) -> dict[str, Any]:
        """What the hub said last when it let this client in."""
        return self._session.machine.welcomed

    @property
    def address(self) -> Address:
        """Where the hub is."""
        return self._session.place.address

    @property
    def state(self) -> State:
        """``Connected``, ``Reconnecting`` or ``Closed``, with what is known of it."""
        return self._session.state

    @property
    def closed(self) -> bool:
        """Whether the client has ended, from this side or for good."""
        return isinstance(self._session.state, jackfield.Closed)

    def states(self) -> AsyncIterator[State]:
        """The state now and each one that follows; ends behind ``Closed``."""
        return self._session.states()

    # ---------------------------------------------------------------- streams

    async def open(
        self, peer: str, *, service: str = "channel", timeout: float | None = None
    ) -> StreamChannel:
        """Open a stream to a client, by name or id; a plain client has the service ``channel``.

        Raises ``PeerRefused``, ``SessionLost``; ``TimedOut`` after ``timeout`` seconds. Cancelled, the stream
        is reset.
        """
        return await self._streams.open(peer, service, timeout)

    async def channels(self, *, service: str = "channel") -> AsyncIterator[StreamChannel]:
        """The streams that other clients open, until the client ends; whoever gets one closes it."""
        while True:
            try:
                channel = await self._streams.take(service)
            except SessionLost:
                return
            yield channel

    def serving(self, handler: Handler, *, service: str = "channel") -> AbstractAsyncContextManager[None]:
        """While the block runs, each stream that others open is a task that runs ``handler(channel)``."""
        return self._streams.serving(handler, service)

    # ---------------------------------------------------------------- requests and messages

    async def request(self, peer: str, data: bytes | str, timeout: float | None = None) -> bytes:
        """Ask a client, and get its answer; text goes as UTF-8.

        Raises ``PeerRefused`` if there is no such client or it has answered nobody for a second,
        ``RequestRefused`` if it could not answer, ``ChannelLost`` if it left meanwhile, ``TimedOut`` after
        ``timeout`` seconds. Cancelled or timed out, it may have been asked all the same; a late answer is
        dropped.
        """
        return await self._requests.ask(peer, data.encode() if isinstance(data, str) else data, timeout)

    def answering(self, answer: Answer) -> AbstractAsyncContextManager[None]:
        """While the block runs, ``answer(peer, data)`` answers what others ask; it may be a coroutine.

        What it raises is told to who asked, as text.
        """
        return self._requests.answering(answer)

    async def message(self, peer: str, data: bytes | str, *, expires: float | None = None) -> str:
        """Send a message to a client that may be absent: ``delivered`` once its program has taken it
        (``messages``), or ``waiting``: the hub keeps it until then.

        ``expires`` is how many seconds it may wait. Raises ``RequestRefused``, ``SessionLost`` (then it may
        have been sent, or not).
        """
        return await self._people.write(peer, data, expires)

    def messages(self) -> AsyncIterator[Letter]:
        """Messages of others, each once, also those that waited; until the client ends."""
        return self._people.letters()

    # ---------------------------------------------------------------- presence

    async def clients(self, text: str = "") -> list[Person]:
        """Who is there, and who is known and absent; with ``text`` those that it fits."""
        answer = await self.control("clients", **({"text": text} if text else {}))
        views = answer.get("clients")
        return (
            [Person.read(each) for each in views if isinstance(each, dict)] if isinstance(views, list) else []
        )

    def watch(self) -> AsyncIterator[Change]:
        """Who comes, goes and changes from now on, until the client ends."""
        return self._people.watch()

    # ---------------------------------------------------------------- rooms

    def room(
        self,
        name: str,
        *,
        after: After = "now",
        create: bool = False,
        durable: bool = True,
        topic: str | None = None,
    ) -> Room:
        """A room to join: ``async with client.room("lobby") as room``, or ``await`` it.

        ``after`` is where to begin: behind a sequence that the program remembers, at the ``"cursor"`` that
        the hub keeps for this client's identity, or with what is said from ``"now"`` on. ``create`` makes the
        room if there is none, ``durable`` or not, with a ``topic``.
        """
        wish = {"durable": durable, **({"topic": topic} if topic else {})} if create else None
        return Room(self, name, after=after, create=wish)

    # ---------------------------------------------------------------- the protocol below

    async def control(self, op: str, **arguments: Any) -> dict[str, Any]:
        """Ask the hub, by a control message; its answer.

        Raises ``RequestRefused``, ``SessionLost`` (then it may have been done, or not). Without a connection
        it waits for the next one. Cancelled, it is done all the same.
        """
        return await self.ask(op, arguments)

    async def ask(self, op: str, arguments: dict[str, Any], then: Then | None = None) -> dict[str, Any]:
        """As ``control``; ``then`` is called with the answer before anything that is behind it is heard."""
        self._session.check_open()
        self._number += 1
        number = self._number
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._asked[number] = (op, answer, then)
        try:
            self.post({"type": op, "n": number, **arguments})
            return await answer
        finally:
            del self._asked[number]

    def tell(self, op: str, **arguments: Any) -> None:
        """Ask the hub, and do not wait for its answer. Raises ``MessageTooLarge``."""
        self._number += 1
        self.post({"type": op, "n": self._number, **arguments})

    def post(self, message: dict[str, Any]) -> None:
        """Send a control message that is not answered. Raises ``MessageTooLarge``."""
        try:
            self._session.machine.control(message)
        except portable.ProtocolError as error:
            raise jackfield.MessageTooLarge(error.message, stage="send") from None
        self._session.flush_soon()

    def on_event(self, kind: str, callback: Callable[[dict[str, Any]], None]) -> Callable[[], None]:
        """Call back with each event of a type that the hub sends; what it gives ends that."""
        callbacks = self._listeners.setdefault(kind, [])
        callbacks.append(callback)
        return lambda: callbacks.remove(callback)

    def on_new_session(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back when the hub began another session, so that what it has forgotten can be asked anew."""
        self._renewals.append(callback)
        return lambda: self._renewals.remove(callback)

    @property
    def streams(self) -> Streams:
        """The session's streams, for what is built on them: rooms."""
        return self._streams

    # ---------------------------------------------------------------- the end

    async def close(self) -> None:
        """Leave the hub in order: what is queued for it leaves first, streams are reset. May be repeated."""
        await self._requests.close()
        await self._session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<Client {self.name!r} at {self.address}, {self.state}>"

    # ---------------------------------------------------------------- what the session tells

    def _heard(self, event: Any) -> None:
        if isinstance(event, portable.Control):
            self._was_told(event.message)
        elif isinstance(event, portable.Acknowledged):
            self._streams.acknowledged()
        elif isinstance(event, portable.Welcomed):
            self._was_welcomed(event)
        elif not isinstance(event, portable.Ponged):
            self._streams.heard(event)

    def _was_welcomed(self, event: portable.Welcomed) -> None:
        self._streams.acknowledged()
        if not event.resumed and self._session.connections > 1:
            self._people.renewed()
            for callback in list(self._renewals):
                callback()

    def _was_told(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if "n" in message:
            op, answer, then = self._asked.get(message["n"], ("", None, None))
            if answer is None or answer.done():
                return
            if kind == "error":
                answer.set_exception(request_refused(op, message))
            else:
                if then is not None:
                    then(message)
                answer.set_result(message)
            return
        if kind in ("message", "came", "went", "changed"):
            self._people.heard(message)
        for callback in list(self._listeners.get(kind, ())):
            callback(message)

    def _over(self, error: JackfieldError) -> None:
        for _, answer, _ in self._asked.values():
            if not answer.done():
                answer.set_exception(SessionLost(f"the hub has not answered: {error}"))
        self._streams.lose_all(error)
        if self.closed:
            self._people.ended()
