"""`jackfield console --web`: a link to the web console of a running hub."""

from __future__ import annotations

import sys

from ..hub.display import human_age
from .operate import print_json, with_hub


def link(address: str | None, *, as_json: bool, control: str | None) -> None:
    """Print it; on a terminal with what it is."""
    made = with_hub(control, lambda operator: operator.request("web_link", address=address))
    if as_json:
        print_json(made)
        return
    if sys.stdout.isatty():
        print(
            f"The web console is at {made['address']}. "
            f"This link logs in once, within {human_age(made['expires'])}:"
        )
    print(made["url"])
