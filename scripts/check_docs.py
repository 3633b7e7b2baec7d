"""Checks that the documents are true where a program can tell. Usage: python scripts/check_docs.py

- Every link to a file or a heading leads somewhere, and every path in backticks exists.
- Every test that a document names (`file::test`) exists; every row of docs/promises.md names at least one,
  which asserts something and is not skipped; every kind of promise is there (`promises.py`).
- Every error, cause and fact is in docs/errors.md as the code has it (`errors.py`).
- Every limit in docs/promises.md has the default that the code has.
- docs/mission.md has each row M1 to M30 once, with one of three states; a row that is kept names a command.
- Every command in backticks or in a shell block exists: `jackfield` with its options, `make` with its target,
  `pytest` and `python` with their files, `cargo test` with its test file.
- docs/architecture.md names every source file of the engine, the boundary and the library.
- Python blocks are Python.

Each fault is one line `file:line: what`; with any of them the exit status is 1. Nothing is run, nothing is
written.
"""

from __future__ import annotations

import ast
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from documents import ROOT, Document, Fault, anchor
from errors import check_errors
from promises import check_kinds, check_promises, check_tests

STATES = ("kept", "in part", "not yet")
MISSION_ROWS = [f"M{number}" for number in range(1, 31)]
SUFFIXES = (".py", ".rs", ".md", ".toml", ".json", ".sh", ".pyi", ".c")
PATHS = re.compile(r"(?:[\w.+-]+/)+[\w.+-]*|[\w.+-]+\.(?:py|rs|md|toml|json|sh|pyi)")


# Links and paths ----------------------------------------------------------------------------------


def check_links(document: Document, root: Path = ROOT) -> Iterator[Fault]:
    for number, line in document.prose():
        for target in re.findall(r"\]\(([^)\s]+)\)", line):
            if re.match(r"\w+:", target):
                continue
            file, _, place = target.partition("#")
            path = (root / document.name).parent / file
            if not path.exists():
                yield Fault(document.name, number, f"the link {target} leads nowhere")
            elif place and (not file or path.suffix == ".md"):
                text = path.read_text() if file else document.text
                if place not in map(anchor, re.findall(r"^#+ (.*)$", text, re.MULTILINE)):
                    yield Fault(document.name, number, f"{file or document.name} has no heading #{place}")


def check_paths(document: Document, root: Path = ROOT) -> Iterator[Fault]:
    """Backticked words that can only be a file or folder of this repository."""
    for number, span in document.spans():
        word = span.partition("::")[0]
        top = word.partition("/")[0]
        if PATHS.fullmatch(word) and "/" in word and (root / top).is_dir() and not (root / word).exists():
            yield Fault(document.name, number, f"there is no {word}")


# Limits -----------------------------------------------------------------------------------------


def check_limits(document: Document) -> Iterator[Fault]:
    """The defaults of options and of the hub."""
    from jackfield import JackfieldError, Options
    from jackfield.hub import plan

    constants: dict[str, Any] = {"--max-clients": plan.MAX_CLIENTS, "operators": plan.MAX_OPERATORS}
    sizes: dict[str, int] = {"--queue": plan.MAX_QUEUE, "--max-message": plan.MAX_MESSAGE}
    defaults = Options()
    found = 0
    for number, heading, cells in document.rows():
        if heading != "Limits and their defaults":
            continue
        name, said = cells[0].strip("`"), re.sub(r"[`,]", "", cells[1])
        if name in constants or name in sizes:
            found += 1
            have = constants.get(name) or sizes.get(name)
            read = Options().merge(high_water=said).high_water if name in sizes else int(said)
        elif hasattr(defaults, name):
            found += 1
            have = getattr(defaults, name)
            try:
                # Numbers without a unit are numbers; all else is text as in an address.
                read = getattr(defaults.merge(**{name: said}), name)
            except JackfieldError as error:
                yield Fault(document.name, number, str(error))
                continue
        else:
            continue
        if read != have:
            yield Fault(document.name, number, f"the default of {name} is {have}, and not {said}")
    if found < 8:
        yield Fault(document.name, 1, "the table of limits was not found, or lacks most of them")


# Commands -----------------------------------------------------------------------------------------


def subcommands() -> dict[str, set[str]]:
    """The command line's commands, and the options of each; a family has those of its commands."""
    import typer

    from jackfield.cli.app import app

    def options(command: Any) -> set[str]:
        own = {option for each in command.params for option in each.opts + each.secondary_opts}
        return own.union(*map(options, getattr(command, "commands", {}).values()), {"--help", "-h"})

    group: Any = typer.main.get_command(app)
    return {name: options(command) for name, command in group.commands.items()}


def make_targets(root: Path = ROOT) -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(), re.MULTILINE))


def commands_in(document: Document) -> Iterator[tuple[int, str]]:
    """Lines of shell blocks, and backticked spans that begin as a command does."""
    for first, language, text in document.blocks():
        if language in ("sh", ""):
            for offset, line in enumerate(text.splitlines()):
                yield first + offset, line
    yield from document.spans()


