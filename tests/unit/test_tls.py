"""TLS as a transport: what two ends agree on, certificates, reloading, and what TLS channels cannot do."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import stat
from pathlib import Path
from typing import Any

import pytest
from support import TRANSPORTS as ALL_TRANSPORTS
from support import Runner, eventually, two_ends
from support_tls import certificates

import jackfield
from jackfield import Cause

(TLS,) = (transport for transport in ALL_TRANSPORTS if transport.name == "tls")


async def echo(channel: jackfield.Channel) -> None:
    async for message in channel:
        await channel.send(message)


def server(**options: Any) -> Any:
    return jackfield.listen("tls://127.0.0.1:0", **{**certificates().listening, "framing": "u32", **options})


def client(address: jackfield.Address, **options: Any) -> Any:
    return jackfield.connect(address, **{**certificates().connecting, "framing": "u32", **options})


def test_what_was_agreed_on(run: Runner, directory: Path) -> None:
    async def main() -> None:
        async with two_ends(TLS, directory, alpn="jackfield") as (here, there):
            assert here.protocol == there.protocol == "tls"
            found, other = here.tls, there.tls
            assert found is not None
            assert other is not None
            assert found.version == other.version == "TLSv1.3"
            assert found.cipher == other.cipher == "TLS_AES_256_GCM_SHA384"
            assert found.alpn == other.alpn == "jackfield"
            assert other.peer is None
            assert found.peer is not None
            assert found.peer.names == ("localhost", "127.0.0.1", "::1")
            assert found.peer.issuer == "CN=test authority"
            assert found.peer.fingerprint == certificates().server.fingerprint
            assert found.peer.not_before < found.peer.not_after
        async with jackfield.listen("tcp://127.0.0.1:0") as plain, jackfield.connect(plain.address) as open_:
            assert open_.tls is None

    run(main)


def test_a_member_of_a_group_shows_its_certificate(run: Runner) -> None:
    async def main() -> None:
        async with server(ca=certificates().connecting["ca"]) as listener, jackfield.Group() as group:
            listener.into(group)
            channel = await client(listener.address, **certificates().identity)
            joined = await group.receive(5.0)
            facts = joined.member.tls
            assert facts.version == "TLSv1.3"
            assert (facts.peer.names, facts.peer.common_name) == (("client.example",), "client.example")
            assert facts.peer.fingerprint == certificates().client.fingerprint
            channel.abort()
            left = await group.receive(5.0)
            assert left.member.tls is None
        async with jackfield.Group() as group:
            one, two = jackfield.pair()
            group.add(two)
            assert (await group.receive(5.0)).member.tls is None
            one.abort()

    run(main)


def test_newcomers_that_say_nothing_make_room_for_others(run_here: Runner) -> None:
    """Of 1,100 connections without a word the oldest go, and whoever shakes hands gets in."""

    async def main() -> None:
        async with server(handshake_timeout=None) as listener, jackfield.Group() as group:
            listener.into(group)
            coming, silent = asyncio.create_task(group.receive(60.0)), []
            for _ in range(1_100):
                silent.append(socket.create_connection(("127.0.0.1", listener.address.port)))
                await asyncio.sleep(0)
            await eventually(lambda: listener.statistics().handshakes_failed == 76)
            channel = await client(listener.address)
            assert isinstance(await coming, jackfield.Joined)
            assert listener.statistics().clients == 1_024
            assert "too many others came" in str(listener.failed_handshakes()[0])
            for each in silent[:77]:
                assert each.recv(1) == b""
            channel.abort()
            for each in silent:
                each.close()

    run_here(main)


def test_a_crowd_of_one_address_ends_its_own_handshakes(run_here: Runner) -> None:
    """Who came first, from another address, and is slow: 1,100 that say nothing do not push it out."""

    async def main() -> None:
        async with server(handshake_timeout=None) as listener, jackfield.Group() as group:
            listener.into(group)
            where = ("127.0.0.1", listener.address.port)
            coming = asyncio.create_task(group.receive(60.0))
            slow = socket.create_connection(where, source_address=("127.0.0.3", 0))
            silent = []
            for _ in range(1_100):
                silent.append(socket.create_connection(where, source_address=("127.0.0.2", 0)))
                await asyncio.sleep(0)
            await eventually(lambda: listener.statistics().handshakes_failed == 77)
            assert {error.peer.host for error in listener.failed_handshakes()} == {"127.0.0.2"}
            slow.setblocking(False)
            with pytest.raises(BlockingIOError):
                slow.recv(1)
            coming.cancel()
            for each in (slow, *silent):
                each.close()

    run_here(main)


def test_one_address_has_a_rate_of_handshakes(run_here: Runner) -> None:
    """Five seconds of it at once; those beyond are reset before they cost anything, and others are not."""

    async def main() -> None:
        async with server(handshake_rate="1/s") as listener, jackfield.Group() as group:
            listener.into(group)
            where = ("127.0.0.1", listener.address.port)
            crowd = []
            for _ in range(200):
                with contextlib.suppress(ConnectionResetError):
                    crowd.append(socket.create_connection(where, source_address=("127.0.0.2", 0)))
                await asyncio.sleep(0)
            await eventually(lambda: listener.statistics().handshakes_failed >= 150)
            assert listener.statistics().clients >= 5
            errors = listener.failed_handshakes()
            assert {(error.peer.host, error.cause) for error in errors} == {
                ("127.0.0.2", Cause.HANDSHAKE_RATE)
            }
            assert "more than 1 a second of its address" in str(errors[0])
            channel = await client(listener.address)
            joined = await group.receive(5.0)
            assert isinstance(joined, jackfield.Joined)
            channel.abort()
            for each in crowd:
                each.close()

    run_here(main)


def test_of_a_crowd_of_many_addresses_the_oldest_goes(run_here: Runner) -> None:
    """1,100 addresses with a connection each: those end that came first, and no newcomer."""

    async def main() -> None:
        async with server(handshake_timeout=None) as listener, jackfield.Group() as group:
            listener.into(group)
            where = ("127.0.0.1", listener.address.port)
            coming = asyncio.create_task(group.receive(60.0))
            hosts = [f"127.1.{number // 250}.{1 + number % 250}" for number in range(1_100)]
            silent = []
            for host in hosts:
                silent.append(socket.create_connection(where, source_address=(host, 0)))
                await asyncio.sleep(0)
            await eventually(lambda: listener.statistics().handshakes_failed == 76)
            ended = {error.peer.host for error in listener.failed_handshakes()}
            assert ended <= set(hosts[:76])
            coming.cancel()
            for each in silent:
                each.close()

    run_here(main)


def test_both_ends_show_certificates(run_here: Runner) -> None:
    async def main() -> None:
        wanted = certificates().connecting
        async with server(ca=wanted["ca"]) as listener:
            channel = await client(listener.address, **certificates().identity)
            accepted = await listener.accept(5.0)
            assert accepted.tls.peer.names == ("client.example",)
            channel.abort()
            accepted.abort()
        async with server(pin=certificates().client.fingerprint, verify="optional") as listener:
            for options in (certificates().identity, {}):
                channel = await client(listener.address, **options)
                accepted = await listener.accept(5.0)
                assert (accepted.tls.peer is not None) == bool(options)
                channel.abort()
                accepted.abort()

    run_here(main)


@pytest.mark.parametrize(
    "options",
    [
        {"pin": "{fingerprint}", "server_name": "whatever.example"},
        {"pin": ("ab" * 32, "{fingerprint}")},
        {"verify": "none", "server_name": "whatever.example"},
        {"verify": "chain", "ca": "{ca}", "server_name": "whatever.example"},
        {"ca": "{ca}", "pin": "{fingerprint}"},
        {"tls_min": "1.3"},
    ],
)
def test_ways_to_trust(run_here: Runner, options: dict[str, Any]) -> None:
    known = {"fingerprint": certificates().server.fingerprint, "ca": certificates().connecting["ca"]}

    def fill(value: Any) -> Any:
        return tuple(map(fill, value)) if isinstance(value, tuple) else value.format_map(known)

    async def main() -> None:
        async with server() as listener, listener.serving(echo):
            filled = {name: fill(value) for name, value in options.items()}
            async with jackfield.connect(listener.address, framing="u32", **filled) as channel:
                assert await channel.request(b"hello", timeout=5.0) == b"hello"

    run_here(main)


def test_certificates_are_reloaded_and_connections_go_on(run_here: Runner, directory: Path) -> None:
    def renew() -> str:
        made = jackfield.make_certificate(["127.0.0.1"], signer=certificates().authority)
        made.save(directory / "cert.pem", directory / "key.pem")
        return made.fingerprint

    async def main() -> None:
        first = renew()
        files = {"cert": directory / "cert.pem", "key": directory / "key.pem"}
        paths = {name: str(path) for name, path in files.items()}
        async with (
            server(**paths) as listener,
            listener.serving(echo),
            client(listener.address) as old,
        ):
            assert old.tls.peer.fingerprint == first
            second = renew()
            listener.reload_certificates()
            async with client(listener.address) as new:
                assert new.tls.peer.fingerprint == second != first
                assert await new.request(b"new", timeout=5.0) == b"new"
            assert await old.request(b"old", timeout=5.0) == b"old"
            files["key"].write_text(certificates().client.key)
            with pytest.raises(jackfield.InvalidOption, match="key"):
                listener.reload_certificates()
            async with client(listener.address) as still:
                assert still.tls.peer.fingerprint == second
        async with jackfield.listen("tcp://127.0.0.1:0") as plain:
            with pytest.raises(jackfield.NotSupported, match="no certificates"):
                plain.reload_certificates()

    run_here(main)


def test_a_group_over_tls(run: Runner) -> None:
    async def main() -> None:
        group = jackfield.Group()
        async with server(framing="line") as listener:
            listener.into(group)
            clients = [await client(listener.address, framing="line") for _ in range(20)]
            for number, channel in enumerate(clients):
                await channel.send(b"%d" % number)
            heard = set()
            while len(heard) < 20:
                event = await group.receive(5.0)
                if isinstance(event, jackfield.Message):
                    heard.add(bytes(event.data))
            assert heard == {b"%d" % number for number in range(20)}
            assert await group.broadcast(b"to all") == 20
            assert [await channel.receive(5.0) for channel in clients] == [b"to all"] * 20
            for channel in clients:
                await channel.close()
            left = 0
            while left < 20:
                left += isinstance(await group.receive(5.0), jackfield.Left)
            await group.close()

    run(main)


def test_any_sizes_both_ways_at_once(run: Runner, directory: Path) -> None:
    async def main() -> None:
        chance = random.Random(5)
        sizes = [
            0,
            1,
            16_383,
            16_384,
            16_385,
            65_536,
            300_000,
            *(chance.randrange(200_000) for _ in range(60)),
        ]
        messages = [chance.randbytes(size) for size in sizes]
        async with two_ends(TLS, directory) as (here, there):

            async def talk(channel: jackfield.Channel) -> None:
                for message in messages:
                    await channel.send(message, timeout=10.0)

            async def listen(channel: jackfield.Channel) -> None:
                for message in messages:
                    assert await channel.receive(10.0) == message

            await asyncio.gather(talk(here), listen(here), talk(there), listen(there))

    run(main)


def test_half_close(run: Runner, directory: Path) -> None:
    async def main() -> None:
        async with two_ends(TLS, directory) as (here, there):
            await here.send(b"question")
            here.send_eof()
            assert await there.receive(5.0) == b"question"
            with pytest.raises(jackfield.EndOfStream):
                await there.receive(5.0)
            await there.send(b"answer")
            await there.close()
            assert await here.receive(5.0) == b"answer"
            with pytest.raises(jackfield.EndOfStream):
                await here.receive(5.0)

    run(main)


def test_a_listener_shakes_hands_before_anybody_accepts(run_here: Runner) -> None:
    async def main() -> None:
        async with server() as listener:
            clients = [await client(listener.address) for _ in range(70 // 2)]
            accepted = [await listener.accept(5.0) for _ in clients]
            with pytest.raises(jackfield.TimedOut):
                await listener.accept(0.01)
            for channel in [*clients, *accepted]:
                channel.abort()
            await eventually(lambda: listener.statistics().clients == 0)

    run_here(main)


def test_it_cannot_go_on_elsewhere(run_here: Runner, directory: Path) -> None:
    async def main() -> None:
        async with two_ends(TLS, directory) as (here, there):
            with pytest.raises(jackfield.NotSupported, match="keys are in this process"):
                here.detach()
            await here.send(b"on")
            assert await there.receive(5.0) == b"on"

    run_here(main)


def test_a_listener_goes_on_elsewhere(run_here: Runner) -> None:
    """Connections cannot, but who comes next is accepted over TLS as before."""

    async def main() -> None:
        listener = await server()
        address, options = listener.address, {**certificates().listening, "framing": "u32"}
        made = jackfield.adopt(listener.detach(), opened_as=address, **options)
        assert isinstance(made, jackfield.Listener)
        async with made, made.serving(echo), client(address) as channel:
            assert made.protocol == "tls"
            assert await channel.request(b"hello", timeout=5.0) == b"hello"
        plain = await jackfield.listen("tcp://127.0.0.1:0")
        number = plain.detach()
        with pytest.raises(jackfield.AdoptFailed, match="listens on tcp"):
            jackfield.adopt(number, opened_as="unix:///tmp/x", **options)
        os.close(number)

    run_here(main)


@pytest.mark.parametrize(
    ("scheme", "listening", "options", "words"),
    [
        ("tls", True, {}, "a listener needs a certificate"),
        ("tls", True, {"cert": "/nonexistent/cert.pem"}, "No such file"),
        ("tls", True, {"cert": "{cert}", "key": "{ca}"}, "no private key stands in it"),
        ("tls", True, {"cert": "{key}", "key": "{key}"}, "no certificate stands in it"),
        ("tls", True, {"cert": "{cert}", "key": "{other}"}, "key="),
        ("tls", True, {"cert": "{cert}", "key": "{key}", "verify": "chain"}, "for clients"),
        ("tls", True, {"cert": "{cert}", "key": "{key}", "verify": "optional"}, "nothing to verify by"),
        ("tls", False, {"verify": "optional"}, "for listeners"),
        ("tls", False, {"verify": "maybe"}, "not one of its values"),
        ("tls", False, {"pin": "sha256:12"}, "not a fingerprint"),
        ("tls", False, {"alpn": ""}, "value is missing"),
        ("tls", False, {"server_name": "no name"}, "not a host name"),
        ("tls", False, {"tls_min": "1.1"}, "not one of its values"),
        ("tcp", False, {"pin": "ab" * 32}, "means nothing to"),
        ("tcp", True, {"cert": "{cert}"}, "means nothing to"),
    ],
)
def test_options_that_make_no_sense(
    scheme: str, listening: bool, options: dict[str, Any], words: str
) -> None:
    known = {
        "cert": certificates().listening["cert"],
        "key": certificates().listening["key"],
        "ca": certificates().connecting["ca"],
        "other": certificates().identity["key"],
    }
    filled = {name: value.format_map(known) for name, value in options.items()}
    call = jackfield.listen if listening else jackfield.connect
    with pytest.raises((jackfield.InvalidOption, jackfield.NotSupported), match=words):
        call(f"{scheme}://127.0.0.1:7443", **filled)


def test_options_in_addresses() -> None:
    address = jackfield.Address.parse("tls://hub.example:7443?pin=sha256:" + "AB:" * 31 + "AB&alpn=a&alpn=b")
    options = jackfield.Options.from_address(address)
    assert options.pin == ("sha256:" + "ab" * 32,)
    assert options.alpn == ("a", "b")


def test_making_certificates(directory: Path) -> None:
    made = jackfield.make_certificate(["hub.example", "192.0.2.1"], seconds=3600)
    made.save(directory / "cert.pem", directory / "key.pem")
    assert stat.S_IMODE((directory / "key.pem").stat().st_mode) == 0o600
    assert sorted(path.name for path in directory.iterdir()) == ["cert.pem", "key.pem"]
    assert made.fingerprint.startswith("sha256:")
    assert jackfield.make_certificate(["hub.example"]).fingerprint != made.fingerprint
    with pytest.raises(ValueError, match=r"."):
        jackfield.make_certificate(["smörgås.example"])
