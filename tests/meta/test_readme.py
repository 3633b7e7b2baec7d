"""The README's commands and programs, exactly as they are printed there.

The hub is started by what `make run` starts, on the addresses that the Makefile names, with a control socket
of its own, so that a hub of yours is left alone. For root it runs in a network namespace, where nobody else
has those ports. For others, and for the Unix socket's path, the test skips where somebody has them.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from namespaces import Network, lacking

import jackfield

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
PROGRAMS = [text for language, text in BLOCKS if language == "python"]
SHELL = [text for language, text in BLOCKS if language == "sh"]
DEMONSTRATION = [text for text in SHELL if "jackfield clients" in text]
LIMIT = 60.0


def variable(name: str) -> str:
    """The Makefile's default of a variable."""
    found = re.search(rf"^{name} \?= ?(.*)$", MAKEFILE, re.MULTILINE)
    assert found is not None, f"the Makefile has no {name} ?= ..."
    return found[1]


def recipe(target: str) -> str:
    """The commands of a target."""
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert found is not None, f"the Makefile has no target {target}"
    return found[1]


ADDRESSES = [jackfield.Address.parse(text) for text in variable("ADDRESSES").split()]


def holder(address: jackfield.Address) -> str | None:
    """Why nobody can listen on the address now; None when somebody can."""

    async def attempt() -> None:
        async with jackfield.listen(address):
            pass

    try:
        jackfield.run(attempt)
    except jackfield.JackfieldError as error:
        return str(error)
    return None


Starter = Callable[..., subprocess.Popen[Any]]


@pytest.fixture
def start(network: Network) -> Starter:
    """``subprocess.Popen``; for root in a network namespace of the test's own."""
    return network.namespace().popen if os.geteuid() == 0 else subprocess.Popen


@pytest.fixture
def hub(directory: Path, start: Starter) -> Iterator[dict[str, str]]:
    """A hub as `make run` starts it; the environment for its operators."""
    for address in ADDRESSES:
        taken = holder(address) if address.path or start is subprocess.Popen else None
        if taken is not None:
            lacking(f"the README's hub cannot be started here: {taken}")
    own = {name: value for name, value in os.environ.items() if not name.startswith("JACKFIELD")}
    environment = {**own, "JACKFIELD_CONTROL": str(directory / "hub.sock")}
    command = [".venv/bin/jackfield", "serve", *variable("ADDRESSES").split()]
    log = directory / "hub.log"
    with log.open("wb") as output:
        process = start(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        try:
            end = time.monotonic() + LIMIT
            while b" ready pid=" not in log.read_bytes():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < end, log.read_text()
                time.sleep(0.02)
            yield environment
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(10)
    assert code == 0, log.read_text()


def end_group(process: subprocess.Popen[str]) -> None:
    """End what a block left in the background: all of it is in the block's own process group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def ask(environment: dict[str, str], *words: str) -> str:
    """What the hub says to an operator."""
    command = [".venv/bin/jackfield", *words]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done
    return done.stdout


def test_it_begins_with_the_two_commands() -> None:
    assert [text.split()[:2] for text in SHELL[:2]] == [["make", "run"], ["make", "test"]]
    assert re.search(r"^test:", MAKEFILE, re.MULTILINE)
    assert re.fullmatch(r"\t@exec \$\(BIN\)/jackfield serve \$\(SERVE\) \$\(ADDRESSES\)\n", recipe("run"))
    assert variable("SERVE") == ""


def test_every_block_is_run_by_a_test_here() -> None:
    others = [text for text in SHELL if text not in DEMONSTRATION]
    assert all(text.startswith("make ") for text in others), others
    assert {language for language, _ in BLOCKS} <= {"sh", "python", "text"}
    assert len(DEMONSTRATION) == 2
    assert PROGRAMS


def demonstrate(number: int, hub: dict[str, str], start: Starter) -> str:
    """What one of the blocks prints, done against a hub as `make run` starts it."""
    process = start(
        ["bash", "-c", DEMONSTRATION[number]],
        cwd=ROOT,
        env=hub,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        end_group(process)
        output, _ = process.communicate()
        pytest.fail(f"the README's commands did not end within {LIMIT:.0f} s: {output}")
    finally:
        end_group(process)
    assert process.returncode == 0, output
    assert "Traceback" not in output, output
    return output


@pytest.mark.timeout(120)
def test_native_clients_meet(hub: dict[str, str], start: Starter) -> None:
    output = demonstrate(1, hub, start)
    assert re.search(r"^jackfield: joined tcp://127.0.0.1:7000 as dev7", output, re.MULTILINE), output
    assert re.search(r"\d:\d\d:\d\d", output), f"dev7 said what time it is: {output}"
    assert re.search(r"^ops: .* ann: all quiet$", output, re.MULTILINE), output
    assert re.search(r"^http://127.0.0.1:\d+/login#", output, re.MULTILINE), output
    assert "ops" not in ask(hub, "rooms")


@pytest.mark.timeout(120)
def test_a_client_that_was_picked_answers(hub: dict[str, str], start: Starter) -> None:
    output = demonstrate(0, hub, start)
    assert "\nyou said how are you?\n" in output, output
    assert ask(hub, "clients", "--json").strip() == "[]", "the client was dropped at the end"
    assert re.search(r"\bleft .*\bname=sensor\b.*\bkicked by\b", ask(hub, "logs")), ask(hub, "logs")


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_programs_run(number: int, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAMS[number])
    command = [sys.executable, "-W", "error", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
    assert (done.returncode, done.stderr) == (0, ""), done
    expected = {0: "b'HELLO' tcp\n", 1: "b'welcome'\nb'hello, room'\n"}
    assert done.stdout == expected.get(number, done.stdout)
    assert done.stdout


def test_links_to_addresses_are_the_makefiles() -> None:
    """The ports and paths in the text are those of the Makefile's hub."""
    for address in ADDRESSES:
        assert (str(address.port) if address.port else address.path or "") in README


def test_a_taken_address_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        said = holder(jackfield.Address("tcp", "127.0.0.1", port))
    assert said is not None
    assert "in use" in said
