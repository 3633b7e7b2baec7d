"""What `jackfield send` and `broadcast` do: bytes from the command line, a file or standard input to clients.

Owns where the bytes come from and what is said of those who did not get them. Which clients are meant, and
each one's pace, is the hub's affair.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from typing import Any

from ..hub.checksums import CATALOGUE
from ..hub.operator import Operator
from ..hub.protocol import encode_data
from ..hub.text import parse_duration
from . import failures
from .asking import Message, Question, ask
from .failures import Failure
from .notation import Notation
from .operate import print_json, with_hub
from .rehearsing import rehearse
from .streams import Input
from .views import checksums_table, counted, nobody

PIECE = 64 * 1024  # bytes of standard input that go out at a time
LONGEST = 16 * 1024 * 1024  # bytes of one message, and of a file that goes out at a time


def send(
    target: str,
    words: list[str],
    *,
    as_hex: bool,
    file: str | None,
    escapes: bool,
    eol: str | None,
    encoding: str | None,
    crc: str | None,
    snippet: str | None,
    dry_run: bool,
    wait: str,
    queue: bool,
    expires: str | None,
    as_json: bool,
    control: str | None,
    **asking: Any,
) -> None:
    """Send; `asking` are the options of `Question`, which decide whether answers are waited for."""
    if crc == "list":
        print("\n".join(checksums_table(CATALOGUE)))
        return
    patience = parse_duration(wait)
    notation = Notation.from_options(as_hex=as_hex, escapes=escapes, eol=eol, encoding=encoding, crc=crc)
    _check_source(words, file=file, snippet=snippet)
    _check_notation(
        words, file=file, snippet=snippet, as_hex=as_hex, escapes=escapes, encoding=encoding, crc=crc,
        answers=asking["expect"] is not None,
    )  # fmt: skip
    question = Question.from_options(**asking, as_hex=as_hex, encoding=notation.encoding)
    if queue or expires is not None:
        message = _message(words, notation, file=file, snippet=snippet, wait=patience)
        _queue(
            target, message, expires, asks=question is not None or dry_run, queues=queue, as_json=as_json,
            control=control,
        )  # fmt: skip
        return
    if question is not None or dry_run:
        message = _message(words, notation, file=file, snippet=snippet, wait=patience)
        if dry_run:
            rehearse(target, message, question, as_json=as_json, control=control)
        elif question is not None:
            ask(target, message, question, as_json=as_json, control=control)
        return

    with contextlib.ExitStack() as stack:
        # What is wrong with what is sent is said before any hub is looked for.
        if file is not None:
            fd = stack.enter_context(open(file, "rb", buffering=0)).fileno()
        elif words == ["-"] and not as_hex:
            fd = sys.stdin.fileno()
        else:
            fd = None
            message = _message(words, notation, file=None, snippet=snippet, wait=patience)

        async def work(operator: Operator) -> dict[str, Any]:
            if fd is not None:
                return await _send_from(operator, target, fd, notation, patience)
            return await operator.request("send", target=target, **message.arguments, wait=message.wait)

        report = with_hub(control, work)
    if as_json:
        print_json(report)
    elif sys.stdout.isatty():
        print(f"sent to {counted(report['sent'])}" if len(report) > 2 or any(report.values()) else nobody())
    fail_unless_complete(report)


def _queue(
    target: str,
    message: Message,
    expires: str | None,
    *,
    asks: bool,
    queues: bool,
    as_json: bool,
    control: str | None,
) -> None:
    """Have the message wait for those who are absent."""
    if not queues:
        raise Failure(
            "--expires is how long a message waits, and --queue is not given",
            "add --queue",
            code=failures.USAGE,
        )
    if asks:
        raise Failure(
            "--queue does not go with --expect, --wave, --every and --dry-run",
            "leave one of them out",
            code=failures.USAGE,
        )
    from .mail import queue

    seconds = None if expires is None else parse_duration(expires)
    queue(target, message.arguments, expires=seconds, as_json=as_json, control=control)


def _message(
    words: list[str], notation: Notation, *, file: str | None, snippet: str | None, wait: float
) -> Message:
    """What is sent, all of it at hand."""
    if snippet is not None:
        return Message({"snippet": snippet, "ending": notation.eol})
    if file is not None:
        with open(file, "rb") as opened:
            return Message.of(*notation.finished(_limited(opened.read(LONGEST + 1))), wait)
    if words == ["-"] and not notation.as_hex:
        return Message.of(*notation.finished(_limited(sys.stdin.buffer.read(LONGEST + 1))), wait)
    return Message.of(*payload(words, notation), wait if words == ["-"] else None)


def _limited(data: bytes) -> bytes:
    if len(data) > LONGEST:
        raise Failure(
            f"more than {LONGEST} bytes cannot go out as one message that is asked with or repeated",
            "send them without --expect, --wave and --every",
        )
    return data


def payload(words: list[str], notation: Notation) -> tuple[bytes, str]:
    """The bytes of DATA, and the name of what ends them ("default": the listener's line ending)."""
    text = " ".join(words)
    if notation.as_hex and words == ["-"]:
        text = sys.stdin.buffer.read(LONGEST + 1).decode("utf-8", "replace")
        if len(text) > LONGEST:
            raise Failure(f"more than {LONGEST} characters of hex", "send them in several parts")
    return notation.message(text)


async def _send_from(
    operator: Operator, target: str, fd: int, notation: Notation, wait: float
) -> dict[str, Any]:
    """Send what a descriptor has: a short file at once, anything else piece by piece as it comes."""
    status = os.fstat(fd)
    is_file = stat.S_ISREG(status.st_mode)
    source = Input(fd, chunk=LONGEST if is_file else PIECE)
    piece = await source.read()
    if is_file and len(piece) == status.st_size:
        data, ending = notation.finished(piece)
        return await operator.request("send", target=target, data=encode_data(data), ending=ending, wait=wait)
    trailer = notation.trailer
    state = 0 if trailer is None else trailer.checksum.update(trailer.checksum.start, piece)
    request_id, replies = await operator.start(
        "send", target=target, data=encode_data(piece), ending=notation.eol or "none", wait=wait, more=True
    )
    report: dict[str, Any] = (await operator.reply(replies))["ok"]
    whole: bytearray | None = bytearray(piece)  # for clients that take messages, as long as it is one
    while piece and report["sent"]:
        piece = await source.read()
        if trailer is not None:
            state = trailer.checksum.update(state, piece)
        if whole is not None and len(whole) + len(piece) <= LONGEST:
            whole += piece
        else:
            whole = None
        if piece:
            report = await operator.request("send_on", of=request_id, data=encode_data(piece), more=True)
    end = b"" if trailer is None or piece else trailer.encode(trailer.checksum.finish(state))
    at_end = None if whole is None or piece else encode_data(bytes(whole) + end)
    return await operator.request("send_on", of=request_id, data=encode_data(end), whole=at_end)


def fail_unless_complete(report: dict[str, Any]) -> None:
    """Raise `Failure` that says who does not have it, and how much of it they have."""
    left, skipped = report.get("left", 0), report.get("skipped", 0)
    full = report["dropped"] - left
    said = []
    if full:
        said.append(f"{counted(full)} did not get it: their queue is full")
    if left:
        said.append(f"{counted(left)} left before it was sent")
    if report.get("partly"):
        who = ", ".join(f"{client['name']} {client['bytes']} bytes" for client in report["partly_sent"])
        more = " ..." if report["partly"] > len(report["partly_sent"]) else ""
        said.append(f"a part of it went to {who}{more}")
    if skipped:
        more = " ..." if skipped > len(report["skipped_because"]) else ""
        said.append(f"{counted(skipped)} skipped: {', '.join(report['skipped_because'])}{more}")
    hint = "see QUEUED in 'jackfield clients', or kick who does not read" if full else ""
    if skipped and not full:
        hint = "name the clients that can take it, such as 'tcp-*'"
    if said:
        raise Failure("; ".join(said), hint, code=failures.DROPPED if report["dropped"] else failures.FAILED)


def _check_source(words: list[str], *, file: str | None, snippet: str | None) -> None:
    given = [
        name
        for name, there in (("DATA", words), ("--file", file is not None), ("--snippet", snippet is not None))
        if there
    ]
    if len(given) > 1 and snippet is not None:
        raise Failure("--snippet is what is sent", "leave DATA and --file out", code=failures.USAGE)
    if len(given) > 1:
        raise Failure(
            f"both {given[0]} and {given[1]} are given", "leave one of them out", code=failures.USAGE
        )
    if not given:
        raise Failure(
            "nothing to send",
            "give DATA, --file PATH, --snippet NAME, or - for standard input",
            code=failures.USAGE,
        )


def _check_notation(
    words: list[str],
    *,
    file: str | None,
    snippet: str | None,
    as_hex: bool,
    escapes: bool,
    encoding: str | None,
    crc: str | None,
    answers: bool,
) -> None:
    """`answers`: what clients answer is shown, in the encoding."""
    if snippet is not None and (as_hex or escapes or crc is not None):
        raise Failure(
            "--snippet is what is sent, as it was kept", "leave --hex, -e and --crc out", code=failures.USAGE
        )
    raw = next(
        (
            name
            for name, there in (
                ("--hex", as_hex),
                ("--file", file is not None),
                ("--snippet", snippet is not None),
                ("-", words == ["-"]),
            )
            if there
        ),
        None,
    )
    if encoding is not None and raw is not None and (as_hex or not answers):
        raise Failure(
            f"--encoding is for typed text, and {raw} gives bytes",
            "leave one of them out",
            code=failures.USAGE,
        )
