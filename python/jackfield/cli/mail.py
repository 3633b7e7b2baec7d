"""What `jackfield mail` and `jackfield send --queue` do: messages that wait for clients who are absent."""

from __future__ import annotations

import sys
import time
from typing import Any

from ..hub.display import Column, human_age, human_size, preview, safe_text, table
from ..hub.operator import Operator
from ..hub.protocol import decode_data
from . import failures
from .failures import Failure
from .operate import print_json, terminal_width, with_hub
from .views import age_of, counted

SHOWN = 60  # characters of a message in a table
NO_CUT = 1_000_000


def queue(
    target: str, arguments: dict[str, Any], *, expires: float | None, as_json: bool, control: str | None
) -> None:
    """Say something to those who are there, and have it wait for the others; raises `Failure`."""
    seconds = None if expires is None else max(1, round(expires))

    async def work(operator: Operator) -> dict[str, Any]:
        return await operator.request("mail_queue", target=target, **arguments, expires=seconds)

    report = with_hub(control, work)
    if as_json:
        print_json(report)
    elif sys.stdout.isatty():
        print(queued(report))
    said = []
    if report["dropped"]:
        why = report.get("refused_because", "their queue is full")
        said.append(f"{counted(report['dropped'])} did not get it: {why}")
    if report["refused"]:
        said.append(f"it does not wait for {counted(report['refused'])}: {report['refused_because']}")
    if said:
        raise Failure("; ".join(said), "see 'jackfield mail ls'", code=failures.DROPPED)


def queued(report: dict[str, Any]) -> str:
    """What became of it, in a sentence."""
    parts = []
    if report["sent"] or not report["waiting"]:
        parts.append(f"sent to {counted(report['sent'])}")
    if report["waiting"]:
        parts.append(f"waits for {counted(report['waiting'], 'absent client')}")
    return ", ".join(parts)


def list_mail(client: str | None, *, as_json: bool, control: str | None) -> None:
    """Print for whom messages wait, or those of one client."""

    async def work(operator: Operator) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        async for part in operator.stream("mail_list", target=client):
            found += part.get("queues", part.get("letters", ()))
        return found

    found = with_hub(control, work)
    if as_json:
        print_json(found)
    elif not found:
        print("No message waits." if client is None else f"No message waits for {safe_text(client)}.")
    else:
        make = queue_table if client is None else letter_table
        print("\n".join(make(found, now=time.time(), width=terminal_width())))


def queue_table(found: list[dict[str, Any]], *, now: float, width: int | None) -> list[str]:
    """One line for each client for whom messages wait."""
    columns = [
        Column("CLIENT", least=13), Column("MESSAGES", right=True), Column("STORED", right=True),
        Column("SINCE", right=True),
    ]  # fmt: skip
    rows = [
        (
            safe_text(each["name"]),
            str(each["letters"]),
            human_size(each["bytes"]),
            human_age(age_of(each["since"], now)),
        )
        for each in found
    ]
    return table(columns, rows, width or NO_CUT)


def letter_table(found: list[dict[str, Any]], *, now: float, width: int | None) -> list[str]:
    """One line for each message."""
    columns = [
        Column("NUMBER", right=True), Column("FROM", least=8), Column("SINCE", right=True),
        Column("EXPIRES IN", right=True), Column("BYTES", right=True), Column("MESSAGE", least=10),
    ]  # fmt: skip
    rows = [
        (
            str(each["number"]),
            safe_text(each["from"]),
            human_age(age_of(each["at"], now)),
            human_age(max(0.0, -age_of(each["expires"], now))),
            str(each["bytes"]),
            preview(decode_data(each["data"]), SHOWN),
        )
        for each in found
    ]
    return table(columns, rows, width or NO_CUT)


def drop_mail(client: str, number: int | None, *, as_json: bool, control: str | None) -> None:
    """Forget what waits for a client."""
    done = with_hub(control, lambda operator: operator.request("mail_drop", target=client, number=number))
    if as_json:
        print_json(done)
    elif sys.stdout.isatty():
        print(f"dropped {counted(done['dropped'], 'message')} for {safe_text(done['name'])}")
