"""What redeemed invitations are kept in: one file of the user's, $XDG_DATA_HOME/jackfield/credentials.json.

Rules: nobody else can read it (0600, in a directory 0700); it is replaced whole, never written in place; of
an invitation only a hash is kept, to know it again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jackfield import Address, JackfieldError

from .invitation import Place


class CredentialsError(JackfieldError, OSError):
    """The file cannot be read or written."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept for one hub."""

    token: str
    address: str
    """Where the hub is, with its pin."""
    invitation: str = ""
    """SHA-256 of the invitation that the token was got for."""


def credentials_file() -> Path:
    """Where credentials are kept."""
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "jackfield" / "credentials.json"


def load(place: Place, file: Path | None = None) -> Kept | None:
    """What is kept for that hub, if it fits what is asked for. Raises ``CredentialsError``."""
    found = _read(file or credentials_file()).get(place.key)
    if not isinstance(found, dict):
        return None
    try:
        kept = Kept(**{name: str(found[name]) for name in ("token", "address", "invitation")})
    except KeyError:
        return None
    is_same = place.token is None or kept.invitation == digest(place.token) or kept.token == place.token
    return kept if is_same else None


def with_kept(place: Place, file: Path | None = None) -> Place:
    """The same place with the token that is kept for it, and its pin if none was given."""
    kept = load(place, file)
    if kept is None:
        return place
    pin = place.address.option("pin") or Address.parse(kept.address).option("pin")
    return Place(place.address if pin is None else place.address.with_options(pin=pin), kept.token)


def keep(place: Place, token: str, file: Path | None = None) -> None:
    """Keep the token that came for the invitation of that place. Raises ``CredentialsError``."""
    where = file or credentials_file()
    everything = _read(where)
    invitation = "" if place.token is None else digest(place.token)
    everything[place.key] = asdict(Kept(token, str(place.address), invitation))
    _write(where, everything)


def forget(place: Place, file: Path | None = None) -> bool:
    """Keep nothing for that hub any more; whether there was something. Raises ``CredentialsError``."""
    where = file or credentials_file()
    everything = _read(where)
    if everything.pop(place.key, None) is None:
        return False
    _write(where, everything)
    return True


def _write(where: Path, everything: dict[str, Any]) -> None:
    try:
        where.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(dir=where.parent, prefix=".credentials-")  # 0600 from the start
        try:
            with os.fdopen(number, "w") as out:
                json.dump(everything, out, indent=1)
                out.flush()
                os.fsync(out.fileno())
            os.replace(name, where)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
    except OSError as error:
        text = f"{where} cannot be written: {error.strerror}"
        raise CredentialsError(text, hint="XDG_DATA_HOME says where") from error


def digest(invitation: str) -> str:
    """What is kept of an invitation."""
    return hashlib.sha256(invitation.encode("utf-8", "surrogatepass")).hexdigest()


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise CredentialsError(
            f"the credentials in {file} cannot be read: {error}", hint="move it away"
        ) from error
    if not isinstance(found, dict):
        raise CredentialsError(f"the credentials in {file} are no JSON object", hint="move it away")
    return found
