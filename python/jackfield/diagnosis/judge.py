"""From what was seen to the verdict. Pure: no clock, no socket, no file.

The questions are asked in the order in which a connection comes about: does the name resolve, is there a
way, does something answer, is it this machine's own doing, does the conversation go well. The first that
fails is the cause; what came before it is evidence.
"""

from __future__ import annotations

from dataclasses import replace

from .judge_connect import judge_attempts
from .judge_conversation import judge_conversation
from .judge_local import judge_local
from .judge_unix import judge_unix
from .observations import SHOWN, Attempt, Observations, Resolution
from .verdict import Verdict


def judge(seen: Observations) -> Verdict:
    """The verdict on a check that came to its end."""
    resolution = seen.resolution
    if resolution is not None and resolution.failure is not None:
        return _not_resolved(resolution)
    if seen.target.is_unix:
        verdict = judge_unix(seen)
    else:
        verdict = judge_local(seen) if seen.local is not None else None
        if verdict is None and seen.connected is None:
            verdict = judge_attempts(seen)
    verdict = verdict or judge_conversation(seen)
    failed = [f"{attempt.address}: {attempt.outcome}" for attempt in seen.attempts if not attempt.connected]
    if verdict.ok and failed:
        verdict = replace(verdict, sentence=f"{verdict.sentence}; but {', '.join(failed)}")
    return verdict.with_evidence(*_came_before(seen))


def interrupted(seen: Observations) -> Verdict:
    """The verdict on a check that was ended before its end."""
    sentence = "the check was interrupted before there was a verdict"
    return Verdict("interrupted", sentence, "certain", "Ctrl-C", evidence=_came_before(seen))


def _not_resolved(seen: Resolution) -> Verdict:
    asked = seen.source or "the resolver"
    sentence = f"the name {seen.name} was not resolved: {seen.said or 'there was no answer'}"
    because = "the servers were asked, and gave no usable answer" if seen.servers else "the system said so"
    if seen.failure == "no-such-host":
        sentence, because = f"there is no host name {seen.name}", f"{asked} said so"
    evidence = (f"asking {asked} for {seen.name} took {show_seconds(seen.seconds)}", *seen.servers)
    return Verdict(seen.failure or "failed", sentence, "certain", because, seen.hint, evidence)


def _came_before(seen: Observations) -> tuple[str, ...]:
    lines = []
    resolution = seen.resolution
    if resolution is not None and resolution.addresses:
        by = f", by {resolution.source}" if resolution.source else ""
        lines.append(f"{resolution.sentence}{by}")
    lines += map(_attempt, seen.attempts[:SHOWN])
    if len(seen.attempts) > SHOWN:
        lines.append(f"{len(seen.attempts) - SHOWN} more addresses were tried")
    return tuple(lines)


def _attempt(attempt: Attempt) -> str:
    after = show_seconds(attempt.seconds)
    if attempt.connected:
        times = attempt.retransmits + 1
        again = f", its first packet sent {times} times" if attempt.retransmits else ""
        return f"{attempt.address}: connected within {after}{again}"
    return f"{attempt.address}: {attempt.outcome} after {after}"


def show_seconds(seconds: float) -> str:
    """A length of time with a fitting unit: ``0.21 ms``, ``18 ms``, ``2.1 s``."""
    milliseconds = seconds * 1000
    if milliseconds < 0.995:
        return f"{milliseconds:.2f} ms"
    if milliseconds < 99.5:
        return f"{milliseconds:.1f} ms"
    return f"{milliseconds:.0f} ms" if milliseconds < 999.5 else f"{seconds:.1f} s"
