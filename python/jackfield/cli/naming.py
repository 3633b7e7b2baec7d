"""What `tag`, `note`, `claim` and `forget` do: each asks the hub and says what became of it."""

from __future__ import annotations

import sys

from ..hub.display import safe_text
from . import failures
from .failures import Failure
from .operate import lasting, print_json, with_hub
from .views import counted


def tag(target: str, add: list[str], remove: list[str], *, as_json: bool, control: str | None) -> None:
    if not add and not remove:
        raise Failure(
            "no tag is given", "write jackfield tag TARGET TAG, or --remove TAG", code=failures.USAGE
        )
    done = with_hub(control, lambda operator: operator.request("tag", target=target, add=add, remove=remove))
    if as_json:
        print_json(done)
    elif sys.stdout.isatty():
        rest = done["clients"] - done["lasting"]
        print(
            f"changed {counted(done['clients'])}"
            + (f", {rest} of them until they disconnect" if rest else "")
        )


def note(client: str, text: str, *, as_json: bool, control: str | None) -> None:
    done = with_hub(control, lambda operator: operator.request("note", target=client, text=text))
    if as_json:
        print_json(done)
    elif sys.stdout.isatty():
        print(f"noted{lasting(done)}")


def claim(client: str, *, as_json: bool, control: str | None) -> None:
    done = with_hub(control, lambda operator: operator.request("claim", target=client))
    if as_json:
        print_json(done)
    elif sys.stdout.isatty():
        loser = f"; client {done['from']} has its default name" if done["from"] else ""
        print(f"{done['before']} is now {safe_text(done['name'])}{loser}")


def forget(name: str, *, as_json: bool, control: str | None) -> None:
    done = with_hub(control, lambda operator: operator.request("forget", target=name))
    if as_json:
        print_json(done)
    elif sys.stdout.isatty():
        print(f"forgot {safe_text(done['name'])}")
