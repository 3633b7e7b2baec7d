"""From state to screen: each picture is a file in `golden/`, and none can hold what steers a terminal.

JACKFIELD_GOLDEN=write makes the files anew; look at the differences before they are committed.
"""

from __future__ import annotations

import os
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from jackfield.console.commands import help_lines
from jackfield.console.lines import fitted, line_width, text_of
from jackfield.console.render import layout, prompt, render
from jackfield.console.roster import Order
from jackfield.console.state import ConsoleState
from jackfield.hub.display import width_of
from jackfield.hub.protocol import encode_data

GOLDEN = Path(__file__).with_name("golden")
NOW = 1_795_262_400.0  # 2026-11-21 12:00:00 UTC
SIZES = ((80, 24), (200, 50))
LISTENERS = [
    {"address": "tcp://127.0.0.1:7000", "framing": "none", "ending": "lf", "join": "nc 127.0.0.1 7000"},
    {"address": "udp://127.0.0.1:7000", "framing": "none", "ending": "lf", "join": "nc -u 127.0.0.1 7000"},
]


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Times of day are local: here that is UTC."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def view(client_id: int | None, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": client_id,
        "name": f"tcp-{client_id}",
        "protocol": "tcp",
        "local": "127.0.0.1:7000",
        "peer": f"127.0.0.1:{40000 + (client_id or 0)}",
        "since": "2026-11-21T11:00:00.000Z",
        "bytes_in": 0,
        "bytes_out": 0,
        "messages_in": 0,
        "messages_out": 0,
        "queued": 0,
        "dropped": 0,
        "framing": "none",
        "explain": "all is well",
    }
    return {**found, **more}


def hub(*views: dict[str, Any], absent: Sequence[dict[str, Any]] = (), serving: bool = False) -> ConsoleState:
    """A console whose hub has these clients."""
    state = ConsoleState(own="pid:100", serving=serving)
    state.apply({"clients": list(views), "absent": list(absent)})
    state.apply({"ready": {"listeners": LISTENERS}, "log": []})
    return state


def said(client_id: int, seconds: float, data: bytes, by: str = "", **more: Any) -> dict[str, Any]:
    way = {"told": encode_data(data), "by": by} if by else {"heard": encode_data(data)}
    return {"id": client_id, "at": NOW + seconds, **way, **more}


# -------------------------------------------------------------------- the pictures


def empty() -> ConsoleState:
    return hub(serving=True)


def loading() -> ConsoleState:
    state = ConsoleState(own="pid:100")
    state.apply({"clients": [view(1)]})
    return state


def three_and_unread() -> ConsoleState:
    state = hub(view(1, name="door"), view(2), view(3, protocol="udp", name="udp-3", queued=4096, dropped=7))
    state.apply({"activity": [[2, 3, 90, 0, 0, NOW + 5], [3, 1200, 5000, 2, 40, NOW - 86400]]})
    state.apply({"previews": [[2, NOW + 5, "temperature 21.5"]]})
    joined = {"time": "2026-11-21T12:00:01.000Z", "event": "joined", "id": 2, "name": "tcp-2", "peer": "x"}
    state.apply({"log": [joined]})
    state.select(1)
    return state


def ten_thousand() -> ConsoleState:
    state = hub(*(view(each, bytes_in=each) for each in range(1, 10_001)))
    state.set_order(Order("in"))
    state.select(1)
    state.select(500)
    return state


def long_names() -> ConsoleState:
    return hub(
        view(1, name="a" * 64, peer="[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:65535"),
        view(2, peer="/run/user/1000/some/directory/with/a/very/long/path/to/a.sock", protocol="unix"),
        view(123_456, protocol="unix+seqpacket", peer="pid:4194304", name="seqpacket-123456"),
    )


def wide_characters() -> ConsoleState:
    state = hub(view(1, name="门禁控制器"), view(2, name="センサー温度計測装置一二三四五六七八九十"))
    state.apply({"previews": [[1, NOW, "温度 21.5 度"]]})
    state.open_conversation(1)
    state.apply(
        {"said": [said(1, 1, "门已经打开。".encode() * 12), said(1, 2, "好的\n".encode(), "pid:100")]}
    )
    return state


HOSTILE = (
    b"\x1b]0;owned\x07\x1b[2J\x9b31m "
    + "\u202etxt.exe \u2066\u200b\ufeff".encode()
    + b"\xff\xfe\x00\r\x08\x7f"
)


def hostile() -> ConsoleState:
    text = HOSTILE.decode("utf-8", "surrogateescape")
    state = hub(view(1, name=text, peer=text, tags=[text], note=text, state=text, protocol=text))
    state.apply(
        {"previews": [[1, NOW, text]], "log": [{"time": text, "event": text, "name": text, text: text}]}
    )
    state.hub["listeners"] = [{"address": text, "join": text}]
    state.open_conversation(1)
    state.apply({"said": [said(1, 1, HOSTILE), said(1, 2, HOSTILE, by=text)]})
    state.running = text
    return state


