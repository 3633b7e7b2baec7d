"""What the soak demands, and whether it was met: figures in, lines and a verdict out. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any

MEGABYTE = 1_000_000
DESCRIPTORS_BETWEEN = 4
"""A connection that is being replaced as one looks: its old end, its new end, the same once more."""


@dataclass
class Series:
    """What one process used, from the time on at which it counts: (seconds, bytes, descriptors)."""

    samples: list[tuple[float, int, int]] = field(default_factory=list)

    def add(self, seconds: float, memory: int, descriptors: int) -> None:
        self.samples.append((seconds, memory, descriptors))

    def growth(self) -> float:
        """Bytes per minute: from the middle of the first third to the middle of the last one."""
        third = max(1, len(self.samples) // 3)
        first, last = self.samples[:third], self.samples[-third:]
        minutes = (median(s for s, _, _ in last) - median(s for s, _, _ in first)) / 60
        bytes_more = median(m for _, m, _ in last) - median(m for _, m, _ in first)
        return bytes_more / minutes if minutes > 0 else 0.0

    def memory(self) -> tuple[int, int]:
        """Least and most."""
        return min(m for _, m, _ in self.samples), max(m for _, m, _ in self.samples)

    def descriptors(self) -> tuple[int, int]:
        """Fewest and most."""
        return min(d for _, _, d in self.samples), max(d for _, _, d in self.samples)


@dataclass(frozen=True)
class Line:
    """One thing that was looked at; ``holds`` is None where nothing is demanded."""

    what: str
    found: str
    demanded: str = ""
    holds: bool | None = None

    def __str__(self) -> str:
        verdict = {None: "", True: "ok", False: "FAILED"}[self.holds]
        return f"  {self.what:<44} {self.found:<44} {self.demanded:<12} {verdict}".rstrip()


@dataclass(frozen=True)
class Demands:
    """The size of the run and its limits."""

    seconds: float
    idle: int
    busy: int
    eaters: int
    growth_limit: float
    """Bytes per minute."""

    @property
    def connections(self) -> int:
        return self.idle + self.busy + 2 * self.eaters


def judge(found: dict[str, Any], used: dict[str, Series], demands: Demands) -> Iterator[Line]:
    """``found``: what the programs reported, by program; ``used``: what server and load used."""
    server, load = found["server"], found["load"]
    for name, series in used.items():
        yield from _resources(name, series, demands)
    yield Line(
        "worst lateness of a timer of 1 ms",
        f"{server['worst'] * 1000:.1f} ms; 99.9 % within {server['within 99.9 %'] * 1000:.0f} ms",
    )
    yield Line(
        "  of a program that only sleeps, beside it", f"{found['sleeper'] * 1000:.1f} ms (the machine's own)"
    )
    yield Line(
        "requests answered right",
        f"{load['requests']:,} ({load['requests'] / demands.seconds:.0f}/s), slowest {load['slowest']:.2f} s",
        "some",
        load["requests"] > 0,
    )
    yield Line("  answered wrong, failed", f"{load['wrong']}, {load['failed']}", "0, 0", _none(load))
    yield Line("connections replaced", f"{load['replaced']:,}")
    answering = found["check"]["answering"]
    yield Line(
        "idle connections that answer at the end",
        f"{answering:,}",
        f"{demands.idle:,}",
        answering == demands.idle,
    )
    lost = server["lost while fed"]
    yield Line("difficult peers given up by the server", f"{lost}", "0", lost == 0)
    for name, words in (("stalled", "did not read"), ("stopped", "were stopped (SIGSTOP)")):
        eaters = found[name]
        yield Line(
            f"peers that {words} for {eaters['for']:.0f} s",
            f"{eaters['well']} well; {eaters['eaten']:,} messages in order, {eaters['missed']:,} not kept",
            f"{demands.eaters} well",
            eaters["well"] == demands.eaters and eaters["eaten"] > 0,
        )
    yield Line("failures at the server", f"{server['failed']}", "0", server["failed"] == 0)


def _none(load: dict[str, Any]) -> bool:
    return bool(load["wrong"] == 0 and load["failed"] == 0)


def _resources(name: str, series: Series, demands: Demands) -> Iterator[Line]:
    growth, limit = series.growth(), demands.growth_limit
    least, most = (value / MEGABYTE for value in series.memory())
    yield Line(
        f"memory of the {name}",
        f"{least:.1f} .. {most:.1f} MB, {growth / MEGABYTE:+.2f} MB/min",
        f"< {limit / MEGABYTE:g} MB/min",
        growth < limit,
    )
    fewest, highest = series.descriptors()
    yield Line(
        f"descriptors of the {name}",
        f"{fewest:,} .. {highest:,}",
        "constant",
        highest - fewest <= DESCRIPTORS_BETWEEN and fewest >= demands.idle,
    )
