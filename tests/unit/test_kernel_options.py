"""The kernel's options: set when opening or later, and read back as the kernel took them."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest
from support import Runner, need_ipv6

import jackfield
from jackfield._kernel_options import refused
from jackfield._option_values import KINDS
from jackfield._options import Options
from jackfield._socket_options import SOCKET_OPTIONS

pytestmark = pytest.mark.timeout(60)

Plain = Callable[[int, int], int]


def plain(fileno: int) -> Plain:
    """getsockopt(2) by Python's own socket module, past everything of ours."""

    def read(level: int, number: int) -> int:
        with socket.socket(fileno=os.dup(fileno)) as copy:
            return copy.getsockopt(level, number)

    return read


def test_the_table_has_names_of_options_in_their_order() -> None:
    names = [name for name, _ in Options().items() if name in SOCKET_OPTIONS]
    assert names == list(SOCKET_OPTIONS)


SET = [
    ("nodelay", False, False, socket.IPPROTO_TCP, socket.TCP_NODELAY, 0),
    ("reuse_address", True, True, socket.SOL_SOCKET, socket.SO_REUSEADDR, 1),
    ("reuse_port", True, True, socket.SOL_SOCKET, socket.SO_REUSEPORT, 1),
    ("send_buffer", "64K", 128 * 1024, socket.SOL_SOCKET, socket.SO_SNDBUF, 128 * 1024),
    ("receive_buffer", "64K", 128 * 1024, socket.SOL_SOCKET, socket.SO_RCVBUF, 128 * 1024),
    ("device", "lo", "lo", socket.SOL_SOCKET, socket.SO_BINDTODEVICE, None),
    ("dscp", "EF", 46, socket.IPPROTO_IP, socket.IP_TOS, 46 << 2),
    ("priority", 6, 6, socket.SOL_SOCKET, socket.SO_PRIORITY, 6),
    ("ttl", 9, 9, socket.IPPROTO_IP, socket.IP_TTL, 9),
    ("mtu_discover", "do", "do", socket.IPPROTO_IP, 10, 2),
    ("freebind", True, True, socket.IPPROTO_IP, 15, 1),
    ("user_timeout", "1500ms", 1.5, socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1500),
    ("congestion", "reno", "reno", socket.IPPROTO_TCP, socket.TCP_CONGESTION, None),
    ("cork", True, True, socket.IPPROTO_TCP, socket.TCP_CORK, 1),
    ("notsent_low_water", "16K", 16384, socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, 16384),
    ("max_pacing_rate", "1M", 2**20, socket.SOL_SOCKET, 47, 2**20),
    ("syn_retries", 2, 2, socket.IPPROTO_TCP, socket.TCP_SYNCNT, 2),
]


@pytest.mark.parametrize(
    ("name", "given", "value", "level", "number", "raw"), SET, ids=lambda cell: str(cell)
)
def test_set_when_connecting(
    run_here: Runner, name: str, given: Any, value: Any, level: int, number: int, raw: int | None
) -> None:
    async def main() -> None:
        async with (
            jackfield.listen("tcp://127.0.0.1:0") as listener,
            jackfield.connect(listener.address, **{name: given}) as channel,
        ):
            assert channel.kernel_options()[name] == value
            if raw is not None:
                assert plain(channel.fileno())(level, number) == raw

    run_here(main)


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("defer_accept", "3s", 3.0),
        ("fastopen", 16, 16),
        ("dscp", 46, 46),
        ("ttl", 9, 9),
        ("freebind", True, True),
        ("v6only", True, True),
        ("max_segment", "1000B", 1000),
    ],
)
def test_set_when_listening_on_ipv6(run_here: Runner, name: str, given: Any, value: Any) -> None:
    async def main() -> None:
        need_ipv6()
        async with jackfield.listen("tcp://[::1]:0", **{name: given}) as listener:
            assert listener.kernel_options()[name] == value

    run_here(main)


