"""Figures and backups of a running hub: /metrics, status, backup."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest
from programs import HubProcess, StartHub, need, wait_for

from jackfield import portable
from jackfield.hub.metrics import Metric, text

pytestmark = pytest.mark.timeout(120)


SAMPLE = re.compile(r'([a-zA-Z_:][\w:]*)(\{(?:[a-z_]+="(?:[^"\\]|\\["\\n])*",?)*\})? (\S+)')


def parse(page: str) -> dict[str, dict[str, float]]:
    """Read the text format strictly: values by name and labels."""
    assert page.endswith("\n")
    found: dict[str, dict[str, float]] = {}
    known: dict[str, str] = {}
    described: set[str] = set()
    for line in page.splitlines():
        if line.startswith("# HELP "):
            name = line.split(" ", 3)[2]
            assert name not in described
            described.add(name)
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert kind in ("counter", "gauge")
            assert name in described
            assert (kind == "counter") == name.endswith("_total")
            known[name] = kind
        else:
            match = re.fullmatch(
                r'([a-zA-Z_:][\w:]*)(\{(?:[a-z_]+="(?:[^"\\]|\\["\\n])*",?)*\})? (\S+)', line
            )
            assert match is not None, line
            assert match[1] in known
            values = found.setdefault(match[1], {})
            assert (match[2] or "") not in values
            values[match[2] or ""] = float(match[3])
    return found


def test_text_is_escaped_and_names_are_checked() -> None:
    metric = Metric("a_total", "counter", "back\\slash\nline").add(1.5, path='C:\\x "y"\n').add(2)
    assert text([metric]) == (
        "# HELP a_total back\\\\slash\\nline\n# TYPE a_total counter\n"
        'a_total{path="C:\\\\x \\"y\\"\\n"} 1.5\n'
        "a_total 2\n"
    )
    assert parse(text([metric]))["a_total"][""] == 2
    for name, label in (("a-b", "x"), ("a", "x-y"), ("1a", "x"), ("a", "")):
        with pytest.raises(ValueError, match="no name"):
            text([Metric(name, "gauge", "x").add(1, **{label: "v"})])


def ask(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=15) as client:
        client.sendall(request)
        answer = b""
        while part := client.recv(65536):
            answer += part
        return answer


def metrics_port(hub: HubProcess, seen: int = 0) -> int:
    hub.seen(rb"(?s)" + rb".*".join([rb" metrics url=http://127\.0\.0\.1:(\d+)/metrics"] * (seen + 1)))
    return int(re.findall(rb" metrics url=http://127\.0\.0\.1:(\d+)/metrics", bytes(hub.out))[-1])


def test_prometheus_reads_the_figures(start_hub: StartHub) -> None:
    need("curl")
    hub = start_hub("tcp://127.0.0.1:0", "udp://127.0.0.1:0", "--metrics", "127.0.0.1:0")
    port = metrics_port(hub)
    with socket.create_connection(("127.0.0.1", hub.port()), timeout=15) as client:
        hub.joined(1)
        client.sendall(b"hello")
        hub.do("send", "1", "--hex", "6869")
        wait_for(lambda: hub.clients()[0]["bytes_in"] == 5, "what it said")
        with socket.create_connection(("127.0.0.1", hub.port()), timeout=15) as other:
            other.sendall(b"bye")
        wait_for(lambda: b" left id=2" in hub.out, "the other one to leave")
        url = f"http://127.0.0.1:{port}/metrics"
        page = subprocess.run(["curl", "-sS", "--fail", url], capture_output=True, text=True, check=True)
        found = parse(page.stdout)
        assert found["jackfield_clients"] == {
            f'{{listener="{hub.listening[0]}"}}': 1,
            f'{{listener="{hub.listening[1]}"}}': 0,
        }
        assert found["jackfield_clients_joined_total"][""] == 2
        assert found["jackfield_received_bytes_total"][""] == 8, "who left counts, too"
        assert found["jackfield_sent_bytes_total"][""] == 2
        assert found["process_resident_memory_bytes"][""] > 1_000_000
        assert found["process_open_fds"][""] < found["process_max_fds"][""]
        head = subprocess.run(["curl", "-sS", "-I", url], capture_output=True, text=True, check=True).stdout
        assert head.startswith("HTTP/1.1 200 OK")
        assert "text/plain; version=0.0.4" in head
        # A reload forgets nothing.
        hub.do("reload")
        port = metrics_port(hub, 1)
        found = parse(ask(port, b"GET /metrics HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")[2].decode())
        assert found["jackfield_received_bytes_total"][""] == 8
        assert found["jackfield_clients_joined_total"][""] == 2


def test_nobody_holds_up_the_figures(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0", "--metrics", "127.0.0.1:0")
    port = metrics_port(hub)
    assert ask(port, b"POST /metrics HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 405 ")
    assert ask(port, b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 404 ")
    assert ask(port, b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert ask(port, b"GET /" + b"x" * 9000).startswith(b"HTTP/1.1 400 ")
    assert ask(port, b"HEAD /metrics HTTP/1.1\r\n\r\n").endswith(b"\r\n\r\n")
    # Those who say nothing are hung up on, and take no more places than there are.
    slow = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(40)]
    for client in slow[:32]:
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""
    for client in slow:
        client.close()
    wait_for(lambda: ask(port, b"GET /metrics HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 200 "), "an answer")
    refused = start_hub("tcp://127.0.0.1:0").run("serve", "tcp://127.0.0.1:0", "--metrics", "udp://:1")
    assert refused.returncode == 2
    assert b"served over tcp: and unix:" in refused.stderr


def test_status_says_how_the_hub_is(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0")
    with socket.create_connection(("127.0.0.1", hub.port()), timeout=15):
        hub.joined(1)
        status = json.loads(hub.do("status", "--json"))
        assert status["listeners"][0]["clients"] == 1
        assert status["memory"] > 1_000_000
        assert 0 < status["descriptors"] < status["descriptors_limit"]
        assert "health" in status["parts"]
        shown = hub.do("status").decode()
        assert "descriptors" in shown
        assert ", 1 client\n" in shown


def test_a_backup_restores_what_lasts(start_hub: StartHub, directory: Path) -> None:
    config = directory / "jackfield.toml"
    config.write_text('listen = ["tcp://127.0.0.1:0?protocol=native"]\n')
    state, archive = directory / "state.db", directory / "hub.tar.gz"
    hub = start_hub("--config", str(config), "--state", str(state))
    hub.do("snippet", "add", "greet", "hello there")
    with portable.connect(f"tcp://127.0.0.1:{hub.port()}", name="ana", timeout=10.0) as client:
        client.join("ops", create=True, durable=True, timeout=10.0).publish(b"kept")
        wait_for(lambda: client.control("rooms")["rooms"][0]["last"] == 1)
    made = json.loads(hub.do("backup", str(archive), "--json"))
    assert made["of_a_running_hub"] is True
    assert made["state"] == str(state)
    assert made["rooms"] == str(directory / "state-rooms.db")
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    nowhere = hub.run("backup", str(directory / "no" / "b.tar"))
    assert f"there is no directory {directory}/no; make it first" in nowhere.stderr.decode()
    again = hub.run("backup", str(archive))
    assert again.returncode == 1
    assert b"--force" in again.stderr
    assert [each for each in os.listdir(directory) if each.startswith(".jackfield")] == []
    hub.do("snippet", "rm", "greet")
    running = hub.run("restore", str(archive), "--state", str(state))
    assert b"another hub" in running.stderr
    assert hub.terminate() == 0
    text = config.read_bytes()
    places = ("--state", str(state), "--config", str(config))
    restored = json.loads(hub.do("restore", str(archive), *places, "--json"))
    assert (restored["state"], restored["rooms"]) == (str(state), made["rooms"])
    assert config.read_bytes() == text
    with tarfile.open(archive) as opened:
        names = opened.getnames()
    assert names == ["hub.db", "hub-rooms.db", "jackfield.toml", "backup.json"]
    later = start_hub("--config", str(config), "--state", str(state))
    assert b"hello there" in later.do("snippet", "ls")
    with portable.connect(f"tcp://127.0.0.1:{later.port()}", name="bo", timeout=10.0) as client:
        assert [line.data for line in client.join("ops", timeout=10.0).history()] == [b"kept"]
    # Without a hub the files are taken as they are.
    assert later.terminate() == 0
    quiet = later.run("backup", str(directory / "quiet.tar.gz"))
    assert quiet.returncode == 1
    assert b"neither a state nor a configuration" in quiet.stderr
