"""The soak in small: every demand of `make soak` on a few hundred connections for some seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.soak
@pytest.mark.timeout(240)
def test_a_short_soak(tmp_path: Path) -> None:
    figures = tmp_path / "soak.json"
    size = ["--seconds", "20", "--idle", "300", "--busy", "60", "--difficult", "6"]
    # A few pages more or less are much for so short a time: what must not grow is held by the long run.
    command = [sys.executable, "benches/soak.py", *size, "--growth", "10", "--json", str(figures)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = json.loads(figures.read_text())["found"]
    assert found["load"]["replaced"] > 60, "every busy connection was replaced about once"
    assert found["stalled"]["missed"] + found["stopped"]["missed"] > 0, "their queues were full"
    assert found["server"]["ticks"] > 0
    assert "worst lateness of a timer of 1 ms" in ended.stdout


def test_a_demand_that_is_not_met_fails_the_soak(monkeypatch: pytest.MonkeyPatch) -> None:
    """The judgement itself, with figures of a run that leaks, loses and forgets."""
    monkeypatch.syspath_prepend(str(ROOT / "benches"))
    from soaking.judgement import MEGABYTE, Demands, Series, judge

    demands = Demands(seconds=120, idle=10, busy=5, eaters=2, growth_limit=MEGABYTE)
    steady, leaking = Series(), Series()
    for second in range(0, 120, 2):
        steady.add(second, 30 * MEGABYTE, 20 + second % 4)
        leaking.add(second, 30 * MEGABYTE + second * MEGABYTE // 50, 20 + second // 10)
    assert 1.1 * MEGABYTE < leaking.growth() < 1.3 * MEGABYTE
    assert steady.growth() == 0
    server = {"worst": 0.01, "within 99.9 %": 0.002, "lost while fed": 0, "failed": 0}
    load = {"requests": 100, "slowest": 0.1, "wrong": 0, "failed": 0, "replaced": 3}
    fed = {"for": 9.0, "well": 2, "eaten": 10, "missed": 1}
    good = {
        "server": server,
        "load": load,
        "check": {"answering": 10},
        "stalled": fed,
        "stopped": fed,
        "sleeper": 0.01,
    }
    assert all(line.holds is not False for line in judge(good, {"server": steady}, demands))
    bad = {
        "memory of the server": (good, {"server": leaking}),
        "descriptors of the server": (good, {"server": leaking}),
        "requests answered right": ({**good, "load": {**load, "requests": 0}}, {}),
        "  answered wrong, failed": ({**good, "load": {**load, "wrong": 1}}, {}),
        "idle connections that answer at the end": ({**good, "check": {"answering": 9}}, {}),
        "difficult peers given up by the server": ({**good, "server": {**server, "lost while fed": 1}}, {}),
        "peers that did not read for 9 s": ({**good, "stalled": {**fed, "well": 1}}, {}),
        "peers that were stopped (SIGSTOP) for 9 s": ({**good, "stopped": {**fed, "eaten": 0}}, {}),
        "failures at the server": ({**good, "server": {**server, "failed": 1}}, {}),
    }
    for what, (found, used) in bad.items():
        failed = [line.what for line in judge(found, used, demands) if line.holds is False]
        assert what in failed, (what, failed)
