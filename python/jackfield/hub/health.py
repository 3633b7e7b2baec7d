"""How the hub is: what passed through it, how fast, what it takes of the machine, how late its loop is.

Owns the counts of clients that have left, which the engine forgets, and carries them over a reload.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import time
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any, Final

import jackfield

from .client import Client
from .metrics import Metric
from .part import Part
from .roster import version
from .web_door import WebDoor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .server import Hub

LOOKED_EVERY: Final = 1.0  # seconds between two looks at the clock
SUMMED_EVERY: Final = 5.0  # seconds between two sums, of which the rates are made
AT_A_TIME: Final = 500  # clients that are summed before others have their turn


@dataclass(slots=True)
class Totals:
    """What passed through clients."""

    bytes_in: int = 0
    bytes_out: int = 0
    messages_in: int = 0
    messages_out: int = 0
    dropped: int = 0
    queued: int = 0

    def add(self, hub: Hub, client: Client) -> None:
        """Count one client in."""
        with contextlib.suppress(jackfield.ChannelClosed, KeyError):
            found = hub.group.statistics(client.member)
            self.bytes_in += found.bytes_in
            self.bytes_out += found.bytes_out
            self.messages_in += found.messages_in
            self.messages_out += found.messages_out
            self.dropped += found.dropped_messages
            self.queued += found.queued_bytes


class Health(Part):
    """The figures of one hub."""

    def __init__(self) -> None:
        self._gone = Totals()
        self._last = (0.0, Totals())
        self._tasks: list[asyncio.Task[None]] = []
        self.lag = 0.0  # seconds by which the loop was late when it was last looked at
        self.rates: dict[str, float] = {}  # per second, of the last few seconds

    async def open(self, hub: Hub) -> None:
        self._hub = hub
        self._tasks = [asyncio.create_task(self._watch()), asyncio.create_task(self._rate())]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def hand_over(self) -> list[int]:
        return list(astuple(self._gone))

    async def resume(self, now: float, clients: Sequence[Client], handed: Any) -> None:
        self._gone = Totals(*handed) if handed else self._gone

    def went(self, now: float, client: Client, reason: str) -> None:
        self._gone.add(self._hub, client)
        self._gone.queued = 0

    async def totals(self) -> Totals:
        """Of all clients that are there and were there; what is queued, of those that are there."""
        found = Totals(*astuple(self._gone))
        for count, client in enumerate(self._hub.clients()):
            found.add(self._hub, client)
            if count % AT_A_TIME == AT_A_TIME - 1:
                await asyncio.sleep(0)
        return found

    async def _watch(self) -> None:
        while True:
            due = time.monotonic() + LOOKED_EVERY
            await asyncio.sleep(LOOKED_EVERY)
            self.lag = max(0.0, time.monotonic() - due)

    async def _rate(self) -> None:
        while True:
            before, then = self._last[1], self._last[0]
            now, found = time.monotonic(), await self.totals()
            if then:
                seconds = now - then
                self.rates = {
                    name: round(max(0, getattr(found, name) - getattr(before, name)) / seconds, 1)
                    for name in ("bytes_in", "bytes_out", "messages_in", "messages_out")
                }
            self._last = (now, found)
            took = time.monotonic() - now
            await asyncio.sleep(max(SUMMED_EVERY, 50 * took))  # of very many clients more seldom


def resident_bytes() -> int:
    """Memory of this process in RAM (proc_pid_statm(5)); the most so far, where no descriptor is free."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def descriptors() -> tuple[int, int]:
    """How many are open, and how many may be."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    try:
        return len(os.listdir("/proc/self/fd")) - 1, most
    except OSError:  # counting them takes one, and none is free
        return most, most


async def measure(hub: Hub, health: Health) -> list[Metric]:
    """Everything as metrics. No label is of a client: there may be tens of thousands."""
    totals = await health.totals()
    used, limit = descriptors()
    clients = Metric("jackfield_clients", "gauge", "Clients that are connected.")
    refused = Metric("jackfield_listener_refused_total", "counter", "Newcomers that the engine turned away.")
    shaken = Metric(
        "jackfield_listener_handshakes_failed_total", "counter", "TLS handshakes of newcomers that failed."
    )
    dropped = Metric(
        "jackfield_listener_dropped_datagrams_total", "counter", "Datagrams that the kernel had no room for."
    )
    for listener, _ in hub.listeners:
        address = str(listener.address.without_options())
        found = listener.statistics()
        clients.add(found.clients, listener=address)
        refused.add(found.refused, listener=address)
        if listener.protocol == "tls":
            shaken.add(found.handshakes_failed, listener=address)
        dropped.add(found.dropped_by_kernel, listener=address)

    def counter(name: str, meaning: str, value: float) -> Metric:
        return Metric(f"jackfield_{name}_total", "counter", meaning).add(value)

    def gauge(name: str, meaning: str, value: float) -> Metric:
        return Metric(name, "gauge", meaning).add(value)

    web = hub.part(WebDoor)
    strangers = 0 if web is None else web.figures()["refused"]
    used_cpu = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    return [
        Metric("jackfield_build_info", "gauge", "The version that runs.").add(1, version=version()),
        gauge("jackfield_start_time_seconds", "When the hub began, reloads not counted.", hub.started),
        clients,
        gauge("jackfield_clients_limit", "Clients that the hub takes at most.", hub.admission.max_clients),
        counter("clients_joined", "Clients that have come.", hub.joined),
        counter("clients_refused", "Newcomers that were refused.", hub.refused + hub.turned_away()),
        refused,
        shaken,
        dropped,
        counter("web_handshakes_refused", "TLS handshakes of the console that were too many.", strangers),
        counter("received_bytes", "Bytes from clients.", totals.bytes_in),
        counter("sent_bytes", "Bytes to clients.", totals.bytes_out),
        counter("received_messages", "Messages from clients.", totals.messages_in),
        counter("sent_messages", "Messages to clients.", totals.messages_out),
        counter("dropped_messages", "Messages to clients that were dropped.", totals.dropped),
        gauge("jackfield_queued_bytes", "Bytes that wait for clients.", totals.queued),
        gauge("jackfield_event_loop_lag_seconds", "How late the loop was a moment ago.", health.lag),
        gauge(
            "jackfield_state_problem",
            "1 while what should last is not on disk.",
            float(bool(hub.state.problem)),
        ),
        gauge("process_resident_memory_bytes", "Memory in RAM.", resident_bytes()),
        gauge("process_open_fds", "Open descriptors.", used),
        gauge("process_max_fds", "Descriptors that may be open.", limit),
        Metric("process_cpu_seconds_total", "counter", "Processor time.").add(used_cpu),
    ]
