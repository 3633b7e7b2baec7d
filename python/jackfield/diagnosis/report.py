"""The whole of a check, and its stable form as JSON (docs/check.md). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .observations import Observations
from .steps import Step
from .target import Target
from .verdict import Verdict

SCHEMA = 1
"""The number of the JSON form; it grows when a field changes its meaning or goes, not when one is added."""


@dataclass(frozen=True)
class Report:
    """What was checked, what was seen, step by step, and what it means."""

    target: Target
    observations: Observations
    steps: tuple[Step, ...]
    verdict: Verdict
    seconds: float
    """From the begin to the verdict."""

    def to_json(self) -> dict[str, Any]:
        """Values for ``json.dumps``."""
        verdict = self.verdict
        return {
            "schema": SCHEMA,
            "target": self.target.text,
            "address": str(self.target.address),
            "cause": verdict.cause,
            "exit_code": verdict.exit_code,
            "sentence": verdict.sentence,
            "confidence": verdict.confidence,
            "because": verdict.because,
            "evidence": list(verdict.evidence),
            "next_step": verdict.next_step,
            "seconds": round(self.seconds, 6),
            "steps": [step_to_json(step) for step in self.steps],
        }


def step_to_json(step: Step) -> dict[str, Any]:
    """One step, with its facts beside name, state, text and time."""
    seconds = None if step.seconds is None else round(step.seconds, 6)
    return {"step": step.name, "state": step.state, "text": step.text, "seconds": seconds, **step.facts}
