"""The commands that operate a running hub: clients, send, broadcast, rename, kick, logs, status, stop.

Each asks over the control socket and prints what came. Owns no decision: targets are resolved by
the hub, so that what is meant and what is done cannot differ.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import stat
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from ..hub.control import choose_path
from ..hub.journal import line_of
from ..hub.operator import Operator, operate
from ..hub.protocol import NO_SUCH_CLIENT, RequestError, encode_data
from ..hub.roster import version as installed_version
from ..hub.text import line_ending as check_ending
from ..hub.text import parse_duration, parse_hex, typed_bytes, unescape
from . import failures
from .failures import Failure
from .loop import run
from .streams import Input
from .views import clients_table, counted, nobody, status_lines

T = TypeVar("T")
PIECE = 64 * 1024  # bytes of standard input that go out at a time
LONGEST = 16 * 1024 * 1024  # bytes of one message, and of a file that goes out at a time


def control_path(control: str | None) -> Path:
    """The control path that the options and the environment choose."""
    return choose_path(control, os.environ, os.getuid())


def with_hub(control: str | None, work: Callable[[Operator], Awaitable[T]]) -> T:
    """Run `work` with a connection to the hub."""
    path = control_path(control)

    async def main() -> T:
        async with operate(path) as operator:
            return await work(operator)

    return run(main)


def terminal_width() -> int | None:
    """Columns of the terminal that standard output is; None when it is none, and nothing is cut."""
    if not sys.stdout.isatty():
        return None
    try:
        columns = os.get_terminal_size(sys.stdout.fileno()).columns
    except OSError:
        columns = 0
    return columns or 80


def print_json(value: object) -> None:
    print(json.dumps(value, indent=2 if sys.stdout.isatty() else None))


async def fetch_clients(operator: Operator, target: str = "all") -> list[dict[str, Any]]:
    """What the hub says of the clients that `target` means."""
    found: list[dict[str, Any]] = []
    async for part in operator.stream("clients", target=target):
        found += part.get("clients", ())
    return found


def clients(target: str, *, as_json: bool, watch: bool, control: str | None) -> None:
    async def work(operator: Operator) -> None:
        if watch:
            await _watch(operator, target, as_json=as_json)
            return
        found = await fetch_clients(operator, target)
        if as_json:
            print_json(found)
        elif found:
            print("\n".join(clients_table(found, now=time.time(), width=terminal_width())))
        else:
            print(nobody())

    with_hub(control, work)


async def _watch(operator: Operator, target: str, *, as_json: bool) -> None:
    from .live import Screenful

    screen = Screenful() if sys.stdout.isatty() and not as_json else None
    shown: object = None
    try:
        while True:
            try:
                found = await fetch_clients(operator, target)
            except RequestError as problem:
                if problem.code != NO_SUCH_CLIENT:
                    raise
                found = []
            if screen is not None:
                screen.show(found, heading=f"{counted(len(found))}; Ctrl-C ends the view")
            elif as_json:
                print(json.dumps(found), flush=True)
            else:
                lines = clients_table(found, now=time.time(), width=None) if found else [nobody()]
                if lines != shown:
                    print("\n".join([*lines, ""]), flush=True)
                shown = lines
            await asyncio.sleep(1.0)
    finally:
        if screen is not None:
            screen.close()


def send(
    target: str,
    words: list[str],
    *,
    as_hex: bool,
    file: str | None,
    escapes: bool,
    eol: str | None,
    snippet: str | None,
    wait: str,
    as_json: bool,
    control: str | None,
) -> None:
    patience = parse_duration(wait)
    if eol is not None:
        check_ending(eol)
        eol = eol.lower()
    _check_combination(words, as_hex=as_hex, file=file, escapes=escapes, snippet=snippet)
    with contextlib.ExitStack() as stack:
        if file is not None:
            opened = stack.enter_context(open(file, "rb", buffering=0))
            report = with_hub(
                control,
                lambda operator: _send_from(operator, target, opened.fileno(), eol or "none", patience),
            )
        elif snippet is not None:
            report = with_hub(
                control,
                lambda operator: operator.request("send", target=target, snippet=snippet, ending=eol),
            )
        elif words == ["-"] and not as_hex:
            report = with_hub(
                control,
                lambda operator: _send_from(operator, target, sys.stdin.fileno(), eol or "none", patience),
            )
        else:
            data, ending = payload(words, as_hex=as_hex, escapes=escapes)
            report = with_hub(
                control,
                lambda operator: operator.request(
                    "send",
                    target=target,
                    data=encode_data(data),
                    ending=eol or ending,
                    wait=patience if words == ["-"] else None,
                ),
            )
    if as_json:
        print_json(report)
    elif sys.stdout.isatty():
        print(f"sent to {counted(report['sent'])}" if len(report) > 2 or any(report.values()) else nobody())
    _fail_unless_complete(report)


async def _send_from(operator: Operator, target: str, fd: int, ending: str, wait: float) -> dict[str, Any]:
    """Send what a descriptor has: a short file at once, anything else piece by piece as it comes."""
    status = os.fstat(fd)
    is_file = stat.S_ISREG(status.st_mode)
    source = Input(fd, chunk=LONGEST if is_file else PIECE)
    piece = await source.read()
    if is_file and len(piece) == status.st_size:
        return await operator.request(
            "send", target=target, data=encode_data(piece), ending=ending, wait=wait
        )
    request_id, replies = await operator.start(
        "send", target=target, data=encode_data(piece), ending=ending, wait=wait, more=True
    )
    report: dict[str, Any] = (await operator.reply(replies))["ok"]
    whole: bytearray | None = bytearray(piece)  # for clients that take messages, as long as it is one
    while piece and report["sent"]:
        piece = await source.read()
        if whole is not None and len(whole) + len(piece) <= LONGEST:
            whole += piece
        else:
            whole = None
        if piece:
            report = await operator.request("send_on", of=request_id, data=encode_data(piece), more=True)
    at_end = None if whole is None or piece else encode_data(bytes(whole))
    return await operator.request("send_on", of=request_id, data="", whole=at_end)


def _fail_unless_complete(report: dict[str, Any]) -> None:
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


def _check_combination(
    words: list[str], *, as_hex: bool, file: str | None, escapes: bool, snippet: str | None
) -> None:
    if snippet is not None:
        if words or file is not None or as_hex or escapes:
            raise Failure(
                "--snippet is what is sent", "leave DATA, --file, --hex and -e out", code=failures.USAGE
            )
        return
    if file is not None and words:
        raise Failure("both DATA and --file are given", "leave one of them out", code=failures.USAGE)
    if file is None and not words:
        raise Failure(
            "nothing to send", "give DATA, --file PATH, or - for standard input", code=failures.USAGE
        )
    if as_hex and escapes:
        raise Failure("both --hex and --escapes are given", "leave one of them out", code=failures.USAGE)


def payload(words: list[str], *, as_hex: bool, escapes: bool) -> tuple[bytes, str]:
    """The bytes to send, and the name of what ends them ("default": the listener's line ending)."""
    text = " ".join(words)
    if as_hex and words == ["-"]:
        text = sys.stdin.buffer.read(LONGEST + 1).decode("utf-8", "replace")
        if len(text) > LONGEST:
            raise Failure(f"more than {LONGEST} characters of hex", "send them in several parts")
    if as_hex:
        return parse_hex(text), "none"
    if escapes:
        return unescape(text), "none"
    return typed_bytes(text, ending=b""), "default"


def rename(client: str, name: str, *, as_json: bool, control: str | None) -> None:
    done = with_hub(control, lambda operator: operator.request("rename", target=client, name=name))
    if as_json:
        print_json(done)
    elif sys.stdout.isatty():
        print(f"{done['before']} is now {done['name']}")


def kick(target: str, *, reset: bool, as_json: bool, control: str | None) -> None:
    done = with_hub(control, lambda operator: operator.request("kick", target=target, reset=reset))
    if as_json:
        print_json(done)
    elif sys.stdout.isatty():
        print(f"disconnected {counted(len(done['kicked']))}")


def logs(*, follow: bool, last: int, as_json: bool, control: str | None) -> None:
    async def work(operator: Operator) -> None:
        async for part in operator.stream("logs", last=last, follow=follow):
            if "log" in part:
                print(json.dumps(part["log"]) if as_json else line_of(part["log"]), flush=follow)

    with_hub(control, work)


def status(*, as_json: bool, control: str | None) -> None:
    found = with_hub(control, lambda operator: operator.request("status"))
    if as_json:
        print_json(found)
    else:
        print("\n".join(status_lines(found, now=time.time())))


def stop(*, control: str | None) -> None:
    with_hub(control, lambda operator: operator.request("stop"))


def version(*, as_json: bool) -> None:
    found = installed_version()
    if as_json:
        print_json({"version": found, "python": sys.version.split()[0]})
    else:
        print(f"jackfield {found}")
