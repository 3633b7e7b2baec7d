"""DNS questions and answers as bytes, and the two files that say who is asked."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield._address import Address
from jackfield._causes import Cause
from jackfield._dns import (
    AAAA,
    A,
    Answer,
    ResolverConfig,
    full_name,
    parse_answer,
    question,
    read_config,
)
from jackfield._errors import ConnectTimedOut, NameNotResolved, NameServerAnswer
from jackfield._name_errors import NameFailure, not_resolved

ASKED = question("a.example", number=7, kind=A)


def reply(asked: bytes, *, code: int = 0, records: bytes = b"", count: int = 0) -> bytes:
    return asked[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, count, 0, 0) + asked[12:] + records


def record(kind: int, data: bytes, name: bytes = b"\xc0\x0c") -> bytes:
    return name + struct.pack("!HHIH", kind, 1, 60, len(data)) + data


def test_a_question() -> None:
    assert ASKED == b"\0\7\1\0\0\1\0\0\0\0\0\0\1a\7example\0\0\1\0\1"
    for name in ("", "a..b", "a" * 64, "a." * 127 + "a"):
        with pytest.raises(ValueError, match="not a DNS name"):
            question(name, number=1, kind=A)


def test_answers() -> None:
    alias = record(5, b"\1b\xc0\x0c") + record(A, bytes([10, 0, 0, 1]), b"\1b\xc0\x0c")
    answer = parse_answer(reply(ASKED, records=alias, count=2), ASKED)
    assert answer == Answer("no error", ("10.0.0.1",))
    six = question("a.example", number=8, kind=AAAA)
    records = record(AAAA, socket.inet_pton(socket.AF_INET6, "fd01::1"))
    assert parse_answer(reply(six, records=records, count=1), six) == Answer("no error", ("fd01::1",))
    codes = {0: "no error", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 5: "REFUSED", 11: "error 11"}
    for code, said in codes.items():
        assert parse_answer(reply(ASKED, code=code), ASKED) == Answer(said)


def test_what_is_no_answer_to_the_question() -> None:
    other = question("b.example", number=7, kind=A)
    for packet in (b"", ASKED, reply(other), b"\0\x08" + reply(ASKED)[2:], reply(ASKED)[:-1]):
        assert parse_answer(packet, ASKED) is None
    assert parse_answer(reply(ASKED).replace(b"example", b"EXAMPLE"), ASKED) is not None


@given(st.binary(max_size=200), st.integers(0, 65535))
def test_any_bytes_behind_the_question_do_no_harm(records: bytes, count: int) -> None:
    answer = parse_answer(reply(ASKED, records=records, count=count), ASKED)
    assert answer is not None
    assert answer.code in ("no error", "nonsense")


def test_the_two_files() -> None:
    config = read_config(
        "# a comment\nnameserver 10.0.0.1\nnameserver fe80::1%eth0\nnameserver nonsense\n"
        "nameserver 10.0.0.1\nnameserver 10.0.0.4\nsearch one.example. two.example\noptions ndots:2\n",
        "passwd: files\nhosts:  files [!UNAVAIL=return] mdns4_minimal dns # here\n",
    )
    assert config == ResolverConfig(
        ("10.0.0.1", "fe80::1%eth0"), ("one.example", "two.example"), ("files", "mdns4_minimal", "dns")
    )
    assert (config.asks_dns, config.asks_multicast) == (True, True)
    assert full_name("db", config) == "db.one.example"
    assert (full_name("db.", config), full_name("a.b", config)) == ("db", "a.b")
    missing = read_config(None, None)
    assert (missing.servers, missing.asks_dns, missing.asks_multicast) == ((), True, False)
    assert not read_config("nameserver 10.0.0.1", "hosts: files").asks_dns


# The words ----------------------------------------------------------------------------------------

ONE = ResolverConfig(("10.0.0.1",))
FILES = ResolverConfig(("10.0.0.1",), (), ("files",))
NONAME = socket.gaierror(socket.EAI_NONAME, "x")
AGAIN = socket.gaierror(socket.EAI_AGAIN, "x")


def answered(said: str | None, *addresses: str, server: str = "10.0.0.1") -> NameServerAnswer:
    return NameServerAnswer(server, "db.example", said, addresses, 0.5)


@pytest.mark.parametrize(
    ("error", "config", "answers", "cause", "says"),
    [
        (
            NONAME,
            ONE,
            [answered("NXDOMAIN")],
            Cause.NO_SUCH_NAME,
            "10.0.0.1 answered NXDOMAIN for db.example",
        ),
        (AGAIN, ONE, [answered("SERVFAIL")], Cause.NAME_SERVER_FAILED, "could not find out"),
        (AGAIN, ONE, [answered("REFUSED")], Cause.NAME_SERVER_FAILED, "refuses to answer this machine"),
        (AGAIN, ONE, [answered(None)], Cause.NAME_SERVER_SILENT, "10.0.0.1 was silent for 0.5 s"),
        (NONAME, ONE, [answered("no error")], Cause.NAME_WITHOUT_ADDRESS, "exists, but has no address"),
        (NONAME, ONE, [answered("no error", "fd01::1")], Cause.NAME_WITHOUT_ADDRESS, "only IPv6 addresses"),
        (AGAIN, ONE, [answered("no error", "10.9.9.9")], Cause.NAME_SERVER_FAILED, "knows the name now"),
        (AGAIN, ONE, [answered("unreachable: x")], Cause.NAME_SERVER_SILENT, "10.0.0.1 is unreachable: x"),
        (
            NONAME,
            ONE,
            [answered(None, server="10.0.0.9"), answered("NXDOMAIN")],
            Cause.NO_SUCH_NAME,
            "10.0.0.9 was silent for 0.5 s; the name server 10.0.0.1 answered NXDOMAIN",
        ),
        (NONAME, FILES, [], Cause.NO_SUCH_NAME, "asks no name server (`hosts: files`"),
        (NONAME, ResolverConfig(()), [], Cause.NO_NAME_SERVER, "no name server is configured"),
        (None, ONE, [answered(None)], Cause.NAME_SERVER_SILENT, "answered within 3 s: 10.0.0.1 was silent"),
        (None, ONE, [answered("NXDOMAIN")], Cause.NAME_SERVER_FAILED, "not resolved within 3 s"),
        (NONAME, None, [], Cause.NO_SUCH_NAME, "there is no such name"),
    ],
)
def test_why_a_name_did_not_resolve(
    error: socket.gaierror | None,
    config: ResolverConfig | None,
    answers: list[NameServerAnswer],
    cause: Cause,
    says: str,
) -> None:
    address = Address.parse("tcp://db.example:80")
    made = not_resolved(NameFailure(address, error, config, tuple(answers), 3.0))
    assert type(made) is (NameNotResolved if error else ConnectTimedOut)
    assert (made.cause, made.address, made.stage, made.servers) == (cause, address, "resolve", tuple(answers))
    assert says in str(made)
    assert made.hint


@pytest.mark.parametrize(
    ("name", "config", "says"),
    [
        ("printer.local", ONE, "install nss-mdns"),
        ("db", ONE, "write the full name, such as db.example.org"),
        ("db", ResolverConfig(("10.0.0.1",), ("home.arpa",)), "the search domain home.arpa was tried"),
        ("db.example", ONE, "check the spelling"),
    ],
)
def test_hints(name: str, config: ResolverConfig, says: str) -> None:
    failure = NameFailure(Address.parse(f"tcp://{name}:80"), NONAME, config, (answered("NXDOMAIN"),))
    assert says in str(not_resolved(failure))


@pytest.mark.parametrize(
    ("flags", "records", "count", "said"),
    [
        (0x8180, record(A, b"\x7f\0\0\1")[:8], 1, "nonsense"),
        (0x8180, record(A, b"\x7f\0\0\1")[:-6] + b"\xff\xff\x7f\0\0\1", 1, "nonsense"),
        (0x8180, b"", 3, "nonsense"),
        (0x8380, b"", 0, "a part only"),
        (0x8180, b"", 0, "no error"),
    ],
    ids=["cut off", "a length that lies", "no records", "does not fit", "none"],
)
def test_an_answer_without_a_readable_address(flags: int, records: bytes, count: int, said: str) -> None:
    packet = bytearray(reply(ASKED, records=records, count=count))
    packet[2:4] = flags.to_bytes(2)
    assert parse_answer(bytes(packet), ASKED) == Answer(said)
    config = ONE
    failure = NameFailure(Address.parse("tcp://db.example:80"), NONAME, config, (answered(said),))
    known = said == "no error"
    assert (not_resolved(failure).cause is Cause.NAME_WITHOUT_ADDRESS) == known
    assert ("has no address" in str(not_resolved(failure))) == known


def test_a_server_that_answers_with_an_unknown_error_was_not_silent() -> None:
    config = ONE
    failure = NameFailure(Address.parse("tcp://db.example:80"), NONAME, config, (answered("error 15"),))
    made = not_resolved(failure)
    assert made.cause is Cause.NAME_SERVER_FAILED
    assert "no usable answer came from a name server" in str(made)
