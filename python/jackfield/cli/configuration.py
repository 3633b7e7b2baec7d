"""The configuration file of the hub: which it is, what may stand in it, and what is wrong with it.

There is no list of settings here: every option of `jackfield serve` is a key of the same name, and what an
option refuses the key refuses, since both are read by the same code. `listen` stands for the addresses.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, get_args, get_origin, get_type_hints

from ..hub.display import safe_text
from ..hub.reload import DESCRIPTOR
from ..hub.successor import give_up
from .configuring import trying
from .failures import FAILED, Failure, describe
from .serve_command import serve
from .toml_places import Place, places

FILE_NAME: Final = "jackfield.toml"
LONGEST: Final = 1024 * 1024  # bytes of a configuration
_NOT_SETTINGS: Final = ("context", "config")
_ANYWHERE: Final = "tcp://127.0.0.1:0"  # listened on where a single key is tried


@dataclass(frozen=True, slots=True)
class Setting:
    """One key, and the option of `serve` that it stands for: `name` is that of its parameter."""

    key: str
    name: str
    kind: type
    default: Any
    least: float | None
    metavar: str
    help: str

    @property
    def _sample(self) -> str:
        """An element of a list."""
        return _ANYWHERE if self.metavar == "ADDRESS" else self.metavar

    def value(self, given: Any) -> Any:
        """The option's value for what a file says. Raises `TypeError`."""
        if self.kind is bool:
            fits, wanted = isinstance(given, bool), "true or false"
        elif self.kind is list:
            fits = isinstance(given, list) and all(isinstance(each, str) for each in given)
            wanted = f"a list of texts such as [{self._sample!r}]"
        elif self.kind is int:
            fits = isinstance(given, int) and not isinstance(given, bool) and given >= (self.least or 0)
            wanted = f"a whole number from {self.least or 0} on"
        else:
            is_file = self.metavar == "PATH"
            fits = isinstance(given, str if is_file else (str, int)) and not isinstance(given, bool)
            wanted = "the text of a path" if is_file else "a text"
        if not fits:
            raise TypeError(f"{_shown(given)} is not {wanted}")
        return str(given) if self.kind is str else given


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a file, and where: line and column from 1, 0 for nowhere in particular."""

    path: Path
    line: int
    column: int
    message: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}:{self.column}" if self.line else str(self.path)
        hint = f"; {self.hint}" if self.hint and self.hint not in self.message else ""
        return f"{where}: {self.message}{hint}"


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a file says: the options' values by name, and where each stands."""

    path: Path
    values: Mapping[str, Any]
    where: Mapping[str, Place]


def choose_file(given: str | None, environment: Mapping[str, str], uid: int) -> Path | None:
    """The file that is read: the one given or in $JACKFIELD_CONFIG ("none": none), else the usual one."""
    named = given or environment.get("JACKFIELD_CONFIG")
    if named:
        return None if named == "none" else Path(named).expanduser().absolute()
    usual = usual_file(environment, uid)
    return usual if usual is not None and usual.is_file() else None


def usual_file(environment: Mapping[str, str], uid: int) -> Path | None:
    """Where the configuration is without being named; None for a user without a home."""
    base = environment.get("XDG_CONFIG_HOME", "")
    if base.startswith("/"):
        return Path(base, "jackfield", FILE_NAME)
    if uid == 0:
        return Path("/etc/jackfield", FILE_NAME)
    home = environment.get("HOME", "")
    return Path(home, ".config/jackfield", FILE_NAME) if home.startswith("/") else None


@functools.cache
def settings() -> tuple[Setting, ...]:
    """Every key, in the order of the options."""
    hints = get_type_hints(serve, include_extras=True)
    found = []
    for name, parameter in inspect.signature(serve).parameters.items():
        if name in _NOT_SETTINGS:
            continue
        base, option = hints[name].__origin__, hints[name].__metadata__[0]
        kinds = [each for each in get_args(base) or (base,) if each is not type(None)]
        kind = list if name == "addresses" or get_origin(kinds[0]) is list or base is list else kinds[0]
        # Behind Annotated the first name stands where the default would.
        names = [text for text in (option.default, *(option.param_decls or ())) if str(text)[:2] == "--"]
        key = "listen" if name == "addresses" else names[0].partition("/")[0].removeprefix("--")
        found.append(
            Setting(key, name, kind, parameter.default, option.min, option.metavar or "", option.help or "")
        )
    return tuple(found)


def read(path: Path) -> Configuration:
    """What the file says. Raises `Failure`: the first thing that is wrong, and how many others are."""
    configuration, problems = check(path)
    if problems:
        more = f"; {len(problems) - 1} more: see 'jackfield config check {path}'" if problems[1:] else ""
        raise Failure(f"{problems[0]}{more}", code=FAILED)
    return configuration


