"""One operation of the API: what it takes and gives. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from .schemas import Schema


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One operation: what it takes (an object) and gives; `reads` is GET, anything else POST.

    `gathers` maps what stands in its events to members of the answer: a list goes on with what comes, any
    other value is added as one more item.
    """

    op: str
    about: str
    takes: Schema
    gives: Schema
    reads: bool = False
    gathers: tuple[tuple[str, str], ...] = ()

    @property
    def method(self) -> str:
        return "GET" if self.reads else "POST"
