"""The report for people: machine, method, one table per measurement, the targets."""

from collections.abc import Iterator
from typing import Any

from suite.measurements import Measurement
from suite.statistics import Ratio, Row, Table
from suite.targets import Verdict

DISTURBED = 0.05  # cores kept busy by others from which a measurement is marked
LABEL = 32


METHOD = """\
method     {repeats} repeats of {seconds:g} s after 0.1 s of warm-up, a fresh server process for each run;
           interleaved: within a repeat every contender runs once, each repeat begins with another one;
           {cores}
           Loopback only. Every contender gets the same C load, in its own framing: u32 frames,
           WebSocket for picows, ZMTP for pyzmq. Round trips have the contender at both ends.
figures    median [lowest .. highest]; with five repeats the latter is a 94 % interval of the median.
           x C and x best: ratio to C and to the best other Python library (*), the median of the ratios
           within each repeat, which a machine that is slower for a while disturbs less."""
TWO_CORES = "server pinned to the first core, C load to the second; one-core trips: both on the first."
ONE_CORE = "THERE IS ONLY ONE CORE: server and load share it; figures for two cores mean nothing."


def heading(machine: dict[str, Any], *, repeats: int, seconds: float, one_core: bool) -> Iterator[str]:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    cores = f"{machine['cores']} cores, {machine['memory_gib']} GiB; {machine['kernel']}"
    load = f"load average {machine['load_average']} at start"
    built = f"{machine['libc']}, {machine['compiler']}; revision {machine['revision']}; {machine['date']}"
    yield f"machine    {machine['processor']}, {cores}"
    yield f"           congestion control {machine['congestion_control']}; {load}"
    yield f"versions   {machine['python']}, {versions}"
    yield f"           {built}"
    yield METHOD.format(repeats=repeats, seconds=seconds, cores=ONE_CORE if one_core else TWO_CORES)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 100 else f"{value:.2f}"


def _ratio(value: Ratio | None) -> str:
    return "-" if value is None else f"{value.median:.2f}"


def _row(table: Table, row: Row, best: Row | None) -> Iterator[str]:
    label = row.contender.label + (" *" if row is best else "")
    if row.median is None:
        yield f"  {label:<{LABEL}} failed"
    else:
        spread = f"[{_figure(min(row.samples))} .. {_figure(max(row.samples))}]"
        to_c = _ratio(table.ratio(row.contender.name, "c"))
        to_best = _ratio(table.ratio(row.contender.name, best.contender.name) if best else None)
        yield f"  {label:<{LABEL}} {_figure(row.median):>10}  {spread:<24} {to_c:>7} {to_best:>7}"
    for error in dict.fromkeys(row.errors):
        text = " ".join(error.split())
        yield f"      {row.errors.count(error)} failed: {text}"


def table_lines(table: Table) -> Iterator[str]:
    measurement: Measurement = table.measurement
    best = table.best_peer()
    yield ""
    yield f"{measurement.title}  ({measurement.name})"
    columns = f"{measurement.unit:>10}  {measurement.better:<24} {'x C':>7} {'x best':>7}"
    yield f"  {'':<{LABEL}} {columns}"
    for row in table.rows:
        yield from _row(table, row, best)
    if measurement.left_out:
        yield f"  left out: {measurement.left_out}"
    if table.others > DISTURBED:
        yield f"  DISTURBED: other programs kept {table.others:.2f} cores busy; repeat on a quiet machine"


def verdict_lines(verdicts: list[Verdict]) -> Iterator[str]:
    if not verdicts:
        return
    yield ""
    yield "Targets (bar: must hold; aim: wished for)"
    for verdict in verdicts:
        kind = "aim" if verdict.target.wished else "bar"
        if verdict.met is None or verdict.measured is None:
            outcome = "not measured"
        else:
            spread = f"[{_figure(verdict.measured.low)} .. {_figure(verdict.measured.high)}]"
            shown = f"{_figure(verdict.measured.median):>8} {spread:<20}"
            how = "over" if verdict.target.at_most else "short"
            outcome = f"{shown}  " + ("met" if verdict.met else f"MISSED, {verdict.shortfall:.1%} {how}")
        yield f"  {kind}  {verdict.target.measurement:<30} {verdict.requirement:<58} {outcome}"
    bars = [verdict for verdict in verdicts if not verdict.target.wished]
    yield f"  bars met: {sum(verdict.met is True for verdict in bars)} of {len(bars)}"
