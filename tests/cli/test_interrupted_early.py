"""Ctrl-C while a command is still being imported."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

INTERRUPTED_AT = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[-1]:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
from jackfield.cli import main
wanted, sys.argv[1:] = sys.argv[-1], []
sys.argv = ["jackfield", "clients", "--control", "/nowhere/hub.sock", wanted]
main()
"""


def run(module: str, **more: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", INTERRUPTED_AT, module]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, **more)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize("module", ["jackfield.cli.app", "typer", "jackfield.cli.operate"])
def test_it_ends_quietly(module: str) -> None:
    done = run(module)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_in_the_background_of_a_shell_it_goes_on() -> None:
    done = run("typer", preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    assert done.returncode not in (0, 130)
    assert "/nowhere" in done.stderr
