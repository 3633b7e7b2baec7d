"""The targets that the project has set itself, checked against the measured medians."""

from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from suite.statistics import Ratio, Table


@dataclass(frozen=True)
class Target:
    """`ours` against `factor` times `theirs` (or, without `theirs`, against `factor` in the unit itself)."""

    measurement: str
    ours: str
    factor: float
    theirs: str | None
    at_most: bool = False
    wished: bool = False  # an aim beyond the bar, reported apart


def _bar(measurement: str, ours: str, factor: float, theirs: str | None, *, at_most: bool = False) -> Target:
    return Target(measurement, ours, factor, theirs, at_most=at_most)


def _aim(measurement: str, ours: str, factor: float, theirs: str | None, *, at_most: bool = False) -> Target:
    return Target(measurement, ours, factor, theirs, at_most=at_most, wished=True)


TARGETS = (
    _bar("request-tcp", "jackfield", 0.85, "c"),
    _bar("request-tcp", "jackfield", 1.1, "uvloop"),
    _aim("request-tcp", "jackfield", 0.95, "c"),
    _aim("request-tcp", "jackfield", 1.3, "uvloop"),
    _bar("trip-one-core-tcp", "jackfield", 1.0, "uvloop", at_most=True),
    _aim("trip-one-core-tcp", "jackfield", 1.15, "c", at_most=True),
    _bar("trip-two-cores-tcp", "jackfield-busy", 0.6, "uvloop", at_most=True),
    _bar("trip-blocking-one-core-tcp", "jackfield-sync", 1.0, "plain", at_most=True),
    _bar("trip-blocking-two-cores-tcp", "jackfield-sync", 1.0, "plain", at_most=True),
    _bar("trip-blocking-one-core-tls", "jackfield-sync", 1.0, "plain", at_most=True),
    _bar("trip-blocking-two-cores-tls", "jackfield-sync", 1.0, "plain", at_most=True),
    _bar("tls-bulk-send-1m", "jackfield-sync", 1.0, "plain"),
    _bar("tls-bulk-receive-1m", "jackfield-sync", 1.0, "plain"),
    _bar("workers-compute-tcp", "jackfield-workers-2", 1.7, "jackfield-workers-1"),
    _bar("send-each-tcp", "jackfield", 5.0, "uvloop"),
    _bar("send-each-tcp", "jackfield", 1.3, "pyzmq"),
    _bar("send-each-tcp", "jackfield", 1.3, "pyzmq-both"),
    _aim("send-each-tcp", "jackfield", 10.0, "pyzmq"),
    _aim("send-each-tcp", "jackfield", 10.0, "pyzmq-both"),
    _bar("receive-tcp", "jackfield", 2.5, "uvloop"),
    _bar("receive-tcp", "jackfield-many", 2.5, "uvloop"),
    _aim("receive-tcp", "jackfield", 12_000.0, None),
    _aim("receive-tcp", "jackfield-many", 12_000.0, None),
    _bar("bulk-tcp", "jackfield", 0.9, "c"),
    _bar("bulk-tcp-cubic", "jackfield", 0.9, "c"),
    _bar("bulk-unix", "jackfield", 0.9, "c"),
    *(
        _bar(f"tls-bulk-{way}-{size}{cost}", "jackfield", 0.9, "c")
        for way in ("send", "receive")
        for size in ("64k", "1m", "1m-aes128")
        for cost in ("", "-cpu")
    ),
    _bar("memory-tcp", "jackfield-group", 600.0, None, at_most=True),
    _bar("memory-tcp", "jackfield-hub", 600.0, None, at_most=True),
    _bar("memory-tcp", "jackfield", 0.6, "streams", at_most=True),
    _bar("accept-tcp", "jackfield", 1.0, "uvloop"),
    _bar("room-1000-burst-tcp", "jackfield", 2.5, "pyzmq"),
    _bar("room-1000-burst-tcp", "jackfield", 0.8, "protocol"),
    _bar("room-1000-burst-tcp", "jackfield", 0.8, "uvloop"),
    _bar("addressed", "jackfield-switch", 2.5, "nats"),
    _bar("addressed", "jackfield-switch", 1.6, "uvloop-hub"),
    _aim("addressed", "jackfield-switch", 1.6, "uvloop-gathering-hub"),
    _aim("addressed", "jackfield-switch", 0.85, "c"),
    _aim("addressed-unix", "jackfield-switch", 1.6, "uvloop-hub"),
    _bar("room-native", "jackfield-switch", 2.5, "nats"),
    _bar("room-native", "jackfield-switch", 2.0, "redis"),
    _bar("memory-tcp", "jackfield-switch", 1200.0, None, at_most=True),
    _bar("memory-tcp", "jackfield-hub-native", 4096.0, None, at_most=True),
    _bar("udp", "jackfield", 0.8, "c"),
    _bar("udp", "jackfield", 30.0, "datagram-protocol"),
    _aim("udp", "jackfield", 0.8, "c-raw"),
    _bar("store", "jackfield", 50.0, None),
    _bar("durable-room", "jackfield-hub", 50.0, None),
)


@dataclass(frozen=True)
class Verdict:
    target: Target
    requirement: str
    measured: Ratio | None  # or figures in the unit when nobody is compared with
    met: bool | None  # None: not measured

    @property
    def shortfall(self) -> float:
        """How much of the required figure is missing (or, for an upper bound, too much), as a fraction."""
        if self.met is not False or self.measured is None:
            return 0.0
        return abs(self.measured.median / self.target.factor - 1.0)

    def as_json(self) -> dict[str, Any]:
        return {
            "measurement": self.target.measurement,
            "contender": self.target.ours,
            "requirement": self.requirement,
            "kind": "aim" if self.target.wished else "bar",
            "measured": asdict(self.measured) if self.measured else None,
            "met": self.met,
            "shortfall": self.shortfall,
        }


def judge(tables: list[Table]) -> list[Verdict]:
    """A verdict for each target whose measurement was asked for."""
    by_name = {table.measurement.name: table for table in tables}
    verdicts = []
    for target in TARGETS:
        table = by_name.get(target.measurement)
        names = {target.ours, target.theirs or target.ours}
        if table is None or not names <= {row.contender.name for row in table.rows}:
            continue
        labels = {row.contender.name: row.contender.label for row in table.rows}
        sign = "<=" if target.at_most else ">="
        if target.theirs is None:
            requirement = f"{sign} {target.factor:,.0f} {table.measurement.unit}"
            row = table.row(target.ours)
            samples = row.samples if row else []
            measured = Ratio(median(samples), min(samples), max(samples)) if samples else None
        else:
            requirement = f"{sign} {target.factor:g} x {labels[target.theirs]}"
            measured = table.ratio(target.ours, target.theirs)
        met = None
        if measured is not None:
            figure = measured.median
            met = figure <= target.factor if target.at_most else figure >= target.factor
        verdicts.append(Verdict(target, f"{labels[target.ours]} {requirement}", measured, met))
    return verdicts
