"""Fixtures for every test: loops, short directories, real peers' programs. The helpers stand in `support`."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import hypothesis
import namespaces
import pytest
import support
import support_tls

# A shell's background jobs are deaf to Ctrl-C, and so would be every program that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Who connects to a test's tls:// listener needs no options, nor does a program that a test starts.
os.environ["SSL_CERT_FILE"] = str(support_tls.certificates().directory / "ca.pem")

# Some tests hold a thousand sockets, whatever limit the shell came with.
_, _most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(_most, 20_000) if _most > 0 else 20_000, _most))

# The C library reads host.conf(5) at a process's first look-up and never again, and without it a name of
# /etc/hosts has but one address: that look-up must not be one of a test that leaves no descriptor free.
socket.getaddrinfo("localhost", 0)

# A loaded machine makes an example slow, never wrong: pytest's own time limit ends what hangs.
hypothesis.settings.register_profile(
    "jackfield", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("jackfield")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that use up ports come last: what they leave in TIME_WAIT is in the way for a minute."""
    items.sort(key=lambda item: item.path.name == "test_descriptors.py")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """On CI a test that skips, for whatever reason, fails: there everything must be that tests need."""
    report = yield
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{why}, and on CI no test may skip"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a file that skips as a whole."""
    report = yield
    if os.environ.get("CI") and report.skipped:
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{why}, and on CI no test may skip"
    return report


@pytest.fixture(params=["selector", "asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> support.Runner:
    """Runs a coroutine on each loop in turn: Jackfield's own, asyncio's, uvloop."""
    return support.Runner(request.param)


@pytest.fixture
def run_here() -> support.Runner:
    """Runs a coroutine on Jackfield's loop alone, where the loop makes no difference."""
    return support.Runner("selector")


@pytest.fixture
def directory() -> Iterator[Path]:
    """An empty directory with a short path: a Unix socket's path has 107 bytes at most."""
    made = tempfile.mkdtemp(prefix="jf-", dir="/tmp")
    yield Path(made)
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def peer_program() -> Callable[[str], str]:
    """``peer_program(name)``: the path of a real peer's program; missing, the test skips, and fails on CI."""
    return support.peer_program


@pytest.fixture
def network() -> Iterator[namespaces.Network]:
    """Network namespaces of the test's own: see `namespaces`."""
    with namespaces.Network() as made:
        yield made
