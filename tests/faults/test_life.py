"""Who lives, who vanished, who only does not read: on real networks that the tests make and break."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest
from namespaces import Namespace, Network
from support import Runner, eventually, turns

import jackfield

VANISHED_AFTER = 2.0
"""Seconds without a word from the peer, which the errors must show at least."""
FOUND_WITHIN = 15.0
"""Seconds that finding may take on a loaded machine; the kernel's own ways would take minutes."""
QUICK = {"vanished_after": VANISHED_AFTER, "keepalive": jackfield.Keepalive(1, 1, 2), "framing": "u32"}
WITHOUT_KEEPALIVE = QUICK | {"keepalive": None}
"""So that on a busy machine keepalive is not the first to find what supervision shall find."""

Report = Callable[[Any], None]


def cable(network: Network) -> tuple[Namespace, Namespace, str]:
    """Two hosts with a cable between them."""
    one, two = network.namespace(), network.namespace()
    return one, two, one.link(two, "10.1.0.1/24", "10.1.0.2/24")


def silent_server(host: Namespace, address: str = "10.1.0.2") -> tuple[socket.socket, str]:
    """A listener of the plain kind, whose kernel accepts and whose program never reads."""
    listener = host.listener(address)
    return listener, f"tcp://{address}:{listener.getsockname()[1]}"


async def until_lost(channel: jackfield.Channel) -> dict[str, Any]:
    """The facts of the channel's end as a receiver is told."""
    with pytest.raises(jackfield.ChannelLost) as told:
        await channel.receive(FOUND_WITHIN)
    error = told.value
    facts = {"class": type(error).__name__, "text": str(error)}
    names = ("certainly_unsent", "unknown", "silent", "unanswered", "unacknowledged", "errno")
    return facts | {name: getattr(error, name, None) for name in names}


async def stuff(channel: jackfield.Channel, size: int, timeout: float) -> tuple[int, jackfield.PeerStalled]:
    """Send to a peer that does not read until that is told; how many messages were queued."""
    sent = 0
    while True:
        try:
            await channel.send(b"x" * size, timeout)
            sent += 1
        except jackfield.PeerStalled as stalled:
            return sent, stalled
        except jackfield.TimedOut:
            pass  # on a busy machine the peer's window need not be full yet


# Vanished -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sends", [False, True], ids=["idle", "data under way"])
def test_a_client_finds_a_vanished_server(network: Network, sends: bool) -> None:
    ours, theirs, device = cable(network)
    listener, address = silent_server(theirs)
    options = WITHOUT_KEEPALIVE if sends else QUICK

    def client(ready: Report) -> dict[str, Any]:
        async def main() -> dict[str, Any]:
            async with jackfield.connect(address, **options) as channel:
                await channel.send(b"hello", until="peer_kernel", timeout=10.0)
                ready(None)
                await asyncio.get_running_loop().run_in_executor(None, input_of, plug)
                if sends:
                    for _ in range(3):
                        await channel.send(b"is anybody there?")
                return await until_lost(channel)

        return jackfield.run(main())  # type: ignore[no-any-return]

    plug = socket.socketpair()
    with listener, plug[0], plug[1]:
        process = ours.start(client)
        process.ready()
        theirs.link_down(device)
        plug[0].send(b".")
        facts = process.result(60.0)
    assert facts["class"] == "PeerVanished", facts
    assert "vanished" in facts["text"]
    if sends:
        assert facts["silent"] >= VANISHED_AFTER
        assert facts["unanswered"] >= 3
        assert (facts["certainly_unsent"], facts["unknown"]) == (0, 3)
        assert facts["unacknowledged"] == 3 * (4 + len(b"is anybody there?"))
    else:
        assert (facts["certainly_unsent"], facts["unknown"]) == (0, 0)


def input_of(pair: tuple[socket.socket, socket.socket]) -> None:
    """Wait until the test has written a byte."""
    pair[1].recv(1)


