"""Diagnosis: what is the matter with a connection, in one verdict with its evidence.

    report = await check("https://example.org")
    print(report.verdict.cause, report.verdict.sentence)

``check`` looks, ``judge`` decides; ``observations`` stands between them.
"""

from .causes import CAUSES, Cause
from .check import Check, Manner, check
from .observations import Observations
from .report import Report
from .steps import Step
from .target import Target, targets
from .verdict import Verdict

__all__ = [
    "CAUSES",
    "Cause",
    "Check",
    "Manner",
    "Observations",
    "Report",
    "Step",
    "Target",
    "Verdict",
    "check",
    "targets",
]
