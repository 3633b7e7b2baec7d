"""Ids and names of clients."""

from __future__ import annotations

import pytest

from jackfield.hub.roster import (
    NameRefused,
    check_name,
    check_tag,
    default_name,
    parse_default_name,
    timestamp,
)


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


def test_default_names_are_read_back() -> None:
    assert parse_default_name("seqpacket-12") == (12, "seqpacket")
    assert [parse_default_name(name) for name in ("tcp-0", "tcp-", "xyz-1", "tcp-1 ")] == [None] * 4


@pytest.mark.parametrize("tag", ["", "-old", "+new", "a b", "a,b", "a*", "x" * 33, "a\x1b", "tag:a"])
def test_tags_that_cannot_be(tag: str) -> None:
    with pytest.raises(NameRefused, match="is not a tag"):
        check_tag(tag)
    check_tag("floor-1.b")


def test_times_are_utc_with_milliseconds() -> None:
    assert timestamp(0.25) == "1970-01-01T00:00:00.250Z"
