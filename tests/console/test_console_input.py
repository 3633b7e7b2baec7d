"""What a typed line means, what Tab offers, which clients a filter lets through, when the screen is drawn."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from jackfield.console.commands import OWN, Done, Quit, Run, Send, interpret
from jackfield.console.completing import MOST, Offer, offers
from jackfield.console.conversation import BYTES, MESSAGES, Conversation, Said, mixed
from jackfield.console.history import KEPT, LineHistory, history_path
from jackfield.console.lines import text_of
from jackfield.console.pace import CALM, SLOWEST, SLOWEST_SOON, SOON, Pace
from jackfield.console.roster import SORT_KEYS, Order
from jackfield.console.state import CONVERSATIONS, ConsoleState

KNOWN = {"send": "", "rename": "", "logs": "", "tag": "", "serve": "", "talk": ""}


def hub(*views: dict[str, Any]) -> ConsoleState:
    state = ConsoleState(own="pid:1")
    base = {"protocol": "tcp", "peer": "127.0.0.1:1", "framing": "none", "bytes_in": 0}
    state.apply({"clients": [{**base, "name": f"tcp-{view['id']}", **view} for view in views], "ready": {}})
    return state


def talking(**more: Any) -> ConsoleState:
    state = hub({"id": 1, "name": "door"}, {"id": 2})
    state.open_conversation(1)
    for name, value in more.items():
        setattr(state, name, value)
    return state


# -------------------------------------------------------------------- lines


@pytest.mark.parametrize(
    ("line", "settings", "sent"),
    [
        ("hello", {}, Send(1, b"hello", "default")),
        ("", {}, Send(1, b"", "default")),
        ("//path", {}, Send(1, b"/path", "default")),
        ("hello", {"eol": "crlf"}, Send(1, b"hello", "crlf")),
        ("de ad 0xbe", {"entry": "hex"}, Send(1, b"\xde\xad\xbe", "none")),
        ("de", {"entry": "hex", "eol": "lf"}, Send(1, b"\xde", "lf")),
        ("", {"entry": "hex"}, Done()),
        (r"AT\r\x00", {"entry": "escapes"}, Send(1, b"AT\r\x00", "default")),
        ("a\udcff", {}, Send(1, b"a\xff", "default")),
    ],
)
def test_a_line_for_the_open_client(line: str, settings: dict[str, Any], sent: object) -> None:
    assert interpret(line, talking(**settings), known=KNOWN) == sent


@pytest.mark.parametrize(
    ("line", "settings", "says"),
    [
        ("xyz", {"entry": "hex"}, "is not a hex digit"),
        (r"\q", {"entry": "escapes"}, "unknown escape"),
        ("hello", {"rows": {}}, "the client left"),
        ("/send 'x", {}, "no closing quotation"),
        ("/", {}, "/help"),
        ("/nonsense \x1b[2J", {}, "there is no command 'nonsense'"),
        ("/\x1b[2J", {}, r"\e[2J"),
        ("/serve 7000", {}, "needs a terminal of its own"),
        ("/sort colour", {}, "sort takes id|name"),
        ("/eol dos", {}, "eol takes lf|crlf"),
    ],
)
def test_what_cannot_be_done_is_said(line: str, settings: dict[str, Any], says: str) -> None:
    action = interpret(line, talking(**settings), known=KNOWN)
    assert isinstance(action, Done)
    assert says in action.text
    assert action.style == "error"
    assert "\x1b" not in action.text


def test_commands_of_the_command_line_are_passed_on_as_words() -> None:
    state = talking()
    assert interpret("/rename 1 'the door'", state, known=KNOWN) == Run(("rename", "1", "the door"))
    assert interpret("/help send", state, known=KNOWN) == Run(("send", "--help"))
    assert interpret("/quit", state, known=KNOWN) == interpret("/exit", state, known=KNOWN) == Quit()


def test_opening_by_selection_id_name_and_part() -> None:
    state = hub({"id": 1, "name": "door"}, {"id": 2, "name": "lamp-north"}, {"id": 3, "name": "lamp-south"})
    for line, opened in (("", 1), ("3", 3), ("DOOR", 1), ("lamp-n", 2), ("south", 3), ("/talk door", 1)):
        state.close_conversation()
        state.selected = None
        assert interpret(line, state, known=KNOWN) == Done(), line
        assert state.open == opened, line
    state.close_conversation()
    for line in ("lamp", "nobody", "99"):
        action = interpret(line, state, known=KNOWN)
        assert isinstance(action, Done)
        assert "is not one client" in action.text
        assert state.open is None


def test_every_own_command_does_something_or_says_what_it_takes() -> None:
    for name in OWN:
        state = talking()
        version = state.version
        action = interpret(f"/{name}", state, known=KNOWN)
        assert (
            isinstance(action, Quit) or state.version > version or (isinstance(action, Done) and action.text)
        )


# -------------------------------------------------------------------- filter and order


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        ("", [1, 2, 3]), ("door", [1, 3]), ("DOOR north", [1]), ("-door", [2]), ("tag:yard", [3]),
        ("unread", [2]), ("state:absent", [3]), ("state:conn", [1]), ("state:conflict", [2]),
        ("proto:udp", [2]), ("peer:10.0", [2]),
        ("name:north", [1]), ("boiler", [2]), ("2", [2]), ("tag:", []), ("-unread -state:absent", [1]),
    ],
)  # fmt: skip
def test_filter(words: str, ids: list[int]) -> None:
    state = hub(
        {"id": 1, "name": "door-north"},
        {
            "id": 2,
            "name": "pump",
            "protocol": "udp",
            "peer": "10.0.0.9:5",
            "note": "the boiler",
            "conflict": True,
        },
        {"id": 3, "name": "door-south", "state": "absent", "tags": ["Yard"]},
    )
    state.apply({"activity": [[2, 1, 5, 0, 0, 100.0]]})
    state.set_filter(words)
    assert [row.id for row in state.listed()] == ids


def test_order_follows_what_it_sorts_by() -> None:
    state = hub({"id": 1, "name": "b"}, {"id": 2, "name": "C"}, {"id": 3, "name": "a"})
    state.apply({"activity": [[2, 1, 50, 0, 0, 100.0], [3, 2, 10, 0, 0, 90.0]]})
    for key, ids in (("id", [1, 2, 3]), ("name", [3, 1, 2]), ("in", [2, 3, 1]), ("last", [2, 3, 1])):
        state.set_order(Order(key))
        assert [row.id for row in state.listed()] == ids, key
    state.apply({"activity": [[1, 1, 500, 0, 0, 200.0]]})
    assert [row.id for row in state.listed()] == [1, 2, 3]
    for key in SORT_KEYS:
        state.set_order(Order(key, reverse=True))
        assert len(state.listed()) == 3


# -------------------------------------------------------------------- what the hub tells


def test_unread_is_counted_until_the_conversation_is_open() -> None:
    state = hub({"id": 1}, {"id": 2})
    state.apply({"activity": [[1, 2, 9, 0, 0, 5.0], [2, 1, 1, 0, 0, 6.0]]})
    assert [state.rows[each].unread for each in (1, 2)] == [2, 1]
    state.selected = 1
    assert state.next_unread() == 2
    state.open_conversation(1)
    state.apply({"activity": [[1, 5, 9, 0, 0, 7.0]]})
    assert [state.rows[each].unread for each in (1, 2)] == [0, 1]
    state.close_conversation()
    state.apply({"activity": [[1, 1, 9, 0, 0, 8.0]]})
    assert state.rows[1].unread == 1


def test_what_is_said_before_a_client_is_known_counts() -> None:
    """One telling may count what a newcomer said before it gives the newcomer's view."""
    state = hub()
    state.apply({"activity": [[7, 3, 30, 0, 0, 5.0]], "previews": [[7, 5.0, "hi"]]})
    assert state.listed() == []
    state.apply({"clients": [{"id": 7, "name": "tcp-7", "bytes_in": 30}]})
    row = state.rows[7]
    assert (row.unread, row.last, row.said, row.count("bytes_in")) == (3, 5.0, "hi", 30)


