"""The parts of `check` that read and print: targets, certificates, the kernel's tables, the look."""

from __future__ import annotations

import base64
import errno
import json
import os
import re
import socket
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import pytest

import jackfield
from jackfield import netlink
from jackfield.cli.check_view import heading, step_lines, verdict_lines
from jackfield.diagnosis.causes import CAUSES
from jackfield.diagnosis.certificate import read_certificate
from jackfield.diagnosis.conversation import http_request
from jackfield.diagnosis.listeners import listen_overflows, look_at_name, look_at_port, would_get
from jackfield.diagnosis.names import asked_for, is_number
from jackfield.diagnosis.observations import Listener, LocalView, Observations, Process, Resolution
from jackfield.diagnosis.processes import describe, holders_of
from jackfield.diagnosis.report import Report
from jackfield.diagnosis.routes import look_up_route
from jackfield.diagnosis.steps import Step, listener_steps, resolution_step
from jackfield.diagnosis.target import targets
from jackfield.diagnosis.verdict import Verdict
from jackfield.netlink import InetSocket

ROOT = Path(__file__).parents[2]

# Targets -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "addresses"),
    [
        (["example.org", "443"], ["tcp://example.org:443"]),
        (["::1", "80"], ["tcp://[::1]:80"]),
        (["example.org:443"], ["tcp://example.org:443"]),
        (["7000"], ["tcp://:7000"]),
        ([":7000"], ["tcp://:7000"]),
        (["7000", "7001"], ["tcp://:7000", "tcp://:7001"]),
        (["a:1", "7000"], ["tcp://a:1", "tcp://:7000"]),
        (["a:1", "b:2", "c:3"], ["tcp://a:1", "tcp://b:2", "tcp://c:3"]),
        (["/run/x"], ["unix:///run/x"]),
        (["unix+dgram://@x"], ["unix+dgram://@x"]),
        (["udp://h:53,bind=:9,connect_timeout=1s"], ["udp://h:53?bind=:9"]),
        (["h:1,framing=u32,device=eth0"], ["tcp://h:1?device=eth0"]),
        (["tls://h:853"], ["tcp://h:853"]),
        (["https://h"], ["tcp://h:443"]),
        (["http://[::1]/a/b"], ["tcp://[::1]:80"]),
    ],
)
def test_words_are_targets(words: list[str], addresses: list[str]) -> None:
    assert [str(target.address) for target in targets(words)] == addresses


@pytest.mark.parametrize("word", ["tcp://h", "nonsense://x", "h:70000", ""])
def test_what_is_no_address_is_no_target(word: str) -> None:
    with pytest.raises(jackfield.InvalidAddress):
        targets([word])


@pytest.mark.parametrize("word", ["pair:", "fd://3", "shm:///x", "unix:"])
def test_what_cannot_be_checked_is_told(word: str) -> None:
    with pytest.raises(jackfield.NotSupported, match="cannot be checked"):
        targets([word])


@pytest.mark.parametrize(
    ("word", "tls", "http", "path", "host"),
    [
        ("https://h/a?b=c#d", True, True, "/a?b=c", "h"),
        ("http://h:8080", False, True, "/", "h:8080"),
        ("https://h:80/", True, True, "/", "h:80"),
        ("HTTPS://[::1]", True, True, "/", "[::1]"),
        ("tls://h:443", True, False, "/", "h"),
        ("h:80", False, False, "/", "h"),
        ("http://h/ä b\r\nX: y", False, True, "/%C3%A4%20b%0D%0AX:%20y", "h"),
    ],
)
def test_the_web_is_asked_for_its_path(word: str, tls: bool, http: bool, path: str, host: str) -> None:
    (target,) = targets([word])
    assert (target.tls, target.http, target.path, target.host_header) == (tls, http, path, host)


def test_a_request_is_four_fields_and_an_end() -> None:
    lines = http_request("h:8080", "/x").split(b"\r\n")
    assert lines[:2] == [b"HEAD /x HTTP/1.1", b"Host: h:8080"]
    assert lines[-2:] == [b"", b""]


# Certificates ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """One that openssl has made, as DER."""
    directory = tmp_path_factory.mktemp("certificate")
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", directory / "key", "-out", directory / "pem", "-days", "30",
            "-subj", "/O=Jackfield/CN=test.example",
            "-addext", "subjectAltName=DNS:test.example,DNS:*.test.example,IP:127.0.0.1,IP:::1",
        ],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    lines = (directory / "pem").read_text().splitlines()
    return base64.b64decode("".join(line for line in lines if not line.startswith("-")))


def test_a_certificate_says_whose_it_is(certificate: bytes) -> None:
    read = read_certificate(certificate)
    assert (read.subject, read.issuer) == ("test.example", "test.example")
    assert read.names == ("test.example", "*.test.example", "127.0.0.1", "::1")
    assert read.not_after - read.not_before == pytest.approx(30 * 86400, abs=1)
    assert read.not_before == pytest.approx(datetime.now(UTC).timestamp(), abs=3600)


