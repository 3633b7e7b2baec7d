"""A console on a terminal: prompt_toolkit shows the state, reads keys, and puts the terminal back.

Owns the terminal. What is shown comes from `render`, what a line means from `commands`. It is drawn when
its lines are different, at the pace of `Pace`; prompt_toolkit writes only the characters that changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

from prompt_toolkit.application import Application
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import History, InMemoryHistory
from prompt_toolkit.layout import (
    BufferControl,
    CompletionsMenu,
    Dimension,
    Float,
    FloatContainer,
    FormattedTextControl,
    HSplit,
    Layout,
    UIContent,
    UIControl,
    VSplit,
    Window,
)
from prompt_toolkit.output import ColorDepth, Output
from prompt_toolkit.output.defaults import create_output
from prompt_toolkit.styles import Style
from prompt_toolkit.widgets import SearchToolbar

from .completing import Offers, offers
from .console import Console
from .keys import bindings
from .lines import Line
from .pace import Pace
from .render import layout, prompt, render
from .state import ConsoleState

STYLE = Style.from_dict(
    {
        "title": "reverse",
        "heading": "ansicyan",
        "selected": "reverse",
        "unread": "bold ansiyellow",
        "dim": "ansibrightblack",
        "rule": "ansibrightblack",
        "hint": "ansibrightblack",
        "time": "ansibrightblack",
        "log": "ansibrightblack",
        "name": "bold",
        "in": "ansicyan",
        "out": "",
        "other": "ansimagenta",
        "command": "bold",
        "error": "ansired",
        "notice": "ansiyellow",
        "prompt": "bold",
    }
)


class View:
    """The lines of the screen, made anew only when the state or the size is different."""

    def __init__(self, state: ConsoleState) -> None:
        self._state = state
        self._made: tuple[int, int, int] = (-1, 0, 0)
        self.lines: list[Line] = []
        self.seen: list[int] = []

    def at(self, width: int, height: int) -> list[Line]:
        now = (self._state.version, width, height)
        if now != self._made:
            self.lines = render(self._state, width, height, now=time.time())
            rows = layout(self._state, width, height).rows
            self.seen = [row.id for row in self._state.settle(rows) if row.id > 0]
            self._made = now
        return self.lines


class _Pane(UIControl):
    """Everything above the typed line."""

    def __init__(self, view: View) -> None:
        self._view = view

    def create_content(self, width: int, height: int) -> UIContent:
        lines = self._view.at(width, height)
        return UIContent(lambda at: styled(lines[at]), line_count=len(lines), show_cursor=False)


class _Completer(Completer):
    """What Tab offers."""

    def __init__(self, state: ConsoleState, of_command_line: Offers) -> None:
        self._state = state
        self._offers = of_command_line

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        begun, found = offers(document.text_before_cursor, self._state, self._offers)
        for offer in found:
            yield Completion(offer.word, start_position=-begun, display_meta=offer.about)


def styled(line: Line) -> StyleAndTextTuples:
    return [(f"class:{style}" if style else "", text) for style, text in line]


class Screen:
    """The window of one console. `run` it."""

    def __init__(
        self, state: ConsoleState, *, history: History | None, offers: Offers, output: Output | None = None
    ) -> None:
        self.state = state
        self.console: Console | None = None
        self.view = View(state)
        self.filtering: str | None = None  # the filter before the one that is being typed
        self._pace = Pace()
        self._news = asyncio.Event()
        self._began = 0.0
        self.buffer = Buffer(
            history=history or InMemoryHistory(),
            completer=_Completer(state, offers),
            multiline=False,
            accept_handler=self._accept,
            on_text_changed=self._typed,
        )
        self._failure: Exception | None = None
        self.app = self._application(output or create_output(stdout=sys.stdout))

    def _application(self, output: Output) -> Application[None]:
        search = SearchToolbar()
        typed = BufferControl(self.buffer, search_buffer_control=search.control)
        before = Window(FormattedTextControl(self._prompt), height=1, dont_extend_width=True)
        body = HSplit(
            [
                Window(_Pane(self.view), height=Dimension(weight=1)),
                search,
                VSplit([before, Window(typed, height=1, wrap_lines=False)]),
            ]
        )
        menu = Float(CompletionsMenu(max_height=8, scroll_offset=1), xcursor=True, ycursor=True)
        app: Application[None] = Application(
            Layout(FloatContainer(body, [menu]), focused_element=typed),
            key_bindings=bindings(self),
            style=STYLE,
            full_screen=True,
            output=output,
            color_depth=ColorDepth.DEPTH_1_BIT if "NO_COLOR" in os.environ else None,
            terminal_size_polling_interval=None,
        )
        app.ttimeoutlen = 0.05
        app.timeoutlen = 0.3
        app.before_render += lambda _: self._begin_drawing()
        app.after_render += lambda _: self._end_drawing()
        return app

    # ---------------------------------------------------------------- drawing

    def changed(self) -> None:
        """There may be something to draw."""
        self._news.set()

    async def _draw(self) -> None:
        """Draw what changed, at its pace, and only if the lines are different."""
        while True:
            await self._news.wait()
            await asyncio.sleep(self._pace.wait(time.monotonic(), urgent=self.state.urgent))
            self._news.clear()
            before = self.view.lines
            size = self.app.output.get_size()
            if self.view.at(size.columns, max(1, size.rows - 1)) != before or self.state.urgent:
                self.app.invalidate()
            elif self.console is not None:
                self.console.look(self.view.seen)

    def _begin_drawing(self) -> None:
        self._began = time.monotonic()

    def _end_drawing(self) -> None:
        now = time.monotonic()
        self._pace.drawn(now, now - self._began)
        self.state.urgent = False
        if self.console is not None:
            self.console.width = self.app.output.get_size().columns
            self.console.look(self.view.seen)

    def _prompt(self) -> StyleAndTextTuples:
        if self.filtering is not None:
            return [("class:prompt", "filter> ")]
        return styled(prompt(self.state, self.app.output.get_size().columns))

    # ---------------------------------------------------------------- what is typed

    def _accept(self, buffer: Buffer) -> bool:
        line = buffer.text
        if self.filtering is not None:
            self.filtering = None
        elif self.console is not None:
            self.console.enter(line)
        self.changed()
        return False

    def _typed(self, _: object) -> None:
        if self.filtering is not None:
            self.state.set_filter(self.buffer.text)
            self.changed()

    def begin_filter(self) -> None:
        """What is typed next is the filter."""
        if self.filtering is None:
            self.state.close_conversation()
            self.filtering = self.state.filter.text
            self.buffer.set_document(Document(self.filtering), bypass_readonly=True)

    def drop_filter(self) -> None:
        self.filtering = None
        self.buffer.reset()
        self.state.set_filter("")

    def leave(self) -> None:
        """The operator leaves. In `jackfield serve` that ends the hub, and the second time at once."""
        if self.state.serving:
            self.state.add("the hub ends; Ctrl-C again ends it at once", "notice")
            self.changed()
            os.kill(os.getppid(), signal.SIGINT)
        else:
            self.end()

    def end(self) -> None:
        """Give the terminal back."""
        if self.console is not None:
            self.console.done.set()

    # ---------------------------------------------------------------- life

    async def run(self, work: Callable[[], Any]) -> None:
        """Show the window while `work` goes on, or until SIGTERM or SIGHUP; then put the terminal back.

        Raises what `work` raises, and what drawing does.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self.end)
        loop.add_signal_handler(signal.SIGCONT, self._resume)
        loop.set_exception_handler(self._fail)
        working = asyncio.ensure_future(work())
        drawing = asyncio.ensure_future(self._draw())
        showing = asyncio.ensure_future(self.app.run_async(handle_sigint=False, set_exception_handler=False))
        tasks = (working, drawing, showing)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not showing.done():
                with contextlib.suppress(Exception):
                    self.app.exit()
                await asyncio.wait((showing,))
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            loop.set_exception_handler(None)
        for problem in (self._failure, *results):
            if isinstance(problem, Exception):
                raise problem

    def _fail(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Something failed that nobody waits for, such as a drawing: leave, and `run` raises it."""
        problem = context.get("exception")
        if isinstance(problem, Exception) and self._failure is None:
            self._failure = problem
            self.end()

    def _resume(self) -> None:
        """Continued after somebody else's stop: the shell has put its own mode and its own lines there."""
        if self.app.is_running:
            self.app.input.raw_mode().__enter__()  # what it was before is put back by the one that runs
            self.app.renderer.clear()
            self.app.invalidate()
