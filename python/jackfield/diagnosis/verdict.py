"""What a check concludes: one cause, one sentence, the evidence, how sure it is, and what to do next."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from .causes import exit_code

Confidence = Literal["certain", "likely", "possible"]


@dataclass(frozen=True)
class Verdict:
    """The end of a check."""

    cause: str
    """One of ``CAUSES``."""
    sentence: str
    """What is the matter, in one plain sentence without its full stop."""
    confidence: Confidence = "certain"
    because: str = ""
    """Why the confidence is no more, or what makes it certain."""
    next_step: str = ""
    evidence: tuple[str, ...] = ()
    """What was seen, in the order of seeing."""

    @property
    def ok(self) -> bool:
        return self.cause == "ok"

    @property
    def exit_code(self) -> int:
        return exit_code(self.cause)

    def with_evidence(self, *lines: str) -> Verdict:
        """The same with more evidence in front."""
        return replace(self, evidence=(*lines, *self.evidence))
