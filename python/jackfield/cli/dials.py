"""The commands `dial` and `undial`: whom the hub connects to by itself.

Each asks over the control socket and prints what came.
"""

from __future__ import annotations

from typing import Any

from jackfield import Address

from ..hub.display import Column, safe_text, table
from ..hub.operator import Operator
from . import failures
from .failures import Failure
from .operate import print_json, terminal_width, with_hub

_NO_CUT = 1_000_000


def add_dial(
    address: str, *, name: str | None, framing: str, ending: str, as_json: bool, control: str | None
) -> None:
    parsed = Address.from_command_line(address)
    if name is not None and parsed.option("name") not in (None, name):
        raise Failure("both --name and name= are given", "leave one of them out", code=failures.USAGE)
    view: dict[str, Any] = with_hub(
        control,
        lambda operator: operator.request(
            "dial_add", address=str(parsed), name=name, framing=framing, ending=ending
        ),
    )
    if as_json:
        print_json(view)
    elif view["state"] == "connected":
        print(f"{safe_text(view['name'])} is connected: client {view['client']}")
    else:
        print(f"{safe_text(view['name'])} is dialled: {safe_text(view['explain'])}")


def list_dials(*, as_json: bool, control: str | None) -> None:
    dials: list[dict[str, Any]] = with_hub(control, lambda operator: operator.request("dial_list"))["dials"]
    if as_json:
        print_json(dials)
    elif dials:
        print("\n".join(dials_table(dials, width=terminal_width())))
    else:
        print("nobody is dialled; dial with 'jackfield dial ADDRESS --name NAME'")


def remove_dials(names: list[str], *, as_json: bool, control: str | None) -> None:
    async def work(operator: Operator) -> list[dict[str, Any]]:
        return [await operator.request("dial_remove", name=name) for name in names]

    done = with_hub(control, work)
    if as_json:
        print_json(done)
    else:
        for each in done:
            lasts = "" if each["lasting"] else "; the next start of the hub dials it again (serve --dial)"
            print(f"{safe_text(each['name'])} is dialled no more{lasts}")


def dials_table(dials: list[dict[str, Any]], *, width: int | None) -> list[str]:
    """One line per dialled peer: how it stands with it, and why."""
    columns = [
        Column("NAME", least=8),
        Column("ADDRESS", least=12),
        Column("CLIENT", right=True),
        Column("STATE"),
        Column("EXPLAINED", least=20),
    ]
    rows = [
        [
            safe_text(each["name"]),
            safe_text(each["address"]),
            str(each["client"] or "-"),
            each["state"],
            safe_text(each["explain"]),
        ]
        for each in dials
    ]
    return table(columns, rows, width or _NO_CUT)
