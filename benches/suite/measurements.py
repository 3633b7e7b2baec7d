"""What is measured: name, title, unit, who takes part, and who is left out and why."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from suite import contenders as who
from suite.contenders import Contender
from suite.scenarios import (
    BULK,
    DATAGRAM,
    Costed,
    Setting,
    accept,
    addressed,
    datagrams,
    datagrams_in,
    datagrams_out,
    durable_room,
    durable_room_group,
    durable_room_loop,
    durable_room_p99,
    memory,
    receive,
    receive_bytes,
    request_reply,
    room,
    round_trip,
    send_each,
    send_gathered,
    stored,
    stored_group,
    stored_loop,
    stored_p99,
)
from suite.tls import (
    C_TLS,
    JACKFIELD_TLS,
    PLAIN_TLS,
    SYNC_TLS,
    Suite,
    TlsSetting,
    receive_sealed,
    send_sealed,
)

TRANSPORTS = {"tcp": "TCP", "unix": "Unix"}
MEMORY_CONNECTIONS, QUICK_MEMORY_CONNECTIONS = 10_000, 2_000
BURST = 128  # messages published at once
MEMBERS, FLIGHT = 1000, 100  # whom one client asks, and how many questions are under way
STORE_SECONDS = 5  # times longer than others: a disk is not as even as loopback


@dataclass(frozen=True)
class Measurement:
    name: str
    title: str
    unit: str  # as printed
    divisor: float  # figures are divided by this to get the unit
    run: Callable[[Contender, Setting], float | Costed]
    setting: Setting
    contenders: tuple[Contender, ...]
    lower_is_better: bool = False
    left_out: str = ""
    costed: bool = False  # `run` gives a `Costed`

    @property
    def better(self) -> str:
        return "lower is better" if self.lower_is_better else "higher is better"

    @property
    def by_cost(self) -> "Measurement | None":
        """The same runs by the processor time that they took: a table of its own, filled by the same runs."""
        if not self.costed:
            return None
        title = f"{self.title}: per second of its processor time"
        return replace(self, name=f"{self.name}-cpu", title=title, costed=False)


def all_measurements(base: Setting, *, quick: bool = False) -> list[Measurement]:
    """Every measurement, in the order in which they run and are reported."""
    return [
        *_requests(base),
        *_trips(base),
        *_blocking_trips(base),
        _workers(base),
        *_one_way(base),
        *_bulk(base),
        *_sealed(base),
        *_memory(base, QUICK_MEMORY_CONNECTIONS if quick else MEMORY_CONNECTIONS),
        *_accept(base),
        *_rooms(base),
        *_switched(base),
        *_udp(base),
        *_store(base),
    ]


def _left_out(transport: str, *reasons: str) -> str:
    unix = () if transport == "tcp" else ("picows: sets TCP options, fails on a Unix socket",)
    return "; ".join([*reasons, *unix])


def _requests(base: Setting) -> Iterable[Measurement]:
    for transport, named in TRANSPORTS.items():
        yield Measurement(
            f"request-{transport}",
            f"Request/reply, 64 B, 100 connections, {named}",
            "k/s",
            1e3,
            request_reply,
            replace(base, transport=transport),
            (who.C, who.JACKFIELD, *who.peers(transport)),
            left_out=_left_out(transport),
        )


def _places(base: Setting, transports: Mapping[str, str] = TRANSPORTS) -> Iterable[tuple[str, str, Setting]]:
    """Where the two ends of a round trip are: as part of a name, in words, and as a setting."""
    for name, cores in (("one-core", "both ends on one core"), ("two-cores", "two cores")):
        load_core = base.server_core if name == "one-core" else base.load_core
        for transport, named in transports.items():
            setting = replace(base, transport=transport, load_core=load_core)
            yield f"{name}-{transport}", f"{cores}, {named}", setting


def _trips(base: Setting) -> Iterable[Measurement]:
    for place, words, setting in _places(base):
        yield Measurement(
            f"trip-{place}",
            f"Round trip, 64 B, {words}",
            "us",
            1,
            round_trip,
            setting,
            (who.C, who.JACKFIELD, who.JACKFIELD_BUSY, *who.peers(setting.transport)),
            lower_is_better=True,
            left_out=_left_out(setting.transport),
        )


def _blocking_trips(base: Setting) -> Iterable[Measurement]:
    for place, words, setting in _places(base):
        yield Measurement(
            f"trip-blocking-{place}",
            f"Blocking round trip, 64 B, {words}",
            "us",
            1,
            round_trip,
            setting,
            (who.C_BLOCKING, who.SYNC, who.PLAIN),
            lower_is_better=True,
        )
    for place, words, setting in _places(base, {"tls": "TLS 1.3"}):
        yield Measurement(
            f"trip-blocking-{place}",
            f"Blocking round trip, 64 B, {words}",
            "us",
            1,
            round_trip,
            setting,
            (SYNC_TLS, PLAIN_TLS),
            lower_is_better=True,
        )


def _workers(base: Setting) -> Measurement:
    return Measurement(
        "workers-compute-tcp",
        "Request/reply where each costs some hundred microseconds of Python, 8 connections, TCP",
        "/s",
        1,
        request_reply,
        replace(base, connections=8),
        (who.WORKERS_1, who.WORKERS_2),
        left_out="the load shares the second core with the second worker",
    )


def _one_way(base: Setting) -> Iterable[Measurement]:
    for transport, named in TRANSPORTS.items():
        at = replace(base, transport=transport)
        senders = tuple(
            each for each in who.peers(transport) if each not in (who.STREAMS_MMAP, who.PROTOCOL_MMAP)
        )
        gatherers = tuple(each for each in senders if each is not who.PYZMQ)
        yield Measurement(
            f"send-each-{transport}",
            f"One way, 64 B, one awaited send per message, {named}",
            "k/s",
            1e3,
            send_each,
            at,
            (who.C, who.JACKFIELD, *senders, who.PYZMQ_BOTH),
            left_out=_left_out(transport, "mmap raised: a sender has no receive buffer"),
        )
        yield Measurement(
            f"send-gathered-{transport}",
            f"One way, 64 B, sender hands over 128 messages at once, {named}",
            "k/s",
            1e3,
            send_gathered,
            at,
            (who.C, who.JACKFIELD, *gatherers),
            left_out=_left_out(transport, "pyzmq: has no call for it, its thread gathers anyway"),
        )
        yield Measurement(
            f"receive-{transport}",
            f"One way, 64 B, receiving from a sender that gathers, {named}",
            "k/s",
            1e3,
            receive,
            at,
            (who.C, who.JACKFIELD, who.JACKFIELD_MANY, *who.peers(transport)),
            left_out=_left_out(transport),
        )


def _bulk(base: Setting) -> Iterable[Measurement]:
    variants = (
        ("bulk-tcp", "TCP, default congestion control", "tcp", "-"),
        ("bulk-tcp-cubic", "TCP, cubic", "tcp", "cubic"),
        ("bulk-unix", "Unix", "unix", "-"),
    )
    for name, named, transport, congestion in variants:
        yield Measurement(
            name,
            f"Receiving 1 MiB messages, {named}",
            "GB/s",
            1e9,
            receive_bytes,
            replace(base, transport=transport, congestion=congestion, size=BULK),
            (who.C, who.JACKFIELD, *who.peers(transport), who.BUFFERED, who.UVLOOP_BUFFERED),
            left_out=_left_out(transport),
        )


def _sealed(base: Setting) -> Iterable[Measurement]:
    """TLS in bulk; the larger messages with both suites."""
    variants: tuple[tuple[str, int, Suite], ...] = (
        ("64k", 64 << 10, "AES_256_GCM_SHA384"),
        ("1m", BULK, "AES_256_GCM_SHA384"),
        ("1m-aes128", BULK, "AES_128_GCM_SHA256"),
    )
    for way, named, run in (("send", "sending", send_sealed), ("receive", "receiving", receive_sealed)):
        for size_name, size, suite in variants:
            size_words = f"{size >> 10} KiB" if size < BULK else "1 MiB"
            yield Measurement(
                f"tls-bulk-{way}-{size_name}",
                f"TLS 1.3, {suite}, {named} {size_words} messages",
                "GB/s",
                1e9,
                run,
                TlsSetting(**{**vars(base), "transport": "tls", "size": size, "suite": suite}),
                (C_TLS, JACKFIELD_TLS, SYNC_TLS, PLAIN_TLS),
                costed=True,
                left_out="asyncio's TLS: it has no half-close, so it cannot tell its count behind the end",
            )


def _memory(base: Setting, connections: int) -> Iterable[Measurement]:
    yield Measurement(
        "memory-tcp",
        f"Server memory per idle connection, {connections:,} connections, TCP",
        "B",
        1,
        memory,
        replace(base, connections=connections),
        (
            who.C,
            who.JACKFIELD_GROUP,
            who.JACKFIELD_HUB,
            who.JACKFIELD_NATIVE_HUB,
            who.SWITCH,
            who.JACKFIELD,
            who.STREAMS,
            who.PROTOCOL,
            who.UVLOOP,
            who.PYZMQ,
            who.PICOWS,
        ),
        lower_is_better=True,
        left_out="mmap raised: no buffer is held while idle",
    )


def _accept(base: Setting) -> Iterable[Measurement]:
    for transport, named in TRANSPORTS.items():
        yield Measurement(
            f"accept-{transport}",
            f"Accepting and closing connections, {named}",
            "k/s",
            1e3,
            accept,
            replace(base, transport=transport),
            (who.C, who.JACKFIELD, who.STREAMS, who.PROTOCOL, who.UVLOOP, who.PYZMQ),
            left_out="picows: a WebSocket opens with an HTTP exchange, other work",
        )


def _rooms(base: Setting) -> Iterable[Measurement]:
    for transport, members, burst in (
        ("tcp", 100, 1),
        ("tcp", 100, BURST),
        ("tcp", 1000, 1),
        ("tcp", 1000, BURST),
        ("unix", 1000, 1),
        ("unix", 1000, BURST),
    ):
        way = "one in flight" if burst == 1 else f"bursts of {burst}"
        yield Measurement(
            f"room-{members}-{'single' if burst == 1 else 'burst'}-{transport}",
            f"Fan-out, 64 B, {members:,} members, {way}, {TRANSPORTS[transport]}",
            "k deliveries/s",
            1e3,
            room,
            replace(base, transport=transport, connections=members, burst=burst),
            (who.C, who.JACKFIELD, who.PROTOCOL, who.UVLOOP, who.PYZMQ),
            left_out="asyncio streams, picows: no group either, the loop over members is Protocol's",
        )


def _switched(base: Setting) -> Iterable[Measurement]:
    yield Measurement(
        "addressed",
        f"Addressed round trips, 64 B, one client to {MEMBERS:,} others, {FLIGHT} under way",
        "k/s",
        1e3,
        addressed,
        replace(base, connections=MEMBERS, burst=FLIGHT),
        (who.C_HUB, who.SWITCH, who.UVLOOP_HUB, who.UVLOOP_GATHERING_HUB, who.NATS),
        left_out="redis: it has no address of one client",
    )
    yield Measurement(
        "addressed-unix",
        f"Addressed round trips over Unix, 64 B, one client to {MEMBERS:,} others, {FLIGHT} under way",
        "k/s",
        1e3,
        addressed,
        replace(base, transport="unix", connections=MEMBERS, burst=FLIGHT),
        (who.C_HUB, who.SWITCH, who.UVLOOP_HUB, who.UVLOOP_GATHERING_HUB),
        left_out="nats-server: it has no Unix sockets",
    )
    yield Measurement(
        "room-native",
        f"Ephemeral room, 64 B, {MEMBERS:,} native members, bursts of {BURST}",
        "k deliveries/s",
        1e3,
        room,
        replace(base, connections=MEMBERS, burst=BURST),
        (who.SWITCH, who.NATS, who.REDIS),
    )


def _udp(base: Setting) -> Iterable[Measurement]:
    at = replace(base, transport="udp", size=DATAGRAM)
    c, plain = (who.C, who.C_RAW, who.C_MMSG), (who.DATAGRAM_PROTOCOL, who.UVLOOP_DATAGRAM, who.BLOCKING_UDP)
    left_out = "iperf3 and others: they show rates, not messages"
    for name, way, run, ours in (
        ("udp", "one way", datagrams, (who.JACKFIELD, who.JACKFIELD_ENDPOINT, who.JACKFIELD_CHANNELS)),
        ("udp-receive", "receiving from the C source", datagrams_in, (who.JACKFIELD,)),
        ("udp-send", "sending to the C sink", datagrams_out, (who.JACKFIELD, who.JACKFIELD_ENDPOINT)),
    ):
        title = f"UDP, {DATAGRAM:,} B, {way}, under 0.1 % lost"
        yield Measurement(name, title, "k/s", 1e3, run, at, (*c, *ours, *plain), left_out=left_out)


def _store(base: Setting) -> Iterable[Measurement]:
    at = replace(base, seconds=base.seconds * STORE_SECONDS)
    ways = (who.JACKFIELD_STORE, who.THREAD_STATEMENT, who.THREAD_ROWS)
    title = "Durable messages, 64 B, 64 senders, the loop busy"
    yield Measurement("store", f"{title}: acknowledged", "k/s", 1e3, stored, at, ways)
    yield Measurement(
        "store-p99",
        f"{title}: 99 % acknowledged within",
        "ms",
        1e-3,
        stored_p99,
        at,
        ways,
        lower_is_better=True,
    )
    yield Measurement("store-loop", f"{title}: callbacks of the loop", "per s", 1, stored_loop, at, ways)
    yield Measurement("store-group", f"{title}: on disk together", "messages", 1, stored_group, at, ways)
    hub, title = (who.DURABLE_LOAD,), "Durable room, 64 B, 4 native members publish and hear, the loop busy"
    yield Measurement("durable-room", f"{title}: acknowledged", "k/s", 1e3, durable_room, at, hub)
    yield Measurement(
        "durable-room-p99",
        f"{title}: 99 % acknowledged within",
        "ms",
        1e-3,
        durable_room_p99,
        at,
        hub,
        lower_is_better=True,
    )
    yield Measurement(
        "durable-room-group", f"{title}: acknowledged together", "messages", 1, durable_room_group, at, hub
    )
    yield Measurement(
        "durable-room-loop",
        f"{title}: the loop was awake",
        "% of the time",
        0.01,
        durable_room_loop,
        at,
        hub,
    )
