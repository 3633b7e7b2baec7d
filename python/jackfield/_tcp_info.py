"""``TcpInfo``: what the kernel knows of a TCP connection (tcp(7), TCP_INFO; linux/tcp.h)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_STATES = (
    "unknown",
    "established",
    "syn_sent",
    "syn_received",
    "fin_wait1",
    "fin_wait2",
    "time_wait",
    "close",
    "close_wait",
    "last_ack",
    "listen",
    "closing",
    "new_syn_received",
)
_CONGESTION_STATES = ("open", "disorder", "window_reduced", "recovery", "loss")
_NO_LIMIT = 2**64 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpInfo:
    """One connection at one moment. Times are seconds, rates bytes a second; None is what this kernel does
    not tell, or a rate without limit."""

    state: str
    """``established``, ``close_wait`` (the peer has ended its side), ``fin_wait2`` (we have) ..."""
    congestion_state: str
    """``open``, ``disorder``, ``window_reduced``, ``recovery`` or ``loss`` (nothing is acknowledged)."""
    retransmits: int
    """Time-outs since something was acknowledged last: 0 unless the peer is silent."""
    total_retransmits: int
    """Segments sent again since the beginning."""
    probes: int
    """Questions sent since the peer was heard last: of a closed window, or of keepalive."""
    rtt: float
    """Smoothed round-trip time."""
    rtt_variation: float
    """Its mean deviation."""
    smallest_rtt: float | None
    """The smallest round-trip time of the last minutes."""
    retransmission_timeout: float
    """How long an acknowledgement is waited for before data is sent again."""
    congestion_window: int
    """Segments that may be under way."""
    send_segment: int
    """Bytes of one segment sent."""
    receive_segment: int
    """Bytes of one segment received."""
    path_mtu: int
    """Bytes of the largest packet that the path carries."""
    unacked_segments: int
    """Segments under way."""
    lost_segments: int
    """Of these, how many are thought to be lost."""
    not_sent: int | None
    """Bytes in the kernel that were never sent."""
    send_window: int | None
    """Bytes that the peer has room for; 0: it does not read."""
    receive_window: int | None
    """Bytes that we have told the peer to have room for."""
    bytes_sent: int | None
    """Bytes sent, those sent again included."""
    bytes_acked: int | None
    """Bytes that the peer's kernel has."""
    bytes_received: int | None
    """Bytes that this kernel has received in order."""
    bytes_retransmitted: int | None
    """Bytes sent again."""
    pacing_rate: int | None
    """What the kernel sends at most."""
    delivery_rate: int | None
    """What arrived at the peer lately."""
    since_sent: float
    """Since data was sent last."""
    since_received: float
    """Since data was received last."""
    since_acked: float
    """Since an acknowledgement came last, with or without data."""
    busy: float | None
    """Time with data under way."""
    window_limited: float | None
    """Of that, time held up by the peer's window."""
    buffer_limited: float | None
    """Of that, time held up by our own send buffer."""


def from_kernel(fields: Mapping[str, int | None]) -> TcpInfo:
    """The engine's numbers, in microseconds and milliseconds, as facts."""

    def number(name: str) -> int:
        return fields[name] or 0

    def micro(name: str) -> float | None:
        value = fields[name]
        return None if value is None else value / 1e6

    def rate(name: str) -> int | None:
        return None if fields[name] == _NO_LIMIT else fields[name]

    state, congestion = number("state"), number("congestion_state")
    return TcpInfo(
        state=_STATES[state] if state < len(_STATES) else f"state_{state}",
        congestion_state=(
            _CONGESTION_STATES[congestion] if congestion < len(_CONGESTION_STATES) else f"state_{congestion}"
        ),
        retransmits=number("retransmits"),
        total_retransmits=number("total_retransmits"),
        probes=number("probes"),
        rtt=number("rtt_us") / 1e6,
        rtt_variation=number("rtt_variation_us") / 1e6,
        smallest_rtt=micro("smallest_rtt_us"),
        retransmission_timeout=number("rto_us") / 1e6,
        congestion_window=number("congestion_window"),
        send_segment=number("send_mss"),
        receive_segment=number("receive_mss"),
        path_mtu=number("path_mtu"),
        unacked_segments=number("unacked"),
        lost_segments=number("lost"),
        not_sent=fields["not_sent"],
        send_window=fields["send_window"],
        receive_window=fields["receive_window"],
        bytes_sent=fields["bytes_sent"],
        bytes_acked=fields["bytes_acked"],
        bytes_received=fields["bytes_received"],
        bytes_retransmitted=fields["bytes_retransmitted"],
        pacing_rate=rate("pacing_rate"),
        delivery_rate=rate("delivery_rate"),
        since_sent=number("last_data_sent_ms") / 1e3,
        since_received=number("last_data_received_ms") / 1e3,
        since_acked=number("last_ack_received_ms") / 1e3,
        busy=micro("busy_us"),
        window_limited=micro("window_limited_us"),
        buffer_limited=micro("buffer_limited_us"),
    )
