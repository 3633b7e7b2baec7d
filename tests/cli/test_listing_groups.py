"""Groups of commands that list when none of these is named."""

from __future__ import annotations

import json

import pytest
from programs import HubProcess, StartHub

GROUPS = ("autoreply", "mail", "rooms", "script", "snippet", "token")


@pytest.fixture
def hub(start_hub: StartHub) -> HubProcess:
    hub = start_hub("tcp://127.0.0.1:0,room=lobby")
    hub.do("autoreply", "add", "^PING", "PONG")
    hub.do("snippet", "add", "status", "STATUS?")
    hub.do("token", "create", "--name", "ann")
    return hub


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_without_a_command_lists(hub: HubProcess, group: str) -> None:
    assert hub.do(group) == hub.do(group, "ls")
    assert json.loads(hub.do(group, "--json")) == json.loads(hub.do(group, "ls", "--json"))
    before = hub.run(group, "--json", "ls")
    assert (before.returncode, before.stdout) == (2, b"")
    assert b"it goes behind ls" in before.stderr
    assert b"Without a command: list." in b" ".join(hub.do(group, "--help").split())


@pytest.mark.parametrize("group", GROUPS)
def test_the_hub_named_before_the_command_is_asked(hub: HubProcess, group: str, directory: object) -> None:
    for words in ((group, "--control"), (group, "ls", "--control"), ("--control",)):
        ending = () if group in words else (group,)
        lost = hub.run(*words, f"{directory}/none.sock", *ending)
        assert lost.returncode == 3, lost
        assert b"no hub at" in lost.stderr
    lost = hub.run(group, "--control", f"{directory}/none.sock", "ls")
    assert lost.returncode == 3
