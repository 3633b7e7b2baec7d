"""What the operating commands print: tables and lines, made from what the hub says.

Pure: JSON values, `now` and a width in, lines out. Everything that a client could have chosen (a
path, a name, bytes) is made safe for a terminal here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from ..hub.checksums import Checksum
from ..hub.display import Column, bytes_text, human_age, human_size, safe_text, table, width_of
from ..hub.roster import short_protocol, timestamp

_NO_CUT: Final = 1_000_000


def age_of(since: str, now: float) -> float:
    """Seconds since an ISO 8601 time."""
    try:
        return now - datetime.fromisoformat(since).timestamp()
    except ValueError:
        return 0.0


def with_times(document: dict[str, Any], *names: str) -> dict[str, Any]:
    """A document for programs: the times of these names, Unix times or none, in ISO 8601 as everywhere."""
    times = {name: None if document[name] is None else timestamp(document[name]) for name in names}
    return document | times


class _Cell(NamedTuple):
    """A column of the table of clients, and what it says of one of them.

    It is left out where it says only what is in `plain`, and in narrow places, the lower `given_up` first.
    """

    column: Column
    text: Callable[[dict[str, Any], float], str]
    plain: tuple[str, ...] = ()
    given_up: int = 0  # 0: never


def _state(client: dict[str, Any], now: float) -> str:
    conflict = client.get("conflict")
    return f"claims {safe_text(conflict)}" if conflict else str(client.get("state", "connected"))


def _safe(name: str, without: str = "") -> Callable[[dict[str, Any], float], str]:
    return lambda client, now: safe_text(client.get(name, without))


def _agent(client: dict[str, Any], now: float) -> str:
    """What a client that speaks the Jackfield protocol calls its program."""
    return (safe_text(client.get("agent", "")) or "native") if client.get("native") else ""


def _size(name: str) -> Callable[[dict[str, Any], float], str]:
    return lambda client, now: human_size(client[name]) if name in client else "-"


_CLIENTS: Final = (
    _Cell(Column("ID", right=True), lambda client, now: str(client["id"] or "-")),
    _Cell(Column("NAME", least=13), _safe("name")),
    _Cell(Column("STATE", least=9), _state, plain=("connected",)),
    _Cell(Column("TAGS", least=8), lambda client, now: ",".join(client.get("tags", ())), plain=("",)),
    _Cell(Column("PROTO"), lambda client, now: short_protocol(client["protocol"]), given_up=6),
    _Cell(Column("LOCAL", least=10), _safe("local", "-"), given_up=1),
    _Cell(Column("PEER", least=15), _safe("peer")),
    _Cell(Column("AGENT", least=8), _agent, plain=("",), given_up=7),
    _Cell(Column("WAITS", right=True), lambda client, now: str(client.get("waiting", "-")), plain=("-",)),
    _Cell(Column("SINCE", right=True), lambda client, now: human_age(age_of(client["since"], now))),
    _Cell(Column("IN", right=True), _size("bytes_in"), given_up=3),
    _Cell(Column("OUT", right=True), _size("bytes_out"), given_up=4),
    _Cell(Column("QUEUED", right=True), _size("queued"), given_up=2),
    _Cell(
        Column("DROPPED", right=True), lambda client, now: str(client.get("dropped", "-")), plain=("0", "-")
    ),
    _Cell(Column("NOTE", least=8), _safe("note"), plain=("",), given_up=5),
)


def clients_table(clients: Sequence[dict[str, Any]], *, now: float, width: int | None) -> list[str]:
    """One line per client under a heading.

    STATE, TAGS, AGENT, WAITS (messages that wait for an absent client), DROPPED and NOTE are there only when
    they say something of any client. Where `width` has no room for all columns, LOCAL goes first, then
    QUEUED, IN, OUT, NOTE, PROTO and AGENT.
    """
    columns = []
    for cell in _CLIENTS:
        texts = [cell.text(client, now) for client in clients]
        if not cell.plain or not set(texts) <= set(cell.plain):
            columns.append((cell, texts))
    while width is not None and sum(_least(*column) + 2 for column in columns) - 2 > width:
        leaving = [column for column in columns if column[0].given_up]
        if not leaving:
            break
        columns.remove(min(leaving, key=lambda column: column[0].given_up))
    rows = list(zip(*(texts for _, texts in columns), strict=True))
    return table([cell.column for cell, _ in columns], rows, width or _NO_CUT)


def _least(cell: _Cell, texts: Sequence[str]) -> int:
    """How narrow the column can be."""
    widest = max(map(width_of, (cell.column.heading, *texts)))
    return widest if cell.column.least is None else min(widest, cell.column.least)


def checksums_table(checksums: Sequence[Checksum], *, width: int | None = None) -> list[str]:
    """The catalogue that `jackfield crc` prints, in at most `width` columns."""
    columns = [
        Column("NAME"), Column("BYTES", right=True), Column("ORDER"), Column("CHECK", right=True),
        Column("USED BY", least=12), Column("ALSO CALLED", least=12),
    ]  # fmt: skip
    rows = []
    for each in checksums:
        order = "" if each.bytes == 1 else each.order
        check = f"{each.check:0{2 * each.bytes}x}"
        rows.append([each.name, str(each.bytes), order, check, each.about, " ".join(each.aliases)])
    return table(columns, rows, width or _NO_CUT)


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


def nobody(how: str = "", *, state: str = "connected", filtered: bool = False) -> str:
    """What stands where a list of clients would, while there is none, or with `filtered` none like that."""
    if filtered:
        return "No client is like that; 'jackfield clients' shows all."
    return ("No client is absent." if state == "absent" else "No client is connected.") + (
        f" Join with: {how}" if how else ""
    )


def status_lines(status: dict[str, Any], *, now: float) -> list[str]:
    """The hub in a few lines."""
    age = human_age(age_of(status["since"], now))
    queue, message = human_size(status["queue_limit"]), human_size(status["message_limit"])
    lines = [
        f"hub {status['version']}, pid {status['pid']}, up {age}",
        f"clients {status['clients']} of at most {status['max_clients']}; "
        f"joined {status['joined']}, refused {status['refused']}",
        f"limits: {queue} queued per client, {message} per message",
        *_health_lines(status),
        f"state: {_state_text(status)}",
        *_security_lines(status.get("security", {}), status.get("handshake_causes", {})),
        *_forgetting_lines(status),
        *_strangers_lines(status.get("web_handshakes", {})),
        *_rooms_lines(status.get("rooms", {})),
    ]
    if status["listeners"] or not status.get("operators"):
        lines.append("listening on:" if status["listeners"] else "listening nowhere")
    for listener in status["listeners"]:
        lines.append(
            f"  {safe_text(listener['address'])}  framing {listener['framing']}, "
            f"typed lines end with {listener['ending']}"
            + (f", access {listener['access']}" if listener.get("access", "plain") != "plain" else "")
            + (f" from {listener['allow']}" if listener.get("allow") else "")
            + (f", {counted(listener['clients'])}" if "clients" in listener else "")
            + (f", refused {listener['refused']}" if listener.get("refused") else "")
            + _handshakes(listener)
        )
    own_pin = status.get("security", {}).get("fingerprint")
    if status.get("operators"):
        lines.append("operators come to:")
    for listener in status.get("operators", ()):
        lines.append(
            f"  {safe_text(listener['address'])}  access {listener['access']}"
            + (f" from {listener['allow']}" if listener["allow"] else "")
            + (f", pin={listener['pin']}" if listener["pin"] != own_pin and listener["pin"] else "")
        )
    if status.get("web"):
        lines.append(f"web console: {safe_text(status['web'])}")
    return lines


def _handshakes(listener: dict[str, Any]) -> str:
    failed = listener.get("handshakes_failed")
    return f", {failed} failed handshake{'s' if failed > 1 else ''}" if failed else ""


def _health_lines(status: dict[str, Any]) -> list[str]:
    """What the hub takes of its machine, and what passes through it."""
    if "memory" not in status:
        return []  # an older hub
    lag = status["lag"]
    lines = [
        f"memory {human_size(status['memory'])}, descriptors {status['descriptors']} of "
        f"{status['descriptors_limit']}" + (f", loop {lag * 1000:.0f} ms late" if lag is not None else "")
    ]
    if rates := status["rates"]:
        lines.append(
            f"in {bytes_text(int(rates['bytes_in']))}/s ({rates['messages_in']:.0f} messages), "
            f"out {bytes_text(int(rates['bytes_out']))}/s ({rates['messages_out']:.0f} messages); "
            f"dropped {status['dropped']}"
        )
    if status["config"]:
        lines.append(f"configuration: {safe_text(status['config'])}")
    return lines


def _security_lines(security: dict[str, Any], causes: dict[str, int]) -> list[str]:
    """Who was not let in, and where it is written down."""
    lines = []
    if security.get("fingerprint"):
        lines.append(f"certificate: pin={security['fingerprint']}")
    if security.get("refused"):
        refused = ", ".join(f"{count} {safe_text(reason)}" for reason, count in security["refused"].items())
        lines.append(f"refused at the gate: {refused}")
    if causes:
        failed = ", ".join(f"{count} {safe_text(cause)}" for cause, count in causes.items())
        lines.append(f"TLS handshakes that failed: {failed}")
    if security.get("audit"):
        problem = security["audit_problem"]
        lines.append(
            f"audit log: {safe_text(security['audit'])}" + (f" (not written: {problem})" if problem else "")
        )
    return lines


def _forgetting_lines(status: dict[str, Any]) -> list[str]:
    """After how long absent clients are forgotten, where they are."""
    after = status.get("forget_after")
    if after is None:
        return []
    return [f"absent clients are forgotten after {human_age(after)}; {status['forgotten']} were"]


def _strangers_lines(handshakes: dict[str, int]) -> list[str]:
    """How many newcomers the web console refused before they had said anything."""
    refused = handshakes.get("refused", 0)
    return [f"web console: refused {refused} newcomers, whose TLS handshakes were too many"] * bool(refused)


def _rooms_lines(rooms: dict[str, Any]) -> list[str]:
    """How many of the rooms there can be are made, where clients made some."""
    if not rooms.get("makers") and not rooms.get("refused"):
        return []
    made = ", ".join(f"{count} by {safe_text(maker)}" for maker, count in rooms["makers"].items())
    refused = f"; refused {rooms['refused']}" if rooms["refused"] else ""
    return [f"rooms {rooms['rooms']} of at most {rooms['most']}{f': {made}' if made else ''}{refused}"]


def _state_text(status: dict[str, Any]) -> str:
    if status["state"] is None:
        return "kept nowhere, ends with the hub"
    return safe_text(
        status["state"] + (f" (not saved: {status['state_problem']})" if status["state_problem"] else "")
    )


def counted(count: int, noun: str = "client") -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
