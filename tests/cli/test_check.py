"""`check` against real servers, real faults and real processes of this machine."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pty
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from programs import JACKFIELD, Process, Spawn, accepting, wait_for

LISTENING = """
import os, signal, socket, sys, time
kind, where, backlog = sys.argv[1], sys.argv[2], int(sys.argv[3])
if kind == "tcp":
    server = socket.create_server((where, 0), backlog=backlog)
    print(server.getsockname()[1], flush=True)
else:
    server = socket.socket(socket.AF_UNIX, getattr(socket, kind))
    server.bind(where)
    if kind != "SOCK_DGRAM":
        server.listen(backlog)
    print("ready", flush=True)
if sys.argv[4:] == ["busy"]:
    while True:
        pass
signal.pause()
"""
"""A server that listens and never accepts."""


def check(*words: str, code: int | None = None) -> str:
    """What `check` prints; its exit code must be the given one."""
    done = run(*words)
    if code is not None:
        assert done.returncode == code, done
    assert done.stderr == "", done
    return done.stdout


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [JACKFIELD, "check", *words], capture_output=True, text=True, timeout=40, stdin=subprocess.DEVNULL
    )


def as_json(*words: str) -> dict[str, Any]:
    """The report. A server that shall say something has ten seconds."""
    waiting = [] if "--wait" in words else ["--wait", "10s"]
    done = run(*words, *waiting, "--json")
    value: dict[str, Any] = json.loads(done.stdout)
    assert value["exit_code"] == done.returncode
    return value


def step(value: dict[str, Any], name: str) -> dict[str, Any]:
    """The first step of that name."""
    found: dict[str, Any] = next(step for step in value["steps"] if step["step"] == name)
    return found


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[socket.socket], None]], int]]:
    """Start a server that handles each connection with a function; its port."""
    with contextlib.ExitStack() as servers:
        yield lambda handle: servers.enter_context(accepting(handle))


Serve = Callable[[Callable[[socket.socket], None]], int]


def until_the_end(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


@pytest.fixture
def start_listening(spawn: Spawn) -> Callable[..., tuple[Process, str]]:
    """Start a process that listens and never accepts; it and what it printed first."""

    def start(kind: str, where: str, backlog: int, *how: str) -> tuple[Process, str]:
        process = spawn(sys.executable, "-c", LISTENING, kind, where, str(backlog), *how)
        return process, process.seen(rb"^(.+)\n")[1].decode()

    return start


StartListening = Callable[..., tuple[Process, str]]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def fill(address: tuple[str, int], count: int) -> list[socket.socket]:
    """Open as many connections as an accept queue takes."""
    return [socket.create_connection(address, timeout=10) for _ in range(count)]


# TCP -------------------------------------------------------------------------------------------------


def test_refused() -> None:
    port = free_port()
    out = check(f"127.0.0.1:{port}", code=30)
    assert f"refused: nothing on this machine listens on port {port}." in out
    assert re.search(r"^  failed connect +[\d.]+ ms  127\.0\.0\.1:\d+: refused$", out, re.MULTILINE)
    assert "\x1b" not in out


def test_a_banner(serve: Serve) -> None:
    port = serve(lambda connection: connection.sendall(b"220 ready\r\n\x1b[2J"))
    value = as_json("127.0.0.1", str(port))
    assert (value["cause"], value["confidence"]) == ("ok", "certain")
    assert value["sentence"] == f"127.0.0.1:{port} answers: 220 ready"
    assert step(value, "connect")["rtt"] > 0
    assert step(value, "route")["kind"] == "local"
    assert [holder["pid"] for holder in step(value, "listener")["holders"]] == [os.getpid()]


def test_the_name_is_resolved_and_told(serve: Serve) -> None:
    port = serve(lambda connection: connection.sendall(b"hello\n"))
    value = as_json(f"localhost:{port}")
    assert value["cause"] == "ok"
    assert "127.0.0.1" in step(value, "resolve")["addresses"]
    assert step(value, "resolve")["source"] == "/etc/hosts"


def test_a_server_that_waits_for_the_client_is_well(serve: Serve) -> None:
    port = serve(until_the_end)
    out = check(f"127.0.0.1:{port}", "--wait", "300ms", code=0)
    assert "as servers do that let the client speak first" in out


def test_a_server_that_was_asked_and_is_silent(serve: Serve) -> None:
    port = serve(until_the_end)
    value = as_json(f"127.0.0.1:{port}", "--send", "hello", "--wait", "300ms")
    assert (value["cause"], value["confidence"]) == ("silent-server", "likely")
    assert as_json(f"http://127.0.0.1:{port}/x", "--wait", "300ms")["cause"] == "silent-server"


def test_what_is_sent_is_answered(serve: Serve) -> None:
    port = serve(lambda connection: connection.sendall(connection.recv(100).upper()))
    assert as_json(f"127.0.0.1:{port}", "--send", "hello")["sentence"].endswith("answers: HELLO")
    value = as_json(f"127.0.0.1:{port}", "--send", "61 62", "--hex")
    assert step(value, "answer")["data"] == "AB"
    assert as_json(f"127.0.0.1:{port}", "--send", r"\x61\n", "-e")["sentence"].endswith("answers: A")


def test_closed_at_once(serve: Serve) -> None:
    port = serve(lambda connection: None)
    assert as_json(f"127.0.0.1:{port}")["cause"] == "closed-at-once"


def test_reset_after_connect(serve: Serve) -> None:
    def reset(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    assert as_json(f"127.0.0.1:{serve(reset)}", "--send", "x")["cause"] == "reset-after-connect"


def test_bound_elsewhere(start_listening: StartListening) -> None:
    process, port = start_listening("tcp", "127.0.0.2", 5)
    value = as_json(f"127.0.0.1:{port}")
    assert value["cause"] == "bound-elsewhere"
    assert f"127.0.0.2:{port}" in value["sentence"]
    assert f"(pid {process.pid}, " in value["sentence"]
    assert as_json(f"[::1]:{port}")["cause"] == "bound-elsewhere"


def test_a_stopped_process_is_named(start_listening: StartListening) -> None:
    process, port = start_listening("tcp", "127.0.0.1", 5)
    process.popen.send_signal(signal.SIGSTOP)
    wait_for(lambda: state_of(process.pid) == "T", "the stop")
    out = check(f"127.0.0.1:{port}", code=33)
    assert f"kill -CONT {process.pid}" in out
    assert as_json(f"https://127.0.0.1:{port}")["cause"] == "process-stopped"


def test_a_full_accept_queue(start_listening: StartListening) -> None:
    process, port = start_listening("tcp", "127.0.0.1", 1)
    held = fill(("127.0.0.1", int(port)), 2)
    value = as_json(f"127.0.0.1:{port}", "--timeout", "1500ms")
    assert (value["cause"], value["confidence"]) == ("accept-queue-full", "certain")
    assert any("ListenOverflows grew by" in line for line in value["evidence"])
    assert (step(value, "listener")["waiting"], step(value, "listener")["limit"]) == (2, 1)
    process.popen.send_signal(signal.SIGSTOP)
    wait_for(lambda: state_of(process.pid) == "T", "the stop")
    assert as_json(f"127.0.0.1:{port}", "--timeout", "1s")["cause"] == "process-stopped"
    for one in held:
        one.close()


def test_a_process_that_does_not_accept(start_listening: StartListening) -> None:
    process, port = start_listening("tcp", "127.0.0.1", 5)
    value = as_json(f"127.0.0.1:{port}", "--wait", "600ms")
    assert (value["cause"], value["confidence"]) == ("not-accepting", "certain")
    assert f"(pid {process.pid}, " in value["sentence"]


def test_a_process_that_computes(start_listening: StartListening) -> None:
    _, port = start_listening("tcp", "127.0.0.1", 5, "busy")
    assert as_json(f"127.0.0.1:{port}", "--wait", "600ms")["cause"] == "process-busy"


def test_no_first_byte_is_not_waited_for(serve: Serve) -> None:
    port = serve(until_the_end)
    value = as_json(f"127.0.0.1:{port}", "--no-first-byte")
    assert value["cause"] == "ok"
    assert "answer" not in [step["step"] for step in value["steps"]]


def test_several_targets_and_the_first_fault(serve: Serve) -> None:
    good, bad = serve(lambda connection: connection.sendall(b"hi\n")), free_port()
    done = run(f"127.0.0.1:{good}", f"127.0.0.1:{bad}", "unix:///nowhere/x", "--json")
    causes = [json.loads(line)["cause"] for line in done.stdout.splitlines()]
    assert causes == ["ok", "refused", "no-socket"]
    assert done.returncode == 30


def test_options_of_the_address_are_used(serve: Serve) -> None:
    port = serve(lambda connection: connection.sendall(connection.getpeername()[0].encode()))
    assert as_json(f"127.0.0.1:{port},bind=127.0.0.9")["sentence"].endswith("answers: 127.0.0.9")


# HTTP and TLS ----------------------------------------------------------------------------------------


def test_a_web_server(spawn: Spawn, directory: Path) -> None:
    server = spawn(sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "-d", directory)
    port = server.seen(rb"port (\d+) ")[1].decode()
    value = as_json(f"http://127.0.0.1:{port}/")
    assert value["cause"] == "ok"
    assert step(value, "answer")["data"].startswith("HTTP/1.0 200 OK")
    assert "404" in as_json(f"http://127.0.0.1:{port}/nothing")["sentence"]
    value = as_json(f"https://127.0.0.1:{port}/")
    assert value["cause"] == "tls-failed"
    assert "does not speak TLS" in value["sentence"]


def test_no_web_server(serve: Serve) -> None:
    port = serve(lambda connection: connection.sendall(b"SSH-2.0-x\r\n"))
    assert as_json(f"http://127.0.0.1:{port}")["cause"] == "wrong-protocol"


@pytest.fixture
def certificate(directory: Path) -> tuple[Path, Path]:
    """A certificate of its own for localhost, and its key."""
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", key, "-out", certificate, "-days", "5", "-subj", "/CN=localhost",
            "-addext", "subjectAltName=DNS:localhost",
        ],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    return certificate, key


def test_a_certificate_of_its_own(
    serve: Serve, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)

    def answer(connection: socket.socket) -> None:
        with contextlib.suppress(ssl.SSLError), context.wrap_socket(connection, server_side=True) as secure:
            if secure.recv(1000).startswith(b"HEAD /hello "):
                secure.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    port = serve(answer)
    value = as_json(f"https://localhost:{port}/hello")
    assert value["cause"] == "certificate-invalid"
    assert "self-signed" in value["sentence"]
    assert step(value, "tls")["certificate"]["names"] == ["localhost"]
    assert step(value, "tls")["version"].startswith("TLSv1.")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    value = as_json(f"https://localhost:{port}/hello")
    assert (value["cause"], step(value, "tls")["verified"]) == ("ok", True)
    assert "204 No Content" in value["sentence"]
    assert any("the certificate ends in" in line for line in value["evidence"])
    value = as_json(f"https://127.0.0.1:{port}/hello")
    assert value["cause"] == "certificate-invalid"
    assert "127.0.0.1" in value["sentence"]


def test_a_certificate_that_is_pinned(serve: Serve, certificate: tuple[Path, Path]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)

    def answer(connection: socket.socket) -> None:
        with contextlib.suppress(ssl.SSLError), context.wrap_socket(connection, server_side=True) as secure:
            secure.sendall(b"hello\n")
            secure.recv(1000)

    port = serve(answer)
    pin = hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate[0].read_text())).hexdigest()
    value = as_json(f"tls://127.0.0.1:{port}?pin=sha256:{pin}")
    assert (value["cause"], step(value, "tls")["verified"]) == ("ok", True)
    value = as_json(f"tls://127.0.0.1:{port}?pin=sha256:{'00' * 32}")
    assert (value["cause"], step(value, "tls")["verified"]) == ("certificate-invalid", False)
    assert f"sha256:{pin}, and not the one of pin=" in value["sentence"]
    assert step(value, "tls")["certificate"]["names"] == ["localhost"]


def test_tls_that_ends_after_the_handshake(
    serve: Serve, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)

    def close(connection: socket.socket) -> None:
        with contextlib.suppress(ssl.SSLError), context.wrap_socket(connection, server_side=True) as secure:
            secure.unwrap()

    assert as_json(f"tls://localhost:{serve(close)}")["cause"] == "closed-at-once"
    context.load_verify_locations(certificate[0])
    context.verify_mode = ssl.CERT_REQUIRED
    value = as_json(f"tls://localhost:{serve(close)}")
    assert value["cause"] == "tls-failed"
    assert "certificate required" in value["sentence"]


@pytest.mark.parametrize("last", [b"", b"220 hello\r\n"])
def test_a_handshake_that_does_not_come_about(serve: Serve, last: bytes) -> None:
    def end(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(last)

    assert as_json(f"tls://127.0.0.1:{serve(end)}")["cause"] == "tls-failed"


# UDP -------------------------------------------------------------------------------------------------


@pytest.fixture
def udp() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        bound.settimeout(20)
        yield bound


def test_a_closed_udp_port(udp: socket.socket) -> None:
    port = udp.getsockname()[1]
    udp.close()
    assert as_json(f"udp://127.0.0.1:{port}")["cause"] == "refused"


def test_a_udp_port_that_is_bound(udp: socket.socket) -> None:
    port = udp.getsockname()[1]
    value = as_json(f"udp://127.0.0.1:{port}", "--wait", "300ms")
    assert value["cause"] == "not-accepting", "this test holds the socket and does not read"
    assert udp.recv(10) == b""

    def read() -> None:
        with contextlib.suppress(OSError):
            while True:
                udp.recv(10)

    threading.Thread(target=read, daemon=True).start()
    assert as_json(f"udp://127.0.0.1:{port}", "--wait", "1s")["cause"] == "ok"


def test_a_udp_answer(udp: socket.socket) -> None:
    def answer() -> None:
        data, peer = udp.recvfrom(100)
        udp.sendto(data[::-1], peer)

    threading.Thread(target=answer, daemon=True).start()
    value = as_json(f"udp://127.0.0.1:{udp.getsockname()[1]}", "--send", "ping")
    assert value["sentence"].endswith("answers: gnip")


def test_a_udp_port_bound_elsewhere(udp: socket.socket) -> None:
    port = udp.getsockname()[1]
    assert as_json(f"udp://127.0.0.3:{port}")["cause"] == "bound-elsewhere"


# Unix ------------------------------------------------------------------------------------------------


@pytest.fixture
def path(directory: Path) -> Path:
    return directory / "s"


def test_unix_absent_and_no_socket(path: Path) -> None:
    assert as_json(f"unix://{path}")["cause"] == "no-socket"
    assert as_json(f"unix://{path}/x/y")["cause"] == "no-socket"
    path.write_text("a file")
    assert as_json(str(path))["cause"] == "not-a-socket"
    assert as_json("unix://@jackfield-nobody-has-this-name")["cause"] == "no-socket"


def test_unix_stale(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
    out = check(f"unix://{path}", code=41)
    assert f"stale-socket: the socket file {path} is stale" in out


def test_unix_of_another_kind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(path))
        value = as_json(f"unix://{path}")
        assert value["cause"] == "wrong-kind"
        assert f"unix+dgram://{path}" in value["next_step"]
        assert as_json(f"unix+dgram://{path}")["cause"] == "ok"


def test_unix_full_stopped_and_not_accepting(start_listening: StartListening, path: Path) -> None:
    process, _ = start_listening("SOCK_STREAM", str(path), 0)
    assert as_json(f"unix://{path}", "--wait", "600ms")["cause"] == "not-accepting"
    # That check's connection still waits to be accepted, and fills the queue.
    value = as_json(f"unix://{path}", "--timeout", "500ms")
    assert (value["cause"], value["confidence"]) == ("accept-queue-full", "certain")
    process.popen.send_signal(signal.SIGSTOP)
    wait_for(lambda: state_of(process.pid) == "T", "the stop")
    assert as_json(f"unix://{path}", "--timeout", "500ms")["cause"] == "process-stopped"


UNPRIVILEGED = """
import os, sys, jackfield
from jackfield.diagnosis import check
for name in jackfield.__all__:
    getattr(jackfield, name)
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
print(jackfield.run(lambda: check(sys.argv[1])).verdict.cause)
"""
"""A check by somebody who is not root, with everything loaded before: this checkout may be root's."""


