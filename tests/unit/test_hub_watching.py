"""Watching a hub over its control socket: what is told of clients, and what becomes of who does not read."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from native_hub import running_hub
from support import eventually

import jackfield
from jackfield.hub import protocol
from jackfield.hub.operator import Operator, control_address, operate
from jackfield.hub.watching import Watching

ADDRESS = "tcp://127.0.0.1:0?framing=line"


class Watch:
    """A watch, and everything that it has told so far."""

    def __init__(self, operator: Operator, request_id: int, replies: asyncio.Queue[Any]) -> None:
        self.operator = operator
        self.id = request_id
        self.replies = replies
        self.told: dict[str, list[Any]] = {}

    @classmethod
    async def begin(cls, operator: Operator) -> Watch:
        watch = cls(operator, *await operator.start("watch"))
        await watch.until(lambda: "ready" in watch.told)
        return watch

    async def look(self, *, seen: list[int], opened: list[int]) -> None:
        await self.operator.request("look", of=self.id, seen=seen, open=opened)

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(30):
            while not condition():
                reply = await self.operator.reply(self.replies)
                for name, value in reply.get("event", reply).items():
                    self.told.setdefault(name, []).extend(value if isinstance(value, list) else [value])


def test_a_watch_tells_who_comes_what_is_said_and_by_whom(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_hub(tmp_path, ADDRESS) as hub, operate(hub.settings.control) as operator:
            assert hub.part(Watching) is None, "without an operator who watches nothing is looked at"
            async with jackfield.connect(hub.listeners[0][0].address, framing="line") as client:
                await client.send(b"before")
                await eventually(lambda: hub.memory.of(1, 1), "a message is heard", 30)
                watch = await Watch.begin(operator)
                told = watch.told
                assert [view["name"] for view in told["clients"]] == ["tcp-1"]
                assert told["previews"][0][::2] == [1, "before"]
                await watch.look(seen=[1], opened=[1])
                await client.send(b"hello")
                await operator.request("send", target="1", data=protocol.encode_data(b"hi"), ending="none")
                await watch.until(lambda: len(told.get("said", ())) == 2 and len(told["previews"]) == 2)
                assert [protocol.decode_data(one["heard"]) for one in told["earlier"]] == [b"before"]
                heard = [protocol.decode_data(one["heard"]) for one in told["said"] if "heard" in one]
                assert heard == [b"hello"]
                own = [one for one in told["said"] if "told" in one]
                assert [(protocol.decode_data(one["told"]), one["by"]) for one in own] == [
                    (b"hi", f"pid:{os.getpid()}")
                ]
                await operator.request("rename", target="1", name="door")
                await watch.until(lambda: told["clients"][-1]["name"] == "door")
                assert [event["event"] for event in told["log"]][-2:] == ["sent", "renamed"]
            await watch.until(lambda: told.get("gone") == [1])
            assert hub.part(Watching) is not None
            await operator.request("cancel", of=watch.id)
            await eventually(lambda: hub.part(Watching) is None, "nobody watches", 30)

    jackfield.run(main)


def test_an_operator_that_does_not_read_is_told_less_and_stays(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_hub(tmp_path, ADDRESS) as hub:
            lazy = await jackfield.connect(control_address(hub.settings.control), framing=protocol.FRAMING)
            async with lazy, jackfield.connect(hub.listeners[0][0].address, framing="line") as client:
                await lazy.send(protocol.request(1, "watch"))
                await lazy.send(protocol.request(2, "look", of=1, seen=[1], open=[1]))
                await eventually(lambda: hub.part(Watching), "a watch", 30)
                for _ in range(20):
                    await client.send_many([b"x" * 4000] * 500)
                    await client.flush()
                await eventually(
                    lambda: hub.group.statistics(hub.group.members()[0]).messages_in == 10_000, "all", 30
                )
                heard = lost = 0
                async with asyncio.timeout(30):
                    while heard + lost < 10_000:
                        event = protocol.parse_reply(await lazy.receive()).get("event", {})
                        heard += len(event.get("said", ()))
                        lost += event.get("missed", {}).get("messages", 0)
                assert lost > 1000, "memory for what waits is bounded"
                assert not [event for event in hub.journal.last(100) if event.kind == "operator_dropped"]

    jackfield.run(main)


def test_what_an_operator_asks_wrongly_is_an_error(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_hub(tmp_path, ADDRESS) as hub, operate(hub.settings.control) as operator:
            wrong: list[dict[str, Any]] = [
                {"of": 99, "seen": []},
                {"of": 1, "seen": [True]},
                {"of": 1, "open": "1"},
            ]
            for arguments in wrong:
                with pytest.raises(protocol.RequestError) as raised:
                    await operator.request("look", **arguments)
                assert raised.value.code == "bad_request"

    jackfield.run(main)
