"""Errors: their built-in parents, facts and words; those of the system are provoked with real sockets."""

from __future__ import annotations

import errno
import os
import pickle
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import jackfield._errors as errors
from jackfield._address import Address
from jackfield._errors import Attempt, JackfieldError, from_engine, from_os_error

LOCAL = Address.parse("tcp://127.0.0.1:40000")
PEER = Address.parse("tcp://127.0.0.1:7000")


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def _listen(opened: ExitStack, host: str = "127.0.0.1") -> tuple[socket.socket, int]:
    listener = opened.enter_context(socket.socket())
    listener.bind((host, 0))
    listener.listen()
    return listener, listener.getsockname()[1]


# Classes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parents"),
    [
        ("InvalidAddress", [ValueError]),
        ("InvalidOption", [ValueError]),
        ("InvalidFraming", [ValueError]),
        ("ConnectFailed", [OSError]),
        ("ConnectRefused", [errors.ConnectFailed, ConnectionRefusedError]),
        ("ConnectTimedOut", [errors.ConnectFailed, TimeoutError]),
        ("HostUnreachable", [errors.ConnectFailed]),
        ("NameNotResolved", [errors.ConnectFailed]),
        ("ListenFailed", [OSError]),
        ("AddressInUse", [OSError]),
        ("AdoptFailed", [OSError]),
        ("AddressNotAvailable", [OSError]),
        ("AccessDenied", [PermissionError]),
        ("TooManyOpenFiles", [OSError]),
        ("EndOfStream", [EOFError]),
        ("ChannelLost", [ConnectionResetError]),
        ("MessageTooLarge", [errors.FramingError, ValueError]),
        ("InvalidFrame", [errors.FramingError]),
        ("TruncatedFrame", [errors.FramingError]),
        ("TimedOut", [TimeoutError]),
        ("AlreadyWaiting", [RuntimeError]),
        ("ChannelBusy", [RuntimeError]),
        ("ChannelClosed", []),
        ("DescriptorsLost", [OSError]),
        ("QueueFull", []),
        ("NotSupported", []),
    ],
)
def test_parents(name: str, parents: list[type]) -> None:
    kind = getattr(errors, name)
    assert name in errors.__all__
    for parent in [JackfieldError, *parents]:
        assert issubclass(kind, parent)


def test_facts_and_pickling() -> None:
    attempt = Attempt(PEER, ConnectionRefusedError(errno.ECONNREFUSED, "x"), 0.01)
    error = errors.ConnectRefused(
        "it failed",
        hint="try again",
        address=PEER,
        attempts=[attempt],
        stage="connect",
        errno=errno.ECONNREFUSED,
    )
    assert str(error) == "it failed; try again"
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.errno, copy.address, copy.stage) == (
        str(error),
        errno.ECONNREFUSED,
        PEER,
        "connect",
    )
    assert str(copy.attempts[0]) == "127.0.0.1:7000: refused after 0.01 s"
    bare = JackfieldError("x")
    assert (bare.address, bare.attempts, bare.local, bare.peer, bare.stage) == (None, (), None, None, None)
    assert (bare.errno, bare.offender, bare.hint) == (None, None, None)


