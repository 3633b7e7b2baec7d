"""Who takes part, and the command line of each role.

A contender is a family of programs that play roles: `echo`, `ping`, `receive`, `bulk`, `send-each`,
`send-gathered`, `accept`, `room`, `memory`. All of them are loaded by the same C programs; `wire` says
which framing those speak with it.
"""

import shutil
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from suite.build import BUILD, HERE
from suite.processes import ContenderFailed

PROGRAMS = HERE / "contenders"
Command = Callable[[str, str, int, float], list[str]]  # role, address, payload size, seconds


@dataclass(frozen=True)
class Contender:
    name: str
    label: str
    command: Command
    wire: str = "u32"
    own_sink: bool = False  # is measured by its own `sink` role, not by the C one
    is_hub: bool = False  # takes a control path, answers no message, and its port is found by looking
    is_foreign: bool = False  # takes no address, and its port is found by looking
    publishes_apart: bool = False  # who subscribes cannot publish on the same connection

    @property
    def is_reference(self) -> bool:
        return self.name == "c"

    @property
    def is_ours(self) -> bool:
        return self.name.startswith("jackfield")


def _c(role: str, address: str, size: int, seconds: float) -> list[str]:
    words = {
        "echo": ["echo", address],
        "memory": ["echo", address],
        "ping": ["load", address, "u32", "1", str(size), str(seconds)],
        "receive": ["receive", address, "count"],
        "bulk": ["receive", address, "bulk"],
        "send-each": ["send", address, "each", str(size)],
        "send-gathered": ["send", address, "gathered", str(size)],
        "accept": ["accept", address],
        "room": ["room", address],
        "addressed": ["hub", address],
        "udp-sink": ["datagrams", "sink", address, "messages"],
        "udp-source": ["datagrams", "source", address, "messages", str(size), str(seconds)],
    }[role]
    return [str(BUILD / words[0]), *words[1:]]


def _c_datagrams(manner: str) -> Command:
    """The C programs for UDP that do less than `_c`: see c/datagrams.c."""

    def command(role: str, address: str, size: int, seconds: float) -> list[str]:
        return [manner if word == "messages" else word for word in _c(role, address, size, seconds)]

    return command


def _c_blocking(role: str, address: str, size: int, seconds: float) -> list[str]:
    measure = [str(size), str(seconds)] if role == "ping" else []
    return [str(BUILD / "blocking"), role, address, *measure]


def python_program(program: str, *flags: str, roles: dict[str, str] | None = None) -> Command:
    """A program that takes the role as its first word; `roles` renames some of them."""
    renamed = {"memory": "echo"} | (roles or {})

    def command(role: str, address: str, size: int, seconds: float) -> list[str]:
        measure = ["--size", str(size), "--seconds", str(seconds)]
        return [sys.executable, str(PROGRAMS / program), renamed.get(role, role), address, *measure, *flags]

    return command


def _jackfield(*flags: str, **roles: str) -> Command:
    """Jackfield has one small file per role."""
    files = {"receive-many": "receive", "bulk": "receive", "send-each": "send", "send-gathered": "send"}
    files |= dict.fromkeys(("udp-sink", "udp-source", "endpoint-source"), "datagrams")
    files |= dict.fromkeys(("channel-sink", "channel-source"), "datagrams")

    def command(role: str, address: str, size: int, seconds: float) -> list[str]:
        role = roles.get(role, "echo" if role == "memory" else role)
        return python_program(f"jackfield_{files.get(role, role)}.py", *flags)(role, address, size, seconds)

    return command


