"""`send --dry-run`: who would be sent what, without sending anything."""

from __future__ import annotations

from typing import Any

from ..hub.display import Column, preview, safe_text, table
from ..hub.operator import Operator
from ..hub.protocol import decode_data
from ..hub.waves import Waves, halt_count
from .asking import Message, Question
from .operate import fetch_clients, print_json, terminal_width, with_hub
from .views import counted, nobody

_NO_CUT = 1_000_000


def rehearse(
    target: str, message: Message, question: Question | None, *, as_json: bool, control: str | None
) -> None:
    """Print who would get the message, and in which wave."""

    async def work(operator: Operator) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        arguments = dict(message.arguments)
        if "snippet" in arguments:
            kept = await operator.request("snippet_show", name=arguments["snippet"])
            arguments = {**arguments, "data": kept["data"], "ending": arguments["ending"] or kept["ending"]}
        return arguments, await fetch_clients(operator, target)

    arguments, clients = with_hub(control, work)
    data = decode_data(arguments["data"])
    waves = _waves([client["id"] for client in clients], question)
    if as_json:
        found = [
            {key: client[key] for key in ("id", "name", "peer", "framing")} | {"wave": waves[client["id"]]}
            for client in clients
        ]
        print_json({"bytes": len(data), "data": data.hex(), "ending": arguments["ending"], "clients": found})
    elif not clients:
        print(nobody())
    else:
        print("\n".join(_lines(data, arguments["ending"], clients, waves, question)))


def _waves(ids: list[int], question: Question | None) -> dict[int, int]:
    """The wave of each client, as the hub would make them."""
    waves = Waves(ids, size=None if question is None else question.wave)
    found: dict[int, int] = {}
    while wave := waves.next():
        for client_id in wave:
            found[client_id] = waves.started
            waves.ended(client_id, well=True)
    return found


def _lines(
    data: bytes, ending: str, clients: list[dict[str, Any]], waves: dict[int, int], question: Question | None
) -> list[str]:
    ended = {
        "default": ", each with the line ending of its listener",
        "none": "",
    }.get(ending, f", each with {ending} as line ending")
    lines = [f"would send {counted(len(data), 'byte')} to {counted(len(clients))}{ended}: {preview(data)}"]
    columns = [Column("WAVE", right=True)] if question is not None and question.wave else []
    columns += [
        Column("ID", right=True),
        Column("NAME", least=8),
        Column("PEER", least=12),
        Column("FRAMING"),
    ]
    rows = []
    for client in clients:
        row = [str(client["id"]), safe_text(client["name"]), safe_text(client["peer"]), client["framing"]]
        rows.append([str(waves[client["id"]]), *row] if len(columns) > 4 else row)
    if question is not None and question.halt_on is not None:
        count = halt_count(question.halt_on, len(clients))
        lines.append(f"no wave would start once {counted(count)} failed")
    return [*lines, "", *table(columns, rows, terminal_width() or _NO_CUT), "", "nothing was sent"]
