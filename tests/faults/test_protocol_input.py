"""What clients of the protocol may send wrongly: each is answered with its code, and the hub goes on.

The conversations of the vectors that need no application are held with a real hub; beside them floods, lies
and silence. A second client must not notice any of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import resource
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from native_hub import running_hub
from protocol_vectors import MAGIC, conversations, is_message, shown, to_bytes
from support import Runner, eventually

import jackfield
from jackfield.hub import Hub, connect
from jackfield.hub.native import handshake

PATIENCE = 10.0
LIVE = [each for each in conversations() if each.get("live")]
HELLO = 'CONTROL {"type":"hello","versions":[1],"instance":"i1","services":["channel"]}'


class Wire:
    """A connection that can say anything."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def say(self, *messages: str) -> None:
        for message in messages:
            data = to_bytes(message)
            self.writer.write(struct.pack(">I", len(data)) + data)

    async def next(self) -> bytes | None:
        """The next message that is no acknowledgement and no event of other clients; None at the end."""
        while True:
            try:
                async with asyncio.timeout(PATIENCE):
                    size = struct.unpack(">I", await self.reader.readexactly(4))[0]
                    message = await self.reader.readexactly(size)
            except (asyncio.IncompleteReadError, ConnectionError):
                return None
            if message == MAGIC or message[4] != 6:
                return message

    async def hear(self, wanted: str) -> bytes:
        """The next message, which has to be this one."""
        message = await self.next()
        assert message is not None, f"the connection ended, and {wanted} was due"
        assert is_message(wanted, message), f"{shown(message)} came, and {wanted} was due"
        return message

    async def ended(self) -> None:
        """Wait for the end, whatever comes before."""
        while await self.next() is not None:
            pass


@contextlib.asynccontextmanager
async def wire(hub: Hub) -> AsyncIterator[Wire]:
    """A connection to a hub's first listener."""
    address = hub.listeners[0][0].address
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def welcomed(connection: Wire, hello: str = HELLO) -> dict[str, Any]:
    """Shake hands; the WELCOME."""
    connection.say("MAGIC", hello)
    await connection.hear("MAGIC")
    message = await connection.hear('CONTROL {"type":"welcome"}')
    welcome: dict[str, Any] = json.loads(message[8:])
    return welcome


@contextlib.asynccontextmanager
async def hub_and_witness(directory: Path) -> AsyncIterator[Hub]:
    """A hub with a client that must not notice anything."""
    async with (
        running_hub(directory, "tcp://127.0.0.1:0?protocol=native") as hub,
        connect(hub.listeners[0][0].address, name="witness") as witness,
    ):
        yield hub
        assert [each.name for each in await witness.clients("witness")] == ["witness"]
        assert isinstance(witness.state, jackfield.Connected)
        assert witness.state.connection == 1


@pytest.mark.parametrize("conversation", LIVE, ids=lambda each: each["name"])
def test_a_real_hub_keeps_to_the_vectors(
    run_here: Runner, directory: Path, conversation: dict[str, Any]
) -> None:
    async def main() -> None:
        async with hub_and_witness(directory) as hub, wire(hub) as connection:
            for step in conversation["steps"]:
                connection.say(*step.get("in", ()))
                for wanted in step.get("out", ()):
                    await connection.hear(wanted)
                if step.get("failed"):
                    await connection.ended()
                    break

    run_here(main)


async def error_of(connection: Wire) -> str:
    """The code that ends a connection; what comes before does not matter."""
    code = ""
    while (message := await connection.next()) is not None:
        if message != MAGIC and message[4] == 0:
            body = json.loads(message[8:])
            if body["type"] == "error" and "n" not in body:
                code = body["code"]
    return code


