"""What `jackfield rooms` does: each command asks the hub and prints what came."""

from __future__ import annotations

import sys
import time
from typing import Any

from ..hub.display import Column, bytes_text, human_age, safe_text, table
from ..hub.operator import Operator
from ..hub.rooms import lines
from ..hub.rooms.rows import message_of
from ..hub.text import parse_duration, parse_size
from . import failures
from .failures import Failure
from .operate import print_json, terminal_width, with_hub
from .views import counted, with_times

_NO_CUT = 1_000_000
PAGE = 500  # messages that are read at a time


def list_rooms(*, as_json: bool, control: str | None) -> None:
    found: list[dict[str, Any]] = with_hub(control, lambda operator: operator.request("room_list"))["rooms"]
    if as_json:
        print_json([with_times(each, "created") for each in found])
    elif found:
        print("\n".join(_table(found)))
    else:
        print("there is no room; make one with 'jackfield rooms create NAME', or listen with room=lobby")


def _table(found: list[dict[str, Any]]) -> list[str]:
    by_clients = any(each.get("maker") for each in found)
    columns = [
        Column("ROOM", least=8),
        Column("MEMBERS", right=True),
        Column("MESSAGES", right=True),
        Column("KIND"),
        *([Column("MADE BY", least=8)] if by_clients else []),
        Column("TOPIC", least=12),
    ]
    rows = [
        [
            each["room"],
            str(each["members"]),
            str(each["last"]),
            ("durable" if each["durable"] else "ephemeral") + (", open" if each["open"] else ""),
            *([_maker_text(each)] if by_clients else []),
            safe_text(each["topic"]),
        ]
        for each in found
    ]
    return table(columns, rows, terminal_width() or _NO_CUT)


def _maker_text(room: dict[str, Any]) -> str:
    return safe_text(f"{room['made_by']} ({room['maker']})" if room.get("maker") else room["made_by"])


def create_room(
    room: str, *, topic: str, ephemeral: bool, open_: bool, as_json: bool, control: str | None
) -> None:
    done = with_hub(
        control,
        lambda operator: operator.request(
            "room_create", room=room, topic=topic, ephemeral=ephemeral, open=open_
        ),
    )
    _told(with_times(done, "created"), f"made {room}; chat with 'jackfield chat {room}'", as_json=as_json)


def topic_of(room: str, text: str | None, *, as_json: bool, control: str | None) -> None:
    done = with_hub(control, lambda operator: operator.request("room_topic", room=room, topic=text))
    if as_json:
        print_json(done)
    elif text is None:
        print(safe_text(done["topic"]))


def open_room(room: str, *, off: bool, as_json: bool, control: str | None) -> None:
    done = with_hub(control, lambda operator: operator.request("room_open", room=room, open=not off))
    _told(done, f"{room} is {'closed' if off else 'open'} to plain clients", as_json=as_json)


def list_members(room: str, *, as_json: bool, control: str | None) -> None:
    async def work(operator: Operator) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        after: int | None = 0
        while after is not None:
            part = await operator.request("room_members", room=room, after=after)
            found += part["members"]
            after = part.get("next")
        return found

    found = with_hub(control, work)
    if as_json:
        print_json(found)
        return
    columns = [Column("NAME", least=8), Column("CLIENT", right=True), Column("KIND"), Column("STATE")]
    rows = [[safe_text(each["name"]), str(each["id"] or "-"), each["kind"], each["state"]] for each in found]
    print("\n".join(table(columns, rows, terminal_width() or _NO_CUT)) if rows else f"nobody is in {room}")


def show_history(room: str, *, lines: int, after: int | None, as_json: bool, control: str | None) -> None:
    async def work(operator: Operator) -> None:
        if after is None:
            _print_rows(
                (await operator.request("room_read", room=room, last=lines))["messages"], as_json=as_json
            )
            return
        place = after
        while True:
            part = await operator.request("room_read", room=room, after=place, limit=PAGE)
            _print_rows(part["messages"], as_json=as_json)
            if not part["messages"] or not part["behind"]:
                return
            place = part["messages"][-1][0]

    with_hub(control, work)


def search_rooms(text: str, *, room: str, limit: int, as_json: bool, control: str | None) -> None:
    found = with_hub(
        control,
        lambda operator: operator.request("room_search", text=text, room=room or None, limit=limit),
    )["messages"]
    if as_json:
        _print_rows(
            [each[1:] for each in reversed(found)], as_json=True, rooms=[e[0] for e in reversed(found)]
        )
        return
    now = time.time()
    for name, *row in reversed(found):
        for line in lines.past(message_of(row), now).split("\n"):
            print(line if room else f"{name}: {line}")
    if not found:
        print("nothing like that was said")


def _print_rows(rows: list[list[Any]], *, as_json: bool, rooms: list[str] | None = None) -> None:
    import json

    now = time.time()
    for place, row in enumerate(rows):
        if as_json:
            names = ("sequence", "at", "sender", "name", "number", "text")
            said = with_times(dict(zip(names, row, strict=True)), "at")
            if isinstance(said["text"], dict):
                said["data"] = said.pop("text")["base64"]
            print(json.dumps(said if rooms is None else {"room": rooms[place], **said}))
        else:
            print(lines.past(message_of(row), now))


def retention_of(
    room: str,
    *,
    age: str | None,
    count: int | None,
    size: str | None,
    everything: bool,
    as_json: bool,
    control: str | None,
) -> None:
    if everything and (age or count or size):
        raise Failure("--all keeps everything", "leave the limits out, or --all", code=failures.USAGE)
    seconds = None if age is None else parse_duration(age)
    limit = None if size is None else parse_size(size)
    done = with_hub(
        control,
        lambda operator: operator.request(
            "room_retention", room=room, age=seconds, count=count, bytes=limit, all=everything or None
        ),
    )
    kept = [
        *([f"messages younger than {human_age(done['age'])}"] if done["age"] else []),
        *([f"the newest {counted(done['count'], 'message')}"] if done["count"] else []),
        *([f"at most {bytes_text(done['bytes'])}"] if done["bytes"] else []),
    ]
    deleted = f"; deleted {done['deleted']}" if done["deleted"] else ""
    if as_json:
        print_json(done)
    else:
        print(f"{room} keeps {', '.join(kept) or 'everything'}{deleted}")


def kick_member(room: str, name: str, *, as_json: bool, control: str | None) -> None:
    done = with_hub(control, lambda operator: operator.request("room_kick", room=room, name=name))
    _told(done, f"put {', '.join(map(safe_text, done['kicked']))} out of {room}", as_json=as_json)


def delete_room(room: str | None, *, made_by: str, as_json: bool, control: str | None) -> None:
    if bool(room) == bool(made_by):
        raise Failure(
            "which room is to be deleted is not clear", "name one ROOM, or --made-by WHO", code=failures.USAGE
        )
    if made_by:
        done = with_hub(control, lambda operator: operator.request("room_delete", maker=made_by))
        _told(
            done, f"deleted {counted(len(done['rooms']), 'room')}: {' '.join(done['rooms'])}", as_json=as_json
        )
        return
    done = with_hub(control, lambda operator: operator.request("room_delete", room=room))
    _told(done, f"deleted {room}", as_json=as_json)


def _told(done: dict[str, Any], text: str, *, as_json: bool) -> None:
    if as_json:
        print_json(done)
    elif sys.stdout.isatty():
        print(text)
