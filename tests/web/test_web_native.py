"""Native clients over WebSocket: they are clients like those over TCP, and what is no client is refused."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import ipaddress
import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from consoles import Console, console
from support import Runner, eventually
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus

import jackfield
from jackfield import portable
from jackfield.hub import connect as join
from jackfield.hub.native import handshake
from jackfield.hub.security.limits import Rates
from jackfield.native.channel import StreamChannel
from jackfield.portable import CONTROL, MAGIC, MAX_MESSAGE, PING, SUBPROTOCOL, encode
from jackfield.testing.conformance import Check, Traits, battery
from jackfield.web import native

HELLO = {"type": "hello", "versions": [1], "instance": "here", "agent": "test", "services": []}


def place(made: Console) -> str:
    return f"ws{made.url.removeprefix('http')}{native.PATH}"


def tcp(made: Console) -> str:
    return str(made.hub.listeners[0][0].address.without_options())


def control(**body: Any) -> bytes:
    return encode(0, CONTROL, json.dumps(body).encode())


def browser(made: Console, **options: Any) -> connect:
    """The WebSocket of a program that has the library `websockets`."""
    options = {"subprotocols": [SUBPROTOCOL], "max_size": None, "ping_interval": None, **options}
    return connect(place(made), **options)


@asynccontextmanager
async def welcomed(made: Console, **options: Any) -> AsyncIterator[ClientConnection]:
    async with browser(made, **options) as socket:
        await socket.send(MAGIC)
        await socket.send(control(**HELLO))
        assert await socket.recv() == MAGIC
        assert (await told(socket))["type"] == "welcome"
        yield socket


async def told(socket: ClientConnection) -> dict[str, Any]:
    """The next control message."""
    while True:
        message = await asyncio.wait_for(socket.recv(), 10)
        assert isinstance(message, bytes)
        if message != MAGIC and message[4] == CONTROL:
            found: dict[str, Any] = json.loads(message[8:])
            return found


async def closed(socket: ClientConnection) -> int:
    """The code that it is closed with."""
    with contextlib.suppress(ConnectionClosedError):
        async for _ in socket:
            pass
    assert socket.close_code is not None
    return socket.close_code


def test_a_client_over_websocket_is_one_like_any_other(run: Runner) -> None:
    async def main() -> None:
        async with (
            console() as made,
            join(place(made), name="web") as web,
            join(tcp(made), name="wire") as wire,
        ):
            (view,) = (each for each in map(made.hub.view, made.hub.ids()) if each and each["name"] == "web")
            assert (view["protocol"], view["native"], view["framing"]) == ("ws", True, "native")
            assert view["local"] == made.url.removeprefix("http://")
            assert view["peer"].startswith("127.0.0.1:")
            assert "pid" not in view
            assert {each.name for each in await wire.clients()} == {"web", "wire"}
            large = bytes(range(256)) * 1000
            async with web.answering(lambda peer, data: data + b"!"):
                assert await wire.request("web", b"hello", timeout=10) == b"hello!"
                assert await wire.request("web", large, timeout=10) == large + b"!"
            async with wire.answering(lambda peer, data: data[::-1]):
                assert await web.request("wire", large, timeout=10) == large[::-1]
            opened = asyncio.create_task(anext(wire.channels()))
            channel = await web.open("wire", timeout=10)
            other = await opened
            for number in range(200):
                await channel.send(b"%d" % number)
                await other.send(b"%d" % -number)
            assert [await other.receive(10) for _ in range(200)] == [b"%d" % each for each in range(200)]
            assert [await channel.receive(10) for _ in range(200)] == [b"%d" % -each for each in range(200)]
            await channel.close()
            await other.close()
            async with web.room("hall", create=True) as here, wire.room("hall") as there:
                await here.publish(b"from the web")
                assert (await anext(aiter(there))).data == b"from the web"
            letter = asyncio.create_task(anext(web.messages()))
            assert await wire.message("web", "a letter") in ("delivered", "waiting")
            assert (await letter).data == b"a letter"

    run(main)


@asynccontextmanager
async def two_ends() -> AsyncIterator[tuple[StreamChannel, StreamChannel]]:
    """A stream between a client over WebSocket and one over TCP."""
    async with console(login=False) as made, join(place(made)) as web, join(tcp(made), name="wire") as wire:
        taking = asyncio.ensure_future(anext(wire.channels()))
        left, right = await web.open("wire"), await taking
        yield left, right
        left.abort()
        right.abort()


@pytest.mark.parametrize("check", battery(Traits()), ids=str)
def test_streams_over_websocket_pass_the_public_battery(run_here: Runner, check: Check) -> None:
    run_here(lambda: check(two_ends), limit=40.0)


def test_a_session_goes_on_over_another_websocket(run_here: Runner) -> None:
    async def main() -> None:
        async with (
            console() as made,
            join(place(made), name="web", reconnect="10ms..50ms") as web,
            join(tcp(made), name="wire") as wire,
        ):
            opened = asyncio.create_task(anext(wire.channels()))
            channel = await web.open("wire", timeout=10)
            other = await opened
            for number in range(50):
                await channel.send(b"%d" % number)
                await other.send(b"%d" % -number)
                if number % 20 == 10:
                    assert web._session._channel is not None
                    web._session._channel.abort()
            assert [await other.receive(10) for _ in range(50)] == [b"%d" % each for each in range(50)]
            assert [await channel.receive(10) for _ in range(50)] == [b"%d" % -each for each in range(50)]
            assert web.welcome["session"]["resumed"] is True
            await eventually(lambda: len(made.hub) == 2)

    run_here(main)


def test_a_client_that_leaves_is_heard_to_the_end(run_here: Runner) -> None:
    async def main() -> None:
        async with console() as made, join(tcp(made), name="wire") as wire:
            async with join(place(made), name="web") as web:
                opened = asyncio.create_task(anext(wire.channels()))
                channel = await web.open("wire", timeout=10)
                other = await opened
                for number in range(200):
                    channel.send_nowait(b"%d" % number)
            assert [await other.receive(10) for _ in range(200)] == [b"%d" % each for each in range(200)]
            other.abort()
            await eventually(lambda: len(made.hub) == 1)

    run_here(main)


def test_the_portable_client_speaks_websocket(run_here: Runner) -> None:
    def work(where: str) -> bytes:
        with portable.connect(where, name="plain") as client:
            return client.request("web", b"status", 10.0)

    async def main() -> None:
        async with (
            console() as made,
            join(place(made), name="web") as web,
            web.answering(lambda peer, data: data.upper()),
        ):
            assert await asyncio.to_thread(work, place(made)) == b"STATUS"
            assert await asyncio.to_thread(work, place(made).removesuffix(native.PATH)) == b"STATUS"

    run_here(main)


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ([b"GET / HTTP/1.1"], "bad_magic"),
        (["\ufffdJACK"], "bad_magic"),
        ([b""], "bad_magic"),
        ([MAGIC + control(**HELLO)], "bad_magic"),
        ([MAGIC, control(**{**HELLO, "versions": [99]})], "unsupported_version"),
        ([MAGIC, control(type="hullo")], "unknown_type"),
        ([MAGIC, encode(0, PING, bytes(8))], "bad_frame"),
        ([MAGIC, control(**HELLO), "text"], "bad_frame"),
        ([MAGIC, control(**HELLO), "\0\0\0\0\0\0\0\0{}"], "bad_frame"),
        ([MAGIC, control(**HELLO), b""], "bad_frame"),
        ([MAGIC, control(**HELLO), struct.pack(">IBBH", 0, 99, 0, 0)], "bad_frame"),
        ([MAGIC, control(**HELLO), bytes(MAX_MESSAGE + 1)], "too_big"),
    ],
)
def test_who_breaks_the_protocol_is_told_so(run_here: Runner, messages: list[bytes | str], code: str) -> None:
    async def main() -> None:
        async with console() as made, browser(made) as socket:
            for message in messages:
                await socket.send(message)
            while (answer := await told(socket))["type"] != "error":
                pass
            assert answer["code"] == code
            assert await closed(socket) == native.ENDED
            await eventually(lambda: not len(made.hub))
            assert made.hub.native is not None
            assert not made.hub.native._by_key, "its session is over"

    run_here(main)


def test_a_message_in_fragments_is_one(run_here: Runner) -> None:
    async def main() -> None:
        async with console() as made, browser(made) as socket:
            hello = control(**HELLO)
            await socket.send([MAGIC[:3], MAGIC[3:]])
            await socket.send([hello[index : index + 1] for index in range(len(hello))])
            assert (await told(socket))["type"] == "welcome"

    run_here(main)


def test_a_page_of_another_origin_needs_a_token(run_here: Runner, directory: Path) -> None:
    async def answer(made: Console, origin: str | None, **more: Any) -> dict[str, Any]:
        async with browser(made, origin=origin) as socket:
            await socket.send(MAGIC)
            await socket.send(control(**HELLO, **more))
            return await told(socket)

    async def main() -> None:
        async with console(state=directory / "hub.db") as made:
            for own in (None, made.url):
                assert (await answer(made, own))["type"] == "welcome"
            token = (await made.ask("token_create", role="member"))["token"]
            for foreign in ("http://127.0.0.1:1", "null", "https://evil.example", made.url + "0"):
                assert (await answer(made, foreign))["code"] == "bad_token"
                assert (await answer(made, foreign, token="jf_nonsense"))["code"] == "bad_token"
                assert (await answer(made, foreign, token=token))["type"] == "welcome"

    run_here(main)


def test_what_is_refused_before_there_is_a_websocket(
    run_here: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def status(made: Console, **options: Any) -> int:
        with pytest.raises(InvalidStatus) as refused:
            await browser(made, **options)
        return refused.value.response.status_code

    async def main() -> None:
        async with console() as made:
            assert await status(made, subprotocols=["jackfield.2"]) == 400
            monkeypatch.setattr(native, "MOST", 1)
            async with welcomed(made, subprotocols=None):
                assert await status(made) == 503
                with pytest.raises(jackfield.ConnectFailed) as refused:
                    await join(place(made))
                assert getattr(refused.value, "code", "") == "overloaded"
            await eventually(lambda: not len(made.hub))
            async with welcomed(made):
                pass
            assert (await made.browser.get(native.PATH)).status_code == 404
            with pytest.raises(jackfield.ConnectFailed, match="403"):
                await join(place(made) + "/other")
            await eventually(lambda: not len(made.hub))

    run_here(main)


def test_the_reason_of_a_refusal_reaches_the_clients(run_here: Runner, directory: Path) -> None:
    def work(where: str) -> str:
        with pytest.raises(portable.Refused) as refused:
            portable.connect(where, token="jf_nonsense")
        return refused.value.code

    async def main() -> None:
        async with console(state=directory / "hub.db") as made:
            for _ in range(3):
                with pytest.raises(jackfield.ConnectFailed) as refused:
                    await join(place(made), token="jf_nonsense", reconnect=None)
                assert getattr(refused.value, "code", "") == "bad_token"
                assert await asyncio.to_thread(work, place(made)) in ("bad_token", "rate_limited")
            async with join(place(made), name="web", reconnect=None) as web:
                assert made.hub.native is not None
                made.hub.native.going(back=False)
                made.hub.kick(int(web.id), reset=False, by="a test")
                async for state in web.states():
                    last = state
                assert isinstance(last, jackfield.Closed)
                assert "(code 1000)" in str(last.error)

    run_here(main)


def test_who_says_no_hello_is_let_go(run_here: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "PATIENCE", 0.2)

    async def main() -> None:
        async with console() as made, browser(made) as socket:
            await socket.send(MAGIC)
            assert (await told(socket))["code"] == "handshake_timeout"
            assert await closed(socket) == native.ENDED

    run_here(main)


def test_who_may_not_come_is_turned_away(run_here: Runner) -> None:
    async def main() -> None:
        async with console() as made:
            plan = made.hub._plans[native.DOORS[0]]
            made.hub._plans[native.DOORS[0]] = dataclasses.replace(plan, rates=Rates(connects=1))
            async with contextlib.AsyncExitStack() as stack:
                sockets = [await stack.enter_async_context(browser(made)) for _ in range(10)]
                assert await closed(sockets[-1]) == native.NOT_NOW
                await eventually(lambda: 0 < len(made.hub) < 10)
            allow = dataclasses.replace(plan.access, allow=(ipaddress.ip_network("10.0.0.0/8"),))
            made.hub._plans[native.DOORS[0]] = dataclasses.replace(plan, access=allow)
            async with browser(made) as socket:
                assert await closed(socket) == native.NOT_NOW
            await eventually(lambda: not len(made.hub))

    run_here(main)


def test_a_hub_that_ends_says_so(run_here: Runner) -> None:
    async def main() -> None:
        async with console() as made:
            socket = await browser(made)
            await socket.send(MAGIC)
            await socket.send(control(**HELLO))
            assert (await told(socket))["type"] == "welcome"
        assert (await told(socket))["type"] == "going"
        assert await closed(socket) == native.GOING

    run_here(main)
