"""Taking the descriptor out of a channel."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest
from support import CONNECTED as CONNECTED_TRANSPORTS
from support import Runner, Transport, every, raw_peer, turns, two_ends

import jackfield

pytestmark = pytest.mark.timeout(60)


@every([transport for transport in CONNECTED_TRANSPORTS if transport.scheme != "tls"])
def test_the_connection_goes_on_with_its_new_owner(
    run: Runner, transport: Transport, directory: Path
) -> None:
    async def main() -> None:
        async with two_ends(
            transport, directory, **({} if transport.keeps_boundaries else {"framing": "line"})
        ) as (client, server):
            await client.send(b"before")
            waiting = asyncio.create_task(client.receive())
            await turns()
            fd = client.detach()
            assert client.closed
            with pytest.raises(jackfield.ChannelClosed):
                await waiting
            with pytest.raises(jackfield.ChannelClosed):
                client.detach()
            assert not os.get_inheritable(fd)
            with socket.socket(fileno=fd) as plain:
                plain.setblocking(True)
                plain.settimeout(5)
                plain.sendall(b"after\n")
                assert await server.receive(5.0) == b"before"
                assert (await server.receive(5.0)).rstrip() == b"after"
                await server.send(b"back")
                await server.flush()
                assert plain.recv(100).rstrip() == b"back"

    run(main)


def test_what_would_be_lost_keeps_it(run: Runner) -> None:
    async def main() -> None:
        async with raw_peer("line", high_water=2**24) as (channel, plain):
            plain.sendall(b"one\ntwo\n")
            assert await channel.receive(5.0) == b"one"
            with pytest.raises(jackfield.ChannelBusy, match="receive them first"):
                channel.detach()
            assert await channel.receive(5.0) == b"two"
            await channel.send(bytes(2**23))
            with pytest.raises(RuntimeError, match=r"bytes of 1 messages wait to be sent; await flush\(\)"):
                channel.detach()
            assert not channel.closed

    run(main)
