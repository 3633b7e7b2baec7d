"""Snippets and automatic replies, by the commands of an operator and with real clients."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from programs import HubProcess, StartHub, wait_for


def connect(hub: HubProcess, index: int = 0) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", hub.port(index)))
    client.settimeout(30)
    return client


def datagrams(hub: HubProcess, index: int = 0) -> socket.socket:
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.connect(("127.0.0.1", hub.port(index)))
    client.settimeout(30)
    return client


def read_exactly(client: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = client.recv(count - len(data))
        assert more, data
        data += more
    return data


# -------------------------------------------------------------------- snippets


def test_a_snippet_is_kept_sent_and_outlives_the_hub(start_hub: StartHub, directory: Path) -> None:
    control = directory / "one.sock"
    hub = start_hub("tcp://127.0.0.1:0,eol=crlf", control=control)
    hub.do("snippet", "add", "status", "STATUS?")
    hub.do("snippet", "add", "read", "--hex", "01 03 ff 00")
    hub.do("snippet", "add", "piped", "-", data=b"as it is\n")
    assert hub.terminate() == 0

    hub = start_hub("tcp://127.0.0.1:0,eol=crlf", control=control)
    with connect(hub) as client:
        hub.joined(1)
        hub.do("send", "1", "--snippet", "status")
        assert read_exactly(client, 9) == b"STATUS?\r\n"
        hub.do("send", "1", "--snippet", "status", "--eol", "lf")
        assert read_exactly(client, 8) == b"STATUS?\n"
        hub.do("send", "1", "--snippet", "read")
        assert read_exactly(client, 4) == b"\x01\x03\xff\x00"
        hub.do("broadcast", "--snippet", "piped")
        assert read_exactly(client, 9) == b"as it is\n"
    listed = json.loads(hub.do("snippet", "ls", "--json"))
    assert [(each["name"], each["bytes"], each["ending"]) for each in listed] == [
        ("piped", 9, "none"),
        ("read", 4, "none"),
        ("status", 7, "default"),
    ]
    assert hub.do("snippet", "show", "read") == b"\x01\x03\xff\x00"
    assert b"STATUS?" in hub.do("snippet", "ls")
    hub.do("snippet", "rm", "status")
    gone = hub.run("send", "1", "--snippet", "status")
    assert gone.returncode == 4, "the client left as well"
    assert b"no snippet 'status'; there are piped" in hub.run("snippet", "rm", "status").stderr


def test_wrong_use_of_snippets_says_what_is_wrong(hub: HubProcess) -> None:
    for arguments, code, words in (
        (("snippet", "add", "x"), 2, b"give DATA or --file"),
        (("snippet", "add", "x", "data", "--file", "/dev/null"), 2, b"both DATA and --file"),
        (("snippet", "add", "x", "--hex", "0g"), 2, b"not a hex digit"),
        (("snippet", "add", "-x", "y"), 2, b"No such option"),
        (("snippet", "add", "a b", "y"), 2, b"is not a name"),
        (("snippet", "add", "big", "--file", "/dev/zero"), 1, b"at most 1048576 bytes"),
        (("snippet", "show", "nobody"), 1, b"no snippet 'nobody'; there is none"),
        (("send", "all", "data", "--snippet", "x"), 2, b"--snippet is what is sent"),
        (("send", "all", "--snippet", "x"), 1, b"no snippet 'x'"),
    ):
        done = hub.run(*arguments)
        assert done.returncode == code, (arguments, done)
        assert words in done.stderr, (arguments, done)


# -------------------------------------------------------------------- automatic replies


def test_a_reply_comes_across_chunks_to_whom_it_is_meant_for(start_hub: StartHub, directory: Path) -> None:
    control = directory / "one.sock"
    hub = start_hub("tcp://127.0.0.1:0", "tcp://127.0.0.1:0,framing=u8", control=control)
    hub.do("autoreply", "add", "ping", "pong", "--name", "p", "--rate", "1000/s")
    hub.do("autoreply", "add", "--hex", "01 ff", "02 fe", "--to", "modbus")
    with connect(hub) as one, connect(hub, 1) as framed:
        hub.joined(2)
        one.sendall(b"pi")
        one.sendall(b"ng and pingping\n")
        assert read_exactly(one, 15) == b"pong\npong\npong\n"
        framed.sendall(b"\x04ping\x02\x01\xff")
        assert read_exactly(framed, 5) == b"\x04pong"
        hub.do("rename", "2", "modbus")
        framed.sendall(b"\x02\x01\xff")
        assert read_exactly(framed, 3) == b"\x02\x02\xfe", "whose name matches now"
    rules = {rule["name"]: rule for rule in json.loads(hub.do("autoreply", "ls", "--json"))}
    assert (rules["p"]["matched"], rules["p"]["sent"]) == (4, 4)
    assert (rules["reply1"]["to"], rules["reply1"]["sent"]) == ("modbus", 1)
    assert hub.terminate() == 0

    hub = start_hub("tcp://127.0.0.1:0", control=control)
    with connect(hub) as one:
        one.sendall(b"ping")
        assert read_exactly(one, 5) == b"pong\n", "rules outlive the hub"
        hub.do("autoreply", "rm", "p")
        hub.do("autoreply", "add", "ping", "other")
        one.sendall(b"ping")
        assert read_exactly(one, 6) == b"other\n"
    assert hub.do("autoreply", "ls").count(b"\n") == 3


def test_beyond_the_rate_nothing_is_answered_and_it_is_counted(hub: HubProcess) -> None:
    hub.do("autoreply", "add", "x", "y", "--rate", "3/h", "--eol", "none")
    with connect(hub) as client:
        client.sendall(b"x" * 10)
        assert read_exactly(client, 3) == b"yyy"

        def counted() -> bool:
            (rule,) = json.loads(hub.do("autoreply", "ls", "--json"))
            return (rule["matched"], rule["sent"], rule["limited"]) == (10, 3, 7)

        wait_for(counted, "the rest counted")
        hub.seen(rb' autoreply_limited rule=reply1 id=1 .*reason="more than 3/h"')


def test_two_udp_programs_that_answer_each_other_come_to_an_end(start_hub: StartHub) -> None:
    hub = start_hub("udp://127.0.0.1:0")
    hub.do("autoreply", "add", "", "what?", "--rate", "1000/s", "--eol", "none")
    with datagrams(hub) as other:
        other.send(b"hello")
        answered = 0
        while True:
            try:
                assert other.recv(100) == b"what?"
            except TimeoutError:
                break
            answered += 1
            assert answered < 1000, "it goes on for ever"
            other.send(b"pardon?")
            other.settimeout(1.0)
        assert 0 < answered <= 25
        hub.seen(rb" autoreply_withheld rule=reply1 .*at once after our reply")
        other.settimeout(30)
        other.send(b"a question of its own")
        assert other.recv(100) == b"what?"


def test_an_echo_server_is_not_answered_for_ever(start_hub: StartHub) -> None:
    hub = start_hub("udp://127.0.0.1:0")
    hub.do("autoreply", "add", "", "hello", "--rate", "1000/s", "--eol", "none")
    with datagrams(hub) as other:
        other.send(b"begin")
        answered = 0
        while True:
            try:
                data = other.recv(100)
            except TimeoutError:
                break
            answered += 1
            assert answered < 100
            other.send(data)
            other.settimeout(1.0)
        assert answered == 3
        hub.seen(rb" autoreply_withheld .*sends our own replies back")


def test_wrong_rules_are_refused_with_the_reason(hub: HubProcess) -> None:
    for arguments, code, words in (
        (("(a", "b"), 2, b"cannot be used: missing )"),
        (("a", "b", "--rate", "10"), 2, b"is not a rate"),
        (("a", "b", "--to", " , "), 2, b"at least one part"),
        (("a", "b", "--hex"), 2, b"not a hex digit|odd number"),
        (("", "00", "--hex"), 2, b"PATTERN has no byte"),
        (("a", "b", "--eol", "x"), 2, b"unknown line ending"),
        (("a", "b", "--name", "no name"), 2, b"is not a name"),
    ):
        done = hub.run("autoreply", "add", *arguments)
        assert done.returncode == code, (arguments, done)
        assert any(each in done.stderr for each in words.split(b"|")), (arguments, done)
    assert json.loads(hub.do("autoreply", "ls", "--json")) == []
    assert hub.run("autoreply", "rm", "x").stderr.startswith(
        b"jackfield: no automatic reply 'x'; there is none"
    )


def test_a_client_that_does_not_read_loses_replies_and_they_are_counted(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0", "--queue", "8K")
    hub.do("autoreply", "add", "x", "y" * 4000, "--rate", "900000/s")
    with connect(hub) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

        def dropped() -> bool:
            client.sendall(b"x" * 1000)
            (rule,) = json.loads(hub.do("autoreply", "ls", "--json"))
            return bool(rule["dropped"] > 0)

        wait_for(dropped, "replies dropped and counted", deadline=50)
        hub.seen(rb' autoreply_dropped .*reason="its queue is full"')


def test_what_is_wrong_usage_there_has_the_exit_code_of_wrong_usage_here(hub: HubProcess) -> None:
    for words in (
        ["autoreply", "add", "(", "x"], ["send", "all", "x", "--expect", "("],
        ["token", "create", "--role", "king"], ["invite", "--role", "king"],
    ):  # fmt: skip
        assert hub.run(*words).returncode == 2, words
    hub.do("autoreply", "add", "x", "y")
    assert hub.run("autoreply", "rm", "z").stderr == b"jackfield: no automatic reply 'z'; there is reply1\n"
