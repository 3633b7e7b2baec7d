"""What stands in a recording: one class for each kind of record.

Pure values. Times are nanoseconds since 1970 (UTC). `ref` numbers the connections of one recording: a client
that comes again has the hub's name and id again, and a new `ref`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal

Direction = Literal["in", "out"]
"""`in`: the recorded client said it; `out`: it was told it."""

SIDES: Final = ("client", "server")


@dataclass(frozen=True, slots=True)
class Opened:
    """The beginning: by which program, of which TARGET, and which end of the connections recorded them.

    `role` is `server` where clients came to who recorded (a hub, `jackfield listen`), `client` for
    `jackfield connect`: it tells whose words `in` and `out` are.
    """

    time: int
    program: str = ""
    role: str = "server"
    target: str = "all"


@dataclass(frozen=True, slots=True)
class Client:
    """A connection: its five facts, its name, and how its bytes are cut into messages.

    It stands before the first record of its `ref`, and again whenever the name has changed. `since` is when
    it joined, where that was before the recording; ports are None for what has none (a Unix path, a
    device).
    """

    time: int
    ref: int
    id: int
    name: str
    protocol: str
    local_address: str
    local_port: int | None
    remote_address: str
    remote_port: int | None
    framing: str = "none"
    since: int | None = None
    pid: int | None = None
    uid: int | None = None

    @property
    def local(self) -> str:
        """Our end as people read it: `host:port`, or a path."""
        return _place(self.local_address, self.local_port)

    @property
    def remote(self) -> str:
        """The other end as people read it."""
        return _place(self.remote_address, self.remote_port)


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes that a client said (`in`) or was told (`out`): one message, or what came at once without framing.

    A long message stands in several records, all but the last with `more`. `by` is who told it: `pid:N` of an
    operator, or what sent it.
    """

    time: int
    ref: int
    direction: Direction
    data: bytes
    by: str = ""
    more: bool = False


@dataclass(frozen=True, slots=True)
class Left:
    """The connection of `ref` has ended, and why."""

    time: int
    ref: int
    reason: str


@dataclass(frozen=True, slots=True)
class Lost:
    """Here so many records with so many bytes of clients are missing, and why: `the reader was slow`, ..."""

    time: int
    records: int
    bytes: int
    reason: str


@dataclass(frozen=True, slots=True)
class Happened:
    """An event of the hub, as `jackfield logs` shows it; `facts` are its fields."""

    time: int
    event: str
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Closed:
    """The end of a recording that was ended in order. Where it is missing, the recorder was killed."""

    time: int
    reason: str
    records: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Damaged:
    """Not in the file, but of it: `length` bytes from `offset` on cannot be read.

    `truncated` where they are the end of the file: its last record is not whole.
    """

    offset: int
    length: int
    truncated: bool


Record = Opened | Client | Data | Left | Lost | Happened | Closed | Damaged


def spoken_by(side: str, role: str) -> Direction:
    """The direction of what that side (`client` or `server`) said, in a recording made in that role."""
    return "in" if (side == "client") == (role == "server") else "out"


def _place(address: str, port: int | None) -> str:
    if port is None:
        return address or "unnamed"
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