def test_an_ipv6_socket_marks_its_ipv4_packets_too(run_here: Runner) -> None:
    async def main() -> None:
        async with jackfield.listen("tcp://:0?dscp=46&ttl=9") as listener:
            assert listener.kernel_options()["v6only"] is False
            read = plain(listener.fileno())
            assert read(socket.IPPROTO_IP, socket.IP_TOS) == 46 << 2
            assert read(socket.IPPROTO_IP, socket.IP_TTL) == 9

    run_here(main)


def test_clients_have_what_their_listener_was_given(run_here: Runner) -> None:
    async def main() -> None:
        options: Any = {"keepalive": "7s/3s/2", "user_timeout": 9.0, "congestion": "reno", "dscp": 8}
        async with (
            jackfield.listen("tcp://127.0.0.1:0", **options) as listener,
            jackfield.connect(listener.address),
            await listener.accept(5.0) as channel,
        ):
            found = channel.kernel_options()
            assert found["keepalive"] == jackfield.Keepalive(7, 3, 2)
            assert (found["user_timeout"], found["congestion"], found["dscp"]) == (9.0, "reno", 8)
            assert "defer_accept" not in found
            assert set(found) < set(SOCKET_OPTIONS)

    run_here(main)


def test_every_transport_reads_its_own(run_here: Runner) -> None:
    async def main() -> None:
        one, two = jackfield.pair(send_buffer=50_000)
        async with one, two, jackfield.listen("udp://127.0.0.1:0?receive_buffer=64K&ttl=3") as listener:
            assert one.kernel_options()["send_buffer"] == 100_000
            assert set(one.kernel_options()) == {"send_buffer", "receive_buffer"}
            found = listener.kernel_options()
            assert (found["receive_buffer"], found["ttl"]) == (131072, 3)
            assert "nodelay" not in found
            async with jackfield.connect(listener.address) as client:
                await client.send(b"hello")
                peer = await listener.accept(5.0)
                assert peer.kernel_options()["ttl"] == 3
                with pytest.raises(jackfield.NotSupported, match="peers share one socket"):
                    peer.set_option("ttl", 4)
                assert listener.set_option("ttl", 4) == 4

    run_here(main)


def test_changed_at_run_time_and_taken_back(run_here: Runner) -> None:
    async def main() -> None:
        async with (
            jackfield.listen("tcp://127.0.0.1:0") as listener,
            jackfield.connect(listener.address) as channel,
        ):
            assert channel.set_option("nodelay", False) is False
            assert channel.set_option("nodelay", "yes") is True
            assert channel.set_option("keepalive", None) is None
            assert channel.set_option("keepalive", "9s/8s/7") == jackfield.Keepalive(9, 8, 7)
            assert channel.set_option("user_timeout", "5s") == 5.0
            assert channel.set_option("user_timeout", None) is None
            assert channel.set_option("send_buffer", "64K") == 128 * 1024
            assert channel.set_option("max_pacing_rate", "1M") == 2**20
            assert channel.set_option("max_pacing_rate", "off") is None
            assert channel.set_option("notsent_low_water", None) is None
            assert channel.set_option("quickack", False) is False
            assert channel.set_option("priority", None) == 0
            assert channel.options.nodelay is True, "what it was opened with"
        with pytest.raises(jackfield.ChannelClosed):
            channel.set_option("nodelay", True)
        with pytest.raises(jackfield.ChannelClosed):
            listener.kernel_options()

    run_here(main)


