"""`jackfield backup`: what outlives the hub - its state, rooms and configuration - in one archive."""

from __future__ import annotations

import contextlib
import json
import os
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

from ..hub.display import bytes_text
from ..hub.operator import NoHub, Operator
from ..hub.rooms.sqlite_store import beside
from ..hub.roster import version
from ..hub.state import choose_path as choose_state
from ..hub.state_file import copy_file
from .configuration import choose_file
from .failures import Failure
from .operate import control_path, print_json, with_hub

STATE, ROOMS, CONFIGURATION, MANIFEST = "hub.db", "hub-rooms.db", "jackfield.toml", "backup.json"
FORMAT = 1  # of the archive; higher ones are for newer programs


def backup(file: str, *, force: bool, as_json: bool, control: str | None) -> None:
    target = Path(file)
    if target.exists() and not force:
        raise Failure(f"{target} is there already", "overwrite it with --force, or name another file")
    if not target.parent.is_dir():
        raise Failure(f"{target} cannot be written: there is no directory {target.parent}", "make it first")
    state, config, running = _sources(control)
    if state is None and config is None:
        raise Failure("there is neither a state nor a configuration to keep", "see 'jackfield status'")
    rooms = None if state is None or not beside(state).is_file() else beside(state)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".jackfield-backup-") as directory:
        parts = {}
        for name, database in ((STATE, state), (ROOMS, rooms)):
            if database is not None:
                parts[name] = Path(directory, name)
                copy_file(database, parts[name])
        if config is not None:
            parts[CONFIGURATION] = config
        done = {
            "format": FORMAT,
            "version": version(),
            "made": int(time.time()),
            "of_a_running_hub": running,
            "state": None if state is None else str(state),
            "rooms": None if rooms is None else str(rooms),
            "config": None if config is None else str(config),
        }
        parts[MANIFEST] = Path(directory, MANIFEST)
        parts[MANIFEST].write_text(json.dumps(done, indent=2))
        whole = Path(directory, "whole")
        descriptor = os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            _pack(out, parts)
            out.flush()
            os.fsync(out.fileno())
        os.replace(whole, target)
    if as_json:
        print_json({"file": str(target), "bytes": target.stat().st_size, **done})
    else:
        what = ", ".join(str(each) for each in (state, rooms, config) if each is not None)
        print(f"{target}: {bytes_text(target.stat().st_size)} of {what}")


def _sources(control: str | None) -> tuple[Path | None, Path | None, bool]:
    """The state and the configuration: those of the running hub, all of it on disk, or the usual ones."""

    async def ask(operator: Operator) -> dict[str, Any]:
        return await operator.request("flush")

    with contextlib.suppress(NoHub):
        told = with_hub(control, ask, again=True)
        return _path(told["state"]), _path(told["config"]), True
    state = choose_state(None, control_path(control), os.environ, os.getuid())
    config = choose_file(None, os.environ, os.getuid())
    return state if state is not None and state.is_file() else None, config, False


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def _pack(out: Any, parts: dict[str, Path]) -> None:
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, path in parts.items():
            with path.open("rb") as content:
                entry, size = tarfile.TarInfo(name), os.fstat(content.fileno()).st_size
                entry.size, entry.mode, entry.mtime = size, 0o600, int(time.time())
                archive.addfile(entry, content)
