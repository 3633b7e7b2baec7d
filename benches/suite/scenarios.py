"""One run of one contender: start its server, load it with the client, return one figure.

Each function takes the contender and the settings of the run; it returns the figure in the unit of its
measurement. The server (or for a round trip both ends) is the contender, the load is always the C program.
"""

import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from suite.build import BUILD
from suite.contenders import C, Command, Contender
from suite.processes import READY_SECONDS, ContenderFailed, Program, Run

BULK = 1 << 20  # bytes per large message
SMALL = 64  # bytes per message everywhere else
SLACK = 10.0  # seconds that a client may take beyond what it measures
HOLD_SECONDS = 60.0
STORE_SLACK = 30.0  # a slow writer is given time to be measured
DATAGRAM = 1200  # bytes: what fits through nearly every path, with a tunnel or two on the way
MOST_LOST = 0.001
WARMING_CONNECTIONS = 20
SETTLED_READINGS, SETTLING_PAUSE, SETTLING_LIMIT = 3, 0.05, 3.0


@dataclass(frozen=True)
class Setting:
    """Where and how a run takes place; one per measurement."""

    seconds: float
    server_core: int
    load_core: int
    transport: str = "tcp"
    size: int = SMALL
    congestion: str = "-"  # the system's default
    connections: int = 100
    burst: int = 1


@dataclass(frozen=True)
class Costed:
    """A rate, and the same amount for each second of processor time that the contender took for it.

    The other end works as much as the contender, and whichever is slower sets the rate; the cost is its own.
    """

    rate: float
    per_cpu_second: float


@contextmanager
def serving(contender: Contender, role: str, at: Setting) -> Iterator[tuple[Run, Program, list[str]]]:
    """The contender's server in `role`, on its core, at a fresh address."""
    with tempfile.TemporaryDirectory(prefix="jfbench-") as directory, Run() as run:
        address = f"unix://{directory}/s" if at.transport == "unix" else f"{at.transport}://127.0.0.1:0"
        command = contender.command(role, address, at.size, at.seconds)
        if contender.is_hub:
            command += ["--control", f"{directory}/control"]
        server = run.start(command, at.server_core)
        if contender.is_hub or contender.is_foreign:
            addresses = [f"tcp://127.0.0.1:{listening_port(server)}"] * (1 + contender.publishes_apart)
        else:
            addresses = server.addresses()
        yield run, server, addresses


