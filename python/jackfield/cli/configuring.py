"""How `jackfield serve` comes to its configuration: light, since help and completion load it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

trying: ContextVar[bool] = ContextVar("trying", default=False)
"""Whether `serve` shall only look at what it is told, and start nothing."""


def configurable(command: Callable[..., None]) -> Callable[..., None]:
    """Let what the command line leaves out come from the configuration file."""

    @functools.wraps(command)
    def run(context: Any, **given: Any) -> None:
        from .configuration import fill_in

        command(context, **fill_in(context, given))

    return run
