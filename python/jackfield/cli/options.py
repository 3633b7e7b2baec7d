"""`jackfield options`: every option with its default and meaning."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import textwrap

import jackfield


def options(*, as_json: bool) -> None:
    """Print the table."""
    table = jackfield.option_table()
    if as_json:
        print(json.dumps([dataclasses.asdict(facts) for facts in table]))
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 100
    first = max(len(facts.name) for facts in table) + 2
    second = max(len(facts.default) for facts in table) + 2
    indent = first + second
    print(f"{'OPTION':{first}}{'DEFAULT':{second}}MEANING")
    for facts in table:
        meaning = facts.meaning.replace("``", "")
        lines = textwrap.wrap(f"{meaning} Example: {facts.example}", max(20, width - indent))
        print(f"{facts.name:{first}}{facts.default:{second}}{lines[0]}")
        for line in lines[1:]:
            print(" " * indent + line)
