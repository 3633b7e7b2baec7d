"""What operators see of a question to clients: one answer, or one table of who answered what.

Owns the grouping: clients that gave the same answer stand in one row, the most of them first; other answers
and everyone who did not answer stand out below, with names. Pure: what the hub told in, lines out; nothing
that a client said reaches a terminal raw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

from ..hub.display import Column, safe_text, table
from ..hub.outcomes import ANSWERED, GONE, NO_MATCH, QUEUE_FULL, REFUSED, SENT, SILENT, WELL
from ..hub.protocol import decode_data
from .views import counted

ASKED: Final = "asked"  # and interrupted before it answered
NOT_SENT: Final = "not_sent"
ABSENT: Final = "absent"
NAMED: Final = 3  # clients named of those that gave the usual answer
NAMED_OUTLIERS: Final = 20  # and of the others
_NO_CUT: Final = 1_000_000
_IN_WORDS: Final = {
    ANSWERED: "answered",
    SENT: "sent",
    NO_MATCH: "something else",
    SILENT: "no answer",
    ASKED: "no answer yet",
    QUEUE_FULL: "queue full",
    REFUSED: "refused",
    GONE: "left",
    NOT_SENT: "not sent to",
}
_WORST_LAST: Final = tuple(_IN_WORDS)

Show = Callable[[bytes], str]
"""Bytes of a client as safe text of one line."""


@dataclass(slots=True)
class Bulk:
    """What became of one question: everything that the hub told of it so far."""

    names: dict[int, str] = field(default_factory=dict)  # of everyone it is meant for, in order
    results: dict[int, dict[str, Any]] = field(default_factory=dict)
    begun: set[int] = field(default_factory=set)
    absent: list[str] = field(default_factory=list)
    """Who is meant as well, known, and not there: neither sent to nor counted."""
    wave: int = 0
    waves: int = 1
    halted: bool = False
    interrupted: bool = False

    def take(self, part: dict[str, Any]) -> None:
        """The hub told something."""
        for client_id, name in part.get("asking", ()):
            self.names[client_id] = name or str(client_id)
        for result in part.get("results", ()):
            self.results[result["id"]] = result
        self.absent += part.get("absent", ())
        if "to" in part:
            self.begun.update(part["to"])
            self.wave, self.waves = part["wave"], part["of"]
        self.halted = bool(part.get("halted", self.halted))

    @property
    def failed(self) -> list[dict[str, Any]]:
        """Who was sent to, or should have been, and does not have it or did not answer as expected."""
        return [result for result in self.results.values() if result["outcome"] not in WELL]

    @property
    def not_sent(self) -> list[int]:
        """Who was not sent to: the question was halted or interrupted before."""
        return [id_ for id_ in self.names if id_ not in self.begun and id_ not in self.results]

    def everyone(self) -> Iterable[dict[str, Any]]:
        """A result for each client, also for those without one."""
        for client_id, name in self.names.items():
            outcome = ASKED if client_id in self.begun else NOT_SENT
            yield self.results.get(client_id, {"id": client_id, "name": name, "outcome": outcome})


def answer_of(result: dict[str, Any], show: Show, *, between: str = "\t") -> str:
    """What an answer prints: the pattern's groups where it has some, else all of it without its line end."""
    if "groups" in result:
        return between.join(
            "" if group is None else show(decode_data(group).rstrip(b"\r\n")) for group in result["groups"]
        )
    return show(decode_data(result.get("answer", "")).rstrip(b"\r\n"))


def table_lines(bulk: Bulk, show: Show, *, timeout: float, width: int | None) -> list[str]:
    """A sentence, and a row for each answer and each way of not answering."""
    rows = _rows(bulk, show, timeout)
    columns = [
        Column("CLIENTS", right=True), Column("OUTCOME"), Column("ANSWER", least=10),
        Column("TIME", right=True), Column("WHO", least=10),
    ]  # fmt: skip
    body = [
        (str(row.count), _IN_WORDS[row.outcome], row.said, row.times, row.who(named))
        for row, named in _named(rows)
    ]
    if bulk.absent:
        body.append(
            (str(len(bulk.absent)), "absent", "", "", _Row(ABSENT, "", bulk.absent, []).who(NAMED_OUTLIERS))
        )
    return [*_sentences(bulk, rows), "", *table(columns, body, width or _NO_CUT)]


@dataclass(slots=True)
class _Row:
    outcome: str
    said: str
    names: list[str]
    seconds: list[float]

    @property
    def count(self) -> int:
        return len(self.names)

    @property
    def times(self) -> str:
        if not self.seconds:
            return ""
        fastest, slowest = short_time(min(self.seconds)), short_time(max(self.seconds))
        return fastest if fastest == slowest else f"{fastest}..{slowest}"

    def who(self, named: int) -> str:
        first = ", ".join(safe_text(name) for name in self.names[:named])
        return first if self.count <= named else f"{first} and {self.count - named} more"