@pytest.mark.parametrize("sends", [False, True], ids=["idle", "data under way"])
@pytest.mark.parametrize("grouped", [False, True], ids=["channel", "member of a group"])
def test_a_server_finds_a_vanished_client(network: Network, sends: bool, grouped: bool) -> None:
    ours, theirs, device = cable(network)
    plug = socket.socketpair()
    options = WITHOUT_KEEPALIVE if sends else QUICK

    def server(ready: Report) -> dict[str, Any]:
        async def main() -> dict[str, Any]:
            async with jackfield.listen("tcp://10.1.0.1:0", **options) as listener:
                ready(listener.address.port)
                if grouped:
                    return await with_group(listener)
                async with await listener.accept(20.0) as channel:
                    await asyncio.get_running_loop().run_in_executor(None, input_of, plug)
                    if sends:
                        await channel.send(b"are you there?")
                    return await until_lost(channel)

        async def with_group(listener: jackfield.Listener) -> dict[str, Any]:
            async with jackfield.Group() as group:
                listener.into(group)
                joined = await group.receive(20.0)
                assert isinstance(joined, jackfield.Joined)
                await asyncio.get_running_loop().run_in_executor(None, input_of, plug)
                if sends:
                    await group.broadcast(b"are you there?")
                left = await group.receive(FOUND_WITHIN)
                assert isinstance(left, jackfield.Left)
                assert isinstance(left.error, jackfield.ChannelLost)
                assert left.reason == str(left.error)
                return {"class": type(left.error).__name__, "unknown": left.error.unknown}

        return jackfield.run(main())  # type: ignore[no-any-return]

    with plug[0], plug[1]:
        process = ours.start(server)
        port = process.ready()
        with theirs.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
            client.connect(("10.1.0.1", port))
            theirs.link_down(device)
            plug[0].send(b".")
            facts = process.result(60.0)
    assert facts["class"] == "PeerVanished", facts
    assert facts["unknown"] == (1 if sends else 0)


def test_a_peer_that_vanishes_while_it_does_not_read_is_found(network: Network) -> None:
    """Its window is closed, so only probes are sent, and they come ever more seldom unless told otherwise."""
    ours, theirs, device = cable(network)
    listener, address = silent_server(theirs)
    plug = socket.socketpair()

    def client(ready: Report) -> dict[str, Any]:
        async def main() -> dict[str, Any]:
            async with jackfield.connect(address, high_water=2**16, **QUICK) as channel:
                await stuff(channel, 10_000, 2 * VANISHED_AFTER)
                ready(None)
                await asyncio.get_running_loop().run_in_executor(None, input_of, plug)
                return await until_lost(channel)

        return jackfield.run(main())  # type: ignore[no-any-return]

    with listener, plug[0], plug[1]:
        process = ours.start(client)
        process.ready()
        theirs.link_down(device)
        plug[0].send(b".")
        facts = process.result(60.0)
    assert facts["class"] == "PeerVanished", facts
    assert facts["silent"] >= VANISHED_AFTER
    assert facts["certainly_unsent"] > 0


# Alive --------------------------------------------------------------------------------------------


def test_a_peer_that_does_not_read_is_never_reported_dead(network: Network) -> None:
    """Ten times `vanished_after`; JACKFIELD_STALL=120 in the environment makes it two minutes."""
    seconds = float(os.environ.get("JACKFIELD_STALL", "20"))
    ours, theirs, _ = cable(network)
    listener, address = silent_server(theirs)

    def client(ready: Report) -> dict[str, Any]:
        async def main() -> dict[str, Any]:
            async with jackfield.connect(address, high_water=2**16, **QUICK) as channel:
                sent, _ = await stuff(channel, 10_000, 1.0)
                receiving = asyncio.create_task(channel.receive())
                with pytest.raises(jackfield.PeerStalled) as second:
                    await channel.send(b"x" * 10_000, seconds)
                assert not receiving.done()
                receiving.cancel()
                ready(sent)
                await channel.flush(20.0, until="peer_kernel")
                return {
                    "text": str(second.value),
                    "stalled": second.value.stalled,
                    "waiting": second.value.waiting,
                }

        return jackfield.run(main())  # type: ignore[no-any-return]

    with listener:
        process = ours.start(client)
        accepted, _ = listener.accept()
        with accepted:
            sent = process.ready(seconds + 60.0)
            left = sent * 10_004
            while left:
                left -= len(accepted.recv(min(left, 2**16)))
            facts = process.result(60.0)
    assert facts["stalled"] >= seconds - 1.0
    assert facts["waiting"] > 2**16
    assert "does not read" in facts["text"]