def _hub(role: str, address: str, size: int, seconds: float) -> list[str]:
    return [str(Path(sys.executable).parent / "jackfield"), "serve", f"{address}?max_clients=20000"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _server(name: str, *flags: str) -> Command:
    """A server of others, found on PATH or where `go install` puts it."""

    def command(role: str, address: str, size: int, seconds: float) -> list[str]:
        beside = Path.home() / "go" / "bin" / name
        program = shutil.which(name) or (str(beside) if beside.exists() else "")
        if not program:
            raise ContenderFailed(f"{name} is missing: {INSTALL[name]}")
        return [program, *(flag.replace("PORT", str(_free_port())) for flag in flags)]

    return command


INSTALL = {
    "nats-server": "go install github.com/nats-io/nats-server/v2@latest",
    "redis-server": "apt install redis-server",
}

MMAP = "--raise-mmap-threshold"
C = Contender("c", "C", _c)
JACKFIELD = Contender("jackfield", "jackfield", _jackfield())
JACKFIELD_BUSY = Contender("jackfield-busy", "jackfield busy_poll=100us", _jackfield("--busy-poll", "100us"))
JACKFIELD_MANY = Contender("jackfield-many", "jackfield receive_many", _jackfield(receive="receive-many"))
JACKFIELD_GROUP = Contender("jackfield-group", "jackfield, in a group", _jackfield(memory="group"))
JACKFIELD_HUB = Contender("jackfield-hub", "jackfield serve (hub)", _hub, is_hub=True)
JACKFIELD_NATIVE_HUB = Contender(
    "jackfield-hub-native", "jackfield serve (hub), native clients", _hub, wire="native", is_hub=True
)
STREAMS = Contender("streams", "asyncio streams", python_program("streams.py"))
STREAMS_MMAP = Contender("streams-mmap", "asyncio streams, mmap raised", python_program("streams.py", MMAP))
PROTOCOL = Contender("protocol", "asyncio Protocol", python_program("protocol.py"))
PROTOCOL_MMAP = Contender(
    "protocol-mmap", "asyncio Protocol, mmap raised", python_program("protocol.py", MMAP)
)
UVLOOP = Contender("uvloop", "uvloop Protocol", python_program("protocol.py", "--uvloop"))
PYZMQ = Contender("pyzmq", "pyzmq", python_program("zmq_sockets.py"), wire="zmtp")
PICOWS = Contender("picows", "picows on uvloop", python_program("picows_frames.py"), wire="websocket")

# Clients that are known to a server, and reached through it.
SWITCH = Contender(
    "jackfield-switch", "jackfield's switch", python_program("jackfield_switch.py"), wire="native"
)
C_HUB = replace(C, label="C hub", wire="hub")
UVLOOP_HUB = Contender("uvloop-hub", "uvloop hub", python_program("uvloop_hub.py", "--uvloop"), wire="hub")
UVLOOP_GATHERING_HUB = Contender(
    "uvloop-gathering-hub",
    "uvloop hub, gathering",
    python_program("uvloop_hub.py", "--uvloop", "--gather"),
    wire="hub",
)
NATS = Contender(
    "nats",
    "nats-server",
    _server("nats-server", "-a", "127.0.0.1", "-p", "PORT"),
    wire="nats",
    is_foreign=True,
)
REDIS = Contender(
    "redis",
    "redis",
    _server("redis-server", "--bind", "127.0.0.1", "--port", "PORT", "--save", "", "--appendonly", "no",
            "--maxclients", "20000", "--client-output-buffer-limit", "pubsub 0 0 0"),
    wire="redis",
    is_foreign=True,
    publishes_apart=True,
)  # fmt: skip

# Variants that only one measurement needs.
_BUFFERED = {"bulk": "bulk-buffered"}
BUFFERED = Contender("buffered", "asyncio BufferedProtocol", python_program("protocol.py", roles=_BUFFERED))
UVLOOP_BUFFERED = Contender(
    "uvloop-buffered", "uvloop BufferedProtocol", python_program("protocol.py", "--uvloop", roles=_BUFFERED)
)
C_RAW = Contender("c-raw", "C, nobody looks at the datagrams", _c_datagrams("raw"))
C_MMSG = Contender("c-mmsg", "C, sendmmsg and recvmmsg", _c_datagrams("mmsg"))
JACKFIELD_ENDPOINT = Contender(
    "jackfield-endpoint", "jackfield, endpoints alone", _jackfield(**{"udp-source": "endpoint-source"})
)
_CHANNELS = {"udp-sink": "channel-sink", "udp-source": "channel-source"}
JACKFIELD_CHANNELS = Contender("jackfield-channels", "jackfield, channels alone", _jackfield(**_CHANNELS))
DATAGRAM_PROTOCOL = Contender(
    "datagram-protocol", "asyncio DatagramProtocol", python_program("plain_datagrams.py")
)
UVLOOP_DATAGRAM = Contender(
    "uvloop-datagram", "uvloop DatagramProtocol", python_program("plain_datagrams.py", "--uvloop")
)
_BLOCKING = {"udp-sink": "blocking-udp-sink", "udp-source": "blocking-udp-source"}
BLOCKING_UDP = Contender(
    "blocking-udp", "blocking Python sockets", python_program("plain_datagrams.py", roles=_BLOCKING)
)
PYZMQ_BOTH = replace(PYZMQ, name="pyzmq-both", label="pyzmq at both ends", own_sink=True)


# Messages for a disk, beside a loop that is busy all the time.
JACKFIELD_STORE = Contender("jackfield", "jackfield's store", python_program("stores.py"))
DURABLE_LOAD = Contender("jackfield-hub", "jackfield serve (hub)", python_program("durable_room.py"))
THREAD_STATEMENT, THREAD_ROWS = (
    Contender(f"thread-{how}", f"sqlite3 in a thread, {words}", python_program("stores.py", "--thread", how))
    for how, words in (("statement", "grouped"), ("rows", "rows"))
)


# One connection at a time, in calls that block.
C_BLOCKING = Contender("c", "C, blocking", _c_blocking)
SYNC = Contender("jackfield-sync", "jackfield.sync", python_program("jackfield_sync.py"))
PLAIN = Contender("plain", "Python's sockets", python_program("plain_sockets.py"))
WORKERS_1, WORKERS_2 = (
    Contender(
        f"jackfield-workers-{count}",
        f"Processes({count})",
        python_program("jackfield_workers.py", "--workers", str(count)),
    )
    for count in (1, 2)
)


def peers(transport: str) -> tuple[Contender, ...]:
    """Every Python peer, but picows over TCP alone: it sets TCP options and fails on a Unix socket."""
    both = (STREAMS, STREAMS_MMAP, PROTOCOL, PROTOCOL_MMAP, UVLOOP, PYZMQ)
    return (*both, PICOWS) if transport == "tcp" else both
