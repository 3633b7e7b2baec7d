"""portable.py against the vectors of the protocol, and the vectors against the specification."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from protocol_vectors import conversations, covered, fits, from_hex, is_message, load, shown, to_bytes

from jackfield import portable

ROOT = Path(__file__).parents[2]


def test_every_rule_has_a_vector() -> None:
    text = (ROOT / "docs/protocol.md").read_text()
    rules = set(re.findall(r"\bP-\d{3}\b", text))
    assert rules == {f"P-{number:03}" for number in range(1, len(rules) + 1)}
    assert covered() == rules


def test_every_must_has_a_number() -> None:
    """A paragraph or item that says MUST says which rule it is."""
    text = (ROOT / "docs/protocol.md").read_text()
    parts = re.split(r"\n\n|\n(?=- )", text.partition("\n## 1.")[2])
    assert [part for part in parts if "MUST" in part and not re.search(r"P-\d{3}", part)] == []


@pytest.mark.parametrize("frame", load("frames")["good"], ids=lambda frame: frame["message"][:24])
def test_good_frames(frame: dict[str, Any]) -> None:
    message, payload = from_hex(frame["message"]), from_hex(frame["payload"])
    kind = portable.KINDS.index(frame["kind"])
    assert portable.decode(message) == (frame["stream"], kind, frame["flags"], payload)
    assert portable.encode(frame["stream"], kind, payload, frame["flags"]) == message


@pytest.mark.parametrize("frame", load("frames")["bad"], ids=lambda frame: frame["name"])
def test_bad_frames(frame: dict[str, Any]) -> None:
    with pytest.raises(portable.ProtocolError) as caught:
        portable.decode(from_hex(frame["message"]))
    assert caught.value.code == frame["code"]


@pytest.mark.parametrize("case", load("streams")["cases"], ids=lambda case: case["name"])
@pytest.mark.parametrize("step", [1, 3, 1 << 20])
def test_streams(case: dict[str, Any], step: int) -> None:
    data, deframer = from_hex(case["bytes"]), portable.Deframer()
    found, error = [], None
    try:
        for start in range(0, len(data), step):
            for message in deframer.feed(data[start : start + step]):
                found.append(message)
    except portable.ProtocolError as problem:
        error = problem.code
    assert found == [from_hex(message) for message in case["messages"]]
    assert error == case.get("error")
    whole = b"".join(portable.framed(from_hex(message)) for message in case["messages"])
    assert data.startswith(whole)


def plain(event: Any) -> dict[str, Any]:
    """An event as the vectors write it."""
    name = re.sub(r"(?<!^)([A-Z])", r"_\1", type(event).__name__).lower()
    values = event._asdict()
    return {"event": name} | {k: v.hex() if isinstance(v, bytes) else v for k, v in values.items()}


class Player:
    """Plays a conversation with ``portable.Connection``."""

    def __init__(self, conversation: dict[str, Any]) -> None:
        self.options = {
            "versions": tuple(conversation.get("versions", [1])),
            "retained": conversation.get("retained", portable.RETAINED),
            "max_streams": conversation.get("max_streams", portable.MAX_STREAMS),
        }
        if conversation["role"] == "client":
            self.options["hello"] = conversation.get(
                "hello", {"instance": "i1", "agent": "test", "services": []}
            )
        self.now = 0.0
        self.connection = portable.Connection(now=0.0, **self.options)
        self.earlier: portable.Connection | None = None

    def step(self, step: dict[str, Any]) -> None:
        self.now = step.get("now", self.now)
        events = []
        for _ in range(step.get("repeat", 1)):
            for message in step.get("in", ()):
                events += self.connection.receive(to_bytes(message), self.now)
            if "do" in step:
                events += self.do(*step["do"]) or []
            if "in" not in step and "do" not in step:
                events += self.connection.tick(self.now)
        wanted = step.get("events", []) * step.get("repeat", 1)
        found = [plain(event) for event in events]
        for each in wanted:
            if isinstance(each.get("payload"), str):
                each["payload"] = each["payload"].replace(" ", "")
        assert len(found) == len(wanted), (step, found)
        assert all(map(fits, wanted, found)), (step, found)
        out = self.connection.take()
        if "out" in step:
            assert len(out) == len(step["out"]), (step, [shown(each) for each in out])
            assert all(map(is_message, step["out"], out)), (step, [shown(each) for each in out])
        assert step.get("failed", self.connection.has_failed) == self.connection.has_failed, step

    def do(self, action: str, *arguments: Any) -> list[Any] | None:
        if action == "start":
            return self.connection.start(self.now)
        if action == "again":
            self.earlier = self.connection
            self.connection = portable.Connection(now=self.now, **self.options)
            return None
        if action == "welcome":
            return self.connection.welcome(*arguments, self.now)
        if action == "resume":
            return self.connection.welcome(*arguments, self.now, resume=self.earlier)
        if action == "send":
            stream, payload, *more = arguments
            return self.connection.send(stream, from_hex(payload), more=bool(more))
        if action == "open":
            self.connection.open(*arguments)
            return None
        return getattr(self.connection, action)(*arguments)


@pytest.mark.parametrize(
    "conversation", list(conversations()), ids=lambda each: f"{each['role']}: {each['name']}"
)
def test_conversations(conversation: dict[str, Any]) -> None:
    player = Player(conversation)
    for step in conversation["steps"]:
        player.step(step)
