"""What a shell is offered."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.cli.app import app
from jackfield.cli.completion import complete, offers, read_commands

COMMANDS = read_commands(app)


@pytest.mark.parametrize(
    ("before", "begun", "words"),
    [
        ([], "se", ["serve", "send"]),
        (["autoreply"], "", ["add", "ls", "rm"]),
        (["--control", "/x", "autoreply", "add"], "--ra", ["--rate"]),
        (["autoreply"], "--", ["--help"]),
        (["autoreply", "nonsense"], "--", []),
        (["config"], "i", ["init"]),
        ([], "conf", ["config"]),
        ([], "ta", ["talk", "tag"]),
        ([], "l", ["logs", "listen"]),
        ([], "--c", ["--control"]),
        (["--control", "/x"], "vers", ["version"]),
        (["--control"], "", []),
        (["kick"], "--", ["--reset", "--json", "--control", "--hub", "--help"]),
        (["kick", "3"], "--re", ["--reset"]),
        (["attach", "3"], "--w", ["--wait"]),
        (["kick"], "", []),
        (["nonsense"], "--", []),
    ],
)
def test_offers(before: list[str], begun: str, words: list[str]) -> None:
    assert [offer.word for offer in offers(COMMANDS, before, begun)] == words


def test_each_option_says_what_it_is() -> None:
    assert all(offer.about for command in COMMANDS.values() for offer in command.options)
    assert COMMANDS["kick"].about == "Disconnect clients, after what is queued for them."


def test_shells() -> None:
    bash = {"COMP_WORDS": "jackfield tal", "COMP_CWORD": "1"}
    assert complete(app, "complete_bash", bash) == ("talk", 0)
    zsh = {"_TYPER_COMPLETE_ARGS": "jackfield versi"}
    assert complete(app, "complete_zsh", zsh) == ('_arguments \'*: :(("version":"Print the version."))\'', 0)
    assert complete(app, "complete_zsh", {"_TYPER_COMPLETE_ARGS": "jackfield kick "}) == ("_files", 0)
    assert complete(app, "complete_fish", zsh) == ("version\tPrint the version.", 0)
    assert complete(app, "complete_fish", {**zsh, "_TYPER_COMPLETE_FISH_ACTION": "is-args"}) == ("", 0)
    assert complete(app, "complete_powershell", zsh) is None


@given(st.text())
def test_no_line_raises(line: str) -> None:
    complete(app, "complete_bash", {"COMP_WORDS": line, "COMP_CWORD": "1"})
    complete(app, "complete_zsh", {"_TYPER_COMPLETE_ARGS": line})
