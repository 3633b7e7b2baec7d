"""`jackfield check ws://` and `wss://` against real hubs, other web servers, and peers that do it wrong."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from programs import JACKFIELD, HubProcess, StartHub, accepting

from jackfield import portable

OPENED = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"


def checked(address: str, *more: str) -> dict[str, Any]:
    done = subprocess.run(
        [JACKFIELD, "check", address, "--json", *more],
        capture_output=True,
        timeout=40,
        stdin=subprocess.DEVNULL,
    )
    assert done.stderr == b"", done
    value: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == value["exit_code"]
    return value


def steps(value: dict[str, Any]) -> list[tuple[str, str]]:
    return [(step["step"], step["state"]) for step in value["steps"] if step["step"] != "listener"]


def web(hub: HubProcess) -> str:
    """The console's address without its scheme."""
    return hub.seen(rb" web url=https?://(\S+)")[1].decode()


def test_a_hub(start_hub: StartHub) -> None:
    hub = start_hub("127.0.0.1:0", "--web", "127.0.0.1:0")
    value = checked(f"ws://{web(hub)}")
    assert value["cause"] == "ok"
    assert "/native is a WebSocket of a Jackfield hub, which speaks version 1" in value["sentence"]
    assert steps(value) == [("route", "ok"), ("connect", "ok"), ("upgrade", "ok"), ("hub", "ok")]
    assert json.loads(hub.do("clients", "--json")) == []
    value = checked(f"ws://{web(hub)}/nowhere")
    assert (value["cause"], value["exit_code"]) == ("no-websocket", 54)
    assert steps(value)[-1] == ("upgrade", "failed")
    assert "that of a hub is /native" in value["next_step"]
    value = checked(f"wss://{web(hub)}")
    assert (value["cause"], steps(value)[-1]) == ("tls-failed", ("tls", "failed"))
    assert checked(f"ws://{web(hub)}", "--no-first-byte")["cause"] == "ok"


def test_a_hub_over_tls(start_hub: StartHub, directory: Path) -> None:
    hub = start_hub("127.0.0.1:0", "--web", "tls://127.0.0.1:0", "--state", str(directory / "hub.db"))
    where = f"wss://{web(hub)}"
    value = checked(where)
    assert value["cause"] == "certificate-invalid"
    assert "`wss://...?jf.pin=sha256:...`" in value["next_step"]
    invitation = json.loads(hub.do("invite", "--json"))["invitations"][0]
    pin = re.search(r"sha256:[0-9a-f]{64}", invitation)
    assert pin is not None
    value = checked(f"{where}/native?jf.pin={pin[0]}")
    assert value["cause"] == "ok", value
    assert [name for name, _ in steps(value)] == ["route", "connect", "tls", "upgrade", "hub"]
    value = checked(f"{where}?jf.pin=sha256:{'00' * 32}")
    assert value["cause"] == "certificate-invalid"


def test_a_hub_that_takes_nobody(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0", "--web", "127.0.0.1:0", "--max-clients", "1")
    with socket.create_connection(("127.0.0.1", hub.port())):
        hub.joined(1)
        value = checked(f"ws://{web(hub)}")
        assert (value["cause"], value["exit_code"]) == ("turned-away", 56), value


# Others -----------------------------------------------------------------------------------------


def accepted(request: bytes) -> str:
    found = re.search(rb"Sec-WebSocket-Key: (\S+)", request)
    assert found is not None
    digest = hashlib.sha1(found[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    return f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}\r\n"


def of_hubs(request: bytes) -> bytes:
    return f"{OPENED}{accepted(request)}Sec-WebSocket-Protocol: jackfield.1\r\n\r\n".encode()


Answer = Callable[[bytes], bytes]


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], int]]:
    """Start a server that gives one answer to a request, and waits for the end; its port."""

    def start(answer: Answer) -> int:
        def handle(connection: socket.socket) -> None:
            request = b""
            while b"\r\n\r\n" not in request and (data := connection.recv(4096)):
                request += data
            connection.sendall(answer(request))
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass

        return servers.enter_context(accepting(handle))

    with contextlib.ExitStack() as servers:
        yield start


