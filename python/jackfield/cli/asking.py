"""What `send` does when it waits for answers, goes in waves or repeats itself.

Owns the conversation with the hub, which does the asking, and what is printed of it. Ctrl-C ends it with
what was done so far.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..hub.display import safe_text
from ..hub.encodings import UTF8, Encoding
from ..hub.expecting import hex_pattern, text_pattern
from ..hub.operator import Operator
from ..hub.outcomes import GONE, NO_MATCH, QUEUE_FULL, REFUSED, SILENT, WELL
from ..hub.patterns import Pattern
from ..hub.protocol import NO_SUCH_CLIENT, RequestError, decode_data, encode_data
from ..hub.text import parse_duration
from ..hub.waves import halt_count
from . import failures
from .bulk_view import Bulk, answer_of, bulk_json, failure_sentence, progress_line, short_time, table_lines
from .failures import Failure, say
from .loop import Interrupted
from .operate import print_json, terminal_width, with_hub
from .repeating import Schedule, came_and_went, summary
from .views import nobody

PROGRESS_AFTER = 0.5  # seconds before the first line of progress, and
PROGRESS_EVERY = 0.1  # between two
SHORTEST = 0.001  # seconds between two repeated sends


@dataclass(frozen=True, slots=True)
class Question:
    """How a message is asked with: what is waited for, in which waves, how often. Times are seconds."""

    expect: str | None  # as the hub takes it
    binary: bool
    encoding: Encoding
    timeout: float
    wave: int | None
    halt_on: str | None
    pause: float | None
    every: float | None
    repeat: int | None
    jitter: float

    @classmethod
    def from_options(
        cls,
        *,
        expect: str | None,
        timeout: str | None,
        wave: int | None,
        halt_on: str | None,
        pause: str | None,
        every: str | None,
        repeat: int | None,
        jitter: str | None,
        as_hex: bool,
        encoding: Encoding = UTF8,
    ) -> Question | None:
        """What the options mean; None when nothing of this is asked for. Raises `TextError` and `Failure`."""
        _refuse(
            timeout is not None and expect is None,
            "--timeout is how long an answer is waited for",
            "--expect",
        )
        _refuse(halt_on is not None and wave is None, "--halt-on stops before the next wave", "--wave")
        _refuse(pause is not None and wave is None, "--pause is between waves", "--wave")
        _refuse(repeat is not None and every is None, "--repeat is how often", "--every")
        _refuse(jitter is not None and every is None, "--jitter puts repeated sends off", "--every")
        if every is not None and wave is not None:
            raise Failure(
                "--every and --wave do not go together", "leave one of them out", code=failures.USAGE
            )
        if expect is None and wave is None and every is None:
            return None
        pattern = None
        if expect is not None:
            if not as_hex:
                Pattern(expect)  # what is wrong with it is said of what was typed
            pattern = hex_pattern(expect) if as_hex else text_pattern(expect, encoding)
            Pattern(pattern)
        if halt_on is not None:
            halt_count(halt_on, 1)
        seconds = None if every is None else parse_duration(every)
        put_off = 0.0 if jitter is None else parse_duration(jitter)
        if seconds is not None and seconds < SHORTEST:
            raise Failure(f"--every {every} is too often", "take 1ms or more", code=failures.USAGE)
        if seconds is not None and put_off >= seconds:
            raise Failure(
                f"--jitter {jitter} is not shorter than --every {every}", "take less", code=failures.USAGE
            )
        patience = 2.0 if timeout is None else parse_duration(timeout)
        rest = None if pause is None else parse_duration(pause)
        return cls(pattern, as_hex, encoding, patience, wave, halt_on, rest, seconds, repeat, put_off)

    def show(self, data: bytes) -> str:
        """An answer as one safe line."""
        return data.hex(" ") if self.binary else self.encoding.show(data)

    def show_lines(self, data: bytes) -> str:
        """An answer as safe text that keeps its lines."""
        if self.binary:
            return data.hex(" ")
        return self.encoding.show(data.replace(b"\r\n", b"\n"), keep="\n\t")


def _refuse(is_so: bool, what: str, needed: str) -> None:
    if is_so:
        raise Failure(f"{what}, and {needed} is not given", f"add {needed}", code=failures.USAGE)


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent: `arguments` of the request that say so, and how long a full queue may be waited for."""

    arguments: dict[str, Any]
    wait: float | None = None

    @classmethod
    def of(cls, data: bytes, ending: str, wait: float | None = None) -> Message:
        return cls({"data": encode_data(data), "ending": ending}, wait)


