"""`jackfield replay`: what was recorded is said again to a client of the hub, to a server, or as a server.

Owns whom it is said to, and what people are told of it. Who says what when, and whether the answers are the
recorded ones, is decided in `recording/playing.py` and `recording/comparing.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import jackfield
from jackfield import Address, Channel

from ..hub.display import bytes_text, hexdump, safe_text
from ..hub.operator import Operator
from ..hub.protocol import decode_data, encode_data
from ..hub.target import Candidate, Matcher
from ..hub.text import TextError, parse_duration
from ..recording import NotARecording
from ..recording.comparing import Difference
from ..recording.index import Recording, Track
from ..recording.playing import How, Pace, Player, is_stream
from ..recording.records import SIDES, spoken_by
from .failures import DIFFERS, USAGE, Failure, say
from .loop import run
from .operate import print_json, with_hub
from .progress import Progress
from .views import counted

PATIENCE_AT_END = 2.0  # seconds for what was said last to leave


def replay(
    path: str,
    *,
    to: str | None,
    connect: str | None,
    listen: str | None,
    side: str | None,
    client: str | None,
    speed: str,
    check: bool,
    timeout: str,
    framing: str | None,
    as_json: bool,
    control: str | None,
) -> None:
    if sum(way is not None for way in (to, connect, listen)) != 1:
        raise Failure(
            "say to whom", "give one of --connect ADDRESS, --listen ADDRESS, --to CLIENT", code=USAGE
        )
    if side is not None and side not in SIDES:
        raise Failure(f"unknown side {side!r}", "known are client and server", code=USAGE)
    how = How(_speed(speed), check or listen is not None, check, parse_duration(timeout))
    try:
        recording = Recording(path)
    except NotARecording as problem:
        raise Failure(f"{path}: {problem}", "see docs/recording.md") from None
    with recording:
        tracks = _chosen(recording, path, client)
        says = spoken_by(side or ("client" if connect is not None else "server"), recording.role)
        if recording.lost or recording.damaged:
            say(f"jackfield: {safe_text(path)} is not whole: what is missing in it is not said")
        replaying = Replaying(tracks, says, how, framing)
        if to is not None:
            with_hub(control, lambda operator: replaying.to_client(operator, to))
        elif connect is not None:
            address = Address.from_command_line(connect)
            run(lambda: replaying.to_server(address))
        else:
            assert listen is not None
            address = Address.from_command_line(listen)
            run(lambda: replaying.as_server(address))
        replaying.report(as_json=as_json)


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 1e-6 <= speed <= 1e9:
        raise TextError(f"--speed {text!r} is no speed; write 1, 10, 0.5 or max")
    return speed


def _chosen(recording: Recording, path: str, client: str | None) -> list[Track]:
    tracks = recording.tracks
    if client is not None:
        try:
            matcher = Matcher(client)
        except ValueError as problem:
            raise Failure(str(problem), code=USAGE) from None
        whole = [(track, track.client) for track in tracks]
        tracks = [t for t, who in whole if matcher.matches(Candidate(who.id, who.name, who.remote))]
    if not tracks:
        who = "no client" if client is None else f"no client {client!r}"
        raise Failure(f"{who} is in {path}", "see jackfield recording info")
    return tracks


class ChannelLine:
    """A connection that is talked over."""

    def __init__(self, channel: Channel, *, stream: bool) -> None:
        self._channel = channel
        self._stream = stream

    async def send(self, message: bytes) -> None:
        if message or not self._stream:
            await self._channel.send(message)

    async def receive(self) -> Sequence[bytes]:
        try:
            return await self._channel.receive_many()
        except jackfield.EndOfStream:
            return []


class HubLine:
    """A client of the hub that is talked to through it."""

    def __init__(
        self, operator: Operator, client_id: int, replies: asyncio.Queue[Any], *, patience: float
    ) -> None:
        self._operator = operator
        self._client = client_id
        self._replies = replies
        self._patience = patience

    async def send(self, message: bytes) -> None:
        data = encode_data(message)
        report = await self._operator.request(
            "send", target=str(self._client), data=data, ending="none", wait=self._patience
        )
        if report["sent"] != 1:
            why = "it left" if report.get("left") else "its queue is full"
            raise Failure(f"client {self._client} did not get a message: {why}")

    async def receive(self) -> Sequence[bytes]:
        reply = await self._operator.reply(self._replies)
        return [] if "ok" in reply else [decode_data(reply["event"]["message"])]


class Replaying:
    """The tracks of a recording that are said again, and what became of each."""

    def __init__(self, tracks: Sequence[Track], says: Any, how: How, framing: str | None) -> None:
        self._tracks = tracks
        self._says = says
        self._how = how
        self._framing = framing
        self._players: list[Player] = []
        self._progress = Progress()
        self._messages = sum(track.count[says] for track in tracks)
        self._since = time.monotonic()
        self._problems: list[Exception] = []

    # ---------------------------------------------------------------- to whom

    async def to_client(self, operator: Operator, target: str) -> None:
        """To one client of the hub."""
        if len(self._tracks) > 1:
            names = ", ".join(safe_text(track.client.name) for track in self._tracks[:10])
            raise Failure(
                f"{len(self._tracks)} clients are recorded: {names}",
                "choose one of them with --client",
                code=USAGE,
            )
        track = self._tracks[0]
        _, replies = await operator.start("talk", target=target)
        view = (await operator.reply(replies))["event"]["attached"]
        line = HubLine(operator, view["id"], replies, patience=self._how.timeout)
        async with self._shown():
            player = self._player(track, stream=is_stream(view["protocol"], view["framing"]))
            await player.play(line, Pace(track.began, asyncio.get_running_loop().time(), self._how.speed))

    async def to_server(self, address: Address) -> None:
        """To a server: a connection for each recorded one, at its recorded time."""
        pace_from = self._tracks[0].began, asyncio.get_running_loop().time()

        async def one(track: Track) -> None:
            pace = Pace(*pace_from, self._how.speed)
            loop = asyncio.get_running_loop()
            await asyncio.sleep(max(0.0, pace.due(track.began) - loop.time()))
            channel = await jackfield.connect(address, **self._options(address, track))
            pace.held_up(track.began, loop.time())
            await self._over(channel, track, pace)

        async with self._shown():
            results = await asyncio.gather(*map(one, self._tracks), return_exceptions=True)
        self._take(results)

    async def as_server(self, address: Address) -> None:
        """As a server: whoever connects is told what the next recorded client was told, from then on."""
        options = self._options(address, self._tracks[0])
        tasks: list[asyncio.Task[None]] = []
        async with await jackfield.listen(address, **options) as listener:
            say(f"jackfield: listening on {listener.address.without_options()}")
            try:
                async with self._shown():
                    for track in self._tracks:
                        channel = await listener.accept()
                        pace = Pace(track.began, asyncio.get_running_loop().time(), self._how.speed)
                        tasks.append(asyncio.create_task(self._over(channel, track, pace)))
                    results = await asyncio.gather(*tasks, return_exceptions=True)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        self._take(results)

    def _options(self, address: Address, track: Track) -> dict[str, Any]:
        """The framing that was asked for, or the recorded one unless the address has its own."""
        framing = self._framing
        if framing is None and address.option("framing") is None and track.client.framing != "none":
            framing = track.client.framing
        return {} if framing is None else {"framing": framing}

    async def _over(self, channel: Channel, track: Track, pace: Pace) -> None:
        framing = "none" if channel.framing is None else str(channel.framing)
        stream = is_stream(channel.protocol, framing)
        try:
            await self._player(track, stream=stream).play(ChannelLine(channel, stream=stream), pace)
            with contextlib.suppress(jackfield.JackfieldError):
                await channel.close(timeout=PATIENCE_AT_END)
        finally:
            channel.abort()

    # ---------------------------------------------------------------- what became of it

    def _player(self, track: Track, *, stream: bool) -> Player:
        player = Player(track, self._says, self._how, stream=stream)
        self._players.append(player)
        return player

    def _take(self, results: Sequence[BaseException | None]) -> None:
        for result in results:
            if isinstance(result, Exception):
                self._problems.append(result)
            elif isinstance(result, BaseException):
                raise result

    @contextlib.asynccontextmanager
    async def _shown(self) -> AsyncIterator[None]:
        """Show how far it is, while it goes on."""

        async def tick() -> None:
            while True:
                said = sum(player.said for player in self._players)
                there = f"{len(self._players)} of {counted(len(self._tracks))}"
                size = bytes_text(sum(player.said_bytes for player in self._players))
                text = f"{said} of {self._messages} messages ({size}), {there}; Ctrl-C ends it"
                self._progress.show(text, at_once=True)
                await asyncio.sleep(0.25)

        ticking = asyncio.create_task(tick())
        try:
            yield
        finally:
            ticking.cancel()
            await asyncio.gather(ticking, return_exceptions=True)
            self._progress.clear()

    def report(self, *, as_json: bool) -> None:
        """Print what became of it. Raises `Failure` for answers that differ, and what went wrong."""
        said = sum(player.said for player in self._players)
        size = sum(player.said_bytes for player in self._players)
        seconds = time.monotonic() - self._since
        if as_json:
            found = [_as_json(player) for player in self._players]
            print_json({"messages": said, "bytes": size, "seconds": round(seconds, 3), "clients": found})
        else:
            what = f"{counted(said, 'message')} ({bytes_text(size)})"
            each = counted(len(self._players), "connection")
            say(f"jackfield: said {what} over {each} in {seconds:.1f} s")
        if self._problems:
            first = self._problems[0]
            if len(self._tracks) == 1:
                raise first
            many = f"{len(self._problems)} of {len(self._tracks)} connections failed"
            raise Failure(f"{many}; the first: {first}", getattr(first, "hint", None) or "") from first
        different = [player for player in self._players if player.difference is not None]
        if different:
            first_one = different[0]
            assert first_one.difference is not None
            if not as_json:
                for line in context(first_one.difference):
                    say(line)
            more = f", and those of {len(different) - 1} more" if len(different) > 1 else ""
            name = first_one.track.client.name
            raise Failure(f"the answers to {name} differ: {first_one.difference}{more}", code=DIFFERS)
        if self._how.check and not as_json:
            answered = sum(player.answered_bytes for player in self._players)
            say(f"jackfield: all answers are as recorded ({bytes_text(answered)})")


def context(difference: Difference) -> list[str]:
    """The bytes around a difference, in hex."""
    found = []
    for name, data in (("recorded", difference.recorded), ("answered", difference.answered)):
        dumped = list(hexdump(data, difference.shown)) or ["(nothing)"]
        found += [f"  {name if not number else '':8}  {line}" for number, line in enumerate(dumped)]
    return found


def _as_json(player: Player) -> dict[str, Any]:
    difference = player.difference
    return {
        "name": player.track.client.name,
        "id": player.track.client.id,
        "messages": player.said,
        "bytes": player.said_bytes,
        "answered_messages": player.answered,
        "answered_bytes": player.answered_bytes,
        "difference": None
        if difference is None
        else {
            "kind": difference.kind,
            "message": difference.message,
            "offset": difference.offset,
            "shown": difference.shown,
            "recorded": difference.recorded.hex(),
            "answered": difference.answered.hex(),
        },
    }
