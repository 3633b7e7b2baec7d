"""Names with several addresses, some of which are silent: the race of RFC 8305 over a real network."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Iterator

import pytest
from namespaces import Namespace, Network
from support import eventually

import jackfield
from jackfield._loop import current_reactor

HOSTS = """
127.0.0.1 localhost
fd01::2 both
10.1.0.2 both
fd01::2 nowhere
10.1.0.2 nowhere
10.1.0.3 nowhere
"""


@pytest.fixture(scope="module")
def ends() -> Iterator[tuple[Namespace, Namespace]]:
    """A client, and a server that drops what comes to port 82, and over IPv6 to port 80."""
    with Network() as network:
        client, server = network.namespace(), network.namespace()
        client.link(server, "10.1.0.1/24", "10.1.0.2/24", "fd01::1/64", "fd01::2/64")
        server.address("jf0", "10.1.0.3/24")
        client.replace_file("/etc/hosts", HOSTS)
        server.rule("meta nfproto ipv6 tcp dport 80 drop")
        server.rule("tcp dport 82 drop")
        server.rule("meta nfproto ipv6 tcp dport 83 drop")
        yield client, server


def test_a_silent_address_costs_a_quarter_of_a_second(ends: tuple[Namespace, Namespace]) -> None:
    client, server = ends

    async def main() -> tuple[float, str | None]:
        started = time.monotonic()
        async with jackfield.connect("tcp://both:80", connect_timeout=20) as channel:
            took = time.monotonic() - started
            await eventually(lambda: len(current_reactor()) == 1, "the loser is closed")
            return took, channel.peer.host

    with server.listener("10.1.0.2", 80):
        took, host = client.call(lambda: jackfield.run(main))
    assert host == "10.1.0.2"
    assert 0.25 <= took < 10


def test_every_attempt_is_told_and_the_most_telling_named(ends: tuple[Namespace, Namespace]) -> None:
    """Over IPv6 silence, over IPv4 a reset: the reset tells more."""
    client, _ = ends

    async def main() -> jackfield.JackfieldError:
        with pytest.raises(jackfield.ConnectRefused) as caught:
            await jackfield.connect("tcp://both:83", connect_timeout=1.0)
        return caught.value

    error = client.call(lambda: jackfield.run(main))
    assert (error.cause, error.errno) == (jackfield.Cause.NOTHING_LISTENS, errno.ECONNREFUSED)
    assert [str(attempt.address) for attempt in error.attempts] == ["tcp://[fd01::2]:83", "tcp://10.1.0.2:83"]
    silent, refused = error.attempts
    assert (silent.error.errno, refused.error.errno) == (errno.ETIMEDOUT, errno.ECONNREFUSED)
    assert 0.5 < silent.elapsed < 10
    assert "tried [fd01::2]:83: no answer after" in str(error)


def test_all_silent_ends_at_the_limit(ends: tuple[Namespace, Namespace]) -> None:
    client, _ = ends

    async def main() -> tuple[jackfield.JackfieldError, float]:
        started = time.monotonic()
        with pytest.raises(jackfield.ConnectTimedOut) as caught:
            await jackfield.connect("tcp://nowhere:82", connect_timeout=1.0)
        return caught.value, time.monotonic() - started

    error, took = client.call(lambda: jackfield.run(main))
    assert 1.0 <= took < 10
    assert len(error.attempts) == 3
    assert error.cause is jackfield.Cause.NO_ANSWER


def test_cancelled_in_the_middle_nothing_is_left_open(ends: tuple[Namespace, Namespace]) -> None:
    client, _ = ends

    async def main() -> tuple[int, int]:
        await asyncio.sleep(0)
        reactor, before = current_reactor(), len(os.listdir("/proc/self/fd"))
        connecting = asyncio.ensure_future(_connect())
        await eventually(lambda: len(reactor) == 2, "two attempts are under way")
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        await eventually(lambda: len(reactor) == 0, "both are closed")
        return before, len(os.listdir("/proc/self/fd"))

    async def _connect() -> None:
        await jackfield.connect("tcp://nowhere:82", connect_timeout=20)

    before, after = client.call(lambda: jackfield.run(main))
    assert after == before