def test_everyone_anew_keeps_what_is_unread() -> None:
    state = hub({"id": 1}, {"id": 2})
    state.apply({"activity": [[1, 2, 9, 0, 0, 5.0]]})
    state.apply({"reset": True})
    assert state.listed() == []
    state.apply({"clients": [{"id": 1, "name": "tcp-1"}]})
    assert [(row.id, row.unread) for row in state.listed()] == [(1, 2)]


def test_a_client_that_comes_back_is_the_same() -> None:
    """It has another id then; what was unread stays unread, and its open conversation goes on."""
    state = hub({"id": 1, "name": "gate", "identity": "gate"}, {"id": 2})
    state.apply({"activity": [[1, 2, 9, 0, 0, 5.0]], "previews": [[1, 5.0, "hi"]]})
    away = {"id": None, "name": "gate", "state": "absent", "identity": "gate", "protocol": "tcp", "peer": "x"}
    state.apply({"gone": [1]})
    state.apply({"absent": [away]})
    (absent,) = [row for row in state.listed() if row.state == "absent"]
    assert (absent.unread, absent.said, state.connected, absent.id < 0) == (2, "hi", 1, True)
    action = interpret("gate", state, known=KNOWN)
    assert isinstance(action, Done)
    assert "is absent" in action.text
    state.apply({"clients": [{"id": 7, "name": "tcp-7"}]})
    state.apply({"returned": ["gate"], "clients": [{"id": 7, "name": "gate", "identity": "gate"}]})
    assert [(row.id, row.unread) for row in state.listed()] == [(2, 0), (7, 2)]
    interpret("gate", state, known=KNOWN)
    state.apply({"said": [{"id": 7, "at": 10.0, "heard": "b25l"}]})
    state.apply({"gone": [7]})
    assert interpret("hello", state, known=KNOWN) == Done(
        "not sent: the client left; Esc goes back to the list", "error"
    )
    state.apply({"absent": [away]})
    state.apply({"clients": [{"id": 9, "name": "gate", "identity": "gate"}], "returned": ["gate"]})
    state.apply({"open": 9, "ending": "lf", "earlier": [{"at": 12.0, "heard": "dHdv"}]})
    assert interpret("hello", state, known=KNOWN) == Send(9, b"hello", "default")
    assert [said.data for said in state.conversations[9].messages] == [b"one", b"two"]


