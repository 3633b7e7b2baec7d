"""``Keepalive``: how a vanished peer of an idle connection is found."""

from __future__ import annotations

from dataclasses import dataclass

from jackfield._errors import InvalidOption
from jackfield._units import UnitError, read_integer, read_seconds


@dataclass(frozen=True, slots=True)
class Keepalive:
    """How a vanished peer of an idle connection is found: after ``idle`` seconds of silence, ``probes``
    questions ``interval`` seconds apart. Text: ``60s/5s/3``. The kernel counts in whole seconds."""

    idle: int = 60
    interval: int = 5
    probes: int = 3

    def __post_init__(self) -> None:
        for name, value, largest in (
            ("idle", self.idle, 32767),
            ("interval", self.interval, 32767),
            ("probes", self.probes, 127),
        ):
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= largest:
                unit = "" if name == "probes" else " seconds"
                message = f"{name} is {value}, and must be a whole number from 1 to {largest}{unit}"
                raise InvalidOption("keepalive", value, message, "write for example 60s/5s/3")

    @classmethod
    def parse(cls, text: str) -> Keepalive:
        """Read ``60s/5s/3``. Raises ``InvalidOption``."""
        parts = text.split("/")
        try:
            if len(parts) != 3:
                raise UnitError(f"{text!r} is not idle/interval/probes", "write for example 60s/5s/3, or no")
            idle, interval = read_seconds(parts[0]), read_seconds(parts[1])
            whole = idle == int(idle) and interval == int(interval)
            if not whole:
                raise UnitError("the kernel counts keepalive in whole seconds", "write for example 60s/5s/3")
            return cls(int(idle), int(interval), read_integer(parts[2]))
        except UnitError as error:
            raise InvalidOption("keepalive", text, error.message, error.hint) from None

    def __str__(self) -> str:
        return f"{self.idle}s/{self.interval}s/{self.probes}"