def ask(target: str, message: Message, question: Question, *, as_json: bool, control: str | None) -> None:
    """Send, wait for answers, print them, and raise `Failure` unless everyone answered."""
    if question.every is not None:
        _repeat(target, message, question, as_json=as_json, control=control)
        return
    bulk = Bulk()

    async def work(operator: Operator) -> None:
        try:
            await _ask(operator, target, message, question, bulk)
        except asyncio.CancelledError:
            bulk.interrupted = True

    with_hub(control, work)
    if as_json:
        print_json(bulk_json(bulk, question.encoding.decode))
    elif len(bulk.names) == 1 and question.expect is not None and not bulk.interrupted:
        _print_one(bulk, question)
    elif bulk.names:
        print("\n".join(table_lines(bulk, question.show, timeout=question.timeout, width=terminal_width())))
    else:
        print(nobody())
    if bulk.interrupted:
        raise Interrupted
    _fail_unless_well(bulk, question)


async def _ask(
    operator: Operator, target: str, message: Message, question: Question, bulk: Bulk, *, again: bool = False
) -> None:
    progress = Progress(bulk, quiet=question.every is not None)
    showing = asyncio.create_task(progress.run())
    try:
        async for part in operator.stream(
            "ask",
            target=target,
            **message.arguments,
            wait=message.wait,
            expect=question.expect,
            binary=question.binary or None,
            timeout=question.timeout,
            wave=question.wave,
            halt_on=question.halt_on,
            pause=question.pause,
            again=again or None,
        ):
            bulk.take(part)
    finally:
        showing.cancel()
        progress.clear()


def _print_one(bulk: Bulk, question: Question) -> None:
    """The answer of the only client, alone."""
    for result in bulk.results.values():
        if "answer" in result:
            print(answer_of(result, question.show_lines))


def _fail_unless_well(bulk: Bulk, question: Question) -> None:
    failed = bulk.failed
    if not failed:
        return
    problem, hint = failure_sentence(bulk), ""
    if len(bulk.names) == 1:
        problem, hint = _one_failure(failed[0], question)
    raise Failure(problem, hint, code=_code(bulk, {result["outcome"] for result in failed}))


def _one_failure(result: dict[str, Any], question: Question) -> tuple[str, str]:
    name, detail = result["name"], result.get("detail", "")
    outcome = result["outcome"]
    if outcome == SILENT:
        return f"{name} did not answer within {short_time(question.timeout)}", "give it longer with --timeout"
    if outcome == NO_MATCH:
        said = question.show(decode_data(result.get("said", "")).rstrip(b"\r\n"))[:200]
        why = f" ({detail})" if detail else ""
        return f"{name} said something else within {short_time(question.timeout)}{why}: {said}", ""
    if outcome == QUEUE_FULL:
        return f"{name} did not get it: {detail}", "see QUEUED in 'jackfield clients', or kick it"
    if outcome == REFUSED:
        return detail, ""
    return f"{name} left before it answered: {detail}", ""


def _code(bulk: Bulk, outcomes: set[str]) -> int:
    """The exit code that tells most."""
    if bulk.halted:
        return failures.HALTED
    if outcomes & {SILENT, NO_MATCH}:
        return failures.NO_ANSWER
    if outcomes & {GONE, REFUSED}:
        return failures.LEFT
    return failures.DROPPED


