"""A conversation with one client: `jackfield talk CLIENT`.

On a terminal the typed line stays whole while the client speaks; with a pipe as input its lines are
sent and answers are printed for a while after its end. Leaving never disconnects the client.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

from ..hub.display import hexdump, safe_text
from ..hub.encodings import UTF8, Encoding
from ..hub.operator import Operator
from ..hub.plan import comes_in_pieces
from ..hub.protocol import NO_SUCH_CLIENT, RequestError, decode_data, encode_data
from ..hub.racing import until_one_ends
from ..hub.text import TextError, parse_duration
from . import failures
from .editor import LEAVE, LineEditor, Lines
from .failures import Failure
from .notation import Notation
from .operate import with_hub
from .screen import Screen
from .streams import Input, Output

EARLIER = 10  # messages that are shown again when an operator attaches
PAUSE = 0.05  # seconds an unfinished line is waited for
CYAN, DIM, RED = "36", "2", "31"


def talk(
    client: str,
    *,
    eol: str | None,
    escapes: bool,
    as_hex: bool,
    encoding: str | None,
    crc: str | None,
    wait: str,
    as_json: bool,
    control: str | None,
) -> None:
    patience = parse_duration(wait)
    manner = Notation.from_options(as_hex=as_hex, escapes=escapes, eol=eol, encoding=encoding, crc=crc)
    if as_hex and encoding is not None:
        raise Failure(
            "--encoding is for text, and --hex shows bytes", "leave one of them out", code=failures.USAGE
        )
    if as_json and (as_hex or encoding is not None):
        raise Failure(
            "--json has text or bytes as they came", "leave --hex and --encoding out", code=failures.USAGE
        )
    interactive = sys.stdin.isatty() and sys.stdout.isatty() and not as_json
    if interactive and not manner.encoding.extends_ascii:
        raise Failure(
            f"a conversation on a terminal goes by lines, which {manner.encoding.name} has in its own way",
            "use 'jackfield send --encoding', or a pipe as input",
            code=failures.USAGE,
        )

    async def work(operator: Operator) -> None:
        earlier = EARLIER if interactive else 0
        _, replies = await operator.start("talk", target=client, earlier=earlier)
        attached = (await operator.reply(replies))["event"]
        conversation = Conversation(operator, replies, attached["attached"], attached["ending"])
        if interactive:
            await _on_terminal(conversation, manner)
        else:
            await _in_pipe(conversation, manner, patience, as_json=as_json)

    with_hub(control, work)


class Conversation:
    """The talk request of one operator with one client."""

    def __init__(
        self, operator: Operator, replies: asyncio.Queue[Any], view: dict[str, Any], ending: str
    ) -> None:
        self._operator = operator
        self._replies = replies
        self.view = view
        self.ending = ending
        self.name: str = view["name"]
        self.id: int = view["id"]
        self.left: str | None = None

    @property
    def in_lines(self) -> bool:
        """Whether the client's bytes are to be cut into lines here: unframed streams."""
        return comes_in_pieces(self.view["framing"], self.view["protocol"])

    async def receive(self) -> tuple[bytes, bool] | None:
        """What the client says next and whether it said it before we came; None once it has left."""
        reply = await self._operator.reply(self._replies)
        if "ok" in reply:
            self.left = str(reply["ok"].get("left", ""))
            return None
        event = reply["event"]
        return decode_data(event["message"]), "earlier" in event

    async def send(self, data: bytes, ending: str, *, wait: float | None = None) -> bool:
        """Send to the client; whether its queue had room."""
        done = await self._operator.request(
            "send", target=str(self.id), data=encode_data(data), ending=ending, wait=wait
        )
        return bool(done["sent"])


# -------------------------------------------------------------------- with a terminal


async def _on_terminal(conversation: Conversation, manner: Notation) -> None:
    editor = LineEditor()
    name = safe_text(conversation.name)
    with Screen(f"{name}> ", editor, colour="NO_COLOR" not in os.environ) as screen:
        view = conversation.view
        screen.show(
            [
                f"Talking to {name} ({conversation.id}, {view['protocol']} {safe_text(view['peer'])}).",
                "Enter sends the line; Ctrl-D leaves, and the client stays connected.",
            ]
        )
        await until_one_ends(_type(conversation, manner, editor, screen), _show(conversation, manner, screen))
    if conversation.left is not None:
        print(f"{name} left: {safe_text(conversation.left)}")
    else:
        print(f"Left {name}; it stays connected. Come back with: jackfield talk {conversation.id}")