def conversation(shown: str) -> Callable[[], ConsoleState]:
    def make() -> ConsoleState:
        state = hub(view(1, name="door"), view(2), view(3))
        state.open_conversation(1)
        state.apply({"open": 1, "ending": "crlf", "earlier": [said(1, -60, b"hello\r\n")]})
        state.apply({"said": [
            said(1, 0, b"status?\r\n", by="pid:100"),
            said(1, 1, b"door closed\r\nlock <on>\r\n"),
            said(1, 2, b"\x02" + bytes(range(40)) + b"\x03"),
            said(1, 3, b"open\r\n", by="pid:222"),
            said(1, 4, b"", by="autoreply:hi"),
            said(1, 5, b"x" * 100, bytes=100_000),
        ]})  # fmt: skip
        state.apply({"activity": [[3, 2, 10, 0, 0, NOW]]})
        state.view = shown
        state.entry = "hex" if shown == "hex" else "text"
        return state

    return make


def absent_and_conflicts() -> ConsoleState:
    return hub(
        view(1, name="pump", tags=["cellar", "water"], note="behind the boiler"),
        view(2, name="pump", conflict=True, peer="10.0.0.9:4242"),
        absent=[
            view(None, name="gate", state="absent", identity="gate", peer="10.0.0.7:9", tags=["yard"],
                 last_seen="2026-11-20T08:00:00.000Z")
        ],
    )  # fmt: skip


def a_filter_that_fits_nobody() -> ConsoleState:
    state = hub(view(1))
    state.set_filter("tag:none")
    return state


def output_and_errors() -> ConsoleState:
    state = hub(view(1))
    for number in range(30):
        state.add(f"line {number} of the output " + "that is long " * 9, "output")
    state.add("jackfield: no client 'x'; connected: tcp-1", "error")
    state.tall = 31
    state.apply({"missed": {"messages": 12, "bytes": 3400}})
    return state


def help_screen() -> ConsoleState:
    state = hub(view(1))
    state.help = help_lines(
        [("clients", "List who is connected. (Also: ls)"), ("kick", "Disconnect clients.")]
    )
    return state


PICTURES: dict[str, Callable[[], ConsoleState]] = {
    make.__name__: make
    for make in (
        empty, loading, three_and_unread, ten_thousand, long_names, wide_characters, hostile,
        absent_and_conflicts, a_filter_that_fits_nobody, output_and_errors, help_screen,
    )
} | {f"conversation_{shown}": conversation(shown) for shown in ("text", "hex", "mixed")}  # fmt: skip


@pytest.mark.parametrize(("width", "height"), SIZES, ids=lambda size: str(size))
@pytest.mark.parametrize("name", PICTURES)
def test_the_picture(name: str, width: int, height: int) -> None:
    state = PICTURES[name]()
    lines = [*render(state, width, height - 1, now=NOW), prompt(state, width)]
    assert len(lines) == height
    shown = "".join(f"{text_of(line).rstrip()}\n" for line in lines)
    file = GOLDEN / f"{name}-{width}x{height}.txt"
    if os.environ.get("JACKFIELD_GOLDEN") == "write":
        file.write_text(shown)
    assert shown == file.read_text()


UNSAFE = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize(
    ("width", "height"), [(80, 24), (200, 50), (40, 10), (20, 6), (19, 5), (1, 1), (139, 29)]
)
def test_every_line_fits_and_is_safe_at_any_size(name: str, width: int, height: int) -> None:
    state = PICTURES[name]()
    lines = render(state, width, height, now=NOW)
    assert len(lines) == height
    for line in lines:
        assert line_width(line) <= width, line
        assert not {unicodedata.category(character) for character in text_of(line)} & UNSAFE, line


def test_rendering_changes_nothing() -> None:
    state = ten_thousand()
    assert render(state, 80, 23, now=NOW) == render(state, 80, 23, now=NOW)
    assert state.version == ten_thousand().version


def test_the_selected_client_stays_on_the_screen() -> None:
    state = ten_thousand()
    for move in (-(10**9), 17, 1, 10**9, -1, -40):
        state.select(move)
        rows = layout(state, 80, 23).rows
        assert state.selected in [row.id for row in state.settle(rows)]
        marked = [text_of(line) for line in render(state, 80, 23, now=NOW) if text_of(line).startswith(">")]
        assert len(marked) == 1
        assert f" {state.selected} " in marked[0]


def test_an_idle_screen_is_the_same_a_minute_later() -> None:
    state = three_and_unread()
    assert render(state, 80, 23, now=NOW) == render(state, 80, 23, now=NOW + 60)


@pytest.mark.parametrize("width", range(0, 12))
def test_lines_are_cut_by_columns(width: int) -> None:
    for line in ([("a", "温度"), ("b", "xyz")], [("a", "abc"), ("b", "温度")], [("", "")], [("a", "abcdef")]):
        cut = fitted(line, width)
        assert line_width(cut) == width, (line, cut)
        assert width_of(text_of(cut)) == width