def check_commands(document: Document, root: Path = ROOT) -> Iterator[Fault]:
    known, targets = subcommands(), make_targets(root)
    for number, text in commands_in(document):
        try:
            words = shlex.split(text.strip().removesuffix("&").strip(), comments=True)
        except ValueError:
            continue
        for command in split_pipes(words):
            what = check_command(command, known, targets, root)
            if what is not None:
                yield Fault(document.name, number, what)


def split_pipes(words: list[str]) -> Iterator[list[str]]:
    """The commands of a line, without the variables set before them."""
    command: list[str] = []
    for word in [*words, ";"]:
        if word in ("|", "||", "&&", ";", "do", "until", "while", "then", "nice"):
            if command:
                yield command
            command = []
        elif command or not re.match(r"[A-Z_]+=", word):
            command.append(word.removesuffix(";"))


def check_command(
    command: list[str], known: dict[str, set[str]], targets: set[str], root: Path
) -> str | None:
    program, words = command[0].removeprefix(".venv/bin/"), command[1:]
    if program == "make":
        wrong = [word for word in words if re.fullmatch(r"[a-z-]+", word) and word not in targets]
        return f"the Makefile has no target {wrong[0]}" if wrong else None
    if program == "jackfield":
        return check_jackfield(words, known)
    if program == "cargo" and "--test" in words:
        name = words[words.index("--test") + 1]
        if not list(root.glob(f"crates/*/tests/{name}.rs")):
            return f"there is no Rust test {name}"
    if program in ("pytest", "python", "python3"):
        for word in words:
            file = word.partition("::")[0]
            if "/" in file and file.endswith((".py", ".rs", "/")) and not (root / file).exists():
                return f"there is no {file}"
    return None


def check_jackfield(words: list[str], known: dict[str, set[str]]) -> str | None:
    if not words or words[0].startswith("-"):
        return None
    name = words[0]
    if not re.fullmatch(r"[a-z][a-z-]*", name):
        return None
    if name not in known:
        return f"jackfield has no command {name}"
    for word in words[1:]:
        option = word.partition("=")[0]
        if re.fullmatch(r"--?[a-z][a-z-]*", option) and option not in known[name]:
            return f"jackfield {name} has no option {option}"
    return None


# The mission, the architecture, code --------------------------------------------------------------


def check_mission(document: Document) -> Iterator[Fault]:
    seen = []
    for number, _, cells in document.rows():
        if not re.fullmatch(r"M\d+", cells[0]):
            continue
        seen.append(cells[0])
        if len(cells) != 4:
            yield Fault(
                document.name, number, f"{cells[0]} has {len(cells)} cells, not row, promise, state, command"
            )
        elif cells[2] not in STATES:
            yield Fault(
                document.name, number, f"{cells[0]} is {cells[2]!r}, and must be one of {', '.join(STATES)}"
            )
        elif cells[2] != "not yet" and not re.search(
            r"`(make|jackfield|\.venv/bin/\w+|cargo) [^`]+`", cells[3]
        ):
            yield Fault(document.name, number, f"{cells[0]} names no command that shows it")
    if seen != MISSION_ROWS:
        missing = [row for row in MISSION_ROWS if row not in seen]
        yield Fault(
            document.name, 1, f"the rows must be M1 to M30 in order; missing: {', '.join(missing) or 'none'}"
        )


def check_architecture(document: Document, root: Path = ROOT) -> Iterator[Fault]:
    """Each source file below the applications has its place in the document."""
    named = {span for _, span in document.spans()}
    files = [*root.glob("crates/*/src/**/*.rs"), *root.glob("python/jackfield/*.py")]
    for path in sorted(files):
        name = path.parent.name if path.name == "mod.rs" else path.name
        if not named & {name, f"{name}/", f"{path.parent.name}/{path.name}"}:
            yield Fault(document.name, 1, f"{path.relative_to(root)} is not mentioned")


def check_python(document: Document) -> Iterator[Fault]:
    for number, language, text in document.blocks():
        if language == "python":
            try:
                ast.parse(text)
            except SyntaxError as error:
                yield Fault(
                    document.name, number + (error.lineno or 1) - 1, f"this is no Python: {error.msg}"
                )


# All of it ----------------------------------------------------------------------------------------


def documents(root: Path = ROOT) -> list[Document]:
    paths = [
        *root.glob("*.md"),
        *root.glob("docs/*.md"),
        *root.glob("changes/*.md"),
        root / "benches/README.md",
    ]
    return [Document(str(path.relative_to(root)), path.read_text()) for path in sorted(paths)]


def check(document: Document) -> Iterator[Fault]:
    """Everything that applies to a document."""
    yield from check_links(document)
    yield from check_paths(document)
    yield from check_tests(document)
    yield from check_commands(document)
    yield from check_python(document)
    if document.name == "docs/promises.md":
        yield from check_promises(document)
        yield from check_kinds(document)
        yield from check_limits(document)
    if document.name == "docs/errors.md":
        yield from check_errors(document)
    if document.name == "docs/mission.md":
        yield from check_mission(document)
    if document.name == "docs/architecture.md":
        yield from check_architecture(document)


def main() -> int:
    faults = [fault for document in documents() for fault in check(document)]
    for fault in faults:
        print(fault)
    if faults:
        print(f"{len(faults)} faults in the documents", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
