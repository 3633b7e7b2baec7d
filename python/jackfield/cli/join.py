"""`jackfield join`: a native client at a terminal or in a pipe.

Everything that others say is shown as safe text, or as one JSON object in a line. Typed lines are sent as
they come; the end of the input ends the client at a terminal (Ctrl-D), and not where there is none.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import jackfield
from jackfield import JackfieldError, State

from ..hub.display import safe_text, show_bytes
from ..native import Client, StreamChannel
from ..native.people import Letter
from . import failures
from .failures import Failure, one_line, say
from .loop import run
from .membership import Membership
from .streams import Input, Output

LONGEST_ANSWER = 1 << 20
PATIENCE = 30.0
"""Seconds that a command may take to answer."""


def join(
    address: str,
    *,
    name: str | None,
    token: str | None,
    answer: str | None,
    as_json: bool,
    insecure_token: bool = False,
    anew: bool = False,
) -> None:
    membership = Membership.of(address, token, anew=anew)
    command = None if answer is None else _words(answer)
    stay = partial(_stay, membership, name=name, command=command, as_json=as_json)
    run(lambda: stay(insecure_token=insecure_token))


def _words(answer: str) -> list[str]:
    try:
        words = shlex.split(answer)
    except ValueError as problem:
        raise Failure(f"--answer {answer!r} cannot be read: {problem}", code=failures.USAGE) from None
    if not words:
        raise Failure("--answer needs a command", "for example --answer date", code=failures.USAGE)
    if shutil.which(words[0]) is None:
        raise Failure(f"--answer: there is no command {words[0]!r}", code=failures.USAGE)
    return words


async def _stay(
    membership: Membership,
    *,
    name: str | None,
    command: Sequence[str] | None,
    as_json: bool,
    insecure_token: bool,
) -> None:
    shown = Shown(Output(sys.stdout.fileno()), as_json=as_json)
    services: tuple[str, ...] = ("channel",) if command is None else ("channel", "request")
    joining = membership.joined(name, services=services, insecure_token=insecure_token, on_state=shown.state)
    async with joining as client, contextlib.AsyncExitStack() as stack:
        shown.joined(client)
        if command is not None:
            words = command

            async def answer(peer: Any, data: bytes) -> bytes:
                return await _answered(words, peer.name, data)

            await stack.enter_async_context(client.answering(answer))
        streams = Streams(shown)
        await stack.enter_async_context(client.serving(streams.hear))
        typing = asyncio.create_task(_type(client, streams))
        stack.push_async_callback(_ended, typing)
        async for letter in client.messages():
            await shown.letter(letter)
        state = client.state
        if isinstance(state, jackfield.Closed) and state.error is not None:
            raise state.error


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


class Shown:
    """What is written for people, or for programs."""

    def __init__(self, output: Output, *, as_json: bool) -> None:
        self._output = output
        self._as_json = as_json
        self._was_away = False

    def joined(self, client: Client) -> None:
        say(one_line(f"joined {client.address} as {client.name}", "Ctrl-C leaves"))

    def state(self, state: State) -> None:
        """The connection was lost, or is there again."""
        if isinstance(state, jackfield.Reconnecting) and state.attempt == 1:
            self._was_away = True
            say(one_line(f"the connection was lost: {state.error}", "it is made again"))
        elif isinstance(state, jackfield.Connected) and self._was_away:
            self._was_away = False
            say("jackfield: connected again")

    async def letter(self, letter: Letter) -> None:
        await self._write("message", letter.sender.name, letter.data, at=letter.at)

    async def said(self, peer: str, data: bytes) -> None:
        await self._write("stream", peer, data)

    async def _write(self, event: str, sender: str, data: bytes, **facts: Any) -> None:
        if self._as_json:
            import base64
            import json

            try:
                body: dict[str, Any] = {"text": data.decode()}
            except UnicodeDecodeError:
                body = {"data": base64.b64encode(data).decode()}
            line = json.dumps({"event": event, "from": sender, **body, **facts})
        else:
            mark = "> " if event == "stream" else ": "
            line = safe_text(sender) + mark + show_bytes(data.rstrip(b"\r\n"), keep="\t")
        await self._output.write(f"{line}\n".encode("utf-8", "backslashreplace"))


class Streams:
    """The streams that others have opened; what is typed goes to the newest."""

    def __init__(self, shown: Shown) -> None:
        self._shown = shown
        self._open: list[StreamChannel] = []

    async def hear(self, channel: StreamChannel) -> None:
        """Show what comes on a stream until it ends."""
        self._open.append(channel)
        try:
            async for message in channel:
                await self._shown.said(channel.peer.name, message)
        finally:
            self._open.remove(channel)

    async def say(self, text: str) -> bool:
        """Say it to whoever opened a stream last; False if there is none."""
        if not self._open:
            return False
        await self._open[-1].send(f"{text}\n".encode("utf-8", "surrogateescape"))
        return True


async def _type(client: Client, streams: Streams) -> None:
    """Send what is typed."""
    source, waiting = Input(sys.stdin.fileno()), b""
    while data := await source.read():
        *lines, waiting = (waiting + data).split(b"\n")
        for line in lines:
            with contextlib.suppress(jackfield.ChannelLost, jackfield.ChannelClosed):
                await _send(client, streams, line.decode("utf-8", "surrogateescape").removesuffix("\r"))
    if os.isatty(sys.stdin.fileno()):
        await client.close()


async def _send(client: Client, streams: Streams, text: str) -> None:
    try:
        if text.startswith("@"):
            peer, _, said = text[1:].partition(" ")
            if not peer or not said:
                say(one_line("nothing was sent", "write '@NAME text' to send a message"))
            elif await client.message(peer, said) == "waiting":
                say(one_line(f"the message waits for {safe_text(peer)}", "it gets it when it is there"))
        elif text and not await streams.say(text):
            say(one_line("nobody has opened a stream", "write '@NAME text' to send a message"))
    except JackfieldError as problem:
        say(one_line(str(problem)))


async def _answered(words: Sequence[str], peer: str, question: bytes) -> bytes:
    """What the command says. Raises ``OSError`` with words for who asked."""
    pipe = asyncio.subprocess.PIPE
    environment = {**os.environ, "JACKFIELD_PEER": peer.replace("\0", "")}
    process = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe, env=environment)
    try:
        async with asyncio.timeout(PATIENCE):
            answer, _ = await process.communicate(question)
    except TimeoutError:
        raise OSError(f"no answer within {PATIENCE:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise OSError(f"the command ended with exit code {process.returncode}")
    if len(answer) > LONGEST_ANSWER:
        raise OSError(f"the answer is longer than {LONGEST_ANSWER} bytes")
    return answer
