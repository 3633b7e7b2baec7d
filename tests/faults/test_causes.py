"""Causes that lie on this machine, for real: ports, addresses, files, rights, limits."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from namespaces import Namespace, Network

import jackfield
from jackfield import Cause, JackfieldError


def opening(address: str, *, listening: bool = False, **options: object) -> JackfieldError:
    """How it fails."""

    async def main() -> JackfieldError:
        try:
            if listening:
                await jackfield.listen(address, **options)  # type: ignore[arg-type]
            else:
                await jackfield.connect(address, **options)  # type: ignore[arg-type]
        except JackfieldError as error:
            return error
        raise AssertionError(f"{address} could be opened")

    return jackfield.run(main)


# Addresses and ports ------------------------------------------------------------------------------


def test_an_address_that_is_held() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        error = opening(f"tcp://127.0.0.1:{port}", listening=True)
    assert (type(error), error.cause) == (jackfield.AddressInUse, Cause.ADDRESS_HELD)
    assert [holder.pid for holder in error.holders] == [os.getpid()]


def test_an_address_that_is_held_without_a_listener() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        error = opening(f"tcp://127.0.0.1:{bound.getsockname()[1]}", listening=True)
    assert (type(error), error.cause) == (jackfield.AddressInUse, Cause.ADDRESS_LINGERS)


def test_an_address_of_another_machine() -> None:
    error = opening("tcp://192.0.2.1:0", listening=True)
    assert (type(error), error.cause) == (jackfield.AddressNotAvailable, Cause.NO_SUCH_ADDRESS)
    error = opening("tcp://127.0.0.1:1", bind="192.0.2.1")
    assert (type(error), error.cause) == (jackfield.AddressNotAvailable, Cause.NO_SUCH_ADDRESS)
    assert "no interface with the address 192.0.2.1 of bind=" in str(error)


def narrow(network: Network) -> Namespace:
    """A host whose kernel has a single port to pick."""
    host = network.namespace()
    host.setting("net/ipv4/ip_local_port_range", "40000 40000")
    return host


def test_no_port_is_left_to_listen_on(network: Network) -> None:
    """Nobody holds port 0, so nobody may be blamed for it."""
    host = narrow(network)
    with host.listener("127.0.0.1", 40000):
        error = host.call(lambda: opening("tcp://127.0.0.1:0", listening=True))
    assert (type(error), error.cause) == (jackfield.AddressNotAvailable, Cause.NO_FREE_PORT)
    assert error.errno == errno.EADDRINUSE
    assert "the kernel has no free port to pick: every one from 40000 to 40000 is in use" in str(error)
    assert "in use by" not in str(error)


def test_no_port_is_left_to_connect_from(network: Network) -> None:
    host = narrow(network)
    with host.listener("127.0.0.1", 7000), host.socket(socket.AF_INET, socket.SOCK_STREAM) as taken:
        taken.connect(("127.0.0.1", 7000))
        error = host.call(lambda: opening("tcp://127.0.0.1:7000"))
    assert (type(error), error.cause) == (jackfield.AddressNotAvailable, Cause.NO_FREE_PORT)
    assert "all local ports (40000 to 40000) are in use" in str(error)


def test_the_port_of_bind_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        error = opening(f"tcp://127.0.0.1:{port}", bind=f"127.0.0.1:{port}")
    assert (type(error), error.cause) == (jackfield.AddressInUse, Cause.NO_FREE_PORT)


def test_listening_in_a_directory_that_is_not_there(directory: Path) -> None:
    error = opening(f"unix://{directory}/nothing/socket", listening=True)
    assert (type(error), error.errno) == (jackfield.ListenFailed, errno.ENOENT)
    assert f"make the directory {directory}/nothing first" in str(error)


# Rights and limits --------------------------------------------------------------------------------


def without_rights(function: Callable[[], JackfieldError]) -> Callable[[], JackfieldError]:
    """Runs it as a user without privileges."""

    def run() -> JackfieldError:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        return function()

    return run


def test_a_reserved_port(network: Network) -> None:
    host = network.namespace()
    if os.geteuid() != 0:
        pytest.skip("in a user namespace its root has every port")
    error = host.call(without_rights(lambda: opening("tcp://127.0.0.1:80", listening=True)))
    assert (type(error), error.cause) == (jackfield.AccessDenied, Cause.NOT_PERMITTED)
    assert "ports below 1024 are reserved" in str(error)


def test_no_descriptor_is_left() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def main() -> JackfieldError:
        async with jackfield.listen("tcp://127.0.0.1:0") as listener:
            lowest = os.dup(0)
            os.close(lowest)
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
            try:
                with pytest.raises(jackfield.TooManyOpenFiles) as caught:
                    async with asyncio.timeout(20):
                        await jackfield.connect(listener.address)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            return caught.value

    error = jackfield.run(main)
    assert error.cause is Cause.TOO_MANY_OPEN_FILES
    assert "soft limit" in str(error)


def test_a_name_without_a_descriptor_to_ask_with() -> None:
    """The resolver cannot open a file either, and would call the name unknown."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def main() -> JackfieldError:
        async with jackfield.listen("tcp://127.0.0.1:0"):
            lowest = os.dup(0)
            os.close(lowest)
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
            try:
                with pytest.raises(jackfield.TooManyOpenFiles) as caught:
                    await jackfield.connect("tcp://no-such-name.invalid:80", connect_timeout=20)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            return caught.value

    error = jackfield.run(main)
    assert (error.cause, error.stage) == (Cause.TOO_MANY_OPEN_FILES, "resolve")


