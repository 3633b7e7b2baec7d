"""The JSON API: every operation answers as its description says; errors say what is wrong."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from consoles import client, console, reply
from support import Runner, eventually

from jackfield import native
from jackfield.hub.operations import OPERATIONS
from jackfield.hub.protocol import encode_data
from jackfield.web.composing import compose
from jackfield.web.openapi import document
from jackfield.web.registry import ENDPOINTS, LIVE
from jackfield.web.schemas import Invalid, check, from_query, listing, record, text, whole

DATA = encode_data(b"hello")
SCRIPT = "def on_message(client, data):\n    return None\n"


def answer_schema(described: dict[str, Any], op: str) -> Any:
    (method,) = described["paths"][f"/api/v1/{op}"].values()
    return method["responses"]["200"]["content"]["application/json"]["schema"]


def test_every_operation_of_the_hub_is_described() -> None:
    assert set(OPERATIONS) - set(LIVE) == set(ENDPOINTS), (
        "describe it in web/registry.py, or say in LIVE why not"
    )


def test_every_operation_answers_as_it_is_described(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with console(state=directory / "hub.db") as made, client(made) as first, client(made) as second:
            script = directory / "hooks.py"
            script.write_text(SCRIPT)
            await first.send(b"hi")
            described = (await made.browser.get("/api/v1/openapi.json")).json()
            session = described["components"]["securitySchemes"]["cookie"]["name"]
            assert session in made.browser.cookies
            asked: list[tuple[str, dict[str, Any]]] = [
                ("hello", {}),
                ("status", {}),
                ("clients", {"target": "all", "state": "all", "text": ""}),
                ("send", {"target": "all", "data": DATA, "ending": "default"}),
                ("ask", {"target": "1", "data": DATA, "ending": "lf"}),
                ("rename", {"target": "1", "name": "door"}),
                ("tag", {"target": "door", "add": ["hall"]}),
                ("note", {"target": "door", "text": "beside the <b>stairs</b>"}),
                ("snippet_add", {"name": "hi", "data": DATA, "ending": "crlf"}),
                ("snippet_list", {}),
                ("snippet_show", {"name": "hi"}),
                ("snippet_remove", {"name": "hi"}),
                ("autoreply_add", {"pattern": "^ping", "reply": DATA, "name": "pong"}),
                ("autoreply_list", {}),
                ("autoreply_remove", {"name": "pong"}),
                ("dial_add", {"address": "tcp://127.0.0.1:9", "name": "far"}),
                ("dial_list", {}),
                ("dial_remove", {"name": "far"}),
                ("logs", {"last": 10}),
                ("script_add", {"path": str(script)}),
                ("script_list", {}),
                ("script_remove", {"name": str(script)}),
                ("compose", {"text": "01 03", "form": "hex", "crc": "crc16-modbus", "expect": "01 .. *"}),
                ("notations", {}),
                ("room_create", {"room": "ops", "topic": "the night shift"}),
                ("room_list", {}),
                ("room_topic", {"room": "ops"}),
                ("room_open", {"room": "ops", "open": True}),
                ("room_retention", {"room": "ops", "count": 1000}),
                ("room_members", {"room": "ops"}),
                ("room_read", {"room": "ops", "last": 10}),
                ("room_search", {"text": "hello"}),
                ("room_delete", {"room": "ops"}),
                ("token_create", {"role": "operator", "name": "lin"}),
                ("invite", {"expires": 3600}),
                ("token_list", {}),
                ("token_revoke", {"token": "lin"}),
                ("audit", {"last": 5}),
                ("mail_queue", {"target": "1", "data": DATA}),
                ("mail_list", {}),
                ("web_link", {}),
                ("flush", {}),
                ("kick", {"target": "2"}),
                ("session", {}),
            ]
            for op, arguments in asked:
                (method,) = described["paths"][f"/api/v1/{op}"]
                found = await (made.read if method == "get" else made.ask)(op, **arguments)
                jsonschema.validate(found, answer_schema(described, op))
            left_out = {
                "claim",
                "forget",
                "stop",
                "room_kick",
                "mail_drop",
                "request",
            }  # need somebody: below
            assert set(ENDPOINTS) - {op for op, _ in asked} == left_out
            assert await second.receive(5) == b"hello"

    run_here(main, limit=50.0)  # it is a lot that is asked for


def test_claim_and_forget_answer_as_they_are_described(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        listener = "tcp://127.0.0.1:0?identify=id%3D(%5Cw%2B)"
        async with console(listener, state=directory / "hub.db") as made:
            described = document(version="1")
            async with client(made) as first, client(made) as second:
                for channel in (first, second):
                    await channel.send(b"id=door")
                await eventually(lambda: any((made.hub.view(each) or {}).get("conflict") for each in (1, 2)))
                loser = next(each for each in (1, 2) if (made.hub.view(each) or {}).get("conflict"))
                claimed = await made.ask("claim", target=str(loser))
                jsonschema.validate(claimed, answer_schema(described, "claim"))
            await eventually(lambda: not len(made.hub))
            forgotten = await made.ask("forget", target="door")
            jsonschema.validate(forgotten, answer_schema(described, "forget"))

    run_here(main)


def test_request_answers_as_it_is_described(run_here: Runner) -> None:
    async def main() -> None:
        described = document(version="1")
        async with console() as made:
            where = str(made.hub.listeners[0][0].address.without_options())
            async with native.connect(where, name="dev7") as device, device.answering(lambda _, data: data):
                found = await made.ask("request", target="dev7", data=DATA)
                jsonschema.validate(found, answer_schema(described, "request"))
                assert found["answer"] == DATA
            await eventually(lambda: not len(made.hub))
            async with native.connect(where, name="mute", services=("request",)):
                late = {"target": "mute", "data": DATA, "timeout": 0.05}
                done = await made.browser.post("/api/v1/request", json=late, headers=made.headers)
                assert (done.status_code, done.json()["error"]["code"]) == (504, "no_answer")

    run_here(main)


def test_stop_ends_the_hub(run_here: Runner) -> None:
    async def main() -> None:
        async with console() as made:
            assert await made.ask("stop") == {}
            assert any(event.kind == "stopping" for event in made.hub.journal.last(10))

    run_here(main)


ERRORS = [
    ("POST", "kick", {"target": "nobody"}, 404, "no_such_client"),
    ("POST", "rename", {"target": "all", "name": "x"}, 409, "ambiguous"),
    ("POST", "rename", {"target": "1", "name": "not a name"}, 400, "bad_request"),
    ("POST", "kick", {}, 400, "bad_request"),
    ("POST", "kick", {"target": 7}, 400, "bad_request"),
    ("POST", "kick", {"target": "1", "resett": True}, 400, "bad_request"),
    ("POST", "send", {"target": "1", "data": "???"}, 400, "bad_request"),
    ("POST", "send", {"target": "1", "data": DATA, "ending": "eol"}, 400, "bad_request"),
    ("POST", "ask", {"target": "1", "data": DATA, "expect": "("}, 400, "bad_request"),
    ("POST", "compose", {"text": "0", "form": "hex"}, 400, "bad_request"),
    ("POST", "compose", {"text": "é", "encoding": "ascii"}, 400, "bad_request"),
    ("POST", "compose", {"text": "x", "crc": "crc99"}, 400, "bad_request"),
    ("GET", "logs", {"last": "many"}, 400, "bad_request"),
    ("GET", "logs", {"last": "-1"}, 400, "bad_request"),
    ("GET", "clients", {"state": "gone"}, 400, "bad_request"),
    ("GET", "snippet_show", {"name": "none"}, 409, "refused"),
    ("GET", "no_such_operation", {}, 404, "not_found"),
    ("GET", "kick", {}, 405, "bad_method"),
    ("POST", "talk", {"target": "1"}, 404, "not_found"),
]


def test_errors_have_status_code_message_and_no_surprise(run_here: Runner) -> None:
    async def main() -> None:
        async with console() as made, client(made), client(made):
            schema = document(version="1")["components"]["schemas"]["Error"]
            for method, op, arguments, status, code in ERRORS:
                given: dict[str, Any] = {"params" if method == "GET" else "json": arguments}
                answer = await made.browser.request(method, f"/api/v1/{op}", headers=made.headers, **given)
                assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), (
                    op,
                    answer.text,
                )
                jsonschema.validate(answer.json(), schema)

    run_here(main)


@pytest.mark.parametrize(
    ("content", "body"),
    [
        ("application/json", b"{"),
        ("application/json", b"[]"),
        ("application/json", b"\xff\xfe"),
        ("application/json", b"[" * 100_000),
        ("text/plain", b"{}"),
        ("application/x-www-form-urlencoded", b"target=1"),
    ],
)
def test_a_body_that_is_no_json_object(run_here: Runner, content: str, body: bytes) -> None:
    async def main() -> None:
        async with console() as made:
            headers = {**made.headers, "content-type": content}
            answer = await made.browser.post("/api/v1/kick", content=body, headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_request")

    run_here(main)


def test_the_document_is_openapi() -> None:
    described = document(version="1.2.3")
    assert described["openapi"] == "3.1.0"
    for methods in described["paths"].values():
        for method in methods.values():
            for response in method["responses"].values():
                schema = response["content"]["application/json"]["schema"]
                if "$ref" not in schema:
                    jsonschema.Draft202012Validator.check_schema(schema)


def test_the_websocket_speaks_the_operators_protocol(run_here: Runner) -> None:
    async def main() -> None:
        async with console() as made, client(made) as channel, made.live() as socket:
            assert (await reply(socket, {"id": 1, "op": "hello"}))["ok"]["protocol"] == 1
            assert (await reply(socket, {"id": 2, "op": "nonsense"}))["error"]["code"] == "bad_request"
            await socket.send(json.dumps({"id": 3, "op": "talk", "target": "1"}))
            attached = json.loads(await socket.recv())
            assert attached["event"]["attached"]["id"] == 1
            await channel.send(b"from the client")
            assert json.loads(await socket.recv()) == {
                "id": 3,
                "event": {"message": encode_data(b"from the client")},
            }
            await reply(socket, {"id": 4, "op": "send", "target": "1", "data": DATA})
            assert await channel.receive(5) == b"hello"

    run_here(main)


def test_who_does_not_read_the_websocket_harms_nobody(run_here: Runner) -> None:
    async def main() -> None:
        async with console() as made, client(made) as channel, made.live() as socket:
            await reply(socket, {"id": 1, "op": "hello"})
            for number in range(2, 40):
                await socket.send(json.dumps({"id": number, "op": "watch"}))
            await channel.send(b"x" * 1000)
            assert (await made.read("status"))["clients"] == 1

    run_here(main)


def test_what_is_typed_becomes_bytes() -> None:
    assert compose({"text": "你好", "encoding": "gbk"})["data"] == encode_data("你好".encode("gbk"))
    assert compose({"text": "a\\n", "form": "escapes"}) == {
        "data": encode_data(b"a\n"), "ending": "none", "bytes": 2, "expect": None, "binary": False,
    }  # fmt: skip
    modbus = compose({"text": "01 03 00 00 00 02", "form": "hex", "crc": "crc16-modbus"})
    assert modbus["data"] == encode_data(bytes.fromhex("010300000002c40b"))
    assert compose({"text": "hi"})["ending"] == "default"
    wide = compose({"text": "hi", "encoding": "utf-16-le", "ending": "crlf"})
    assert (wide["data"], wide["ending"]) == (encode_data("hi\r\n".encode("utf-16-le")), "none")


def test_values_are_checked_as_they_are_described() -> None:
    schema = record({"n": whole(most=3)}, {"names": listing(text(most=2))})
    check({"n": 3, "names": ["ab"]}, schema)
    wrong: list[Any] = [
        {},
        {"n": 4},
        {"n": True},
        {"n": "1"},
        {"n": 1.5},
        {"n": 1, "names": ["abc"]},
        {"n": 1, "m": 1},
        [],
    ]
    for value in wrong:
        with pytest.raises(Invalid):
            check(value, schema)
    assert from_query({"n": "2", "names": "a,b"}, schema) == {"n": 2, "names": ["a", "b"]}
    for pairs in ({"n": "2.0"}, {"n": "9" * 30}, {"n": ""}):
        with pytest.raises(Invalid):
            from_query(pairs, schema)


def test_calls_overlap_and_share_nothing(run_here: Runner) -> None:
    async def main() -> None:
        async with console() as made, client(made):
            found = await asyncio.gather(*(made.read("clients") for _ in range(50)))
            assert [each["count"] for each in found] == [1] * 50
            assert not made.hub.within

    run_here(main)
