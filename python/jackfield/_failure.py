"""One failure to open an endpoint: what the operating system said, where, and after which attempts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jackfield._address import Address
    from jackfield._error_classes import Attempt

_DOING = {
    "resolve": "cannot resolve the name in",
    "bind": "cannot bind",
    "listen": "cannot listen on",
    "connect": "cannot connect to",
}
SHOWN = 8
"""Attempts that a sentence names; ``attempts`` has all of them."""


@dataclass(frozen=True)
class Failure:
    """What the writers of errors look at, and what their words start with."""

    error: OSError
    stage: str
    """"resolve", "bind", "listen", "connect" or "accept"."""
    address: Address
    """The one that the caller named."""
    attempts: tuple[Attempt, ...]
    """What was tried, in order."""
    own: Address | None = None
    """Our end, where ``bind=`` says it."""

    @property
    def start(self) -> str:
        """The beginning of the sentence."""
        bare = self.address.without_options()
        return f"{_DOING.get(self.stage, f'cannot {self.stage}')} {bare}"

    @property
    def tried(self) -> str:
        """Every attempt, when there was more than one: a name may have several addresses."""
        if len(self.attempts) < 2:
            return ""
        shown = [str(attempt) for attempt in self.attempts[:SHOWN]]
        if len(self.attempts) > SHOWN:
            shown.append(f"{len(self.attempts) - SHOWN} more")
        return f" (tried {'; '.join(shown)})"

    @property
    def attempt(self) -> Attempt | None:
        """The attempt that ended with the error."""
        return next((attempt for attempt in self.attempts if attempt.error is self.error), None)

    @property
    def is_unix(self) -> bool:
        """Whether it is about a path or an abstract name."""
        return self.address.scheme.startswith("unix")