def test_unix_permission(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        path.chmod(0)
        path.parent.chmod(0o755)
        command = [sys.executable, "-c", UNPRIVILEGED]
        done = subprocess.run([*command, f"unix://{path}"], capture_output=True, text=True, timeout=30)
        assert done.stdout == "permission\n", done
        path.parent.chmod(0)
        done = subprocess.run([*command, f"unix://{path}"], capture_output=True, text=True, timeout=30)
        path.parent.chmod(0o755)
        assert done.stdout == "permission\n", done


def test_a_tcp_listener_of_another_user_is_seen() -> None:
    """Who holds it is not, but its user; nothing here needs a privilege."""
    with socket.create_server(("127.0.0.2", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        done = subprocess.run(
            [sys.executable, "-c", UNPRIVILEGED, address], capture_output=True, text=True, timeout=30
        )
    assert done.stdout == "bound-elsewhere\n", done


def test_unix_ok(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.bind(str(path))
        server.listen()

        def greet() -> None:
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                connection.sendall(b"hello")

        threading.Thread(target=greet, daemon=True).start()
        assert as_json(f"unix+seqpacket://{path}")["sentence"].endswith("answers: hello")


# Ends ------------------------------------------------------------------------------------------------


def test_ctrl_c_tells_what_was_seen(serve: Serve, spawn: Spawn) -> None:
    port = serve(until_the_end)
    process = spawn(JACKFIELD, "check", f"127.0.0.1:{port}", "--wait", "60s")
    process.seen(rb"connected")
    process.popen.send_signal(signal.SIGINT)
    assert process.wait() == 130
    assert b"interrupted: the check was interrupted" in process.out
    assert b"connected within" in process.out
    assert process.err == b""


def test_a_terminal_gets_colours(serve: Serve) -> None:
    port = serve(lambda connection: connection.sendall(b"hi\n"))
    reader, writer = pty.openpty()
    process = subprocess.Popen(
        [JACKFIELD, "check", f"127.0.0.1:{port}"], stdout=writer, stdin=subprocess.DEVNULL
    )
    os.close(writer)
    shown = b""
    with contextlib.suppress(OSError):  # a terminal without a writer
        while data := os.read(reader, 4096):
            shown += data
    os.close(reader)
    assert process.wait(20) == 0
    assert "\x1b[32m✓\x1b[0m connect".encode() in shown
    assert b"\x1b[1;32mok\x1b[0m: " in shown


def test_the_causes_are_listed() -> None:
    out = check("--causes", code=0)
    assert re.search(r"^ 30  refused +the host answered", out, re.MULTILINE)
    codes = json.loads(check("--causes", "--json", code=0))
    assert codes["process-stopped"] == 33


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["pair:"], "cannot be checked"),
        (["serial:///dev/nothing"], "cannot be checked"),
        (["/dev/ttyUSB0"], "cannot be checked"),
        (["h:1,nodelay=perhaps"], "nodelay"),
        (["nonsense://x"], "nonsense"),
        (["h:1", "--timeout", "5"], "250ms, 5s"),
        (["h:1", "--hex"], "--send"),
        (["h:1", "--send", "xyz", "--hex"], "hex digit"),
    ],
)
def test_wrong_usage_is_one_line_and_2(words: list[str], says: str) -> None:
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, ""), done
    assert done.stderr.startswith("jackfield: ")
    assert done.stderr.count("\n") == 1
    assert says in done.stderr


def test_nothing_to_check_is_told() -> None:
    done = run("--json")
    assert done.returncode == 2
    assert "ADDRESS" in done.stderr