def test_a_cut_or_changed_certificate_harms_nothing(certificate: bytes) -> None:
    """Every prefix, and every byte changed: read, or refused with ValueError."""
    refused = 0
    changed = [certificate[:end] for end in range(len(certificate))]
    for at in range(len(certificate)):
        for value in (0x00, 0x80, 0xFF):
            changed.append(certificate[:at] + bytes([value]) + certificate[at + 1 :])
    for data in changed:
        try:
            read_certificate(data)
        except ValueError:
            refused += 1
    assert refused > len(certificate)


@pytest.mark.parametrize("data", [b"", b"\x30", b"\x30\x84\xff\xff\xff\xff", b"\x30\x80", b"hello"])
def test_what_is_no_certificate(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"certificate|element"):
        read_certificate(data)


# The kernel's tables -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bound", "v6only", "host", "gets"),
    [
        ("127.0.0.1", False, "127.0.0.1", True),
        ("127.0.0.1", False, "127.0.0.2", False),
        ("0.0.0.0", False, "192.0.2.1", True),
        ("0.0.0.0", False, "::1", False),
        ("::", False, "192.0.2.1", True),
        ("::", True, "192.0.2.1", False),
        ("::", True, "fe80::1%eth0", True),
        ("::1", False, "::1", True),
    ],
)
def test_who_gets_what_is_sent_to_an_address(bound: str, v6only: bool, host: str, gets: bool) -> None:
    assert would_get(InetSocket(bound, 80, 10, 0, 5, 0, 1, v6only), host) is gets


def test_the_table_in_proc_tells_the_same_without_the_limit() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        found = [
            one for one in netlink.read_table(Path("/proc/net/tcp")) if one.port == port and one.state == 10
        ]
        client.close()
    assert [(one.host, one.received, one.sent) for one in found] == [("127.0.0.1", 1, -1)]
    assert holders_of({found[0].inode}) == {}, "it is closed by now"


def no_netlink(*_: object) -> NoReturn:
    raise OSError(errno.EPROTONOSUPPORT, "no netlink here")


def test_without_netlink_a_connected_socket_tells_the_route(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netlink, "route_to", no_netlink)
    route = look_up_route("127.0.0.1")
    assert (route.kind, route.source, route.is_local) == ("local", "127.0.0.1", True)


