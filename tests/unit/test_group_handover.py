"""Members that go on in another group: `Group.detach`, `Group.adopt`, and listeners that move with them."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest
from support import Runner, turns

import jackfield
from jackfield import Group, Joined, Listener, Member, Message

pytestmark = pytest.mark.timeout(60)


async def _next(group: Group, kind: type) -> object:
    event = await group.receive(10.0)
    assert isinstance(event, kind), event
    return event


async def _moved(listener: Listener, address: jackfield.Address | str) -> Listener:
    moved = jackfield.adopt(listener.detach(), opened_as=address, framing="u32")
    assert isinstance(moved, Listener)
    assert listener.closed
    return moved


@pytest.mark.parametrize("scheme", ["tcp", "unix"])
def test_a_connection_moves_with_what_was_received_and_queued(
    run: Runner, scheme: str, directory: Path
) -> None:
    address = "tcp://127.0.0.1:0" if scheme == "tcp" else f"unix://{directory}/hub.sock"

    async def main() -> None:
        listener = await jackfield.listen(address, framing="u32", high_water=64 << 20)
        group = Group()
        listener.into(group)
        async with jackfield.connect(listener.address, framing="none", high_water=64 << 20) as client:
            member = (await _next(group, Joined)).member  # type: ignore[attr-defined]
            await client.send(b"\0\0\0\x03one\0\0\0\x03two\0\0\0\x05th")
            assert (await _next(group, Message)).data == b"one"  # type: ignore[attr-defined]
            sent = 0
            while group.statistics(member).queued_messages < 3:
                member.send_nowait(bytes([sent]) * 200_000)
                sent += 1
                await turns()
            group.admit_newcomers()
            detached = group.detach(member)
            assert b"".join(detached.received).endswith(b"\0\0\0\x05th") or not detached.received
            assert detached.number == 1
            assert detached.fd is not None
            assert len(detached.queued) >= 2
            with pytest.raises(jackfield.ChannelClosed):
                group.detach(member)
            assert len(group) == 0
            before = listener.address
            later = await _moved(listener, address)
            assert later.address == before
            successor = Group(first_number=5)
            assert successor.next_number == 5
            moved = successor.adopt(later, detached)
            assert moved.number == 1
            assert moved.listener_id == later.id
            later.into(successor)
            await client.send(b"ree")
            assert (await _next(successor, Joined)).member == moved  # type: ignore[attr-defined]
            assert (await _next(successor, Message)).data == b"two"  # type: ignore[attr-defined]
            assert (await _next(successor, Message)).data == b"three"  # type: ignore[attr-defined]
            moved.send_nowait(b"last")
            for index in range(sent):
                assert await client.receive_exactly(4) == (200_000).to_bytes(4, "big")
                assert await client.receive_exactly(200_000) == bytes([index]) * 200_000
            assert await client.receive_exactly(8) == b"\0\0\0\x04last"
            assert successor.statistics(moved).messages_in == 3
            assert successor.statistics(moved).messages_out == sent + 1
            # A newcomer is numbered behind everyone who was ever there.
            async with jackfield.connect(later.address):
                assert (await _next(successor, Joined)).member.number == 5  # type: ignore[attr-defined]
            await successor.close()
            group.abort()
        await later.close()
        if scheme == "unix":
            assert not (directory / "hub.sock").exists()

    run(main)


def test_datagram_peers_move_with_their_listener(run: Runner) -> None:
    async def main() -> None:
        listener = await jackfield.listen("udp://127.0.0.1:0")
        group = Group()
        listener.into(group)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.settimeout(10)
            peer.connect(("127.0.0.1", listener.address.port or 0))
            peer.send(b"one")
            member = (await _next(group, Joined)).member  # type: ignore[attr-defined]
            with pytest.raises(jackfield.NotSupported):
                listener.detach()
            detached = group.detach(member)
            assert detached.fd is None
            assert detached.peer == ("127.0.0.1", peer.getsockname()[1], 0)
            assert list(detached.received) == [b"one"]
            moved = jackfield.adopt(listener.detach(), opened_as="udp://127.0.0.1:0")
            assert isinstance(moved, Listener)
            again = group.adopt(moved, detached)
            moved.into(group)
            peer.send(b"two")
            assert again.number == member.number == 1
            assert isinstance(await group.receive(10.0), Joined)
            assert (await _next(group, Message)).data == b"one"  # type: ignore[attr-defined]
            assert (await _next(group, Message)).data == b"two"  # type: ignore[attr-defined]
            again.send_nowait(b"back")
            await turns()
            assert peer.recv(16) == b"back"
        await group.close()

    run(main)


def test_what_does_not_fit_is_given_back(run: Runner) -> None:
    async def main() -> None:
        group = Group()
        tcp = await jackfield.listen("tcp://127.0.0.1:0")
        tcp.into(group)
        async with jackfield.connect(tcp.address):
            member = (await _next(group, Joined)).member  # type: ignore[attr-defined]
            detached = group.detach(member)
            assert detached.fd is not None
            async with jackfield.listen(f"unix://@jackfield-test-handover-{os.getpid()}") as other:
                with pytest.raises(jackfield.AdoptFailed) as caught:
                    group.adopt(other, detached)
                assert caught.value.errno == errno.EINVAL
            back: Member = group.adopt(tcp, detached)
            assert group.detach(back).fd == detached.fd
            with pytest.raises(jackfield.AdoptFailed, match="it listens on"):
                jackfield.adopt(os.dup(tcp.fileno()), opened_as="tcp://127.0.0.1:1")
            os.close(detached.fd)
        await group.close()

    run(main)
