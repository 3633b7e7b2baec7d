"""On CI no test may skip: `conftest` makes failures of skips, whatever way a test skips in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
SKIPPING = {
    "a mark": "@pytest.mark.skip(reason='for want of it')\ndef test_it(): pass",
    "a condition": "@pytest.mark.skipif(True, reason='for want of it')\ndef test_it(): pass",
    "a call": "def test_it(): pytest.skip('for want of it')",
    "a fixture": ("@pytest.fixture\ndef it(): pytest.skip('for want of it')\ndef test_it(it): pass"),
    "a file": "pytest.skip('for want of it', allow_module_level=True)",
}


def outcome(text: str, directory: Path, *, ci: bool) -> subprocess.CompletedProcess[str]:
    """What pytest says to a file of tests, with the hooks of `conftest`."""
    file = directory / "test_file.py"
    file.write_text("import pytest\n" + text)
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "PYTEST_ADDOPTS")}
    environment.update({"PYTHONPATH": str(TESTS)} | ({"CI": "true"} if ci else {}))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "conftest", "-p", "no:cacheprovider", str(file)]
    return subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=100
    )


@pytest.mark.timeout(120)
@pytest.mark.parametrize("way", SKIPPING)
def test_a_skip_is_a_failure_on_ci(way: str, tmp_path: Path) -> None:
    done = outcome(SKIPPING[way], tmp_path, ci=True)
    assert done.returncode in (1, 2), done
    assert "for want of it, and on CI no test may skip" in done.stdout


@pytest.mark.timeout(120)
def test_elsewhere_it_is_a_skip_and_an_expected_failure_is_one_everywhere(tmp_path: Path) -> None:
    assert "1 skipped" in outcome(SKIPPING["a call"], tmp_path, ci=False).stdout
    expected = "@pytest.mark.xfail(reason='known')\ndef test_it(): assert False"
    assert outcome(expected, tmp_path, ci=True).returncode == 0