def test_the_selection_stays_where_it_is_when_its_client_goes() -> None:
    state = hub(*({"id": each} for each in range(1, 6)))
    state.selected = 3
    state.apply({"gone": [3]})
    assert state.selected == 4
    state.apply({"gone": [4, 5]})
    assert state.selected == 2
    state.apply({"gone": [1, 2]})
    assert state.selected is None


def test_the_state_is_bounded() -> None:
    state = hub(*({"id": each} for each in range(1, 60)))
    for each in range(1, 60):
        state.open_conversation(each)
    assert list(state.conversations) == list(range(60 - CONVERSATIONS, 60))
    conversation = Conversation()
    for number in range(MESSAGES + 10):
        conversation.add(Said(float(number), b"x"))
    assert len(conversation.messages) == MESSAGES
    for _ in range(10):
        conversation.add(Said(0.0, b"y" * (BYTES // 4)))
    assert sum(len(said.data) for said in conversation.messages) <= BYTES
    for number in range(10_000):
        state.add(f"line {number}")
    assert len(state.log) == 2000


def test_pieces_of_a_stream_are_one_line() -> None:
    conversation = Conversation(in_pieces=True)
    for at, piece in ((1.0, b"temp"), (1.05, b"erature\n"), (1.1, b"next"), (9.0, b"later")):
        conversation.add(Said(at, piece))
    assert [said.data for said in conversation.messages] == [b"temperature\n", b"next", b"later"]


def test_what_was_said_earlier_stands_first_and_once() -> None:
    conversation = Conversation()
    conversation.add(Said(10.0, b"new"))
    conversation.begin([Said(1.0, b"old"), Said(10.0, b"new")])
    shown = [text_of(line)[9:] for line in conversation.lines(view="text", width=80, count=10)]
    assert shown == ["< old", "< new"]


def test_mixed() -> None:
    assert mixed(b"ok\r\n") == "ok<0d 0a>"
    assert mixed(b"\x02a<b>\\\xff") == "<02>a<3c>b>\\<ff>"
    assert mixed("温度\u202e".encode()) == "温度<e2 80 ae>"


# -------------------------------------------------------------------- Tab


def of_command_line(before: Sequence[str], begun: str) -> list[Offer]:
    within = {"send": ["--hex", "--eol"], "snippet": ["add", "show"]}
    words = within.get(before[0], []) if before else ["send", "serve", "snippet", "rename"]
    if begun[:1] != "-":
        words = [word for word in words if word[0] != "-"]
    return [Offer(word, "") for word in words if word.startswith(begun)]


@pytest.mark.parametrize(
    ("text", "begun", "words"),
    [
        ("", 0, []),
        ("do", 2, ["door"]),
        ("/s", 1, ["send", "show", "snippet", "sort"]),
        ("/snippet a", 1, ["add"]),
        ("/send --", 2, ["--hex", "--eol"]),
        ("/send d", 1, ["door"]),
        ("/send tag:", 4, ["tag:yard"]),
        ("/sort la", 2, ["last"]),
        ("/filter st", 2, ["state:"]),
        ("//s", 0, []),
    ],
)
def test_completion(text: str, begun: int, words: list[str]) -> None:
    state = hub({"id": 1, "name": "door", "tags": ["yard"]}, {"id": 2, "name": "lamp"})
    found = offers(text, state, of_command_line)
    if words:
        assert (found[0], [offer.word for offer in found[1]]) == (begun, words)
    else:
        assert found[1] == []


def test_completion_puts_the_open_client_first_and_ends_somewhere() -> None:
    state = hub(*({"id": each} for each in range(1, 5000)))
    state.open_conversation(4321)
    _, found = offers("/kick ", state, of_command_line)
    assert found[0].word == "tcp-4321"
    assert len(found) == MOST
    assert offers("tcp", state, of_command_line) == (0, []), "what is typed to a client is no name"


# -------------------------------------------------------------------- history and pace


def test_history_is_private_bounded_and_shared(tmp_path: Path) -> None:
    path = history_path({"XDG_STATE_HOME": str(tmp_path / "state")})
    one, two = LineHistory(path), LineHistory(path)
    for history, line in (
        (one, "first"),
        (two, "second"),
        (one, " secret"),
        (one, "x" * 5000),
        (two, "first"),
    ):
        history.store_string(line)
    assert list(LineHistory(path).load_history_strings()) == ["first", "second"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text("".join(f"line {number}\n" for number in range(2 * KEPT + 1)))
    assert len(list(LineHistory(path).load_history_strings())) == KEPT
    assert len(path.read_text().splitlines()) == KEPT
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_history_that_cannot_be_kept_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "jackfield").write_text("a file where the directory would be")
    history = LineHistory(history_path({"XDG_STATE_HOME": str(tmp_path)}))
    history.store_string("line")
    assert list(history.load_history_strings()) == []


def test_the_pace_of_drawing() -> None:
    pace = Pace()
    assert pace.wait(100.0, urgent=False) == 0.0, "the first change is drawn at once"
    pace.drawn(100.0, 0.001)
    assert pace.wait(100.0, urgent=True) == pytest.approx(SOON)
    assert pace.wait(100.4, urgent=False) == pytest.approx(CALM - 0.4)
    assert pace.wait(105.0, urgent=False) == 0.0
    pace.drawn(200.0, 0.1)
    assert pace.wait(200.0, urgent=False) == pytest.approx(2.0), "a slow terminal is drawn on seldom"
    assert pace.wait(200.0, urgent=True) == pytest.approx(SLOWEST_SOON)
    pace.drawn(300.0, 10.0)
    assert pace.wait(300.0, urgent=False) == pytest.approx(SLOWEST)
    for drawing in range(100):
        pace.drawn(400.0 + drawing, 0.001)
        if drawing == 3:
            assert pace.wait(403.0, urgent=False) == pytest.approx(SLOWEST), "a full buffer is remembered"
    assert pace.wait(499.0, urgent=False) == pytest.approx(CALM), "and forgotten"