def listening_port(program: Program) -> int:
    """The TCP port that a program listens on, for one that does not announce it in our words."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and program.process.poll() is None:
        inodes = set()
        for descriptor in Path(f"/proc/{program.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                found = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(descriptor))
                inodes.add(found[1] if found else "")
        for line in Path(f"/proc/{program.pid}/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:  # LISTEN
                return int(fields[1].rpartition(":")[2], 16)
        time.sleep(0.02)
    raise program.failure("does not listen")


def _rate(result: dict[str, float]) -> float:
    if result["count"] <= 0:
        raise ContenderFailed("nothing was counted")
    return result["count"] / result["seconds"]


def _client(program: str, *words: object) -> list[str]:
    return [str(BUILD / program), *map(str, words)]


def request_reply(contender: Contender, at: Setting) -> float:
    """Requests per second over `connections` connections, one in flight on each."""
    with serving(contender, "echo", at) as (run, server, [address]):
        words = _client("load", address, contender.wire, at.connections, at.size, at.seconds)
        return _rate(run.measure(server, words, at.load_core, at.seconds + SLACK))


def round_trip(contender: Contender, at: Setting) -> float:
    """Microseconds per round trip, the contender at both ends."""
    with serving(contender, "echo", at) as (run, server, [address]):
        words = contender.command("ping", address, at.size, at.seconds)
        return 1e6 / _rate(run.measure(server, words, at.load_core, at.seconds + SLACK))


def receive(contender: Contender, at: Setting) -> float:
    """Messages per second that the contender takes from a sender that gathers."""
    role = "bulk" if at.size == BULK else "receive"
    with serving(contender, role, at) as (run, server, [address]):
        words = _client("source", address, contender.wire, at.size, at.seconds, at.congestion)
        return _rate(run.measure(server, words, at.load_core, at.seconds + SLACK))


def receive_bytes(contender: Contender, at: Setting) -> float:
    return receive(contender, at) * at.size


def _send(contender: Contender, role: str, at: Setting) -> float:
    with serving(contender, role, at) as (run, server, [address]):
        words = _client("sink", address, contender.wire, at.size, at.seconds)
        if contender.own_sink:
            words = contender.command("sink", address, at.size, at.seconds)
        return _rate(run.measure(server, words, at.load_core, at.seconds + SLACK))


def send_each(contender: Contender, at: Setting) -> float:
    """Messages per second, one send call each."""
    return _send(contender, "send-each", at)


def send_gathered(contender: Contender, at: Setting) -> float:
    """Messages per second, handed over in batches."""
    return _send(contender, "send-gathered", at)


def accept(contender: Contender, at: Setting) -> float:
    """Connections accepted and closed per second."""
    with serving(contender, "accept", at) as (run, server, [address]):
        words = _client("connect", address, at.seconds)
        return _rate(run.measure(server, words, at.load_core, at.seconds + SLACK))


def room(contender: Contender, at: Setting) -> float:
    """Deliveries per second to `connections` members with `burst` messages in flight."""
    with serving(contender, "room", at) as (run, server, addresses):
        address, *publish = addresses
        words = _client("members", address, contender.wire, at.connections, at.size, at.burst, at.seconds)
        return _rate(run.measure(server, [*words, *publish], at.load_core, at.seconds + SLACK))


def addressed(contender: Contender, at: Setting) -> float:
    """Round trips per second from one client to `connections` others, with `burst` under way."""
    with serving(contender, "addressed", at) as (run, server, [address]):
        words = _client("addressed", address, contender.wire, at.connections, at.size, at.burst, at.seconds)
        return _rate(run.measure(server, words, at.load_core, at.seconds + SLACK))


def datagrams(contender: Contender, at: Setting) -> float:
    """Datagrams per second one way, the contender at both ends; more than a thousandth lost is a failure."""
    return _datagrams(contender, contender.command, at)


def datagrams_in(contender: Contender, at: Setting) -> float:
    """The same, from the C source."""
    return _datagrams(contender, C.command, at)


def datagrams_out(contender: Contender, at: Setting) -> float:
    """The same, into the C sink."""
    return _datagrams(C, contender.command, at)


def _datagrams(sink: Contender, source: Command, at: Setting) -> float:
    with serving(sink, "udp-sink", at) as (run, server, [address]):
        words = source("udp-source", address, at.size, at.seconds)
        result = run.measure(server, words, at.load_core, at.seconds + SLACK)
        lost = result["lost"] / max(1.0, result["count"] + result["lost"])
        if lost > MOST_LOST:
            raise ContenderFailed(f"{lost:.2%} of the datagrams were lost")
        return _rate(result)


def stored(contender: Contender, at: Setting) -> float:
    """Messages per second that were acknowledged as on disk, by a loop that is busy all the time."""
    return _rate(_stored(contender, at))


def stored_p99(contender: Contender, at: Setting) -> float:
    """Seconds in which 99 % of the batches were acknowledged."""
    return _stored(contender, at)["p99"]


def stored_loop(contender: Contender, at: Setting) -> float:
    """Callbacks of 0.2 ms that the loop did beside, in a second."""
    return _stored(contender, at)["turns"]


def stored_group(contender: Contender, at: Setting) -> float:
    """Messages that went to disk together, on average."""
    return _stored(contender, at)["group"]


def _stored(contender: Contender, at: Setting) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="jfbench-") as directory, Run() as run:
        words = contender.command("store", f"{directory}/rooms.db", at.size, at.seconds)
        program = run.start(words, at.server_core, at.load_core)
        return program.result(at.seconds + STORE_SLACK, against=program)


def durable_room(contender: Contender, at: Setting) -> float:
    """Messages per second that a hub acknowledged to the native members of a durable room."""
    return _rate(_durable_room(contender, at))


def durable_room_p99(contender: Contender, at: Setting) -> float:
    """Seconds in which 99 % of them were acknowledged."""
    return _durable_room(contender, at)["p99"]


def durable_room_group(contender: Contender, at: Setting) -> float:
    """Messages that were acknowledged together, on average."""
    return _durable_room(contender, at)["group"]


def durable_room_loop(contender: Contender, at: Setting) -> float:
    """In how much of the time the hub's loop ran or waited for a core."""
    return _durable_room(contender, at)["loop"]


def _durable_room(contender: Contender, at: Setting) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="jfbench-") as directory, Run() as run:
        hub = contender.command("hub", directory, at.size, at.seconds)
        server = run.start(hub, at.server_core, at.load_core)  # the process that writes is on the other core
        [address] = server.addresses()
        words = [*contender.command("load", address, at.size, at.seconds), "--hub", str(server.pid)]
        return run.measure(server, words, at.load_core, at.seconds + STORE_SLACK)


def memory(contender: Contender, at: Setting) -> float:
    """Bytes of the server's resident memory per idle connection."""
    with serving(contender, "memory", at) as (run, server, [address]):
        # A native client waits for its welcome.
        pacing = "unpaced" if contender.is_hub or contender.wire == "native" else "paced"
        warm = run.start(_client("hold", address, contender.wire, WARMING_CONNECTIONS, pacing), at.load_core)
        warm.read_line(HOLD_SECONDS)
        warm.end()
        before = _settled_memory(server)
        held = run.start(_client("hold", address, contender.wire, at.connections, pacing), at.load_core)
        try:
            held.read_line(HOLD_SECONDS, against=server)
        except ContenderFailed as error:
            raise ContenderFailed(f"{error}; {server.name}{server.last_words()}") from None
        after = _settled_memory(server)
        open_descriptors = len(os.listdir(f"/proc/{server.pid}/fd"))
        if open_descriptors < at.connections:
            raise ContenderFailed(f"{server.name} has {open_descriptors} descriptors, not {at.connections}")
        return (after - before) / at.connections


def _settled_memory(program: Program) -> int:
    """Proportional set size in bytes, once it has stopped changing."""
    readings: list[int] = []
    deadline = time.monotonic() + SETTLING_LIMIT
    while time.monotonic() < deadline and (len(readings) < SETTLED_READINGS or len(set(readings[-3:])) > 1):
        if program.process.poll() is not None:
            raise program.failure("ended early")
        text = Path(f"/proc/{program.pid}/smaps_rollup").read_text()
        found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
        readings.append(int(found[1]) * 1024 if found else 0)
        time.sleep(SETTLING_PAUSE)
    return readings[-1]
