"""Files of hooks that the hub calls: script_add, script_list, script_remove."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..protocol import BAD_REQUEST, FAILED, REFUSED, Request, RequestError
from ..scripts import ScriptError, Scripts
from ..text import there_are

if TYPE_CHECKING:
    from ..session import Session


def _scripts(session: Session) -> Scripts:
    found = session.hub.part(Scripts)
    if found is None:
        raise RequestError(FAILED, "this hub runs no scripts")
    return found


async def script_add(session: Session, request: Request) -> dict[str, Any]:
    path = Path(request.text("path"))
    if not path.is_absolute():
        raise RequestError(BAD_REQUEST, "script_add needs an absolute path")
    try:
        script = await _scripts(session).add(path)
    except ScriptError as problem:
        raise RequestError(REFUSED, str(problem)) from problem
    return {"path": str(script.path), "hooks": script.hooks.names}


async def script_list(session: Session, request: Request) -> dict[str, Any]:
    return {
        "scripts": [
            {
                "path": str(script.path),
                "hooks": script.hooks.names,
                "problem": script.problem,
                **dataclasses.asdict(script.counts),
            }
            for script in _scripts(session)
        ]
    }


async def script_remove(session: Session, request: Request) -> dict[str, Any]:
    scripts, name = _scripts(session), request.text("name")
    try:
        path = await scripts.remove(name)
    except KeyError:
        known = [str(script.path) for script in scripts][:10]
        why = f"no script {name[:200]!r}; {there_are(known)}"
        raise RequestError(REFUSED, why, candidates=known) from None
    except ValueError as problem:
        raise RequestError(REFUSED, str(problem)) from problem
    session.hub.log("script_removed", script=str(path), by=session.who)
    return {"path": str(path)}


OPERATIONS: Final = {
    "script_add": script_add,
    "script_list": script_list,
    "script_remove": script_remove,
}
