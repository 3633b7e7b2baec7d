"""The hub's log in the forms that others read."""

from __future__ import annotations

import json

import pytest

from jackfield.hub.journal import Event
from jackfield.hub.log_format import FORMATS, level, line

EVENT = Event(0.0, "joined", (("id", 1), ("name", "a b"), ("peer", "x\n\x1b[31m")))


@pytest.mark.parametrize(
    ("form", "wanted"),
    [
        ("text", '1970-01-01T00:00:00.000Z joined id=1 name="a b" peer='),
        ("logfmt", 'time=1970-01-01T00:00:00.000Z level=info event=joined id=1 name="a b" peer='),
        ("journald", '<6>joined id=1 name="a b" peer='),
    ],
)
def test_each_form_is_one_safe_line(form: str, wanted: str) -> None:
    told = line(EVENT, form)
    assert told.startswith(wanted)
    assert told.isprintable()


def test_json_has_the_level_and_every_fact() -> None:
    assert json.loads(line(EVENT, "json")) == {
        "time": "1970-01-01T00:00:00.000Z",
        "level": "info",
        "event": "joined",
        "id": 1,
        "name": "a b",
        "peer": "x\n\x1b[31m",
    }
    assert "\n" not in line(EVENT, "json")


def test_levels() -> None:
    assert [level(kind) for kind in ("fault", "refused", "joined", "message")] == [
        "error",
        "warning",
        "info",
        "debug",
    ]
    assert line(Event(0.0, "fault"), "journald") == "<3>fault"
    assert set(FORMATS) == {"text", "json", "logfmt", "journald"}
