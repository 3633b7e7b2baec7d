"""What keys do: prompt_toolkit reads them from a pipe here, and draws on nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from support import eventually

import jackfield
from jackfield.console.completing import Offer
from jackfield.console.state import ConsoleState
from jackfield.console.window import Screen

UP, DOWN, END, PAGE_UP = "\x1b[A", "\x1b[B", "\x1b[F", "\x1b[5~"
F1, F3, F4, F5, F6, F7 = "\x1bOP", "\x1bOR", "\x1bOS", "\x1b[15~", "\x1b[17~", "\x1b[18~"
CTRL_C, CTRL_D, CTRL_F, CTRL_P, ESCAPE = "\x03", "\x04", "\x06", "\x10", "\x1b"


class Lines:
    """A console that only notes what was entered."""

    def __init__(self, screen: Screen) -> None:
        self.entered: list[str] = []
        self.done = asyncio.Event()
        self.is_busy = False
        self.interrupted = 0
        self.width = 80
        self.command_line = type("", (), {"commands": {"kick": "Disconnect clients."}})
        self._screen = screen

    def enter(self, line: str) -> None:
        self.entered.append(line)
        if not line and self._screen.state.selected:
            self._screen.state.open_conversation(self._screen.state.selected)

    def interrupt(self) -> None:
        self.interrupted += 1

    def look(self, seen: Sequence[int]) -> None:
        pass


def offered(before: Sequence[str], begun: str) -> list[Offer]:
    return [Offer("kick", "")] if "kick".startswith(begun) and not before else []


def press(*steps: tuple[str, Any], state: ConsoleState | None = None, busy: bool = False) -> Lines:
    """Press keys; after each step wait for what it leads to."""
    state = state or ConsoleState()
    if not state.rows:
        views = [{"id": each, "name": f"tcp-{each}", "protocol": "tcp"} for each in range(1, 101)]
        state.apply({"clients": views, "ready": {}})
    result: list[Lines] = []

    async def main() -> None:
        with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
            screen = Screen(state, history=None, offers=offered, output=DummyOutput())
            screen.console = lines = Lines(screen)  # type: ignore[assignment]
            lines.is_busy = busy
            result.append(lines)

            async def work() -> None:
                typing = asyncio.create_task(type_keys())
                leaving = asyncio.create_task(lines.done.wait())
                done, _ = await asyncio.wait((typing, leaving), return_when=asyncio.FIRST_COMPLETED)
                if typing in done:
                    typing.result()
                typing.cancel()

            async def type_keys() -> None:
                await eventually(lambda: screen.app.is_running, "the window", 30)
                for text, leads_to in steps:
                    keys.send_text(text)
                    await eventually(lambda until=leads_to: until(screen, lines), repr(text), 30)

            await screen.run(work)

    jackfield.run(main)
    return result[0]


def test_the_list_is_gone_through_with_the_arrows() -> None:
    press(
        (DOWN, lambda screen, lines: screen.state.selected == 1),
        (DOWN, lambda screen, lines: screen.state.selected == 2),
        (UP, lambda screen, lines: screen.state.selected == 1),
        (END, lambda screen, lines: screen.state.selected == 100),
        (PAGE_UP, lambda screen, lines: screen.state.selected < 100),
        ("\r", lambda screen, lines: screen.state.open == screen.state.selected and lines.entered == [""]),
    )


def test_in_a_conversation_the_arrows_are_the_history_and_alt_steps() -> None:
    press(
        (DOWN, lambda screen, lines: screen.state.selected == 1),
        ("\r", lambda screen, lines: screen.state.open == 1),
        # The history is there once the empty line was drawn.
        ("hello\r", lambda screen, lines: len(screen.buffer._working_lines) > 1),
        (UP, lambda screen, lines: screen.buffer.text == "hello" and screen.state.open == 1),
        (ESCAPE + DOWN, lambda screen, lines: screen.state.open == 2),
        (CTRL_P, lambda screen, lines: screen.state.open == 2),
        (ESCAPE, lambda screen, lines: screen.state.open is None),
    )


def test_the_filter_follows_the_typing_and_escape_drops_it() -> None:
    press(
        (CTRL_F, lambda screen, lines: screen.filtering == ""),
        ("tcp-10", lambda screen, lines: [row.id for row in screen.state.listed()] == [10, 100]),
        ("\r", lambda screen, lines: screen.filtering is None and screen.state.filter.text == "tcp-10"),
        (F3, lambda screen, lines: screen.buffer.text == "tcp-10"),
        (ESCAPE, lambda screen, lines: not screen.state.filter.text and len(screen.state.listed()) == 100),
    )


def test_function_keys() -> None:
    press(
        (F4, lambda screen, lines: screen.state.view == "hex"),
        (F4, lambda screen, lines: screen.state.view == "mixed"),
        (F5, lambda screen, lines: screen.state.entry == "hex"),
        (F6, lambda screen, lines: screen.state.order.key == "name"),
        (F7, lambda screen, lines: screen.state.tall > 0),
        (F7, lambda screen, lines: screen.state.tall == 0),
        (F1, lambda screen, lines: any("/kick" in line for line in screen.state.help)),
        (ESCAPE, lambda screen, lines: screen.state.help == []),
    )


def test_tab_completes_and_several_pasted_lines_are_sent_one_by_one() -> None:
    pasted = "\x1b[200~one\ntwo\nthr\x1b[201~"
    press(
        ("/ki\t", lambda screen, lines: screen.buffer.text == "/kick"),
        ("\x15", lambda screen, lines: screen.buffer.text == ""),
        (pasted, lambda screen, lines: screen.buffer.text == "one two thr" and not lines.entered),
        ("\x15" + DOWN, lambda screen, lines: screen.state.selected == 1),
        ("\r", lambda screen, lines: screen.state.open == 1),
        (pasted, lambda screen, lines: lines.entered[1:] == ["one", "two"] and screen.buffer.text == "thr"),
    )


def test_ctrl_c_leaves_and_ctrl_d_only_from_the_list() -> None:
    assert press((CTRL_C, lambda screen, lines: lines.done.is_set())).done.is_set()
    lines = press(
        (DOWN, lambda screen, lines: screen.state.selected == 1),
        ("\r", lambda screen, lines: screen.state.open == 1),
        (CTRL_D, lambda screen, lines: screen.state.open is None and not lines.done.is_set()),
        (CTRL_D, lambda screen, lines: lines.done.is_set()),
    )
    assert lines.done.is_set()


def test_ctrl_c_ends_the_command_that_is_being_done_first() -> None:
    lines = press((CTRL_C, lambda screen, lines: lines.interrupted == 1), busy=True)
    assert not lines.done.is_set()


def test_a_fault_of_drawing_ends_the_window_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ValueError("a fault of drawing")

    monkeypatch.setattr("jackfield.console.window.render", broken)
    with pytest.raises(ValueError, match="a fault of drawing"):
        press((DOWN, lambda screen, lines: False))
