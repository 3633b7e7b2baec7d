"""What a peer said, as people read it, and the verdict on what is not HTTP. Pure."""

from __future__ import annotations

from .observations import Observations
from .verdict import Verdict


def first_line(data: bytes, limit: int = 120) -> str:
    """The first line of what a peer said, as far as it is text; other bytes as escapes."""
    lines = data.splitlines()
    text = (lines[0] if lines else data).decode("utf-8", "backslashreplace")
    return text[:limit] + ("..." if len(text) > limit else "")


def wrong_protocol(seen: Observations, data: bytes, where: str, evidence: tuple[str, ...]) -> Verdict:
    """The verdict on what answers HTTP with something else."""
    tls = data[:2] in (b"\x15\x03", b"\x16\x03")
    answered = "TLS" if tls else "something else"
    sentence = f"{where} was asked for HTTP and answered with {answered}: {first_line(data)}"
    instead = "wss:// instead of ws://" if seen.target.websocket else "https:// instead of http://"
    step = f"write {instead}" if tls else "check which protocol the server speaks there"
    because = "an HTTP answer begins with HTTP/"
    return Verdict("wrong-protocol", sentence, "certain", because, step, evidence)
