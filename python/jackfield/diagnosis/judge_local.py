"""What this machine's side tells about a TCP or UDP target on this machine. Pure.

``None`` means that it tells of nothing wrong, and the other judges go on. ``judge_unix`` is the same for Unix
sockets.
"""

from __future__ import annotations

import errno

from .observations import Attempt, Listener, LocalView, Observations, Process, host_of
from .verdict import Verdict

TABLE = "the kernel's socket table says so"


def judge_local(seen: Observations) -> Verdict | None:
    """Who listens, whether it accepts, whether it can."""
    local = seen.local
    assert local is not None
    connected = seen.connected
    refused = next((attempt for attempt in seen.attempts if attempt.errno == errno.ECONNREFUSED), None)
    silent = next((attempt for attempt in seen.attempts if attempt.timed_out), None)
    if connected is None and silent is not None:
        return _silent(local, silent)
    if connected is None and refused is not None and refused.cause not in ("filtered", "own_firewall"):
        return _refused(seen, local, refused.address)
    if seen.target.is_datagram:
        return _unread(seen, local)
    return not_accepted(seen, local, connected.address) if connected is not None else None


# Not connected ---------------------------------------------------------------------------------------


def _refused(seen: Observations, local: LocalView, where: str) -> Verdict:
    letter, name = ("u", "UDP port") if seen.target.is_datagram else ("t", "port")
    name = f"{name} {seen.target.address.port}"
    if local.matching:
        sentence = (
            f"{local.matching[0].holder} listens on {local.matching[0].bound}, and {where} was refused all "
            "the same: a firewall of this machine, or a server that starts or ends just now"
        )
        because = "the listener and the refusal contradict each other"
        step = "try again, and look at `sudo nft list ruleset`"
        return Verdict("refused", sentence, "possible", because, step, listed(local.matching))
    if local.elsewhere:
        other = local.elsewhere[0]
        bound = " and ".join(_bound(listener) for listener in local.elsewhere[:3])
        sentence = f"nothing listens on {where}, but {other.holder} listens on {bound}"
        step = f"connect to {other.bound}, or let the server listen on {host_of(where)} or on every address"
        return Verdict("bound-elsewhere", sentence, "certain", TABLE, step, listed(local.elsewhere))
    sentence = f"nothing on this machine listens on {name}"
    step = f"start the server, or see what listens with `ss -l{letter}np`"
    return Verdict("refused", sentence, "certain", TABLE, step, (f"no socket listens on {name}",))


def _silent(local: LocalView, attempt: Attempt) -> Verdict:
    grown = (f"ListenOverflows grew by {local.overflows} during the check",) if local.overflows else ()
    full = queue_full(local.matching, attempt.address)
    if full is not None:
        return full.with_evidence(*grown)
    if local.matching and grown:
        listener = local.matching[0]
        sentence = f"the accept queue of {listener.bound} was full: {listener.holder} accepts too slowly"
        because = "that count is of all listeners together"
        evidence = (*grown, *listed(local.matching))
        return Verdict("accept-queue-full", sentence, "likely", because, unclog(listener), evidence)
    sentence = f"a firewall rule of this machine drops its own packets to {attempt.address}"
    if not local.matching:
        sentence += ", or forwards them to where nobody answers"
    because = "without such a rule the kernel answers itself at once"
    step = "look at `sudo nft list ruleset`"
    return Verdict("own-firewall", sentence, "likely", because, step, listed(local.matching))


def queue_full(listeners: tuple[Listener, ...], where: str) -> Verdict | None:
    """The verdict when the accept queue of a listener is full, and why it is."""
    full = [listener for listener in listeners if listener.is_full]
    if not full:
        return None
    listener = full[0]
    queue = (
        f"{listener.waiting} connections wait to be accepted, and the queue is full above {listener.limit}"
    )
    if listener.is_stopped:
        sentence = f"{listener.holder}, which listens on {where}, is stopped, and its accept queue is full"
        return stopped(listener.holders[0], sentence, (queue,))
    some = "" if len(full) == len(listeners) else f" ({len(full)} of {len(listeners)} listeners there)"
    sentence = f"the accept queue of {where} is full{some}: {listener.holder} listens and does not accept"
    sentence += doing(listener)
    return Verdict("accept-queue-full", sentence, "certain", TABLE, unclog(listener), (queue,))


# Connected, but only by the kernel -------------------------------------------------------------------


