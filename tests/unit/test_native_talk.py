"""What operators and parts say to native clients, and hear of them."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from native_peer import CREDIT, DATA, END, OPEN, RESET, Peer, running_hub
from support import Runner, eventually

from jackfield.hub.autoreply import Autoreply
from jackfield.hub.native import contents
from jackfield.hub.operator import operate
from jackfield.hub.protocol import encode_data
from jackfield.hub.reply_rules import Rule


def test_operators_send_to_native_clients_and_hear_them(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub, operate(directory / "hub.sock") as operator:
            peer = await Peer.join(hub, name="alice")
            report = await operator.request(
                "send", target="alice", data=encode_data(b"hello"), ending="default"
            )
            assert report["sent"] == 1
            message = await peer.event("message")
            assert (message["text"], message["from"]["id"]) == ("hello", None)
            number, replies = await operator.start("talk", target="alice")
            assert (await operator.reply(replies))["event"]["attached"]["framing"] == "native"
            assert (await peer.ask("message", text="I hear"))["state"] == "delivered"
            assert (await operator.reply(replies))["event"]["message"] == encode_data(b"I hear")
            await operator.request("cancel", of=number)
            await peer.close()

    run_here(main)


def test_a_stream_for_talking_carries_messages_of_any_length(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub, operate(directory / "hub.sock") as operator:
            peer = await Peer.join(hub, name="alice")
            peer.send(1, OPEN, json.dumps({"service": "talk", "credit": 200_000}).encode())
            assert struct.unpack(">I", await peer.on(1, CREDIT))[0] > 100_000
            long = bytes(range(256)) * 400
            report = await operator.request("send", target="alice", data=encode_data(long), ending="none")
            assert report["sent"] == 1
            got, more = b"", 1
            while more:
                _, _, more, piece = await peer.where(lambda s, k, f, p: (s, k) == (1, DATA))
                got += piece
            assert got == long
            peer.send(1, DATA, b"in two ", 1)
            peer.send(1, DATA, b"pieces")
            await eventually(lambda: [data for _, _, data in hub.memory.all()] == [b"in two pieces"])
            peer.send(1, END)
            await peer.on(1, END)
            await operator.request("send", target="alice", data=encode_data(b"again"), ending="none")
            assert (await peer.event("message"))["text"] == "again"
            await peer.close()

    run_here(main)


def test_control_characters_make_no_message_too_long(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub, operate(directory / "hub.sock") as operator:
            peer = await Peer.join(hub, name="alice")
            long = encode_data(bytes(contents.LONGEST))
            report = await operator.request("send", target="alice", data=long, ending="none")
            assert report["sent"] == 1
            assert (await peer.event("message"))["data"] == long
            await peer.close()

    run_here(main)


def test_what_is_too_long_or_has_no_room_is_told_of(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub, operate(directory / "hub.sock") as operator:
            peer, other = await Peer.join(hub, name="alice"), await Peer.join(hub, name="bob")
            long = encode_data(b"x" * (contents.LONGEST + 1))
            other.send(1, OPEN, json.dumps({"service": "talk", "credit": 100_000}).encode())
            await other.on(1, CREDIT)
            report = await operator.request("send", target="alice,bob", data=long, ending="none")
            assert (report["sent"], report["skipped"]) == (1, 1)
            assert str(contents.LONGEST) in report["skipped_because"][0]
            report = await operator.request(
                "send", target="bob", data=encode_data(b"x" * 90_000), ending="none", wait=0.1
            )
            assert (report["sent"], report["dropped"]) == (0, 1)
            for each in (peer, other):
                await each.close()

    run_here(main)


def test_a_second_stream_for_talking_is_refused(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            peer = await Peer.join(hub)
            for stream in (1, 3):
                peer.send(stream, OPEN, json.dumps({"service": "talk", "credit": 1000}).encode())
            assert (await peer.on(3, RESET))[:4] == struct.pack(">I", 9)
            await peer.close()

    run_here(main)


def test_automatic_replies_answer_what_a_native_client_says(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with running_hub(directory) as hub:
            peer = await Peer.join(hub)
            part = hub.part(Autoreply)
            assert part is not None
            part.add(Rule.from_json("ping", Rule("ping", "ping", b"pong").to_json()))
            await peer.ask("message", text="ping")
            assert (await peer.event("message"))["text"] == "pong"
            assert [data for _, _, data in hub.memory.all()] == [b"ping"]
            await peer.close()

    run_here(main)
