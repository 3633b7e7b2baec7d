"""The commands that keep a hub running: reload."""

from __future__ import annotations

from typing import Any

from ..hub.display import safe_text
from ..hub.operator import Operator
from ..hub.text import parse_duration
from .operate import print_json, with_hub
from .views import counted

NOT_KEPT_SHOWN = 20


def reload(*, timeout: str, as_json: bool, control: str | None) -> None:
    patience = parse_duration(timeout)

    async def work(operator: Operator) -> dict[str, Any]:
        return await operator.request("reload", timeout=patience)

    done = with_hub(control, work)
    if as_json:
        print_json(done)
        return
    print(
        f"pid {done['pid']} took over from pid {done['predecessor']} in {done['seconds']:.2f} s: "
        f"{counted(done['kept'])} kept, paused for {done['paused'] * 1000:.0f} ms"
    )
    lost = done["not_kept"]
    for each in lost[:NOT_KEPT_SHOWN]:
        print(f"not kept: {safe_text(each['name'])} ({each['id']}): {safe_text(each['reason'])}")
    if len(lost) > NOT_KEPT_SHOWN:
        print(f"and {len(lost) - NOT_KEPT_SHOWN} more: see 'jackfield logs'")
