"""Why no connect succeeded, as far as this machine's kernel and the network have told. Pure.

The library has a cause and a sentence for each attempt, and they are taken over: the exception and the
verdict never disagree. What is added is how sure that is, and what the neighbour table tells about silence.
Where a name has several addresses, the verdict is on the attempt that tells most, as the library's error is:
an answer of the host, then a router's word, then silence, then a missing route.
"""

from __future__ import annotations

import errno

from .causes import FROM_LIBRARY
from .observations import Attempt, Observations, host_of
from .verdict import Confidence, Verdict

_TELLING = (
    "too-many-files", "refused", "accept-queue-full", "filtered", "own-firewall", "router-unreachable",
    "routing-loop", "neighbour-silent", "gateway-silent", "reset-after-connect", "permission", "failed",
    "unreachable", "silence", "interface-down", "no-local-port", "no-route",
)  # fmt: skip

_BY_ERRNO = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset-after-connect",
    errno.ETIMEDOUT: "silence",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "no-route",
    errno.ENETDOWN: "interface-down",
    errno.EPERM: "own-firewall",
    errno.EACCES: "permission",
    errno.EADDRNOTAVAIL: "no-local-port",
    errno.EADDRINUSE: "no-local-port",
    errno.EMFILE: "too-many-files",
    errno.ENFILE: "too-many-files",
}
"""For attempts to which the library gives no cause."""

_CERTAINTY: dict[str, tuple[Confidence, str]] = {
    "refused": ("likely", "a firewall can send the same refusal"),
    "own-firewall": ("certain", "this machine's own kernel refused"),
    "routing-loop": ("likely", "a very long way looks the same"),
    "silence": ("possible", "a host that is off, dropped packets and a full accept queue look the same"),
    "neighbour-silent": ("certain", "this machine's own kernel asked on the link, and nobody answered"),
    "gateway-silent": ("certain", "this machine's own kernel asked on the link, and nobody answered"),
    "unreachable": ("possible", "the network did not tell which host said so"),
    "no-route": ("certain", "this machine's own routing table says so"),
}


def judge_attempts(seen: Observations) -> Verdict:
    """The verdict when every attempt failed."""
    verdicts = [_judge(seen, attempt) for attempt in seen.attempts]
    if not verdicts:
        return Verdict("failed", "nothing was tried", "certain", "there is no address to try")
    return min(verdicts, key=_rank)


def _rank(verdict: Verdict) -> int:
    return _TELLING.index(verdict.cause) if verdict.cause in _TELLING else len(_TELLING)


def _judge(seen: Observations, attempt: Attempt) -> Verdict:
    cause = FROM_LIBRARY.get(attempt.cause or "") or _BY_ERRNO.get(attempt.errno or 0, "failed")
    if attempt.timed_out and cause == "failed":
        cause = "silence"
    if cause == "silence" or (attempt.timed_out and cause in ("neighbour-silent", "gateway-silent")):
        return _silence(seen, attempt)
    if cause == "reset-after-connect":
        sentence = f"{attempt.address} accepted the connection and reset it at once"
        step = "look at the server's log: it crashed, or refuses this client"
        return Verdict(cause, sentence, "certain", "the reset came from the peer", step)
    confidence, because = _CERTAINTY.get(cause, ("certain", "the system said so"))
    evidence: tuple[str, ...] = ()
    if attempt.icmp is not None:
        sender = attempt.offender or "an unknown host"
        evidence = ("ICMP type {} code {} came from ".format(*attempt.icmp) + sender,)
        if cause == "refused" and attempt.offender == host_of(attempt.address):
            confidence, because = "certain", "the host itself said so"
        elif cause in ("filtered", "router-unreachable"):
            because = f"{sender} said so"
    sentence = f"{attempt.address}: {attempt.said or 'the connect failed'}"
    return Verdict(cause, sentence, confidence, because, attempt.hint, evidence)


def _silence(seen: Observations, attempt: Attempt) -> Verdict:
    where, host = attempt.address, host_of(attempt.address)
    within = f"within {attempt.seconds:.1f} s"
    step = f"on {host} itself `jackfield check {where.rpartition(':')[2]}` can tell them apart"
    absent = silent_hop(seen, where, within)
    if absent is not None:
        return absent
    route = seen.route_to(where)
    neighbour = seen.neighbour_of(route)
    if route is not None and route.gateway is None and neighbour is not None:
        sentence = (
            f"{where}: no answer {within}, though the host is there on the local link: "
            "a firewall drops the packets, or the server's accept queue is full"
        )
        evidence = (f"the kernel's neighbour entry of {host} is {neighbour.state}",)
        because = "dropped packets and a full accept queue look the same from here"
        return Verdict("silence", sentence, "likely", because, step, evidence)
    sentence = (
        f"{where}: no answer {within}: the host is down, a firewall drops the packets, "
        "or the server's accept queue is full"
    )
    confidence, because = _CERTAINTY["silence"]
    return Verdict("silence", sentence, confidence, because, f"try `ping {host}` and another port; {step}")


def silent_hop(seen: Observations, where: str, within: str) -> Verdict | None:
    """The verdict on silence when the first hop does not answer on the local link."""
    route = seen.route_to(where)
    neighbour = seen.neighbour_of(route)
    if route is None or neighbour is None or neighbour.answered:
        return None
    who = f"host {host_of(where)}" if route.gateway is None else f"gateway {route.gateway}"
    return Verdict(
        "neighbour-silent" if route.gateway is None else "gateway-silent",
        f"{where}: no answer {within}, and the {who} does not answer on the local link",
        "likely",
        "the kernel is still asking for it on the link",
        f"check that it is on and plugged in: `ip neigh show {neighbour.address}`",
        (f"the kernel's neighbour entry of {neighbour.address} is {neighbour.state}",),
    )
