"""An operator's place in a room, for `jackfield chat`: the requests `room_chat`, `room_say` and others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from ..hub.operator import Operator
from ..hub.protocol import REFUSED, RequestError, encode_data
from . import failures
from .failures import Failure


class OperatorPlace:
    """One operator in one room: a `Place` of `chat.py`."""

    def __init__(
        self, operator: Operator, request: int, replies: asyncio.Queue[Any], room: str, name: str
    ) -> None:
        self.room = room
        self.name = name
        self.source = 0
        self._operator = operator
        self._request = request
        self._replies = replies

    @classmethod
    async def enter(
        cls, operator: Operator, room: str, names: Sequence[str], *, last: int, create: bool = False
    ) -> tuple[OperatorPlace, dict[str, Any]]:
        """Come in under the first of the names that is free; the first event. Raises `RequestError`.

        `create` makes the room if there is none.
        """
        if create and all(each["room"] != room for each in (await operator.request("room_list"))["rooms"]):
            await operator.request("room_create", room=room)
        for name in names:
            request, replies = await operator.start("room_chat", room=room, name=name, last=last)
            place = cls(operator, request, replies, room, name)
            try:
                return place, await place.next()
            except RequestError as problem:
                if len(names) == 1 or problem.code != REFUSED or "somebody" not in problem.message:
                    raise
        raise Failure("your user name is taken in that room", "choose another --name", code=failures.USAGE)

    async def next(self) -> dict[str, Any]:
        reply = await self._operator.reply(self._replies)
        if "ok" in reply:
            return {"ended": str(reply["ok"].get("left", ""))}
        event: dict[str, Any] = reply["event"]
        self.source = event.get("source", self.source)
        return event

    async def say(self, body: bytes) -> int:
        number: int = (await self._ask("room_say", of=self._request, data=encode_data(body)))["number"]
        return number

    async def private(self, to: str, text: str) -> str:
        return str((await self._ask("room_private", of=self._request, to=to, text=text))["to"])

    async def topic(self, new: str | None) -> str:
        return str((await self._ask("room_topic", room=self.room, topic=new))["topic"])

    async def who(self) -> tuple[int, list[str]]:
        found = await self._ask("room_members", room=self.room)
        return found["count"], [each["name"] for each in found["members"]]

    async def last(self, count: int) -> list[list[Any]]:
        rows: list[list[Any]] = (await self._ask("room_read", room=self.room, last=count))["messages"]
        return rows

    async def search(self, text: str) -> list[list[Any]]:
        found = await self._ask("room_search", text=text, room=self.room, limit=20)
        return [each[1:] for each in found["messages"]]

    async def note_seen(self, sequence: int) -> None:
        await self._ask("room_seen", of=self._request, sequence=sequence)

    async def _ask(self, op: str, **arguments: Any) -> dict[str, Any]:
        return await self._operator.request(op, **arguments)
