"""What the operating commands print: tables and lines, made from what the hub says.

Pure: JSON values, `now` and a width in, lines out. Everything that a client could have chosen (a
path, a name, bytes) is made safe for a terminal here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from ..hub.checksums import Checksum
from ..hub.display import Column, human_age, human_size, safe_text, table
from ..hub.roster import short_protocol

_NO_CUT: Final = 1_000_000


def age_of(since: str, now: float) -> float:
    """Seconds since an ISO 8601 time."""
    try:
        return now - datetime.fromisoformat(since).timestamp()
    except ValueError:
        return 0.0


def clients_table(clients: Sequence[dict[str, Any]], *, now: float, width: int | None) -> list[str]:
    """One line per client under a heading; the DROPPED column only when something was dropped."""
    dropped = any(client.get("dropped") for client in clients)
    columns = [
        Column("ID", right=True),
        Column("NAME", least=8),
        Column("PROTO"),
        Column("LOCAL", least=10),
        Column("PEER", least=12),
        Column("SINCE", right=True),
        Column("IN", right=True),
        Column("OUT", right=True),
        Column("QUEUED", right=True),
    ]
    if dropped:
        columns.append(Column("DROPPED", right=True))
    rows = []
    for client in clients:
        row = [
            str(client["id"]),
            safe_text(client["name"]),
            short_protocol(client["protocol"]),
            safe_text(client["local"]),
            safe_text(client["peer"]),
            human_age(age_of(client["since"], now)),
            human_size(client["bytes_in"]),
            human_size(client["bytes_out"]),
            human_size(client["queued"]),
        ]
        if dropped:
            row.append(str(client["dropped"]))
        rows.append(row)
    return table(columns, rows, width or _NO_CUT)


def checksums_table(checksums: Sequence[Checksum]) -> list[str]:
    """The catalogue that `jackfield crc` prints."""
    columns = [
        Column("NAME"), Column("BYTES", right=True), Column("ORDER"), Column("CHECK", right=True),
        Column("USED BY"), Column("ALSO CALLED"),
    ]  # fmt: skip
    rows = []
    for each in checksums:
        order = "" if each.bytes == 1 else each.order
        check = f"{each.check:0{2 * each.bytes}x}"
        rows.append([each.name, str(each.bytes), order, check, each.about, " ".join(each.aliases)])
    return table(columns, rows, _NO_CUT)


def checksum_lines(checksum: Checksum) -> list[str]:
    """Everything about one checksum."""
    digits = 2 * checksum.bytes
    kinds = {"sum": "the sum of all bytes", "xor": "the XOR of all bytes"}
    model = kinds.get(checksum.kind, "the two's complement of the sum of all bytes")
    if checksum.kind == "crc":
        reflected = "true" if checksum.reflected else "false"
        model = (
            f"width={checksum.width} poly=0x{checksum.poly:0{digits}x} init=0x{checksum.init:0{digits}x} "
            f"refin={reflected} refout={reflected} xorout=0x{checksum.xorout:0{digits}x}"
        )
    first = "low" if checksum.order == "little" else "high"
    return [
        ", also called ".join(filter(None, [checksum.name, ", ".join(checksum.aliases)])),
        f"  used by  {checksum.about}",
        f"  model    {model}",
        f"  check    0x{checksum.check:0{digits}x} of the nine characters 123456789",
        f"  appends  {checksum.bytes} bytes, the {first} one first"
        if checksum.bytes > 1
        else "  appends  1 byte",
    ]


def nobody(how: str = "") -> str:
    """What stands where a list of clients would, while there is none."""
    return "No client is connected." + (f" Join with: {how}" if how else "")


def status_lines(status: dict[str, Any], *, now: float) -> list[str]:
    """The hub in a few lines."""
    age = human_age(age_of(status["since"], now))
    queue, message = human_size(status["queue_limit"]), human_size(status["message_limit"])
    lines = [
        f"hub {status['version']}, pid {status['pid']}, up {age}",
        f"clients {status['clients']} of at most {status['max_clients']}; "
        f"joined {status['joined']}, refused {status['refused']}",
        f"limits: {queue} queued per client, {message} per message",
        f"state: {_state_text(status)}",
        "listening on:",
    ]
    for listener in status["listeners"]:
        lines.append(
            f"  {safe_text(listener['address'])}  framing {listener['framing']}, "
            f"typed lines end with {listener['ending']}"
        )
    return lines


def _state_text(status: dict[str, Any]) -> str:
    if status["state"] is None:
        return "kept nowhere, ends with the hub"
    return safe_text(
        status["state"] + (f" (not saved: {status['state_problem']})" if status["state_problem"] else "")
    )


def counted(count: int, noun: str = "client") -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
