"""`jackfield check`: what is the matter with a connection.

Owns what people and scripts see of it: steps as they come, then the verdict; or one JSON object for each
target. The looking and the judging are `diagnosis`'s.
"""

from __future__ import annotations

import json

import jackfield

from ..diagnosis import CAUSES, Check, Manner, Report, Step, Target, targets
from ..hub.text import TextError, parse_duration, parse_hex, unescape
from .check_view import heading, step_lines, verdict_lines
from .failures import INTERRUPTED, OK, USAGE, Failure
from .loop import Interrupted, run
from .operate import terminal_width


def causes(*, as_json: bool) -> None:
    """Print every cause with its exit code."""
    if as_json:
        print(json.dumps({cause.name: cause.exit_code for cause in CAUSES}))
        return
    for cause in CAUSES:
        print(f"{cause.exit_code:>3}  {cause.name:<20} {cause.meaning}")


def check(
    words: list[str],
    *,
    timeout: str,
    wait: str | None,
    first_byte: bool,
    send: str | None,
    as_hex: bool,
    escapes: bool,
    as_json: bool,
) -> int:
    """Check the targets one after the other; the exit code is that of the first that is not in order."""
    manner = Manner(
        parse_duration(timeout),
        None if wait is None else parse_duration(wait),
        first_byte,
        _payload(send, as_hex=as_hex, escapes=escapes),
    )
    if not words:
        raise Failure("there is no ADDRESS to check", "see jackfield check --help", code=USAGE)
    try:
        chosen = targets(words)
    except jackfield.NotSupported as error:
        raise Failure(error.message, error.hint or "", code=USAGE) from None
    first = OK
    for number, target in enumerate(chosen):
        if number and not as_json:
            print()
        report = _one(target, manner, as_json=as_json)
        first = first or report.verdict.exit_code
        if report.verdict.cause == "interrupted":
            return INTERRUPTED
    return first


def _one(target: Target, manner: Manner, *, as_json: bool) -> Report:
    width = terminal_width()

    def show(lines: list[str]) -> None:
        if not as_json:
            print("\n".join(lines), flush=True)

    def show_step(step: Step) -> None:
        show(step_lines(step, width=width))

    work = Check(target, manner, show_step)
    show(heading(target, width=width))
    try:
        report = run(work.run)
    except Interrupted:
        report = work.report()
    show(verdict_lines(report.verdict, width=width))
    if as_json:
        print(json.dumps(report.to_json()), flush=True)
    return report


def _payload(send: str | None, *, as_hex: bool, escapes: bool) -> bytes | None:
    if send is None:
        if as_hex or escapes:
            raise TextError("--hex and --escapes say how --send is written; there is none")
        return None
    if as_hex:
        return parse_hex(send)
    return unescape(send) if escapes else send.encode("utf-8", "surrogateescape")