# Unix sockets -------------------------------------------------------------------------------------


def test_unix_names(directory: Path) -> None:
    stale, live, other, plain = (directory / name for name in ("stale", "live", "other", "plain"))
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(stale))
    plain.write_text("x")
    with (
        socket.socket(socket.AF_UNIX) as server,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams,
        socket.socket(socket.AF_UNIX) as first,
    ):
        server.bind(str(live))
        server.listen(0)
        first.connect(str(live))
        datagrams.bind(str(other))
        found = {
            path.name: opening(f"unix://{path}", connect_timeout=0.2) for path in (stale, plain, live, other)
        }
        found["nothing"] = opening(f"unix://{directory}/nothing")
        found["listen"] = opening(f"unix://{plain}", listening=True)
        found["held"] = opening(f"unix://{live}", listening=True)
    assert {name: (type(error), error.cause) for name, error in found.items()} == {
        "stale": (jackfield.ConnectRefused, Cause.STALE_SOCKET_FILE),
        "plain": (jackfield.ConnectRefused, Cause.NOT_A_SOCKET),
        "live": (jackfield.ConnectTimedOut, Cause.ACCEPT_QUEUE_FULL),
        "other": (jackfield.ConnectFailed, Cause.WRONG_KIND),
        "nothing": (jackfield.ConnectRefused, Cause.NO_SUCH_FILE),
        "listen": (jackfield.AddressInUse, Cause.FILE_IN_THE_WAY),
        "held": (jackfield.AddressInUse, Cause.ADDRESS_HELD),
    }


# The network's, that need a rule of their own ---------------------------------------------------------


def test_a_host_that_does_not_speak_the_protocol(network: Network) -> None:
    client, server = network.namespace(), network.namespace()
    client.link(server, "10.1.0.1/24", "10.1.0.2/24")
    server.nft(
        "add table ip jackfield\n"
        "add chain ip jackfield input { type filter hook input priority 0 ; }\n"
        "add rule ip jackfield input tcp dport 80 reject with icmp prot-unreachable\n"
    )
    error = client.call(lambda: opening("tcp://10.1.0.2:80"))
    assert (type(error), error.cause) == (jackfield.HostUnreachable, Cause.PROTOCOL_UNKNOWN)
    assert (error.errno, error.offender, error.icmp) == (errno.ENOPROTOOPT, "10.1.0.2", (3, 2))
    assert "10.1.0.2 answered that it does not speak TCP" in str(error)