async def _type(conversation: Conversation, manner: Notation, editor: LineEditor, screen: Screen) -> None:
    keyboard = Input(sys.stdin.fileno())
    while data := await keyboard.read():
        for line in editor.feed(data):
            if line is LEAVE:
                return
            screen.show([f"{safe_text(conversation.name)}> {safe_text(line)}"])
            try:
                bytes_, ending = manner.message(line)
                if not await conversation.send(bytes_, ending):
                    screen.show(["not sent: the client's queue is full (it does not read)"], style=RED)
            except TextError as problem:
                screen.show([f"not sent: {safe_text(str(problem))}"], style=RED)
            except RequestError as problem:
                if problem.code != NO_SUCH_CLIENT:  # that one is about to be told by the hub
                    screen.show([f"not sent: {safe_text(problem.message)}"], style=RED)
        screen.redraw()


async def _show(conversation: Conversation, manner: Notation, screen: Screen) -> None:
    lines = Lines()
    offset = 0
    waiting: asyncio.Task[tuple[bytes, bool] | None] = asyncio.create_task(conversation.receive())
    try:
        while True:
            if not (await asyncio.wait((waiting,), timeout=PAUSE if lines else None))[0]:
                screen.show(_incoming(lines.rest(), manner.encoding), style=CYAN)
                continue
            received = waiting.result()
            if received is None:
                screen.show(_incoming(lines.rest(), manner.encoding), style=CYAN)
                return
            waiting = asyncio.create_task(conversation.receive())
            data, earlier = received
            if manner.as_hex:
                screen.show([f"< {line}" for line in hexdump(data, offset)], style=CYAN)
                offset += len(data)
            elif earlier:
                screen.show(_incoming(data.rstrip(b"\r\n").split(b"\n"), manner.encoding), style=DIM)
            else:
                said = lines.feed(data) if conversation.in_lines else _message(data)
                screen.show(_incoming(said, manner.encoding), style=CYAN)
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


def _message(data: bytes) -> list[bytes]:
    """A message as lines; its own line end at the very end is not one more line."""
    return data.removesuffix(b"\n").removesuffix(b"\r").split(b"\n")


def _incoming(lines: Iterable[bytes], encoding: Encoding) -> list[str]:
    return [f"< {encoding.show(line, keep=chr(9))}" for line in lines]


# -------------------------------------------------------------------- with pipes


async def _in_pipe(conversation: Conversation, manner: Notation, patience: float, *, as_json: bool) -> None:
    output = Output(sys.stdout.fileno())
    if as_json:
        shape = _json_line(conversation.name)
    else:
        shape = _shape(conversation, manner, to_terminal=sys.stdout.isatty())
    sending = asyncio.create_task(_send_lines(conversation, manner))
    printing = asyncio.create_task(_print(conversation, output, shape))
    try:
        await asyncio.wait((sending, printing), return_when=asyncio.FIRST_COMPLETED)
        if sending.done():
            sending.result()
            await asyncio.wait((printing,), timeout=patience)
        if printing.done():
            printing.result()
            if not sending.done():
                raise Failure(f"{conversation.name} left before everything was sent: {conversation.left}")
    finally:
        for task in (sending, printing):
            task.cancel()
        await asyncio.gather(sending, printing, return_exceptions=True)


def _shape(conversation: Conversation, manner: Notation, *, to_terminal: bool) -> Callable[[bytes], bytes]:
    """How a message is printed: as it came, or safe for a terminal."""
    if manner.as_hex:
        return lambda data: "".join(f"{line}\n" for line in hexdump(data)).encode()
    if to_terminal:
        return lambda data: (manner.encoding.show(data, keep="\n\t").removesuffix("\n") + "\n").encode()
    end = b"" if conversation.view["framing"] == "none" else b"\n"
    if manner.encoding is UTF8:
        return lambda data: data + end
    decoder = manner.encoding.incremental()
    return lambda data: decoder.decode(data).encode("utf-8", "backslashreplace") + end


def _json_line(name: str) -> Callable[[bytes], bytes]:
    """How a message is printed for programs."""

    def shape(data: bytes) -> bytes:
        try:
            body = {"text": data.decode()}
        except UnicodeDecodeError:
            body = {"data": encode_data(data)}
        return json.dumps({"from": name, **body}).encode() + b"\n"

    return shape


async def _send_lines(conversation: Conversation, manner: Notation) -> None:
    source = Input(sys.stdin.fileno())
    waiting = b""
    while data := await source.read():
        *lines, waiting = (waiting + data).split(b"\n")
        await _send_each(conversation, manner, lines)
    if waiting:
        await _send_each(conversation, manner, [waiting])


async def _send_each(conversation: Conversation, manner: Notation, lines: list[bytes]) -> None:
    for line in lines:
        data, ending = manner.message(line.decode("utf-8", "surrogateescape"))
        if not await conversation.send(data, ending, wait=30.0):
            raise Failure(
                f"the queue of {conversation.name} stayed full for 30 s",
                "it does not read what it is sent",
                code=failures.DROPPED,
            )


async def _print(conversation: Conversation, output: Output, shape: Callable[[bytes], bytes]) -> None:
    while (received := await conversation.receive()) is not None:
        await output.write(shape(received[0]))