def check(path: Path) -> tuple[Configuration, list[Problem]]:
    """What the file says, and everything that is wrong with it, in its order. Raises OSError."""
    nothing = Configuration(path, {}, {})
    with path.open("rb") as file:
        raw = file.read(LONGEST + 1)
    if len(raw) > LONGEST:
        return nothing, [Problem(path, 0, 0, f"it is longer than {LONGEST} bytes")]
    try:
        text = raw.decode("utf-8")
        found = tomllib.loads(text)
    except UnicodeDecodeError as problem:
        line = raw.count(b"\n", 0, problem.start) + 1
        column = problem.start - raw.rfind(b"\n", 0, problem.start)
        return nothing, [Problem(path, line, column, "it is not UTF-8 text")]
    except tomllib.TOMLDecodeError as problem:
        return nothing, [_syntax(path, raw.decode("utf-8"), problem)]
    where = places(text)
    values, problems = _check_keys(path, found, where)
    if not problems and values:
        problems = _try(path, {"addresses": [_ANYWHERE], **values}, Place(0, 0))
    return Configuration(path, values, where), sorted(problems, key=lambda each: (each.line, each.column))


def _syntax(path: Path, text: str, problem: Exception) -> Problem:
    message = str(problem)
    match = re.search(r" \(at line (\d+), column (\d+)\)$", message)
    if match is not None:
        said = message[: match.start()]
        if said == r"Illegal character '\n'":
            said = "the line ends within a text; close it with the quote that it begins with"
        return Problem(path, int(match[1]), int(match[2]), said)
    lines = text.rstrip("\n").split("\n")
    return Problem(
        path, len(lines), len(lines[-1]) + 1, message.replace(" (at end of document)", " before the end")
    )


def _check_keys(
    path: Path, found: Mapping[str, Any], where: Mapping[str, Place]
) -> tuple[dict[str, Any], list[Problem]]:
    known = {setting.key: setting for setting in settings()}
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for key, given in found.items():
        place = where.get(key, Place(0, 0))
        setting = known.get(key)
        if setting is None:
            problems.append(_unknown(path, key, given, place, list(known)))
            continue
        line, column = place.values[0] if place.values else (place.line, place.column)
        try:
            values[setting.name] = setting.value(given)
        except TypeError as problem:
            problems.append(Problem(path, line, column, f"{key}: {problem}"))
            continue
        problems += _try_key(path, key, setting, values[setting.name], place)
    return values, problems


def _try_key(path: Path, key: str, setting: Setting, value: Any, place: Place) -> list[Problem]:
    """Whether `serve` takes the value by itself; of a list each element, told where that stands."""
    line_column = place.values or [(place.line, place.column)]
    if setting.kind is not list:
        at = Place(*line_column[0])
        return _try(path, {"addresses": [_ANYWHERE], setting.name: value}, at, f"{key}: ")
    problems = []
    for each, (line, column) in zip(value, [*line_column, *[line_column[-1]] * len(value)], strict=False):
        problems += _try(
            path, {"addresses": [_ANYWHERE], setting.name: [each]}, Place(line, column), f"{key}: "
        )
    return problems


def _try(path: Path, values: Mapping[str, Any], place: Place, before: str = "") -> list[Problem]:
    """What `serve` says to these values."""
    defaults = {setting.name: setting.default for setting in settings()}
    token = trying.set(True)
    try:
        serve.__wrapped__(SimpleNamespace(obj=None), **{**defaults, "config": "none", **values})  # type: ignore[attr-defined]
    except Exception as problem:
        message, hint = _message(problem)
        return [Problem(path, place.line, place.column, before + message, hint)]
    finally:
        trying.reset(token)
    return []


def _unknown(path: Path, key: str, given: Any, place: Place, known: list[str]) -> Problem:
    near = difflib.get_close_matches(key.replace("_", "-").lower(), known, n=1, cutoff=0.5)
    what = "table" if isinstance(given, dict) else "key"
    everything = f"known are {', '.join(known)}" if what == "key" else "keys stand alone, under no [heading]"
    hint = f"did you mean {near[0]!r}?" if near else everything
    return Problem(path, place.line, place.column, f"unknown {what} {_shown(key)}", hint)


def _message(problem: Exception) -> tuple[str, str]:
    message, hint, _ = describe(problem)
    return " ".join(message.split()).rstrip("."), hint


def _shown(value: object) -> str:
    text = safe_text(repr(value))
    return text if len(text) <= 60 else f"{text[:57]}..."


def fill_in(context: Any, given: dict[str, Any]) -> dict[str, Any]:
    """The command's values, with those of the file where the command line says nothing. Raises `Failure`."""
    if trying.get():
        return given
    path = choose_file(given.get("config"), os.environ, os.getuid())
    if path is None:
        return {**given, "config": None}
    try:
        found = read(path)
    except (Failure, OSError) as problem:
        if DESCRIPTOR in os.environ:
            give_up(int(os.environ[DESCRIPTOR]), str(problem))  # a predecessor goes on
        raise
    filled = {**given, "config": str(path)}
    for name, value in found.values.items():
        source = context.get_parameter_source(name)
        chosen = source is not None and source.name != "DEFAULT"
        if name == "control":
            chosen = chosen or bool(context.obj or os.environ.get("JACKFIELD_CONTROL"))
        if not chosen:
            filled[name] = value
    return filled
