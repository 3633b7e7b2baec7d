"""A server and its clients: which sockets there are, and what names them."""

from __future__ import annotations

import jackfield

from ..examples.echo_server import echo
from ..lesson import LIMIT, Show, claim, printed


async def lesson(show: Show) -> None:
    async with jackfield.listen("tcp://127.0.0.1:0", framing="line") as listener:
        server = f"127.0.0.1:{listener.address.port}"
        claim(listener.address.port != 0, listener.address)
        await show("listen", f"listening on {listener.address}", port=listener.address.port)
        with printed() as said:
            async with listener.serving(echo):
                async with jackfield.connect(listener.address, framing="line") as client:
                    mine = str(client.local.endpoint)
                    claim(client.peer.endpoint == server, client.peer.endpoint)
                    lines = await said.until(f"{server} talks to {mine}$|{mine} talks to {server}$")
                    await show("connect", *lines, mine=mine, server=server)

                    answer = await client.request(b"hello", timeout=LIMIT)
                    claim(answer == b"hello", answer)
                    await show("talk", "-> hello", f"<- {answer.decode()}")

                    async with jackfield.connect(listener.address, framing="line") as second:
                        lines = await said.until(str(second.local.endpoint))
                        claim(second.peer.endpoint == server, second.peer.endpoint)
                        claim(second.local.endpoint != mine, second.local.endpoint)
                        answers = [
                            await one.request(b"still there?", timeout=LIMIT) for one in (client, second)
                        ]
                        claim(answers == [b"still there?"] * 2, answers)
                        await show(
                            "second",
                            f"{mine} <-> {server}",
                            f"{second.local.endpoint} <-> {server}",
                            port=listener.address.port,
                        )
                lines = await said.until(f"^{mine} ended after 2 messages$")
                await show("end", *lines, mine=mine)
