"""The soak: 10,000 idle and 1,000 busy connections for five minutes. `make soak` or `python benches/soak.py`.

One process serves them all in a group; another holds the ordinary clients, of which the busy ones ask all the
time, check every answer, and are replaced one by one. Two more hold difficult clients, which the server feeds
all the time: one does not read for two minutes, the other is stopped (SIGSTOP) for one. Half of all come over
TCP, half over Unix sockets.

After the first minute the memory of server and clients (proportional set size) must grow by less than 1 MB
per minute, and their descriptors must stay as many as they are. No answer may be wrong, no request fail, and
no live peer be given up. Exit status: 0 when all of that held, 1 when not, 2 when it could not be tried.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from soaking.judgement import MEGABYTE, Demands, Line, Series, judge
from suite import machine
from suite.processes import ContenderFailed, Program, Run

PROGRAMS = Path(__file__).parent / "soaking"
GLANCE = 2.0  # seconds between two looks at memory and descriptors
OPENING = 120.0  # seconds that opening all connections may take
ANSWERING = 120.0  # seconds that a report may take
SETTLING, STALL, STOP = 60.0, 120.0, 60.0  # seconds, in a run that is long enough
LIFE = 30.0  # seconds until a busy connection is replaced, about; a quarter of a short run
SPARE = 200  # descriptors of a process beside its connections


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benches/soak.py", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=300.0, help="how long (default 300)")
    parser.add_argument("--idle", type=int, default=10_000, help="connections that only stay (default 10000)")
    parser.add_argument("--busy", type=int, default=1_000, help="connections that ask (default 1000)")
    parser.add_argument(
        "--difficult", type=int, default=20, help="peers that stall, and that are stopped (20)"
    )
    parser.add_argument("--pause", type=float, default=0.1, help="seconds between two questions of one (0.1)")
    parser.add_argument(
        "--growth", type=float, default=1.0, help="MB per minute that are too much (default 1)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE as well")
    words = parser.parse_args()
    if words.seconds < 10 or min(words.idle, words.busy, words.difficult) < 1 or words.pause <= 0:
        parser.error("at least 10 seconds, one connection of each kind, and a pause are needed")
    return words


class Fleet:
    """The programs of the run, and what two of them use."""

    def __init__(self, run: Run, words: argparse.Namespace, directory: str) -> None:
        self._run = run
        addresses = ["tcp://127.0.0.1:0", f"unix://{directory}/s"]
        self.server = self._start("server.py", *addresses)
        at = self._answer(self.server, OPENING)["addresses"]
        life = min(LIFE, words.seconds / 4)
        load = ["--idle", words.idle, "--busy", words.busy, "--pause", words.pause, "--life", life]
        self.load = self._start("load.py", *map(str, load), *at)
        self.stalled = self._start("eaters.py", "--count", str(words.difficult), *at)
        self.stopped = self._start("eaters.py", "--count", str(words.difficult), *at)
        for program in (self.load, self.stalled, self.stopped):
            self._answer(program, OPENING)
        self.ask(self.stopped, "read")

    def _start(self, name: str, *arguments: str) -> Program:
        command = [sys.executable, str(PROGRAMS / name), *arguments]
        return self._run.start(command, *os.sched_getaffinity(0))

    def _answer(self, program: Program, limit: float) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(program.read_line(limit))
        return answer

    def ask(self, program: Program, command: str) -> dict[str, Any]:
        """Give a command and wait for its answer."""
        assert program.process.stdin is not None
        try:
            program.process.stdin.write(command.encode() + b"\n")
            program.process.stdin.flush()
        except BrokenPipeError:
            raise program.failure("ended early") from None
        return self._answer(program, ANSWERING)

    def glance(self, program: Program) -> tuple[int, int]:
        """Bytes of its own and its share of what is shared; descriptors."""
        try:
            text = Path(f"/proc/{program.pid}/smaps_rollup").read_text()
            descriptors = len(os.listdir(f"/proc/{program.pid}/fd"))
        except OSError:
            raise program.failure("ended early") from None
        found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
        if found is None:
            raise ContenderFailed("this kernel does not tell a process's proportional set size")
        return int(found[1]) * 1024, descriptors


def soak(fleet: Fleet, seconds: float) -> tuple[dict[str, Any], dict[str, Series]]:
    """Let it run; what the programs found, and what server and load used once they had settled."""
    settling, stall, stop = (
        min(limit, seconds * share) for limit, share in ((SETTLING, 0.3), (STALL, 0.5), (STOP, 0.3))
    )
    events: list[tuple[float, Callable[[], object]]] = sorted(
        [
            (settling, lambda: fleet.ask(fleet.server, "calm")),
            (stall, lambda: fleet.ask(fleet.stalled, "read")),
            (stop, lambda: os.kill(fleet.stopped.pid, signal.SIGCONT)),
        ],
        key=lambda event: event[0],
    )
    used = {"server": Series(), "clients": Series()}
    os.kill(fleet.stopped.pid, signal.SIGSTOP)
    start, sleeper, looked = time.monotonic(), 0.0, 0.0
    while (now := time.monotonic() - start) < seconds:
        while events and events[0][0] <= now:
            events.pop(0)[1]()
        if now - looked >= GLANCE or not looked:
            looked = now
            for name, program in (("server", fleet.server), ("clients", fleet.load)):
                memory, descriptors = fleet.glance(program)
                if now >= settling:
                    used[name].add(now, memory, descriptors)
            progress(f"{now:.0f} of {seconds:.0f} s")
        before = time.monotonic()
        time.sleep(0.001)
        if now >= settling:
            sleeper = max(sleeper, time.monotonic() - before - 0.001)
    found = {
        "server": fleet.ask(fleet.server, "report"),
        "load": fleet.ask(fleet.load, "report"),
        "check": fleet.ask(fleet.load, "check"),
        "stalled": {**fleet.ask(fleet.stalled, "check"), "for": stall},
        "stopped": {**fleet.ask(fleet.stopped, "check"), "for": stop},
        "sleeper": sleeper,
    }
    return found, used


def progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def enough_descriptors(demands: Demands) -> None:
    """Raise the limit that the programs inherit; say so when it is too low."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = demands.connections + SPARE
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise ContenderFailed(
            f"{needed:,} descriptors are needed, and the hard limit here is {hard:,}: raise it (`ulimit -Hn` "
            f"as root) or take fewer connections (--idle {max(1, hard - needed + demands.idle)})"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed) if soft != -1 else soft, hard))