@pytest.mark.parametrize(
    ("answer", "cause", "code", "says"),
    [
        (lambda _: b"SSH-2.0-x\r\n", "wrong-protocol", 53, "something else: SSH-2.0-x"),
        (lambda _: b"\x15\x03\x01\x00\x02\x02F", "wrong-protocol", 53, "answered with TLS"),
        (lambda _: b"", "closed-at-once", 50, "was asked (GET /native), and closed it"),
        (lambda _: b"HTTP/1.1 404 Not Found\r\n\r\n", "no-websocket", 54, "HTTP/1.1 404 Not Found"),
        (lambda _: b"HTTP/1.1 301 Moved\r\nLocation: x\r\n\r\n", "no-websocket", 54, "301 Moved"),
        (lambda _: b"HTTP/1.1 503 Later\r\n\r\n", "turned-away", 56, "503 Later"),
        (
            lambda request: f"{OPENED}{accepted(request)}\r\n".encode(),
            "not-a-hub", 55, "does not know the subprotocol jackfield.1",
        ),
        (lambda request: of_hubs(request) + b"\x82\x05hello", "not-a-hub", 55, "it ended the connection"),
        (lambda request: of_hubs(request) + b"\x82\x02hi\x82\x02ho", "not-a-hub", 55, "no Jackfield hub"),
        (lambda request: of_hubs(request) + b"\x88\x02\x03\xf5", "turned-away", 56, "the WebSocket, 1013"),
        (lambda request: of_hubs(request) + b"\x88\x02\x03\xe8", "not-a-hub", 55, "the WebSocket, 1000"),
        (lambda request: of_hubs(request) + b"\xff\xff", "not-a-hub", 55, "no frame of a WebSocket"),
    ],
)  # fmt: skip
def test_what_else_may_answer(
    serve: Callable[[Answer], int], answer: Answer, cause: str, code: int, says: str
) -> None:
    value = checked(f"ws://127.0.0.1:{serve(answer)}")
    assert (value["cause"], value["exit_code"]) == (cause, code), value
    assert says in value["sentence"]


def test_words_are_cut(serve: Callable[[Answer], int]) -> None:
    """A hub's answer may be of 64 KiB."""

    def answer(request: bytes) -> bytes:
        said = {"type": "error", "code": "forbidden", "message": "w" * 60_000}
        whole = portable.encode(0, portable.CONTROL, portable.to_json(said))
        magic = b"\x82" + bytes((len(portable.MAGIC),)) + portable.MAGIC
        return of_hubs(request) + magic + b"\x82\x7e" + len(whole).to_bytes(2, "big") + whole

    value = checked(f"ws://127.0.0.1:{serve(answer)}")
    assert value["cause"] == "turned-away", value
    assert "www" in value["sentence"]
    assert len(json.dumps(value)) < 8000


@pytest.mark.parametrize("frame", [b"\x89\x00", b"\x00\x00"])
def test_a_server_that_never_stops_is_not_waited_for(frame: bytes) -> None:
    """Pings, and fragments with nothing in them, come faster than any wait for the next bytes ends."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(20)

    def flood() -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            connection.settimeout(20)
            with connection:
                connection.sendall(of_hubs(connection.recv(4096)) + b"\x02\x00")
                end = time.monotonic() + 20
                while time.monotonic() < end:
                    connection.sendall(frame * 8)

    thread = threading.Thread(target=flood)
    thread.start()
    with listener:
        value = checked(f"ws://127.0.0.1:{listener.getsockname()[1]}", "--wait", "1s")
    assert (value["cause"], steps(value)[-1]) == ("silent-server", ("hub", "failed")), value
    assert "a hello is not answered within" in value["sentence"]
    thread.join(25)
    assert not thread.is_alive()
