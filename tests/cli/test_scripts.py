"""Scripts: hooks in a file that the hub calls, and loads anew when the file changes."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from programs import JACKFIELD, HubProcess, Spawn, StartHub, wait_for


def connect(hub: HubProcess, index: int = 0) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", hub.port(index)))
    client.settimeout(30)
    return client


def read_line(client: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\n"):
        more = client.recv(1)
        assert more, data
        data += more
    return data


def write(path: Path, text: str) -> Path:
    """Put a file in place at once, as editors do."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)
    return path


def scripts(hub: HubProcess) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(hub.do("script", "ls", "--json"))
    return found


def test_hooks_see_a_client_from_its_coming_to_its_going(start_hub: StartHub, directory: Path) -> None:
    path = write(
        directory / "hooks.py",
        "def on_join(client):\n"
        "    print('join', client.name, client.protocol, client.peer)\n"
        "    client.send(b'welcome\\n')\n"
        "def on_message(client, message):\n"
        "    if message == b'out\\n':\n"
        "        client.kick()\n"
        "    elif message == b'raw\\n':\n"
        "        return b'as it is\\n'\n"
        "    else:\n"
        "        return message.decode().strip().upper()\n"
        "def on_leave(client, reason):\n"
        "    print('leave', client.id, reason)\n",
    )
    hub = start_hub("tcp://127.0.0.1:0,eol=crlf", "--script", str(path))
    hub.seen(rb" script_loaded script=\S+hooks.py hooks=on_message,on_join,on_leave")
    with connect(hub) as client:
        assert read_line(client) == b"welcome\n"
        client.sendall(b"hello\n")
        assert read_line(client) == b"HELLO\r\n"
        client.sendall(b"raw\n")
        assert read_line(client) == b"as it is\n"
        client.sendall(b"out\n")
        assert client.recv(10) == b""
    hub.seen(rb' script_says script=hooks.py text="join tcp-1 tcp 127.0.0.1:\d+"')
    hub.seen(rb' left id=1 .* reason="kicked by script:hooks.py"')
    hub.seen(rb' text="leave 1 kicked by script:hooks.py"')


def test_a_file_that_never_ends_does_not_hold_up_the_end(
    hub: HubProcess, spawn: Spawn, directory: Path
) -> None:
    text = "import time\nprint('begun')\nwhile True:\n    time.sleep(0.1)\n"
    path = write(directory / "hooks.py", text)
    spawn(JACKFIELD, "script", "add", path, environment=hub.environment)
    hub.seen(rb"script_says .*begun")
    assert hub.terminate() == 0
    assert b" fault " not in hub.out


def test_a_file_that_changes_is_loaded_anew_and_a_broken_one_changes_nothing(
    start_hub: StartHub, directory: Path
) -> None:
    path = write(directory / "hooks.py", "def on_message(client, message):\n    return 'one'\n")
    hub = start_hub("tcp://127.0.0.1:0")
    hub.do("script", "add", str(path))
    with connect(hub) as client:
        client.sendall(b"?")
        assert read_line(client) == b"one\n"
        write(path, "def on_message(client, message):\n    return 'two'\n")
        hub.seen(rb"(?s)script_loaded.*script_loaded")
        client.sendall(b"?")
        assert read_line(client) == b"two\n"
        write(path, "def on_message(client, message)\n    return 'three'\n")
        hub.seen(rb" script_not_loaded reason=\"\S+hooks.py: SyntaxError: .*\(\S+hooks.py:1\)\"")
        client.sendall(b"?")
        assert read_line(client) == b"two\n"
        assert "SyntaxError" in scripts(hub)[0]["problem"]
        assert b"not loaded anew" in hub.do("script", "ls")
        write(path, "raise KeyboardInterrupt\n")
        hub.seen(rb" script_not_loaded reason=\"\S+hooks.py: KeyboardInterrupt: +\(\S+hooks.py:1\)\"")
        write(path, "answers = 0\ndef on_message(client, message):\n    return 1 / answers\n")
        hub.seen(rb"(?s)script_not_loaded.*script_loaded")
        client.sendall(b"?")
        hub.seen(
            rb' script_failed by=script:hooks.py hook=on_message error="ZeroDivisionError: .*hooks.py:3\)"'
        )
        write(path, "def on_message(client, message):\n    return 7\n")
        hub.seen(rb"(?s)script_failed.*script_loaded")
        client.sendall(b"?")
        hub.seen(rb"bytes or text can be sent to a client, not int")
        hub.do("script", "rm", "hooks.py")
        assert scripts(hub) == []


def test_a_script_that_never_returns_holds_up_nobody(start_hub: StartHub, directory: Path) -> None:
    slow = write(directory / "slow.py", "def on_message(client, message):\n    while True: pass\n")
    quick = write(directory / "quick.py", "def on_message(client, message):\n    return 'here'\n")
    hub = start_hub(
        "tcp://127.0.0.1:0", "--script", str(slow), "--script", str(quick), "--max-message", "64K"
    )
    with connect(hub) as client:
        for _ in range(3):
            client.sendall(b"?")
            assert read_line(client) == b"here\n"
        client.sendall(bytes(24 * 1024 * 1024))
        wait_for(lambda: any(each["dropped"] for each in scripts(hub)), "dropped calls", deadline=50)
        hub.seen(rb" script_slow script=\S+slow.py dropped=")
    assert hub.terminate() == 0


def test_a_script_in_a_loop_with_a_udp_program_comes_to_an_end(start_hub: StartHub, directory: Path) -> None:
    path = write(directory / "hooks.py", "def on_message(client, message):\n    return b'what?'\n")
    hub = start_hub("udp://127.0.0.1:0", "--script", str(path))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.connect(("127.0.0.1", hub.port()))
        other.settimeout(30)
        other.send(b"hello")
        answered = 0
        while True:
            try:
                other.recv(100)
            except TimeoutError:
                break
            answered += 1
            assert answered < 1000
            other.send(b"pardon?")
            other.settimeout(1.0)
        assert 0 < answered <= 25
        hub.seen(rb" script_withheld ")


def test_what_cannot_be_loaded_says_where(hub: HubProcess, spawn: Spawn, directory: Path) -> None:
    for text, words in (
        ("x = 1\n", b"has none of the functions on_message, on_join, on_leave"),
        ("on_message = 7\n", b"on_message is no function but 7"),
        ("import nothing_of_that_name\n", b"ModuleNotFoundError"),
        ("x = 1\ny = 1 / 0\n", b"hooks.py:2"),
        ("raise SystemExit(3)\n", b"it ended itself (3)"),
        ("raise KeyboardInterrupt\n", b"KeyboardInterrupt"),
        ("class Untold(BaseException):\n    __str__ = None\nraise Untold\n", b"it cannot be told"),
    ):
        path = write(directory / "hooks.py", text)
        done = hub.run("script", "add", str(path))
        assert done.returncode == 1, (text, done)
        assert words in done.stderr, (text, done)
    missing = hub.run("script", "add", str(directory / "none.py"))
    assert b"none.py: No such file" in missing.stderr
    assert b"no script 'x.py'; there is none" in hub.run("script", "rm", "x.py").stderr
    starting = spawn(
        JACKFIELD, "serve", "tcp://127.0.0.1:0", "--script", path, "--control", directory / "other.sock"
    )
    assert starting.wait() == 1
    assert b"it cannot be told" in starting.err
