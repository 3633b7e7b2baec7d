"""Every option as data: what ``jackfield options`` prints and docs/options.md is checked against.

The meanings are the attribute docstrings of ``Options``, read from its source: each is written once.
"""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass
from itertools import pairwise

from jackfield import _options
from jackfield._option_values import KINDS
from jackfield._socket_options import ALL, SOCKET_OPTIONS, SocketOption

_OF_UDP = frozenset({"interface", "source"})
"""Options of multicasts, which are no single option of the kernel's."""

_MEANINGS = {"when_full": "What happens to a message that finds the queue full."}
"""Of the options whose field needs no docstring, because its type has one."""


@dataclass(frozen=True, slots=True)
class OptionFacts:
    """One option, for people and programs."""

    name: str
    """As in code and in addresses."""
    default: str
    """As in an address; ``kernel`` leaves it to the kernel, ``by itself`` sets it where it is right,
    ``off`` is None."""
    example: str
    """A value as in an address."""
    meaning: str
    """One sentence or two."""
    transports: tuple[str, ...]
    """The schemes that have it."""
    constants: str
    """The kernel's names for it; empty for what Jackfield does itself."""
    changeable: bool
    """Whether ``set_option`` can change it on an open socket."""


def option_table() -> list[OptionFacts]:
    """All options in the order of ``Options``."""
    meanings = {**_MEANINGS, **_docstrings()}
    table = []
    for name, value in _options.Options().items():
        row = SOCKET_OPTIONS.get(name)
        default = _options.text(name, value)
        if value is None and row is not None:
            default = "by itself" if name == "reuse_address" else "kernel"
        table.append(
            OptionFacts(
                name=name,
                default=default,
                example=f"{name}={KINDS[name].example}",
                meaning=meanings[name],
                transports=_transports(name, row),
                constants=row.constants if row is not None else "",
                changeable=_changeable(name, row),
            )
        )
    return table


def _transports(name: str, row: SocketOption | None) -> tuple[str, ...]:
    if row is not None:
        return tuple(sorted(row.transports))
    if name in _options.LINE_OPTIONS:
        return ("serial",)
    if name in _options.TLS_OPTIONS:
        return ("tls",)
    return ("udp",) if name in _OF_UDP else tuple(sorted(ALL))


def _changeable(name: str, row: SocketOption | None) -> bool:
    if name in _options.LINE_OPTIONS:
        return name != "exclusive"
    return row is not None and row.when == "any time"


def _docstrings() -> dict[str, str]:
    """The docstrings below the fields of ``Options``."""
    (body,) = (
        node.body
        for node in ast.parse(inspect.getsource(_options)).body
        if isinstance(node, ast.ClassDef) and node.name == "Options"
    )
    found = {}
    for field, below in pairwise(body):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            found[field.target.id] = inspect.cleandoc(str(below.value.value)).replace("\n", " ")
    return found
