"""A transport of one's own, held against Jackfield's promises by `jackfield.testing.conformance`.

    python examples/third_party_transport.py

Two ends hand messages to each other through lists in this process: no socket, no framing, and 64 KiB under
way at most. It prints a line for each check. With pytest each check can be a test of its own:

    @pytest.mark.parametrize("check", battery(TRAITS), ids=str)
    def test_conformance(check):
        jackfield.run(lambda: check(opener))
"""

import asyncio
import collections
import contextlib

import jackfield
from jackfield.testing.conformance import Traits, check_transport

TRAITS = Traits()  # all of it: boundaries, reliable, an end, half-close, bounded, batches


class MemoryEnd:
    """One end. What the peer has sent lies in `inbox`; who waits looks again when something has changed."""

    limit = 65_536  # bytes that may wait for a receiver

    def __init__(self):
        self.peer = None
        self.inbox = collections.deque()
        self.changed = asyncio.Event()
        self.is_receiving = self.is_closed = self.has_ended = self.is_lost = False

    async def send(self, data, timeout=None):
        message = self.copied(data)
        await self.until(self.peer, lambda: self.has_room_for(message), timeout)
        self.peer.inbox.append(message)
        self.peer.tell()

    async def receive(self, timeout=None):
        if self.is_receiving:
            raise jackfield.AlreadyWaiting("another task receives here")
        self.is_receiving = True
        try:
            await self.until(self, self.has_something, timeout)
        finally:
            self.is_receiving = False
        # Taken in the step that returns it: who is cancelled before has taken nothing.
        message = self.inbox.popleft()
        self.tell()
        return message

    async def send_many(self, messages, timeout=None):
        for message in messages:
            await self.send(message, timeout)

    async def receive_many(self, limit, timeout=None):
        messages = [await self.receive(timeout)]
        while self.inbox and len(messages) < limit:
            messages.append(self.inbox.popleft())
        self.tell()
        return messages

    async def __aiter__(self):
        with contextlib.suppress(jackfield.EndOfStream):
            while True:
                yield await self.receive()

    def send_eof(self):
        self.peer.has_ended = True
        self.peer.tell()

    async def close(self, timeout=None):
        if not self.is_closed:
            self.send_eof()  # the peer sees it behind what lies in its inbox
            self.end()

    def abort(self):
        if not self.is_closed:
            self.peer.is_lost = True
            self.end()

    def end(self):
        self.is_closed = True
        self.tell()
        self.peer.tell()

    def copied(self, data):
        return bytes(data)  # its buffer may change once send has returned

    def has_room_for(self, message):
        if self.is_closed:
            raise jackfield.ChannelClosed("this end was closed")
        if self.is_lost or self.peer.is_closed:
            raise jackfield.ChannelLost("the other end is gone")
        waiting = self.peer.inbox
        return not waiting or sum(map(len, waiting)) + len(message) <= self.limit

    def has_something(self):
        if self.is_closed:
            raise jackfield.ChannelClosed("this end was closed")
        if not self.inbox and self.is_lost:
            raise jackfield.ChannelLost("the other end is gone")
        if not self.inbox and self.has_ended:
            raise jackfield.EndOfStream("the other end has ended")
        return self.inbox

    async def until(self, end, condition, timeout):
        """Wait until the condition holds, looking again when something has changed at `end`."""
        try:
            async with asyncio.timeout(timeout):
                while not condition():
                    await end.changed.wait()
        except TimeoutError:
            raise jackfield.TimedOut(f"nothing happened within {timeout:g} s") from None

    def tell(self):
        self.changed.set()
        self.changed = asyncio.Event()


@contextlib.asynccontextmanager
async def opener(kind=MemoryEnd):
    left, right = kind(), kind()
    left.peer, right.peer = right, left
    try:
        yield left, right
    finally:
        left.abort()
        right.abort()


async def main():
    report = await check_transport(opener, TRAITS)
    print(report)
    report.raise_for_failures()


if __name__ == "__main__":
    jackfield.run(main)
