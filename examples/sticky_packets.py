"""Sticky packets: TCP carries bytes, not messages. What is short runs together, what is long is split.

    python examples/sticky_packets.py

The same messages are sent without a framing, and with some of those that keep them apart.
"""

import jackfield

WORDS = [b"one", b"two", b"three"]
LONG = b"x" * 400_000


async def received(sent_with: str, messages: list[bytes], read_with: str) -> list[bytes]:
    """What arrives of the messages, over TCP, sent with one framing and read with the same or another."""
    async with (
        jackfield.listen("tcp://127.0.0.1:0", framing=read_with) as listener,
        jackfield.connect(listener.address, framing=sent_with) as sender,
        await listener.accept(timeout=2.0) as receiver,
    ):
        await sender.send_many(messages)
        sender.send_eof()
        return [message async for message in receiver]


async def main() -> None:
    chunks = await received("none", WORDS, "none")
    print(f"none: {len(WORDS)} messages sent, {len(chunks)} received: {chunks}")
    chunks = await received("none", [LONG], "none")
    print(f"none: 1 message of {len(LONG)} bytes sent, {len(chunks)} received")
    for framing in ("line", "u32", "netstring", "delimiter:END", "cobs", "slip"):
        chunks = await received(framing, WORDS, framing)
        print(f"{framing}: {len(WORDS)} messages sent, {len(chunks)} received: {chunks}")
    chunks = await received("u32", [LONG], "u32")
    print(f"u32: 1 message of {len(LONG)} bytes sent, {len(chunks)} received")


if __name__ == "__main__":
    jackfield.run(main)
