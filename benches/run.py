"""The benchmark suite: `.venv/bin/python benches/run.py` (or `python -m benches`).

Owns the command line and the order of runs. What the figures mean is told in benches/README.md.
"""

import argparse
import fnmatch
import json
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from suite import machine
from suite.build import build
from suite.measurements import Measurement, all_measurements
from suite.processes import ContenderFailed
from suite.report import heading, table_lines, verdict_lines
from suite.scenarios import Costed, Setting
from suite.statistics import Row, Table
from suite.targets import judge

REPEATS, SECONDS = 5, 0.4
QUICK_REPEATS, QUICK_SECONDS = 1, 0.1
FAILURES_BEFORE_GIVING_UP = 2


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benches/run.py", description="Jackfield beside C and its peers.")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="measurements to run (patterns, prefixes)")
    parser.add_argument("--contenders", nargs="+", metavar="NAME", help="contenders to run (patterns)")
    parser.add_argument("--repeats", type=int, help=f"runs of each contender (default {REPEATS})")
    parser.add_argument("--seconds", type=float, help=f"measured time of one run (default {SECONDS})")
    parser.add_argument("--quick", action="store_true", help="one short repeat: does everything still run?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE as well")
    parser.add_argument("--list", action="store_true", help="list measurements and contenders, and stop")
    words = parser.parse_args()
    words.repeats = words.repeats or (QUICK_REPEATS if words.quick else REPEATS)
    words.seconds = words.seconds or (QUICK_SECONDS if words.quick else SECONDS)
    if words.repeats < 1 or words.seconds <= 0:
        parser.error("--repeats and --seconds must be positive")
    return words


def chosen(words: argparse.Namespace, measurements: list[Measurement]) -> list[Measurement]:
    if not words.only:
        return measurements
    picked = [
        each
        for each in measurements
        if any(each.name.startswith(name) or fnmatch.fnmatch(each.name, name) for name in words.only)
    ]
    if not picked:
        raise SystemExit(f"no measurement is called {', '.join(words.only)}; --list shows the names")
    return picked


def takes_part(name: str, patterns: list[str] | None) -> bool:
    return patterns is None or any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def list_everything(measurements: list[Measurement]) -> None:
    for each in measurements:
        print(f"{each.name:<22} {each.title}")
        print(f"{'':<22}   {', '.join(contender.name for contender in each.contenders)}")


class Progress:
    """One line on stderr that is overwritten on a terminal, a line per measurement otherwise."""

    def __init__(self) -> None:
        self.live = sys.stderr.isatty()

    def step(self, text: str) -> None:
        if self.live:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

    def done(self, text: str) -> None:
        end = "" if self.live else "\n"
        print(f"\r\x1b[K{text}" if self.live else text, end=end, file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self.live:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def measure(
    measurement: Measurement, words: argparse.Namespace, table: Table, cost: Table | None, progress: Progress
) -> None:
    """All repeats of one measurement; the tables are filled as it goes, so a break keeps what is there."""
    usage, started = machine.Usage.now(), time.monotonic()
    for repeat in range(words.repeats):
        order = table.rows[repeat % len(table.rows) :] + table.rows[: repeat % len(table.rows)]
        for row in order:
            if len(row.errors) >= FAILURES_BEFORE_GIVING_UP:
                continue
            progress.step(f"{measurement.name}  {repeat + 1}/{words.repeats}  {row.contender.name}")
            try:
                figure = measurement.run(row.contender, measurement.setting)
            except ContenderFailed as error:
                row.errors.append(str(error))
                continue
            rate = figure.rate if isinstance(figure, Costed) else figure
            row.by_repeat[repeat] = rate / measurement.divisor
            if isinstance(figure, Costed) and cost and (beside := cost.row(row.contender.name)):
                beside.by_repeat[repeat] = figure.per_cpu_second / measurement.divisor
        for each in (table, cost) if cost else (table,):
            each.others = machine.Usage.now().others_since(usage)
            each.seconds = time.monotonic() - started


def stop(_signal: int, _frame: FrameType | None) -> None:
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)  # cleaning up is short and must not be broken off
    raise KeyboardInterrupt


def main() -> int:
    words = parse()
    server_core, load_core = machine.cores()
    setting = Setting(seconds=words.seconds, server_core=server_core, load_core=load_core)
    measurements = chosen(words, all_measurements(setting, quick=words.quick))
    if words.list:
        list_everything(measurements)
        return 0
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, stop)
    build()
    machine.prepare()
    described = machine.describe()
    one_core = server_core == load_core
    for line in heading(described, repeats=words.repeats, seconds=words.seconds, one_core=one_core):
        print(line)
    sys.stdout.flush()

    tables: list[Table] = []
    progress = Progress()
    started, interrupted = time.monotonic(), False
    try:
        for number, measurement in enumerate(measurements, 1):
            rows = [Row(each) for each in measurement.contenders if takes_part(each.name, words.contenders)]
            if not rows:
                continue
            filled = [Table(measurement, rows)]
            if measurement.by_cost:
                filled.append(Table(measurement.by_cost, [Row(row.contender) for row in rows]))
            tables += filled
            measure(measurement, words, filled[0], filled[1] if filled[1:] else None, progress)
            progress.clear()
            for table in filled:
                print("\n".join(table_lines(table)), flush=True)
            elapsed = time.monotonic() - started
            progress.done(f"({number} of {len(measurements)} measurements, {elapsed:.0f} s so far)")
    except KeyboardInterrupt:
        interrupted = True
    progress.clear()

    verdicts = judge(tables)
    print("\n".join(verdict_lines(verdicts)))
    failed = sorted({row.contender.name for table in tables for row in table.rows if row.errors})
    print(f"\n{'INTERRUPTED after' if interrupted else 'took'} {time.monotonic() - started:.0f} s", end="")
    print(f"; failures: {', '.join(failed)}" if failed else "")
    if words.json:
        result: dict[str, Any] = {
            "machine": described,
            "repeats": words.repeats,
            "seconds": words.seconds,
            "interrupted": interrupted,
            "measurements": [table.as_json() for table in tables],
            "targets": [verdict.as_json() for verdict in verdicts],
        }
        words.json.parent.mkdir(parents=True, exist_ok=True)
        words.json.write_text(json.dumps(result, indent=1) + "\n")
    return 130 if interrupted else 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