def not_accepted(seen: Observations, local: LocalView, where: str) -> Verdict | None:
    """The verdict when no program has taken the connection, or the one that has is stopped."""
    answer = seen.answer
    if answer is not None and (answer.data or answer.ended in ("closed", "reset")):
        return None
    if local.accepted and local.acceptors and all(process.is_stopped for process in local.acceptors):
        process = local.acceptors[0]
        sentence = f"{process}, which accepted the connection to {where}, is stopped"
        return stopped(process, sentence)
    halted = next((listener for listener in local.matching if listener.is_stopped), None)
    if halted is not None and not local.accepted:
        sentence = f"{halted.holder}, which listens on {shown(halted.bound)}, is stopped; "
        sentence += "the kernel alone took the connection"
        return stopped(halted.holders[0], sentence, listed((halted,)))
    waits = local.accepted is False or (local.accepted is None and any(one.waiting for one in local.matching))
    if not waits or not local.matching:
        return None
    listener = next((one for one in local.matching if one.waiting), local.matching[0])
    waited = _waited(seen)
    busy = any(process.is_busy for process in listener.holders)
    if not waited and not busy:
        return None  # nobody has had a moment to accept
    for_ = f" for {waited:.1f} s" if waited else ""
    sentence = (
        f"{listener.holder} listens on {shown(listener.bound)} and has not accepted the connection{for_}"
    )
    evidence = ("the kernel took the connection, and no program has accepted it", *listed((listener,)))
    return Verdict(
        "process-busy" if busy else "not-accepting",
        sentence + doing(listener),
        "certain" if waited >= 0.5 else "likely",
        "the connection is still in the accept queue",
        unclog(listener),
        evidence,
    )


def _waited(seen: Observations) -> float:
    """Seconds since connecting in which the program could have accepted."""
    shake = seen.tls.seconds if seen.tls is not None and seen.tls.ended == "silence" else 0.0
    return shake + (seen.answer.seconds if seen.answer is not None else 0.0)


# Datagrams -------------------------------------------------------------------------------------------


def _unread(seen: Observations, local: LocalView) -> Verdict | None:
    """Sent, without an error and without an answer: has the program read it?"""
    if seen.answer is None or seen.answer.data or not local.matching:
        return None
    halted = stopped_reader(seen, local)
    listener = local.matching[0]
    if halted is not None or not listener.waiting:
        return halted
    busy = any(process.is_busy for process in listener.holders)
    sentence = f"{listener.holder} holds {listener.bound} and has not read what was sent{doing(listener)}"
    because = "datagrams wait in its socket"
    cause = "process-busy" if busy else "not-accepting"
    return Verdict(cause, sentence, "likely", because, unclog(listener), listed((listener,)))


def stopped_reader(seen: Observations, local: LocalView) -> Verdict | None:
    """The verdict when the process behind a datagram socket is stopped."""
    halted = next((listener for listener in local.matching if listener.is_stopped), None)
    if halted is None or (seen.answer is not None and seen.answer.data):
        return None
    sentence = f"{halted.holder}, which holds {shown(halted.bound)}, is stopped: datagrams wait unread"
    return stopped(halted.holders[0], sentence, listed((halted,)))


# Words -----------------------------------------------------------------------------------------------


def stopped(process: Process, sentence: str, evidence: tuple[str, ...] = ()) -> Verdict:
    """The verdict on a stopped process."""
    state = f"the state of process {process.pid} is {process.state} (stopped)"
    step = f"let it go on with `kill -CONT {process.pid}`"
    if process.frozen:
        state = f"the control group of process {process.pid} is frozen"
        step = "thaw it: `docker unpause`, `systemctl thaw`, or 0 into its cgroup.freeze"
    elif process.state == "t":
        state = f"the state of process {process.pid} is t (stopped by a debugger)"
        step = f"let the debugger go on with it: `grep Tracer /proc/{process.pid}/status` names it"
    return Verdict(
        "process-stopped", sentence, "certain", "the process table says so", step, (*evidence, state)
    )


def listed(listeners: tuple[Listener, ...]) -> tuple[str, ...]:
    """Listeners as evidence."""
    return tuple(describe(listener) for listener in listeners[:5])


def describe(listener: Listener) -> str:
    """A listener in one line: where, who, and what waits."""
    text = f"{listener.holder} holds {_bound(listener)}"
    if not listener.waiting:
        return text
    if listener.kind in ("udp", "unix+dgram"):
        return f"{text}; datagrams wait to be read ({listener.waiting} bytes of buffer)"
    wait = "1 connection waits" if listener.waiting == 1 else f"{listener.waiting} connections wait"
    limit = "" if listener.limit is None else f" (full above {listener.limit})"
    return f"{text}; {wait} to be accepted{limit}"


def _bound(listener: Listener) -> str:
    return shown(listener.bound) + (f" on {listener.interface} alone" if listener.interface else "")


def shown(path: str) -> str:
    """A path as text, whatever bytes it has."""
    return path.encode("utf-8", "backslashreplace").decode()


def doing(listener: Listener) -> str:
    """What the processes that hold a listener are at."""
    states = {process.state for process in listener.holders}
    if "R" in states:
        return "; it is computing"
    if "D" in states:
        return "; it waits for a disk or device"
    return "; it sleeps, waiting for something else" if "S" in states else ""


def unclog(listener: Listener) -> str:
    """What to do about a program that does not accept or read."""
    if not listener.holders:
        return "see what the server does, or whether it hangs"
    return (
        f"see what process {listener.holders[0].pid} waits for, or let the server accept and answer elsewhere"
    )
