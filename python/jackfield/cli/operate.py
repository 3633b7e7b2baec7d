"""The commands that operate a running hub: clients, rename, kick, logs, status, stop; `sending` has send.

Each asks over the control socket and prints what came. Owns no decision: targets are resolved by
the hub, so that what is meant and what is done cannot differ.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from ..hub.control import ENVIRONMENT_VARIABLE, choose_path
from ..hub.journal import line_of
from ..hub.operator import Operator, Remote, operate
from ..hub.protocol import NO_SUCH_CLIENT, RELOADED, RequestError
from ..hub.roster import timestamp
from ..hub.roster import version as installed_version
from .loop import run
from .views import clients_table, counted, nobody, status_lines

T = TypeVar("T")
_CAUGHT_UP = 200  # events that are looked through after a reload


def control_path(control: str | None) -> Path:
    """The control path that the options and the environment choose."""
    return choose_path(control, os.environ, os.getuid())


def hub_of(control: str | None) -> Path | Remote:
    """The hub that the options and the environment choose: its control path, or its address elsewhere."""
    chosen = control or os.environ.get(ENVIRONMENT_VARIABLE) or ""
    if "://" not in chosen:
        return control_path(control)
    from .remote import remote_of

    return remote_of(chosen, os.environ)


def with_hub(control: str | None, work: Callable[[Operator], Awaitable[T]], *, again: bool = False) -> T:
    """Run `work` with a connection to the hub; `again` with its successor's when it is reloaded meanwhile."""
    where = hub_of(control)

    async def main() -> T:
        while True:
            try:
                async with operate(where) as operator:
                    return await work(operator)
            except RequestError as problem:
                if not again or problem.code != RELOADED:
                    raise

    return run(main)


def terminal_width() -> int | None:
    """Columns of the terminal that standard output is; None when it is none, and nothing is cut."""
    if not sys.stdout.isatty():
        return None
    try:
        columns = os.get_terminal_size(sys.stdout.fileno()).columns
    except OSError:
        columns = 0
    return columns or 80


def print_json(value: object) -> None:
    print(json.dumps(value, indent=2 if sys.stdout.isatty() else None))


async def fetch_clients(operator: Operator, target: str = "all", **which: str | None) -> list[dict[str, Any]]:
    """What the hub says of the clients that `target` means; `which` as the request has it."""
    found: list[dict[str, Any]] = []
    async for part in operator.stream("clients", target=target, **which):
        found += part.get("clients", ())
    return found


def clients(target: str, *, as_json: bool, watch: bool, control: str | None, **which: str | None) -> None:
    filtered = target != "all" or any(value for name, value in which.items() if name != "state")
    nothing = nobody(state=which.get("state") or "connected", filtered=filtered)

    async def work(operator: Operator) -> None:
        if watch:
            await _watch(operator, target, as_json=as_json, nothing=nothing, **which)
            return
        found = await fetch_clients(operator, target, **which)
        if as_json:
            print_json(found)
        elif found:
            print("\n".join(clients_table(found, now=time.time(), width=terminal_width())))
        else:
            print(nothing)

    with_hub(control, work, again=True)


async def _watch(
    operator: Operator, target: str, *, as_json: bool, nothing: str, **which: str | None
) -> None:
    from .live import Screenful

    screen = Screenful() if sys.stdout.isatty() and not as_json else None
    shown: object = None
    try:
        while True:
            try:
                found = await fetch_clients(operator, target, **which)
            except RequestError as problem:
                if problem.code != NO_SUCH_CLIENT:
                    raise
                found = []
            if screen is not None:
                screen.show(found, heading=f"{counted(len(found))}; Ctrl-C ends the view", nothing=nothing)
            elif as_json:
                print(json.dumps(found), flush=True)
            else:
                lines = clients_table(found, now=time.time(), width=None) if found else [nothing]
                if lines != shown:
                    print("\n".join([*lines, ""]), flush=True)
                shown = lines
            await asyncio.sleep(1.0)
    finally:
        if screen is not None:
            screen.close()


def lasting(done: dict[str, Any]) -> str:
    """What to add when a change ends with the connection."""
    return "" if done["lasting"] else ", until it disconnects (see 'jackfield serve --identify')"


def rename(client: str, name: str, *, as_json: bool, control: str | None) -> None:
    done = with_hub(control, lambda operator: operator.request("rename", target=client, name=name))
    if as_json:
        print_json(done)
    elif sys.stdout.isatty():
        print(f"{done['before']} is now {done['name']}{lasting(done)}")


def kick(target: str, *, reset: bool, as_json: bool, control: str | None) -> None:
    done = with_hub(control, lambda operator: operator.request("kick", target=target, reset=reset))
    if as_json:
        print_json(done)
    elif sys.stdout.isatty():
        print(f"disconnected {counted(len(done['kicked']))}")


def logs(*, follow: bool, last: int, as_json: bool, control: str | None) -> None:
    began = timestamp(time.time())
    shown: deque[dict[str, Any]] = deque(maxlen=_CAUGHT_UP)
    first = True

    async def work(operator: Operator) -> None:
        nonlocal first
        # A successor knows what its predecessor logged, and both log at the moment of the reload.
        before, first = (None, False) if first else (list(shown), False)
        async for part in operator.stream("logs", last=last if before is None else _CAUGHT_UP, follow=follow):
            event = part.get("log")
            if event is None or (before is not None and (event in before or event["time"] < began)):
                continue
            print(json.dumps(event) if as_json else line_of(event), flush=follow)
            shown.append(event)

    with_hub(control, work, again=True)


def status(*, as_json: bool, watch: bool, control: str | None) -> None:
    async def work(operator: Operator) -> None:
        shown = 0
        while True:
            found = await operator.request("status")
            if as_json:
                print(json.dumps(found), flush=True) if watch else print_json(found)
            else:
                lines = status_lines(found, now=time.time())
                # On a terminal the next one stands where this one was.
                up = f"\x1b[{shown}A\x1b[J" if shown and sys.stdout.isatty() else ""
                print(up + "\n".join(lines), flush=True)
                shown = len(lines)
            if not watch:
                return
            await asyncio.sleep(1.0)

    with_hub(control, work, again=True)


def stop(*, as_json: bool, control: str | None) -> None:
    async def work(operator: Operator) -> dict[str, Any]:
        found = await operator.request("hello") if as_json else {}
        await operator.request("stop")
        return found

    found = with_hub(control, work)
    if as_json:
        print_json({"pid": found["pid"]})


def version(*, as_json: bool) -> None:
    found = installed_version()
    if as_json:
        print_json({"version": found, "python": sys.version.split()[0]})
    else:
        print(f"jackfield {found}")