# What the engine reports ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "facts", "expected", "says"),
    [
        (
            "closed",
            {"operation": "send"},
            "ChannelClosed",
            "closed or aborted on this side; send() came after",
        ),
        ("end", {}, "EndOfStream", "the peer 127.0.0.1:7000 has ended its side"),
        ("lost", {"errno": errno.ECONNRESET}, "ChannelLost", "reset the connection"),
        ("lost", {"errno": errno.ETIMEDOUT}, "ChannelLost", "vanished"),
        ("lost", {"errno": errno.EPIPE}, "ChannelLost", "reads no more"),
        ("lost", {"errno": errno.EIO}, "ChannelLost", "Input/output error"),
        ("lost", {"errno": errno.ECONNREFUSED, "protocol": "udp"}, "ChannelLost", "the port 7000 is closed"),
        ("lost", {"message": "the line fell"}, "ChannelLost", "the line fell"),
        ("lost", {}, "ChannelLost", "the connection broke"),
        (
            "too_large",
            {"size": 0x47455420, "limit": 1024, "operation": "receive", "beginning": b"GET / HTTP"},
            "MessageTooLarge",
            "'GET / HTTP', which is an HTTP request",
        ),
        (
            "too_large",
            {"size": 5000, "limit": 1024, "operation": "receive"},
            "MessageTooLarge",
            "same framing",
        ),
        (
            "too_large",
            {"size": 5000, "limit": 1024, "operation": "send"},
            "MessageTooLarge",
            "over the limit of 1024",
        ),
        (
            "too_large",
            {"size": 70000, "limit": 65507, "operation": "send", "errno": errno.EMSGSIZE},
            "MessageTooLarge",
            "one packet",
        ),
        (
            "invalid_frame",
            {"position": 17, "message": "no colon"},
            "InvalidFrame",
            "at byte 17 of the stream: no colon",
        ),
        ("truncated", {"size": 3, "limit": 10}, "TruncatedFrame", "inside a frame after 3 bytes of 10"),
        ("queue_full", {"size": 3, "limit": 10}, "QueueFull", "the high-water mark is 10"),
        ("timed_out", {"timeout": 2.0, "operation": "receive"}, "TimedOut", "no message came within 2 s"),
        ("timed_out", {"operation": "dance"}, "TimedOut", "dance() did not finish in time"),
        ("already_waiting", {"operation": "receive"}, "AlreadyWaiting", "already waiting in receive()"),
        ("busy", {"operation": "detach"}, "ChannelBusy", "cannot do detach() now: it is in use"),
        (
            "not_supported",
            {"operation": "send_eof", "message": "datagrams have no end"},
            "NotSupported",
            "send_eof()",
        ),
        ("some new kind", {}, "JackfieldError", "some new kind"),
    ],
)
def test_from_engine(kind: str, facts: dict[str, object], expected: str, says: str) -> None:
    error = from_engine(kind, {"protocol": "tcp", "local": LOCAL, "peer": PEER, **facts})
    assert type(error).__name__ == expected
    assert says in str(error)
    assert (error.local, error.peer) == (LOCAL, PEER)
    assert error.errno == facts.get("errno")
    assert error.stage == facts.get("operation")
    for name in ("size", "limit", "position", "timeout"):
        if hasattr(type(error), name):
            assert getattr(error, name) == facts.get(name)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize("kind", list(errors._WRITERS))
def test_from_engine_needs_no_fact(kind: str) -> None:
    assert str(from_engine(kind, {}))
    nothing = dict.fromkeys(
        ["protocol", "local", "peer", "errno", "message", "limit", "size", "position", "timeout"]
    )
    assert str(from_engine(kind, nothing))
    unnamed = Address.parse("unix:")
    assert "unix:" not in str(from_engine(kind, {"local": unnamed, "peer": unnamed}))


# What the system reports ---------------------------------------------------------------------------


def _connect_error(address: Address) -> JackfieldError:
    families = {
        "unix": socket.SOCK_STREAM,
        "unix+dgram": socket.SOCK_DGRAM,
        "unix+seqpacket": socket.SOCK_SEQPACKET,
    }
    if address.path is None:
        with socket.socket() as caller, pytest.raises(OSError, match=r"Errno") as caught:
            caller.connect((address.host, address.port))
    else:
        name = f"\0{address.path[1:]}" if address.is_abstract else address.path
        with (
            socket.socket(socket.AF_UNIX, families[address.scheme]) as caller,
            pytest.raises(OSError, match=r"Errno") as caught,
        ):
            caller.connect(name)
    error = from_os_error(caught.value, stage="connect", address=address)
    assert error.__cause__ is caught.value
    assert error.errno == caught.value.errno
    assert (error.address, error.stage) == (address, "connect")
    return error


def _bind_error(address: Address, place: object, kind: int = socket.SOCK_STREAM) -> JackfieldError:
    family = socket.AF_UNIX if isinstance(place, (str, bytes)) else socket.AF_INET
    with socket.socket(family, kind) as binder, pytest.raises(OSError, match=r"Errno") as caught:
        binder.bind(place)  # type: ignore[arg-type]
    return from_os_error(caught.value, stage="listen", address=address)


def test_refused_on_this_machine(opened: ExitStack) -> None:
    reserved = opened.enter_context(socket.socket())
    reserved.bind(("127.0.0.1", 0))
    address = Address.parse(f"tcp://127.0.0.1:{reserved.getsockname()[1]}?nodelay")
    error = _connect_error(address)
    assert isinstance(error, errors.ConnectRefused)
    assert str(error).startswith(
        f"cannot connect to {address.without_options()}: connection refused: nothing on this"
    )
    assert f"'sport = :{address.port}'" in str(error)


def test_refused_tells_where_else_something_listens(opened: ExitStack) -> None:
    _, port = _listen(opened, "127.0.0.2")
    error = _connect_error(Address.parse(f"tcp://127.0.0.1:{port}"))
    assert f"only on 127.0.0.2:{port}" in str(error)


