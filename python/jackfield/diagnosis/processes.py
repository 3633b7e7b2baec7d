"""Which processes hold a socket, and what they are doing (proc(5)); what may not be seen is left out."""

from __future__ import annotations

import os
import pwd
import re
from pathlib import Path

from .observations import Process

_PROC, _GROUPS = Path("/proc"), Path("/sys/fs/cgroup")
_DESCRIPTORS_MAX = 200_000
"""Descriptors looked at before giving up: a check should take milliseconds here."""


def holders_of(inodes: set[int], *, proc: Path = _PROC) -> dict[int, tuple[Process, ...]]:
    """The processes that hold each of the sockets, in the order of their ids."""
    wanted = {f"socket:[{inode}]": inode for inode in inodes if inode}
    found: dict[int, list[Process]] = {}
    budget = _DESCRIPTORS_MAX
    for pid in _pids(proc) if wanted else ():
        try:
            descriptors = os.listdir(proc / str(pid) / "fd")
        except OSError:
            continue
        budget -= len(descriptors)
        if budget < 0:
            break
        held = {wanted[link] for link in _links(proc / str(pid) / "fd", descriptors) if link in wanted}
        process = describe(pid, proc=proc) if held else None
        for inode in held if process is not None else ():
            assert process is not None
            found.setdefault(inode, []).append(process)
    return {inode: tuple(processes) for inode, processes in found.items()}


def describe(pid: int, *, proc: Path = _PROC, groups: Path = _GROUPS) -> Process | None:
    """A process by its id; ``None`` when it has ended."""
    try:
        text = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        uid = os.stat(proc / str(pid)).st_uid
    except OSError:
        return None
    matched = re.match(r"\d+ \((.*)\) (\S)", text, re.DOTALL)
    if matched is None:
        return None
    return Process(
        pid, matched[1], matched[2], user_name(uid), _is_frozen(proc / str(pid) / "cgroup", groups)
    )


def _is_frozen(membership: Path, groups: Path) -> bool:
    """Whether the control group of a process is frozen, of either version (cgroups(7))."""
    for line in _text(membership).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        path = path.strip("/")
        if not controllers:
            events = (groups / path / "cgroup.events", groups / "unified" / path / "cgroup.events")
            if any("frozen 1" in _text(file) for file in events):
                return True
        elif "freezer" in controllers.split(",") and "FROZEN" in _text(
            groups / "freezer" / path / "freezer.state"
        ):
            return True
    return False


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def user_name(uid: int) -> str:
    """The user's name, or the number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _pids(proc: Path) -> list[int]:
    try:
        return sorted(int(name) for name in os.listdir(proc) if name.isdigit())
    except OSError:
        return []


def _links(directory: Path, descriptors: list[str]) -> list[str]:
    links = []
    for descriptor in descriptors:
        try:
            links.append(os.readlink(directory / descriptor))
        except OSError:
            continue
    return links
