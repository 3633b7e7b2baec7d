"""portable.py as a program of its own: a blocking client against a hub in another thread, and alone."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from background import Background, real_hub
from native_hub import running_hub
from pure_hub import PureHub, pure_hub

from jackfield import portable

FILE = Path(portable.__file__)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:0", "unix://{}/hub"])
def test_two_blocking_clients(directory: Path, address: str) -> None:
    with real_hub(directory, address.format(directory)) as where:
        plain = where.partition("?")[0]
        with portable.connect(plain, name="alice") as alice, portable.connect(plain, name="bob") as bob:
            assert [each["name"] for each in alice.clients(10.0)] == ["alice", "bob"]
            stream = alice_opens(alice, bob)
            ours, theirs = stream
            large = bytes(range(256)) * 4_000
            sending = threading.Thread(target=ours.send, args=(large, 10.0))
            sending.start()
            assert theirs.receive(10.0) == large
            sending.join(10.0)
            theirs.send(b"", 10.0)
            assert ours.receive(10.0) == b""
            ours.end()
            assert theirs.receive(10.0) is None
            theirs.send(b"still", 10.0)
            assert ours.receive(10.0) == b"still"
            theirs.abort()
            with pytest.raises(OSError, match="cancelled"):
                ours.receive(10.0)
            bob.answer(lambda peer, data: f"{peer} said ".encode() + data)
            assert alice.request("bob", b"hello", 10.0) == b"alice said hello"
            with pytest.raises(portable.Refused, match="no_such_peer") as caught:
                alice.request("carol", b"hello", 10.0)
            assert caught.value.code == "no_such_peer"
            with pytest.raises(TimeoutError, match="no message came within"):
                alice.receive(0.01)


def alice_opens(alice: portable.Client, bob: portable.Client) -> tuple[portable.Stream, portable.Stream]:
    """Both ends of a stream."""
    taken: list[portable.Stream] = []
    taking = threading.Thread(target=lambda: taken.append(bob.accept(timeout=10.0)))
    taking.start()
    ours = alice.open("bob", timeout=10.0)
    taking.join(10.0)
    return ours, taken[0]


def test_an_asking_client_hears_why_not(directory: Path) -> None:
    def answer(peer: str, data: bytes) -> bytes:
        raise ValueError("no idea\x1b[0m")

    with real_hub(directory) as where:
        plain = where.partition("?")[0]
        with portable.connect(plain, name="alice") as alice, portable.connect(plain, name="bob") as bob:
            bob.answer(answer)
            with pytest.raises(portable.Refused, match=r"no idea\\x1b\[0m"):
                alice.request("bob", b"?", 10.0)
            bob.close()
            with pytest.raises(OSError):  # noqa: PT011 - the kind is the promise
                bob.clients(1.0)


def test_who_answers_nothing_says_so_within_a_second(directory: Path) -> None:
    with real_hub(directory) as where:
        plain = where.partition("?")[0]
        with portable.connect(plain, name="alice") as alice, portable.connect(plain, name="bob") as bob:
            with pytest.raises(portable.Refused, match="nobody answers questions there") as caught:
                alice.request("bob", b"?", 20.0)
            assert caught.value.code == "no_such_service"
            bob.answer(lambda peer, data: data)
            assert alice.request("bob", b"now", 10.0) == b"now"


def send_all(stream: portable.Stream, messages: list[bytes]) -> None:
    for message in messages:
        stream.send(message, 10.0)


def test_it_comes_back_and_loses_nothing() -> None:
    with Background(pure_hub) as background:
        hub: PureHub = background.hub
        with portable.connect(str(hub.address), name="alice") as client:
            stream = client.open("echo", timeout=10.0)
            for turn in range(5):
                sent = [b"%d-%d " % (turn, number) * (number * 40) for number in range(30)]
                sending = threading.Thread(
                    target=lambda sent=sent: [stream.send(each, 10.0) for each in sent]
                )
                sending.start()
                received = [stream.receive(10.0)]
                background.call(hub.break_all)
                received += [stream.receive(10.0) for _ in sent[1:]]
                sending.join(10.0)
                assert received == sent
            background.call(
                lambda: hub.tell({"type": "message", "from": {"name": "x"}, "text": "hi", "number": 1})
            )
            assert client.receive(10.0)[:2] == ("x", b"hi")
            background.call(lambda: setattr(hub, "refusal", ("forbidden", "not any more")))
            background.call(hub.break_all)
            with pytest.raises(OSError, match="not any more"):
                client.receive(10.0)


def test_it_is_refused_with_a_code() -> None:
    with Background(pure_hub) as background:
        background.call(lambda: setattr(background.hub, "refusal", ("bad_token", "nobody knows it")))
        with pytest.raises(portable.Refused, match=r"nobody knows it \(bad_token\)") as caught:
            portable.connect(str(background.hub.address), token="jf_x")
        assert caught.value.code == "bad_token"
        assert background.hub.hellos[0]["token"] == "jf_x"
    with pytest.raises(OSError, match="refused"):
        portable.connect("tcp://127.0.0.1:9")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("tcp://127.0.0.1:7000", ("tcp", "127.0.0.1", 7000, "", None, None)),
        ("hub:7000", ("tcp", "hub", 7000, "", None, None)),
        ("tls://[::1]:7?pin=sha256:AB&invitation=jf_x", ("tls", "::1", 7, "", "sha256:AB", "jf_x")),
        ("unix:///tmp/a%20b", ("unix", "", 0, "/tmp/a b", None, None)),
        ("unix://@name", ("unix", "", 0, "\0name", None, None)),
        ("ws://127.0.0.1:80/x?a=1&jf.token=t", ("ws", "127.0.0.1", 80, "/x?a=1", None, "t")),
        ("wss://hub?jf.pin=sha256:AB", ("wss", "hub", 443, "/native", "sha256:AB", None)),
    ],
)
def test_addresses(text: str, place: tuple[Any, ...]) -> None:
    assert portable.Place.parse(text)[:6] == place


@pytest.mark.parametrize("text", ["", "hub", "udp://hub:1", "tcp://hub", "tcp://hub:x"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="is not the address of a hub"):
        portable.Place.parse(text)


# Alone --------------------------------------------------------------------------------------------


def test_it_is_python_3_8_and_the_standard_library() -> None:
    tree = ast.parse(FILE.read_text(), feature_version=(3, 8))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names
    newer = {"removeprefix", "removesuffix", "pairwise", "batched", "bit_count"}
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert used & newer == set()


@pytest.fixture
def run(directory: Path) -> Any:
    """The file, copied to where nothing else is, as a command."""
    shutil.copy(FILE, directory)

    def run(*arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", "portable.py", *arguments]
        return subprocess.run(command, cwd=directory, input=said, capture_output=True, text=True, timeout=30)

    return run


def test_it_runs_alone(run: Any, directory: Path) -> None:
    assert "examples:" in run("--help").stdout
    failed = run("clients", "tcp://127.0.0.1:9")
    assert failed.returncode == 1
    assert failed.stderr == "portable.py: tcp://127.0.0.1:9: Connection refused\n"
    assert "portable.py: " in run("clients", "udp://x:1").stderr
    with real_hub(directory) as where, portable.connect(where.partition("?")[0], name="dev7") as device:
        plain = where.partition("?")[0]
        device.answer(lambda peer, data: data.upper() + b"\x1b[31m")
        listed = run("clients", plain, "--name", "mia")
        assert [line.split()[1:] for line in listed.stdout.splitlines()] == [
            ["dev7", "connected"],
            ["mia", "connected"],
        ]
        assert run("request", plain, "dev7", "status").stdout == "STATUS\\x1b[31m\n"
        joined = run("join", plain, "--name", "carol", said="/clients\nhello\n/quit\n")
        assert joined.returncode == 0
        assert "carol" in joined.stdout
        assert "joined" in joined.stderr
        left = run("join", plain, "--name", "carol", "--room", "lobby")
        assert left.stderr == f"joined {plain} as carol\n"
        assert (left.returncode, left.stdout) == (0, "")
        device.answer(lambda peer, data: b"one\r\ntwo\tthree\n\n")
        assert run("request", plain, "dev7", "status").stdout == "one\\r\ntwo\tthree\n\n"


def test_what_came_for_an_invitation_is_kept_or_shown(run: Any, directory: Path) -> None:
    with Background(pure_hub) as background:
        hub, where = background.hub, str(background.hub.address).partition("?")[0]
        hub.more = {"token": "jf_lasting"}
        with portable.connect(f"{where}?invitation=jf_once") as client:
            assert client.token == "jf_lasting"
        invitation = f"{where}?invitation=jf_once"
        shown = run("join", invitation)
        assert "jf_lasting" in shown.stderr
        assert f"portable.py join {where} ... --token-file FILE" in shown.stderr
        kept = directory / "token"
        first = run("join", invitation, "--token-file", str(kept))
        assert "jf_lasting" not in first.stderr
        assert kept.read_text() == "jf_lasting\n"
        assert kept.stat().st_mode & 0o777 == 0o600
        hub.more = {}
        run("join", invitation, "--token-file", str(kept))
        run("join", where, "--token-file", str(kept))
        assert [hello["token"] for hello in hub.hellos] == ["jf_once"] * 3 + ["jf_lasting"] * 2
        hub.refusal = ("bad_token", "nobody knows it")
        assert "remove it to come with an invitation" in run("join", where, "--token-file", str(kept)).stderr
        nowhere = run("join", invitation, "--token-file", str(directory / "no" / "token"))
        assert nowhere.stderr == f"portable.py: {directory}/no/token: No such file or directory\n"
        assert len(hub.hellos) == 6


def test_a_certificate_of_nobody_says_that_the_pin_is_missing(run: Any, directory: Path) -> None:
    opening = lambda: running_hub(directory, "tls://127.0.0.1:0", state=directory / "hub.db")  # noqa: E731
    with Background(opening) as background:
        plain = f"tls://{background.hub.listeners[0][0].address.endpoint}"
        said = run("clients", plain).stderr
        assert said.startswith(
            f"portable.py: {plain}: the certificate of 127.0.0.1 is not trusted: self-signed"
        )
        assert f"{plain}?pin=sha256:..." in said
        assert said.count("\n") == 1


def test_a_question_may_be_text(directory: Path) -> None:
    with real_hub(directory) as where, portable.connect(where.partition("?")[0], name="bob") as bob:
        bob.answer(lambda peer, data: data.upper())
        assert bob.request("bob", "ä", 10.0) == "ä".encode().upper()
