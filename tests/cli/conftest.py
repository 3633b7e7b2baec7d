"""Fixtures of the command-line tests: programs and hubs that end with the test; helpers are in `programs`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from programs import HubProcess, Process, Spawn, StartHub


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Start programs; they are ended with the test."""
    started: list[Process] = []

    def start(*command: str | Path, environment: dict[str, str] | None = None) -> Process:
        process = Process(command, environment=environment)
        started.append(process)
        return process

    yield start
    for process in reversed(started):
        process.end()


@pytest.fixture
def start_hub(directory: Path) -> Iterator[StartHub]:
    """Start hubs; each is ended with the test."""
    hubs: list[HubProcess] = []

    def start(*arguments: str, control: Path | None = None, prefix: Sequence[str] = ()) -> HubProcess:
        path = control or directory / "control" / f"hub{len(hubs)}.sock"
        hub = HubProcess(*arguments, control=path, prefix=prefix)
        hubs.append(hub)
        return hub

    yield start
    for hub in reversed(hubs):
        hub.end()


@pytest.fixture
def hub(start_hub: StartHub) -> HubProcess:
    """A hub with one TCP listener."""
    return start_hub("tcp://127.0.0.1:0")
