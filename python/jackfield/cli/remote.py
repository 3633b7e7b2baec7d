"""Hubs on other machines: `--hub tls://host:port?pin=...`, and where the token for one comes from.

Owns the order: an invitation in the address that was not redeemed yet, `JACKFIELD_TOKEN`, the file that
`JACKFIELD_TOKEN_FILE` names, what an invitation became (`native/credentials.py` keeps it).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import jackfield
from jackfield.native import credentials
from jackfield.native.invitation import read_place

from ..hub.operator import Remote
from ..hub.security.access import SECURE, is_local
from . import failures
from .failures import Failure

VARIABLE = "JACKFIELD_TOKEN"
FILE_VARIABLE = "JACKFIELD_TOKEN_FILE"


def remote_of(text: str, environment: Mapping[str, str]) -> Remote:
    """The hub that is meant, with the token for it. Raises `Failure`, `InvalidAddress`."""
    asked = read_place(jackfield.Address.from_command_line(text).with_options(protocol=None))
    if asked.address.scheme not in SECURE and not is_local(asked.address):
        raise Failure(
            f"{asked.key} has no TLS, and everyone on the way could read the token",
            "write tls://, or use a tunnel to this machine",
            code=failures.USAGE,
        )
    given = None if asked.token else environment.get(VARIABLE) or _of_file(environment)
    place = replace(asked, token=given) if given else credentials.with_kept(asked)
    if not place.token:
        raise Failure(
            f"there is no token for {asked.key}",
            f"name a file that has one with 'jackfield --token-file PATH ...' or {FILE_VARIABLE}, or set "
            f"{VARIABLE}; a hub makes them with 'jackfield token create --role operator'",
        )
    source = (
        ""
        if given or place.token == asked.token
        else f"it is the one kept in {credentials.credentials_file()}"
    )
    return Remote(place.address, place.token, lambda token: credentials.keep(place, token), source)


def _of_file(environment: Mapping[str, str]) -> str:
    path = environment.get(FILE_VARIABLE)
    if not path:
        return ""
    try:
        text = Path(path).expanduser().read_text(encoding="ascii", errors="replace")
    except OSError as problem:
        raise Failure(f"{path}: {problem.strerror}", "it should have a token, and nothing else") from problem
    return text.strip().split("\n", 1)[0]
