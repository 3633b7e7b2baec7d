"""What of a request the audit log is told: its target, and what came of it; never what was said, or a secret.

Pure: a request in, words out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .tokens import PREFIX

TARGETS: Final = ("target", "address", "path", "name", "token", "of", "maker")
LONGEST: Final = 200  # characters of a target


def target_of(arguments: Mapping[str, Any]) -> str:
    """Whom or what a request is about, as it was given: the room first, where it is about one."""
    given = [arguments.get("room"), next(filter(_is_word, map(arguments.get, TARGETS)), None)]
    return without_secrets(" ".join(str(value) for value in given if _is_word(value)))[:LONGEST]


def _is_word(value: Any) -> bool:
    return isinstance(value, (str, int)) and not isinstance(value, bool)


def without_secrets(text: str) -> str:
    """A text without tokens and invitations that stand in it: an address may carry one."""
    parts = text.split(PREFIX)
    return "jf_...".join([parts[0], *(_behind(part) for part in parts[1:])])


def _behind(part: str) -> str:
    end = 0
    while end < len(part) and (part[end].isalnum() or part[end] in "_-"):
        end += 1
    return part[end:]
