"""A client of the hub as its parts and operations are handed it."""

from __future__ import annotations

from typing import NamedTuple

from jackfield import Member


class Client(NamedTuple):
    """One connected client at one moment: `id` and `name` as operators see them, and its connection."""

    id: int
    name: str
    member: Member