def test_refused_elsewhere_lists_the_attempts() -> None:
    address = Address.parse("tcp://example.com:7000")
    attempts = [
        Attempt(Address.parse("tcp://[2001:db8::1]:7000"), OSError(errno.ENETUNREACH, "x"), 0.0),
        Attempt(Address.parse("tcp://192.0.2.1:7000"), ConnectionRefusedError(errno.ECONNREFUSED, "x"), 0.02),
    ]
    error = from_os_error(
        OSError(errno.ECONNREFUSED, "x"), stage="connect", address=address, attempts=attempts
    )
    assert isinstance(error, errors.ConnectRefused)
    assert "the host answered" in str(error)
    assert "[2001:db8::1]:7000: no route after 0 s; 192.0.2.1:7000: refused after 0.02 s" in str(error)
    assert error.attempts == tuple(attempts)


@pytest.mark.parametrize(
    ("cause", "expected", "says"),
    [
        (TimeoutError(), "ConnectTimedOut", "no answer"),
        (OSError(errno.ETIMEDOUT, "x"), "ConnectTimedOut", "accept queue is full"),
        (OSError(errno.EHOSTUNREACH, "x"), "HostUnreachable", "nobody said why"),
        (OSError(errno.ENETUNREACH, "x"), "HostUnreachable", "no route"),
        (OSError(errno.ENETDOWN, "x"), "HostUnreachable", "interface is down"),
        (OSError(errno.EACCES, "x"), "AccessDenied", "a firewall rule"),
        (OSError(errno.EPERM, "x"), "AccessDenied", "a firewall rule of this machine drops"),
        (OSError(errno.EADDRNOTAVAIL, "no match"), "AddressNotAvailable", "no match"),
        (
            OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL)),
            "AddressNotAvailable",
            "local ports (",
        ),
        (OSError(errno.EADDRINUSE, "x"), "AddressInUse", "no local port is free"),
        (OSError(errno.ENFILE, "x"), "TooManyOpenFiles", "fs.file-max"),
        (OSError(errno.EAFNOSUPPORT, "x"), "ConnectFailed", "such as IPv6"),
        (OSError(errno.EIO, "broken"), "ConnectFailed", "broken (EIO)"),
        (OSError("strange"), "ConnectFailed", "strange"),
    ],
)
def test_connecting(cause: OSError, expected: str, says: str) -> None:
    error = from_os_error(cause, stage="connect", address=Address.parse("tcp://192.0.2.1:7000"))
    assert type(error).__name__ == expected
    assert says in str(error)
    assert error.__cause__ is cause


def test_timed_out_says_how_long() -> None:
    silence = TimeoutError()
    attempts = [Attempt(PEER, silence, 10.0)]
    error = from_os_error(silence, stage="connect", address=PEER, attempts=attempts)
    assert "no answer within 10 s" in str(error)


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (socket.EAI_NONAME, "there is no such name"),
        (socket.EAI_AGAIN, "no name server answered"),
        (socket.EAI_NODATA, "no address of this kind"),
        (socket.EAI_FAIL, "the name server failed"),
        (socket.EAI_SYSTEM, "odd"),
    ],
)
def test_names(number: int, says: str) -> None:
    address = Address.parse("tcp://no.such.example:7000")
    error = from_os_error(socket.gaierror(number, "odd"), stage="resolve", address=address)
    assert isinstance(error, errors.NameNotResolved)
    assert says in str(error)
    assert "'no.such.example'" in str(error)
    assert error.errno == number


def test_in_use_names_this_process(opened: ExitStack) -> None:
    _, port = _listen(opened)
    address = Address.parse(f"tcp://127.0.0.1:{port}")
    error = _bind_error(address, ("127.0.0.1", port))
    assert isinstance(error, errors.AddressInUse)
    assert error.holders[0].pid == os.getpid()
    assert str(error) == (
        f"cannot listen on {address}: address already in use by this process (pid {os.getpid()}); "
        "close that listener first, or choose another port (0 lets the kernel pick one)"
    )


def test_in_use_says_where_it_is_bound(opened: ExitStack) -> None:
    _, port = _listen(opened, "0.0.0.0")
    error = _bind_error(Address.parse(f"tcp://127.0.0.1:{port}"), ("127.0.0.1", port))
    assert f"bound to 0.0.0.0:{port}" in str(error)


def test_in_use_without_a_visible_holder(opened: ExitStack) -> None:
    bound = opened.enter_context(socket.socket())
    bound.bind(("127.0.0.1", 0))
    port = bound.getsockname()[1]
    error = _bind_error(Address.parse(f"tcp://127.0.0.1:{port}"), ("127.0.0.1", port))
    assert "no process shows it" in str(error)
    assert f"`sudo ss -ltnp 'sport = :{port}'`" in str(error)


