"""The merged table of a question to many clients."""

from __future__ import annotations

import json
from typing import Any

from jackfield.cli.bulk_view import (
    Bulk,
    answer_of,
    bulk_json,
    failure_sentence,
    progress_line,
    short_time,
    table_lines,
)
from jackfield.hub.display import show_bytes, width_of
from jackfield.hub.protocol import encode_data


def answered(client_id: int, name: str, data: bytes, seconds: float) -> dict[str, Any]:
    return {
        "id": client_id,
        "name": name,
        "outcome": "answered",
        "seconds": seconds,
        "answer": encode_data(data),
    }


def test_the_majority_comes_first_and_outliers_are_named() -> None:
    bulk = Bulk()
    names = {n: f"dev{n}" for n in range(1, 13)}
    bulk.take({"asking": list(names.items()), "total": 12})
    bulk.take({"wave": 1, "of": 1, "to": list(names)})
    results = [answered(n, names[n], b"version 1.4.2\r\n", n / 1000) for n in range(1, 8)]
    results += [answered(8, "dev8", b"version 1.4.1\n", 0.25), answered(9, "dev9", b"\x1b[2J\x9b", 1.5)]
    results += [
        {"id": 10, "name": "dev10", "outcome": "silent"},
        {"id": 11, "name": "dev11", "outcome": "no_match", "said": encode_data(b"ERROR 5\r\n")},
        {"id": 12, "name": "dev12", "outcome": "left", "detail": "the peer reset the connection"},
    ]
    bulk.take({"results": results})
    bulk.take({"halted": False})
    assert table_lines(bulk, show_bytes, timeout=2.0, width=None) == [
        "9 of 12 clients answered: fastest 1.0ms, median 5.0ms, slowest 1.5s; 7 agree, 2 other answers",
        "",
        "CLIENTS  OUTCOME         ANSWER                                 TIME  WHO",
        "      7  answered        version 1.4.2                  1.0ms..7.0ms  dev1, dev2, dev3 and 4 more",
        "      1  answered        version 1.4.1                         250ms  dev8",
        "      1  answered        \\e[2J\\x9b                              1.5s  dev9",
        "      1  something else  ERROR 5                                      dev11",
        "      1  no answer       within 2s                                    dev10",
        "      1  left            the peer reset the connection                dev12",
    ]
    assert (
        failure_sentence(bulk)
        == "1 client answered something else; 1 client did not answer in time; 1 client left"
    )
    for width in (40, 80):
        assert all(
            width_of(line) <= width for line in table_lines(bulk, show_bytes, timeout=2.0, width=width)[1:]
        )


def test_a_halted_and_an_interrupted_one_say_who_was_not_sent_to() -> None:
    bulk = Bulk()
    bulk.take({"asking": [[1, "a"], [2, "b"], [3, "c"], [4, ""]], "total": 4})
    bulk.take({"wave": 1, "of": 2, "to": [1, 2]})
    bulk.take({"results": [answered(1, "a", b"ok", 0.001)]})
    assert progress_line(bulk) == "1 of 4 clients done, wave 1 of 2"
    bulk.interrupted = True
    assert table_lines(bulk, show_bytes, timeout=2.0, width=None)[:2] == [
        "1 of 4 clients answered: fastest 1.0ms, median 1.0ms, slowest 1.0ms",
        "interrupted in wave 1 of 2: 2 not sent to",
    ]
    bulk.interrupted = False
    bulk.take({"results": [{"id": 2, "name": "b", "outcome": "full", "detail": "its queue is full"}]})
    bulk.take({"halted": True, "not_sent": [3, 4]})
    assert "halted after wave 1 of 2, 1 failed: 2 not sent to" in table_lines(
        bulk, show_bytes, timeout=2, width=None
    )
    assert failure_sentence(bulk).endswith("halted, and 2 clients not sent to")


def test_one_that_was_interrupted_before_it_answered_was_sent_to() -> None:
    bulk = Bulk()
    bulk.take({"asking": [[1, "a"]], "total": 1})
    bulk.take({"wave": 1, "of": 1, "to": [1]})
    bulk.interrupted = True
    assert table_lines(bulk, show_bytes, timeout=2.0, width=None)[:2] == [
        "0 of 1 client answered",
        "interrupted in wave 1 of 1: all were sent to",
    ]


def test_without_answers_it_says_who_was_sent_to() -> None:
    bulk = Bulk()
    bulk.take({"asking": [[1, "a"], [2, "b"]], "total": 2})
    bulk.take({"wave": 1, "of": 1, "to": [1, 2]})
    bulk.take({"results": [{"id": n, "name": name, "outcome": "sent"} for n, name in ((1, "a"), (2, "b"))]})
    assert table_lines(bulk, show_bytes, timeout=2, width=None)[0] == "2 of 2 clients sent to"
    bulk.take({"absent": ["dev7", "dev\x1b9"]})
    assert table_lines(bulk, show_bytes, timeout=2, width=None)[-1].split(None, 2) == [
        "2",
        "absent",
        "dev7, dev\\e9",
    ]
    assert failure_sentence(bulk) == ""


def test_groups_are_what_is_printed() -> None:
    result = {"answer": encode_data(b"x=1 y=2\n"), "groups": [encode_data(b"1\r"), None, encode_data(b"2")]}
    assert answer_of(result, show_bytes) == "1\t\t2"


def test_for_programs() -> None:
    bulk = Bulk()
    bulk.take({"asking": [[1, "a"], [2, "b"]], "total": 2})
    bulk.take({"wave": 1, "of": 1, "to": [1]})
    bulk.take({"results": [answered(1, "a", b"\xffok", 0.5)]})
    found = json.loads(json.dumps(bulk_json(bulk, lambda data: data.decode("utf-8", "surrogateescape"))))
    assert found["results"] == [
        {
            "id": 1,
            "name": "a",
            "outcome": "answered",
            "seconds": 0.5,
            "answer": "\udcffok",
            "answer_hex": "ff6f6b",
        },
        {"id": 2, "name": "b", "outcome": "not_sent"},
    ]
    assert (found["clients"], found["well"], found["failed"], found["not_sent"]) == (2, 1, 0, 1)
    assert (found["fastest"], found["median"], found["slowest"]) == (0.5, 0.5, 0.5)


def test_times() -> None:
    times = [short_time(seconds) for seconds in (0.00004, 0.0042, 0.0212, 0.9, 1.0, 1.52, 60.0, 3600.0)]
    assert times == ["0.0ms", "4.2ms", "21ms", "900ms", "1s", "1.5s", "60s", "3600s"]