def test_a_close_says_that_the_peer_does_not_read(run: Runner) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            channel = await jackfield.connect(f"tcp://127.0.0.1:{port}", high_water=2**26, framing="u32")
            await channel.send(b"x" * 2**24)
            with pytest.raises(jackfield.PeerStalled) as told:
                await channel.close(0.5)
            assert (told.value.waiting or 0) > 2**20
            assert channel.closed

    run(main)


def test_a_stalled_unix_peer_is_told_too(run: Runner) -> None:
    async def main() -> None:
        one, two = jackfield.pair(framing="u32", high_water=1000)
        async with two:
            await one.send(b"x" * 10**6)
            for call in (one.send(b"y", timeout=0.1), one.flush(0.1), one.flush(0.1, until="sent")):
                with pytest.raises(jackfield.PeerStalled):
                    await call
            one.abort()

    run(main)


# What became of the messages -----------------------------------------------------------------------


def test_a_reset_counts_the_unsent_and_the_unknown(run: Runner) -> None:
    """What the peer's kernel acknowledged, what is unknown and what is unsent make up all that was sent."""

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            channel = await jackfield.connect(f"tcp://127.0.0.1:{port}", high_water=2**18, framing="u32")
            sent, _ = await stuff(channel, 996, 0.5)
            accepted, _ = listener.accept()
            queued = channel.statistics().queued_messages
            with accepted:
                unread = int.from_bytes(fionread(accepted), "little")
                accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            with pytest.raises(jackfield.ChannelLost) as told:
                await channel.receive(5.0)
            error = told.value
            assert error.certainly_unsent is not None
            assert error.unknown is not None
            assert error.certainly_unsent in (queued, queued - 1)
            assert unread // 1000 + error.unknown + error.certainly_unsent == sent
            assert f"{error.certainly_unsent} messages were certainly not sent" in str(error)
            channel.abort()

    run(main)


def fionread(plain: socket.socket) -> bytes:
    import fcntl
    import termios

    return fcntl.ioctl(plain, termios.FIONREAD, b"\0\0\0\0")


# Acknowledgements ----------------------------------------------------------------------------------


def test_until_tells_how_far_a_message_has_come(run: Runner) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            channel = await jackfield.connect(f"tcp://127.0.0.1:{port}", high_water=2**26, framing="u32")
            async with channel:
                accepted, _ = listener.accept()
                with accepted:
                    for until in ("queued", "sent", "peer_kernel"):
                        await channel.send(b"hello", 5.0, until=until)  # type: ignore[arg-type]
                    await channel.send_many([b"one", b"two"], 5.0, until="peer_kernel")
                    unread = int.from_bytes(fionread(accepted), "little")
                    assert unread == 3 * 9 + 2 * 7, "all of it is in the peer's kernel"
                    large = asyncio.create_task(channel.send(b"x" * 2**24, until="sent"))
                    with pytest.raises(jackfield.PeerStalled):
                        await channel.flush(0.5, until="sent")
                    channel.send_nowait(b"who waits for the kernel holds up nobody")
                    assert not large.done()
                    last = asyncio.create_task(channel.flush(until="peer_kernel"))
                    left = 3 * 9 + 2 * 7 + 4 + 2**24 + 4 + 40
                    loop = asyncio.get_running_loop()
                    accepted.setblocking(False)
                    while left:
                        left -= len(await loop.sock_recv(accepted, 2**20))
                    await asyncio.wait_for(asyncio.gather(large, last), 5.0)

    run(main)


