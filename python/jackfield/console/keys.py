"""The keys of a console: what each one does to the state, the typed line, or the window.

Keys that edit the line, go through history and complete are prompt_toolkit's own, as in a shell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prompt_toolkit.application.current import get_app
from prompt_toolkit.filters import Condition, is_searching
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from .commands import help_lines
from .conversation import VIEWS
from .render import usual_log
from .state import ENTRIES

if TYPE_CHECKING:
    from .window import Screen


def bindings(screen: Screen) -> KeyBindings:
    """The bindings of a window."""
    keys = KeyBindings()
    state = screen.state
    typing = ~is_searching

    @Condition
    def in_list() -> bool:
        return state.open is None and not screen.buffer.text and not state.help

    @Condition
    def completing() -> bool:
        return get_app().current_buffer.complete_state is not None

    def log_is_tall() -> bool:
        return state.tall + 1 > usual_log(len(screen.view.lines))

    def page() -> int:
        return max(1, len(screen.view.lines) // 2)

    # ---- moving

    def move(key: str, rows: int) -> None:
        @keys.add(key, filter=in_list & typing)
        def _(event: KeyPressEvent) -> None:
            state.select(rows)
            screen.changed()

    for key, rows in (("up", -1), ("down", 1), ("home", -(10**9)), ("end", 10**9)):
        move(key, rows)

    def turn(key: str, direction: int) -> None:
        @keys.add(key, filter=typing)
        def _(event: KeyPressEvent) -> None:
            rows = direction * page()
            if state.help or log_is_tall():
                sign = direction if state.help else -direction
                most = len(state.help) if state.help else len(state.log)
                state.log_scroll = min(max(0, state.log_scroll + sign * page()), max(0, most - 1))
            elif state.open is not None:
                conversation = state.conversations.get(state.open)
                most = len(conversation.messages) * 4 if conversation else 0
                state.scroll = min(max(0, state.scroll - rows), most)
            else:
                state.select(rows)
            state.changed()
            screen.changed()

    turn("pageup", -1)
    turn("pagedown", 1)

    def step(rows: int) -> None:
        opened = state.open is not None
        state.select(rows)
        if opened and state.selected is not None and state.selected > 0:
            state.open_conversation(state.selected)
        screen.changed()

    @keys.add("escape", "up", filter=typing)
    def _(event: KeyPressEvent) -> None:
        step(-1)

    @keys.add("escape", "down", filter=typing)
    def _(event: KeyPressEvent) -> None:
        step(1)

    @keys.add("escape", "n", filter=typing)
    def _(event: KeyPressEvent) -> None:
        found = state.next_unread()
        if found is not None:
            state.open_conversation(found)
        screen.changed()

    # ---- modes

    @keys.add("escape", filter=typing & ~completing)
    def _(event: KeyPressEvent) -> None:
        if screen.filtering is not None:
            screen.drop_filter()
        elif state.help:
            state.help = []
            state.log_scroll = 0
        elif log_is_tall():
            state.tall = state.log_scroll = 0
        elif state.open is not None:
            state.close_conversation()
        else:
            screen.buffer.reset()
            state.set_filter("")
        state.changed()
        screen.changed()

    @keys.add("escape", filter=completing)
    def _(event: KeyPressEvent) -> None:
        screen.buffer.cancel_completion()

    @keys.add("f1")
    def _(event: KeyPressEvent) -> None:
        console = screen.console
        about = list(console.command_line.commands.items()) if console is not None else []
        state.help = [] if state.help else help_lines(about)
        state.log_scroll = 0
        state.changed()
        screen.changed()

    @keys.add("?", filter=in_list & typing)
    def _(event: KeyPressEvent) -> None:
        if screen.console is not None:
            screen.console.enter("/help")

    @keys.add("f3", filter=typing)
    @keys.add("c-f", filter=typing)
    def _(event: KeyPressEvent) -> None:
        screen.begin_filter()
        screen.changed()

    @keys.add("f4")
    def _(event: KeyPressEvent) -> None:
        state.view = VIEWS[(VIEWS.index(state.view) + 1) % len(VIEWS)]
        state.changed()
        screen.changed()

    @keys.add("f5")
    def _(event: KeyPressEvent) -> None:
        state.entry = ENTRIES[(ENTRIES.index(state.entry) + 1) % len(ENTRIES)]
        state.changed()
        screen.changed()

    @keys.add("f6")
    def _(event: KeyPressEvent) -> None:
        state.set_order(state.order.next())
        screen.changed()

    @keys.add("f7")
    def _(event: KeyPressEvent) -> None:
        state.tall = 0 if state.tall else 10**6
        state.log_scroll = 0
        state.changed()
        screen.changed()

    # ---- the line

    @keys.add("enter", filter=typing)
    def _(event: KeyPressEvent) -> None:
        if state.help:
            state.help = []
            state.changed()
        screen.buffer.validate_and_handle()

    @keys.add("tab", filter=typing)
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.complete_state:
            buffer.complete_next()
        elif screen.filtering is None:
            buffer.start_completion(insert_common_part=True)

    @keys.add("<bracketed-paste>")
    def _(event: KeyPressEvent) -> None:
        *lines, rest = event.data.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        if state.open is None or screen.filtering is not None:
            event.current_buffer.insert_text(" ".join([*lines, rest]))
            return
        for line in lines:
            event.current_buffer.insert_text(line)
            screen.buffer.validate_and_handle()
        event.current_buffer.insert_text(rest)

    # ---- leaving

    @keys.add("c-c")
    @keys.add("<sigint>")
    def _(event: KeyPressEvent) -> None:
        if screen.console is not None and screen.console.is_busy:
            screen.console.interrupt()
        else:
            screen.leave()

    @keys.add("c-d", filter=typing)
    def _(event: KeyPressEvent) -> None:
        if screen.buffer.text:
            screen.buffer.delete()
        elif state.open is not None:
            state.close_conversation()
            screen.changed()
        elif not state.serving:
            screen.leave()

    @keys.add("c-z")
    def _(event: KeyPressEvent) -> None:
        event.app.suspend_to_background()

    @keys.add("c-l")
    def _(event: KeyPressEvent) -> None:
        event.app.renderer.clear()

    return keys
