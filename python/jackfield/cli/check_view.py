"""How a check looks: its steps with their times, then the verdict. Pure.

With a width it is for a terminal: marks, colours, wrapped text. Without one it is plain, a line for each
fact, so that other programs can read it. Everything that a peer could have chosen is made safe.
"""

from __future__ import annotations

import textwrap

from ..diagnosis import Step, Target, Verdict
from ..diagnosis.judge import show_seconds
from ..hub.display import safe_text

_MARKS = {"ok": ("ok", "✓", "32"), "failed": ("failed", "✗", "31"), "note": ("note", "·", "2")}
_NAME, _TIME = 8, 8
_LEAST = 40


def heading(target: Target, *, width: int | None) -> list[str]:
    """What is checked."""
    return [_style(f"check {safe_text(target.text)}", "1", width)]


def step_lines(step: Step, *, width: int | None) -> list[str]:
    """One step: its mark, name, time, and what was seen."""
    word, mark, colour = _MARKS[step.state]
    shown = word if width is None else mark
    time = "" if step.seconds is None else show_seconds(step.seconds)
    start = f"  {shown:<{6 if width is None else 1}} {step.name:<{_NAME}} {time:>{_TIME}}  "
    lines = _wrapped(safe_text(step.text), len(start), width)
    lines[0] = start + lines[0]
    if width is not None:
        lines[0] = lines[0].replace(mark, _style(mark, colour, width), 1)
    return lines


def verdict_lines(verdict: Verdict, *, width: int | None) -> list[str]:
    """The verdict: cause, sentence, how sure and why, evidence, what to do."""
    good = verdict.ok
    cause = _style(verdict.cause, "1;32" if good else "1;31", width)
    start = f"{verdict.cause}: "
    lines = _wrapped(_sentence(verdict.sentence), 2 if width else 0, width, first=len(start))
    lines[0] = f"{cause}: {lines[0].lstrip()}"
    because = f" ({verdict.because})" if verdict.because else ""
    facts = [("sure", f"{verdict.confidence}{because}")]
    if not good:
        facts += [("seen", line) for line in verdict.evidence]
    if verdict.next_step:
        facts.append(("next", verdict.next_step))
    last = ""
    for word, text in facts:
        begin = f"  {word if word != last or width is None else '':<5} "
        wrapped = _wrapped(safe_text(text), len(begin), width)
        lines += [begin + wrapped[0], *wrapped[1:]]
        last = word
    return ["", *lines]


def _sentence(text: str) -> str:
    text = safe_text(text)
    return text + ("" if text.endswith((".", "!", "?")) else ".")


def _wrapped(text: str, indent: int, width: int | None, *, first: int | None = None) -> list[str]:
    """Lines that fit behind an indent; the first one comes without it. Nothing is wrapped without a width."""
    if width is None:
        return [text]
    room = max(_LEAST, width - indent)
    lead = " " * max(0, (first or indent) - indent)
    found = textwrap.wrap(lead + text, room, break_on_hyphens=False, drop_whitespace=True) or [""]
    return [found[0].removeprefix(lead), *(" " * indent + line for line in found[1:])]


def _style(text: str, style: str, width: int | None) -> str:
    return text if width is None else f"\x1b[{style}m{text}\x1b[0m"
