"""Shell completion that answers at once.

Owns what a shell is offered after the words before the cursor: commands, then a command's options;
everything else is left to the shell's own file names. The parser would answer the same in twice the
time, because it builds every parameter first; the scripts that it installs are the ones served here.
"""

from __future__ import annotations

import inspect
import shlex
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import typer


class Offer(NamedTuple):
    """A word, and what it is."""

    word: str
    about: str


class Command(NamedTuple):
    """What can be offered of a command: whether by name, its options, and the commands within it."""

    about: str
    hidden: bool
    options: tuple[Offer, ...]
    within: Mapping[str, Command]


def read_commands(app: typer.Typer) -> dict[str, Command]:
    """The commands of an application, from their signatures."""
    commands = {}
    for info in app.registered_commands:
        if info.callback is not None:
            name = info.name or info.callback.__name__.replace("_", "-")
            about = (inspect.getdoc(info.callback) or "").partition("\n")[0]
            commands[name] = Command(about, info.hidden, tuple(_options(info.callback)), {})
    for group in app.registered_groups:
        if group.typer_instance is not None:
            info_of, within = group.typer_instance.info, read_commands(group.typer_instance)
            help_alone = (Offer("--help", "Show this message and exit."),)
            # What `add_typer` is given counts before what the group says of itself.
            name = next(each for each in (group.name, info_of.name) if isinstance(each, str))
            about = next((each for each in (group.help, info_of.help) if isinstance(each, str)), "")
            commands[name] = Command(about.partition("\n")[0], False, help_alone, within)
    return commands


def _options(function: Callable[..., Any]) -> Iterable[Offer]:
    for hint in typing.get_type_hints(function, include_extras=True).values():
        for extra in getattr(hint, "__metadata__", ()):
            if getattr(extra, "hidden", False):
                continue
            # Within `Annotated` the parser keeps the first name where a default would stand.
            for word in (getattr(extra, "default", None), *(getattr(extra, "param_decls", None) or ())):
                if isinstance(word, str) and word.startswith("--"):
                    for name in word.split("/"):  # --on/--off
                        yield Offer(name, extra.help or "")
    yield Offer("--help", "Show this message and exit.")


def offers(
    commands: Mapping[str, Command], before: Sequence[str], begun: str, *, within: bool = False
) -> list[Offer]:
    """What fits at the cursor: `before` are the words since `jackfield`, `begun` is being typed.

    `within` says that they are the words since a command which has commands of its own.
    """
    command: Command | None = None
    words = iter(before)
    for word in words:
        if word == "--control":
            next(words, None)
        elif not word.startswith("-"):
            command = commands.get(word)
            if command is None:
                return []
            if command.within:
                return offers(command.within, list(words), begun, within=True)
            break
    if command is None:
        if before and before[-1] == "--control":
            return []
        found = [Offer(name, one.about) for name, one in commands.items() if not one.hidden]
        if begun.startswith("-"):
            found = [Offer("--help", "Show this message and exit.")]
            if not within:
                found.insert(0, Offer("--control", "The hub's control socket."))
    else:
        found = list(command.options) if begun.startswith("-") else []
    return [offer for offer in found if offer.word.startswith(begun)]


def complete(app: typer.Typer, instruction: str, environment: Mapping[str, str]) -> tuple[str, int] | None:
    """What to print for a shell that asks, and the exit code; None for a shell that the parser must serve."""
    match instruction:
        case "complete_bash":
            words = _split(environment.get("COMP_WORDS", ""))
            cursor = int(environment.get("COMP_CWORD", "0") or 0)
            before, begun = words[1:cursor], words[cursor] if cursor < len(words) else ""
        case "complete_zsh" | "complete_fish":
            line = environment.get("_TYPER_COMPLETE_ARGS", "")
            before, begun = _split(line)[1:], ""
            if before and not line.endswith(" "):
                *before, begun = before
        case _:
            return None
    found = offers(read_commands(app), before, begun)
    match instruction:
        case "complete_bash":
            return "\n".join(offer.word for offer in found), 0
        case "complete_zsh":
            shown = "\n".join(f'"{_zsh(offer.word)}":"{_zsh(offer.about)}"' for offer in found)
            return (f"_arguments '*: :(({shown}))'" if found else "_files"), 0
        case _:
            if environment.get("_TYPER_COMPLETE_FISH_ACTION") == "is-args":
                return "", 0 if found else 1
            return "\n".join(f"{offer.word}\t{offer.about}" for offer in found), 0


def _split(line: str) -> list[str]:
    """The words of a line that may end in the middle of a quoted one."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.commenters = ""
    words: list[str] = []
    try:
        words.extend(lexer)
    except ValueError:  # no closing quotation: what was read is the word so far
        words.append(lexer.token or "")
    return words


def _zsh(text: str) -> str:
    for plain, escaped in (('"', '""'), ("'", "''"), ("$", "\\$"), ("`", "\\`"), (":", "\\\\:")):
        text = text.replace(plain, escaped)
    return text
