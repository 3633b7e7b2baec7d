"""Ids and names of clients."""

from __future__ import annotations

import pytest

from jackfield.hub.roster import NameRefused, Names, check_name, default_name, timestamp


def test_default_names_follow_from_protocol_and_id() -> None:
    assert [
        default_name(3, protocol) for protocol in ("tcp", "udp", "unix", "unix+dgram", "unix+seqpacket")
    ] == [
        "tcp-3",
        "udp-3",
        "unix-3",
        "dgram-3",
        "seqpacket-3",
    ]


def test_renaming() -> None:
    names = Names()
    assert names.of(3, "tcp") == "tcp-3"
    assert names.find("tcp-3") == (3, "tcp")
    names.rename(3, "tcp", "door")
    assert names.of(3, "tcp") == "door"
    assert names.find("door") == (3, "")
    assert names.find("tcp-3") is None  # it is called otherwise now
    names.rename(3, "tcp", "gate")
    assert names.find("door") is None
    names.rename(3, "tcp", "gate")
    names.rename(3, "tcp", "tcp-3")
    assert names.of(3, "tcp") == "tcp-3"
    assert names.find("gate") is None


def test_a_name_belongs_to_one_client() -> None:
    names = Names()
    names.rename(3, "tcp", "door")
    with pytest.raises(NameRefused, match="client 3 is already called 'door'"):
        names.rename(4, "tcp", "door")
    names.forget(3)
    names.forget(3)
    names.rename(4, "tcp", "door")
    assert names.find("door") == (4, "")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "all",
        "7",
        "tcp-4",
        "udp-1",
        "a b",
        "a,b",
        "a*",
        "-x",
        "_x",
        "a:1",
        "x" * 65,
        "a\x1b",
        "/tmp/x",
        "²³",
        "a\n",
    ],
)
def test_names_that_mean_something_else_are_refused(name: str) -> None:
    with pytest.raises(NameRefused):
        check_name(name)


@pytest.mark.parametrize("name", ["door", "dev7", "Gerät-1", "a.b_c@d+e", "7up", "日本", "x" * 64, "tcp-x"])
def test_names(name: str) -> None:
    check_name(name)


def test_times_are_utc_with_milliseconds() -> None:
    assert timestamp(0.25) == "1970-01-01T00:00:00.250Z"
