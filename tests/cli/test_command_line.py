"""The shape of the command line: help, completion, exit codes, one line per failure."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from programs import JACKFIELD
from support import quick_enough
from typer.testing import CliRunner

from jackfield.cli import failures
from jackfield.cli.app import app

ROOT = Path(__file__).parents[2]


def command_lines(command: Any = None, *words: str) -> Iterator[tuple[str, ...]]:
    """The words of every command that does something, hidden ones too: ("kick",), ("snippet", "add") ..."""
    command = command or typer.main.get_command(app)
    if not hasattr(command, "commands"):
        yield words
        return
    for name, inner in command.commands.items():
        yield from command_lines(inner, *words, name)


COMMANDS = list(command_lines())
VISIBLE = {words[0] for words in COMMANDS} - {"ls", "attach"}


def run(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [JACKFIELD, *words],
        capture_output=True,
        timeout=20,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **variables},
    )


def test_help_names_every_command_and_the_exit_codes() -> None:
    done = run("--help")
    assert done.returncode == 0
    for command in VISIBLE:
        assert re.search(rf"^  {command} ", done.stdout, re.MULTILINE), command
    assert "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no hub answers, 4 no such" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert not re.search(r"^  .*\.\.\.$", done.stdout, re.MULTILINE), "a summary is too long for 80 columns"
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize("group", sorted({words[0] for words in COMMANDS if len(words) > 1}))
def test_each_help_of_a_group_has_examples(group: str) -> None:
    examples = run("help", group).stdout.partition("Examples:\n")[2].partition("\n\n")[0]
    assert f"  jackfield {group} " in examples


@pytest.mark.parametrize(
    ("command", "needed"),
    [("send", "TARGET"), ("kick", "TARGET"), ("talk", "CLIENT"), ("rename", "CLIENT and NAME")],
)
def test_a_command_alone_says_behind_its_help_what_it_needs(command: str, needed: str) -> None:
    done = run(command)
    assert done.returncode == 2
    assert done.stderr.startswith(f"Usage: jackfield {command} ")
    assert done.stderr.endswith(f"\njackfield: {command} needs {needed}\n")


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_each_help_has_an_example(words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, [*words, "--help"], prog_name="jackfield")
    assert done.exit_code == 0
    assert re.search(r"Examples?:\n\s+(\S.* \| )?jackfield ", done.output), done.output
    assert "\\b" not in done.output


def test_the_document_has_every_command_and_every_exit_code() -> None:
    document = (ROOT / "docs" / "commands.md").read_text()
    table = document.partition("## Targets")[0]
    first_cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = {word for cell in first_cells for span in re.findall(r"`([^`]+)`", cell) for word in span.split()}
    assert VISIBLE - named - {"undial"} == set()
    assert "`undial NAME`" in table
    codes = [value for value in vars(failures).values() if type(value) is int]
    assert len(set(codes)) == len(codes)
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", document, re.MULTILINE)] == sorted(codes)
    assert [int(code) for code in re.findall(r"\b(\d+) [a-zC]", failures.EXIT_CODES)] == sorted(codes)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nonsense"], "nonsense"),
        (["clients", "--nonsense"], "--nonsense"),
        (["rename", "1"], "NAME"),
        (["send", "1", "--hex", "xyz"], "hex digit"),
        (["send", "1"], "nothing to send"),
        (["send", "1", "x", "--file", "y"], "both DATA and --file"),
        (["send", "1", "x", "--eol", "dos"], "known are lf"),
        (["send", "1", "x", "--wait", "5"], "250ms, 5s"),
        (["talk", "1", "--wait", "soon"], "250ms, 5s"),
        (["connect", "tcp://127.0.0.1:port"], "port"),
        (["connect", "nonsense://x"], "nonsense"),
        (["logs", "-n", "many"], "'--lines' / '-n': it should be a whole number;"),
        (["token", "create", "--expires", "soon"], "--expires: 'soon' is not a time; write a number with a"),
        (["send", "1", "x", "--queue", "--expires", "soon"], "'soon' is not a time; write a number with a"),
    ],
)
def test_wrong_usage_is_one_line_and_2(words: list[str], says: str) -> None:
    done = run(*words, JACKFIELD_CONTROL="/nowhere/hub.sock")
    assert done.returncode == 2, done
    assert done.stderr.startswith("jackfield: ")
    assert done.stderr.count("\n") == 1
    assert says in done.stderr
    assert done.stdout == ""


def test_a_missing_file() -> None:
    done = run("send", "1", "--file", "/nowhere/file")
    assert done.returncode == 1
    assert done.stderr == "jackfield: /nowhere/file: No such file or directory\n"


def test_version() -> None:
    assert re.fullmatch(r"jackfield \d+\.\d+\S*\n", run("version").stdout)
    assert run("--version").stdout == run("version").stdout


def test_a_mistyped_command_is_told_with_the_one_that_is_near() -> None:
    done = run("sned", "1")
    assert done.returncode == 2
    assert done.stderr == "jackfield: No such command 'sned'. Did you mean 'send'? (see jackfield --help)\n"


def test_completion_names_commands_and_is_quick() -> None:
    variables = {"_JACKFIELD_COMPLETE": "complete_bash", "COMP_WORDS": "jackfield se", "COMP_CWORD": "1"}
    assert run(**variables).stdout.split() == ["serve", "send"]

    def complete() -> float:
        # Processor time: what others do on this machine is not in it.
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run(**variables)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    # The aim is 100 ms; processors that share a core take twice as long.
    quick_enough(complete, 0.2, tries=10)


def test_help_and_completion_import_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from jackfield.cli import app\n"
        "try:\n"
        "    app.run(['--help'])\n"
        "finally:\n"
        "    heavy = {'asyncio', 'rich', 'jackfield._engine'} & sys.modules.keys()\n"
        "    print('heavy:', heavy or 'none')\n"
    )
    import sys

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert done.stdout.endswith("heavy: none\n"), done.stdout


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams(closed: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f"{JACKFIELD} clients --control /nowhere/hub.sock {closed}"], timeout=20
    )
    assert done.returncode == 3


def test_options_lists_every_option() -> None:
    done = run("options")
    assert done.returncode == 0
    assert re.search(r"^keepalive +60s/5s/3 +How vanished peers are found", done.stdout, re.MULTILINE)
    listed = {entry["name"]: entry for entry in json.loads(run("options", "--json").stdout)}
    assert listed["ttl"]["constants"] == "IP_TTL, IPV6_UNICAST_HOPS"
    assert listed["send_buffer"]["changeable"] is True
