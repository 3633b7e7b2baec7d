"""Select a client: the server keeps them all in a list, and talks to one of them alone."""

from __future__ import annotations

import asyncio
import contextlib

import jackfield

from ..examples import pick_a_client
from ..lesson import LIMIT, Show, claim, printed


async def lesson(show: Show) -> None:
    async with contextlib.AsyncExitStack() as stack:
        listener = await stack.enter_async_context(jackfield.listen("tcp://127.0.0.1:0", framing="line"))
        group = await stack.enter_async_context(jackfield.Group())
        listener.into(group)
        said = stack.enter_context(printed())
        showing = asyncio.create_task(pick_a_client.show(group))
        stack.callback(showing.cancel)

        clients, lines = [], []
        for number in (1, 2, 3):
            opening = jackfield.connect(listener.address, framing="line")
            clients.append(await stack.enter_async_context(opening))
            lines += await said.until(f"^client {number} came from {clients[-1].local.endpoint}$")
        await show("come", *lines, address=listener.address)

        pick_a_client.obey(group, "list")
        lines = said.take()
        claim(len(lines) == 3, lines)
        await show("list", "> list", *lines)

        pick_a_client.obey(group, "2 only for you")
        heard = await clients[1].receive(timeout=LIMIT)
        claim(heard == b"only for you", heard)
        await show("pick", "> 2 only for you", f"client 2 <- {heard.decode()}")

        # What the others hear first is this: nothing of what went to the second client came to them.
        pick_a_client.obey(group, "all for everyone")
        lines = said.take()
        for number, client in enumerate(clients, 1):
            heard = await client.receive(timeout=LIMIT)
            claim(heard == b"for everyone", number, heard)
            lines.append(f"client {number} <- {heard.decode()}")
        await show("all", "> all for everyone", *lines)

        pick_a_client.obey(group, "drop 1")
        lines = said.take()
        try:
            claim(False, await clients[0].receive(timeout=LIMIT))
        except jackfield.EndOfStream as error:
            lines.append(f"client 1 <- {type(error).__name__}")
        pick_a_client.obey(group, "list")
        left = said.take()
        claim(len(left) == 2, left)
        await show("drop", "> drop 1", *lines, "> list", *left)
