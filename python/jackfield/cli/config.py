"""`jackfield config`: write, check and show the configuration file of the hub."""

from __future__ import annotations

import json
import os
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

from ..hub.roster import version
from .configuration import Problem, Setting, choose_file, read, settings, usual_file
from .configuration import check as check_file
from .failures import FAILED, USAGE, Failure, one_line, say
from .operate import print_json

_HEADER = """\
# The configuration of `jackfield serve` (jackfield {version}).
#
# A key is an option of that command without its dashes, and what stands here is what the option would
# get; what is said on the command line counts instead. Every key below is commented out.
#
#   jackfield config check FILE     says what is wrong here, and where
#   jackfield reload                makes a running hub take it up, and keeps its clients
"""
_LISTEN = """\
# Where to listen, as on the command line; options go behind the address.
# listen = ["tcp://127.0.0.1:7000", "udp://127.0.0.1:7001,idle_timeout=5m", "unix:///run/jackfield/lines.sock,framing=line"]
"""


def init(file: str | None, *, force: bool, as_json: bool) -> None:
    text = template()
    if file == "-":
        if as_json:
            print_json({"text": text})
        else:
            sys.stdout.write(text)
        return
    path = Path(file) if file is not None else usual_file(os.environ, os.getuid())
    if path is None:
        raise Failure("there is no home directory", "name a FILE", code=USAGE)
    if file is None:
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("w" if force else "x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError:
        raise Failure(f"{path} is there already", "overwrite it with --force, or name another FILE") from None
    if as_json:
        print_json({"file": str(path)})
    else:
        print(path)


def template() -> str:
    """A configuration of comments alone: every key with its meaning and its default."""
    parts = [_HEADER.format(version=version()), _LISTEN]
    for setting in settings():
        if setting.key != "listen":
            meaning = textwrap.wrap(setting.help, 108, initial_indent="# ", subsequent_indent="# ")
            parts.append("\n".join([*meaning, f"# {setting.key} = {_example(setting)}"]) + "\n")
    return "\n".join(parts)


def _example(setting: Setting) -> str:
    if setting.kind is bool:
        return "true" if setting.default else "false"
    if setting.kind is list:
        return "[]"
    default = _default(setting)
    if default is None:
        such = re.search(r"such as (\S+?)\.?$", setting.help)
        return f'"{such[1] if such else setting.metavar}"  # not set'
    return json.dumps(default)


def _default(setting: Setting) -> Any:
    """What counts where nothing is said; None for nothing."""
    if setting.kind is list:
        return []
    if setting.default is not None:
        return setting.default
    # What stands for None is said at the end of the option's help.
    match = re.search(r"\(([0-9A-Za-z,]+)\)\.?$", setting.help)
    if match is None:
        return None
    return int(match[1]) if setting.kind is int else match[1]


def check(file: str | None, *, as_json: bool) -> None:
    path = _file(file)
    found, problems = check_file(path)
    if as_json:
        print_json(
            {"file": str(path), "keys": len(found.where), "problems": [_as_json(each) for each in problems]}
        )
    elif not problems:
        print(f"{path}: fine")
    for each in () if as_json else problems[:-1]:
        say(one_line(str(each)))
    if problems:
        raise Failure(str(problems[-1]), code=FAILED)


def _as_json(problem: Problem) -> dict[str, Any]:
    return {
        "line": problem.line,
        "column": problem.column,
        "message": problem.message,
        "hint": problem.hint,
    }


def show(file: str | None, *, as_json: bool) -> None:
    path = Path(file).absolute() if file is not None else choose_file(None, os.environ, os.getuid())
    found = read(path) if path is not None else None
    rows = []
    for setting in settings():
        if found is not None and setting.name in found.values:
            where = f"{found.path}:{found.where[setting.key].line}"
            rows.append({"key": setting.key, "value": found.values[setting.name], "from": where})
        else:
            rows.append({"key": setting.key, "value": _default(setting), "from": "default"})
    if as_json:
        print_json(rows)
        return
    wide = max(len(row["key"]) for row in rows)
    texts = [
        "not set" if row["value"] is None else json.dumps(row["value"], ensure_ascii=False) for row in rows
    ]
    longest = min(48, max(map(len, texts)))
    for row, text in zip(rows, texts, strict=True):
        print(f"{row['key']:<{wide}}  {text:<{longest}}  {row['from']}")


def _file(file: str | None) -> Path:
    path = Path(file) if file is not None else choose_file(None, os.environ, os.getuid())
    if path is None:
        raise Failure("there is no configuration file", "name one, or write one with 'jackfield config init'")
    return path