class Progress:
    """A line about long work on standard error, where that is a terminal; nothing anywhere else."""

    def __init__(self, bulk: Bulk, *, quiet: bool = False) -> None:
        self._bulk = bulk
        self._wanted = not quiet and sys.stderr.isatty()
        self._shown = False

    async def run(self) -> None:
        """Keep the line current until it is cancelled."""
        await asyncio.sleep(PROGRESS_AFTER)
        while self._wanted:
            self._write(f"\r{progress_line(self._bulk)}\x1b[K")
            self._shown = True
            await asyncio.sleep(PROGRESS_EVERY)

    def clear(self) -> None:
        if self._shown:
            self._write("\r\x1b[K")
            self._shown = False

    def _write(self, text: str) -> None:
        try:
            os.write(sys.stderr.fileno(), text.encode())
        except OSError:
            self._wanted = False


# -------------------------------------------------------------------- again and again


def _repeat(target: str, message: Message, question: Question, *, as_json: bool, control: str | None) -> None:
    assert question.every is not None
    rounds = Rounds(question, as_json=as_json)

    async def work(operator: Operator) -> bool:
        loop = asyncio.get_running_loop()
        schedule = rounds.schedule = Schedule(
            loop.time(),
            question.every or 1.0,
            count=question.repeat,
            jitter=question.jitter,
            chance=random.random,
        )
        try:
            while (due := schedule.next(loop.time())) is not None:
                await asyncio.sleep(due - loop.time())
                bulk = Bulk()
                try:
                    await _ask(operator, target, message, question, bulk, again=rounds.done > 0)
                except RequestError as problem:
                    if problem.code != NO_SUCH_CLIENT or not rounds.done:
                        raise
                rounds.take(bulk)
        except asyncio.CancelledError:
            return True
        return False

    try:
        interrupted = with_hub(control, work)
    finally:
        rounds.summarise()
    if interrupted and question.repeat is not None:
        raise Interrupted
    if rounds.outcomes:
        code = _code(Bulk(), rounds.outcomes)
        raise Failure(f"{rounds.failed} of {rounds.well + rounds.failed} sends failed", code=code)


class Rounds:
    """What is printed of a repeated send, and counted."""

    def __init__(self, question: Question, *, as_json: bool) -> None:
        self._question = question
        self._as_json = as_json
        self._began = time.monotonic()
        self._there: dict[int, str] = {}
        self.schedule: Schedule | None = None
        self.done = 0
        self.well = 0
        self.failed = 0
        self.outcomes: set[str] = set()

    def take(self, bulk: Bulk) -> None:
        """One more round is over."""
        now = datetime.now().astimezone()
        changes = came_and_went(self._there, bulk.names) if self.done else []
        self._there = dict(bulk.names)
        self.done += 1
        self.failed += len(bulk.failed)
        self.well += len(bulk.results) - len(bulk.failed)
        self.outcomes |= {result["outcome"] for result in bulk.failed}
        if self._as_json:
            whole = bulk_json(bulk, self._question.encoding.decode)
            print(
                json.dumps({"round": self.done, "time": now.isoformat(timespec="milliseconds"), **whole}),
                flush=True,
            )
            return
        for change in changes:
            say(failures.one_line(f"{now:%H:%M:%S} {change}"))
        for result in bulk.results.values():
            self._print(now, result, alone=len(bulk.names) == 1)

    def _print(self, now: datetime, result: dict[str, Any], *, alone: bool) -> None:
        if "answer" in result:
            answer = answer_of(result, self._question.show)
            print(answer if alone else f"{now:%H:%M:%S}  {safe_text(result['name'])}  {answer}", flush=True)
        elif result["outcome"] not in WELL:
            say(failures.one_line(f"{now:%H:%M:%S} {_one_failure(result, self._question)[0]}"))

    def summarise(self) -> None:
        """The last line: what was done in all."""
        if not self.done:
            return
        seconds = time.monotonic() - self._began
        missed = 0 if self.schedule is None else self.schedule.missed
        facts = {"well": self.well, "failed": self.failed, "missed": missed}
        if self._as_json:
            print(json.dumps({"summary": {"rounds": self.done, "seconds": round(seconds, 3), **facts}}))
        else:
            say(summary(self.done, seconds, **facts, answers=self._question.expect is not None))
