"""What a peer's first bytes are the beginning of."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield._recognise import recognise, show


def client_hello() -> bytes:
    """What a TLS client sends first."""
    outgoing = ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="a.example")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


SPEECH = [
    (client_hello(), "TLS"),
    (b"\x16\x03\x03\0\x7a\x02\0\0\x76\x03\x03", "TLS"),
    (b"\x15\x03\x01\0\x02\x02\x28", "TLS"),
    (b"GET / HTTP/1.1\r\nHost: a\r\n", "HTTP"),
    (b"POST /x HTTP/1.0\r\n", "HTTP"),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP"),
    (b"HTTP/1.1 400 Bad Request\r\n", "HTTP"),
    (b"SSH-2.0-OpenSSH_9.6\r\n", "SSH"),
    (b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n", "PROXY"),
    (b"\x10\x1a\0\x04MQTT\x04", "MQTT"),
    (b"AMQP\0\0\x09\x01", "AMQP"),
    (b'INFO {"server_id":', "NATS"),
    (b"*1\r\n$4\r\nPING\r\n", "Redis"),
    (b"\0\0\0\x08\x04\xd2\x16\x2f", "PostgreSQL"),
    (b"220 mail.example ESMTP\r\n", "SMTP or FTP"),
    (b"+OK ready\r\n", "POP3"),
    (b"* OK IMAP4rev1\r\n", "IMAP"),
    (b'{"a": 1}\n', "text"),
]


@pytest.mark.parametrize(("beginning", "protocol"), SPEECH, ids=[speech for _, speech in SPEECH])
def test_what_is_recognised(beginning: bytes, protocol: str) -> None:
    speech = recognise(beginning[:32])
    assert speech is not None
    assert speech.protocol == protocol
    assert speech.hint


@pytest.mark.parametrize("data", [b"", b"GET", b"\0\0\0\5hello", b"\x16\x03\x03", b"\xff" * 32, b"220\xff"])
def test_what_is_not(data: bytes) -> None:
    assert recognise(data) is None


@given(st.binary(max_size=32))
def test_any_bytes_can_be_looked_at(data: bytes) -> None:
    recognise(data)
    assert show(data).isprintable()


def test_bytes_for_people() -> None:
    assert show(b"GET \0\xff") == "47 45 54 20 00 ff 'GET ..'"
    assert show(b"x" * 17).endswith("'xxxxxxxxxxxxxxxx' ...")
