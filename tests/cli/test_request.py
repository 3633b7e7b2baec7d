"""`jackfield request`: a native client is asked by an operator or another one."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from programs import JACKFIELD, HubProcess, Process, Spawn, StartHub, wait_for
from support import Runner

from jackfield import native, portable
from jackfield.hub.operator import operate
from jackfield.hub.protocol import encode_data

AUTO = "tcp://127.0.0.1:0"
SLEEPS = "sh -c 'exec sleep 20 2>/dev/null'"  # it keeps nothing of its parent's open


def answering(spawn: Spawn, hub: HubProcess, command: str, name: str = "dev7") -> Process:
    where = f"tcp://127.0.0.1:{hub.port()}"
    process = spawn(
        JACKFIELD, "join", where, "--name", name, "--answer", command, environment=hub.environment
    )
    process.seen(rb"joined ", err=True)
    return process


@pytest.fixture
def hub(start_hub: StartHub, directory: Path) -> HubProcess:
    hub = start_hub(AUTO)
    hub.environment["XDG_DATA_HOME"] = str(directory)
    return hub


def test_an_operator_asks_a_native_client(hub: HubProcess, spawn: Spawn) -> None:
    answering(spawn, hub, "cat")
    assert hub.do("request", "dev7", "what", "now?") == b"what now?"
    assert hub.do("request", "dev7", "-", data=b"\x00\xff\n") == b"\x00\xff\n"
    assert hub.do("request", "1", "--hex", "de ad") == b"de ad\n"
    assert hub.do("request", "dev7", "-e", r"a\tb") == b"a\tb"
    text = json.loads(hub.do("request", "dev7", "--json", "hi"))
    assert (text["id"], text["name"], text["text"]) == (1, "dev7", "hi")
    assert text["seconds"] >= 0
    assert json.loads(hub.do("request", "dev7", "--json", "-", data=b"\xff"))["data"] == "/w=="
    hub.seen(rb" requested by=\S+ client=dev7 bytes=9 outcome=answered")


def test_questions_and_answers_longer_than_any_credit(hub: HubProcess, spawn: Spawn) -> None:
    answering(spawn, hub, "cat")
    long = bytes(range(256)) * 3000
    assert hub.do("request", "dev7", "-", data=long) == long


def test_more_questions_than_a_client_may_have_streams(hub: HubProcess, run_here: Runner) -> None:
    """A question takes its stream with it, whoever answers."""

    where = f"tcp://127.0.0.1:{hub.port()}"

    async def main() -> None:
        async with (
            operate(hub.control) as operator,
            native.connect(where, name="package") as client,
            client.answering(lambda peer, data: data),
        ):
            for name in ("portable", "package"):
                for number in range(1100):
                    data = encode_data(b"%d" % number)
                    found = await operator.request("request", target=name, data=data)
                    assert found["answer"] == data

    with portable.connect(where, name="portable") as first:
        first.answer(lambda peer, data: data)
        run_here(main)


def test_another_native_client_asks(hub: HubProcess, spawn: Spawn) -> None:
    answering(spawn, hub, "sh -c 'echo \"$JACKFIELD_PEER: $(cat)\"'")
    where = f"tcp://127.0.0.1:{hub.port()}"
    assert hub.do("request", "dev7", "status", "--join", where, "--name", "ann") == b"ann: status\n"
    found = json.loads(hub.do("request", "dev7", "status", "--join", where, "--name", "ann", "--json"))
    assert (found["name"], found["text"]) == ("dev7", "ann: status\n")
    missing = hub.run("request", "nobody", "status", "--join", where)
    assert missing.returncode == 4
    assert b"no client 'nobody'" in missing.stderr


@pytest.mark.parametrize("as_client", [False, True])
def test_what_fails_has_its_exit_code(hub: HubProcess, spawn: Spawn, *, as_client: bool) -> None:
    more = ["--join", f"tcp://127.0.0.1:{hub.port()}"] if as_client else []
    answering(spawn, hub, "false", "fails")
    answering(spawn, hub, SLEEPS, "sleeps")
    where = f"tcp://127.0.0.1:{hub.port()}"
    spawn(JACKFIELD, "join", where, "--name", "mute", environment=hub.environment).seen(rb"joined", err=True)
    for arguments, code, words in [
        (["fails", "x"], 1, b"fails could not answer: the command ended with exit code 1"),
        (["sleeps", "x", "--timeout", "100ms"], 7, b"sleeps has not answered within 0.1 s"),
        (["mute", "x"], 8, b"mute"),
        (["nobody", "x"], 4, b"no client 'nobody'"),
        (["dev7"], 2, b"nothing to ask; give DATA, or - for standard input"),
    ]:
        done = hub.run("request", *arguments, *more)
        assert (done.returncode, done.stdout) == (code, b""), done
        assert words in done.stderr
        assert done.stderr.count(b"\n") == 1


def test_who_leaves_answers_no_more(hub: HubProcess, spawn: Spawn) -> None:
    device = answering(spawn, hub, SLEEPS)
    asking = spawn(JACKFIELD, "request", "dev7", "x", "--timeout", "1m", environment=hub.environment)
    children = Path(f"/proc/{device.pid}/task/{device.pid}/children")
    wait_for(children.read_text, "the command runs")
    device.end_input()
    hub.do("kick", "dev7")
    assert asking.wait() == 8
    asking.seen(rb"jackfield: dev7 left before it answered: ", err=True)


def test_a_plain_client_is_said_how_to_be_asked(hub: HubProcess, spawn: Spawn) -> None:
    spawn("nc", "127.0.0.1", str(hub.port()))
    hub.joined(1)
    done = hub.run("request", "1", "x")
    assert done.returncode == 8
    assert b"is no native client" in done.stderr
    assert b"'jackfield send 1 DATA --expect PATTERN'" in done.stderr


def test_ctrl_c_leaves_the_client_free_for_others(hub: HubProcess, spawn: Spawn) -> None:
    device = answering(spawn, hub, "sh -c '[ \"$(cat)\" = wait ] && exec sleep 20 2>/dev/null; echo done'")
    asking = spawn(JACKFIELD, "request", "dev7", "wait", environment=hub.environment)
    wait_for(Path(f"/proc/{device.pid}/task/{device.pid}/children").read_text, "the command runs")
    asking.popen.send_signal(signal.SIGINT)
    assert asking.wait() == 130
    assert asking.err == b""
    assert hub.do("request", "dev7", "now") == b"done\n"
