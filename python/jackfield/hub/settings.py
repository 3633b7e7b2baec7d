"""What a hub is told at its start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jackfield import Address

from ..recording.retention import Keep
from .dial_plan import DialPlan
from .plan import Limits, ListenerPlan

KEEP = Keep(age=7 * 86_400.0, size=1024**3)  # "7d,1G"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a hub is told at its start.

    `state` is the file of what lasts, None to keep nothing; where it cannot be kept, a hub that must
    (`state_required`) does not start, and another goes on without and says so. `config` is the file that
    the settings were read from, if there is one. `log_directory` is where everything that is said is
    recorded, as much of it as `log_keep` says; None is nowhere. `metrics` is where Prometheus finds the
    figures, `web` where the web console is served from the start. `audit` is the file of who did what; None
    keeps that in memory alone. `operators` are the listeners for operators of other machines.
    `pin` is the fingerprint of the hub's own certificate, if it has one. Who is absent for `forget_after`
    seconds is known no more; None is never.
    """

    listeners: Sequence[ListenerPlan]
    control: Path
    limits: Limits = field(default_factory=Limits)
    log_messages: bool = False
    state: Path | None = None
    state_required: bool = True
    scripts: Sequence[Path] = ()
    config: Path | None = None
    log_directory: Path | None = None
    log_keep: Keep = KEEP
    dials: Sequence[DialPlan] = ()
    metrics: Address | None = None
    web: Address | None = None
    audit: Path | None = None
    operators: Sequence[ListenerPlan] = ()
    pin: str = ""
    forget_after: float | None = None