@pytest.mark.parametrize(
    ("name", "value", "error", "says"),
    [
        ("nodelai", True, jackfield.InvalidOption, "did you mean nodelay"),
        ("framing", "u32", jackfield.InvalidOption, "chosen when the socket is opened"),
        ("reuse_port", True, jackfield.InvalidOption, "chosen when the socket is opened"),
        ("ttl", 0, jackfield.InvalidOption, "outside its limits"),
        ("ttl", "5s", jackfield.InvalidOption, "not a whole number"),
        ("send_buffer", "64", jackfield.InvalidOption, "has no unit"),
        ("max_segment", None, jackfield.InvalidOption, "not taken back"),
        ("defer_accept", 3.0, jackfield.NotSupported, "it is for listeners"),
        ("congestion", "no_such", jackfield.InvalidOption, "no such congestion control; it has"),
        ("device", "no-such-0", jackfield.InvalidOption, "no such network interface"),
        ("v6only", True, jackfield.InvalidOption, "chosen when the socket is opened"),
    ],
)
def test_what_cannot_be_set(run_here: Runner, name: str, value: Any, error: type, says: str) -> None:
    async def main() -> None:
        async with (
            jackfield.listen("tcp://127.0.0.1:0") as listener,
            jackfield.connect(listener.address) as channel,
        ):
            before = channel.kernel_options()
            with pytest.raises(error, match=says):
                channel.set_option(name, value)
            after = channel.kernel_options()
            assert before.pop("quickack") in (after.pop("quickack"), True, False)
            assert before == after

    run_here(main)


@pytest.mark.parametrize(
    ("address", "error", "says"),
    [
        ("tcp://127.0.0.1:7?congestion=no_such", jackfield.InvalidOption, "no such congestion control"),
        ("tcp://127.0.0.1:7?device=no-such-0", jackfield.InvalidOption, "no such network interface"),
        ("unix:///tmp/x?ttl=3", jackfield.NotSupported, "ttl= means nothing to unix:///tmp/x"),
        ("udp://127.0.0.1:7?cork", jackfield.NotSupported, "it is for tcp:"),
        ("tcp://127.0.0.1:7?defer_accept=2s", jackfield.NotSupported, "it is for listeners"),
        ("tcp://127.0.0.1:7?mtu_discover=dunno", jackfield.InvalidOption, "write one of|did you mean"),
        ("tcp://127.0.0.1:7?kernel_busy_poll=50", jackfield.InvalidOption, "has no unit"),
    ],
)
def test_a_connect_that_cannot_be_says_which_option(address: str, error: type, says: str) -> None:
    with pytest.raises(error, match=says):
        jackfield.connect(address)


def test_what_the_kernel_does_not_permit_names_the_capability() -> None:
    row = SOCKET_OPTIONS["transparent"]
    error = refused(row, True, OSError(errno.EPERM, "x"), None)
    assert isinstance(error, jackfield.AccessDenied)
    assert "IP_TRANSPARENT, IPV6_TRANSPARENT needs CAP_NET_ADMIN" in str(error)
    unknown = refused(SOCKET_OPTIONS["fastopen"], 1, OSError(errno.ENOPROTOOPT, "x"), None)
    assert "this kernel does not know TCP_FASTOPEN here" in str(unknown)
    assert "Invalid argument" in str(refused(row, True, OSError(errno.EINVAL, "x"), None))


def test_a_number_is_written_and_read_as_the_same() -> None:
    samples = {
        "keepalive": jackfield.Keepalive(1, 2, 3),
        "congestion": "bbr",
        "device": "eth0",
        "mtu_discover": "probe",
        "mark": 2**32 - 1,
        "max_pacing_rate": 2**32 - 2,
    }
    for name, row in SOCKET_OPTIONS.items():
        value = samples.get(name, KINDS[name].read(KINDS[name].example))
        family = socket.AF_INET6 if name == "v6only" else socket.AF_INET
        stored = {(level, number): raw for level, number, raw in row.settings(value, family)}

        def read(level: int, number: int, size: int, stored: Any = stored) -> bytes:
            return bytes(stored[level, number][:size])

        assert row.read(read, family) == (pytest.approx(value) if isinstance(value, float) else value), name
    assert struct.unpack("i", SOCKET_OPTIONS["user_timeout"].settings(None, 0)[0][2]) == (0,)


def test_the_list_of_options() -> None:
    table = jackfield.option_table()
    assert [facts.name for facts in table] == [name for name, _ in Options().items()]
    for facts in table:
        assert facts.meaning.endswith("."), facts.name
        assert Options().merge(**{facts.name: facts.example.partition("=")[2]}), facts.name
        assert bool(facts.constants) == (facts.name in SOCKET_OPTIONS)
