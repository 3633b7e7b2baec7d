"""A hub's TLS listener and peers that do not speak TLS as they should: each is let go and told of, nobody
else notices, and the hub's memory stays where it was.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import ssl
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from programs import HubProcess, Spawn, need, wait_for
from test_hub_tls import over_tls, wrapped
from test_refusals import Native, Operator

from jackfield import portable
from jackfield.hub.security.certificate import fingerprint

pytestmark = pytest.mark.timeout(120)

HELLO = b"\x16\x03\x01"  # how a ClientHello's record begins
DATA = b"\x17\x03\x03"  # and one of data
MIB = 1 << 20
PATIENCE = 3  # seconds that the hub gives a handshake

Ask = Callable[[], None]


@pytest.fixture(scope="module")
def hub() -> Iterator[HubProcess]:
    """One hub for all of it."""
    with tempfile.TemporaryDirectory(prefix="jf-", dir="/tmp") as home:
        listener = f"tls://127.0.0.1:0,handshake_timeout={PATIENCE}s"
        hub = HubProcess(listener, "--messages", "--state", f"{home}/hub.db", control=Path(home, "hub.sock"))
        try:
            yield hub
        finally:
            hub.end()


@pytest.fixture
def others(hub: HubProcess) -> Iterator[Ask]:
    """Two clients that were there before: calling it asks one of them something."""
    pin = fingerprint(hub.control.with_name("hub.cert.pem"))
    where = f"tls://127.0.0.1:{hub.port()}?pin={pin}"
    with portable.connect(where, name="dev7") as dev7, portable.connect(where, name="ann") as ann:
        dev7.answer(lambda _peer, data: data.upper())

        def ask() -> None:
            assert ann.request("dev7", b"still there?", 10.0) == b"STILL THERE?"

        ask()
        yield ask
        ask()
        assert (ann._welcomes, dev7._welcomes) == (1, 1), "neither lost its connection"
    assert hub.popen.poll() is None
    assert b" fault " not in hub.out


def connected(hub: HubProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", hub.port()), timeout=30)


def say(plain: socket.socket, said: bytes) -> None:
    """Say that and no more; the hub may have hung up in the middle of it."""
    with contextlib.suppress(OSError):
        plain.sendall(said)
        plain.shutdown(socket.SHUT_WR)


def until_its_end(plain: socket.socket) -> bytes:
    """What the hub says before it hangs up."""
    said = b""
    try:
        while data := plain.recv(65_536):
            said += data
    except ConnectionError:
        pass
    plain.close()
    return said


def failed(hub: HubProcess, cause: str = "") -> int:
    """How many handshakes have failed, for that cause or any."""
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(30)
        control.connect(str(hub.control))
        operator = Operator.__new__(Operator)
        operator.socket, operator.reader = control, control.makefile("rb")
        found: dict[str, int] = operator.ask("status")["ok"]["handshake_causes"]
        operator.reader.close()
    return found.get(cause, 0) if cause else sum(found.values())


def of(plain: socket.socket) -> bytes:
    """How the log names the client at the other end of a socket."""
    return b"peer=127\\.0\\.0\\.1:%d" % plain.getsockname()[1]


def memory(hub: HubProcess) -> int:
    return int(Path(f"/proc/{hub.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n", "not_tls"),
        (b"\0\0\0\x08\x8fJACK\r\n\x1a", "not_tls"),
        (random.Random(5).randbytes(5_000), "not_tls"),
        (HELLO + b"\xff\xff" + bytes(65_535), "not_tls"),
        (HELLO + b"\x40\x00" + b"\x01\xff\xff\xff" + bytes(16_380), "not_tls"),
        (HELLO + b"\x02\x00" + bytes(100), "closed_in_handshake"),
        (b"", "closed_in_handshake"),
    ],
    ids=["http", "no-tls-at-all", "random", "record-of-65535", "hello-of-16-mib", "cut-record", "nothing"],
)
def test_what_is_no_handshake_is_let_go(hub: HubProcess, others: Ask, said: bytes, cause: str) -> None:
    before, plain = failed(hub, cause), connected(hub)
    peer = of(plain)
    say(plain, said)
    others()
    assert until_its_end(plain) in (b"", b"\x15\x03\x03\x00\x02\x02\x32")  # an alert: decode_error
    hub.seen(rb" handshake_failed listener=\S+ %s cause=%s " % (peer, cause.encode()))
    assert failed(hub, cause) == before + 1


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_peers_of_before_tls_1_2_are_told(hub: HubProcess, others: Ask, version: ssl.TLSVersion) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with connected(hub) as plain:
        peer = of(plain)
        with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
            context.wrap_socket(plain)
    others()
    hub.seen(peer + rb" cause=no_shared_version reason=.*no version of TLS in common")


def test_who_shakes_hands_by_the_byte_is_let_go_in_time(hub: HubProcess, others: Ask) -> None:
    """Sixty at once, each with a byte now and then: the handshake has its time, not the byte."""
    before, count, earlier = memory(hub), 60, failed(hub, "handshake_timeout")
    slow = [connected(hub) for _ in range(count)]
    hello = iter(HELLO + b"\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500))

    def all_gone() -> bool:
        byte = bytes([next(hello, 0)])
        for each in slow:
            with contextlib.suppress(OSError):
                each.send(byte)
        others()
        return failed(hub, "handshake_timeout") == earlier + count

    wait_for(all_gone, "the end of those that drip")
    for each in slow:
        until_its_end(each)
    print(f"memory grew by {(memory(hub) - before) / MIB:.1f} MiB")
    assert memory(hub) - before < 8 * MIB


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (DATA + b"\xff\xff" + bytes(65_535), rb"a TLS record is damaged"),
        (DATA + b"\x00\x64" + bytes(100), rb"a TLS record is damaged"),
        (b"hello in the clear\n", rb"a TLS record is damaged"),
        (b"\x15\x03\x03\x00\x02\x01\x00", rb"a TLS record is damaged"),
        (DATA + b"\x00\x64" + bytes(50), rb"ended without the end of TLS"),
    ],
    ids=["record-of-65535", "forged-record", "plaintext", "plaintext-close-notify", "cut-record"],
)
def test_a_connection_that_breaks_ends_alone(
    hub: HubProcess, others: Ask, said: bytes, reason: bytes
) -> None:
    broken = wrapped(hub.port())
    peer = of(broken)
    broken.sendall(b"so far so good\n")
    hub.seen(rb" joined id=\d+ .*" + peer)
    below = socket.socket(fileno=os.dup(broken.fileno()))
    below.settimeout(30)
    say(below, said)
    others()
    until_its_end(below)
    hub.seen(rb" left id=.*%s reason=.*%s" % (peer, reason))
    broken.close()


def test_floods_of_garbage_leave_memory_where_it_was(hub: HubProcess, others: Ask) -> None:
    chance = random.Random(7)

    def flood(count: int) -> None:
        earlier = failed(hub)
        for number in range(count):
            with connected(hub) as plain:
                say(plain, HELLO[: number % 4] + chance.randbytes(chance.randrange(20_000)))
        wait_for(lambda: failed(hub) >= earlier + count, "all of them failed")

    flood(50)
    before = memory(hub)
    flood(400)
    others()
    print(f"memory grew by {(memory(hub) - before) / MIB:.1f} MiB")
    assert memory(hub) - before < 8 * MIB
    assert hub.out.count(b" handshake_failed ") < 100, "of a flood a few lines"


def test_a_renegotiation_is_refused_and_new_keys_are_taken(
    hub: HubProcess, others: Ask, spawn: Spawn
) -> None:
    need("openssl")
    where = ("-connect", f"127.0.0.1:{hub.port()}")
    old = spawn("openssl", "s_client", "-tls1_2", *where)
    old.write(b"good day\n")
    client = hub.seen(rb" message id=(\d+) .*good day")[1]
    old.write(b"R\n")
    old.seen(rb"no renegotiation", err=True)
    hub.seen(rb" left id=%s .*the other end has ended TLS" % client)
    others()
    new = spawn("openssl", "s_client", "-tls1_3", *where)
    for number in range(20):
        new.write(b"K\n")
        wait_for(lambda n=number: new.err.count(b"KEYUPDATE") == n + 1)
    new.write(b"still here\n")
    hub.seen(rb" message id=\d+ .*still here")
    others()


def test_a_frame_that_is_cut_is_sent_again(hub: HubProcess, others: Ask) -> None:
    """A native client that is cut in the middle of a frame has its session, and the hub nothing of that."""
    first = over_tls(Native, hub.port())
    welcome = first.hello(None)
    body = b'\0\0\0\0\0\0\0\0{"type": "clients", "n": 1}'
    first.socket.sendall(len(body).to_bytes(4, "big") + body[:20])
    first.close()
    hub.seen(rb" left id=%s " % welcome["id"].encode())
    others()
    again = over_tls(Native, hub.port())
    again.send(portable.MAGIC)
    session = {**{name: welcome["session"][name] for name in ("id", "key")}, "received": 0}
    again.control(type="hello", versions=[1], instance="here", services=[], session=session)
    found = again.told(lambda told: told["type"] in ("welcome", "error"))
    assert (found["session"]["resumed"], found["session"]["received"]) == (True, 0)
    again.send(body)
    assert len(again.told(lambda told: told.get("n") == 1)["clients"]) == 3
    again.close()