def test_a_handshake_that_never_ends(
    run_here: Runner, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silence, and a HELLO of which a byte comes now and then."""
    monkeypatch.setattr(handshake, "PATIENCE", 0.3)

    async def main() -> None:
        async with hub_and_witness(directory) as hub, wire(hub) as silent, wire(hub) as slow:
            silent.say("MAGIC")
            slow.say("MAGIC")
            data = to_bytes(HELLO)

            async def drip() -> None:
                for byte in struct.pack(">I", len(data)) + data:
                    slow.writer.write(bytes([byte]))
                    await asyncio.sleep(0.02)

            dripping = asyncio.create_task(drip())
            assert await error_of(silent) == "handshake_timeout"
            assert await error_of(slow) == "handshake_timeout"
            dripping.cancel()

    run_here(main)


@pytest.mark.parametrize("length", [65_545, 1 << 24, 2**32 - 1])
def test_a_length_that_lies_costs_nothing(run_here: Runner, directory: Path, length: int) -> None:
    async def main() -> None:
        async with hub_and_witness(directory) as hub, wire(hub) as connection:
            await welcomed(connection)
            before = memory()
            connection.writer.write(struct.pack(">I", length))
            await connection.ended()
            assert memory() - before < 8 << 20

    run_here(main)


def memory() -> int:
    """Bytes that this process had at most."""
    gc.collect()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_credit_overflow_between_two_clients(run_here: Runner, directory: Path) -> None:
    """Both ends of a stream grant too much: each is told so, and the other one's stream is reset."""

    async def main() -> None:
        async with hub_and_witness(directory) as hub, wire(hub) as one, wire(hub) as other:
            await welcomed(one)
            await welcomed(other, HELLO.replace('"instance"', '"name":"other","instance"'))
            one.say('1 OPEN {"to":"other","service":"channel","credit":10}')
            await other.hear('2 OPEN {"service":"channel","credit":10}')
            other.say("2 CREDIT 2147483647")
            await one.hear("1 CREDIT 2147483647")
            one.say("1 CREDIT 2147483638")
            assert await error_of(one) == "credit_overflow"
            await other.hear("2 RESET 5")

    run_here(main)


def test_more_than_was_granted_between_two_clients(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with hub_and_witness(directory) as hub, wire(hub) as one, wire(hub) as other:
            await welcomed(one)
            await welcomed(other, HELLO.replace('"instance"', '"name":"other","instance"'))
            one.say('1 OPEN {"to":"other","service":"channel","credit":10}')
            await other.hear('2 OPEN {"service":"channel"}')
            other.say("2 CREDIT 20")
            await one.hear("1 CREDIT 20")
            one.say("1 DATA 6162", "1 DATA 00*100")
            await other.hear("2 DATA 6162")
            await one.hear("1 RESET 7")
            one.say("PING 0102030405060708")
            await one.hear("PONG 0102030405060708")

    run_here(main)


def test_the_key_of_another_session(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with hub_and_witness(directory) as hub:
            async with wire(hub) as first:
                session = (await welcomed(first))["session"]
            for key, received, code in [("another", 0, "bad_session"), (session["key"], 10**9, "bad_ack")]:
                async with wire(hub) as thief:
                    claim = json.dumps({"id": session["id"], "key": key, "received": received})
                    thief.say("MAGIC", HELLO.replace('"instance"', f'"session":{claim},"instance"'))
                    assert await error_of(thief) == code

    run_here(main)


def test_a_session_is_kept_unless_its_client_said_bye(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with hub_and_witness(directory) as hub:
            for words, resumed in [((), True), (('CONTROL {"type":"bye"}',), False)]:
                async with wire(hub) as first:
                    session = (await welcomed(first))["session"]
                    first.say(*words, "PING 0000000000000000")
                    await first.hear("PONG 0000000000000000")
                await eventually(lambda: len(hub) == 1)
                async with wire(hub) as second:
                    claim = json.dumps({"id": session["id"], "key": session["key"], "received": 0})
                    welcome = await welcomed(
                        second, HELLO.replace('"instance"', f'"session":{claim},"instance"')
                    )
                    assert welcome["session"]["resumed"] is resumed
                    second.say('CONTROL {"type":"bye"}')
                await eventually(lambda: len(hub) == 1)

    run_here(main)


def test_floods_are_bounded(run_here: Runner, directory: Path) -> None:
    """Requests, streams and pings without end, none of whose answers is read: memory stays what it is."""

    async def flood(connection: Wire, message: bytes, count: int) -> None:
        frame = struct.pack(">I", len(message)) + message
        with contextlib.suppress(ConnectionError, TimeoutError):
            for _ in range(count // 500):
                connection.writer.write(frame * 500)
                await asyncio.wait_for(connection.writer.drain(), 2.0)

    async def main() -> None:
        async with hub_and_witness(directory) as hub:
            before = memory()
            for text in (
                'CONTROL {"type":"clients","n":1}',
                'CONTROL {"type":"nothing","n":1}',
                "PING 0000000000000000",
            ):
                async with wire(hub) as connection:
                    await welcomed(connection)
                    await flood(connection, to_bytes(text), 100_000)
            async with wire(hub) as connection:
                await welcomed(connection)
                for number in range(1, 6_001, 2):
                    connection.say(f'{number} OPEN {{"to":"witness","service":"channel","credit":1}}')
                codes = set()
                for _ in range(1_500):
                    message = await connection.next()
                    if message is None:
                        break
                    if message[4] == 4:
                        codes.add(struct.unpack(">I", message[8:12])[0])
                assert codes <= {4, 6, 9}, codes
                assert codes, "streams without end were all taken"
            assert memory() - before < 64 << 20

    run_here(main, limit=50.0)