def test_not_available() -> None:
    error = _bind_error(Address.parse("tcp://192.0.2.1:7000"), ("192.0.2.1", 7000))
    assert isinstance(error, errors.AddressNotAvailable)
    assert "no interface with the address 192.0.2.1" in str(error)
    assert "tcp://:7000" in (error.hint or "")


def test_reserved_port() -> None:
    error = from_os_error(
        PermissionError(errno.EACCES, "x"), stage="bind", address=Address.parse("tcp://:80")
    )
    assert isinstance(error, errors.AccessDenied)
    assert isinstance(error, PermissionError)
    assert "are reserved" in str(error) or "device=" in str(error)


def _open_without_end(opened: ExitStack) -> None:
    while True:
        opened.enter_context(socket.socket())


def test_too_many_open_files(opened: ExitStack) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    opened.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
    with pytest.raises(OSError, match="Too many open files") as caught:
        _open_without_end(opened)
    error = from_os_error(caught.value, stage="connect", address=PEER)
    assert isinstance(error, errors.TooManyOpenFiles)
    assert error.limit == highest + 1
    assert f"may have {highest + 1} open files" in str(error)
    assert f"ulimit -n {hard}" in str(error)


# Unix sockets --------------------------------------------------------------------------------------


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _unix(path: object, scheme: str = "unix") -> Address:
    return Address(scheme, path=str(path))


def test_unix_stale(directory: Path, opened: ExitStack) -> None:
    path = directory / "s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
    error = _connect_error(_unix(path))
    assert isinstance(error, errors.ConnectRefused)
    assert "stale" in str(error)
    error = _bind_error(_unix(path), str(path))
    assert isinstance(error, errors.AddressInUse)
    assert f"rm {path}" in str(error)


def test_unix_in_use(directory: Path, opened: ExitStack) -> None:
    path = directory / "s"
    server = opened.enter_context(socket.socket(socket.AF_UNIX))
    server.bind(str(path))
    server.listen()
    error = _bind_error(_unix(path), str(path))
    assert isinstance(error, errors.AddressInUse)
    assert f"by this process (pid {os.getpid()})" in str(error)
    assert "another path or name" in str(error)


def test_unix_absent_and_not_a_socket(directory: Path) -> None:
    assert "there is no such socket file" in str(_connect_error(_unix(directory / "none")))
    assert "there is no directory" in str(_connect_error(_unix(directory / "none" / "s")))
    (directory / "file").write_text("x")
    assert "not a socket" in str(_connect_error(_unix(directory / "file")))
    assert "not a socket is in the way" in str(
        _bind_error(_unix(directory / "file"), str(directory / "file"))
    )
    assert "make the directory" in str(
        _bind_error(_unix(directory / "none" / "s"), str(directory / "none" / "s"))
    )
    assert "abstract name" in str(_connect_error(_unix("@jackfield-nobody-listens")))


def test_abstract_name_of_another_kind(opened: ExitStack) -> None:
    name = f"@jackfield-kind-{os.getpid()}"
    server = opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    server.bind(f"\0{name[1:]}")
    assert f"write unix+dgram://{name}" in str(_connect_error(_unix(name)))


def test_unix_of_another_kind(directory: Path, opened: ExitStack) -> None:
    path = directory / "s"
    server = opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    server.bind(str(path))
    error = _connect_error(_unix(path))
    assert isinstance(error, errors.ConnectFailed)
    assert "is unix+dgram, not unix" in str(error)
    assert f"write unix+dgram://{path}" in str(error)


def test_unix_not_permitted(directory: Path, opened: ExitStack) -> None:
    path = directory / "s"
    server = opened.enter_context(socket.socket(socket.AF_UNIX))
    server.bind(str(path))
    path.chmod(0o700)
    cause = PermissionError(errno.EACCES, "x")
    error = from_os_error(cause, stage="connect", address=_unix(path))
    assert isinstance(error, errors.AccessDenied)
    assert "srwx------" in str(error)
    assert "make files in" in str(from_os_error(cause, stage="listen", address=_unix(path)))


def test_unix_busy() -> None:
    error = from_os_error(BlockingIOError(errno.EAGAIN, "x"), stage="connect", address=_unix("/run/s"))
    assert "accept queue is full" in str(error)


def test_of_very_many_attempts_the_first_are_named_and_the_others_counted() -> None:
    refused = ConnectionRefusedError(errno.ECONNREFUSED, "refused")
    attempts = [Attempt(Address.parse(f"tcp://10.0.0.{number}:80"), refused) for number in range(200)]
    error = from_os_error(refused, stage="connect", address=Address.parse("tcp://x:80"), attempts=attempts)
    assert "10.0.0.7:80: refused; 192 more)" in str(error)
    assert len(error.attempts) == 200
