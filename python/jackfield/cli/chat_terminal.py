"""A room on a terminal: messages above, the typed line below, with names completed.

prompt_toolkit has the line, its history and the terminal; what is printed goes above it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.input.vt100 import Vt100Input
from prompt_toolkit.output import create_output
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.patch_stdout import patch_stdout

from ..hub.display import safe_text
from ..hub.protocol import RequestError
from ..hub.racing import until_one_ends
from . import keys
from .chat import COMMANDS, Chatting, Quit
from .loop import Interrupted

DIM, RED, BOLD = "2", "31", "1"
SEEN_EVERY = 5.0  # seconds between two times that the hub is told what was shown

Show = Callable[..., None]


class Keys(Vt100Input):
    """What is typed; showing something above the typed line leaves the terminal's mode as it is."""

    def cooked_mode(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


class Names(Completer):
    """Commands at the beginning of the line, names of members everywhere else."""

    def __init__(self, chatting: Chatting) -> None:
        self._chatting = chatting

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        before = document.text_before_cursor
        word = before.rpartition(" ")[2]
        if before.startswith("/") and word == before:
            found: Iterable[str] = (f"{command} " for command in COMMANDS)
        elif word:
            ending = ": " if word == before else " "
            found = (name + ending for name in sorted({*self._chatting.members.values()}, key=str.casefold))
        else:
            return
        for each in found:
            if each.casefold().startswith(word.casefold()):
                yield Completion(each, start_position=-len(word))


async def on_terminal(chatting: Chatting) -> None:
    """Chat until the operator leaves. Raises `Interrupted` for Ctrl-C."""
    colour = "NO_COLOR" not in os.environ

    def show(lines: Iterable[str], style: str = "") -> None:
        start, end = (f"\x1b[{style}m", "\x1b[0m") if style and colour else ("", "")
        text = "".join(f"{start}{line}{end}\n" for line in lines)
        if text:
            print(text, end="", flush=True)

    output = create_output()
    if isinstance(output, Vt100_Output):
        output.enable_cpr = False  # where the cursor is does not matter here, and some terminals never say
    session: PromptSession[str] = PromptSession(
        input=Keys(sys.stdin),
        output=output,
        completer=Names(chatting),
        complete_while_typing=False,
        enable_history_search=True,
    )
    with keys.one_by_one(sys.stdin.fileno()), patch_stdout(raw=True):
        names = ", ".join(map(safe_text, sorted({*chatting.members.values()}, key=str.casefold)[:20]))
        show(
            [
                f"* {chatting.room}: {names}.",
                f"* You are {safe_text(chatting.name)}; Ctrl-D leaves, /help says more.",
            ]
        )
        old = [row for row in chatting.history if row[0] <= chatting.seen]
        new = [row for row in chatting.history if row[0] > chatting.seen]
        show(chatting.past(old), DIM)
        if old and new:
            show([f"---- new since you were here: {len(new)} ----"], RED)
        show(chatting.past(new))
        await until_one_ends(_type(chatting, session, show), _show(chatting, show), _note_seen(chatting))
        if chatting.left is None:
            await chatting.note_seen()
    if chatting.left is not None:
        print(f"Not in {chatting.room} any more: {safe_text(chatting.left)}")


async def _type(chatting: Chatting, session: PromptSession[str], show: Show) -> None:
    while True:
        try:
            line = await session.prompt_async(f"{chatting.room}> ", handle_sigint=False)
        except EOFError:
            return
        except KeyboardInterrupt:
            raise Interrupted from None
        try:
            show(await chatting.typed(line))
        except RequestError as problem:
            show([f"* {safe_text(problem.message)}"], RED)
        except Quit:
            return


async def _show(chatting: Chatting, show: Show) -> None:
    while (event := await chatting.receive()) is not None:
        show(chatting.news(event), DIM)
        show(chatting.shown(event, stamps=True), BOLD if "private" in event else "")


async def _note_seen(chatting: Chatting) -> None:
    told = 0
    while True:
        await asyncio.sleep(SEEN_EVERY)
        if chatting.newest > told:
            told = chatting.newest
            await chatting.note_seen()
