"""`jackfield token`, `invite` and `audit`: what they ask the hub, and what they print."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Any

from ..hub.display import safe_text
from ..hub.journal import line_of
from ..hub.operator import Operator
from ..hub.roster import timestamp
from ..hub.text import TextError, parse_duration
from .failures import Failure, one_line, say
from .operate import print_json, with_hub
from .views import with_times

TIMES = ("made", "expires", "used", "revoked")  # of a token


def long_time(option: str, text: str) -> float:
    """`90d`, `12h`, `30m` as seconds. Raises `TextError`."""
    try:
        seconds = parse_duration(text)
    except TextError as problem:
        raise TextError(f"{option}: {problem}") from None
    if not seconds:
        raise TextError(f"{option} {text}: it would be over at once; such as 90d")
    return seconds


def create(
    *,
    name: str | None,
    role: str,
    expires: str | None,
    listeners: list[str],
    as_json: bool,
    control: str | None,
) -> None:
    seconds = None if expires is None else long_time("--expires", expires)
    made = with_hub(
        control,
        lambda operator: operator.request(
            "token_create", name=name, role=role, expires=seconds, listeners=listeners or None
        ),
    )
    if as_json:
        print_json(with_times(made, *TIMES))
        return
    print(made["token"])
    if sys.stdout.isatty():
        print(
            f"This is told once. It is {made['id']} in 'jackfield token ls': {made['role']}, {_until(made)}."
        )


def invite(
    *,
    name: str | None,
    role: str,
    expires: str,
    listeners: list[str],
    host: str | None,
    as_json: bool,
    control: str | None,
) -> None:
    seconds = long_time("--expires", expires)
    made = with_hub(
        control,
        lambda operator: operator.request(
            "invite", name=name, role=role, expires=seconds, listeners=listeners or None, host=host
        ),
    )
    if as_json:
        print_json(with_times(made, *TIMES))
        return
    if not made["invitations"]:
        raise Failure(
            "no listener of this hub takes native clients with an invitation",
            "start it with one such as tls://:7443, or tcp://127.0.0.1:7000,protocol=native",
        )
    chosen, *others = made["invitations"][: made["equal"]]
    print(chosen)
    if others:
        also = ", ".join(each.partition("?")[0] for each in others)
        say(one_line(f"it is as good at {also}", "--listener chooses"))
    if sys.stdout.isatty():
        used = f"jackfield --hub '{chosen}' status" if made["operators"] else f"jackfield join '{chosen}'"
        print(f"Good once, for {_of_role(made)}, {_until(made)}: {used}")


def _of_role(made: dict[str, Any]) -> str:
    return f"an {made['role']}" if made["role"][0] in "ao" else f"a {made['role']}"


def _until(made: dict[str, Any]) -> str:
    if made["expires"] is None:
        return "for ever"
    return f"until {datetime.fromtimestamp(made['expires'], UTC).isoformat(timespec='minutes')[:16]}Z"


def list_tokens(*, as_json: bool, control: str | None) -> None:
    found = with_hub(control, lambda operator: operator.request("token_list"))["tokens"]
    if as_json:
        print_json([with_times(each, *TIMES) for each in found])
    elif found:
        print("\n".join(token_table(found)))
    else:
        print("no token; make one with 'jackfield token create' or 'jackfield invite'")


def token_table(tokens: list[dict[str, Any]]) -> list[str]:
    """Tokens as a table."""
    rows: list[tuple[str, ...]] = [("ID", "KIND", "ROLE", "NAME", "STATE", "MADE", "UNTIL", "BY")]
    for each in tokens:
        until = "-" if each["expires"] is None else timestamp(each["expires"])[:16] + "Z"
        made = timestamp(each["made"])[:16] + "Z"
        texts = (
            each["id"],
            each["kind"],
            each["role"],
            each["name"] or "-",
            each["state"],
            made,
            until,
            each["made_by"],
        )
        rows.append(tuple(map(safe_text, texts)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def revoke(token: str, *, as_json: bool, control: str | None) -> None:
    done = with_hub(control, lambda operator: operator.request("token_revoke", token=token))
    if as_json:
        print_json(done)
    elif sys.stdout.isatty():
        print(f"good for nothing now: {', '.join(done['revoked'])}")


def audit(*, follow: bool, last: int, as_json: bool, control: str | None) -> None:
    first = True

    async def work(operator: Operator) -> None:
        nonlocal first
        count, first = (last if first else 0), False
        async for part in operator.stream("audit", last=count, follow=follow):
            record = part.get("audit")
            if record is None:
                continue
            print(json.dumps(record) if as_json else line_of(_worded(record)), flush=follow)

    with_hub(control, work, again=True)


def _worded(record: dict[str, Any]) -> dict[str, Any]:
    """A record as `line_of` has it: what was done stands in front."""
    rest = {name: value for name, value in record.items() if name not in ("time", "what") and value != ""}
    return {"time": record.get("time", ""), "event": record.get("what", ""), **rest}
