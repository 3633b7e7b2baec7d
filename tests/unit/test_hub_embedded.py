"""A hub within a program, with hooks and operators."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import jackfield
import jackfield.hub
from jackfield.hub.hooks import HookClient, Hooks
from jackfield.hub.operator import operate

NAMES = jackfield.hub.__all__


def test_hooks_answer_and_operators_are_served(directory: Path) -> None:
    seen: list[str] = []
    left = asyncio.Event()

    def on_message(client: HookClient, message: bytes) -> bytes | str | None:
        if message == b"fail":
            raise ValueError("a hook that fails")
        return {b"text": "as text", b"bytes": b"as bytes"}.get(message)

    def on_leave(client: HookClient, reason: str) -> None:
        seen.append(f"left {client.name}")
        left.set()

    async def main() -> None:
        control = directory / "hub.sock"
        async with jackfield.hub.serve(
            "tcp://127.0.0.1:0,framing=line".replace(",", "?"),
            on_message=on_message,
            on_join=lambda client: seen.append(f"joined {client.name} {client.protocol}"),
            on_leave=on_leave,
            control=control,
        ) as hub:
            async with jackfield.connect(hub.listeners[0][0].address, framing="line") as client:
                assert await client.request(b"text", timeout=30) == b"as text"
                assert await client.request(b"bytes", timeout=30) == b"as bytes"
                await client.send_many([b"fail", b"nothing"])
                assert await client.request(b"text", timeout=30) == b"as text"
                async with operate(control) as operator:
                    assert (await operator.request("status"))["clients"] == 1
                    await operator.request("kick", target="all")
                with pytest.raises(jackfield.EndOfStream):
                    await client.receive(30)
            await asyncio.wait_for(left.wait(), 30)
            failures = [event for event in hub.journal.last(100) if event.kind == "script_failed"]
            (error,) = [dict(event.facts)["error"] for event in failures]
            assert str(error).startswith("ValueError: a hook that fails")
            assert __file__ in str(error)
        assert seen == ["joined tcp-1 tcp", "left tcp-1"]
        assert not control.exists()

    jackfield.run(main)


def test_a_hub_that_cannot_listen_raises_and_leaves_nothing(directory: Path) -> None:
    async def main() -> None:
        with pytest.raises(jackfield.JackfieldError):
            async with jackfield.hub.serve(
                f"unix://{directory}/no/where.sock", control=directory / "hub.sock"
            ):
                pass
        assert not (directory / "hub.sock").exists()

    jackfield.run(main)


def test_hooks_are_functions() -> None:
    assert Hooks.of({"on_join": print, "other": 1}).names == ["on_join"]
    for wrong in ({}, {"on_message": "x"}, {"on_messages": print}):
        with pytest.raises(ValueError, match="function"):
            Hooks.of(wrong)


def test_the_package_has_its_public_names_and_no_other() -> None:
    assert {name for name in jackfield.hub.__all__ if getattr(jackfield.hub, name)} == set(
        jackfield.hub.__all__
    )
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = jackfield.hub.nothing