def _rows(bulk: Bulk, show: Show, timeout: float) -> list[_Row]:
    rows: dict[tuple[str, str], _Row] = {}
    for result in bulk.everyone():
        said = _said(result, show, timeout)
        row = rows.setdefault((result["outcome"], said), _Row(result["outcome"], said, [], []))
        row.names.append(result["name"])
        if "seconds" in result:
            row.seconds.append(result["seconds"])
    return sorted(rows.values(), key=lambda row: (_WORST_LAST.index(row.outcome), -row.count))


def _named(rows: Sequence[_Row]) -> Iterable[tuple[_Row, int]]:
    for number, row in enumerate(rows):
        yield row, NAMED if number == 0 and row.outcome in WELL else NAMED_OUTLIERS


def _said(result: dict[str, Any], show: Show, timeout: float) -> str:
    outcome = result["outcome"]
    detail = safe_text(result.get("detail", ""))
    if outcome == ANSWERED:
        return answer_of(result, show, between=" ")
    if outcome == NO_MATCH:
        said = show(decode_data(result.get("said", "")).rstrip(b"\r\n"))[:200]
        return f"{said} ({detail})" if detail else said
    return f"within {short_time(timeout)}" if outcome == SILENT else detail


def _sentences(bulk: Bulk, rows: Sequence[_Row]) -> list[str]:
    total, failed = len(bulk.names), len(bulk.failed)
    seconds = [result["seconds"] for result in bulk.results.values() if "seconds" in result]
    answers = [row for row in rows if row.outcome == ANSWERED]
    is_asked = any(row.outcome == ASKED for row in rows)
    if any(row.outcome == SENT for row in rows) or not (answers or failed or is_asked):
        sent = sum(row.count for row in rows if row.outcome == SENT)
        lines = [f"{sent} of {counted(total)} sent to"]
    else:
        lines = [f"{len(seconds)} of {counted(total)} answered{_times(seconds)}"]
    if len(answers) > 1:
        others = len(answers) - 1
        lines[0] += f"; {answers[0].count} agree, {others} other answer{'s' if others > 1 else ''}"
    not_sent = len(bulk.not_sent)
    if bulk.halted:
        lines.append(
            f"halted after wave {bulk.wave} of {bulk.waves}, {failed} failed: {not_sent} not sent to"
        )
    elif bulk.interrupted:
        rest = f"{not_sent} not sent to" if not_sent else "all were sent to"
        lines.append(f"interrupted in wave {bulk.wave} of {bulk.waves}: {rest}")
    return lines


def _times(seconds: Sequence[float]) -> str:
    if not seconds:
        return ""
    three = (min(seconds), median(seconds), max(seconds))
    return f": fastest {short_time(three[0])}, median {short_time(three[1])}, slowest {short_time(three[2])}"


def failure_sentence(bulk: Bulk) -> str:
    """Who did not do what was wanted, in one sentence; empty when everyone did."""
    words = {
        NO_MATCH: "answered something else",
        SILENT: "did not answer in time",
        QUEUE_FULL: "did not get it: their queue is full",
        REFUSED: "cannot be sent it",
        GONE: "left",
    }
    counts = dict.fromkeys(words, 0)
    for result in bulk.failed:
        counts[result["outcome"]] += 1
    said = [f"{counted(count)} {words[outcome]}" for outcome, count in counts.items() if count]
    if bulk.halted:
        said.append(f"halted, and {counted(len(bulk.not_sent))} not sent to")
    return "; ".join(said)


def progress_line(bulk: Bulk) -> str:
    """How far a question is, in one short line."""
    wave = f", wave {bulk.wave} of {bulk.waves}" if bulk.waves > 1 else ""
    failed = f", {len(bulk.failed)} failed" if bulk.failed else ""
    return f"{len(bulk.results)} of {counted(len(bulk.names))} done{failed}{wave}"


def bulk_json(bulk: Bulk, text: Callable[[bytes], str]) -> dict[str, Any]:
    """Everything, for programs: each client with its outcome; bytes as text and as hex."""
    results = []
    for result in bulk.everyone():
        view: dict[str, Any] = {
            key: result[key] for key in ("id", "name", "outcome", "seconds", "detail") if key in result
        }
        for key in ("answer", "said"):
            if key in result:
                data = decode_data(result[key])
                view[key], view[f"{key}_hex"] = text(data), data.hex()
        if "groups" in result:
            view["groups"] = [None if each is None else text(decode_data(each)) for each in result["groups"]]
        results.append(view)
    seconds = [result["seconds"] for result in bulk.results.values() if "seconds" in result]
    whole: dict[str, Any] = {
        "clients": len(bulk.names),
        "well": len(bulk.results) - len(bulk.failed),
        "failed": len(bulk.failed),
        "not_sent": len(bulk.not_sent),
        "halted": bulk.halted,
        "interrupted": bulk.interrupted,
        "absent": bulk.absent,
    }
    if seconds:
        whole |= {"fastest": min(seconds), "median": median(seconds), "slowest": max(seconds)}
    return {**whole, "results": results}


def short_time(seconds: float) -> str:
    """A time in few characters: `0.4ms`, `21ms`, `1.5s`, `90s`."""
    if seconds < 0.00995:
        return f"{seconds * 1000:.1f}ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}ms"
    return f"{seconds:.1f}s" if seconds < 99.95 and seconds % 1 >= 0.05 else f"{seconds:.0f}s"
