"""Thirty simulated devices: TCP, UDP and serial lines. Each writes down what it was told by mistake, too.

    python tests/cli/thirty_devices.py DIRECTORY TCP_PORT UDP_PORT

dev01 to dev14 speak TCP, and so does a twin that claims to be dev05; dev15 to dev23 speak UDP; dev24 to dev29
are serial devices, whose lines are DIRECTORY/dev24 and so on. Who calls says `id=dev07` first; who is asked
`version?` answers; everything else must begin with `dev07: ` or `all: `, and is kept.

Commands come on standard input, and each is answered by one line of JSON:

    again     everyone leaves, comes back from another port, and serial devices are plugged in anew
    twin      the twin comes, or comes back
    report    what each device heard, what of that was for somebody else, how often it was asked
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import tty
from pathlib import Path

TCP = [f"dev{number:02}" for number in range(1, 15)]
UDP = [f"dev{number:02}" for number in range(15, 24)]
SERIAL = [f"dev{number:02}" for number in range(24, 30)]
TWIN = "dev05"
OLD = ("dev11", "dev20")  # have another version than the rest
GONE = "dev14"  # hangs up when it is asked for its version


class Device:
    """What all of them do with a message; how it travels is the business of the kinds."""

    def __init__(self, name: str, own: str | None = None) -> None:
        self.name = name
        self.own = own or name
        self.heard: list[str] = []
        self.wrong: list[str] = []
        self.asked = 0
        self._begun = b""

    async def come(self) -> str:
        """Open the line; what tells this connection from the one before."""
        raise NotImplementedError

    def leave(self) -> None:
        raise NotImplementedError

    def send(self, data: bytes) -> None:
        raise NotImplementedError

    def received(self, data: bytes) -> None:
        """Bytes of a stream."""
        *lines, self._begun = (self._begun + data).split(b"\n")
        for line in lines:
            self.told(line.decode())

    def told(self, text: str) -> None:
        """A whole message."""
        if text != "version?":
            for_whom, _, what = text.partition(": ")
            (self.heard if for_whom in (self.own, "all") else self.wrong).append(what or text)
            return
        self.asked += 1
        if self.name == GONE:
            self.leave()
        else:
            self.send(b"version 1.3\n" if self.name in OLD else b"version 1.4\n")


class TcpDevice(Device, asyncio.Protocol):
    def __init__(self, name: str, port: int, own: str | None = None) -> None:
        super().__init__(name, own)
        self.port = port
        self.transport: asyncio.Transport | None = None

    async def come(self) -> str:
        self._begun = b""
        opened, _ = await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", self.port)
        self.transport = opened
        self.send(f"id={self.name}\n".encode())
        return "{}:{}".format(*opened.get_extra_info("sockname"))

    def leave(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def send(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        self.received(data)


class UdpDevice(Device, asyncio.DatagramProtocol):
    """Nobody sees it leave. It keeps its old port until it has a new one, so that nobody else gets it."""

    def __init__(self, name: str, port: int) -> None:
        super().__init__(name)
        self.port = port
        self.transport: asyncio.DatagramTransport | None = None

    async def come(self) -> str:
        loop = asyncio.get_running_loop()
        opened, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", 0), remote_addr=("127.0.0.1", self.port)
        )
        if self.transport is not None:
            self.transport.abort()
        self.transport = opened
        self.send(f"id={self.name}\n".encode())
        return "{}:{}".format(*opened.get_extra_info("sockname"))

    def leave(self) -> None:
        pass

    def send(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.sendto(data)

    def datagram_received(self, data: bytes, _: object) -> None:
        self.told(data.decode().rstrip("\n"))


class SerialDevice(Device):
    """The device's end of a pseudo-terminal; the other end has a name that stays."""

    def __init__(self, name: str, directory: Path) -> None:
        super().__init__(name)
        self.path = directory / name
        self.fd = -1

    async def come(self) -> str:
        self._begun = b""
        self.fd, other = os.openpty()
        tty.setraw(other)
        line = os.ttyname(other)
        fresh = self.path.with_suffix(".new")
        fresh.symlink_to(line)
        fresh.replace(self.path)
        os.set_blocking(self.fd, False)
        asyncio.get_running_loop().add_reader(self.fd, self.readable)
        # Kept open until the hub has the line: without it, a master whose line nobody has is hung up.
        self.other = other
        return line

    def leave(self) -> None:
        asyncio.get_running_loop().remove_reader(self.fd)
        os.close(self.fd)
        os.close(self.other)

    def send(self, data: bytes) -> None:
        os.write(self.fd, data)

    def readable(self) -> None:
        with contextlib.suppress(BlockingIOError, OSError):
            self.received(os.read(self.fd, 4096))


async def main() -> None:
    directory, tcp_port, udp_port = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    devices: list[Device] = [TcpDevice(name, tcp_port) for name in TCP]
    devices += [UdpDevice(name, udp_port) for name in UDP]
    devices += [SerialDevice(name, directory) for name in SERIAL]
    twin = TcpDevice(TWIN, tcp_port, own=f"{TWIN}-twin")
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(commands), sys.stdin
    )

    def say(what: object) -> None:
        print(json.dumps(what), flush=True)

    say({device.name: await device.come() for device in devices})
    while command := (await commands.readline()).decode().strip():
        if command == "again":
            twin.leave()
            for device in devices:
                device.leave()
            say({device.name: await device.come() for device in devices})
        elif command == "twin":
            say({twin.own: await twin.come()})
        elif command == "report":
            everyone = [*devices, twin]
            say({one.own: {"heard": one.heard, "wrong": one.wrong, "asked": one.asked} for one in everyone})


if __name__ == "__main__":
    asyncio.run(main())
