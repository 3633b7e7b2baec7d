"""Nicknames over UDP: one socket, and a channel for each peer that sends to it.

    python examples/udp_nicknames.py udp://127.0.0.1:7001
    nc -u 127.0.0.1 7001      # the first line is your nickname, the next ones go to everyone else

UDP has no connections, so a peer is whoever sends from one address and port, and is gone after half a minute
of silence. Datagrams may be lost on the way; those that arrive are whole.
"""

import contextlib
import sys

import jackfield

peers: dict[str, jackfield.Channel] = {}


def tell(text: str, *, but: str = "") -> None:
    """Send to everyone; over UDP nobody waits for anybody."""
    for name, channel in peers.items():
        if name != but:
            with contextlib.suppress(jackfield.JackfieldError):
                channel.send_nowait(text.encode() + b"\n")


async def serve_peer(channel: jackfield.Channel) -> None:
    name = (await channel.receive()).decode(errors="replace").strip()
    if not name or name in peers:
        await channel.send(b"that nickname is taken\n")
        return
    peers[name] = channel
    print(f"{name} is {channel.peer.endpoint}", flush=True)
    tell(f"* {name} is here")
    try:
        async for message in channel:
            tell(f"{name}: {message.decode(errors='replace').rstrip()}", but=name)
    finally:
        del peers[name]
        tell(f"* {name} has gone quiet")


async def main() -> None:
    address = sys.argv[1] if len(sys.argv) > 1 else "udp://127.0.0.1:0"
    async with jackfield.listen(address, idle_timeout="30s") as listener:
        print("listening on", listener.address, flush=True)
        await listener.serve(serve_peer)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        jackfield.run(main)
