"""Medians, intervals, ratios: pure functions over what was measured."""

import statistics
from dataclasses import asdict, dataclass, field
from typing import Any

from suite.contenders import Contender
from suite.measurements import Measurement


@dataclass
class Row:
    """The figures of one contender in one measurement, in the measurement's unit, by repeat."""

    contender: Contender
    by_repeat: dict[int, float] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    @property
    def samples(self) -> list[float]:
        return list(self.by_repeat.values())

    @property
    def median(self) -> float | None:
        return statistics.median(self.samples) if self.by_repeat else None


@dataclass(frozen=True)
class Ratio:
    median: float
    low: float
    high: float


@dataclass
class Table:
    """One measurement with the rows of its contenders."""

    measurement: Measurement
    rows: list[Row]
    others: float = 0.0  # cores that other programs kept busy meanwhile
    seconds: float = 0.0

    def row(self, name: str) -> Row | None:
        return next((row for row in self.rows if row.contender.name == name), None)

    def best_peer(self) -> Row | None:
        peers = [
            row
            for row in self.rows
            if row.samples and not (row.contender.is_reference or row.contender.is_ours)
        ]
        choose = min if self.measurement.lower_is_better else max
        return choose(peers, key=lambda row: row.median or 0.0) if peers else None

    def ratio(self, name: str, to: str) -> Ratio | None:
        """Figure over figure within each repeat, whether high or low is good.

        Runs of one repeat lie close together in time, so a machine that is slower for a while changes
        such a ratio less than the ratio of two medians.
        """
        ours, theirs = self.row(name), self.row(to)
        if ours is None or theirs is None:
            return None
        pairs = [(figure, theirs.by_repeat.get(repeat)) for repeat, figure in ours.by_repeat.items()]
        ratios = [figure / other for figure, other in pairs if other]
        return Ratio(statistics.median(ratios), min(ratios), max(ratios)) if ratios else None

    def _ratio_as_json(self, row: Row, to: str | None) -> dict[str, float] | None:
        ratio = self.ratio(row.contender.name, to) if to else None
        return asdict(ratio) if ratio else None

    def as_json(self) -> dict[str, Any]:
        peer = self.best_peer()
        best = peer.contender.name if peer else None
        measurement, setting = self.measurement, self.measurement.setting
        return {
            "name": measurement.name,
            "title": measurement.title,
            "unit": measurement.unit,
            "lower_is_better": measurement.lower_is_better,
            "left_out": measurement.left_out,
            "server_core": setting.server_core,
            "load_core": setting.load_core,
            "best_peer": best,
            "other_programs_cores": round(self.others, 3),
            "took_seconds": round(self.seconds, 1),
            "contenders": [
                {
                    "name": row.contender.name,
                    "label": row.contender.label,
                    "median": row.median,
                    "low": min(row.samples, default=None),
                    "high": max(row.samples, default=None),
                    "samples": row.samples,
                    "ratio_to_c": self._ratio_as_json(row, "c"),
                    "ratio_to_best_peer": self._ratio_as_json(row, best),
                    "errors": row.errors,
                }
                for row in self.rows
            ],
        }
