"""`connect` and `listen` beside nc, socat and Python: every byte, both ends, half-close."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from programs import JACKFIELD, Process, Spawn, need, wait_for

DATA = bytes(range(256)) * 8192  # 2 MiB, every byte value


def run(*words: str, data: bytes = b"", timeout: float = 30) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([JACKFIELD, *words], input=data, capture_output=True, timeout=timeout)


def listening(process: Process) -> str:
    """Where a `jackfield listen` listens."""
    return process.seen(rb"jackfield: listening on (\S+)\n", err=True)[1].decode()


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


class Server:
    """One connection, handled by a function in a thread."""

    def __init__(self, handle: Callable[[socket.socket], None]) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, args=(handle,), daemon=True)
        self._thread.start()

    def _serve(self, handle: Callable[[socket.socket], None]) -> None:
        connection, _ = self.listener.accept()
        with connection:
            handle(connection)

    def close(self) -> None:
        self._thread.join(10)
        self.listener.close()


def until_reset(connection: socket.socket) -> None:
    with contextlib.suppress(ConnectionResetError):
        everything(connection)


def everything(connection: socket.socket) -> bytes:
    data = bytearray()
    while part := connection.recv(1 << 20):
        data += part
    return bytes(data)


# -------------------------------------------------------------------- half-close


def test_the_inputs_end_is_passed_on_and_the_answer_read_to_its_end() -> None:
    def answer_after_the_end(connection: socket.socket) -> None:
        connection.sendall(everything(connection)[::-1])

    server = Server(answer_after_the_end)
    done = run("connect", f"127.0.0.1:{server.port}", data=DATA)
    assert done.returncode == 0
    assert done.stderr == b""
    assert done.stdout == DATA[::-1]
    server.close()


def test_a_peer_that_ends_first_still_gets_our_input(spawn: Spawn) -> None:
    got: list[bytes] = []

    def end_first(connection: socket.socket) -> None:
        connection.sendall(b"nothing more from me")
        connection.shutdown(socket.SHUT_WR)
        got.append(everything(connection))

    server = Server(end_first)
    process = spawn(JACKFIELD, "connect", f"127.0.0.1:{server.port}")
    process.seen(b"nothing more from me")
    process.write(b"but more from us")
    process.end_input()
    assert process.wait() == 0
    server.close()
    assert got == [b"but more from us"]


def test_connect_to_nc(spawn: Spawn) -> None:
    need("nc")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    nc = spawn("nc", "-l", "-N", "127.0.0.1", str(port))
    nc.write(b"from nc\n")
    nc.end_input()
    done = wait_for(
        lambda: (d := run("connect", f"127.0.0.1:{port}", data=DATA)).returncode == 0 and d, "a connection"
    )
    assert done.stdout == b"from nc\n"
    assert nc.wait() == 0
    assert nc.out == DATA


def test_nc_connects_to_listen(spawn: Spawn) -> None:
    need("nc")
    process = spawn(JACKFIELD, "listen", "127.0.0.1:0")
    port = port_of(listening(process))
    process.write(b"from jackfield\n")
    process.end_input()
    done = subprocess.run(["nc", "-N", "127.0.0.1", str(port)], input=DATA, capture_output=True, timeout=30)
    assert done.stdout == b"from jackfield\n"
    assert process.wait() == 0
    assert process.out == DATA


@pytest.mark.parametrize(
    ("scheme", "socat"), [("unix", "UNIX-CONNECT:{}"), ("unix+seqpacket", "UNIX-CONNECT:{},type=5")]
)
def test_socat_connects_to_listen(scheme: str, socat: str, spawn: Spawn, directory: Path) -> None:
    need("socat")
    path = directory / "s.sock"
    process = spawn(JACKFIELD, "listen", f"{scheme}://{path}")
    listening(process)
    process.write(b"from jackfield")
    process.end_input()
    done = subprocess.run(
        ["socat", "-t", "10", "-", socat.format(path)], input=b"x" * 5000, capture_output=True, timeout=30
    )
    assert done.stdout == b"from jackfield"
    assert process.wait() == 0
    assert process.out == b"x" * 5000


def test_connect_to_socat_over_unix(spawn: Spawn, directory: Path) -> None:
    need("socat")
    path = directory / "echo.sock"
    spawn("socat", f"UNIX-LISTEN:{path}", "EXEC:cat")
    wait_for(path.is_socket, "socat's socket")
    assert run("connect", str(path), data=DATA).stdout == DATA


def test_one_client_is_served_and_the_next_refused(spawn: Spawn) -> None:
    process = spawn(JACKFIELD, "listen", "127.0.0.1:0", "-v")
    port = port_of(listening(process))
    with socket.create_connection(("127.0.0.1", port)) as first:
        process.seen(
            rb"jackfield: joined: protocol tcp, local address 127.0.0.1, local port \d+, remote", err=True
        )

        def refused() -> bool:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
            except ConnectionRefusedError:
                return True
            return False

        wait_for(refused, "the refusal")
        first.sendall(b"only me")
        first.shutdown(socket.SHUT_WR)
        process.end_input()
        assert process.wait() == 0
    assert process.out == b"only me"
    assert b"jackfield: ended: sent 0 bytes, received 7" in process.err


# -------------------------------------------------------------------- datagrams


def test_udp_ends_after_silence() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)

        def answer() -> None:
            data, peer = server.recvfrom(65536)
            server.sendto(data.upper(), peer)

        thread = threading.Thread(target=answer)
        thread.start()
        done = run(
            "connect", f"udp://127.0.0.1:{server.getsockname()[1]}", "--timeout", "300ms", data=b"ping\n"
        )
        thread.join()
        assert (done.returncode, done.stdout, done.stderr) == (0, b"PING\n", b"")


def test_udp_listen(spawn: Spawn) -> None:
    process = spawn(JACKFIELD, "listen", "udp://127.0.0.1:0")
    port = port_of(listening(process))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.sendto(b"ping", ("127.0.0.1", port))
        process.seen(b"ping")
        process.write(b"pong")
        assert client.recv(100) == b"pong"
    process.popen.send_signal(signal.SIGINT)
    assert process.wait() == 130


# -------------------------------------------------------------------- framing, hex, line endings


def test_lines_become_frames_and_frames_lines() -> None:
    def reverse(connection: socket.socket) -> None:
        reader = connection.makefile("rb")
        while head := reader.read(4):
            message = reader.read(struct.unpack(">I", head)[0])
            connection.sendall(head + message[::-1])

    server = Server(reverse)
    done = run("connect", f"tcp://127.0.0.1:{server.port},framing=u32", data=b"abc\n\nlast without end")
    assert done.stdout == b"cba\n\ndne tuohtiw tsal\n"
    server.close()


def test_line_endings_for_input() -> None:
    got: list[bytes] = []
    server = Server(lambda connection: got.append(everything(connection)))
    run("connect", f"127.0.0.1:{server.port}", "--eol", "crlf", data=b"one\ntwo")
    server.close()
    assert got == [b"one\r\ntwo\r\n"]


def test_hex_dumps() -> None:
    server = Server(lambda connection: connection.sendall(everything(connection) + b"\x1b[2J"))
    done = run("connect", f"127.0.0.1:{server.port}", "--hex", data=b"hi")
    server.close()
    lines = done.stdout.decode().splitlines()
    assert lines[0] == "> 00000000  68 69                                             |hi|"
    assert lines[1].startswith("< 00000000  68 69 1b 5b 32 4a ")
    assert lines[1].endswith("|hi.[2J|")


# -------------------------------------------------------------------- keeping on


def test_keep_accepting(spawn: Spawn) -> None:
    process = spawn(JACKFIELD, "listen", "-k", "-v", "127.0.0.1:0")
    port = port_of(listening(process))
    for number in range(3):
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"client %d\n" % number)
        process.seen(b"client %d\n" % number)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as one,
        socket.create_connection(("127.0.0.1", port), timeout=10) as two,
    ):
        wait_for(lambda: process.err.count(b"joined:") == 5, "both")
        process.write(b"to everyone\n")
        assert one.recv(100) == two.recv(100) == b"to everyone\n"
        process.end_input()
        one.sendall(b"still read")
        process.seen(b"still read")
    process.popen.send_signal(signal.SIGINT)
    assert process.wait() == 130
    assert b"Traceback" not in process.err


# -------------------------------------------------------------------- ends


def test_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    done = run("connect", f"127.0.0.1:{port}")
    assert done.returncode == 1
    assert done.stderr.startswith(b"jackfield: ")
    assert done.stderr.count(b"\n") == 1
    assert str(port).encode() in done.stderr


def test_a_reset_is_a_failure_in_one_line(spawn: Spawn) -> None:
    def reset(connection: socket.socket) -> None:
        connection.recv(5)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    server = Server(reset)
    process = spawn(JACKFIELD, "connect", f"127.0.0.1:{server.port}")
    process.write(b"hello")
    assert process.wait() == 1
    assert process.err.count(b"\n") == 1
    assert process.err.startswith(b"jackfield: ")
    server.close()


def test_silence_ends_it() -> None:
    release = threading.Event()
    server = Server(lambda connection: release.wait(10) and None)
    started = time.monotonic()
    done = run("connect", f"127.0.0.1:{server.port}", "--timeout", "300ms", data=b"anyone?")
    release.set()
    server.close()
    assert done.returncode == 0
    assert 0.25 < time.monotonic() - started < 5


def test_a_silent_peer_is_waited_for(spawn: Spawn) -> None:
    """The time for connecting is not the time for an answer."""
    speak = threading.Event()

    def speak_late(connection: socket.socket) -> None:
        speak.wait(20)
        connection.sendall(b"at last")

    server = Server(speak_late)
    process = spawn(JACKFIELD, "connect", f"tcp://127.0.0.1:{server.port},connect_timeout=200ms", "-v")
    process.seen(b"connected:", err=True)
    with pytest.raises(subprocess.TimeoutExpired):
        process.popen.wait(0.6)
    speak.set()
    process.end_input()
    assert process.wait() == 0
    assert process.out == b"at last"
    server.close()


def test_ctrl_c_is_quiet(spawn: Spawn) -> None:
    server = Server(until_reset)
    process = spawn(JACKFIELD, "connect", f"127.0.0.1:{server.port}", "-v")
    process.seen(b"connected:", err=True)
    process.popen.send_signal(signal.SIGINT)
    assert process.wait() == 130
    assert b"Traceback" not in process.err
    server.close()


def test_an_output_that_nobody_reads_ends_it(directory: Path) -> None:
    def flood(connection: socket.socket) -> None:
        try:
            while True:
                connection.sendall(b"x" * 65536)
        except OSError:
            pass

    server = Server(flood)
    done = subprocess.run(
        f"{JACKFIELD} connect 127.0.0.1:{server.port} < /dev/null 2> {directory}/err"
        " | head -c 10; echo ${PIPESTATUS[0]}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        timeout=30,
    )
    assert done.stdout == b"xxxxxxxxxx0\n"
    assert (directory / "err").read_bytes() == b""
    server.close()


def test_a_slow_reader_of_the_output_holds_up_the_peer_and_not_the_input(spawn: Spawn) -> None:
    got = bytearray()
    stalled = threading.Event()

    def both(connection: socket.socket) -> None:
        connection.settimeout(0.5)
        try:
            while True:
                connection.sendall(b"y" * 65536)
        except TimeoutError:
            stalled.set()  # back-pressure reached us
        connection.settimeout(10)
        while len(got) < 100_000:
            got.extend(connection.recv(65536))

    server = Server(both)
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [JACKFIELD, "connect", f"127.0.0.1:{server.port}"],
        stdin=subprocess.PIPE,
        stdout=writer,
        stderr=subprocess.PIPE,
    )
    os.close(writer)
    assert stalled.wait(20)
    assert process.stdin is not None
    process.stdin.write(b"z" * 100_000)
    process.stdin.flush()
    wait_for(lambda: len(got) >= 100_000, "the input on its way")
    os.close(reader)
    process.stdin.close()
    server.close()
    process.wait(10)
    assert process.stderr is not None
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()


def test_files_and_nothing_as_input(directory: Path) -> None:
    (directory / "in").write_bytes(DATA)
    server = Server(lambda connection: connection.sendall(everything(connection)))
    with open(directory / "in", "rb") as source, open(directory / "out", "wb") as sink:
        code = subprocess.run(
            [JACKFIELD, "connect", f"127.0.0.1:{server.port}"], stdin=source, stdout=sink, timeout=30
        ).returncode
    server.close()
    assert code == 0
    assert (directory / "out").read_bytes() == DATA
    server = Server(lambda connection: connection.sendall(b"hi"))
    done = subprocess.run(
        [JACKFIELD, "connect", f"127.0.0.1:{server.port}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
    )
    server.close()
    assert done.stdout == b"hi"
