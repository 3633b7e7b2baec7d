"""The commands `autoreply` and `snippet`: what the hub answers by itself, and messages that are kept.

Each asks over the control socket and prints what came.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from ..hub.display import Column, hexdump, preview, safe_text, table
from ..hub.operator import Operator
from ..hub.protocol import decode_data, encode_data
from ..hub.text import line_ending, parse_hex
from . import failures
from .failures import Failure
from .notation import Notation
from .operate import print_json, terminal_width, with_hub
from .sending import payload

LONGEST = 1024 * 1024  # bytes of a snippet


def add_autoreply(
    pattern: str,
    reply: str,
    *,
    to: str,
    name: str | None,
    as_hex: bool,
    escapes: bool,
    eol: str | None,
    rate: str,
    as_json: bool,
    control: str | None,
) -> None:
    if as_hex and escapes:
        raise Failure("both --hex and --escapes are given", "leave one of them out", code=failures.USAGE)
    if as_hex:
        pattern = parse_hex(pattern).hex()
        if not pattern:
            raise Failure("PATTERN has no byte", "write it as 'de ad be ef'", code=failures.USAGE)
    data, ending = payload([reply], Notation(as_hex, escapes))
    done = with_hub(
        control,
        lambda operator: operator.request(
            "autoreply_add", name=name, pattern=pattern, exact=as_hex or None, reply=encode_data(data),
            ending=_ending(eol) or ending, to=to, rate=rate,
        ),
    )  # fmt: skip
    _say(done, f"{done['name']} {'replaced' if done['replaced'] else 'answers'}", as_json=as_json)


def list_autoreplies(*, as_json: bool, control: str | None) -> None:
    rules: list[dict[str, Any]] = with_hub(control, lambda operator: operator.request("autoreply_list"))[
        "rules"
    ]
    if as_json:
        print_json([each | {"reply": decode_data(each["reply"]).hex()} for each in rules])
    elif rules:
        print("\n".join(autoreply_table(rules, width=terminal_width())))
    else:
        print("no automatic reply; add one with 'jackfield autoreply add PATTERN REPLY'")


def remove_autoreply(name: str, *, as_json: bool, control: str | None) -> None:
    done = with_hub(control, lambda operator: operator.request("autoreply_remove", name=name))
    _say(done, f"{name} answers no more", as_json=as_json)


def add_snippet(
    name: str,
    words: list[str],
    *,
    as_hex: bool,
    escapes: bool,
    file: str | None,
    eol: str | None,
    as_json: bool,
    control: str | None,
) -> None:
    if (file is not None) == bool(words):
        what = "both DATA and --file are given" if words else "nothing to keep: give DATA or --file PATH"
        raise Failure(what, code=failures.USAGE)
    if as_hex and escapes:
        raise Failure("both --hex and --escapes are given", "leave one of them out", code=failures.USAGE)
    if file is not None:
        with Path(file).open("rb") as opened:
            data, ending = opened.read(LONGEST + 1), "none"
    elif words == ["-"] and not as_hex:
        data, ending = sys.stdin.buffer.read(LONGEST + 1), "none"
    else:
        data, ending = payload(words, Notation(as_hex, escapes))
    if len(data) > LONGEST:
        raise Failure(f"a snippet has at most {LONGEST} bytes", "send the file itself with send --file")
    done = with_hub(
        control,
        lambda operator: operator.request(
            "snippet_add", name=name, data=encode_data(data), ending=_ending(eol) or ending
        ),
    )
    _say(done, f"{name} {'replaced' if done['replaced'] else 'kept'}", as_json=as_json)


def list_snippets(*, as_json: bool, control: str | None) -> None:
    async def work(operator: Operator) -> list[dict[str, Any]]:
        return [part async for part in operator.stream("snippet_list") if "snippet" in part]

    found = with_hub(control, work)
    if as_json:
        print_json([_as_json(each) for each in found])
    elif found:
        print("\n".join(snippet_table(found, width=terminal_width())))
    else:
        print("no snippet; keep one with 'jackfield snippet add NAME DATA'")


def show_snippet(name: str, *, as_json: bool, control: str | None) -> None:
    found = with_hub(control, lambda operator: operator.request("snippet_show", name=name))
    data = decode_data(found["data"])
    if as_json:
        print_json(_as_json(found))
    elif sys.stdout.isatty():
        print("\n".join(hexdump(data)))
    else:
        sys.stdout.flush()
        left = memoryview(data)
        while left:
            left = left[os.write(sys.stdout.fileno(), left) :]


def remove_snippet(name: str, *, as_json: bool, control: str | None) -> None:
    done = with_hub(control, lambda operator: operator.request("snippet_remove", name=name))
    _say(done, f"{name} is gone", as_json=as_json)


def autoreply_table(rules: list[dict[str, Any]], *, width: int | None) -> list[str]:
    """One line per rule: what it answers, and what became of that."""
    columns = [
        Column("NAME", least=8),
        Column("TO", least=6),
        Column("PATTERN", least=10),
        Column("REPLY", least=10),
        Column("RATE"),
        Column("SENT", right=True),
        Column("NOT SENT", right=True),
    ]
    rows = []
    for rule in rules:
        pattern = _spaced(rule["pattern"]) if rule["exact"] else safe_text(rule["pattern"])
        reply = decode_data(rule["reply"])
        shown = _spaced(reply.hex()) if rule["exact"] else preview(reply)
        not_sent = rule["limited"] + rule["withheld"] + rule["dropped"]
        rows.append(
            [
                rule["name"],
                safe_text(rule["to"]),
                pattern,
                shown,
                rule["rate"],
                str(rule["sent"]),
                str(not_sent),
            ]
        )
    return table(columns, rows, width=width or 1_000_000)


def snippet_table(found: list[dict[str, Any]], *, width: int | None) -> list[str]:
    """One line per snippet: its name, size and beginning."""
    columns = [
        Column("NAME", least=8),
        Column("BYTES", right=True),
        Column("ENDING"),
        Column("DATA", least=10),
    ]
    rows = []
    for each in found:
        data = decode_data(each["data"])
        rows.append([each["snippet"], str(len(data)), each["ending"], preview(data)])
    return table(columns, rows, width=width or 1_000_000)


def _as_json(snippet: dict[str, Any]) -> dict[str, Any]:
    data = decode_data(snippet["data"])
    return {"name": snippet["snippet"], "bytes": len(data), "hex": data.hex(), "ending": snippet["ending"]}


def _spaced(digits: str) -> str:
    return bytes.fromhex(digits).hex(" ")


def _ending(eol: str | None) -> str | None:
    if eol is None:
        return None
    line_ending(eol)
    return eol.lower()


def _say(done: dict[str, Any], text: str, *, as_json: bool) -> None:
    if as_json:
        print_json(done)
    elif sys.stdout.isatty():
        print(safe_text(text))


# -------------------------------------------------------------------- scripts


def add_script(file: str, *, as_json: bool, control: str | None) -> None:
    path = str(Path(file).absolute())
    done = with_hub(control, lambda operator: operator.request("script_add", path=path))
    _say(done, f"{done['path']}: {', '.join(done['hooks'])}", as_json=as_json)


def list_scripts(*, as_json: bool, control: str | None) -> None:
    found: list[dict[str, Any]] = with_hub(control, lambda operator: operator.request("script_list"))[
        "scripts"
    ]
    if as_json:
        print_json(found)
    elif found:
        print("\n".join(script_table(found, width=terminal_width())))
    else:
        print("no script; add one with 'jackfield script add FILE'")


def remove_script(file: str, *, as_json: bool, control: str | None) -> None:
    absolute = str(Path(file).absolute())
    name = absolute if "/" in file or Path(file).exists() else file
    done = with_hub(control, lambda operator: operator.request("script_remove", name=name))
    _say(done, f"{done['path']} is not called any more", as_json=as_json)


def script_table(found: list[dict[str, Any]], *, width: int | None) -> list[str]:
    """One line per script, and one more below it where its file cannot be loaded as it is now."""
    columns = [
        Column("SCRIPT", least=12),
        Column("HOOKS", least=10),
        Column("CALLS", right=True),
        Column("FAILED", right=True),
        Column("DROPPED", right=True),
    ]
    rows = [
        [
            safe_text(each["path"]),
            " ".join(each["hooks"]),
            str(each["calls"]),
            str(each["failed"]),
            str(each["dropped"]),
        ]
        for each in found
    ]
    lines = table(columns, rows, width=width or 1_000_000)
    for index, each in reversed(list(enumerate(found, 1))):
        if each["problem"]:
            lines.insert(index + 1, f"  not loaded anew: {safe_text(each['problem'])}")
    return lines