def test_without_sock_diag_the_tables_of_proc_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netlink, "inet_sockets", no_netlink)
    monkeypatch.setattr(netlink, "tcp_socket", no_netlink)
    monkeypatch.setattr(netlink, "unix_sockets", no_netlink)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = jackfield.Address("tcp", "127.0.0.1", server.getsockname()[1])
        with socket.create_connection(server.getsockname()) as client:
            view = look_at_port(address, ("127.0.0.1",), ends=(client.getsockname(), client.getpeername()))
    (listener,) = view.matching
    assert (listener.waiting, listener.limit, view.accepted) == (1, None, None)
    assert [process.pid for process in listener.holders] == [os.getpid()]
    assert look_at_name("@x") == LocalView()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_connection_is_accepted_when_a_program_has_it(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:
        address = jackfield.Address("tcp", host, server.getsockname()[1])
        with socket.create_connection(server.getsockname()[:2]) as client:
            ends = (client.getsockname()[:2], client.getpeername()[:2])
            before = look_at_port(address, (host,), ends=ends)
            connection, _ = server.accept()
            with connection:
                after = look_at_port(address, (host,), ends=ends)
    assert (before.accepted, before.matching[0].waiting, before.acceptors) == (False, 1, ())
    assert (after.accepted, after.matching[0].waiting) == (True, 0)
    assert [process.pid for process in after.acceptors] == [os.getpid()]


def test_a_socket_has_its_holder() -> None:
    with socket.socket() as one:
        inode = int(re.findall(r"\d+", str(Path(f"/proc/self/fd/{one.fileno()}").readlink()))[0])
        (process,) = holders_of({inode})[inode]
    assert process.state in "RSD"
    assert not process.is_stopped
    assert str(process).endswith(f"(pid {process.pid}, user {process.user})")


def test_a_process_may_be_named_like_a_parenthesis(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "stat").write_text("7 (a) b (c) T 1 7 7 0 -1 4194304 0\n")
    process = describe(7, proc=tmp_path)
    assert process is not None
    assert (process.name, process.state, process.is_stopped) == ("a) b (c", "T", True)
    assert describe(8, proc=tmp_path) is None


@pytest.mark.parametrize(
    ("membership", "file", "text", "frozen"),
    [
        ("0::/user/x\n", "user/x/cgroup.events", "populated 1\nfrozen 1\n", True),
        ("0::/user/x\n", "user/x/cgroup.events", "populated 1\nfrozen 0\n", False),
        ("7:cpu:/y\n0::/x\n", "unified/x/cgroup.events", "frozen 1\n", True),
        ("6:freezer:/x\n0::/\n", "freezer/x/freezer.state", "FROZEN\n", True),
        ("6:freezer:/x\n", "freezer/x/freezer.state", "THAWED\n", False),
        ("", "freezer/x/freezer.state", "FROZEN\n", False),
    ],
)
def test_a_frozen_control_group_stops_its_processes(
    tmp_path: Path, membership: str, file: str, text: str, frozen: bool
) -> None:
    process, groups = tmp_path / "proc" / "7", tmp_path / "groups"
    for path, content in (
        (process / "stat", "7 (x) S 1 7 7"),
        (process / "cgroup", membership),
        (groups / file, text),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    found = describe(7, proc=process.parent, groups=groups)
    assert found is not None
    assert (found.frozen, found.is_stopped) == (frozen, frozen)


def test_overflows_are_counted(tmp_path: Path) -> None:
    table = tmp_path / "netstat"
    table.write_text(
        "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 1 22 333\nIpExt: a\nIpExt: 1\n"
    )
    assert listen_overflows(table=table) == 22
    table.write_text("nothing of the kind\n")
    assert listen_overflows(table=table) is None


def test_whom_the_resolver_asks(tmp_path: Path) -> None:
    hosts, resolvers = tmp_path / "hosts", tmp_path / "resolv.conf"
    hosts.write_text("# db.example is elsewhere\n127.0.0.1 localhost DB\n")
    resolvers.write_text("search example\nnameserver 192.0.2.53\nnameserver 192.0.2.54 # spare\n")
    assert asked_for("db", hosts=hosts, resolvers=resolvers) == str(hosts)
    assert asked_for("db.example", hosts=hosts, resolvers=resolvers) == "name servers 192.0.2.53, 192.0.2.54"
    assert asked_for("x", hosts=tmp_path / "none", resolvers=tmp_path / "none") == "the resolver"


def test_a_number_needs_no_resolver() -> None:
    assert all(map(is_number, ["127.0.0.1", "::1", "fe80::1%eth0"]))
    assert not any(map(is_number, ["localhost", "1.2.3", ""]))


# The look ----------------------------------------------------------------------------------------------

STEP = Step("connect", "failed", "192.0.2.7:80: refused", 0.0123)
VERDICT = Verdict(
    "refused", "nothing listens there", "likely", "it may be a firewall", "start it", ("a", "b")
)


def test_plain_output_is_a_line_for_each_fact() -> None:
    assert heading(targets(["h:1"])[0], width=None) == ["check h:1"]
    assert step_lines(STEP, width=None) == ["  failed connect   12.3 ms  192.0.2.7:80: refused"]
    assert verdict_lines(VERDICT, width=None) == [
        "",
        "refused: nothing listens there.",
        "  sure  likely (it may be a firewall)",
        "  seen  a",
        "  seen  b",
        "  next  start it",
    ]


def test_a_terminal_gets_marks_colours_and_wrapped_lines() -> None:
    (line,) = step_lines(STEP, width=80)
    assert "\x1b[31m✗\x1b[0m connect" in line
    long = Verdict("refused", "word " * 60, "certain", "because", "step " * 40, ("fact " * 40,))
    lines = verdict_lines(long, width=60)
    bare = [re.sub(r"\x1b\[[\d;]*m", "", line) for line in lines]
    assert max(map(len, bare)) <= 60
    assert " ".join(" ".join(bare).split()).startswith("refused: word word")
    assert "".join(bare).count("word") == 60


def test_what_is_well_is_short() -> None:
    assert verdict_lines(Verdict("ok", "it answers", "certain", "it spoke", evidence=("x",)), width=None) == [
        "",
        "ok: it answers.",
        "  sure  certain (it spoke)",
    ]


def test_a_peer_cannot_steer_the_terminal() -> None:
    for width in (None, 80):
        lines = [
            *step_lines(Step("answer", "ok", "\x1b[2Jhello\u202e", 0.1), width=width),
            *verdict_lines(Verdict("ok", "says \x1b]0;x\x07", "certain", "\x9b31m"), width=width),
        ]
        text = re.sub(r"\x1b\[[\d;]+m", "", "".join(lines))
        assert text.isprintable(), text


def test_a_stopped_listener_is_marked() -> None:
    stopped = Listener("127.0.0.1:1", "tcp", holders=(Process(7, "x", "T", "ada"),), waiting=1, limit=5)
    (step,) = listener_steps(LocalView((stopped,)))
    assert step.state == "failed"
    assert step.text.endswith("1 connection waits to be accepted (full above 5); it is stopped")


def test_the_json_form_has_its_documented_fields() -> None:
    (target,) = targets(["nosuch.example:80"])
    resolution = Resolution("nosuch.example", 0.5, source="name server 192.0.2.53", failure="no-such-host")
    seen = Observations(target, resolution=resolution)
    report = Report(target, seen, (resolution_step(resolution),), VERDICT, 0.5)
    value = json.loads(json.dumps(report.to_json()))
    document = (ROOT / "docs/check.md").read_text()
    for field in (*value, *value["steps"][0]):
        assert f"`{field}`" in document, field
    assert value["schema"] == 1
    assert value["steps"][0]["step"] == "resolve"


def test_the_document_has_every_cause_and_its_code() -> None:
    document = (ROOT / "docs/check.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+)` \| (\d+) \|", document, re.MULTILINE)
    assert rows == [(cause.name, str(cause.exit_code)) for cause in CAUSES]
