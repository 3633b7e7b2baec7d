"""How messages are written: checksums and encodings, from the command line to a client and back."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from pathlib import Path

import pytest
from programs import JACKFIELD, HubProcess, Spawn, StartHub


def connect(hub: HubProcess, index: int = 0) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", hub.port(index)))
    client.settimeout(10)
    return client


@pytest.mark.parametrize(
    ("words", "data", "arrives"),
    [
        (["--hex", "01 03 00 00 00 01", "--crc", "modbus"], None, bytes.fromhex("010300000001840a")),
        (["--hex", "01 03 00 00 00 01", "--crc", "modbus:be"], None, bytes.fromhex("0103000000010a84")),
        (["123456789", "--crc", "ccitt-false"], None, b"123456789\x29\xb1\n"),
        (["123456789", "--crc", "crc32:hex", "--eol", "crlf"], None, b"123456789CBF43926\r\n"),
        (["-e", r"\x02OK\x03", "--crc", "bcc"], None, b"\x02OK\x03\x05"),
        (["-", "--crc", "crc32"], b"123456789", b"123456789\x26\x39\xf4\xcb"),
        (["--encoding", "gbk", "温度?"], None, b"\xce\xc2\xb6\xc8?\n"),
        (["--encoding", "gbk", "-e", r"\u6e29\xff\r"], None, b"\xce\xc2\xff\r"),
        (["--encoding", "gbk", "温", "--crc", "sum8"], None, b"\xce\xc2\x90\n"),
        (["--encoding", "utf-16-le", "hi"], None, b"h\0i\0"),
        (["--encoding", "utf-16-le", "hi", "--eol", "lf"], None, b"h\0i\0\n\0"),
    ],
)
def test_what_arrives(hub: HubProcess, words: list[str], data: bytes | None, arrives: bytes) -> None:
    with connect(hub) as client:
        hub.joined(1)
        hub.do("send", "1", *words, data=data)
        hub.do("kick", "1")
        with client.makefile("rb") as received:
            assert received.read() == arrives


def test_a_files_checksum_ends_it_in_every_way_it_goes_out(start_hub: StartHub, directory: Path) -> None:
    import zlib

    hub = start_hub("tcp://127.0.0.1:0", "tcp://127.0.0.1:0,framing=u32")
    content = bytes(range(256)) * 800  # more than one piece of a pipe
    path = directory / "content"
    path.write_bytes(content)
    whole = content + zlib.crc32(content).to_bytes(4, "little")
    with connect(hub) as stream, connect(hub, 1) as framed:
        hub.joined(2)
        with stream.makefile("rb") as lines, framed.makefile("rb") as messages:
            for words, data in ((["--file", str(path)], None), (["-"], content)):
                hub.do("send", "all", *words, "--crc", "crc32", data=data)
                assert lines.read(len(whole)) == whole
                assert messages.read(4 + len(whole)) == len(whole).to_bytes(4, "big") + whole


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["x", "--crc", "modbuss"], "did you mean modbus"),
        (["温", "--encoding", "latin-1"], "(U+6E29 CJK UNIFIED IDEOGRAPH-6E29) at position 0"),
        (["x", "--encoding", "rot13"], "unknown encoding"),
        (["--hex", "00", "--encoding", "gbk"], "--encoding is for typed text, and --hex gives bytes"),
        (["-", "--encoding", "gbk"], "--encoding is for typed text, and - gives bytes"),
    ],
)
def test_what_is_refused(hub: HubProcess, words: list[str], says: str) -> None:
    done = hub.run("send", "all", *words)
    assert done.returncode == 2
    assert says in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1


def test_a_conversation_in_another_encoding(hub: HubProcess) -> None:
    with connect(hub) as client:
        hub.joined(1)

        def answer() -> None:
            assert client.recv(100) == "温度?\n".encode("gbk")
            client.sendall(b"\xce")  # half a character
            hub.seen(rb"joined")
            client.sendall(b"\xc2\xff\n")

        answering = threading.Thread(target=answer)
        answering.start()
        said = hub.do("talk", "1", "--encoding", "gbk", "--wait", "1s", data="温度?\n".encode())
        assert said.decode() == "温\\xff\n"
        answering.join()


def test_connect_and_listen_in_another_encoding(spawn: Spawn) -> None:
    listener = spawn(JACKFIELD, "listen", "127.0.0.1:0", "--encoding", "big5")
    port = listener.seen(rb"listening on tcp://127\.0\.0\.1:(\d+)", err=True)[1].decode()
    connecting = spawn(JACKFIELD, "connect", f"127.0.0.1:{port}", "--encoding", "big5")
    connecting.write("溫度?\n".encode())
    listener.seen("溫度\\?\n".encode())
    with_gbk = "溫21\n".encode()
    listener.write(with_gbk)
    connecting.seen(with_gbk)
    connecting.end_input()
    listener.end_input()
    assert connecting.wait() == listener.wait() == 0


def test_the_catalogue() -> None:
    def crc(*words: str, data: bytes | None = None) -> str:
        done = subprocess.run(
            [JACKFIELD, "crc", *words], input=data, capture_output=True, timeout=30, check=True
        )
        return done.stdout.decode()

    assert "\nmodbus " in crc()
    assert "poly=0x8005 init=0xffff refin=true refout=true xorout=0x0000" in crc("modbus")
    assert crc("modbus", "--hex", "01 03 00 00 00 01") == "84 0a\n"
    assert crc("crc32", "-", data=b"123456789") == "26 39 f4 cb\n"
    assert crc("xor8:hex", "GPGLL,5057.970,N,00146.110,E,142451,A") == "27\n"
    assert json.loads(crc("crc8", "123456789", "--json")) == {"name": "crc8", "value": 0xF4, "appended": "f4"}
    assert {each["name"] for each in json.loads(crc("--json"))} >= {"modbus", "crc32c", "xmodem"}