def test_a_cancelled_wait_for_an_acknowledgement_takes_nothing_back(run: Runner) -> None:
    async def main() -> None:
        one, two = jackfield.pair(framing="u32", high_water=10**7)
        async with one, two:
            await one.send(b"x" * 10**6)
            waiting = asyncio.create_task(one.send(b"last", until="sent"))
            await eventually(lambda: one.statistics().queued_messages == 2)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert len(await two.receive(5.0)) == 10**6
            assert await two.receive(5.0) == b"last"

    run(main)


def test_what_a_transport_cannot_tell_is_refused(run: Runner) -> None:
    async def main() -> None:
        one, two = jackfield.pair(framing="u32")
        async with one, two:
            for until in ("received", "stored"):
                with pytest.raises(jackfield.NotSupported, match="peer_kernel"):
                    await one.send(b"x", until=until)  # type: ignore[arg-type]
            with pytest.raises(ValueError, match="none of queued"):
                await one.send(b"x", until="read")  # type: ignore[arg-type]
            await one.send(b"x", until="peer_kernel")
            assert await two.receive(5.0) == b"x"
        async with jackfield.connect("udp://127.0.0.1:9") as udp:
            await udp.send(b"x", until="sent")
            with pytest.raises(jackfield.NotSupported, match="acknowledges"):
                await udp.send(b"x", until="peer_kernel")
        one, two = jackfield.pair(framing="u32", when_full="drop_oldest")
        async with one, two:
            with pytest.raises(jackfield.NotSupported, match="drop_oldest"):
                await one.send(b"x", until="sent")

    run(main)


def test_a_lost_connection_ends_the_wait_for_an_acknowledgement(run: Runner) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            channel = await jackfield.connect(f"tcp://127.0.0.1:{port}", high_water=2**26, framing="u32")
            accepted, _ = listener.accept()
            sending = asyncio.create_task(channel.send(b"x" * 2**24, until="peer_kernel"))
            await eventually(lambda: channel.statistics().bytes_out > 0)
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            accepted.close()
            with pytest.raises(jackfield.ChannelLost) as told:
                await asyncio.wait_for(sending, 10.0)
            assert (told.value.certainly_unsent, told.value.unknown) == (0, 1)
            channel.abort()

    run(main)


# Explanations --------------------------------------------------------------------------------------


def test_an_explanation_names_who_holds_it_up(run: Runner) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            channel = await jackfield.connect(f"tcp://127.0.0.1:{port}", high_water=2**18, framing="u32")
            accepted, _ = listener.accept()
            with accepted:
                assert channel.explain().state == "well"
                assert str(channel.explain()) == "all is well; the peer has sent nothing yet"
                accepted.sendall(b"\0\0\0\5hello")
                await eventually(lambda: channel.explain().state == "not_receiving")
                assert "9 bytes of the peer wait here, and nobody receives" in str(channel.explain())
                assert await channel.receive(5.0) == b"hello"
                assert channel.explain().is_well
                await stuff(channel, 996, 0.5)
                explanation = channel.explain()
                assert explanation.state == "peer_not_reading"
                assert "the peer has not read for" in str(explanation)
                assert "wait here" in str(explanation)
                assert explanation.facts["queued_bytes"] > 2**17
            await eventually(lambda: channel.explain().state == "lost")
            assert str(channel.explain()).startswith("the tcp channel")
            channel.abort()
            assert channel.explain().state == "closed"

    run(main)


def test_an_explanation_of_a_peer_that_ended_and_of_a_close_under_way(run: Runner) -> None:
    async def main() -> None:
        one, two = jackfield.pair(framing="u32", high_water=2**20)
        two.send_eof()
        with pytest.raises(jackfield.EndOfStream):
            await one.receive(5.0)
        assert one.explain().state == "ended"
        await one.send(b"x" * 10**6)
        closing = asyncio.create_task(one.close())
        await turns()
        assert one.explain().state == "closing"
        assert len(await two.receive(5.0)) == 10**6
        await closing
        assert one.explain().state == "closed"
        async with jackfield.Group() as group:
            member = group.add(two)
            assert group.explain(member).state in ("well", "ended")
            assert group.explain(12345).state == "closed"

    run(main)
