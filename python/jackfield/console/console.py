"""A console at work: it listens to the hub, does what lines mean, and keeps the state that is drawn.

Owns the traffic with the hub and the commands under way. Knows no terminal: `window` shows the state and
hands over lines.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jackfield

from ..hub.display import safe_text
from ..hub.joining import how_to_join
from ..hub.operator import Operator
from ..hub.protocol import RequestError, encode_data
from ..hub.racing import until_one_ends
from .child import Child
from .commands import Done, Quit, Run, Send, help_lines, interpret
from .completing import Offers
from .state import ConsoleState

LOOK_EVERY: Final = 0.2  # seconds between two words to the hub about what is on the screen


@dataclass(frozen=True, slots=True)
class CommandLine:
    """The command line as a console sees it: what starts it, its commands, and what it offers."""

    program: Sequence[str]
    environment: Mapping[str, str]
    commands: Mapping[str, str]  # name -> what it does; empty for one that is not listed
    offers: Offers


class Console:
    """One operator's console. `run` it; `changed` is called when there may be something to draw."""

    def __init__(
        self, operator: Operator, state: ConsoleState, command_line: CommandLine, changed: Callable[[], None]
    ) -> None:
        self.state = state
        self.command_line = command_line
        self._operator = operator
        self._changed = changed
        self._sends: asyncio.Queue[Send] = asyncio.Queue()
        self._watch = 0  # the id of the watch
        self._seen: list[int] = []
        self._told: tuple[list[int], list[int]] = ([], [])  # what the hub knows of the screen
        self._looking = asyncio.Event()
        self._opened = asyncio.Event()
        self._commands: asyncio.Queue[tuple[str, ...]] = asyncio.Queue()
        self._child: Child | None = None
        self.width = 80
        self.leave: Callable[[], None] = lambda: None  # what /quit does
        self.done = asyncio.Event()  # `run` is to end

    async def run(self) -> None:
        """Work until the operator leaves. Raises `NoHub` when the hub went away."""
        await until_one_ends(self._listen(), self._send(), self._look(), self._do(), self.done.wait())

    # ---------------------------------------------------------------- the hub

    async def _listen(self) -> None:
        self._watch, replies = await self._operator.start("watch", last=0 if self.state.log else 50)
        while True:
            reply = await self._operator.reply(replies)
            event = reply.get("event", {})
            if "ready" in event:
                _add_joins(event["ready"])
                self._looking.set()
            self.state.apply(event)
            self._changed()

    async def _send(self) -> None:
        """Send what was typed, one message after the other."""
        while True:
            send = await self._sends.get()
            try:
                await self._tell_look()  # or the hub would not show here what is sent
                report = await self._operator.request(
                    "send", target=str(send.client_id), data=encode_data(send.data), ending=send.ending
                )
            except RequestError as problem:
                self._say(f"not sent: {safe_text(problem.message)}", "error")
                continue
            if report.get("skipped_because"):
                self._say(f"not sent: {safe_text(str(report['skipped_because'][0]))}", "error")
            elif not report.get("sent"):
                self._say("not sent: the client's queue is full (it does not read)", "error")

    async def _look(self) -> None:
        """Tell the hub what is on the screen, when that changed; what is open at once."""
        while True:
            await self._looking.wait()
            self._looking.clear()
            await self._tell_look()
            self._opened.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._opened.wait(), LOOK_EVERY)

    async def _tell_look(self) -> None:
        """Tell the hub, unless it knows."""
        now = (self._seen, list(self.state.conversations))
        if self._watch and now != self._told:
            self._told = now
            await self._operator.request("look", of=self._watch, seen=now[0], open=now[1])

    def look(self, seen: Sequence[int]) -> None:
        """These clients are on the screen."""
        self._seen = list(seen)
        if list(self.state.conversations) != self._told[1]:
            self._opened.set()
        if (self._seen, list(self.state.conversations)) != self._told:
            self._looking.set()

    # ---------------------------------------------------------------- what is typed

    def enter(self, line: str) -> None:
        """Do what a typed line means."""
        state = self.state
        if line.startswith("/"):
            state.tall = state.log_scroll = 0
        action = interpret(line, state, known=self.command_line.commands)
        match action:
            case Send():
                state.scroll = 0
                self._sends.put_nowait(action)
            case Run(words):
                if self._child is not None:
                    state.add(f"/{safe_text(words[0])} waits for {safe_text(state.running)}", "dim")
                self._commands.put_nowait(words)
            case Quit():
                self.leave()
            case Done(text, style) if text:
                state.add(text, style)
        if state.help == ["..."]:
            state.help = help_lines(list(self.command_line.commands.items()))
            state.log_scroll = 0
        self._changed()

    @property
    def is_busy(self) -> bool:
        """A command is being done."""
        return self._child is not None

    def interrupt(self) -> None:
        """End the command that is being done, and forget those that wait for it."""
        while not self._commands.empty():
            self._say(f"not done: /{safe_text(' '.join(self._commands.get_nowait()))}", "notice")
        if self._child is not None:
            self._child.interrupt()

    async def _do(self) -> None:
        """Do commands, one after the other."""
        while True:
            words = await self._commands.get()
            self.state.running = words[0]
            self.state.tall = 0
            self._say(f"/{safe_text(' '.join(words))}", "command")
            self._child = Child(
                [*self.command_line.program, *words],
                environment=self.command_line.environment,
                width=self.width,
                said=self._said,
            )
            try:
                code = await self._child.run(lambda pid: self.state.own.add(f"pid:{pid}"))
                if code not in (0, 130, -signal.SIGINT):
                    self._say(f"({safe_text(words[0])} ended with {code})", "dim")
            except OSError as problem:
                self._say(f"cannot start {safe_text(words[0])}: {problem.strerror}", "error")
            finally:
                self._child = None
                self.state.running = ""
            self.state.changed()
            self._changed()

    def _said(self, line: str) -> None:
        self.state.tall += 1
        self._say(line, "error" if line.startswith("jackfield: ") else "output")

    def _say(self, text: str, style: str) -> None:
        self.state.add(text, style)
        self._changed()


def _add_joins(status: dict[str, Any]) -> None:
    """How to join each listener, where that can be said."""
    for listener in status.get("listeners", ()):
        with contextlib.suppress(jackfield.JackfieldError, KeyError, ValueError):
            address = jackfield.Address.parse(listener["address"])
            listener["join"] = how_to_join(
                address,
                listener["framing"],
                listener["ending"],
                access=listener.get("access", "plain"),
                native=listener.get("native", "off"),
                pin=listener.get("pin", ""),
            )