def main() -> int:
    words = parse()
    demands = Demands(words.seconds, words.idle, words.busy, words.difficult, words.growth * MEGABYTE)
    began = time.monotonic()
    try:
        enough_descriptors(demands)
        with tempfile.TemporaryDirectory(prefix="jfsoak-") as directory, Run() as run:
            fleet = Fleet(run, words, directory)
            opened = time.monotonic() - began
            print(
                f"{words.idle:,} idle, {words.busy:,} busy, {2 * words.difficult} difficult connections, "
                f"opened in {opened:.0f} s; now {words.seconds:.0f} s of them",
                flush=True,
            )
            found, used = soak(fleet, words.seconds)
    except ContenderFailed as error:
        print(f"the soak could not be tried to its end: {error}", file=sys.stderr)
        return 2
    progress("")
    lines = list(judge(found, used, demands))
    print("\n".join(map(str, lines)))
    for program in ("server", "load"):
        for what, count in found[program]["failures"].items():
            print(f"  {program}: {count} x {what}")
    for name in ("stalled", "stopped"):
        for problem in found[name]["problems"]:
            print(f"  {name}: {problem}")
    failed = [line for line in lines if line.holds is False]
    print(
        "FAILED" if failed else "held",
        "-",
        f"{len(failed)} of {sum(line.holds is not None for line in lines)} demands not met",
    )
    if words.json:
        write_json(words.json, found, used, lines)
    return 1 if failed else 0


def write_json(path: Path, found: dict[str, Any], used: dict[str, Series], lines: list[Line]) -> None:
    samples = {name: series.samples for name, series in used.items()}
    whole = {"machine": machine.describe(), "found": found, "used": samples, "lines": list(map(vars, lines))}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(whole, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
