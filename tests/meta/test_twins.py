"""The two twins, asynchronous and blocking, have the same names with the same parameters."""

from __future__ import annotations

import inspect

import pytest

import jackfield
from jackfield import sync

ASYNCHRONOUS_ALONE = {
    "Listener": {
        "detach": "it goes to another owner with the members of its group; groups belong to an event loop",
        "id": "names a listener in the events of a group",
        "into": "groups belong to an event loop",
    },
    "Channel": {
        "detach": "the asynchronous channel is how a blocking one is opened; `fileno` is there",
        "makefile": "a blocking program makes one of `fileno()` with the socket module",
        "receive_fds": "passing descriptors is not there without an event loop yet",
        "receive_urgent": "urgent data is not there without an event loop yet",
        "send_fds": "passing descriptors is not there without an event loop yet",
        "send_urgent": "urgent data is not there without an event loop yet",
        "tcp_info": "it is not there without an event loop yet",
        "explain": "supervision is the event loop's",
        "state": "reconnecting is the event loop's",
    },
}
"""Names that the blocking twin does without, and why."""


def names_of(owner: type) -> set[str]:
    return {name for name in dir(owner) if not name.startswith("_")}


@pytest.mark.parametrize("name", sync.__all__)
def test_each_name_is_in_both(name: str) -> None:
    assert hasattr(jackfield, name)
    assert inspect.getdoc(getattr(sync, name))


@pytest.mark.parametrize("kind", ["Channel", "Listener"])
def test_both_have_the_same_methods_with_the_same_parameters(kind: str) -> None:
    one, two = getattr(jackfield, kind), getattr(sync, kind)
    alone = ASYNCHRONOUS_ALONE[kind]
    assert names_of(one) - set(alone) == names_of(two), "give the other twin what is missing"
    for name in sorted(names_of(two)):
        first, second = inspect.getattr_static(one, name), inspect.getattr_static(two, name)
        if isinstance(first, property):
            assert isinstance(second, property)
            continue
        if not callable(first):
            continue
        assert parameters(getattr(one, name)) == parameters(getattr(two, name)), name


def parameters(call: object) -> list[tuple[str, object]]:
    signature = inspect.signature(call)  # type: ignore[arg-type]
    return [(parameter.name, parameter.default) for parameter in signature.parameters.values()]


@pytest.mark.parametrize("name", ["connect", "listen", "pair"])
def test_what_opens_takes_the_same(name: str) -> None:
    # Reconnecting is the event loop's.
    alone = {"reconnect", "on_state"}
    taken = [(name, default) for name, default in parameters(getattr(jackfield, name)) if name not in alone]
    assert taken == parameters(getattr(sync, name))


def test_the_facts_are_the_same_code() -> None:
    for name in ("local", "peer", "credentials", "protocol", "framing", "options", "statistics"):
        assert inspect.getattr_static(jackfield.Channel, name) is inspect.getattr_static(sync.Channel, name)
