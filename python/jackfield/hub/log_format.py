"""The hub's log in the forms that others read: JSON, logfmt, and the lines of a journal with levels.

Pure: an event in, a line out.
"""

from __future__ import annotations

import json
from typing import Final

from .journal import Event

FORMATS: Final = ("text", "json", "logfmt", "journald")

_ERRORS: Final = frozenset({"fault", "certificates_not_reloaded", "not_saved", "reload_failed", "no_state"})
_WARNINGS: Final = frozenset(
    {"accept_failed", "refused", "not_logged", "limited", "not_kept", "conflict", "operator_refused"}
    | {"handshake_failed"}
    | {"operator_dropped", "script_failed", "script_dropped", "script_withheld", "not_identified"}
)
_NUMBERS: Final = {"error": 3, "warning": 4, "info": 6, "debug": 7}  # sd-daemon(3)


def level(kind: str) -> str:
    """How much an event matters: `error`, `warning`, `info`; what clients say is `debug`."""
    if kind in _ERRORS:
        return "error"
    if kind in _WARNINGS:
        return "warning"
    return "debug" if kind == "message" else "info"


def line(event: Event, form: str) -> str:
    """One line without its end, in one of `FORMATS`."""
    if form == "json":
        told = event.to_json()
        return json.dumps({"time": told.pop("time"), "level": level(event.kind), **told})
    if form == "text":
        return event.line()
    when, _, rest = event.line().partition(" ")
    if form == "logfmt":
        return f"time={when} level={level(event.kind)} event={rest}"
    # The journal has its own time, and takes the level from in front of the line.
    return f"<{_NUMBERS[level(event.kind)]}>{rest}"
