"""A hub whose loop is busy all the time, and native clients that publish in its durable room and hear it.

`durable_room.py hub DIRECTORY`: the hub of `jackfield serve`, with its state in the directory, in a loop in
which a callback of 0.2 ms is always ready beside. Prints its address.

`durable_room.py load ADDRESS --hub PID`: speaks frames over plain sockets, so that the client is not what is
measured. Each publisher has up to `WINDOW` messages that are not acknowledged; a warm-up, then `--seconds`.
Prints acknowledged messages, the time within which 99 % of those looked at were, how many were acknowledged
together, and in how much of the time the hub's loop was awake: it ran, or waited for a core.
"""

import argparse
import asyncio
import json
import selectors
import socket
import struct
import time
from pathlib import Path
from typing import Any

from common import WARM_UP, connected, ready

import jackfield
from jackfield.hub import serve
from jackfield.portable import ACK, CONTROL, CREDIT, DATA, MAGIC, SHARED, encode, framed, to_json

PUBLISHERS = 4
WINDOW = 2000  # messages
BATCH = 200  # messages of one write
ACKNOWLEDGE = 100  # frames of the hub between two of our acknowledgements
HEAD = struct.Struct(">IIBBH")  # of a frame in u32 framing: its length, stream, kind, flags, 0
BURN = 200e-6  # seconds of one callback of the hub's loop


def burn() -> None:
    """Keep the loop busy for a while, and be called again in its next turn."""
    until = time.perf_counter() + BURN
    while time.perf_counter() < until:
        pass
    asyncio.get_running_loop().call_soon(burn)


async def busy_hub(directory: Path) -> None:
    """A hub until it is killed."""
    async with serve("tcp://127.0.0.1:0?protocol=native", state=directory / "hub.db") as hub:
        ready(f"tcp://127.0.0.1:{hub.listeners[0][0].address.port}")
        burn()
        await asyncio.Event().wait()


def awake(pid: int) -> float:
    """Seconds in which a process's main thread, the one of the loop, ran or waited for a core."""
    ran, waited, _ = Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()
    return (int(ran) + int(waited)) / 1e9


class Publisher:
    """One client."""

    def __init__(self, address: str, name: str, body: bytes) -> None:
        self.socket: socket.socket = connected(address)
        self.socket.setblocking(True)
        self._buffer = b""
        self._body = body
        self._received = self._told = 0
        hello = {"type": "hello", "versions": [1], "name": name, "instance": "1", "agent": "bench"}
        self.socket.sendall(framed(MAGIC) + framed(encode(0, CONTROL, to_json({**hello, "services": []}))))
        self._answer("welcome")
        join = {"type": "join", "n": 1, "room": "bench", "create": {"durable": True}}
        self.socket.sendall(framed(encode(0, CONTROL, to_json(join))))
        joined = self._answer("ok")
        self._stream: int = joined["stream"]
        self._credit: int = joined["credit"]
        self.sent = self.acknowledged = int(joined["published"])
        self.groups = 0
        self.heard = 0
        self._times: list[tuple[int, float]] = []  # the last number of each batch, when it was sent
        self.waits: list[float] = []

    def _answer(self, kind: str) -> dict[str, Any]:
        while True:
            answer = None
            for frame_kind, _, payload in self._frames():
                self._received += frame_kind <= CREDIT
                message = json.loads(payload) if frame_kind == CONTROL else {"type": ""}
                if message["type"] == kind:
                    answer = message
                    self._received -= kind == "welcome"
                elif message["type"] == "error":
                    raise SystemExit(f"the hub says: {message}")
            if answer is not None:
                return answer

    def _frames(self) -> list[tuple[int, int, bytes]]:
        """Kind, flags and payload of the frames that came."""
        data = self.socket.recv(1 << 18)
        if not data:
            raise SystemExit("the hub has ended the connection")
        buffer = self._buffer + data
        found = []
        start, end = 0, len(buffer)
        while end - start >= HEAD.size:
            length, _, kind, flags, _ = HEAD.unpack_from(buffer, start)
            if end - start < 4 + length:
                break
            if length > len(MAGIC):
                found.append((kind, flags, buffer[start + HEAD.size : start + 4 + length]))
            start += 4 + length
        self._buffer = buffer[start:]
        return found

    def publish(self) -> None:
        """As much as window and credit allow."""
        cost = 8 + len(self._body) + 16
        while self.sent - self.acknowledged <= WINDOW - BATCH and self._credit >= BATCH * cost:
            head = HEAD.pack(16 + len(self._body), self._stream, DATA, 0, 0)
            first = self.sent + 1
            frames = [head + number.to_bytes(8, "big") + self._body for number in range(first, first + BATCH)]
            self.sent += BATCH
            self._credit -= BATCH * cost
            self._times.append((self.sent, time.perf_counter()))
            self.socket.sendall(b"".join(frames))

    def receive(self) -> None:
        """Take what came."""
        now = 0.0
        for kind, flags, payload in self._frames():
            if flags & SHARED:
                self.heard += 1
                continue
            self._received += kind <= CREDIT
            if kind == CREDIT:
                self._credit += int.from_bytes(payload, "big")
            elif kind == DATA:
                now = now or time.perf_counter()
                self.acknowledged = int.from_bytes(payload[:8], "big")
                self.groups += 1
                while self._times and self._times[0][0] <= self.acknowledged:
                    self.waits.append(now - self._times.pop(0)[1])
            elif kind == CONTROL and json.loads(payload)["type"] in ("error", "room_refused"):
                raise SystemExit(f"the hub says: {payload!r}")
        if self._received - self._told >= ACKNOWLEDGE:
            self._told = self._received
            self.socket.sendall(framed(encode(0, ACK, self._received.to_bytes(8, "big"))))


def load(words: argparse.Namespace) -> None:
    """Publish, hear and print."""
    publishers = [Publisher(words.address, f"p{number}", b"x" * words.size) for number in range(PUBLISHERS)]
    with selectors.DefaultSelector() as selector:
        for each in publishers:
            selector.register(each.socket, selectors.EVENT_READ, each)
        start = time.perf_counter() + WARM_UP
        is_warm = False
        count = groups = 0
        busy = 0.0
        while (now := time.perf_counter()) < start + words.seconds:
            if not is_warm and now >= start:
                is_warm = True
                start = now
                count = sum(each.acknowledged for each in publishers)
                groups = sum(each.groups for each in publishers)
                busy = awake(words.hub)
                for each in publishers:
                    each.waits.clear()
            for each in publishers:
                each.publish()
            for key, _ in selector.select(0.1):
                key.data.receive()
    seconds = time.perf_counter() - start
    busy = awake(words.hub) - busy
    count = sum(each.acknowledged for each in publishers) - count
    groups = sum(each.groups for each in publishers) - groups
    waits = sorted(wait for each in publishers for wait in each.waits)
    figures = {
        "count": count,
        "seconds": seconds,
        "p99": waits[int(len(waits) * 0.99)] if waits else 0.0,
        "group": count / max(1, groups) * PUBLISHERS,
        "loop": busy / seconds,
    }
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["hub", "load"])
    parser.add_argument("address", help="of the hub, for a load; a directory, for a hub")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--hub", type=int, help="the hub's process, for a load")
    parsed = parser.parse_args()
    if parsed.role == "hub":
        jackfield.run(lambda: busy_hub(Path(parsed.address)))
    else:
        load(parsed)
