"""Chat by UDP: one socket, no connections, and whole datagrams."""

from __future__ import annotations

import jackfield

from ..examples.udp_nicknames import peers, serve_peer
from ..lesson import LIMIT, Show, claim, printed


async def hears(channel: jackfield.Channel, *expected: bytes) -> list[str]:
    """The next messages, which must be these."""
    heard = [(await channel.receive(timeout=LIMIT)).rstrip(b"\n") for _ in expected]
    claim(heard == list(expected), heard)
    return [line.decode() for line in heard]


async def lesson(show: Show) -> None:
    async with (
        jackfield.listen("udp://127.0.0.1:0", idle_timeout="1h") as server,
        jackfield.connect(server.address) as ada,
        jackfield.connect(server.address) as bob,
    ):
        with printed() as said:
            async with server.serving(serve_peer):
                await show("socket", str(server.address))

                lines = []
                for name, channel in ((b"ada", ada), (b"bob", bob)):
                    await channel.send(name)
                    await hears(channel, b"* " + name + b" is here")
                    lines += await said.until(f"^{name.decode()} is {channel.local.endpoint}$")
                await hears(ada, b"* bob is here")
                await show("names", *lines)

                await ada.send(b"hello, bob")
                lines = [f"bob <- {line}" for line in await hears(bob, b"ada: hello, bob")]
                await bob.send(b"hello, ada")
                lines += [f"ada <- {line}" for line in await hears(ada, b"bob: hello, ada")]
                await show("talk", *lines)

                await ada.send_many([b"one", b"two", b"three"])
                heard = await hears(bob, b"ada: one", b"ada: two", b"ada: three")
                await show("boundaries", *[f"bob <- {line}" for line in heard])

                await bob.close()
                await ada.send(b"are you still there?")
                claim("bob" in peers, sorted(peers))
                await show("gone", f"the list: {', '.join(sorted(peers))}")
